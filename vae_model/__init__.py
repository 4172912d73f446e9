"""A row's score depends only on that row and the model's bytes.

``Detector`` trains, scores, saves and loads on pandas, Arrow or NumPy; ``vae_model.spark`` does the same on a
Spark DataFrame. Names are looked up on first use: a worker that only scores imports neither pydantic nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_model.config.config import Config
    from vae_model.config.load import load_config
    from vae_model.detector import Detector
    from vae_model.errors import VaeAnomalyError

__version__ = "0.1.0"
__all__ = ["Config", "Detector", "VaeAnomalyError", "__version__", "load_config"]

_HOMES = {
    "Config": "vae_model.config.config",
    "load_config": "vae_model.config.load",
    "Detector": "vae_model.detector",
    "VaeAnomalyError": "vae_model.errors",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'vae_model' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

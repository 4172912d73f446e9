"""What a run leaves in its output beside the rows: by which contract they are written, by which run, and how far an
incremental source was read.

In a Delta table it is the ``userMetadata`` of the run's own commit; in a Parquet folder the file ``_vae_anomaly.json``,
which readers of tables pass over.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self

CONTRACT = 2
"""Version of the output columns: 2 has ``anomaly_run``, 1 had not."""
_KEY = "vae_anomaly"


@dataclass(frozen=True)
class Stamp:
    """What the last run says of an output."""

    run: str
    key: list[str] = field(default_factory=list)
    """The columns that identify a row."""
    model: str | None = None
    """The model, as in ``anomaly_model``."""
    position: dict[str, Any] | None = None
    """How far an incremental source was read."""
    config: str | None = None
    """SHA-256 of the run's config."""
    mode: str | None = None
    """The output's mode."""
    alerts: bool = False
    """Whether the run writes alerts once its rows are there."""
    contract: int = CONTRACT

    def to_text(self) -> str:
        """As JSON, on one line."""
        return json.dumps({_KEY: asdict(self)}, sort_keys=True)

    @classmethod
    def of(cls, text: str | bytes | None) -> Self | None:
        """From JSON; None where it is none of ours. Whoever may write to the output could have written it."""
        try:
            values = json.loads(text or "")[_KEY]
            stamp = cls(**values)
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        return stamp if stamp._is_plausible else None

    @property
    def _is_plausible(self) -> bool:
        return (
            isinstance(self.run, str)
            and isinstance(self.key, list)
            and all(isinstance(name, str) for name in self.key)
            and isinstance(self.model, str | None)
            and isinstance(self.position, dict | None)
            and isinstance(self.config, str | None)
            and isinstance(self.mode, str | None)
            and isinstance(self.alerts, bool)
            and type(self.contract) is int
        )

"""Settings by environment variables: ``VAE_ANOMALY__SOURCE__WHERE`` is ``source.where``, its value in YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vae_model.config import shape
from vae_model.config.config import Config
from vae_model.config.text import parse, put
from vae_model.errors import ConfigError

OURS = "VAE_ANOMALY"
BETWEEN = "__"


def override(values: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Set the keys of a document that variables name, a section before its keys. The variables. Raises ConfigError."""
    found: dict[tuple[str, ...], str] = {}
    for name in sorted(environ):
        if not name.startswith(OURS + BETWEEN):
            continue
        keys = _keys(name)
        if keys in found:
            raise ConfigError(f"{found[keys]} and {name} set one key, {'.'.join(keys)}.", hint="Unset one of the two.")
        found[keys] = name
    for keys in sorted(found):
        put(values, keys, parse(environ[found[keys]], f"The value of {found[keys]}"))
    return list(found.values())


def _keys(name: str) -> tuple[str, ...]:
    """The keys that a variable's name means: those of sections in any case, those of mappings as they are written."""
    parts = name.split(BETWEEN)[1:]
    if not all(parts):
        raise ConfigError(f"{name!r} is not understood.", f"{OURS}{BETWEEN}SECTION{BETWEEN}KEY", name)
    keys: list[str] = []
    annotation: Any = Config
    for part in parts:
        keys.append(part.lower() if annotation is None or shape.section(annotation) else part)
        annotation = shape.inside(annotation, keys[-1])
    return tuple(keys)

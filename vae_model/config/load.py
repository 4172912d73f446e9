"""The config file read and checked: every problem named at once, each with its dotted path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from vae_model.config import environment, shape
from vae_model.config.config import Config
from vae_model.config.filling import Filling
from vae_model.config.parameters import Parameter, Value, from_values
from vae_model.config.text import override, parse
from vae_model.errors import ConfigError, StorageError, listed, nearest
from vae_model.places import credentials, files


def load_config(
    path: str | Path,
    overrides: Sequence[str] = (),
    parameters: Mapping[str, Parameter | Value] = MappingProxyType({}),
) -> Config:
    """Read a YAML config file, and put what comes from outside on top of it.

    Variables of the environment (``VAE_ANOMALY__SOURCE__WHERE``) go over the file, and ``overrides``, which are
    ``dotted.key=value`` with a YAML value, over both, in order. ``parameters`` then fill each ``{{ name }}``: dates,
    datetimes, numbers, and strings, which are texts.

    Raises ConfigError, naming every problem of the file at once, each with its dotted path.
    """
    given = from_values(parameters)
    path = str(path)
    try:
        text = files.get(path).decode("utf-8")
    except StorageError as error:
        raise error.as_kind(ConfigError, f"Config file {path} cannot be read.") from None
    except FileNotFoundError:
        raise ConfigError(
            f"Config file {path} does not exist.", hint="`vae-anomaly init --source PATH --output FILE` writes one."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Config file {path} cannot be read.", found=str(error)) from None
    document = parse(text, f"Config file {path}")
    if not isinstance(document, Mapping):
        raise ConfigError(f"Config file {path} is not a YAML mapping.", "key: value pairs", type(document).__name__)
    values = dict(document)
    variables = environment.override(values, os.environ)
    for setting in overrides:
        override(values, setting)
    origin = f"Config file {path}" + (f" with {', '.join(variables)}" if variables else "")
    filling = Filling(given)
    filled = filling.fill(values)
    if problems := [*filling.problems, *filling.unused()]:
        raise _refusal(problems, origin)
    return parse_config(filled, origin)


def parse_config(values: Mapping[str, Any], origin: str = "The config") -> Config:
    """Validate a nested mapping. Raises ConfigError, naming every problem at once."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise _refusal(map(_describe, error.errors()), origin) from None


def _refusal(problems: Iterable[str], origin: str) -> ConfigError:
    """All problems of a config as one error."""
    lines = list(problems)
    count = "1 problem" if len(lines) == 1 else f"{len(lines)} problems"
    return ConfigError(listed(f"{origin} has {count}:", lines))


def _describe(problem: Any) -> str:
    """One line for one of pydantic's problems: dotted path, expected, found, nearest known key."""
    path = ".".join(str(part) for part in problem["loc"]) or "(whole file)"
    kind, value = problem["type"], problem["input"]
    if kind == "extra_forbidden":
        known = _keys_at(problem["loc"][:-1])
        hint = nearest(str(problem["loc"][-1]), known) or f"known keys: {', '.join(known)}"
        return f"{path}: unknown key; {hint}"
    if kind == "value_error":
        return f"{path}: {problem['ctx']['error']}"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if kind == "model_type" and (known := _keys_at(problem["loc"])):
        message = f"expected a section of the keys {', '.join(known)}"
    is_plain = not isinstance(value, Mapping | list) and not any(map(credentials.is_secret, map(str, problem["loc"])))
    return f"{path}: {message}" + (f", found {credentials.redact(repr(value))}" if is_plain else "")


def _keys_at(location: Iterable[Any]) -> list[str]:
    """The keys a section at this place knows."""
    annotation: Any = Config
    for part in location:
        annotation = shape.inside(annotation, part)
    section = shape.section(annotation)
    return section.known_keys() if section else []

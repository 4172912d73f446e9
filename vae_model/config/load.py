"""The config file read and checked: every problem named at once, each with its dotted path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from vae_model.config.sections import Config
from vae_model.config.text import override, parse
from vae_model.errors import ConfigError, StorageError, listed, nearest
from vae_model.places import credentials, files


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML config file; ``overrides`` are ``dotted.key=value`` with a YAML value, applied in order.

    Raises ConfigError, naming every problem of the file at once, each with its dotted path.
    """
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
    for setting in overrides:
        override(values, setting)
    return parse_config(values, origin=f"Config file {path}")


def parse_config(values: Mapping[str, Any], origin: str = "The config") -> Config:
    """Validate a nested mapping. Raises ConfigError, naming every problem at once."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors()]
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(listed(f"{origin} has {count}:", problems)) from None


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
    is_plain = not isinstance(value, Mapping | list) and not any(map(credentials.is_secret, map(str, problem["loc"])))
    return f"{path}: {message}" + (f", found {credentials.redact(repr(value))}" if is_plain else "")


def _keys_at(location: Iterable[Any]) -> list[str]:
    """The keys a section at this place knows."""
    section: Any = Config
    for part in location:
        annotation = section.model_fields[part].annotation  # no section has an alias
        options = get_args(annotation) if get_origin(annotation) is UnionType else (annotation,)
        section = next(option for option in options if option is not type(None))
    return list(section.known_keys())

"""The config file's text as nested mappings, and ``--set`` on top of it. No message shows a value: it may be secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vae_model.errors import ConfigError
from vae_model.places import credentials


def parse(text: str, origin: str) -> Any:
    """The document in a YAML text; ``origin`` names it in the message. Raises ConfigError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ConfigError(f"{origin} is not valid YAML.", found=_problem(error)) from None


def _problem(error: YAMLError) -> str:
    """What is wrong, and in which line."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return type(error).__name__
    what = ", ".join(part for part in (error.context, error.problem) if part).partition(" with value ")[0]
    return f"{what}, line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"


def override(values: dict[str, Any], setting: str) -> None:
    """Set one key of a document by ``dotted.key=value``, the value in YAML. Raises ConfigError."""
    dotted, equals, text = setting.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        shown = credentials.redact(setting)
        raise ConfigError(f"--set {shown!r} is not understood.", expected="dotted.key=value", found=shown)
    node = values
    for part in parts[:-1]:
        child = node.get(part)
        node[part] = dict(child) if isinstance(child, Mapping) else {}
        node = node[part]
    node[parts[-1]] = parse(text, f"The value of --set {dotted}")

"""The config file's text as nested mappings, and ``--set`` on top of it. No message shows a value: it may be secret.

And the way back: a name as YAML text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from vae_model.errors import ConfigError
from vae_model.places import credentials
from vae_model.printable import printable

_WORD = re.compile(r"(?!(?:null|true|false|yes|no|on|off|y|n)$)[A-Za-z_][A-Za-z0-9_]*", re.ASCII | re.IGNORECASE)
"""A name that needs no quotes, for any reader of YAML 1.1 or 1.2."""
KEY = 1024
"""The longest key, quotes and all, that may stand before its colon on one line (YAML 1.2, 7.4.2)."""


def quoted(text: str) -> str:
    r"""A text as one line of YAML that ``parse`` reads as it was, in quotes where it needs them.

    The escapes of ``printable`` are YAML's own: ``\n``, ``\x9b``, ``\u202e``, ``\U000e0001``.
    """
    return text if _WORD.fullmatch(text) else '"' + printable(text.replace("\\", r"\\").replace('"', r"\"")) + '"'


def entry(key: str, value: str, indent: str = "") -> str:
    """A line of a mapping, its value in YAML. A key that is too long for a line of its own takes two."""
    key = quoted(key)
    return f"{indent}{key}: {value}" if len(key) <= KEY else f"{indent}? {key}\n{indent}: {value}"


def parse(text: str, origin: str) -> Any:
    """The document in a YAML text; ``origin`` names it in the message. Raises ConfigError."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        hint = "A value that begins with {{ stands in quotes." if "{{" in text else ""
        raise ConfigError(f"{origin} is not valid YAML.", found=_problem(error), hint=hint) from None


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
    put(values, parts, parse(text, f"The value of --set {dotted}"))


def put(values: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set one key of a document, and make the sections on the way to it that are not there."""
    node = values
    for key in keys[:-1]:
        child = node.get(key)
        node[key] = dict(child) if isinstance(child, Mapping) else {}
        node = node[key]
    node[keys[-1]] = value

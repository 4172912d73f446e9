"""Values from outside, by name: ``--param name=value``, or a mapping in Python."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import NamedTuple

from vae_model.errors import ConfigError, nearest
from vae_model.places import credentials, literals

Value = date | int | float | str
"""What Python may give for a parameter; a datetime is a date too."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SETTING = re.compile(r"([^=:]*)(?::([^=]*))?=(.*)", re.DOTALL)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(_DATE.pattern + r"[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""A number as JSON has it: 007 is a text, its zeros are not lost."""
DIGITS = 38
"""A longer number is no decimal of Spark's; Sail cuts it without a word."""


class Parameter(NamedTuple):
    """A value: as it was given, as a SQL literal, and whether it is a number."""

    text: str
    sql: str
    is_number: bool = False

    @property
    def number(self) -> int | float:
        """The number that the text says."""
        return int(self.text) if self.text.lstrip("-").isdigit() else float(self.text)


def from_options(settings: Iterable[str]) -> dict[str, Parameter]:
    """The parameters of ``name=value`` (its type by its looks) and ``name:type=value``; of two of one name the last.

    Raises ConfigError.
    """
    return dict(map(_from_option, settings))


def from_values(values: Mapping[str, Parameter | Value]) -> dict[str, Parameter]:
    """The parameters of Python's values: a type each, so that a string is a text whatever it looks like."""
    return {name: _from_value(name, value) for name, value in values.items()}


def _from_option(setting: str) -> tuple[str, Parameter]:
    found = _SETTING.fullmatch(setting)
    if not found:
        shown = credentials.redact(setting)
        raise ConfigError(f"--param {shown!r} is not understood.", "name=value, or name:type=value", shown)
    name, kind, text = found.groups()
    _check_name(name)
    if kind is not None and kind not in _KINDS:
        hint = nearest(kind, _KINDS)
        raise ConfigError(f"--param {name}:{kind} has no such type.", f"one of {', '.join(_KINDS)}", kind, hint)
    return name, _KINDS[kind or _looks_like(text)](name, text)


def _from_value(name: str, value: Parameter | Value) -> Parameter:
    _check_name(name)
    if isinstance(value, Parameter):
        return value
    if isinstance(value, datetime):
        return Parameter(value.isoformat(), literals.timestamp(value))
    if isinstance(value, date):
        return Parameter(value.isoformat(), literals.day(value))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(name, repr(int(value) if isinstance(value, int) else float(value)))  # NumPy's shows its type
    if isinstance(value, str):
        return _text(name, str(value))
    kind = type(value).__name__
    raise ConfigError(f"The parameter {name!r} is of no usable type.", "date, datetime, int, float or str", kind)


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a parameter.", "a letter, then letters, digits and underscores")
    if credentials.is_secret(name):
        raise ConfigError(
            f"The parameter {name!r} is named like a credential, and credentials do not belong here.",
            hint=f"{credentials.HINT} Give a parameter that is none another name.",
        )


def _looks_like(text: str) -> str:
    looks = {"date": _DATE, "timestamp": _TIMESTAMP, "number": _NUMBER}
    return next((kind for kind, pattern in looks.items() if pattern.fullmatch(text)), "text")


def _date(name: str, text: str) -> Parameter:
    return Parameter(text, literals.day(_moment(name, text, _DATE, "a date, such as 2026-01-31").date()))


def _timestamp(name: str, text: str) -> Parameter:
    found = _moment(name, text, _TIMESTAMP, "a timestamp, such as 2026-01-31T06:00:00 or 2026-01-31T06:00:00Z")
    return Parameter(text, literals.timestamp(found))


def _moment(name: str, text: str, pattern: re.Pattern[str], expected: str) -> datetime:
    try:
        if pattern.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:  # it looks like one, but there is no such day or hour
        pass
    raise _refused(name, text, expected)


def _number(name: str, text: str) -> Parameter:
    digits = text.lower().partition("e")[0].lstrip("-").replace(".", "")
    if not _NUMBER.fullmatch(text) or len(digits) > DIGITS or not math.isfinite(float(text)):
        raise _refused(name, text, f"a finite number of at most {DIGITS} digits, such as 20 or -1.5e3")
    return Parameter(text, text, is_number=True)


def _text(name: str, text: str) -> Parameter:
    try:
        return Parameter(text, literals.text(text))
    except UnicodeEncodeError:
        raise _refused(name, text, "a text in Unicode", hint="") from None


def _refused(
    name: str, text: str, expected: str, hint: str = "If it is meant as a text: --param {}:text=…"
) -> ConfigError:
    problem = f"The value of the parameter {name!r} is not usable."
    return ConfigError(problem, expected, credentials.redact(text) or "nothing", hint.format(name))


_KINDS: dict[str, Callable[[str, str], Parameter]] = {
    "date": _date,
    "timestamp": _timestamp,
    "number": _number,
    "text": _text,
}

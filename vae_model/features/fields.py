"""The fields of a JSON object in a model file, each read as what it has to be. Without pydantic: a worker has none."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from reprlib import repr as shortened
from typing import Any, TypeGuard

from vae_model.errors import ModelFileError
from vae_model.printable import printable

LARGEST = sys.float_info.max
MOST = 2**53
"""No count is larger: beyond, not every whole number is a float."""
REMEDY = "Train the model again, or copy the file again."


class Fields:
    """A JSON object, and where it stands in the header of the model file.

    Every method raises ModelFileError, naming the field, what was expected and what was found.
    """

    def __init__(self, values: Any, place: str) -> None:
        self.place = place
        if not isinstance(values, Mapping):
            raise _wrong(place, "an object", values)
        self.values = values

    def inner(self, name: str) -> Fields:
        """An object within this one."""
        return Fields(self.values.get(name), self._at(name))

    def objects(self, name: str) -> list[Fields]:
        """A list of objects, at least one."""
        values = self._filled(name)
        return [Fields(value, f"{self._at(name)}.{index}") for index, value in enumerate(values)]

    def number(self, name: str, low: float = -LARGEST, high: float = LARGEST) -> float:
        """A finite number."""
        value = self.values.get(name)
        if not _is_number(value, low, high):
            raise _wrong(self._at(name), _range("a number", low, high), value)
        return float(value)

    def share(self, name: str) -> float:
        """A number between 0 and 1, which are none."""
        value = self.values.get(name)
        if not _is_number(value, math.ulp(0), math.nextafter(1, 0)):
            raise _wrong(self._at(name), "a number between 0 and 1", value)
        return float(value)

    def numbers(self, name: str, low: float = -LARGEST) -> tuple[float, ...]:
        """A list of finite numbers."""
        values = self.sequence(name)
        for index, value in enumerate(values):
            if not _is_number(value, low, LARGEST):
                raise _wrong(f"{self._at(name)}.{index}", _range("a number", low, LARGEST), value)
        return tuple(map(float, values))

    def count(self, name: str, low: int = 1, high: int = MOST) -> int:
        """A whole number."""
        value = self.values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise _wrong(self._at(name), _range("a whole number", low, high), value)
        return value

    def counts(self, name: str) -> list[int]:
        """A list of whole numbers above 0, at least one."""
        values = self._filled(name)
        for index, value in enumerate(values):
            if type(value) is not int or not 1 <= value <= MOST:
                raise _wrong(f"{self._at(name)}.{index}", _range("a whole number", 1, MOST), value)
        return list(values)

    def text(self, name: str) -> str:
        """A string."""
        value = self.values.get(name)
        if not isinstance(value, str) or not _is_unicode(value):
            raise _wrong(self._at(name), "a text", value)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        values = self.sequence(name)
        if not all(isinstance(value, str) for value in values) or not _is_unicode("".join(values)):
            raise _wrong(self._at(name), "a list of texts", values)
        return tuple(values)

    def named_texts(self, name: str) -> dict[str, str]:
        """An object of strings."""
        own = self.inner(name)
        return {key: own.text(key) for key in own.values}

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """One of some strings."""
        value = self.text(name)
        if value not in known:
            raise _wrong(self._at(name), f"one of {', '.join(known)}", value)
        return value

    def sequence(self, name: str) -> Any:
        """A list of whatever."""
        value = self.values.get(name)
        if not isinstance(value, list | tuple):
            raise _wrong(self._at(name), "a list", value)
        return value

    def wrong(self, name: str, expected: str, found: object) -> ModelFileError:
        """The error about a field that does not fit the others."""
        return _wrong(self._at(name), expected, found)

    def _filled(self, name: str) -> Any:
        values = self.sequence(name)
        if not values:
            raise _wrong(self._at(name), "a list that is not empty", values)
        return values

    def _at(self, name: str) -> str:
        return f"{self.place}.{name}" if self.place else name


def _is_number(value: Any, low: float, high: float) -> TypeGuard[float]:
    return type(value) in (int, float) and low <= value <= high


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone: Arrow has no such texts."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _range(what: str, low: float, high: float) -> str:
    if low == -LARGEST:
        return what
    return f"{what} from {low:g} to {high:g}" if high not in (LARGEST, MOST) else f"{what}, at least {low:g}"


def _wrong(place: str, expected: str, value: object) -> ModelFileError:
    found = "nothing" if value is None else printable(value if isinstance(value, str) else shortened(value))[:100]
    return ModelFileError(f"{printable(place) or 'The header'} of the model cannot be.", expected, found, REMEDY)

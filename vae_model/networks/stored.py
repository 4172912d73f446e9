"""What a network says of its arrays in a model file, so that they can be held against it before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

HUGE = float(np.finfo(np.float32).max)


class Stored(NamedTuple):
    """An array as it must be: its shape, and the range of its numbers, with more room than training needs."""

    shape: tuple[int, ...]
    low: float = -HUGE
    high: float = HUGE
    dtype: str = "float32"


def within(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """The arrays of a model file whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


class Sizes(Protocol):
    """What a model file's header says of a member. Each method raises an error where it does not say so."""

    def count(self, name: str) -> int:
        """A number above 0."""

    def counts(self, name: str) -> list[int]:
        """Numbers above 0, at least one."""

"""What a network says of its arrays in a model file, so that they can be held against it before they are used."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

HUGE = float(np.finfo(np.float32).max)


class Stored(NamedTuple):
    """An array as it must be: its shape, and the range of its numbers, with more room than training needs."""

    shape: tuple[int, ...]
    low: float = -HUGE
    high: float = HUGE
    dtype: str = "float32"


class Sizes(Protocol):
    """What a model file's header says of a member. Each method raises an error where it does not say so."""

    def count(self, name: str) -> int:
        """A number above 0."""

    def counts(self, name: str) -> list[int]:
        """Numbers above 0, at least one."""

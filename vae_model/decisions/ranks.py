"""Ranks of numbers among sorted ones, by a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

SLOTS, SLOTS_EACH = 1 << 19, 64
"""Slots of the table that ranks are looked up in: at most 2 MB, and for each number so many."""


@dataclass(frozen=True)
class Ranks:
    """How many of some ascending numbers are below a number, faster than by bisection, and the same.

    The bits of a positive float, read as a whole number, rise with it. Their upper ones are the number of a slot, which
    knows how many numbers are below it; only a number that shares its slot with one of them has to be bisected for.
    The first and the last slot are open: outliers do not coarsen the others.

    Shapes: S slots, N values.
    """

    ascending: NDArray[np.float64]
    shift: int
    first: int
    below_S: NDArray[np.int32]
    """(S + 1,) How many are below each slot, and how many there are."""

    @classmethod
    def of(cls, ascending: NDArray[np.float64]) -> Self:
        """From the numbers; NaN is not among them."""
        count = len(ascending)
        bits = np.abs(np.maximum(ascending, 0)).view(np.int64) if count else np.zeros(1, np.int64)  # abs: no -0.0
        low, high = int(bits[count // 1000]), int(bits[-1 - count // 1000])
        slots = min(SLOTS, SLOTS_EACH * max(count, 1))
        shift = max((high - low).bit_length() - slots.bit_length() + 1, 0)
        first, last = low >> shift, high >> shift
        below_S = np.searchsorted(bits[:count] >> shift, np.arange(first, last + 2)).astype(np.int32)
        below_S[[0, -1]] = 0, count
        return cls(ascending, shift, first, below_S)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.int32]:
        """(N,) how many are below each value; of NaN, any number."""
        slot = np.ascontiguousarray(values, np.float64).view(np.int64) >> self.shift
        slot -= self.first
        np.clip(slot, 0, len(self.below_S) - 2, out=slot)
        below = self.below_S[slot]
        shared = np.flatnonzero(below != self.below_S[slot + 1])
        below[shared] = np.searchsorted(self.ascending, values[shared])
        return np.asarray(below)

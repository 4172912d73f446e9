"""Encoded rows: what a fitted spec makes of a table, and what the networks take.

Shapes: N rows, F numeric units, C categories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Encoded rows."""

    x_NF: NDArray[np.float32]
    """Standardised numbers; NaN where missing. For a constant column: 0 where equal to it, else 1."""
    codes_NC: NDArray[np.int32]
    """Slot of each category; -1 where missing."""
    unseen_NC: NDArray[np.bool_]
    """Whether the value never occurred in training."""
    missing_N: NDArray[np.float64]
    """Share of the row's features that is missing."""
    non_finite_N: NDArray[np.bool_]
    """Whether the row holds an infinity (which counts as missing)."""
    gap_N: NDArray[np.intp]
    """The feature of the row's least usual gap, by its index: of those that are missing, or miss a part, the one that
    was missing in the fewest training rows. -1 where all is there."""

    def __len__(self) -> int:
        return len(self.x_NF)

    def take(self, rows: slice | NDArray[np.intp]) -> Batch:
        """Some of the rows."""
        return Batch(*(part[rows] for part in vars(self).values()))

    @classmethod
    def of(cls, several: Sequence[Self]) -> Self:
        """The rows of several, one after the other."""
        return cls(*(np.concatenate(own) for own in zip(*(vars(one).values() for one in several), strict=True)))

    def blocks(self, size: int) -> Iterator[Batch]:
        """The rows in order, ``size`` at a time."""
        return (self.take(slice(start, start + size)) for start in range(0, len(self), size))

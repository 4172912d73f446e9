"""Whether a run's p-values are uniform apart from their tail, as those of rows like the held-out ones are.

It sees what no column shows by itself: where two columns do not hang together any more, rows score higher. The
distance is Kolmogorov's and Smirnov's on one side: by how much at most the distribution function of the p-values is
above that of even ones (Smirnov, "Table for estimating the goodness of fit of empirical distributions", 1948), here at
the bounds of bins, and of two samples, since the held-out rows are one too. It is looked at beyond the tail alone, and
less than ``MOVED`` is not told: that some anomalies are among the rows is what a run is for, and of up to nearly a
tenth of them it says nothing. Larger p-values are no shift: the rows of training have them, which a run may well be of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vae_model.drift import chance

BINS = 100
"""A p-value p is counted in the bin ceil(p * BINS), from 1."""
TAIL = 0.1
"""Below this the distribution function is not looked at."""
MOVED = 0.1
"""A smaller distance is not told, whatever the number of rows."""


@dataclass(frozen=True)
class Uniformity:
    """How far the p-values of a run are from those of rows like the held-out ones."""

    distance: float
    """0 where the p-values are nowhere smaller than even ones."""
    rows: int
    """P-values that were looked at."""
    has_moved: bool

    @classmethod
    def of(cls, count_B: NDArray[np.int64], held_out: int) -> Self | None:
        """From the (BINS,) counts of a run's p-values, which are multiples of 1 / (1 + held_out). None where there are
        none.
        """
        rows, tail = int(count_B.sum()), round(TAIL * BINS)
        if not rows or not held_out:
            return None
        edge_B = np.arange(tail, BINS + 1) / BINS
        expected_B = np.floor(edge_B * (1 + held_out) * (1 + 1e-9)) / (1 + held_out)
        share_B = np.cumsum(count_B)[tail - 1 :] / rows
        distance = float(np.maximum(share_B - expected_B, 0).max())
        return cls(distance, rows, distance > max(MOVED, chance.of_distance(rows, held_out)))

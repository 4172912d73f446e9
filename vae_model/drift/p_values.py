"""Whether a run's p-values are uniform apart from their tail, as those of rows like the held-out ones are.

It sees what no column shows by itself: where two columns do not hang together any more, rows score higher. The smallest
p-values are left out: that anomalies are among the rows is what a run is for. The distance is Kolmogorov's and
Smirnov's on one side: by how much at most the distribution function of the p-values is above that of even ones
(Smirnov, "Table for estimating the goodness of fit of empirical distributions", 1948), here at the bounds of bins, and
of two samples, since the held-out rows are one too. Larger p-values are no shift: the rows of
training have them, which a run may well be of.
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
"""P-values up to this are left out."""
MOVED = 0.1
"""A smaller distance is not told, whatever the number of rows."""


@dataclass(frozen=True)
class Uniformity:
    """How far the p-values of a run are from those of rows like the held-out ones."""

    distance: float
    """0 where the p-values are nowhere smaller than even ones."""
    rows: int
    """P-values beyond the tail."""
    has_moved: bool

    @classmethod
    def of(cls, count_B: NDArray[np.int64], held_out: int) -> Self | None:
        """From the (BINS,) counts of a run's p-values, which are multiples of 1 / (1 + held_out). None where too few
        rows are beyond the tail to say anything.
        """
        edge_B = np.arange(1, BINS + 1) / BINS
        expected_B = np.floor(edge_B * (1 + held_out) * (1 + 1e-9)) / (1 + held_out)
        tail = round(TAIL * BINS)
        rows, held_out_rows = int(count_B[tail:].sum()), round((1 - TAIL) * held_out)
        if not rows or not held_out_rows:
            return None
        share_B = np.cumsum(count_B[tail:]) / rows
        expected_B = (expected_B[tail:] - expected_B[tail - 1]) / (1 - expected_B[tail - 1])
        distance = float(np.maximum(share_B - expected_B, 0).max())
        return cls(distance, rows, distance > max(MOVED, chance.of_distance(rows, held_out_rows)))

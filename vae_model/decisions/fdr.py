"""Alerts by a false-discovery rate: Benjamini and Hochberg, "Controlling the False Discovery Rate" (1995).

Of m p-values, sorted, the largest p_(k) <= q k / m and all below it are discoveries. Conformal p-values of one set of
held-out rows hang together, but positively, so that the rate holds (Bates, Candes, Lei, Romano and Sesia, "Testing for
Outliers with Conformal p-values", 2023). They take few values, 1 + n of n held-out rows: counting them is enough.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROUNDING = 1e-12
"""How far p and q k / m may be apart and count as the same, relative: both are rounded."""


def cutoff(p_values: NDArray[np.float64], counts: NDArray[np.int64], rate: float) -> float | None:
    """The largest p-value of a discovery; None where there is none. Of V distinct p-values (V,) ``counts`` says how
    many rows have each.
    """
    order = np.argsort(p_values)
    sorted_V, up_to_V = p_values[order], np.cumsum(counts[order])
    if not len(up_to_V):
        return None
    found = np.flatnonzero(sorted_V <= rate * up_to_V / up_to_V[-1] * (1 + ROUNDING))
    return float(sorted_V[found[-1]]) if len(found) else None


class Need(NamedTuple):
    """What a run without a discovery would have needed, one of the three, where its finest p-value is too coarse."""

    at_finest: int
    """Rows that have the finest p-value."""
    held_out: int
    """Held-out rows, with as many rows at their finest p-value as there are, or with one."""
    rows: int
    """Or scored rows at most, with the same."""


def need(rows: int, at_finest: int, finest: float, rate: float) -> Need | None:
    """What ``rows`` scored rows need for a discovery, ``at_finest`` of which have the ``finest`` p-value that there can
    be; None where a single row with it would be one.
    """
    if finest * rows <= rate * (1 + ROUNDING):
        return None
    few = max(at_finest, 1)
    return Need(
        math.ceil(finest * rows / rate * (1 - ROUNDING)),
        math.ceil(rows / (rate * few) * (1 - ROUNDING)) - 1,
        math.floor(rate * few / finest * (1 + ROUNDING)),
    )

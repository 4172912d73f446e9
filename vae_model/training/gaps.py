"""What a gap adds to a row's score: the more, the fewer training rows had one like it.

That a value is missing is itself an observation. A row is judged by its least usual gap alone, as gaps come together (a
source that is down leaves many): rows with gaps are still ranked among themselves by what is there.

How unusual a gap is, is the share of the training rows with one at least as rare, in whichever column: in a table of
many columns, each hardly ever missing, a row with some gap is nothing special. Each training row is looked at as if it
were new, so that one gap fewer is known of its column (leave one out). So columns that were missing once say how likely
a gap is in one that never was (Good, "The population frequencies of species", 1953).

The currency is that of the scores themselves. A gap of share q adds what lies between the median and the score that 4 q
of the held-out rows reach: rows with a rare gap are to take a small part of the alarms, at any rate. From an eighth of
the rows on, it adds nothing. Where no row had the like, it is a broken constant, and lifts a row above all held-out
rows.

Shapes: N rows, D features, X shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DISCOUNT = 4.0
"""A gap counts as so many times more usual than it was."""
UNHEARD = 2.0
"""A gap without its like adds so many times the highest held-out score: normal rows to come may score higher."""


def shares(count_D: NDArray[np.intp], gap_N: NDArray[np.intp]) -> NDArray[np.float64]:
    """(D,) for each feature, the share of training rows with a gap at least as rare as one in it.

    ``count_D`` is in how many training rows each feature was missing, ``gap_N`` is their ``Batch.gap_N``.
    """
    others = np.sort(count_D[gap_N[gap_N >= 0]]) - 1
    return np.asarray(np.searchsorted(others, count_D, side="right") / len(gap_N))


def scores(share_X: NDArray[np.float64], held_out_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X,) what gaps of some shares add to a score, by the scores of held-out rows without it."""
    if not len(held_out_N):
        return np.zeros(len(share_X))
    reached_X = np.quantile(held_out_N, 1 - np.minimum(DISCOUNT * share_X, 0.5))
    rare_X = np.maximum(reached_X - np.quantile(held_out_N, 0.5), 0)
    return np.asarray(np.where(share_X == 0, UNHEARD * held_out_N.max(), rare_X))

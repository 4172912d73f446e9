"""What a gap adds to a row's score: the more, the fewer training rows had one like it.

That a value is missing is itself an observation. A row is judged by its least usual gap alone, as gaps come together (a
source that is down leaves many): rows with gaps are still ranked among themselves by what is there. How unusual a gap
is, is the share of the training rows with one at least as rare, in whichever column: in a table of many columns, each
hardly ever missing, a row with some gap is nothing special.

The currency is that of the scores themselves. A gap that k of n rows had adds what lies between the median and the
score that 4 k / n of the held-out rows reach; the 4, because k may well be as many by chance, and so that rows with a
rare gap take a small part of the alarms only. From an eighth of the rows on, it adds nothing. One that no row had is a
broken constant: it lifts a row above all held-out ones.

Shapes: N rows, D features, X shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BY_CHANCE = 4.0
"""A gap counts as so many times more usual than it was."""
UNHEARD = 2.0
"""What no training row lacked adds so many times the highest held-out score: normal rows to come may score higher."""


def shares(rank_D: NDArray[np.intp], gap_N: NDArray[np.intp]) -> NDArray[np.float64]:
    """(D,) for each feature, the share of training rows whose least usual gap is in it or in one rarer still.

    ``rank_D`` is 0 for the feature that is missing most seldom, ``gap_N`` is ``Batch.gap_N`` of the training rows.
    """
    counts = np.bincount(rank_D[gap_N[gap_N >= 0]], minlength=len(rank_D))
    return np.asarray(np.cumsum(counts)[rank_D] / len(gap_N))


def scores(share_X: NDArray[np.float64], held_out_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X,) what gaps of some shares add to a score, by the scores of held-out rows without it."""
    if not len(held_out_N):
        return np.zeros(len(share_X))
    reached_X = np.quantile(held_out_N, 1 - np.minimum(BY_CHANCE * share_X, 0.5))
    rare_X = np.maximum(reached_X - np.quantile(held_out_N, 0.5), 0)
    return np.asarray(np.where(share_X == 0, UNHEARD * held_out_N.max(), rare_X))

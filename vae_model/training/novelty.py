"""What is new in a row adds to its score: a gap, or a category's value that never was in training. The more, the fewer
training rows had the like.

That a value is missing, or unseen, is itself an observation. A row is judged by the least usual one alone, as gaps
come together (a source that is down leaves many): rows with gaps are still ranked among themselves by what is there.

How unusual a gap is, is the share of the training rows with one at least as rare, in whichever column: in a table of
many columns, each hardly ever missing, a row with some gap is nothing special. Each training row is looked at as if it
were new, so that one gap fewer is known of its column (leave one out). So columns that were missing once say how likely
a gap is in one that never was (Good, "The population frequencies of species", 1953). So do values that occurred once
say how likely an unseen one is.

The currency is that of the scores themselves. What has a share of q adds what lies between the median and the score
that 4 q of the held-out rows reach: rows with a rare gap are to take a small part of the alarms, at any rate. From an
eighth of the rows on, it adds nothing. Where no row had the like, it is a broken constant, and lifts a row above all
held-out rows.

Shapes: N rows, D features, C categories, X shares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DISCOUNT = 4.0
"""What is new counts as so many times more usual than it was."""
RARE = 0.002
"""Where more rows than this have a value of their own, an unseen one is nothing new."""
UNHEARD = 1.4
"""What is without its like adds so many times the highest held-out score: normal rows to come may score higher."""


def shares(count_D: NDArray[np.intp], gap_N: NDArray[np.intp]) -> NDArray[np.float64]:
    """(D,) for each feature, the share of training rows with a gap at least as rare as one in it.

    ``count_D`` is in how many training rows each feature was missing, ``gap_N`` is their ``Batch.gap_N``.
    """
    others = np.sort(count_D[gap_N[gap_N >= 0]]) - 1
    return np.asarray(np.searchsorted(others, count_D, side="right") / len(gap_N))


def unseen_shares(singles_C: NDArray[np.intp], rows: int) -> NDArray[np.float64]:
    """(C,) for each category, the share of training rows with a value, in it or in one that has fewer such rows, that
    no other row has: each would be unseen, were it not there. 1 where it is more than ``RARE``: then it is for the
    members to say how odd a value is of which there are many.
    """
    order_C = np.argsort(singles_C, kind="stable")
    share_C = np.empty(len(singles_C))
    share_C[order_C] = np.minimum(np.cumsum(singles_C[order_C]) / rows, 1)
    return np.where(share_C > RARE, 1, share_C)


def scores(share_X: NDArray[np.float64], held_out_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """(X,) what novelties of some shares add to a score, by the scores of held-out rows without it."""
    if not len(held_out_N):
        return np.zeros(len(share_X))
    reached_X = np.quantile(held_out_N, 1 - np.minimum(DISCOUNT * share_X, 0.5))
    rare_X = np.maximum(reached_X - np.quantile(held_out_N, 0.5), 0)
    return np.asarray(np.where(share_X == 0, UNHEARD * held_out_N.max(), rare_X))

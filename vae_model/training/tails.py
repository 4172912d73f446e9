"""Where the tail of a sample ends, and what stands apart from it begins.

In a tail of index a the largest sizes r_1 >= r_2 >= … have independent gaps: i a log(r_i / r_{i+1}) is exponential with
mean 1 (Renyi, "On the theory of order statistics", 1953). A gap that is beyond what such a number allows, and wide
beside the sizes themselves, is none of the tail's own: the i values beyond it stand apart. That needs no scale and no
assumption about how heavy the tail is, as its index is taken from the sample: from the bulk, growing outwards as that
of a Weibull tail, or by Hill's estimate ("A simple general approach to inference about the tail of a distribution",
1975) from the sizes just inside the gap, whichever is the heavier.

Shapes: N values, P of them positive, M gaps that are looked at.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_SHARE, MAX_FEW = 0.012, 10
"""At most this share of the values stands apart, or so many where they are few: more are a part of the table."""
CHANCE = 7.0
"""A gap has to be this large, in units of its mean: one in a thousand is, by chance."""
WIDE, WIDE_OF_EQUALS, EQUALS = 2.2, 5.0, (0.002, 2)
"""And the size on its outer side so many times that on its inner side; more where most of what is beyond are equals and
more than such a share of the values, or so many: they may well be a value that is rare and right."""
WINDOW = 0.02, 10
"""Share of the values by which Hill estimates, and their least number."""
SLACK = 1.5
"""Hill's estimate lags behind: of a normal tail the index grows outwards. It counts for so many times as much."""
FEWEST = 20
"""With fewer positive sizes there is no telling."""
MAX_INDEX = 15.0
"""No tail is taken for lighter: equal values have none at all."""


def end(sizes_N: NDArray[np.floating], share: float = MAX_SHARE, least: int = MAX_FEW, wide: float = WIDE) -> float:
    """The largest size that belongs to the tail: what is larger stands apart. Infinite where nothing does.

    Sizes are distances from where most of them are, at least 0; zeros have no say. At most ``share`` of them, or
    ``least``, stand apart, by a gap that is at least ``wide``.
    """
    size_P = sizes_N[sizes_N > 0].astype(np.float64)
    count = len(size_P)
    if count < FEWEST:
        return math.inf
    few, window = max(least, math.ceil(share * count)), max(WINDOW[1], math.ceil(WINDOW[0] * count))
    few = min(few, count - window - 1)
    if few < 1:
        return math.inf
    log_P = np.log(np.sort(np.partition(size_P, count - few - window - 1)[count - few - window - 1 :])[::-1])
    if log_P[0] - log_P[few] < math.log(wide):  # of most columns there is no more to be said
        return math.inf
    inner, outer = np.log(np.quantile(size_P, [1 - 1 / 4, 1 - 1 / 16]))
    rank_M = np.arange(1, few + 1)
    growth_M = np.log(count / rank_M) / math.log(8)  # between a quarter and a sixteenth lies an eighth
    bulk_M = growth_M * math.log(4) / max(outer - inner, 1e-9)
    cumulated = np.concatenate([[0.0], np.cumsum(log_P)])
    excess_M = (cumulated[rank_M + window] - cumulated[rank_M]) / window - log_P[rank_M + window]
    index_M = np.minimum(np.minimum(bulk_M, SLACK / np.maximum(excess_M, 1e-9)), MAX_INDEX)
    gap_M = log_P[rank_M - 1] - log_P[rank_M]
    different_M = 1 + np.cumsum(np.diff(log_P[: few + 1]) < 0) - (gap_M > 0)
    is_one_value_M = (2 * different_M <= rank_M) & (rank_M > max(EQUALS[0] * len(sizes_N), EQUALS[1]))
    wide_M = np.where(is_one_value_M, math.log(max(wide, WIDE_OF_EQUALS)), math.log(wide))
    apart = np.flatnonzero((rank_M * index_M * gap_M > CHANCE) & (gap_M > wide_M))
    return math.exp(log_P[apart[-1] + 1]) * (1 + 1e-9) if len(apart) else math.inf

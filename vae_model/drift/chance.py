"""How far two samples of the same rows may be apart by chance: below these bounds nothing is said to have moved.

Each bound is passed by chance in about one comparison of ``1 / ALPHA``.
"""

from __future__ import annotations

import math
from statistics import NormalDist

ALPHA = 1e-4
Z = NormalDist().inv_cdf(1 - ALPHA)
TWO_SIDED = NormalDist().inv_cdf(1 - ALPHA / 2)


def of_psi(bins: int, one: int, other: int) -> float:
    """The largest population stability index of two samples of so many rows over so many bins.

    Divided by 1 / one + 1 / other it follows a chi-squared distribution of bins - 1 degrees of freedom (Yurdakul and
    Naranjo, "Statistical properties of the population stability index", 2020), whose quantile is Wilson and
    Hilferty's (1931).
    """
    freedom = max(bins - 1, 1)
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + Z * math.sqrt(spread)) ** 3 * (1 / one + 1 / other)


def of_shares(share: float, other_share: float, one: int, other: int) -> float:
    """The largest difference of the shares of two samples, by the pooled share (with a row of each kind added, lest a
    share of 0 be taken for certain) and Yates's correction.
    """
    pooled = (share * one + other_share * other + 1) / (one + other + 2)
    rows = 1 / one + 1 / other
    return TWO_SIDED * math.sqrt(pooled * (1 - pooled) * rows) + rows / 2


def of_distance(one: int, other: int) -> float:
    """By how much at most the distribution function of one sample is above that of another, as Smirnov's test on one
    side has it for large ones.
    """
    return math.sqrt(-math.log(ALPHA) / 2 * (1 / one + 1 / other))

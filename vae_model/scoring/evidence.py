"""Evidence: how improbable a statistic is among normal rows, and what several of them come to.

The evidence of a value is -log of the share of normal rows whose statistic is at least as large, in nats. Up to the
98 % quantile (of fewer than 500 rows an earlier one) that is read off the rows; beyond, the excess over it follows a
generalised Pareto distribution, as the tails of nearly all distributions do (Pickands, "Statistical inference using
extreme order statistics", 1975), fitted by probability-weighted moments (Hosking and Wallis, "Parameter and quantile
estimation for the generalized Pareto distribution", 1987).

Several pieces are joined by the harmonic mean of their p-values (Wilson, "The harmonic mean p-value for combining
dependent tests", 2019): log of the weighted mean of exp(evidence). It takes dependent statistics as they are, and one
that is odd beyond doubt is not drowned by many that are not, as it would be in a sum.

Shapes: N rows, J statistics, K knots.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.stored import HUGE, Stored

TAIL = 0.02
"""Share of the rows in the tail."""
SURVIVAL = (1.0, 0.5, 0.25, 0.125, 0.06, 0.03, TAIL)
"""At these shares of rows a statistic is read off."""
FEWEST = 10
"""Rows that a tail is fitted on, at least."""
MAX_SHAPE, MIN_SCALE = 0.45, 0.05
"""No tail is taken for heavier, and no deviation of the tail for less than this share of what comes before it: that is
of a few rows that lie close together."""
TINY = 1e-150
"""No value is told from 0 below: between two that are that close nothing can be interpolated."""
MOST = 1000.0
"""Nats. No evidence is larger: beyond, nothing is to be told."""
NAMES = ("knot", "tail_scale", "tail_shape")


@dataclass(frozen=True)
class Evidence:
    """How statistics are distributed over normal rows."""

    knot_JK: NDArray[np.float64]
    """The value that a share ``SURVIVAL`` of the rows has at least."""
    scale_J: NDArray[np.float64]
    shape_J: NDArray[np.float64]
    """Of the generalised Pareto distribution beyond the last knot; a shape of 0 is exponential."""

    @classmethod
    def fit(cls, statistic_NJ: NDArray[np.float64]) -> Self:
        """From the statistics of normal rows; NaN where there is none. A statistic that is the same for all of them is
        one of which the next larger value is as rare as the rows are many.
        """
        count = statistic_NJ.shape[1]
        knot_JK = np.zeros((count, len(SURVIVAL)))
        scale_J, shape_J = np.ones(count), np.zeros(count)
        for j, own_N in enumerate(statistic_NJ.T):
            sorted_N = np.sort(own_N[np.isfinite(own_N)])
            rows = len(sorted_N)
            if not rows:
                knot_JK[j] = np.inf
                continue
            tail = min(max(round(TAIL * rows), FEWEST), max(rows // 2, 1))
            begin = sorted_N[rows - tail]
            excess_N = sorted_N[rows - tail :] - begin
            least = max(MIN_SCALE * (begin - sorted_N[rows - max(round(rows / 2), 1)]), 1e-9)
            if not excess_N.any():  # of what never happens, such as a value that is stuck
                least = max(least, 1 / math.log(rows + 1))
            if rows < 2 * FEWEST:  # how far apart the farthest are is all that is known
                least = max(least, (sorted_N[-1] - sorted_N[0]) / (2 * math.log(rows + 1)))
            scale, shape = _pareto(excess_N, least)
            for k, share in enumerate(SURVIVAL):
                above = max(round(share * rows), 1)
                if above >= tail:
                    knot_JK[j, k] = sorted_N[rows - above]
                else:  # where rows are few the tail begins earlier: the last knots are its own
                    knot_JK[j, k] = begin + _beyond(tail / rows / share, scale, shape)
            scale_J[j], shape_J[j] = scale + shape * (knot_JK[j, -1] - begin), shape
        knot_JK[np.abs(knot_JK) < TINY] = 0
        return cls(np.minimum(knot_JK, HUGE), scale_J, shape_J)

    def __call__(self, statistic_NJ: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, J) the evidence of each statistic; 0 where there is none (NaN)."""
        out_NJ = np.zeros(statistic_NJ.shape)
        nats_K = -np.log(SURVIVAL)
        for j, own_N in enumerate(statistic_NJ.T):
            # of equal knots the first holds: a value that most rows have is no evidence
            knot_K, first_K = np.unique(self.knot_JK[j], return_index=True)
            out_NJ[:, j] = np.interp(own_N, knot_K, nats_K[first_K])
            excess_N = np.maximum(own_N - knot_K[-1], 0) / self.scale_J[j]
            is_far_N = excess_N > 0
            shape, far_N = self.shape_J[j], excess_N[is_far_N]
            beyond_N = np.log1p(shape * far_N) / shape if shape > 1e-6 else far_N
            out_NJ[is_far_N, j] = np.minimum(nats_K[-1] + beyond_N, MOST)
        out_NJ[np.isnan(statistic_NJ)] = 0
        return out_NJ

    def reached(self, p_value: float) -> float:
        """The value of the first statistic that this share of normal rows has at least."""
        return float(np.interp(-math.log(p_value), -np.log(SURVIVAL), self.knot_JK[0]))

    @staticmethod
    def stored(count: int) -> dict[str, Stored]:
        """Its arrays in a model file, of so many statistics."""
        return {
            "knot": Stored((count, len(SURVIVAL)), dtype="float64"),
            "tail_scale": Stored((count,), 1e-9, dtype="float64"),
            "tail_shape": Stored((count,), 0, MAX_SHAPE, dtype="float64"),
        }

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        return dict(zip(NAMES, (self.knot_JK, self.scale_J, self.shape_J), strict=True))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        return cls(*(arrays[name] for name in NAMES))


def _pareto(excess_N: NDArray[np.float64], least: float) -> tuple[float, float]:
    """Scale and shape of a generalised Pareto distribution, by the first two probability-weighted moments."""
    count = len(excess_N)
    mean = float(excess_N.mean())
    second = float((excess_N * np.arange(count)[::-1]).sum()) / max(count * (count - 1), 1)  # E[x (1 - F(x))]
    if mean <= 2 * second or count < FEWEST:
        return max(mean, least), 0.0
    shape = min(max(2 - mean / (mean - 2 * second), 0.0), MAX_SHAPE)
    return max(mean * (1 - shape), least), shape


def _beyond(odds: float, scale: float, shape: float) -> float:
    """The excess that one of so many values of a tail has at least."""
    odds = max(odds, 1)
    return scale * ((odds**shape - 1) / shape if shape > 1e-6 else math.log(odds))


def joined(evidence_NJ: NDArray[np.float64], weight_J: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) what the pieces of evidence of each row come to; the weights add up to 1."""
    most_N = evidence_NJ.max(axis=1, initial=0)
    odds_NJ = np.exp(evidence_NJ - most_N[:, None])
    odds_NJ *= weight_J
    return np.asarray(most_N + np.log(odds_NJ.sum(axis=1)))  # a product's last digits depend on the rows beside a row

"""How well scores tell anomalous rows from others: AUC, precision and recall, with bootstrap intervals.

Rows may have weights, as those of a sample that has more of one kind than its table. Rows of one score are not told
apart: where a budget ends among them, each counts by the part that it takes. Scores without a number are the lowest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES, LEVEL = 200, 0.95


class Interval(NamedTuple):
    """A figure, and between which values it lies by the bootstrap at ``LEVEL``."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, resampled: NDArray[np.float64]) -> Interval:
        """By what the same figure is on resamples."""
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return cls(float(value), float(low), float(high))


def resamples(sizes: tuple[int, ...], seed: int) -> Iterator[list[NDArray[np.float64]]]:
    """How often each row is drawn, in ``RESAMPLES`` draws with replacement from groups of so many rows."""
    draw = np.random.default_rng([seed, 18])
    for _ in range(RESAMPLES):
        yield [np.bincount(draw.integers(size, size=size), minlength=size).astype(float) for size in sizes]


@dataclass(frozen=True)
class Ranking:
    """Rows by their scores, the highest first, and which of them are anomalous."""

    order: NDArray[np.intp]
    last: NDArray[np.intp]
    """Where in the order each group of equal scores ends."""
    is_anomalous: NDArray[np.bool_]

    @classmethod
    def of(cls, scores: NDArray[np.float64], is_anomalous: NDArray[np.bool_]) -> Ranking:
        """Sort once, however often rows are weighed anew."""
        known = np.where(np.isnan(scores), -np.inf, scores)
        order = np.argsort(-known, kind="stable")
        ordered = known[order]
        last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        return cls(order, last, is_anomalous)

    def curve(self, weights: NDArray[np.float64]) -> Curve:
        """The shares found as more and more rows are taken."""
        ordered, is_odd = weights[self.order], self.is_anomalous[self.order]
        found, others = (np.append(0.0, np.cumsum(ordered * own)[self.last]) for own in (is_odd, ~is_odd))
        return Curve(found, others)


@dataclass(frozen=True)
class Curve:
    """The weight of anomalous rows, and of others, down to each score; from 0 rows to all."""

    found: NDArray[np.float64]
    others: NDArray[np.float64]

    @property
    def auc_roc(self) -> float:
        """How likely an anomalous row scores higher than another; of equals half of them."""
        above = (self.found[1:] + self.found[:-1]) / 2
        return float(np.diff(self.others) @ above / (self.found[-1] * self.others[-1]))

    @property
    def auc_pr(self) -> float:
        """Average precision: the mean, over the anomalous rows, of the precision down to each one's score."""
        taken = self.found[1:] + self.others[1:]
        precision = np.divide(self.found[1:], taken, out=np.zeros_like(taken), where=taken > 0)
        return float(np.diff(self.found) @ precision / self.found[-1])

    def recall(self, share: float) -> float:
        """The share of anomalous rows among the highest ``share`` of all."""
        return self._found(share) / float(self.found[-1])

    def precision(self, share: float) -> float:
        """How many of the highest ``share`` of all rows are anomalous."""
        return self._found(share) / (share * float(self.found[-1] + self.others[-1]))

    def _found(self, share: float) -> float:
        taken = self.found + self.others
        return float(np.interp(share * taken[-1], taken, self.found))


def cut_at(scores: NDArray[np.float64], weights: NDArray[np.float64], rate: float) -> float:
    """The score above which ordinary rows are flagged at a rate, or at the finest that they support.

    As a calibration has it (``Calibration.cut``), but of rows that are drawn several times or not at all.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    order = np.argsort(-known, kind="stable")
    down_to, allowed = np.cumsum(weights[order]), max(int(rate * (1 + weights.sum()) * (1 + 1e-9)), 1)
    return float(known[order[np.searchsorted(down_to, allowed)]]) if allowed <= down_to[-1] else -np.inf

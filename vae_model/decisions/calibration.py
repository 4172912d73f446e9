"""Scores to p-values and decisions, by the scores of held-out normal rows.

The p-value of a score s is (1 + #{held-out scores >= s}) / (1 + n): the conformal p-value of Vovk, Gammerman and
Shafer, "Algorithmic Learning in a Random World" (2005), ch. 2. For a normal row, P(p <= a) <= a at every level a. That
is so of rows like those held out: what training set aside of them (gross errors, and at most one in 500 whose score
stands far apart) is not among them, and normal rows of that kind are flagged beyond it.

A false-alarm rate a flags the rows of p <= a. Fewer than 1 / a - 1 held-out rows give no row such a p-value, and none
would ever be flagged: then the rows that score above every held-out row are, whose p-value is the smallest there is,
1 / (1 + n). So a row that scores many times higher than every held-out row is flagged whatever their number. Normal
rows are then flagged at a rate of at most 1 / (1 + n), which is more than a; ``describe`` says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_model.decisions.ranks import Ranks


class Rule(NamedTuple):
    """What is decided of a scored row: whether it is flagged, with how many reasons, and whether it has a score at all.

    Plain values, which travel beside a model: it has one of its own, and scores the same by any other.
    """

    false_alarm_rate: float
    """1 where there is a threshold."""
    threshold: float | None
    max_reasons: int
    max_missing: float
    expected_alerts: tuple[float, int] | None = None
    """So many alerts of so many rows, where the rate was asked for in these words."""
    by: tuple[str, ...] = ()
    """The columns whose values are segments; none where the table is one."""


@dataclass(frozen=True)
class Alerts:
    """How many of some rows are to be expected flagged, were they all normal."""

    rows: int
    expected: float
    low: float
    high: float
    """Fewer than ``low`` or more than this are flagged in one case of twenty or so, by chance and because few held-out
    rows set the bar."""

    @property
    def between(self) -> str:
        """What chance allows, in words."""
        return f"{_few(self.low)} to {_few(self.high)}"

    def describe(self) -> str:
        """In words."""
        many = "row" if self.rows == 1 else "rows"
        return f"{_few(self.expected)} ({self.between}) to expect of {self.rows:,} normal {many}"


@dataclass(frozen=True)
class Calibration:
    """The held-out scores, ascending, at least one, and the decision made from them."""

    scores: NDArray[np.float64]
    false_alarm_rate: float
    threshold: float | None = None
    expected_alerts: tuple[float, int] | None = None
    """``Rule.expected_alerts``."""
    level: str = ""
    """In words what scores were divided by before they came here; empty where they are as they are."""

    @property
    def finest_rate(self) -> float:
        """The smallest false-alarm rate that the held-out rows support, 1 / (1 + n): no p-value is smaller."""
        return 1 / (1 + len(self.scores))

    @property
    def is_too_small(self) -> bool:
        """Whether the held-out rows are too few for the false-alarm rate."""
        return self.threshold is None and self.false_alarm_rate < self.finest_rate

    @cached_property
    def _flagged_ranks(self) -> int:
        """How many of the 1 + n p-values there can be are low enough to be flagged, at least the smallest."""
        p_values = np.arange(1, 2 + len(self.scores)) / (1 + len(self.scores))
        return int(np.count_nonzero(p_values <= max(self.false_alarm_rate, self.finest_rate) * (1 + 1e-9)))

    @cached_property
    def cut(self) -> float:
        """The score that decides: rows above it are flagged or, where it is the config's threshold, at or above it.

        It is a held-out score, above which lie so few others that the p-value is at most the false-alarm rate: the
        highest of all where they are too few for the rate. Minus infinity where every p-value is low enough.
        """
        if self.threshold is not None:
            return self.threshold
        above = len(self.scores) - self._flagged_ranks
        return float(self.scores[above]) if above >= 0 else -np.inf

    @property
    def resulting_rate(self) -> float:
        """The share of normal rows that the cut flags, as expected from the held-out rows.

        Of a false-alarm rate a, floor(a (1 + n)) / (1 + n), or 1 / (1 + n) where a is finer. Of a threshold, the share
        of the held-out rows that reach it, and 1 / (1 + n) where none does: they tell of nothing rarer.
        """
        if self.threshold is None:
            return self._flagged_ranks / (1 + len(self.scores))
        return max(float(np.mean(self.scores >= self.threshold)), self.finest_rate)

    def alerts(self, rows: int) -> Alerts:
        """How many of so many normal rows to expect flagged.

        The rate that a bar of held-out rows results in is known no better than its r rows above allow, up to a share of
        1 / sqrt(r): it follows the beta distribution of r and 1 + n - r.
        """
        expected = rows * self.resulting_rate
        above = self._flagged_ranks if self.threshold is None else np.count_nonzero(self.scores >= self.threshold)
        deviation = math.sqrt(expected + expected**2 / max(above, 1))
        return Alerts(rows, expected, max(expected - 2 * deviation, 0.0), min(expected + 2 * deviation, rows))

    @cached_property
    def _ranks(self) -> Ranks:
        return Ranks.of(self.scores)

    def score_of(self, p_value: float) -> float:
        """The score that this share of the held-out rows are above, about."""
        return float(self.scores[round((1 - p_value) * (len(self.scores) - 1))])

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) p-values; NaN scores give NaN."""
        at_least = len(self.scores) - self._ranks(scores)
        return np.where(np.isnan(scores), np.nan, (1 + at_least) / (1 + len(self.scores)))

    def decide(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether each row is flagged. By a false-alarm rate, as its p-value says: s > cut where p <= rate."""
        return scores >= self.cut if self.threshold is not None else scores > self.cut

    def describe(self) -> str:
        """The decision in words: the cut, the rate that results, the rate asked for, the finest that can be had."""
        held_out = len(self.scores)
        support = f"{held_out:,} held-out row{' supports' if held_out == 1 else 's support'}"
        finest = f"{support} {'no rate below' if self.is_too_small else 'rates down to'} {self.finest_rate:.3g}"
        about = f"about {_share(self.resulting_rate)}"
        if self.threshold is not None:
            reached = int(np.count_nonzero(self.scores >= self.threshold))
            return (
                f"rows that score at least {self.cut:.15g} (decision.threshold) are flagged, "
                f"{'' if reached else 'at most '}{about}: it is reached by {reached:,} of the held-out rows. {finest}"
            )
        times = f" times {self.level}" if self.level else ""
        highest = f", the highest {'' if times else 'score '}of a held-out row," if self._flagged_ranks == 1 else ""
        return (
            f"rows that score above {self.cut:,.6g}{times}{highest} are flagged, {about}. {self.asked}"
            f"{', but' if self.is_too_small else ';'} {finest}"
        )

    @property
    def asked(self) -> str:
        """The rate that is asked for, in words."""
        if self.expected_alerts is None:
            return f"decision.false_alarm_rate asks for {self.false_alarm_rate:g}"
        alerts, rows = self.expected_alerts
        return f"decision.expected_alerts asks for {alerts:g} in {rows:,} rows"


def _few(number: float) -> str:
    """A number of rows: of few with a decimal."""
    return f"{number:,.0f}" if number >= 10 or number == 0 else f"{number:.2g}"


def _share(rate: float) -> str:
    """A share of normal rows in words."""
    return f"1 normal row in {round(1 / rate):,}" if rate <= 0.1 else f"{rate:.0%} of the normal rows"

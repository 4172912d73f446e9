"""Scores to p-values and decisions, by the scores of held-out normal rows.

The p-value of a score s is (1 + #{held-out scores >= s}) / (1 + n): the conformal p-value of Vovk, Gammerman and
Shafer, "Algorithmic Learning in a Random World" (2005), ch. 2. For a normal row, P(p <= a) <= a at every level a.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_model.decisions.ranks import Ranks


@dataclass(frozen=True)
class Calibration:
    """The held-out scores, ascending, and the decision made from them."""

    scores: NDArray[np.float64]
    false_alarm_rate: float
    threshold: float | None = None

    @property
    def finest_rate(self) -> float:
        """The smallest p-value there can be, 1 / (1 + n)."""
        return 1 / (1 + len(self.scores))

    @property
    def is_too_small(self) -> bool:
        """Whether the held-out rows are too few for the false-alarm rate."""
        return self.threshold is None and self.false_alarm_rate < self.finest_rate

    @property
    def effective_rate(self) -> float:
        """The rate decisions are made at: the configured one, or the finest there is where that is larger.

        With too few held-out rows no p-value could ever reach the configured rate, and nothing would ever be flagged.
        Rows that score above every held-out row are flagged instead; training warns of it.
        """
        return max(self.false_alarm_rate, self.finest_rate)

    @cached_property
    def _ranks(self) -> Ranks:
        return Ranks.of(self.scores)

    def p_values(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) p-values; NaN scores give NaN."""
        at_least = len(self.scores) - self._ranks(scores)
        return np.where(np.isnan(scores), np.nan, (1 + at_least) / (1 + len(self.scores)))

    def decide(self, scores: NDArray[np.float64], p_values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N,) whether each row is flagged."""
        if self.threshold is not None:
            return scores >= self.threshold
        return p_values <= self.effective_rate * (1 + 1e-9)

    def describe(self) -> str:
        """The decision in words."""
        if self.threshold is not None:
            return f"anomaly_score >= {self.threshold:g}"
        cut = float(np.quantile(self.scores, 1 - self.effective_rate)) if len(self.scores) else float("nan")
        held_out = f"{len(self.scores):,} held-out rows"
        return f"p-value <= {self.effective_rate:.3g} (a score of about {cut:.3g}), from {held_out}"

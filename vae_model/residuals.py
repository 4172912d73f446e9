"""Residuals and their distance: how far each column is from what the network expects, in one currency.

1. Each column has a Pearson residual, what was observed less what was expected in standard deviations (McCullagh and
   Nelder, "Generalized Linear Models", 1989, 2.4): (x - mean) / sigma for a number; for a category whose observed
   value had probability p, (1 - p) / sqrt(p (1 - p)), the root of the odds against it.
2. It is centred and scaled on the training rows: z.
3. Beyond the 98 % quantile t of its size, z is measured by the tail its own column has: g = t (z / t)^k. A normal
   deviate of size g has a log-probability of about -g^2 / 2, so this is a tail with -log P proportional to z^(2 k), a
   Weibull tail. k <= 0.7: no tail is taken for as light as a normal one (1). k is found at t, where a Pareto tail
   of index a has the slope -dlogP/dlogz = a = k t^2; a is Hill's estimate ("A simple general approach to inference
   about the tail of a distribution", 1975), drawn towards a common value where a column has few rows in its tail.
   So 60 deviations weigh less in a column that is often wild (rain) than in one that never is (air pressure).
4. The score is the squared Mahalanobis distance of a row's residuals under their shrunk covariance, divided by their
   number: about 1 for a normal row. It splits over columns: the parts g_i (P g)_i add up to it.

Shapes: N rows, R residuals (numeric units first, then categories).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

CLIP = 5.0
"""Residuals stop here while their mean and deviation are taken: a few wild rows must not widen the measure."""
TAIL = 0.02
"""Share of a column's training residuals that counts as its tail."""
PRIOR_ROWS, PRIOR_INDEX = 20, 5.0
"""The common tail index, and the number of rows it is worth."""
MAX_POWER = 0.7
"""Largest k. Higher values let one wild column outweigh all others, lower ones hide it among many."""
MIN_SHRINKAGE = 0.02
"""At least this share of the covariance is the target, so that it can always be inverted."""


@dataclass(frozen=True)
class ResidualDistance:
    """What the training rows say of the residuals."""

    center_R: NDArray[np.float64]
    scale_R: NDArray[np.float64]
    tail_start_R: NDArray[np.float64]
    """t, in units of ``scale_R``; infinite for a column that never varied."""
    tail_power_R: NDArray[np.float64]
    """k"""
    precision_RR: NDArray[np.float64]

    @classmethod
    def fit(cls, residuals_NR: NDArray[np.float64], constant_R: NDArray[np.bool_]) -> Self:
        """From the training rows' residuals, NaN where missing.

        ``constant_R`` marks columns that never varied: they have no spread, and count by themselves.
        """
        vary = np.flatnonzero(~constant_R)
        r = residuals_NR[:, vary]
        seen = ~np.isnan(r)
        counts = np.maximum(seen.sum(axis=0), 1)
        center = np.where(seen, np.clip(r, -CLIP, CLIP), 0).sum(axis=0) / counts
        clipped = np.where(seen, np.clip(r - center, -CLIP, CLIP), 0)
        scale = np.maximum(np.sqrt((clipped**2).sum(axis=0) / counts), 0.01)

        size = np.where(seen, np.abs(r - center) / scale, 0)
        start = np.array(
            [np.quantile(size[seen[:, j], j], 1 - TAIL) if seen[:, j].any() else 1 for j in range(len(vary))]
        )
        start = np.maximum(start, 1e-3)
        beyond = size > start
        excess = np.log(np.maximum(size, start) / start).sum(axis=0)
        index = (PRIOR_ROWS + beyond.sum(axis=0)) / (PRIOR_ROWS / PRIOR_INDEX + excess)

        count = len(constant_R)
        whole = cls(np.zeros(count), np.ones(count), np.full(count, np.inf), np.ones(count), np.eye(count))
        whole.center_R[vary], whole.scale_R[vary] = center, scale
        whole.tail_start_R[vary], whole.tail_power_R[vary] = start, np.minimum(index / start**2, MAX_POWER)
        whole.precision_RR[np.ix_(vary, vary)] = np.linalg.inv(_ledoit_wolf(whole._normal(residuals_NR)[:, vary]))
        return whole

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        names = ("center", "scale", "tail_start", "tail_power", "precision")
        return cls(*(arrays[f"residual.{name}"] for name in names))

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        return {f"residual.{name.rpartition('_')[0]}": array for name, array in vars(self).items()}

    def parts(self, residuals_NR: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, R) each column's part of R * score. A missing column contributes what it does on average: 1."""
        g_NR = self._normal(residuals_NR)
        parts_NR = g_NR @ self.precision_RR
        parts_NR *= g_NR
        missing_NR = np.isnan(residuals_NR)
        if missing_NR.any():
            parts_NR[missing_NR] = 1
        return np.asarray(parts_NR)

    def _normal(self, residuals_NR: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, R) residuals on the scale of a normal deviate; 0 where missing."""
        g_NR = residuals_NR - self.center_R
        g_NR /= self.scale_R
        np.copyto(g_NR, 0, where=np.isnan(g_NR))
        rows, columns = np.nonzero(np.abs(g_NR) > self.tail_start_R)
        z, t = g_NR[rows, columns], self.tail_start_R[columns]
        g_NR[rows, columns] = np.copysign(t * (np.abs(z) / t) ** self.tail_power_R[columns], z)
        return np.asarray(g_NR)


def _ledoit_wolf(centred_NR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance shrunk towards mean variance * I (Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004, lemma 3.2-3.5).
    """
    n, r = centred_NR.shape
    sample = centred_NR.T @ centred_NR / n
    mean_variance = max(float(np.trace(sample)) / r, 1e-6)
    target = mean_variance * np.eye(r)
    dispersion = float(np.sum((sample - target) ** 2))
    noise = float(np.sum(np.sum(centred_NR**2, axis=1) ** 2)) / n**2 - float(np.sum(sample**2)) / n
    shrinkage = max(min(noise / dispersion if dispersion > 0 else 1.0, 1.0), MIN_SHRINKAGE)
    return np.asarray((1 - shrinkage) * sample + shrinkage * target)

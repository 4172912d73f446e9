"""Residuals and their distance: how far each column is from what the network expects, in one currency.

Each column's residual is its deviance residual (McCullagh and Nelder, "Generalized Linear Models", 1989, 2.4):
(x - mean) / sigma for a number, sqrt(2 * -log p(value)) for a category. The score is the squared Mahalanobis distance
of a row's residuals from their training mean, under a shrunk covariance, divided by their number: about 1 for a
normal row. It splits over columns: the parts d_i (P d)_i add up to it.

Shapes: N rows, R residuals (numeric units first, then categories).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

CLIP = 5.0
"""Training residuals stop here while mean and covariance are taken: a few wild rows must not widen the net."""
MIN_SHRINKAGE = 0.05
"""At least this share of the covariance is the target, so that it can always be inverted."""


@dataclass(frozen=True)
class ResidualDistance:
    """Training mean of the residuals and the inverse of their shrunk covariance."""

    center_R: NDArray[np.float64]
    precision_RR: NDArray[np.float64]

    @classmethod
    def fit(cls, residuals_NR: NDArray[np.float64], constant_R: NDArray[np.bool_]) -> Self:
        """From the training rows' residuals, NaN where missing.

        ``constant_R`` marks columns that never varied: they have no covariance, and count by themselves.
        """
        center_R = np.zeros(len(constant_R))
        precision_RR = np.eye(len(constant_R))
        vary = np.flatnonzero(~constant_R)
        clipped = np.clip(residuals_NR[:, vary], -CLIP, CLIP)
        seen = ~np.isnan(clipped)
        center_R[vary] = np.where(seen, clipped, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        centred = np.where(seen, clipped - center_R[vary], 0)
        precision_RR[np.ix_(vary, vary)] = np.linalg.inv(_ledoit_wolf(centred))
        return cls(center_R, precision_RR)

    def parts(self, residuals_NR: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N, R) each column's part of R * score. A missing column contributes what it does on average: 1."""
        missing = np.isnan(residuals_NR)
        d_NR = np.where(missing, 0, residuals_NR - self.center_R)
        parts_NR = d_NR * (d_NR @ self.precision_RR)
        parts_NR[missing] = 1
        return parts_NR


def _ledoit_wolf(centred_NR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance shrunk towards mean variance * I (Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004, eq. 14 and lemma 3.2-3.5).
    """
    n, r = centred_NR.shape
    sample = centred_NR.T @ centred_NR / n
    mean_variance = max(float(np.trace(sample)) / r, 1e-6)
    target = mean_variance * np.eye(r)
    dispersion = float(np.sum((sample - target) ** 2))
    noise = float(np.sum(np.sum(centred_NR**2, axis=1) ** 2)) / n**2 - float(np.sum(sample**2)) / n
    shrinkage = max(min(noise / dispersion if dispersion > 0 else 1.0, 1.0), MIN_SHRINKAGE)
    return (1 - shrinkage) * sample + shrinkage * target

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
4. The distance is the squared Mahalanobis distance of a row's residuals under their shrunk covariance. It splits over
   columns: the parts g_i (P g)_i add up to it; divided by their number it is about 1 for a training row. The precision
   is kept as P = I / v + U U' W: v is what most directions have, U the directions that differ most from it. Up to
   ``MAX_DIRECTIONS`` columns that is exact; beyond, cost and size grow with the columns, not with their square.

Shapes: N rows, R residuals (numeric units first, then categories), D directions; B tiles of W rows (``tiles``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks import tiles
from vae_model.networks.buffers import Buffers
from vae_model.networks.products import multiply, one_thread
from vae_model.networks.stored import HUGE, Stored

SPREAD_CLIP = 5.0
"""Residuals stop here while their mean and deviation are taken: a few wild rows must not widen the measure."""
TAIL_SHARE = 0.02
"""Share of a column's training residuals that counts as its tail."""
PRIOR_ROWS, PRIOR_INDEX = 20, 5.0
"""The common tail index, and the number of rows it is worth."""
MAX_POWER = 0.7
"""Largest k. Higher values let one wild column outweigh all others, lower ones hide it among many."""
MIN_POWER = 0.05
"""Smallest k: farther out is always more."""
MIN_SHRINKAGE = 0.02
"""At least this share of the covariance is the target, so that it can always be inverted."""
MAX_DIRECTIONS = 256
"""At most this many directions of the covariance are kept. A model file of another number is refused."""
FITTED_ROWS = 20_000
"""The residuals of at most this many rows are looked at, evenly spread over those given."""
FITTED_COLUMNS = 256
"""So many columns are looked at at once."""
MAX_PRECISION = 1e12
"""No direction weighs more, by far: the covariance is that of numbers of about 1, and shrunk."""


NAMES = ("center", "scale", "tail_start", "tail_power", "plain", "direction", "excess")


@dataclass(frozen=True)
class ResidualDistance:
    """A fitted Mahalanobis distance of residuals: location, scale and tail of each column, and the precision matrix."""

    center_R: NDArray[np.float32]
    scale_R: NDArray[np.float32]
    tail_start_R: NDArray[np.float32]
    """t, in units of ``scale_R``; infinite for a column that never varied."""
    tail_power_R: NDArray[np.float32]
    """k"""
    plain_R: NDArray[np.float32]
    """1 / v for each column; 1 for a column that never varied."""
    direction_RD: NDArray[np.float32]
    """U"""
    excess_D: NDArray[np.float32]
    """W: how much more than 1 / v each direction weighs."""

    @classmethod
    def fit(cls, residuals_NR: NDArray[np.floating[Any]], constant_R: NDArray[np.bool_]) -> Self:
        """From the training rows' residuals, NaN where missing.

        ``constant_R`` marks columns that never varied: they have no spread, and count by themselves.
        """
        vary = np.flatnonzero(~constant_R)
        sample_NR = residuals_NR[:: max(1, -(-len(residuals_NR) // FITTED_ROWS))]
        measure = np.empty((4, len(vary)))
        normal_NR = np.empty((len(sample_NR), len(vary)))
        for begin in range(0, len(vary), FITTED_COLUMNS):  # what is computed on the way is many times as large
            own = slice(begin, begin + FITTED_COLUMNS)
            measure[:, own], normal_NR[:, own] = _measured(sample_NR[:, vary[own]].astype(np.float64))
        center, scale, start, power = measure
        covariance = _ledoit_wolf(normal_NR)
        del normal_NR
        plain, direction, weight = _precision(covariance)
        count = len(constant_R)

        def whole(values: Any, other: float) -> NDArray[np.float32]:
            out = np.full(count, other, dtype=np.float32)
            out[vary] = values
            return out

        direction_RD = np.zeros((count, direction.shape[1]), dtype=np.float32)
        direction_RD[vary] = direction
        return cls(
            whole(center, 0), whole(scale, 1), whole(start, np.inf), whole(power, 1), whole(plain, 1),
            direction_RD, weight.astype(np.float32),
        )  # fmt: skip

    @classmethod
    def stored(cls, constant_R: NDArray[np.bool_]) -> dict[str, Stored]:
        """The arrays that ``from_arrays`` takes."""
        count = len(constant_R)
        directions = min(count - int(constant_R.sum()), MAX_DIRECTIONS)
        stored = (
            Stored((count,), -2 * SPREAD_CLIP, 2 * SPREAD_CLIP), Stored((count,), 1e-3, 4 * SPREAD_CLIP),
            Stored((count,), 1e-4, math.inf), Stored((count,), MIN_POWER / 2, 1),
            Stored((count,), 1 / MAX_PRECISION, MAX_PRECISION), Stored((count, directions), -1.01, 1.01),
            Stored((directions,), -MAX_PRECISION, MAX_PRECISION),
        )  # fmt: skip
        return {f"residual.{name}": one for name, one in zip(NAMES, stored, strict=True)}

    def fault(self, constant_R: NDArray[np.bool_]) -> str:
        """What arrays that are each as they must be say against each other; empty where they agree."""
        if not np.array_equal(self.tail_start_R > HUGE, constant_R):
            return "tail_start is infinite where a column varied, or finite where it did not"
        plain = float(self.plain_R[~constant_R].min(initial=np.inf))
        if float(self.excess_D.min(initial=0)) < -plain * (1 + 1e-5):
            return "excess takes away more than there is: a distance would be negative"
        return ""

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        return cls(*(arrays[f"residual.{name}"] for name in NAMES))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """For a model file."""
        return {f"residual.{name}": getattr(self, own.name) for name, own in zip(NAMES, fields(self), strict=True)}

    def scaled(self, deviation_R: NDArray[np.float32], weight: float) -> Self:
        """The same distance times ``weight``, of residuals that are ``deviation_R`` times as large."""
        return replace(
            self,
            center_R=self.center_R * deviation_R,
            scale_R=self.scale_R * deviation_R,
            plain_R=self.plain_R * np.float32(weight),
            excess_D=self.excess_D * np.float32(weight),
        )

    @cached_property
    def precision_RR(self) -> NDArray[np.float32] | None:
        """P as one matrix; None where its directions are so few that they are less work."""
        columns, directions = self.direction_RD.shape
        if columns > 2 * directions:
            return None
        precision_RR = (self.direction_RD.astype(np.float64) * self.excess_D) @ self.direction_RD.T
        return np.asarray(precision_RR + np.diag(self.plain_R), dtype=np.float32)

    @cached_property
    def _directions(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """From residuals to the directions, and back."""
        return np.ascontiguousarray(self.direction_RD.T), np.ascontiguousarray(self.direction_RD)

    def parts(self, residuals_NR: NDArray[Any]) -> NDArray[Any]:
        """(N, R) each column's part of the squared distance, about 1 on average; 0 where missing (NaN)."""
        residuals_BRW = tiles.of_rows(residuals_NR.astype(np.result_type(residuals_NR, self.center_R), copy=False))
        missing_BRW = np.isnan(residuals_BRW)
        with one_thread:
            parts_BRW = self.parts_in_tiles(residuals_BRW, missing_BRW if missing_BRW.any() else None, Buffers())
        return tiles.to_rows(parts_BRW, len(residuals_NR))

    def parts_in_tiles(
        self, residuals_BRW: NDArray[Any], missing_BRW: NDArray[np.bool_] | None, buffers: Buffers
    ) -> NDArray[Any]:
        """``parts`` of rows in tiles. The residuals are overwritten, and the result is a buffer."""
        residuals_BRW -= self.center_R[:, None]
        measure = self.scale_R, self.tail_start_R, self.tail_power_R
        g_BRW = _normal(residuals_BRW, missing_BRW, *measure, buffers)
        size, _, rows = g_BRW.shape
        pull_BRW = buffers.scratch(1, *g_BRW.shape, dtype=g_BRW.dtype)
        if self.precision_RR is not None:
            multiply(self.precision_RR, g_BRW, pull_BRW)
        else:
            into_DR, back_RD = self._directions
            along_BDW = multiply(into_DR, g_BRW, buffers("along", size, len(into_DR), rows, dtype=g_BRW.dtype))
            along_BDW *= self.excess_D[:, None]
            multiply(back_RD, along_BDW, pull_BRW)
            plain_BRW = buffers.scratch(0, *g_BRW.shape, dtype=g_BRW.dtype)
            pull_BRW += np.multiply(g_BRW, self.plain_R[:, None], out=plain_BRW)
        pull_BRW *= g_BRW
        return pull_BRW


def _measured(r_NR: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Center, scale, tail start and tail power of columns that vary (4, R), and their residuals bent to normal deviates
    (N, R).
    """
    seen = ~np.isnan(r_NR)
    counts = np.maximum(seen.sum(axis=0), 1)
    center = np.where(seen, np.clip(r_NR, -SPREAD_CLIP, SPREAD_CLIP), 0).sum(axis=0) / counts
    clipped = np.where(seen, np.clip(r_NR - center, -SPREAD_CLIP, SPREAD_CLIP), 0)
    scale = np.maximum(np.sqrt((clipped**2).sum(axis=0) / counts), 0.01)

    size = np.where(seen, np.abs(r_NR - center) / scale, 0)
    start = np.array(
        [np.quantile(size[seen[:, j], j], 1 - TAIL_SHARE) if seen[:, j].any() else 1 for j in range(len(counts))]
    )
    start = np.maximum(start, 1e-3)
    beyond = size > start
    excess = np.log(np.maximum(size, start) / start).sum(axis=0)
    index = (PRIOR_ROWS + beyond.sum(axis=0)) / (PRIOR_ROWS / PRIOR_INDEX + excess)
    power = np.minimum(index / start**2, MAX_POWER)
    wildest = np.maximum(size.max(axis=0, initial=0), 1.001 * start)
    power = np.minimum(power, np.log(np.sqrt(2 * np.log(counts + 1)) / start) / np.log(wildest / start))
    power = np.maximum(power, MIN_POWER)

    centred_RN = np.ascontiguousarray((r_NR - center).T)
    normal_RN = _normal(centred_RN, ~seen.T, scale, start, power, Buffers())
    return np.stack([center, scale, start, power]), normal_RN.T


def _normal(
    centred_RW: NDArray[Any],
    missing_RW: NDArray[np.bool_] | None,
    scale_R: NDArray[Any],
    start_R: NDArray[Any],
    power_R: NDArray[Any],
    buffers: Buffers,
) -> NDArray[Any]:
    """Turn centred residuals into numbers on the scale of a normal deviate, in place; 0 where missing. Their last two
    axes are columns and rows, and they are contiguous.
    """
    g_RW = centred_RW
    g_RW /= scale_R[:, None]
    if missing_RW is not None:
        np.copyto(g_RW, 0, where=missing_RW)
    size_RW = np.abs(g_RW, out=buffers.scratch(0, *g_RW.shape, dtype=g_RW.dtype))
    far = np.flatnonzero(np.greater(size_RW, start_R[:, None], out=buffers("far", *g_RW.shape, dtype=np.bool_)))
    if len(far):
        columns, flat = far // g_RW.shape[-1] % g_RW.shape[-2], g_RW.reshape(-1)
        z, t = flat[far], start_R[columns]
        flat[far] = np.copysign(t * (np.abs(z) / t) ** power_R[columns], z)
    return g_RW


def _precision(covariance_RR: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Split the inverse of a covariance into 1 / v, what most directions have, and U, W: directions that weigh more."""
    value, vector = np.linalg.eigh(covariance_RR)
    if len(value) == 0:
        return 1.0, vector, value
    middle = float(np.median(value))
    kept = np.argsort(-np.abs(np.log(value / middle)), kind="stable")[:MAX_DIRECTIONS]
    others = np.delete(value, kept)
    plain = 1 / float(others.mean() if len(others) else middle)
    return plain, vector[:, kept], 1 / value[kept] - plain


def _ledoit_wolf(centred_NR: NDArray[np.float64]) -> NDArray[np.float64]:
    """Covariance shrunk towards mean variance * I (Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004, lemma 3.2-3.5).
    """
    n, r = centred_NR.shape
    covariance_RR = centred_NR.T @ centred_NR
    covariance_RR /= n
    diagonal_R = np.einsum("ii->i", covariance_RR)  # a view
    mean_variance = max(float(diagonal_R.sum()) / r, 1e-6)
    squares = float(np.sum(covariance_RR**2))
    variance_R = diagonal_R.copy()
    diagonal_R -= mean_variance
    dispersion = float(np.sum(covariance_RR**2))
    diagonal_R[:] = variance_R
    of_rows = (np.sum(block_NR**2, axis=1) for block_NR in np.array_split(centred_NR, max(1, n // 1024)))
    noise = float(np.sum(np.concatenate([own_N**2 for own_N in of_rows]))) / n**2 - squares / n
    shrinkage = max(min(noise / dispersion if dispersion > 0 else 1.0, 1.0), MIN_SHRINKAGE)
    covariance_RR *= 1 - shrinkage
    diagonal_R += shrinkage * mean_variance
    return np.asarray(covariance_RR)

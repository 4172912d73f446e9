"""Numeric units: columns of numbers in the model's matrix, each with a location and a scale that resist heavy tails.

Shapes: N rows, U units of one feature.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import Feature, Fit, Kind

WINSORISED = 0.005
"""Share of the values in each tail that is pulled in before a unit's location and scale are taken."""

FAR, FEW = 1e6, 2 * WINSORISED
"""So many times farther from the median than is usual, a value is a stray; strays are pulled in where they are few."""
SMALLEST = float(np.finfo(np.float64).smallest_subnormal)
TINY, HUGE = 1e-130, 1e150
"""Values that are all below, or reach beyond, are measured in units of the largest: their squares would not fit."""
CLOSE = 2.0**-40
"""Values that differ by less than this share of themselves are measured from one of them: their sum would not fit."""


class UnitsKind(Kind):
    """A kind that gives a column numeric units: one, or as many as its values need."""

    @abstractmethod
    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The column's units (N, U) before standardisation; NaN where missing.

        U is the same for every batch: ``len(feature.center)``. While the feature is being fitted, ``center`` is empty
        and the array says how many units there are.
        """

    def gauge(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """(N,) the number of each row by which the distribution of the column is held against that of training; NaN
        where it is missing.
        """
        return self.encode(feature, array)[:, 0]

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """Location and scale of each unit."""
        raw_NU = self.encode(bare, array)
        infinite = int(np.isinf(raw_NU).any(axis=1).sum())
        notes = [f"{infinite:,} infinite values taken as missing"] if infinite else []
        if not np.isfinite(raw_NU).any():
            return Fit(None, notes, "no finite value in the training rows")
        center, scale = zip(*(location_scale(raw_N) for raw_N in raw_NU.T), strict=True)
        if not any(scale):
            notes.append("constant in the training rows")
        is_finite_NU = np.isfinite(raw_NU)
        bounds = [(float(raw_N[own_N].min()), float(raw_N[own_N].max())) if own_N.any() else (0.0, 0.0)
                  for raw_N, own_N in zip(raw_NU.T, is_finite_NU.T, strict=True)]  # fmt: skip
        low, high = zip(*bounds, strict=True)
        missing = float((~is_finite_NU).any(axis=1).mean())
        return Fit(replace(bare, center=center, scale=scale, low=low, high=high, missing=missing), notes)


def standardise(feature: Feature, raw_NU: NDArray[np.float64], out_NU: NDArray[np.float32]) -> None:
    """Units less their center, divided by their scale, into ``out_NU``.

    A constant unit (scale 0) becomes 0 where equal to its constant, else 1: whole numbers are compared exactly, others
    as closely as a trip through float32 leaves them.
    """
    x_NU = raw_NU - feature.center_U
    if all(feature.scale):
        np.divide(x_NU, feature.scale_U, out=out_NU, casting="same_kind")
        return
    for unit, (center, scale) in enumerate(zip(feature.center, feature.scale, strict=True)):
        if scale:
            x_NU[:, unit] /= scale
        else:
            observed = ~np.isnan(raw_NU[:, unit])
            tolerance = 0 if center == round(center) else 1e-7 * abs(center)
            x_NU[observed, unit] = np.abs(x_NU[observed, unit]) > tolerance
    out_NU[:] = x_NU


def location_scale(values: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and standard deviation of the finite values, the outer 0.5 % of each tail pulled in.

    A constant column has scale 0, no other has. A column that is constant but for its tails is measured with them.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return (float(finite[0]) if finite.size else 0.0), 0.0
    unit = 1.0 if np.abs(finite).max() <= HUGE else 4.0  # the difference of two values must fit
    inner = np.clip(finite, *np.quantile(finite / unit, [WINSORISED, 1 - WINSORISED]) * unit)
    if inner.min() == inner.max():
        inner = finite
    inner = _without_strays(inner)
    largest = np.abs(inner).max()
    if not TINY < largest <= HUGE:
        exponent = int(np.frexp(largest)[1])
        center, scale = _mean_deviation(np.ldexp(inner, -exponent))
        return float(np.ldexp(center, exponent)), max(float(np.ldexp(scale, exponent)), SMALLEST)
    return _mean_deviation(inner)


def _without_strays(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values, those of a few that are farther out than all measure pulled in to the farthest of the others."""
    middle = _median(values)
    with np.errstate(over="ignore"):  # an infinite distance is as good
        distance = np.abs(values - middle)
        is_far = distance > FAR * _median(distance[distance > 0])
    if not 0 < is_far.mean() <= FEW:
        return values
    near = values[~is_far]
    return np.clip(values, near.min(), near.max())


def _median(values: NDArray[np.float64]) -> np.float64:
    """The upper median, which is one of the values."""
    half = len(values) // 2
    return np.float64(np.partition(values, half)[half])


def _mean_deviation(values: NDArray[np.float64]) -> tuple[float, float]:
    start = 0.0
    if np.ptp(values) <= CLOSE * np.abs(values).max():
        start = float(values[0])
        values = values - start  # exact
    return start + float(values.mean()), float(values.std())

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

HUGE = 1e150
"""Values beyond this are measured in units of the largest: their squares would not fit."""


class UnitsKind(Kind):
    """A kind that gives a column numeric units: one, or as many as its values need."""

    @abstractmethod
    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The column's units (N, U) before standardisation; NaN where missing.

        U is the same for every batch: ``len(feature.center)``. While the feature is being fitted, ``center`` is empty
        and the array says how many units there are.
        """

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
        return Fit(replace(bare, center=center, scale=scale), notes)


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

    A constant column has scale 0. A column that is constant but for its tails is measured with them.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0 or finite.min() == finite.max():
        return (float(finite[0]) if finite.size else 0.0), 0.0
    largest = float(np.abs(finite).max())
    if largest > HUGE:
        center, scale = location_scale(finite / largest)
        return center * largest, scale * largest
    inner = np.clip(finite, *np.quantile(finite, [WINSORISED, 1 - WINSORISED]))
    if inner.min() == inner.max():
        inner = finite
    return float(inner.mean()), float(inner.std())

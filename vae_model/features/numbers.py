"""Numbers: one unit, missing is NaN."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.digits import about, decimals_of, interval, told_apart
from vae_model.features.feature import Expectation, Feature, Fit, Words
from vae_model.features.floats import EXACT, as_float64, offset_of
from vae_model.features.units import UnitsKind


class Numbers(UnitsKind):
    """A number as one unit."""

    name = "numeric"
    families = ("integer", "float", "decimal", "boolean")
    default_of = ("integer", "float", "decimal")
    interchangeable = True

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """Location, scale and decimals, of numbers that floats cannot tell apart less an offset."""
        offset = offset_of(array)
        bare = replace(bare, decimals=decimals_of(array, as_float64(array)))
        return super().fit(bare if offset is None else replace(bare, offset=(f"{offset:f}",)), array)

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The numbers, (N, 1)."""
        return as_float64(array, feature.offset_of(0)).reshape(-1, 1)

    def describe(self, feature: Feature) -> str:
        """Mean and deviation, or the constant."""
        (center,), (scale,), offset = feature.center, feature.scale, feature.offset_of(0)
        if offset is None:
            return f"{center:.6g} ± {scale:.6g}" if scale else f"constant {center:.6g}"
        if not scale:
            return f"constant {offset}"
        return f"{about(whole(center, offset), scale, None)} ± {scale:.6g}"

    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """Two numbers. Nothing is expected that no training row had."""
        return unit_in_words(feature, 0, value.as_py(), expected)

    def interval(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> str:
        """Two numbers, within those of the training rows."""
        return unit_interval(feature, 0, value.as_py(), expected)


def unit_in_words(feature: Feature, unit: int, value: Any, expected: Expectation) -> Words:
    """A unit's value and what was expected of it."""
    usual, begin, end = _within_training(feature, unit, expected)
    number = whole(usual, feature.offset_of(unit))
    return Words(*told_apart(value, number, feature.scale[unit], feature.decimals, end - begin))


def unit_interval(feature: Feature, unit: int, value: Any, expected: Expectation) -> str:
    """The range that is expected of a unit; empty where no value of the column lies within."""
    _, begin, end = _within_training(feature, unit, expected)
    offset = feature.offset_of(unit)
    if not begin < end:
        return ""
    return interval(whole(begin, offset), whole(end, offset), end - begin, feature.decimals, value)


def _within_training(feature: Feature, unit: int, expected: Expectation) -> tuple[float, float, float]:
    """What is expected of a unit and the ends of its interval, none of them beyond all training values."""
    low, high = feature.low[unit], feature.high[unit]
    usual, begin, end = expected.value_U[unit], expected.low_U[unit], expected.high_U[unit]
    return min(max(usual, low), high), min(max(begin, low), high), min(max(end, low), high)


def whole(value: float, offset: Decimal | None) -> float | Decimal:
    """A number that an offset was taken off, with it again, to the last digit."""
    return value if offset is None else EXACT.add(offset, Decimal(value))

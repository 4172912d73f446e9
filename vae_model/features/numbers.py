"""Numbers: one unit, missing is NaN."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import MISSING, Feature, Fit, is_missing
from vae_model.features.floats import EXACT, as_float64, offset_of
from vae_model.features.units import UnitsKind

DIGITS = 6
"""What is not whole is written with so many digits, or with as many as tell it from what it is held against."""


class Numbers(UnitsKind):
    """A number as one unit."""

    name = "numeric"
    families = ("integer", "float", "decimal", "boolean")
    default_of = ("integer", "float", "decimal")
    interchangeable = True

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """Location and scale, of numbers that floats cannot tell apart less an offset."""
        offset = offset_of(array)
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
        mean, _ = told_apart(whole(center, offset), whole(center + scale, offset), scale)
        return f"{mean} ± {scale:.6g}"

    def words(
        self, feature: Feature, value: pa.Scalar, expected_U: NDArray[np.float64], parts_U: NDArray[np.float32]
    ) -> tuple[str, str]:
        """Two numbers; a whole one is expected of whole numbers, unless they vary by less than 1."""
        (expected,), (scale,) = expected_U.tolist(), feature.scale
        usual = whole(expected, feature.offset_of(0))
        if feature.family in ("integer", "boolean") and (scale >= 1 or not scale) and math.isfinite(expected):
            usual = round(usual)
        return told_apart(value.as_py(), usual, scale)


def whole(value: float, offset: Decimal | None) -> float | Decimal:
    """A number that an offset was taken off, with it again, to the last digit."""
    return value if offset is None else EXACT.add(offset, Decimal(value))


def told_apart(one: Any, other: Any, scale: float) -> tuple[str, str]:
    """Two numbers, in as many digits as tell them apart if they differ by more than a hundredth of ``scale``; the first
    may be missing.
    """
    if is_missing(one):
        return MISSING, in_words(other)
    digits = DIGITS
    if isinstance(one, int) and not isinstance(other, int):
        digits = max(digits, len(str(abs(one))) + 1)
    while True:
        texts = in_words(one, digits), in_words(other, digits)
        if texts[0] != texts[1] or one == other or digits > EXACT.prec:
            return texts
        if EXACT.subtract(Decimal(one), Decimal(other)).copy_abs() <= scale / 100:
            return texts
        digits += 3


def in_words(number: Any, digits: int = DIGITS) -> str:
    """A whole number in full, any other to so many digits."""
    if isinstance(number, int):
        return str(number)
    if digits <= 17:
        return f"{float(number):.{digits}g}"
    return f"{Context(prec=digits).create_decimal(number).normalize(EXACT):f}"

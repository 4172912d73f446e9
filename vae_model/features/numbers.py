"""Numbers: one unit, missing is NaN."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import Feature
from vae_model.features.units import UnitsKind


class Numbers(UnitsKind):
    """A number as one unit."""

    name = "numeric"
    families = ("integer", "float", "decimal", "boolean")
    default_of = ("integer", "float", "decimal")
    interchangeable = True

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The numbers, (N, 1)."""
        return as_float64(array).reshape(-1, 1)

    def describe(self, feature: Feature) -> str:
        """Mean and deviation, or the constant."""
        (center,), (scale,) = feature.center, feature.scale
        return f"{center:.6g} ± {scale:.6g}" if scale else f"constant {center:.6g}"

    def words(
        self, feature: Feature, value: pa.Scalar, expected_U: NDArray[np.float64], parts_U: NDArray[np.float32]
    ) -> tuple[str, str]:
        """Two numbers; a whole one is expected of whole numbers, unless they vary by less than 1."""
        (expected,), (scale,) = expected_U.tolist(), feature.scale
        is_whole = feature.family in ("integer", "boolean") and (scale >= 1 or not scale)
        return in_words(value.as_py()), in_words(round(expected) if is_whole else expected)


def as_float64(array: Any) -> NDArray[np.float64]:
    """An Arrow column of numbers as (N,) float64; null becomes NaN."""
    if pa.types.is_decimal(array.type) or pa.types.is_boolean(array.type):
        array = array.cast(pa.float64())
    values: NDArray[np.float64] = array.to_numpy(zero_copy_only=False)
    if array.null_count and not np.issubdtype(values.dtype, np.floating):
        values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values.astype(np.float64, copy=False)


def in_words(number: Any) -> str:
    """A whole number in full, any other to six digits."""
    return str(number) if isinstance(number, int) else f"{float(number):.6g}"

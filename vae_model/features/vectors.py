"""Arrays of numbers, all of one length: a unit for each element."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.errors import SchemaError
from vae_model.features.feature import Feature
from vae_model.features.numbers import as_float64, in_words
from vae_model.features.units import UnitsKind


class Vectors(UnitsKind):
    """An array of numbers, a unit for each element."""

    name = "vector"
    families = ("array",)
    default_of = ("array",)

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The elements, (N, U); a null array becomes a row of NaN. Raises SchemaError where one has another length."""
        return matrix(array, len(feature.center) or width_of(array), feature.name)

    def describe(self, feature: Feature) -> str:
        """The length of the arrays."""
        return f"{len(feature.center)} numbers"

    def words(
        self, feature: Feature, value: pa.Scalar, expected_U: NDArray[np.float64], parts_U: NDArray[np.float32]
    ) -> tuple[str, str]:
        """The element that deviates most."""
        worst = int(np.argmax(parts_U))
        return f"[{worst}]: {in_words(value[worst].as_py())}", f"[{worst}]: {in_words(expected_U[worst])}"


def matrix(array: pa.Array, width: int, name: str) -> NDArray[np.float64]:
    """An Arrow column of number arrays as (N, width) float64; a null array becomes a row of NaN.

    Raises SchemaError where an array has another length.
    """
    lengths = pc.list_value_length(array)
    bounds = pc.min_max(lengths)
    if bounds["min"].is_valid and {bounds["min"].as_py(), bounds["max"].as_py()} != {width}:
        raise SchemaError(
            f"Column {name!r} holds arrays of different lengths.",
            f"arrays of {width} numbers",
            f"lengths from {bounds['min']} to {bounds['max']}",
        )
    out = np.full((len(array), width), np.nan)
    out[lengths.is_valid().to_numpy(zero_copy_only=False)] = as_float64(array.flatten()).reshape(-1, width)
    return out


def width_of(array: pa.Array) -> int:
    """The length of the longest array; 0 where all are null."""
    return int(pc.max(pc.list_value_length(array)).as_py() or 0)

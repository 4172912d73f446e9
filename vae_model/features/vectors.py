"""Arrays of numbers, all of one length: a unit for each element."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.errors import SchemaError
from vae_model.features.digits import decimals_of
from vae_model.features.feature import MISSING, Expectation, Feature, Fit, Words
from vae_model.features.floats import as_float64, offset_of
from vae_model.features.numbers import unit_in_words, unit_interval
from vae_model.features.units import UnitsKind


class Vectors(UnitsKind):
    """An array of numbers, a unit for each element."""

    name = "vector"
    families = ("array",)
    default_of = ("array",)

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """Location and scale of each element, less an offset where floats cannot tell the numbers of one apart."""
        width = width_of(array)
        if not width:
            return Fit(None, unusable="arrays without a number in the training rows")
        raw_NU = matrix(array, width, bare.name)  # raises where the arrays are of different lengths
        bare = replace(bare, decimals=decimals_of(array.flatten(), raw_NU.ravel()))
        offsets = [offset_of(own) for own in _elements(array, width)]
        if any(offset is not None for offset in offsets):
            bare = replace(bare, offset=tuple(f"{offset or Decimal(0):f}" for offset in offsets))
        return super().fit(bare, array)

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The elements, (N, U); a null array becomes a row of NaN. Raises SchemaError where one has another length."""
        raw_NU = matrix(array, len(feature.center) or width_of(array), feature.name)
        if feature.offset:
            present_N = array.is_valid().to_numpy(zero_copy_only=False)
            for u, own in enumerate(_elements(array, len(feature.offset))):
                raw_NU[present_N, u] = as_float64(own, feature.offset_of(u))
        return raw_NU

    def gauge(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """How far each array is from the middle of training: the norm of its standardised elements."""
        scale_U = np.where(feature.scale_U > 0, feature.scale_U, 1)
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all measure is infinite
            return np.asarray(np.linalg.norm((self.encode(feature, array) - feature.center_U) / scale_U, axis=1))

    def describe(self, feature: Feature) -> str:
        """The length of the arrays."""
        return f"{len(feature.center)} numbers"

    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """The element that deviates most; where the whole array is missing, how many there should be."""
        if not value.is_valid:
            return Words(MISSING, self.describe(feature))
        worst = int(np.argmax(expected.parts_U))
        observed, usual = unit_in_words(feature, worst, value[worst].as_py(), expected)
        return Words(f"[{worst}]: {observed}", f"[{worst}]: {usual}")

    def interval(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> str:
        """That of the element that deviates most."""
        if not value.is_valid:
            return ""
        worst = int(np.argmax(expected.parts_U))
        return unit_interval(feature, worst, value[worst].as_py(), expected)


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


def _elements(array: pa.Array, width: int) -> list[pa.Array]:
    """The elements of arrays that are all of one length, by their place; without those of null arrays."""
    flat = array.flatten()
    return [flat.take(pa.array(np.arange(u, len(flat), width))) for u in range(width)]


def width_of(array: pa.Array) -> int:
    """The length of the longest array; 0 where all are null."""
    return int(pc.max(pc.list_value_length(array)).as_py() or 0)

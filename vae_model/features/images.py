"""Pictures: files (PNG, JPEG, …) in a binary column, or arrays of numbers.

A picture has no units: it is looked at by networks of its own (``scoring.pictures``), not beside the other columns.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import MISSING, Expectation, Feature, Fit, Kind, Words

ORDINARY = "one like those of training"
"""What is expected of a picture, in words."""


class Images(Kind):
    """A picture a row. Its pixels are decoded by ``features.pixels``."""

    name = "image"
    families = ("binary", "array")
    is_picture = True

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """How often there is none."""
        return Fit(replace(bare, missing=array.null_count / len(array)))

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """(N, 0) units."""
        return np.empty((len(array), 0))

    def gauge(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """(N,) 0 for each row, NaN where there is no picture: that alone is held against training."""
        return np.where(array.is_null().to_numpy(zero_copy_only=False), np.nan, 0.0)

    def describe(self, feature: Feature) -> str:
        """Of what the pictures are."""
        return "files" if feature.family == "binary" else "arrays of numbers"

    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """Whether there is one."""
        return Words("a picture" if value.is_valid else MISSING, ORDINARY)

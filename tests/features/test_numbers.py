"""Numbers as one unit."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from vae_model.features.floats import as_float64


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, None, -3], pa.int8()),
        pa.array([1, None, -3], pa.int64()),
        pa.array([1, None, -3], pa.float32()),
        pa.array([1, float("nan"), -3], pa.float64()),
        pa.array([1, None, -3], pa.float64()),
        pa.array([Decimal("1.00"), None, Decimal("-3.00")], pa.decimal128(12, 2)),
        pa.array([Decimal(1), None, Decimal(-3)], pa.decimal256(50, 0)),
        pa.array([1, None, -3], pa.int64()).dictionary_encode(),
        pa.array([1.0, None, -3.0], pa.float64()).dictionary_encode(),
        pa.array([9, 1, None, -3, 9], pa.int32()).slice(1, 3),
    ],
    ids=lambda array: str(array.type),
)
def test_numbers_of_every_type_are_the_same_floats(array):
    """Integers, floats, decimals and dictionaries of them give the same floats; null and NaN are NaN."""
    np.testing.assert_array_equal(as_float64(array), [1.0, np.nan, -3.0])
    assert as_float64(array).dtype == np.float64


def test_booleans_are_zero_and_one():
    """A boolean taken as a number is 0 or 1."""
    np.testing.assert_array_equal(as_float64(pa.array([True, None, False])), [1.0, np.nan, 0.0])


def test_large_integers_keep_the_precision_of_a_float():
    """64-bit integers, nulls beside them or not, become the nearest floats."""
    big = [2**62 + 1, -(2**53), None]
    np.testing.assert_array_equal(as_float64(pa.array(big, pa.int64()))[:2], [float(2**62), -float(2**53)])
    assert as_float64(pa.array([2**64 - 1], pa.uint64()))[0] == 2.0**64


def test_infinities_stay_visible():
    """An infinity is not a missing value yet: the spec reports it."""
    np.testing.assert_array_equal(as_float64(pa.array([np.inf, -np.inf, 0.0])), [np.inf, -np.inf, 0.0])

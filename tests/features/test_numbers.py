"""Numbers and arrays of numbers as matrix columns."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.errors import SchemaError
from vae_model.features.numbers import location_scale, matrix, vectors, width_of


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
def test_numbers_of_every_type_are_one_column(array):
    """Integers, floats, decimals and dictionaries of them give the same matrix; null and NaN are NaN."""
    np.testing.assert_array_equal(matrix(array), [[1.0], [np.nan], [-3.0]])
    assert matrix(array).dtype == np.float64


def test_booleans_are_zero_and_one():
    """A boolean taken as a number is 0 or 1."""
    np.testing.assert_array_equal(matrix(pa.array([True, None, False])), [[1.0], [np.nan], [0.0]])


def test_large_integers_keep_the_precision_of_a_float():
    """64-bit integers, nulls beside them or not, become the nearest floats."""
    big = [2**62 + 1, -(2**53), None]
    np.testing.assert_array_equal(matrix(pa.array(big, pa.int64()))[:2, 0], [float(2**62), -float(2**53)])
    assert matrix(pa.array([2**64 - 1], pa.uint64()))[0, 0] == 2.0**64


def test_infinities_stay_visible():
    """An infinity is not a missing value yet: the spec reports it."""
    np.testing.assert_array_equal(matrix(pa.array([np.inf, -np.inf, 0.0])), [[np.inf], [-np.inf], [0.0]])


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int16()), pa.list_(pa.float64(), 2)],
    ids=str,
)  # fmt: skip
def test_arrays_are_a_column_an_element(type_):
    """Lists of any layout are one matrix; a null list is a row of NaN, a null element is NaN."""
    array = pa.array([[1, 2], None, [3, None], [5, 6]], type_)
    np.testing.assert_array_equal(vectors(array, 2, "v"), [[1, 2], [np.nan, np.nan], [3, np.nan], [5, 6]])
    np.testing.assert_array_equal(vectors(array.slice(2), 2, "v"), [[3, np.nan], [5, 6]])
    assert width_of(array) == 2


@pytest.mark.parametrize(
    ("rows", "lengths"), [([[1.0, 2.0], [3.0]], "1 to 2"), ([[1.0], [2.0]], "1 to 1"), ([[], [1.0, 2.0]], "0 to 2")]
)
def test_arrays_of_another_length_are_refused(rows, lengths):
    """An array that has not the length of training is an error that names column, expected and found."""
    with pytest.raises(SchemaError) as caught:
        vectors(pa.array(rows, pa.list_(pa.float64())), 2, "spectrum")
    assert str(caught.value) == (
        "Column 'spectrum' holds arrays of different lengths.\n"
        f"  expected: arrays of 2 numbers\n  found: lengths from {lengths}"
    )


def test_a_column_of_null_arrays_has_no_width():
    """Where no array is there, the width is 0; at a known width all is NaN."""
    array = pa.array([None, None], pa.list_(pa.float64()))
    assert width_of(array) == 0
    np.testing.assert_array_equal(vectors(array, 3, "v"), np.full((2, 3), np.nan))


def test_location_and_scale_are_mean_and_deviation_without_tails():
    """For a column of two values in equal parts nothing is winsorised."""
    assert location_scale(np.repeat([1.0, 3.0], 500)) == (2.0, 1.0)


def test_missing_and_infinite_values_have_no_say_in_the_scale():
    """NaN and infinities are left out of mean and deviation."""
    clean = np.repeat([1.0, 3.0], 500)
    assert location_scale(np.concatenate([clean, [np.nan, np.inf, -np.inf]])) == location_scale(clean)


def test_heavy_tails_do_not_blow_the_scale():
    """A thousandth of the values at a million deviations leaves mean and scale where they were."""
    values = np.random.default_rng(0).normal(10, 2, 10_000)
    wild = values.copy()
    wild[:10] = 2e6
    center, scale = location_scale(wild)
    assert center == pytest.approx(10, abs=0.1)
    assert scale == pytest.approx(2, rel=0.05)


def test_a_constant_has_scale_zero():
    """A constant column is its value and no spread; an empty one is 0."""
    assert location_scale(np.full(50, 7.5)) == (7.5, 0.0)
    assert location_scale(np.array([np.nan, 7.5, np.nan])) == (7.5, 0.0)
    assert location_scale(np.array([np.nan, np.inf])) == (0.0, 0.0)


def test_a_column_constant_but_for_its_tails_is_measured_with_them():
    """One differing value in a thousand is not winsorised away to a scale of zero."""
    values = np.zeros(1000)
    values[0] = 1.0
    center, scale = location_scale(values)
    assert center == pytest.approx(0.001)
    assert scale == pytest.approx(np.sqrt(0.001 * 0.999))


def test_numbers_near_the_end_of_the_floats_have_a_finite_scale():
    """Values of 1e200 have a mean and a deviation like any others."""
    small = np.random.default_rng(0).normal(5, 1, 1000)
    center, scale = location_scale(small)
    assert location_scale(small * 1e200) == (pytest.approx(center * 1e200), pytest.approx(scale * 1e200))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=50), st.integers(-100, 100), st.sampled_from([2, 8, 0.5])
)
def test_location_and_scale_follow_a_change_of_units(values, shift, factor):
    """Shifting and stretching a column shifts and stretches its mean and stretches its scale."""
    values = np.array(values, dtype=float)
    center, scale = location_scale(values)
    moved_center, moved_scale = location_scale(values * factor + shift)
    assert moved_center == pytest.approx(center * factor + shift, abs=1e-9)
    assert moved_scale == pytest.approx(scale * factor, abs=1e-9)

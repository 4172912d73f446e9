"""Numeric units: their location and scale."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.features.units import location_scale


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


@settings(max_examples=30)
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


FINITE = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.one_of(
        st.lists(FINITE, min_size=2, max_size=40),
        st.lists(st.floats(-1e-300, 1e-300), min_size=2, max_size=40),
        st.lists(st.sampled_from([0.0, 5e-324, -5e-324, 1e-323, 1.7e308, -1.7e308]), min_size=2, max_size=40),
    ),
    st.sampled_from([1, 300]),
)
def test_whatever_differs_has_a_scale(values, times):
    """Any finite numbers, the smallest and the largest too, have a finite location and scale, and the scale is 0 only
    where all are equal.
    """
    column = np.repeat(np.array(values), times)
    center, scale = location_scale(column)
    assert np.isfinite([center, scale]).all()
    assert (scale > 0) == (column.min() < column.max())


@pytest.mark.parametrize("unit", [1e-320, 1e-308, 1e-170, 1e-140, 1.0, 1e140, 1e160, 1e300], ids=str)
@pytest.mark.parametrize("wild", [0, 1])
def test_the_unit_of_a_column_does_not_matter(unit, wild):
    """A column is standardised alike in units of which its values are denormal and in units of which they nearly
    overflow, and one value of 1.7e308 changes nothing.
    """
    values = np.random.default_rng(0).normal(5, 1000, 10_000)
    column = values * unit
    column[:wild] = 1.7e308
    center, scale = location_scale(column)
    expected_center, expected_scale = location_scale(values)
    assert center / unit == pytest.approx(expected_center, abs=expected_scale / 1e3)
    assert scale / unit == pytest.approx(expected_scale, rel=2e-3)


@pytest.mark.parametrize("rows", [150, 1000, 10_000])
def test_one_wild_value_leaves_a_column_that_hardly_varies_its_scale(rows):
    """Of a column that is constant but for a few rows, one value beyond all measure leaves the few their distance."""
    values = np.zeros(rows)
    values[:: rows // 3] = 1.0
    wild = np.append(values, 1e200)
    assert location_scale(wild)[1] == pytest.approx(location_scale(values)[1], rel=0.2)


@pytest.mark.parametrize("start", [1e16, -1e17, 1e100])
def test_a_column_that_varies_in_its_last_digits_has_their_deviation(start):
    """Values of which only neighbouring floats occur have the deviation of those, not that of a sum's rounding."""
    step = np.spacing(abs(start))
    values = start + step * np.random.default_rng(0).integers(0, 4, 5000)
    center, scale = location_scale(values)
    assert scale / step == pytest.approx(((values - start) / step).std(), rel=1e-6)
    assert abs(center - start) <= 3 * step

"""Numbers in words: the digits of their column, and those that tell them apart."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.features.digits import about, decimals_of, interval, own, rounded, told_apart

COLUMNS = {
    "prices": (pa.array([1.5, 2.25, 1000.1] * 10), 2),
    "whole floats": (pa.array([3.0, -40.0, 1e6] * 10), 0),
    "whole numbers": (pa.array([3, 4, None]), 0),
    "decimals": (pa.array([Decimal("1.50")], pa.decimal128(10, 2)), 2),
    "one of a thousand is odd": (pa.array([0.5] * 1999 + [1 / 3]), 1),
    "measures": (pa.array(np.random.default_rng(0).normal(size=50)), None),
    "nothing finite": (pa.array([np.inf, np.nan]), 0),
}


@pytest.mark.parametrize("case", COLUMNS)
def test_a_column_is_known_by_its_decimals(case):
    """How many decimals its numbers are rounded to; none of a column that is not."""
    array, decimals = COLUMNS[case]
    assert decimals_of(array, array.cast(pa.float64()).to_numpy(zero_copy_only=False)) == decimals


@pytest.mark.parametrize(
    ("number", "width", "decimals", "text"),
    [(9.7123, 19, None, "9.7"), (104.4, 190, None, "104"), (1044.4, 1900, None, "1040"), (0.1234, 0.05, None, "0.1234"),
     (9.7123, 19, 0, "10"), (12.3712, 0.5, 2, "12.37"), (-0.0004, 1, None, "0.00"), (5.25, 0, None, "5.25"),
     (5.25, 0, 2, "5.25"), (1e30, 1e28, None, "1e+30"), (Decimal(2**62), 1e4, 0, str(round(2**62, -2))[:-2] + "00")],
)  # fmt: skip
def test_a_number_is_said_as_closely_as_it_is_known(number, width, decimals, text):
    """To about a hundredth of the width it is known to within, and to no more decimals than its column has."""
    assert about(number, width, decimals) == text


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.none() | st.integers(0, 6))
def test_a_range_in_words_is_the_range(low, width, decimals):
    """Its ends are off by a twentieth of its width at most, or by half a digit of a column that has no finer ones."""
    text = interval(low, low + width, width, decimals)
    if not text:
        assert decimals is not None and width < 2 * 10.0**-decimals
        return
    begin, end = map(float, text.split(" to "))
    off = max(0.05 * width, 0 if decimals is None else 0.5 * 10.0**-decimals) * (1 + 1e-6) + 1e-12 * abs(low)
    assert abs(begin - low) <= off and abs(end - low - width) <= off


@given(
    st.floats(-1e6, 1e6), st.floats(1e-2, 1e6), st.floats(1e-6, 1e5), st.booleans(), st.none() | st.integers(0, 6)
)  # fmt: skip
def test_a_range_in_words_leaves_out_what_lies_outside(low, width, beyond, is_above, decimals):
    """However near to it, as it is written: no sentence says that a value was expected and is odd."""
    high = low + width
    outside = high + beyond if is_above else low - beyond
    if decimals is not None:
        outside = round(outside, decimals)
    if low <= outside <= high:
        return
    text = interval(low, high, width, decimals, outside)
    begin, end = map(float, text.split(" to ")) if text else (np.inf, -np.inf)
    assert not begin <= float(own(outside, decimals)) <= end


def test_a_range_of_whole_numbers_is_told_in_whole_numbers():
    """Those nearest to its ends, or nearest within where these would reach what lies outside; two of them or none."""
    assert interval(4.6, 7.4, 2.8, 0, 8) == interval(5.4, 7.4, 2, 0, 8) == "5 to 7"
    assert interval(4.6, 7.6, 3, 0, 8) == "5 to 7"
    assert interval(4.6, 5.9, 1.3, 0, 6) == interval(5.1, 5.9, 0.8, 0, 6) == ""


@given(st.floats(-1e9, 1e9), st.integers(0, 2))
def test_a_rounded_column_writes_its_values_in_full(value, decimals):
    """What is rounded to the few decimals of its column is read back from its words as it was."""
    value = round(value, decimals)
    assert float(own(value, decimals)) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("number", "decimals", "text"),
    [(1048.36058, 5, "1048.36"), (276.1872, 5, "276.187"),
     (741.0, 2, "741.00"), (7, 0, "7"), (True, 0, "1"), (Decimal("1.50"), 2, "1.50"), (1 / 3, 2, "0.333333"),
     (1234567.891, None, "1234568"), (1234567.891, 3, "1234567.89"),
     (98765432109.125, 3, "98765432109.12"), (1e12, None, "1e+12"), (1e12, 0, "1000000000000"),
     (float("inf"), 2, "inf")],
)  # fmt: skip
def test_a_value_is_written_as_its_column_writes_it(number, decimals, text):
    """In full where its column is rounded, by its first digits elsewhere."""
    assert own(number, decimals) == text


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.none() | st.integers(0, 3))
def test_what_differs_is_told_apart(one, other, decimals):
    """Two numbers that differ by more than a hundredth of the scale have different words."""
    texts = told_apart(one, other, 1.0, decimals, 10.0)
    assert texts[0] != texts[1] or abs(one - other) <= 0.01


def test_there_is_no_minus_zero():
    """What is rounded to nothing is 0, whichever side it came from."""
    assert [rounded(-0.001, decimals) for decimals in (0, 2, -1)] == ["0", "0.00", "0"]

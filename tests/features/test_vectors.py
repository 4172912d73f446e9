"""Arrays of numbers as a unit an element."""

import numpy as np
import pyarrow as pa
import pytest

from vae_model.errors import SchemaError
from vae_model.features.vectors import matrix, width_of


@pytest.mark.parametrize(
    "type_", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.int16()), pa.list_(pa.float64(), 2)],
    ids=str,
)  # fmt: skip
def test_arrays_are_a_column_an_element(type_):
    """Lists of any layout are one matrix; a null list is a row of NaN, a null element is NaN."""
    array = pa.array([[1, 2], None, [3, None], [5, 6]], type_)
    np.testing.assert_array_equal(matrix(array, 2, "v"), [[1, 2], [np.nan, np.nan], [3, np.nan], [5, 6]])
    np.testing.assert_array_equal(matrix(array.slice(2), 2, "v"), [[3, np.nan], [5, 6]])
    assert width_of(array) == 2


@pytest.mark.parametrize(
    ("rows", "lengths"), [([[1.0, 2.0], [3.0]], "1 to 2"), ([[1.0], [2.0]], "1 to 1"), ([[], [1.0, 2.0]], "0 to 2")]
)
def test_arrays_of_another_length_are_refused(rows, lengths):
    """An array that has not the length of training is an error that names column, expected and found."""
    with pytest.raises(SchemaError) as caught:
        matrix(pa.array(rows, pa.list_(pa.float64())), 2, "spectrum")
    assert str(caught.value) == (
        "Column 'spectrum' holds arrays of different lengths.\n"
        f"  expected: arrays of 2 numbers\n  found: lengths from {lengths}"
    )


def test_a_column_of_null_arrays_has_no_width():
    """Where no array is there, the width is 0; at a known width all is NaN."""
    array = pa.array([None, None], pa.list_(pa.float64()))
    assert width_of(array) == 0
    np.testing.assert_array_equal(matrix(array, 3, "v"), np.full((2, 3), np.nan))

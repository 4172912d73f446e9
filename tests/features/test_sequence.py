"""Rows that come one after the other: breaks, windows, and the order of a table's rows."""

from datetime import date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.errors import ModelFileError, SchemaError
from vae_model.features.fields import Fields
from vae_model.features.schema import Column
from vae_model.features.sequence import (
    PLACE,
    SECOND,
    Sequence,
    arrange,
    check_columns,
    follows,
    held_out,
    stretches_of,
    window_of,
)

HOUR = 3600 * SECOND
START = datetime(2026, 3, 1)


def hourly(*hours):
    """Moments, so many hours after the start; None is a null."""
    return pa.array([None if hour is None else START + timedelta(hours=hour) for hour in hours], pa.timestamp("us"))


def none(rows):
    """No row begins a series."""
    return np.zeros(rows, dtype=bool)


def test_a_window_begins_anew_after_a_gap():
    """Where more than ``max_gap`` lies between two rows, nothing is looked at across."""
    sequence = Sequence((), "t", "timestamp", 3, 3 * HOUR)
    found = sequence.is_break(hourly(0, 1, 4, 8, 9), none(5))
    assert found.tolist() == [True, False, False, True, False]
    assert window_of(found, 3).tolist() == [1, 2, 3, 1, 2]


def test_without_a_largest_gap_none_is_a_break():
    """By default a series goes on however long nothing came."""
    sequence = Sequence((), "t", "timestamp", 3)
    assert sequence.is_break(hourly(0, 9999), none(2)).tolist() == [True, False]


def test_a_row_that_is_nowhere_in_time_stands_for_itself():
    """A null in the column of the order is a window of one row, and the next row begins another."""
    sequence = Sequence((), "t", "timestamp", 3)
    assert sequence.is_break(hourly(None, 0, 1), none(3)).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("order", "family", "gap"),
    [
        (pa.array([date(2026, 1, 1), date(2026, 1, 2), date(2026, 1, 5)]), "date", 48 * HOUR),
        (pa.array([1, 2, 5]), "integer", 2.0),
        (pa.array([0.1, 0.2, 0.5]), "float", 0.2),
        (pa.array([1, 2, 5], pa.timestamp("ns")), "timestamp", 0.0),
    ],
)
def test_gaps_are_measured_in_what_the_order_is_in(order, family, gap):
    """Times in microseconds, whatever they are kept in; numbers as they are."""
    found = Sequence((), "t", family, 2, gap).is_break(order, none(3))
    assert found.tolist() == [True, False, family != "timestamp"]


def test_rows_are_put_in_the_order_of_their_series():
    """Series by series, each in its order, and what the order holds for equal by the key."""
    table = pa.table({"s": ["b", "a", "b", "a"], "t": [1, 2, 1, 1], "k": [9, 0, 8, 0]})
    arranged, row_N = arrange(table, Sequence(("s",), "t", "integer", 2), ["k"])
    assert row_N.tolist() == [3, 1, 2, 0]
    assert arranged.column("k").to_pylist() == [0, 0, 8, 9]
    assert follows(arranged.column(PLACE).to_numpy()).tolist() == [False, True, False, True]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.sampled_from([0.1, 0.2, 0.5]))
def test_the_end_of_each_series_is_held_out(lengths, share):
    """Of every series about the share, and what is held out comes after what is not."""
    series = np.repeat(np.arange(len(lengths)), lengths)
    place_N = np.arange(len(series)) + series
    held_out_N = held_out(stretches_of(place_N, 24), share)
    for one, length in enumerate(lengths):
        own = held_out_N[series == one]
        assert abs(own.sum() - share * length) < 1
        assert (np.diff(own.astype(int)) >= 0).all()


def test_columns_that_do_not_fit_are_named():
    """What is missing or of another type stands in one message, with what was expected."""
    with pytest.raises(SchemaError) as error:
        check_columns([Column("x", "float", "double"), Column("day", "string", "string")],
                      Sequence(("x", "station"), "day", "", 24))  # fmt: skip
    assert str(error.value) == (
        "The table does not fit features.sequence:\n"
        "  - column 'x' cannot be what tells the series apart: expected string, integer, boolean or date, found "
        "double\n"
        "  - column 'station' is not in the table; the table has x, day\n"
        "  - column 'day' cannot be the order of the rows: expected timestamp, date, integer, float or decimal, found "
        "string"
    )


@pytest.mark.parametrize("values", [
    {"length": 1}, {"length": 1001}, {"order": "s"}, {"by": ["s", "s"]}, {"family": "string"}, {"max_gap": -1},
    {"max_gap": "3h"},
])  # fmt: skip
def test_a_model_file_says_what_can_be(values):
    """A header whose sequence cannot have been written is refused, by the name of the field."""
    true = Sequence(("s",), "t", "timestamp", 24, 1.0)
    assert Sequence.from_json(Fields(true.to_json(), "sequence")) == true
    with pytest.raises(ModelFileError, match=r"sequence\."):
        Sequence.from_json(Fields(true.to_json() | values, "sequence"))

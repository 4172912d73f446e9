"""Dates and timestamps as points on circles, in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.features import times

NOON = datetime(2024, 7, 16, 12, 0, 0)  # a Tuesday


def stamps(*moments, unit="us", tz=None):
    """A timestamp column."""
    return pa.array(moments, pa.timestamp(unit, tz=tz))


def test_a_timestamp_is_three_circles():
    """Noon on a Tuesday in July: half a day, one seventh of a week from Monday, half a year."""
    angles = 2 * np.pi * np.array([0.5, 1 / 7, 6 / 12])
    expected = np.stack([np.sin(angles), np.cos(angles)], axis=1).reshape(1, 6)
    np.testing.assert_allclose(times.matrix(stamps(NOON)), expected, atol=1e-12)


@pytest.mark.parametrize("type_", [pa.date32(), pa.date64()], ids=str)
def test_a_date_is_two_circles(type_):
    """A date has the day of the week and the month of its timestamp, and no time of day."""
    dates = pa.array([NOON.date(), None], type_)
    np.testing.assert_array_equal(times.matrix(dates)[:1], times.matrix(stamps(NOON))[:, 2:])
    assert np.isnan(times.matrix(dates)[1]).all()


def test_midnight_is_near_the_minute_before():
    """23:59 and 00:01 are neighbours on the circle; noon is as far as it gets."""
    day = times.matrix(stamps(*(NOON.replace(hour=h, minute=m) for h, m in [(23, 59), (0, 1), (12, 0)])))[:, :2]
    assert np.linalg.norm(day[0] - day[1]) < 0.01
    assert np.linalg.norm(day[0] - day[2]) == pytest.approx(2, abs=1e-4)


def test_december_is_near_january_and_sunday_near_monday():
    """The week and the year close too: neighbours are one step apart across the turn."""
    points = times.matrix(stamps(*(datetime(2024, month, 15) for month in (11, 12, 1))))[:, 4:]
    assert np.linalg.norm(points[1] - points[2]) == pytest.approx(np.linalg.norm(points[0] - points[1]))
    week = times.matrix(stamps(*(datetime(2024, 7, day) for day in (13, 14, 15))))[:, 2:4]
    assert np.linalg.norm(week[1] - week[2]) == pytest.approx(np.linalg.norm(week[0] - week[1]))


@pytest.mark.parametrize("tz", ["UTC", "Europe/Paris", "America/New_York", "+05:30"])
def test_one_instant_has_one_encoding(tz):
    """The time zone a column is shown in does not change what it encodes to."""
    instant = NOON.replace(tzinfo=UTC)
    np.testing.assert_array_equal(times.matrix(stamps(instant, tz=tz)), times.matrix(stamps(NOON)))


def test_a_naive_timestamp_is_taken_as_utc():
    """12:00 without a zone is 12:00 UTC, not 12:00 somewhere else."""
    elsewhere = NOON.replace(tzinfo=timezone(timedelta(hours=2)))
    naive, aware = times.matrix(stamps(NOON)), times.matrix(stamps(elsewhere, tz="Europe/Paris"))
    assert times.point_in_words("time of day", *naive[0, :2]) == "12:00"
    assert times.point_in_words("time of day", *aware[0, :2]) == "10:00"


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_unit_does_not_matter(unit):
    """Seconds, milliseconds, microseconds and nanoseconds of one moment encode alike."""
    np.testing.assert_array_equal(times.matrix(stamps(NOON, None, unit=unit))[0], times.matrix(stamps(NOON))[0])


def test_nanoseconds_are_no_obstacle():
    """A timestamp finer than a microsecond encodes like the microsecond it falls in."""
    fine = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))
    coarse = pa.array([1_700_000_000_123_456], pa.timestamp("us"))
    np.testing.assert_allclose(times.matrix(fine), times.matrix(coarse), atol=1e-9)


def test_null_is_missing_in_every_part():
    """A null is NaN on all circles; its neighbours are not."""
    out = times.matrix(stamps(NOON, None, NOON))
    assert np.isnan(out).all(axis=1).tolist() == [False, True, False]
    assert not np.isnan(out[[0, 2]]).any()


@settings(max_examples=60)
@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)))
def test_any_moment_is_told_back_in_words(moment):
    """Time of day, weekday and month of any year, before 1970 or after, come back from the circles."""
    moment = moment.replace(second=0, microsecond=0)
    (row,) = times.matrix(stamps(moment))
    words = [times.point_in_words(part, *row[2 * i : 2 * i + 2]) for i, part in enumerate(times.PARTS)]
    assert words == [f"{moment:%H:%M}", times.WEEKDAYS[moment.weekday()], times.MONTHS[moment.month - 1]]


@settings(max_examples=30)
@given(st.dates())
def test_any_date_is_told_back_in_words(day):
    """A date's two parts are the weekday and the month."""
    (row,) = times.matrix(pa.array([day]))
    words = [times.point_in_words(part, *row[2 * i : 2 * i + 2]) for i, part in enumerate(times.PARTS[1:])]
    assert words == [times.WEEKDAYS[day.weekday()], times.MONTHS[day.month - 1]]


def test_a_point_just_before_midnight_is_midnight():
    """Words are rounded to the minute and never say 24:00."""
    angle = 2 * np.pi * (1 - 1e-9)
    assert times.point_in_words("time of day", np.sin(angle), np.cos(angle)) == "00:00"

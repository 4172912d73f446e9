"""Dates and timestamps as cyclic coordinates: time of day, day of the week, month of the year, all in UTC.

UTC, not the session's time zone: a score must not depend on where it was computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.feature import MISSING, Expectation, Feature, Words
from vae_model.features.units import UnitsKind

DAY = 86_400_000_000
"""Microseconds in a day."""
PARTS = ("time of day", "day of week", "month")
"""The circles a moment has a place on; a date has no time of day."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July",
          "August", "September", "October", "November", "December")  # fmt: skip


class Times(UnitsKind):
    """A date or a timestamp as points on circles, two units each: sine and cosine."""

    name = "datetime"
    families = ("date", "timestamp")
    default_of = ("date", "timestamp")

    def encode(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """Sine and cosine of each part, (N, 4) of a date and (N, 6) of a timestamp."""
        return matrix(array)

    def gauge(self, feature: Feature, array: pa.Array) -> NDArray[np.float64]:
        """The same for every moment: a run is of other times than training, as a rule of one day, and that is no drift.
        What can be told is whether they are missing.
        """
        return 0 * self.encode(feature, array)[:, 0]

    def describe(self, feature: Feature) -> str:
        """The parts."""
        return ", ".join(_parts(feature)) + " (UTC)"

    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """The moment, and what was expected of the part that deviates most."""
        worst = int(np.argmax(expected.parts_U)) // 2
        part = _parts(feature)[worst]
        observed = moment_in_words(value) if value.is_valid else MISSING
        return Words(observed, f"{part}: {point_in_words(part, *expected.value_U[2 * worst : 2 * worst + 2])}")


def _parts(feature: Feature) -> tuple[str, ...]:
    """The parts of the feature's moments, in the order of their units."""
    return PARTS[feature.family == "date" :]


def matrix(array: pa.Array) -> NDArray[np.float64]:
    """An Arrow column of dates (N, 4) or timestamps (N, 6): sine and cosine of each part; null becomes NaN."""
    is_date = pa.types.is_date(array.type)
    missing = array.is_null().to_numpy(zero_copy_only=False)
    finer = getattr(array.type, "unit", "") == "ns"  # only these lose something: a fraction of a microsecond
    micros = array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None)), safe=not finer).cast(pa.int64())
    ticks = micros.fill_null(0).to_numpy(zero_copy_only=False)
    days = ticks // DAY
    months = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    turns = [((days + 3) % 7) / 7, months / 12]
    if not is_date:
        turns.insert(0, (ticks % DAY) / DAY)
    angle = 2 * np.pi * np.stack(turns, axis=1)
    out = np.stack([np.sin(angle), np.cos(angle)], axis=2).reshape(len(array), -1)
    out[missing] = np.nan
    return out


def moment_in_words(value: Any) -> str:
    """A date or a timestamp in ISO format, in UTC where it has a zone."""
    if getattr(value.type, "tz", None):  # Spark gives them in its session's zone
        value = value.cast(pa.timestamp(value.type.unit, "UTC"))
    try:
        return str(value.as_py().isoformat())
    except (OverflowError, ValueError):  # beyond the years Python's calendar knows
        return f"{value.cast(pa.int64()).as_py()} {getattr(value.type, 'unit', 'days')} since 1970"


def point_in_words(part: str, sine: float, cosine: float) -> str:
    """A point on a part's circle: ``14:05``, ``Tuesday``, ``July``."""
    turn = np.arctan2(sine, cosine) / (2 * np.pi) % 1
    if part == "time of day":
        minutes = round(turn * 1440) % 1440
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    return WEEKDAYS[round(turn * 7) % 7] if part == "day of week" else MONTHS[round(turn * 12) % 12]

"""Dates and timestamps as cyclic coordinates: time of day, day of the week, month of the year, all in UTC.

UTC, not the session's time zone: a score must not depend on where it was computed.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DAY = 86_400_000_000
"""Microseconds in a day."""
PARTS = ("time of day", "day of week", "month")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July",
          "August", "September", "October", "November", "December")  # fmt: skip


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


def describe(part: int, sine: float, cosine: float, is_date: bool) -> str:
    """A point on a part's circle in words: ``14:05``, ``Tuesday``, ``July``."""
    turn = np.arctan2(sine, cosine) / (2 * np.pi) % 1
    name = PARTS[part + is_date]
    if name == "time of day":
        minutes = round(turn * 1440) % 1440
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    return WEEKDAYS[round(turn * 7) % 7] if name == "day of week" else MONTHS[round(turn * 12) % 12]

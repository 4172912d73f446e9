"""What is new in a source by a column that grows: rows whose value is larger than any that was scored."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from vae_model.config.config import Config
from vae_model.config.sequence import SECONDS
from vae_model.config.tables import Source
from vae_model.errors import ConfigError, SchemaError, SourceError, nearest
from vae_model.places import literals
from vae_model.spark.frames import READ_ERRORS, column, is_transient, reason, to_arrow, without
from vae_model.spark.source.table import where

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Found = tuple["DataFrame", dict[str, Any], str, "Column | None"]
"""New rows, the position, in words, and the condition that makes them of the rows of ``source.where``; None where they
are all of these, or no condition tells them."""
Value = datetime | date | Decimal | int | float
WHOLE, FLOATS = ("tinyint", "smallint", "int", "bigint"), ("float", "double")
AHEAD = timedelta(minutes=1)
"""How far a clock may be ahead of this one."""
EARLIEST_ZONE = timedelta(hours=14)
"""Where on Earth a day begins first: a time without a zone may be that of there."""


def find(config: Config, frame: DataFrame, start: dict[str, Any] | None, there: DataFrame | None) -> Found:
    """The rows beyond a position, up to the largest value that there is now; all where there is no position.

    With ``lag`` those that came late too: merged again, or, to be added, those that the output, ``there``, has not.
    Raises SourceError where the column has nulls or is in the future, SchemaError where it cannot grow.
    """
    source, output = config.for_scoring()
    how = source.incremental
    name = how.column if how and how.column else ""
    rows, type_ = where(frame, source.where, "source.where"), _type(frame, name)
    newest: Any = _newest(source, rows, name, type_)  # of the one type that the position has too
    before = None if start is None else _from_text(str(start.get("value")), type_)
    if before is not None and (newest is None or newest < before):
        newest = before
    position = {"column": name, "value": None if newest is None else _to_text(newest)}
    if newest is None:
        return rows, position, f"{name} up to nothing", None
    value, end = column(name), f"{name} up to {_to_text(newest)}"
    is_new = value <= literal(newest, type_)
    rows = rows.where(is_new)
    if before is None:
        return rows, position, end, is_new
    words = f"{name} after {_to_text(before)} up to {_to_text(newest)}"
    if how is None or how.lag is None:
        is_new &= value > literal(before, type_)
        return rows.where(is_new), position, words, is_new
    floor = _less(before, how.lag, name)
    late = value > literal(floor, type_)
    rows = rows.where(late)
    words += f", and late ones after {_to_text(floor)}"
    if output.mode == "append" and there is not None:
        return without(rows, there.where(late), [*dict.fromkeys([*config.key, name])]), position, words, None
    return rows, position, words, is_new & late


def literal(value: Value, type_: str) -> Column:
    """A value of a column of some type, the same on each engine and in each time zone."""
    if isinstance(value, datetime):
        kind = "timestamp" if value.tzinfo else "timestamp_ntz"
        return F.expr(f"{kind} '{value.isoformat(' ', 'microseconds')}'")
    if isinstance(value, date):
        return F.expr(literals.day(value))
    return F.expr(f"CAST({literals.text(_to_text(value))} AS {type_})")


def _type(frame: DataFrame, name: str) -> str:
    """The type of the column. Raises SchemaError where there is none, or its values are in no order of time."""
    types = {field.name: str(field.dataType.simpleString()) for field in frame.schema.fields}
    if name not in types:
        known = ", ".join(list(types)[:12])
        raise SchemaError(f"source.incremental names {name!r}, which is no column of the source.", known, name,
                          nearest(name, types))  # fmt: skip
    if types[name] not in ("timestamp", "timestamp_ntz", "date", *WHOLE, *FLOATS) and "decimal" not in types[name]:
        raise SchemaError(
            f"The column {name!r} of source.incremental cannot be followed.",
            "timestamps, dates or numbers", types[name], "Choose a column that grows, or give it as a type in a view.",
        )  # fmt: skip
    return types[name]


def _newest(source: Source, rows: DataFrame, name: str, type_: str) -> Value | None:
    """The largest value; None where there is no row. Raises SourceError where rows would be passed over for good."""
    value, now = column(name), datetime.now(UTC) + AHEAD
    bad = value.isNull()
    if type_ in FLOATS:
        bad = bad | F.isnan(value) | (F.abs(value) == F.lit(math.inf))
    limits: dict[str, Value] = {
        "timestamp": now,
        "timestamp_ntz": (now + EARLIEST_ZONE).replace(tzinfo=None),
        "date": (now + EARLIEST_ZONE).date(),
    }
    late = value > literal(limits[type_], type_) if type_ in limits else F.lit(False)
    asked = [F.count(F.when(bad, 1)), F.count(F.when(late, 1)), F.max(F.when(~bad, value))]
    try:
        told = to_arrow(rows.agg(*(one.alias(f"c{i}") for i, one in enumerate(asked))))
        nulls, ahead, newest = (told.column(i)[0].as_py() for i in range(3))
    except READ_ERRORS as error:
        raise SourceError(
            f"The column {name!r} of {source} cannot be read.", found=reason(error), transient=is_transient(error)
        ) from error
    if nulls:
        raise SourceError(
            f"Rows of {source} have no value in {name!r}, by which new ones are told: they would never be scored.",
            "a value in every row",
            f"{nulls} rows with null" + (", NaN or infinity" if type_ in FLOATS else ""),
            f"Fill them, or leave them out: source.where: {name} IS NOT NULL.",
        )
    if ahead:
        raise SourceError(
            f"Rows of {source} are of the future by {name!r}: rows that come before then would never be scored.",
            f"values up to now, {now:%Y-%m-%d %H:%M} UTC",
            f"{ahead} later ones, the latest {_to_text(newest)}",
            "Correct them, or leave them out by source.where.",
        )
    return _in_utc(newest) if newest is not None else None


def _in_utc(value: Value) -> Value:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value


def _to_text(value: Value) -> str:
    """A value, to the last digit."""
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, Decimal):
        return format(value, "f")
    return repr(value) if isinstance(value, float) else str(value)


def _from_text(text: str, type_: str) -> Value:
    """A value as ``_to_text`` wrote it. Raises SourceError where the column is of another type by now."""
    try:
        if type_ in ("timestamp", "timestamp_ntz"):
            found = datetime.fromisoformat(text)
            if (found.tzinfo is None) != (type_ == "timestamp_ntz"):
                raise ValueError(text)
            return found
        if type_ == "date":
            return date.fromisoformat(text)
        if type_ in WHOLE:
            return int(text)
        return float(text) if type_ in FLOATS else Decimal(text)
    except (ValueError, ArithmeticError):
        raise SourceError(
            "The column of source.incremental is of another type than at the last run.", f"a value like {text}", type_,
            "Run once with --full: everything is scored anew.",
        ) from None  # fmt: skip


def _less(value: Value, lag: str, name: str) -> Value:
    """A value less the lag; of days, whole ones. Raises ConfigError where the one does not go with the other."""
    number, unit = (lag[:-1], lag[-1]) if lag[-1] in SECONDS else (lag, "")
    is_time = isinstance(value, date)
    if is_time != bool(unit):
        raise ConfigError(
            f"source.incremental.lag does not go with the column {name!r}.",
            "90s, 15m, 1h or 2d" if is_time else "a number, as the column's",
            lag,
        )
    try:
        if isinstance(value, date):
            back = timedelta(seconds=float(number) * SECONDS[unit])
            return value - (
                back if isinstance(value, datetime) else timedelta(days=math.ceil(back / timedelta(days=1)))
            )
        if isinstance(value, int):
            return value - math.ceil(Decimal(number))
        return value - Decimal(number) if isinstance(value, Decimal) else value - float(number)
    except OverflowError:
        raise ConfigError("source.incremental.lag is too long.", "a time", lag) from None

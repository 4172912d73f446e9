"""Columns read as the types that ``source.schema`` names: no value is made null in silence."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.config.tables import Source
from vae_model.errors import SchemaError, SourceError, nearest
from vae_model.places.identifiers import quote
from vae_model.spark.frames import ENGINE_ERRORS, column, is_transient, reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_EXACT = re.compile(r"tinyint|smallint|int|bigint|decimal")
_NUMBER = re.compile(rf"{_EXACT.pattern}|float|double")
COLUMNS_AT_ONCE = 200
"""Columns that are looked at in one pass over a table."""


def check_known(source: Source, names: Sequence[str]) -> None:
    """Raise SchemaError where ``source.schema`` names a column that is not there."""
    for name in source.types:
        if name not in names:
            raise SchemaError(
                f"source.schema names a column that {source} has not: {name!r}.",
                f"one of {', '.join(names[:12])}{', …' if len(names) > 12 else ''}",
                hint=nearest(name, names) or "Correct the name, or take it out.",
            )


def typed(frame: DataFrame, source: Source) -> DataFrame:
    """A DataFrame whose columns have the types of ``source.schema``. Raises SchemaError, and SourceError as
    ``check_values`` does.
    """
    check_known(source, frame.columns)
    found = dict(frame.dtypes)
    changed = {name: type_ for name, type_ in source.types.items() if spelled(type_) != spelled(found[name])}
    if not changed:
        return frame
    done = cast(frame, source, changed)
    check_values(frame, source, changed)
    return done


def cast(frame: DataFrame, source: Source, types: Mapping[str, str]) -> DataFrame:
    """A DataFrame with some columns cast. Raises SchemaError where a type is none, or no cast leads to it."""
    found = dict(frame.dtypes)
    try:
        done = frame.select(
            *(column(n).cast(types[n]).alias(n) if spelled(types.get(n, type_)) != spelled(type_) else column(n)
              for n, type_ in found.items())
        )  # fmt: skip
        _ = done.schema.names  # Connect looks at it only now
    except (*ENGINE_ERRORS, ValueError) as error:
        raise SchemaError(
            f"source.schema does not fit {source}.",
            "types of Spark's that the columns can be made: string, double, bigint, date, timestamp, decimal(10,2), …",
            f"{', '.join(f'{name}: {source.types[name]}' for name in types if name in source.types)}; {reason(error)}",
        ) from None
    return done


def spelled(type_: str) -> str:
    """A type's name as Spark itself spells it, as far as it has several spellings."""
    others = {"integer": "int", "long": "bigint", "short": "smallint", "byte": "tinyint", "real": "float"}
    bare = type_.lower().replace(" ", "")
    return others.get(bare, bare)


def check_values(
    frame: DataFrame, source: Source, types: Mapping[str, str], locate: Callable[[str, str], str] | None = None
) -> None:
    """Raise SourceError where a value would be lost by a cast, with the number of such values; ``locate`` tells, of a
    column and a type, where the first one stands.
    """
    names, found = [name for name, type_ in types.items() if spelled(type_) != "string"], dict(frame.dtypes)
    for start in range(0, len(names), COLUMNS_AT_ONCE):
        some = names[start : start + COLUMNS_AT_ONCE]
        # What is spliced in here is a quoted name and a type that a cast has understood before (``cast``).
        lost = [_is_lost(quote(n), found[n], types[n]) for n in some]
        sums = [F.sum(F.expr(f"case when {condition} then 1 else 0 end")) for condition in lost]
        try:
            row = frame.select(*(one.alias(f"c{i}") for i, one in enumerate(sums))).collect()[0]
        except ENGINE_ERRORS as error:
            raise SourceError(
                f"The source {source} cannot be read.", found=reason(error), transient=is_transient(error)
            ) from error
        for name, number in zip(some, row, strict=True):
            if number:
                where = locate(name, types[name]) if locate else ""
                raise SourceError(
                    f"Column {name!r} of {source} cannot be read as {types[name]}, as source.schema asks.",
                    f"values that are {types[name]}, or null",
                    f"{number:,} other value{'s' if number > 1 else ''}" + (f", {where}" if where else ""),
                    "Correct them, choose another type, or (CSV) say what stands for null: "
                    "source.options: {nullValue: N/A}.",
                )


def _is_lost(value: str, old: str, new: str) -> str:
    """SQL: whether a cast makes null of a value, or a number another one."""
    lost = f"try_cast({value} as {new}) is null"
    if _NUMBER.match(old) and _EXACT.match(spelled(new)):
        lost += f" or cast(try_cast({value} as {new}) as double) <> cast({value} as double)"
    return f"{value} is not null and ({lost})"

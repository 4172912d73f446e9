"""Which column types a format can hold: a job must not learn it after the training. Each was tried on each engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyspark.sql.types import ArrayType, DataType, MapType, NullType, StringType, StructType

from vae_model.config.tables import Output
from vae_model.errors import OutputError
from vae_model.spark.engines.engine import Capabilities
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.own import is_ours

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

NOWHERE = ("CalendarIntervalType",)
NOT_IN_DELTA = ("DayTimeIntervalType", "YearMonthIntervalType", "TimeType")
NOT_IN_OPEN_DELTA = ("GeometryType", "GeographyType")
"""Types by the names of their classes, which not every version of Spark has. Delta of a platform may know the last."""


def check_types(frame: DataFrame, output: Output) -> None:
    """Raise OutputError naming every column of a type that the output's format cannot hold."""
    engine = engine_of(frame.sparkSession)
    is_open = is_ours(frame.sparkSession)
    found = {
        format_: [f for f in frame.schema if unheld(f.dataType, format_, engine.can, is_open)]
        for format_ in (output.format, "parquet")
    }
    if not found[output.format]:
        return
    other = "" if found["parquet"] else " Or set output.format: parquet."
    columns = [f"  - column {f.name!r}: {f.dataType.simpleString()}" for f in found[output.format]]
    raise OutputError(
        "\n".join([f"The output cannot hold columns of the source as {output.format} on {engine.name}:", *columns]),
        hint=f"Cast them in a view, to string or to a number, or leave them out of the source.{other}",
    )


def unheld(type_: DataType, format_: str, can: Capabilities, is_open: bool) -> bool:
    """Whether a format cannot hold a type, or any part of it. ``is_open``: by the Delta jars that anyone can have."""
    for part, within in _parts(type_):
        name = type(part).__name__
        if name in NOWHERE or (isinstance(part, StructType) and not part.fields):
            return True
        if format_ != "delta":
            continue
        if name in NOT_IN_DELTA or (is_open and (name in NOT_IN_OPEN_DELTA or _is_collated(part))):
            return True
        if isinstance(part, NullType) and (not can.void_in_delta or {ArrayType, MapType} & {*within}):
            return True
        if isinstance(part, StructType) and all(isinstance(f.dataType, NullType) for f in part.fields):
            return True
        if name == "VariantType" and StructType in within and not can.nested_variant:
            return True
    return False


def _is_collated(type_: DataType) -> bool:
    return isinstance(type_, StringType) and "collate" in type_.simpleString()


def _parts(type_: DataType, within: tuple[type, ...] = ()) -> Iterator[tuple[DataType, tuple[type, ...]]]:
    """A type and all types in it, each with the kinds of what it is in."""
    yield type_, within
    inner: list[DataType] = []
    if isinstance(type_, StructType):
        inner = [field.dataType for field in type_.fields]
    elif isinstance(type_, ArrayType):
        inner = [type_.elementType]
    elif isinstance(type_, MapType):
        inner = [type_.keyType, type_.valueType]
    for one in inner:
        yield from _parts(one, (*within, type(type_)))

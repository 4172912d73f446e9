"""What the fields of a source's columns carry beside their types: it is not the output's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, MapType, StructField, StructType

from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def without_metadata(frame: DataFrame, format_: str) -> DataFrame:
    """``frame`` without what its columns' fields carry but comments: how a Delta table widened, counted, computed or
    mapped a column is true of that table alone, and a table that claims it falsely may not be readable.

    On Sail, which neither tells nor sets what a field carries, Delta's columns go through a function that does nothing
    but lose it, comments too.
    """
    fields = frame.schema.fields
    if engine_of(frame.sparkSession).can.metadata:
        bare = [_bare_field(field) for field in fields]
        return frame if bare == fields else frame.select(*map(_as_field, fields, bare))
    if format_ != "delta":
        return frame
    return frame.select(*(F.nullif(_cast(f, f.dataType), F.lit(None)).alias(f.name) for f in fields))


def _as_field(field: StructField, bare: StructField) -> Column:
    if bare == field:
        return column(field.name)
    value = column(field.name) if bare.dataType == field.dataType else _cast(field, bare.dataType)
    return value.alias(field.name, metadata=bare.metadata)


def _cast(field: StructField, type_: DataType) -> Column:
    """A column whose structs have the fields of a type; others are as they are."""
    has_fields = "struct<" in type_.simpleString() and "variant" not in type_.simpleString()
    return column(field.name).cast(type_) if has_fields else column(field.name)


def _bare_field(field: StructField) -> StructField:
    kept = {key: value for key, value in (field.metadata or {}).items() if key == "comment"}
    return StructField(field.name, _bare(field.dataType), field.nullable, kept)


def _bare(type_: DataType) -> DataType:
    """A type without what the fields in it carry."""
    if isinstance(type_, StructType):
        return StructType([_bare_field(field) for field in type_.fields])
    if isinstance(type_, ArrayType):
        return ArrayType(_bare(type_.elementType), type_.containsNull)
    if isinstance(type_, MapType):
        return MapType(_bare(type_.keyType), _bare(type_.valueType), type_.valueContainsNull)
    return type_

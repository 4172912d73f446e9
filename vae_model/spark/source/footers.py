"""The footers of Parquet files: the columns of each file, and how an engine comes to read them.

Read with Arrow, before an engine does: of some types the engines know no name, and each reads others of them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pat

from vae_model.spark.source.arrow_types import inner, plain

_VARIANT = re.compile(r"^  (?:required|optional) group field_id=\S+ (.*) \(Variant\(\d+\)\) \{$", re.MULTILINE)
"""A column of this type, in a schema's text."""


class Way(IntEnum):
    """How a column comes to be read, from the cheapest on."""

    native = 0
    """As it is, with or without a schema."""
    unnamed = 1
    """As it is, but not where a schema names its type."""
    by_schema = 2
    """Where a schema names its plain type."""
    converted = 3
    """As a whole number of nanoseconds, which then is made a timestamp."""
    copied = 4
    """Not at all: the file is copied into plain types."""


class Field(NamedTuple):
    """A column as a file has it."""

    name: str
    type: pa.DataType
    is_int96: bool = False
    """Whether it is a timestamp of the old kind: without a note of its unit, and by all engines taken for UTC."""
    is_uuid: bool = False
    is_variant: bool = False

    @property
    def plain(self) -> pa.DataType | None:
        """Its type in the source; None where no engine has one."""
        return pa.timestamp("us", "UTC") if self.is_int96 else plain(self.type)


def fields(file: Any) -> tuple[Field, ...]:
    """The columns of an open Parquet file. Raises Arrow's errors, and OSError."""
    footer = pq.read_metadata(file)
    found, leaf = [], 0
    variants = set(_VARIANT.findall(str(footer.schema)))  # Arrow says it nowhere else
    for field, type_ in zip(footer.schema.to_arrow_schema(), _written(footer), strict=True):
        own = footer.schema.column(leaf)
        is_uuid = str(own.logical_type.type) == "UUID"
        found.append(Field(field.name, type_, own.physical_type == "INT96", is_uuid, field.name in variants))
        leaf += _leaves(field.type)
    return tuple(found)


def finer_than_microseconds(file: Any, of: Sequence[Field]) -> list[str]:
    """Columns of timestamps of which Spark's types would not keep all digits, by the file's first rows. Raises Arrow's
    errors, and OSError.
    """
    names = [field.name for field in of if pat.is_timestamp(field.type) and field.type.unit == "ns"]
    reader = pq.ParquetFile(file)
    if not names or not reader.num_row_groups:
        return []
    table = reader.read_row_group(0, [name for name in names if "." not in name])  # a dot would name a field within
    return [name for name in table.column_names if (table[name].cast(pa.int64()).drop_null().to_numpy() % 1000).any()]


def _written(footer: pq.FileMetaData) -> list[pa.DataType]:
    """The columns' types as the writer had them, where it has left its Arrow schema; else as the file has them. Arrow
    itself does not restore all of them. Nanoseconds that the writer has turned into a coarser unit, as pandas did by
    default with Arrow before 13, are what the file has.
    """
    of_file = footer.schema.to_arrow_schema()
    text = (footer.metadata or {}).get(b"ARROW:schema")
    if text is None:
        return list(of_file.types)
    left = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
    if left.names != of_file.names:
        return list(of_file.types)
    return [_as_stored(*both) for both in zip(left.types, of_file.types, strict=True)]


def _as_stored(left: pa.DataType, stored: pa.DataType) -> pa.DataType:
    if _is_nanoseconds(left) and pat.is_timestamp(stored):
        return pa.timestamp(stored.unit, left.tz)
    return left


def _leaves(type_: pa.DataType) -> int:
    """How many of the file's own columns make up a column."""
    if isinstance(type_, pa.BaseExtensionType):
        return _leaves(type_.storage_type)
    if pat.is_dictionary(type_) or not type_.num_fields:
        return 1
    return sum(_leaves(type_.field(i).type) for i in range(type_.num_fields))


def ways(of: Sequence[Field], follows_arrow: bool) -> list[Way]:
    """How an engine comes to read each column of a file.

    ``follows_arrow``: it goes by the Arrow schema that the file's writer may have left (``Capabilities``).
    """
    return [_on_arrow(field) if follows_arrow else _on_spark(field) for field in of]


def _on_spark(field: Field) -> Way:
    within = inner(field.type)
    if any(pat.is_float16(type_) or pat.is_time(type_) for type_ in within):
        return Way.copied
    if field.is_int96 or not any(map(_is_nanoseconds, within)):
        return Way.by_schema if field.is_uuid else Way.native
    return Way.converted if pat.is_timestamp(field.type) else Way.copied


def _on_arrow(field: Field) -> Way:
    within = inner(field.type)
    never = (pat.is_dictionary, pat.is_date64, pat.is_float16, pat.is_time, pat.is_duration, pat.is_decimal256)
    if any(holds(type_) for holds in never for type_ in within) or any(map(pat.is_null, within[1:])):
        return Way.copied
    is_fixed = any(map(pat.is_fixed_size_list, within))
    several = [type_ for type_ in within if pat.is_nested(type_) and not pat.is_struct(type_)]
    if len(several) > 1 and (is_fixed or any(map(pat.is_large_list, several))):
        return Way.copied  # it is read, but Sail cannot write it to Delta
    if field.is_int96 or any(_is_not_in_micros(type_) or pat.is_unsigned_integer(type_) for type_ in within):
        return Way.copied if is_fixed else Way.by_schema
    return Way.unnamed if is_fixed else Way.native


def _is_not_in_micros(type_: pa.DataType) -> bool:
    return bool(pat.is_timestamp(type_)) and type_.unit != "us"


def _is_nanoseconds(type_: pa.DataType) -> bool:
    return bool(pat.is_timestamp(type_)) and type_.unit == "ns"

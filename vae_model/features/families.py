"""Families: groups of column types that encode alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pyarrow as pa
import pyarrow.types as pat


class Family(NamedTuple):
    """A group of column types that encode alike."""

    holds: Callable[[pa.DataType], bool]
    """Whether an Arrow type belongs to it."""
    type: pa.DataType
    """The type given to a column of it that came without one, because all its rows are null."""
    is_nested: bool = False
    """Whether a value holds several others: it is neither counted nor compared as one thing."""


def family(type_: pa.DataType) -> str | None:
    """The name of the family of an Arrow type, or None for a type no feature can be made from."""
    if pat.is_dictionary(type_):
        return family(type_.value_type)
    return next((name for name, one in FAMILIES.items() if one.holds(type_)), None)


def _is_string(type_: pa.DataType) -> bool:
    return bool(pat.is_string(type_) or pat.is_large_string(type_) or pat.is_string_view(type_))


def _is_binary(type_: pa.DataType) -> bool:
    kinds = pat.is_binary, pat.is_large_binary, pat.is_fixed_size_binary, pat.is_binary_view
    return any(holds(type_) for holds in kinds)


def _is_array(type_: pa.DataType) -> bool:
    is_list = pat.is_list(type_) or pat.is_large_list(type_) or pat.is_fixed_size_list(type_)
    return is_list and family(type_.value_type) in ("integer", "float", "decimal")


FAMILIES = {
    "null": Family(pat.is_null, pa.null()),
    "boolean": Family(pat.is_boolean, pa.bool_()),
    "integer": Family(pat.is_integer, pa.int64()),
    "float": Family(pat.is_floating, pa.float64()),
    "decimal": Family(pat.is_decimal, pa.float64()),
    "string": Family(_is_string, pa.string()),
    "date": Family(pat.is_date, pa.date32()),
    "timestamp": Family(pat.is_timestamp, pa.timestamp("us")),
    "binary": Family(_is_binary, pa.binary(), is_nested=True),
    "array": Family(_is_array, pa.list_(pa.float64()), is_nested=True),
}
"""Every family by its name. Spark's types are put into them by ``spark.frames``."""

"""Arrow's types as tables have them on every engine: each as the nearest that all of them read and write."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.types as pat

MAX_DIGITS = 38
"""Of a decimal, on any engine."""


def plain(type_: pa.DataType) -> pa.DataType | None:
    """The type that a column of an Arrow type has in a source, on every engine; None where there is none.

    Nanoseconds become microseconds, unsigned whole numbers the next larger signed ones, categories their values,
    durations a number of their own unit, a time of day text (``09:30:00``), and nulls alone whole numbers.
    """
    if isinstance(type_, pa.BaseExtensionType):
        return plain(type_.storage_type)
    if pat.is_dictionary(type_):
        return plain(type_.value_type)
    if pat.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if pat.is_decimal(type_):
        return pa.decimal128(type_.precision, type_.scale) if type_.precision <= MAX_DIGITS else None
    if pat.is_struct(type_):
        inner = [plain(field.type) for field in type_]
        if None in inner:
            return None
        return pa.struct([field.with_type(own) for field, own in zip(type_, inner, strict=True)])
    if pat.is_map(type_):
        key, item = plain(type_.key_type), plain(type_.item_type)
        return pa.map_(key, item) if key and item else None
    if _is_list(type_):
        item = plain(type_.value_type)
        return pa.list_(item) if item else None
    return next((own for holds, own in _PLAIN if holds(type_)), type_)


_PLAIN = (
    (pat.is_uint8, pa.int16()),
    (pat.is_uint16, pa.int32()),
    (pat.is_uint32, pa.int64()),
    (pat.is_uint64, pa.decimal128(20, 0)),
    (pat.is_float16, pa.float32()),
    (pat.is_large_string, pa.string()),
    (pat.is_string_view, pa.string()),
    (pat.is_large_binary, pa.binary()),
    (pat.is_fixed_size_binary, pa.binary()),
    (pat.is_binary_view, pa.binary()),
    (pat.is_date64, pa.date32()),
    (pat.is_time, pa.string()),
    (pat.is_duration, pa.int64()),
    (pat.is_null, pa.int32()),
)


def _is_list(type_: pa.DataType) -> bool:
    return bool(pat.is_list(type_) or pat.is_large_list(type_) or pat.is_fixed_size_list(type_))


def inner(type_: pa.DataType) -> list[pa.DataType]:
    """A type and all types within it."""
    if isinstance(type_, pa.BaseExtensionType):
        return [type_, *inner(type_.storage_type)]
    if pat.is_dictionary(type_):
        return [type_, *inner(type_.value_type)]
    children = [type_.field(i).type for i in range(type_.num_fields)]
    return [type_, *(one for child in children for one in inner(child))]


def widest(types: Iterable[pa.DataType]) -> pa.DataType | None:
    """The type that holds what plain columns of several types hold; None where only text would.

    Whole numbers and fractions together are float64, as everywhere: of whole numbers beyond 2**53 the last digits go.
    """
    found = list(dict.fromkeys(types))
    if len(found) == 1:
        return found[0]
    if all(map(pat.is_integer, found)):
        return max(found, key=lambda one: int(one.bit_width))
    if all(pat.is_integer(one) or pat.is_floating(one) or pat.is_decimal(one) for one in found):
        return _widest_decimal(found) if all(map(pat.is_decimal, found)) else pa.float64()
    return None


def _widest_decimal(types: list[pa.DataType]) -> pa.DataType:
    scale = max(one.scale for one in types)
    digits = scale + max(one.precision - one.scale for one in types)
    return pa.decimal128(digits, scale) if digits <= MAX_DIGITS else pa.float64()


def in_words(type_: pa.DataType) -> str:
    """A type for messages: of a category, its values' too."""
    return f"a category of {type_.value_type}" if pat.is_dictionary(type_) else str(type_)

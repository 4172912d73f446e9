"""Whole tables for hypothesis to draw: types, names, gaps and values that are as odd as Parquet can hold them."""

import datetime as dt
from decimal import Context, Decimal

import numpy as np
import pyarrow as pa
import pyarrow.types as pat
from hypothesis import strategies as st

from vae_model.scoring.output import OUTPUT

KEY = "row id"
EPOCH, UNITS = dt.datetime(1970, 1, 1), {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
HARD = [0.0, -0.0, float("inf"), float("-inf"), float("nan")]
ODD_NAMES = ["", " ", "`", "a.b", "a", "*", "_c0", "__vae", "__vae_1", "value", "id", "is_fraud", "rand()", "%s", "'",
             "x" * 300, "col\x00", "\u202e", *OUTPUT.names, *(f"vae_{name}" for name in OUTPUT.names)]  # fmt: skip
names = st.text(max_size=12) | st.sampled_from(ODD_NAMES)


@st.composite
def digits(draw, make, most):
    """A type of decimals of any precision and scale."""
    precision = draw(st.integers(1, most))
    return make(precision, draw(st.integers(0, precision)))


zones = st.sampled_from([None, "UTC", "+05:30", "Europe/Berlin"])
leaves = st.one_of(
    st.sampled_from([
        pa.null(), pa.bool_(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
        pa.string_view(), pa.binary(), pa.large_binary(), pa.binary(3), pa.date32(), pa.date64(), pa.time32("s"),
        pa.time32("ms"), pa.time64("us"), pa.time64("ns"), *map(pa.duration, UNITS), pa.uuid(),
    ]),
    st.sampled_from([pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]),
    st.builds(pa.timestamp, st.sampled_from(list(UNITS)), zones),
    digits(pa.decimal128, 38),
    digits(pa.decimal256, 40),
)  # fmt: skip
simple = leaves.filter(lambda type_: type_ != pa.uuid())
categories = st.sampled_from([pa.string(), pa.int64(), pa.float64(), pa.date32()])


def around(inner):
    """Types that hold another."""
    fields = st.lists(st.tuples(names, inner), min_size=1, max_size=3, unique_by=lambda own: own[0].casefold())
    return st.one_of(
        inner.map(pa.list_), inner.map(pa.large_list), inner.map(lambda one: pa.list_(one, 2)),
        fields.map(pa.struct),
        st.builds(pa.map_, st.sampled_from([pa.string(), pa.int32(), pa.date32()]), inner),
    )  # fmt: skip


types = st.one_of(
    leaves, leaves, leaves,
    categories.map(lambda one: pa.dictionary(pa.int32(), one)),
    st.recursive(simple, around, max_leaves=4),
)  # fmt: skip


def values(type_):
    """What a type holds, as Python values that Arrow takes; null now and then."""
    return st.none() | present(type_) | present(type_)


def present(type_):
    """What a type holds but null."""
    if pat.is_dictionary(type_):
        return present(type_.value_type)
    if pat.is_struct(type_):
        return st.fixed_dictionaries({field.name: values(field.type) for field in type_})
    if pat.is_map(type_):
        return st.dictionaries(present(type_.key_type), values(type_.item_type), max_size=3).map(
            lambda own: list(own.items())
        )
    if pat.is_fixed_size_list(type_):
        return st.lists(values(type_.value_type), min_size=type_.list_size, max_size=type_.list_size)
    if pat.is_list(type_) or pat.is_large_list(type_):
        return st.lists(values(type_.value_type), max_size=3)
    if pat.is_decimal(type_):
        largest, scale = 10**type_.precision - 1, type_.scale
        return st.integers(-largest, largest).map(lambda n: Decimal(n).scaleb(-scale, Context(prec=100)))
    if pat.is_timestamp(type_):
        years = (1678, 2261) if type_.unit == "ns" else (1, 9999)
        low, high = ((dt.datetime(year, 1, 2) - EPOCH).days * 86_400 * UNITS[type_.unit] for year in years)
        return st.integers(low, high)
    if pat.is_time(type_):
        return st.integers(0, 86_400 * UNITS[type_.unit] - 1)
    if pat.is_integer(type_):
        bounds = np.iinfo(type_.to_pandas_dtype())
        return st.integers(int(bounds.min), int(bounds.max)) | st.sampled_from([int(bounds.min), int(bounds.max), 0])
    return next(strategy for holds, strategy in _SIMPLE if holds(type_))


_SIMPLE = (
    (pat.is_null, st.none()),
    (pat.is_boolean, st.booleans()),
    (pat.is_float16, st.floats(width=16) | st.sampled_from(HARD)),
    (pat.is_float32, st.floats(width=32) | st.sampled_from(HARD)),
    (pat.is_float64, st.floats() | st.sampled_from([*HARD, 1e200, 1.797e308, -1.797e308, 5e-324])),
    (pat.is_date, st.dates()),
    (pat.is_duration, st.integers(-(2**62), 2**62)),
    (pat.is_fixed_size_binary, st.binary(min_size=3, max_size=3)),
    (lambda type_: isinstance(type_, pa.UuidType), st.binary(min_size=16, max_size=16)),
    (lambda type_: pat.is_binary(type_) or pat.is_large_binary(type_), st.binary(max_size=8)),
    (lambda _: True, st.text(max_size=12) | st.sampled_from(["", " ", "N/A", "1e5", "2024-01-01", "a" * 2000])),
)


@st.composite
def columns(draw, rows):
    """A column of few values, spread over the rows."""
    type_ = draw(types)
    some = draw(st.lists(values(type_), min_size=1, max_size=6))
    chosen = [some[i] for i in randomly(draw).integers(0, len(some), rows)]
    if isinstance(type_, pa.UuidType):
        return pa.ExtensionArray.from_storage(type_, pa.array(chosen, type_.storage_type))
    if pat.is_dictionary(type_):
        return pa.array(chosen, type_.value_type).dictionary_encode()
    return pa.array(chosen, type_)


@st.composite
def noise(draw, rows):
    """A column of numbers, or of texts, that differ from row to row."""
    type_ = draw(st.sampled_from([pa.float64(), pa.float32(), pa.int64(), pa.decimal128(20, 2), pa.string()]))
    drawn = pa.array((randomly(draw).normal(size=rows) * 100).round(2))
    return drawn.cast(pa.float64() if pat.is_integer(type_) else type_).cast(type_, safe=False)


def randomly(draw):
    """Random numbers by a drawn seed."""
    return np.random.default_rng(draw(st.integers(0, 99)))


@st.composite
def tables(draw):
    """A table of up to eight columns, one of them of noise, and one that numbers the rows, in no order."""
    rows = draw(st.integers(100, 300))
    first, *rest = draw(st.lists(names, min_size=1, max_size=8, unique_by=str.casefold))
    own = {first: draw(noise(rows))} | {name: draw(columns(rows) | noise(rows)) for name in rest}
    return pa.table({**own, KEY: pa.array(np.random.default_rng(rows).permutation(rows) + 10**6)})

"""Families: column types that encode alike."""

import pyarrow as pa
import pytest

from vae_model.features.families import FAMILIES, family


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (pa.int8(), "integer"),
        (pa.uint64(), "integer"),
        (pa.float16(), "float"),
        (pa.float64(), "float"),
        (pa.decimal128(10, 2), "decimal"),
        (pa.decimal256(40, 2), "decimal"),
        (pa.bool_(), "boolean"),
        (pa.string(), "string"),
        (pa.large_string(), "string"),
        (pa.string_view(), "string"),
        (pa.dictionary(pa.int8(), pa.string()), "string"),
        (pa.dictionary(pa.int32(), pa.int64()), "integer"),
        (pa.date32(), "date"),
        (pa.date64(), "date"),
        (pa.timestamp("ns"), "timestamp"),
        (pa.timestamp("s", tz="Europe/Paris"), "timestamp"),
        (pa.list_(pa.float32()), "array"),
        (pa.large_list(pa.int16()), "array"),
        (pa.list_(pa.float64(), 3), "array"),
        (pa.list_(pa.string()), None),
        (pa.list_(pa.list_(pa.float64())), None),
        (pa.struct([("a", pa.int64())]), None),
        (pa.map_(pa.string(), pa.int64()), None),
        (pa.binary(), "binary"),
        (pa.binary_view(), "binary"),
        (pa.large_binary(), "binary"),
        (pa.binary(4), "binary"),
        (pa.time64("us"), None),
        (pa.duration("s"), None),
    ],
    ids=str,
)
def test_family_of_a_type(type_, expected):
    """Types that encode alike are one family; a type no feature can be made from has none."""
    assert family(type_) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_the_type_of_a_column_of_nulls_is_of_its_family(name):
    """The type that stands in for a missing one is of the family itself; decimals, which have many, become floats."""
    assert family(FAMILIES[name].type) == ("float" if name == "decimal" else name)

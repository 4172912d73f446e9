"""Which columns become features, and whether a table fits a model."""

import pyarrow as pa
import pytest

from vae_model.errors import SchemaError
from vae_model.features.schema import Column, arrow_columns, check_fits_model, select


def columns(**types):
    """Columns of an Arrow schema."""
    return arrow_columns(pa.schema(list(types.items())))


def choose(given, key=(), include=None, exclude=(), kinds=None):
    """``select`` with its arguments defaulted."""
    return select(given, key, include, exclude, kinds or {})


def refused(function, *arguments, **named):
    """The message of the SchemaError a call raises."""
    with pytest.raises(SchemaError) as caught:
        function(*arguments, **named)
    return str(caught.value)


def test_kinds_are_inferred_in_table_order():
    """Without a config every column but the key is a feature of the kind its type suggests."""
    given = columns(
        id=pa.int64(), t=pa.timestamp("us"), n=pa.int32(), x=pa.float64(), d=pa.decimal128(5, 1), b=pa.bool_(),
        s=pa.string(), day=pa.date32(), v=pa.list_(pa.float64()),
    )  # fmt: skip
    assert list(choose(given, key=["id"]).items()) == [
        ("t", ("datetime", "timestamp")),
        ("n", ("numeric", "integer")),
        ("x", ("numeric", "float")),
        ("d", ("numeric", "decimal")),
        ("b", ("boolean", "boolean")),
        ("s", ("categorical", "string")),
        ("day", ("datetime", "date")),
        ("v", ("vector", "array")),
    ]


def test_kinds_set_by_hand_win():
    """An integer can be a category, a boolean a number."""
    given = columns(code=pa.int64(), flag=pa.bool_(), bit=pa.bool_())
    kinds = {"code": "categorical", "flag": "numeric", "bit": "categorical"}
    assert choose(given, kinds=kinds) == {
        "code": ("categorical", "integer"), "flag": ("numeric", "boolean"), "bit": ("categorical", "boolean")
    }  # fmt: skip


def test_include_keeps_only_what_it_names():
    """Columns that are not included are no features, and may be of any type."""
    given = columns(a=pa.int64(), b=pa.int64(), c=pa.binary())
    assert choose(given, include=["b"]) == {"b": ("numeric", "integer")}


def test_excluded_columns_may_be_of_any_type():
    """An unsupported column that is excluded, or the key, is no problem."""
    given = columns(id=pa.binary(), raw=pa.map_(pa.string(), pa.string()), x=pa.float64())
    assert choose(given, key=["id"], exclude=["raw"]) == {"x": ("numeric", "float")}


def test_unsupported_type_says_how_to_exclude_it():
    """A column no feature can be made from is named with its type and with the setting that leaves it out."""
    assert refused(choose, columns(x=pa.float64(), raw=pa.duration("s"))) == (
        "The table does not fit the config:\n"
        "  - column 'raw' has type duration[s], which no feature can be made from "
        "(to leave it out of the model: features: {exclude: [raw]})"
    )


@pytest.mark.parametrize(
    ("type_", "kind", "line"),
    [
        (pa.string(), "numeric", "expected integer or float or decimal or boolean, found string"),
        (pa.float64(), "categorical", "expected string or integer or boolean, found double"),
        (pa.int64(), "boolean", "expected boolean, found int64"),
        (pa.string(), "datetime", "expected date or timestamp, found string"),
        (pa.float64(), "vector", "expected array, found double"),
    ],
)
def test_a_kind_that_does_not_fit_the_type_is_refused(type_, kind, line):
    """A kind set by hand must be one the column's type can be."""
    assert refused(choose, columns(c=type_), kinds={"c": kind}) == (
        f"The table does not fit the config:\n  - column 'c' cannot be {kind}: {line}"
    )


def test_every_column_the_config_names_must_exist():
    """Missing columns of key, include, exclude and kinds are named together, each with the nearest name."""
    given = columns(origin=pa.string(), wind_speed=pa.float64())
    message = refused(
        choose, given, key=["origen"], include=["wind_sped"], exclude=["zzz"], kinds={"origins": "categorical"}
    )
    assert message == (
        "The table does not fit the config:\n"
        "  - column 'origen' is not in the table; did you mean 'origin'?\n"
        "  - column 'wind_sped' is not in the table; did you mean 'wind_speed'?\n"
        "  - column 'zzz' is not in the table; the table has origin, wind_speed\n"
        "  - column 'origins' is not in the table; did you mean 'origin'?"
    )


def test_a_wide_table_is_not_listed_whole():
    """A missing column of a wide table is answered with its first twelve columns."""
    given = columns(**{f"c{i}": pa.int64() for i in range(30)})
    message = refused(choose, given, include=["zzz"])
    assert message.endswith("the table has " + ", ".join(f"c{i}" for i in range(12)) + ", …")


def test_no_column_left_is_refused():
    """A table of nothing but keys and excluded columns has no features."""
    assert refused(choose, columns(id=pa.int64(), a=pa.int64()), key=["id"], exclude=["a"]) == (
        "No column is left to be a feature.\n  found: columns id, a"
    )


def test_columns_named_twice_are_refused():
    """Two columns of one name cannot be told apart."""
    given = [Column("a", "integer", "int64"), Column("b", "float", "double"), Column("a", "float", "double")]
    message = "Columns named twice: a.\n  to do: Rename one of each."
    assert refused(choose, given) == message
    assert refused(check_fits_model, given, {"a": ("numeric", "integer")}) == message


TRAINED = {
    "n": ("numeric", "integer"), "s": ("categorical", "string"), "t": ("datetime", "timestamp"),
    "v": ("vector", "array"), "b": ("boolean", "boolean"),
}  # fmt: skip
FITTING = {
    "n": pa.int64(), "s": pa.string(), "t": pa.timestamp("us"), "v": pa.list_(pa.float64()), "b": pa.bool_()
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"n": pa.float64()},
        {"n": pa.decimal128(9, 3)},
        {"n": pa.bool_()},
        {"s": pa.large_string()},
        {"s": pa.dictionary(pa.int32(), pa.string())},
        {"t": pa.timestamp("ns", tz="UTC")},
        {"v": pa.list_(pa.int32(), 4)},
        {"more": pa.binary()},
    ],
    ids=str,
)
def test_tables_that_fit_a_model(change):
    """Numbers of any width, strings of any layout and columns the model does not know are no problem."""
    assert check_fits_model(columns(**{**FITTING, **change}), TRAINED) is None


def test_every_column_that_does_not_fit_a_model_is_named():
    """Missing and retyped columns, the key's too, make one message with what was expected and found."""
    found = {**FITTING, "n": pa.string(), "s": pa.int64(), "b": pa.int8(), "T": pa.date32()}
    del found["t"]
    assert refused(check_fits_model, columns(**found), TRAINED, key=["row_id"]) == (
        "The table does not fit the model:\n"
        "  - column 'row_id' is not in the table; the table has n, s, v, b, T\n"
        "  - column 't' is not in the table; did you mean 'T'?\n"
        "  - column 'n': expected integer (numeric when the model was trained), found string\n"
        "  - column 's': expected string (categorical when the model was trained), found int64\n"
        "  - column 'b': expected boolean (boolean when the model was trained), found int8"
    )


def test_a_date_is_no_timestamp():
    """A date has no time of day: it does not stand in for a timestamp."""
    message = refused(check_fits_model, columns(t=pa.date32()), {"t": ("datetime", "timestamp")})
    assert message.endswith("column 't': expected timestamp (datetime when the model was trained), found date32[day]")

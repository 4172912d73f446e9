"""The fitted spec: a table in, a matrix out, row by row."""

import json
from datetime import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.errors import ModelFileError, SchemaError, TrainingError
from vae_model.features import spec as spec_module
from vae_model.features.categories import MAX_SLOTS
from vae_model.features.schema import arrow_columns, select
from vae_model.features.spec import FeatureSpec, combine

ROWS = 200


def columns(rows=ROWS, seed=0):
    """A column of every kind, with gaps."""
    draw = np.random.default_rng(seed)
    start = np.datetime64("2024-01-01", "us")
    at = start + draw.integers(0, 365 * 86_400_000_000, rows)
    return {
        "x": pa.array(draw.normal(5, 2, rows), mask=draw.random(rows) < 0.1),
        "n": pa.array(draw.integers(0, 9, rows)),
        "flag": pa.array(draw.random(rows) < 0.3),
        "city": pa.array(draw.choice(["Lyon", "Nice", "Turin"], rows), mask=draw.random(rows) < 0.1),
        "at": pa.array(at, pa.timestamp("us"), mask=draw.random(rows) < 0.05),
        "day": pa.array(at.astype("datetime64[D]"), pa.date32()),
        "v": pa.array([None if i % 17 == 0 else list(draw.normal(size=3)) for i in range(rows)]),
        "c": pa.array(np.full(rows, 4.0)),
        "only": pa.array(["a"] * rows),
    }


def fit(table, **kinds):
    """A spec of all columns of a table."""
    return FeatureSpec.fit(table, select(arrow_columns(table.schema), (), None, (), kinds))


def described(spec):
    """What each feature says of itself."""
    return [kind.describe(feature) for kind, feature in zip(spec.kinds, spec.features, strict=True)]


@pytest.fixture(scope="module")
def table():
    """The training rows."""
    return pa.table(columns())


@pytest.fixture(scope="module")
def spec(table):
    """The spec fitted on them."""
    return fit(table)


def same(batch, other):
    """Whether two batches are equal to the last bit."""
    pairs = zip(parts(batch), parts(other), strict=True)
    return all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs)


def parts(batch):
    """The arrays of a batch."""
    return [getattr(batch, name) for name in ("x_NF", "codes_NC", "unseen_NC", "missing_N", "non_finite_N", "gap_N")]


def test_shapes(spec, table):
    """A number has one unit, a timestamp six, a date four, an array one an element; booleans are categories."""
    batch = spec.encode_table(table)
    assert batch.x_NF.shape == (ROWS, 1 + 1 + 6 + 4 + 3 + 1)
    assert batch.codes_NC.shape == batch.unseen_NC.shape == (ROWS, 3)
    assert [f.name for f in spec.numeric] == ["x", "n", "at", "day", "v", "c"]
    assert [f.name for f in spec.categorical] == ["flag", "city", "only"]
    assert len(batch) == ROWS


def test_residuals_know_their_feature(spec):
    """Units come first, then categories; each maps to the column it was made from."""
    names = [spec.names[i] for i in spec.feature_of_unit]
    assert names == ["x", "n", *["at"] * 6, *["day"] * 4, *["v"] * 3, "c", "flag", "city", "only"]


def test_numbers_are_standardised():
    """Without tails to speak of, a column has mean 0 and deviation 1 in the matrix."""
    table = pa.table({"x": np.repeat([10.0, 30.0], 100)})
    np.testing.assert_allclose(fit(table).encode_table(table).x_NF[:, 0], np.repeat([-1.0, 1.0], 100))


def test_missing_share_counts_features(spec, table):
    """Nulls of number, category, timestamp and array count one each, over nine features."""
    rows = table.slice(1, 1)
    for count, name in enumerate(["x", "city", "at", "v"], start=1):
        index = rows.column_names.index(name)
        rows = rows.set_column(index, rows.schema.field(index), pa.array([None], rows.schema.field(index).type))
        assert spec.encode_table(rows).missing_N[0] == pytest.approx(count / 9)


@pytest.mark.parametrize("value", [None, float("nan")])
def test_null_and_nan_are_missing_alike(spec, table, value):
    """A null and a NaN leave the same gap."""
    rows = table.slice(1, 1).set_column(0, "x", pa.array([value], pa.float64()))
    batch = spec.encode_table(rows)
    assert np.isnan(batch.x_NF[0, 0])
    assert batch.missing_N[0] == pytest.approx(1 / 9)
    assert not batch.non_finite_N[0]


@pytest.mark.parametrize("value", [float("inf"), float("-inf")])
def test_infinities_are_missing_and_flagged(spec, table, value):
    """An infinity counts as missing and is flagged as not finite."""
    batch = spec.encode_table(table.slice(1, 1).set_column(0, "x", pa.array([value])))
    assert np.isnan(batch.x_NF[0, 0])
    assert batch.missing_N[0] == pytest.approx(1 / 9)
    assert batch.non_finite_N[0]


def test_an_array_with_one_gap_is_not_missing(spec, table):
    """One null element leaves the array's other elements observed."""
    rows = table.slice(1, 1).set_column(6, "v", pa.array([[0.0, None, 1.0]]))
    batch = spec.encode_table(rows)
    assert np.isnan(batch.x_NF[0, 12:15]).tolist() == [False, True, False]
    assert batch.missing_N[0] == 0


def test_a_feature_knows_how_often_it_was_missing(spec, table):
    """The share of training rows with a null, or an array with a null in it; an infinity is one too."""
    expected = [table[name].null_count / ROWS for name in spec.names]
    assert [feature.missing for feature in spec.features] == pytest.approx(expected)
    odd = fit(pa.table({"v": [[1.0, None], [2.0, 1.0], None, [3.0, 3.0]], "x": [1.0, np.inf, np.nan, 2.0]}))
    assert [feature.missing for feature in odd.features] == [0.5, 0.5]


NULLABLE = ["x", "n", "city", "at", "v"]
"""One never missing in training, one at every twentieth row, two at every tenth, one at every seventeenth."""


@settings(max_examples=60)
@given(rows=st.lists(st.sets(st.sampled_from(NULLABLE)), min_size=1, max_size=12))
def test_the_least_usual_gap_of_a_row(spec, table, rows):
    """Of what is missing in a row it is what training missed most seldom, whatever rows come with it."""
    values = table.slice(1, len(rows)).to_pylist()  # row 0 has a gap of its own
    gaps = [{name for name in spec.names if value[name] is None} | own for value, own in zip(values, rows, strict=True)]
    changed = [value | dict.fromkeys(own) for value, own in zip(values, rows, strict=True)]
    batch = spec.encode_table(pa.Table.from_pylist(changed, schema=table.schema))
    share = {feature.name: feature.missing for feature in spec.features}
    rarest = [min(own, key=lambda name: (share[name], spec.names.index(name)), default=None) for own in gaps]
    assert [spec.names[gap] if gap >= 0 else None for gap in batch.gap_N] == rarest


@pytest.mark.parametrize("value", [[0.0, None, 1.0], [0.0, float("nan"), 1.0], [0.0, float("inf"), 1.0]], ids=str)
def test_a_gap_within_an_array_is_a_gap(spec, table, value):
    """An array with an element missing or infinite has a gap, though it is not missing."""
    row = table.slice(1, 1).set_column(6, "v", pa.array([value]))
    assert spec.encode_table(row).gap_N.tolist() == [6]


def test_infinities_in_training_are_noted_and_left_out():
    """Infinite training values do not move the scale, and the spec says how many there were."""
    clean = np.repeat([1.0, 3.0], 50)
    spec = fit(pa.table({"x": np.concatenate([clean, [np.inf, -np.inf]])}))
    assert (spec.features[0].center, spec.features[0].scale) == ((2.0,), (1.0,))
    assert spec.notes == ("x: 2 infinite values taken as missing",)


def test_columns_without_values_are_reported_as_unused():
    """All-null, all-NaN and all-infinite columns are left out and named with the reason; the rest is used."""
    rows = 30
    table = pa.table(
        {
            "x": np.arange(rows, dtype=float),
            "null": pa.nulls(rows, pa.float64()),
            "nothing": pa.nulls(rows, pa.string()),
            "never": pa.nulls(rows, pa.timestamp("us")),
            "list": pa.nulls(rows, pa.list_(pa.float64())),
            "nan": np.full(rows, np.nan),
            "inf": np.full(rows, np.inf),
        }
    )
    spec = fit(table)
    assert spec.names == ["x"]
    assert spec.unused == {
        **dict.fromkeys(["null", "nothing", "never", "list"], "all null in the training rows"),
        **dict.fromkeys(["nan", "inf"], "no finite value in the training rows"),
    }


def test_a_constant_is_noted_and_checked_for_equality(spec, table):
    """A constant column is 0 where equal, 1 where not, NaN where missing, however far off the value is."""
    assert "c: constant in the training rows" in spec.notes
    assert "only: constant ('a') in the training rows" in spec.notes
    rows = table.slice(0, 4).set_column(7, "c", pa.array([4.0, 4.001, -1e30, None]))
    np.testing.assert_array_equal(spec.encode_table(rows).x_NF[:, 15], [0, 1, 1, np.nan])


@pytest.mark.parametrize(
    ("constant", "other"),
    [(20240101, 20240102), (2_000_000, 2_000_001), (1_700_000_000, 1_700_000_060), (0, 1), (7, 8)],
)
def test_a_constant_integer_differs_from_every_other_integer(constant, other):
    """An integer that is not the constant is told apart, however large the two are."""
    spec = fit(pa.table({"x": np.arange(30.0), "version": np.full(30, constant)}))
    rows = pa.table({"x": [0.0, 0.0], "version": [constant, other]})
    np.testing.assert_array_equal(spec.encode_table(rows).x_NF[:, 1], [0, 1])


def test_a_constant_survives_a_trip_through_float32():
    """A constant written as a 32-bit float is still the constant."""
    spec = fit(pa.table({"x": np.arange(30.0), "c": np.full(30, 0.1)}))
    rows = pa.table({"x": [0.0], "c": pa.array([0.1], pa.float32())})
    assert spec.encode_table(rows).x_NF[0, 1] == 0


def test_nothing_to_learn_is_refused():
    """Where every feature is constant or null, the error names the features."""
    table = pa.table({"a": np.full(30, 1.0), "b": ["x"] * 30, "c": pa.nulls(30, pa.int64())})
    with pytest.raises(TrainingError) as caught:
        fit(table)
    assert str(caught.value) == (
        "There is nothing to learn: every feature is constant or null in the training rows.\n"
        "  found: features a, b, c\n"
        "  to do: Check the normal predicate and the included columns."
    )


def test_many_distinct_values_are_noted():
    """A column that looks like an identifier is reported."""
    spec = fit(pa.table({"x": np.arange(1500.0), "id": [f"id{i}" for i in range(1500)]}))
    assert spec.notes == (f"id: 1,500 distinct values; the {MAX_SLOTS} most frequent are told apart",)


def test_unseen_values_are_flagged(spec, table):
    """A value that was not in training is flagged; a known one and a null are not."""
    rows = table.slice(0, 3).set_column(3, "city", pa.array(["Oslo", "Nice", None]))
    assert spec.encode_table(rows).unseen_NC[:, 1].tolist() == [True, False, False]


def test_an_array_of_another_length_names_its_column(spec, table):
    """Arrays of the wrong length are a SchemaError with column, expected and found."""
    rows = table.slice(0, 1).set_column(6, "v", pa.array([[1.0, 2.0]]))
    with pytest.raises(SchemaError) as caught:
        spec.encode_table(rows)
    assert str(caught.value) == (
        "Column 'v' holds arrays of different lengths.\n  expected: arrays of 3 numbers\n  found: lengths from 2 to 2"
    )


def test_a_value_that_cannot_be_encoded_names_its_column(spec, table):
    """An Arrow error inside an encoder comes back with the column's name."""
    rows = table.slice(0, 1).set_column(4, "at", pa.array([10**15], pa.timestamp("s")))
    with pytest.raises(SchemaError) as caught:
        spec.encode_table(rows)
    message = str(caught.value)
    assert message.startswith("Column 'at' could not be encoded as datetime.\n  expected: timestamp\n  found: ")


def test_a_training_value_that_cannot_be_encoded_names_its_column():
    """In training, too, an Arrow error comes back with the column's name."""
    with pytest.raises(SchemaError) as caught:
        fit(pa.table({"at": pa.array([0, 10**15], pa.timestamp("s"))}))
    assert str(caught.value).startswith("Column 'at' could not be encoded as datetime.\n  expected: timestamp\n")


@pytest.mark.parametrize("nanoseconds", [1_700_000_000_123_456_789, 7])
def test_a_training_column_of_nanoseconds_is_fitted(nanoseconds):
    """Timestamps finer than a microsecond are trained on like any others."""
    at = pa.array([nanoseconds + i * 10**12 for i in range(50)], pa.timestamp("ns"))
    assert fit(pa.table({"at": at})).features[0].family == "timestamp"


def test_odd_column_names():
    """Dots, spaces, quotes, Unicode and an empty name are names like any other."""
    names = ["a.b", "with space", "`tick`", "quote'\"", "größe", "", "a\nb", "features"]
    table = pa.table([np.arange(30.0) + i for i in range(len(names))], names=names)
    spec = fit(table)
    assert spec.names == names
    assert FeatureSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert spec.encode_table(table).x_NF.shape == (30, len(names))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("city", pa.array(["Nice", None, "Oslo"]).dictionary_encode()),
        ("city", pa.array(["Nice", None, "Oslo"], pa.large_string())),
        ("city", pa.array(["Nice", None, "Oslo"], pa.string_view())),
        ("x", pa.array([1.0, None, 3.0], pa.float32())),
        ("n", pa.array([1, None, 3], pa.int8())),
        ("n", pa.array([1, None, 3], pa.float64())),
        ("n", pa.array([1, None, 3], pa.decimal128(5, 0))),
        ("at", pa.array([0, None, 86_399], pa.timestamp("s", tz="Asia/Tokyo"))),
        ("v", pa.array([[1.0, 2.0, 3.0], None, [4.0, 5.0, 6.0]], pa.list_(pa.float64(), 3))),
        ("v", pa.array([[1, 2, 3], None, [4, 5, 6]], pa.large_list(pa.int32()))),
    ],
    ids=lambda value: str(getattr(value, "type", value)),
)
def test_layouts_of_a_column_encode_alike(spec, table, name, array):
    """A column stored another way encodes to the same numbers."""
    plain = {"city": pa.string(), "x": pa.float64(), "n": pa.int64(), "at": pa.timestamp("us"), "v": None}[name]
    as_plain = pa.array(array.to_pylist(), pa.list_(pa.float64())) if plain is None else array.cast(plain)
    index = table.column_names.index(name)
    batches = [spec.encode_table(table.slice(0, 3).set_column(index, name, one)) for one in (array, as_plain)]
    assert same(*batches)


def test_json_round_trip(spec, table):
    """A spec that went through JSON text is equal and encodes to the same bits."""
    again = FeatureSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert same(again.encode_table(table), spec.encode_table(table))
    assert again.trained == spec.trained


def test_a_kind_of_a_later_version_is_refused(spec):
    """A model with a kind that is not known here says which column has it, and what to do."""
    values = json.loads(json.dumps(spec.to_json()))
    values["features"][4]["kind"] = "sequence"
    with pytest.raises(ModelFileError) as caught:
        FeatureSpec.from_json(values)
    assert str(caught.value) == (
        "The model has a kind of feature that this version of spark-vae-anomaly does not know.\n"
        "  expected: one of numeric, boolean, categorical, datetime, vector, image\n"
        "  found: sequence for column 'at'\n"
        "  to do: Upgrade spark-vae-anomaly."
    )


def test_fitting_is_repeatable(table, spec):
    """The same rows give the same spec."""
    assert fit(table) == spec


ODD_ROWS = pa.concat_tables(
    [pa.table(columns(30, 5)), pa.table(columns(2, 6) | {"city": pa.array(["Oslo", None])})]
).set_column(0, "x", pa.array([np.inf, None, np.nan, 1e300, *range(28)], pa.float64()))
ODD_SPEC = fit(pa.table(columns()))


@settings(max_examples=25)
@given(st.permutations(range(len(ODD_ROWS))), st.integers(1, len(ODD_ROWS) - 1))
def test_encoding_is_row_by_row(order, cut):
    """Encoding a permutation, cut anywhere, is the permutation of the encoding, to the last bit."""
    moved, whole = ODD_ROWS.take(order), ODD_SPEC.encode_table(ODD_ROWS)
    pieces = [ODD_SPEC.encode_table(piece) for piece in (moved.slice(0, cut), moved.slice(cut))]
    for found, *split in zip(parts(whole), *map(parts, pieces), strict=True):
        np.testing.assert_array_equal(np.concatenate(split), found[order])


def test_values_of_any_size_stay_finite(spec, table):
    """The largest floats encode to finite numbers, whose squares are finite in 32 bits."""
    rows = table.slice(0, 2).set_column(0, "x", pa.array([1.7e308, -1.7e308]))
    x = spec.encode_table(rows).x_NF[:, 0]
    assert np.isfinite(x * x).all()
    assert x[0] > 1e9 > -1e9 > x[1]


def test_values_of_any_size_stay_finite_in_a_narrow_column():
    """The largest floats encode to finite numbers where the column's scale is far below 1."""
    spec = fit(pa.table({"x": np.linspace(0, 1e-6, 50)}))
    x = spec.encode_table(pa.table({"x": [1.7e308, -1.7e308]})).x_NF[:, 0]
    assert np.isfinite(x).all()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("c", "constant 4"),
        ("v", "3 numbers"),
        ("at", "time of day, day of week, month (UTC)"),
        ("day", "day of week, month (UTC)"),
        ("only", "1 values (a)"),
    ],
)
def test_features_describe_themselves(spec, name, words):
    """One line says what a feature became."""
    assert dict(zip(spec.names, described(spec), strict=True))[name] == words


def test_a_number_describes_itself_by_mean_and_deviation():
    """A number says what is usual."""
    assert described(fit(pa.table({"x": np.repeat([1.0, 3.0], 50)}))) == ["2 ± 1"]


def test_pooled_values_are_told():
    """A category says how many of its values are pooled, and shows the first six."""
    values = [v for v in "abcdefgh" for _ in range(6)] + ["rare"]
    spec = fit(pa.table({"s": values, "x": np.arange(49.0)}))
    assert described(spec)[0] == "9 values (a, b, c, d, e, f, …), 1 rare ones pooled"


@pytest.mark.parametrize("chunks", [[], [[1]], [[1], [2, 3]], [[], [1]]])
def test_a_chunked_column_becomes_one_array(chunks):
    """A column of any number of chunks is one array."""
    column = pa.chunked_array(chunks, pa.int64())
    assert combine(column).to_pylist() == [value for chunk in chunks for value in chunk]
    assert isinstance(combine(column), pa.Array)


def test_dictionary_chunks_with_different_dictionaries_fit():
    """A dictionary-encoded column in chunks is fitted on its values, not on its indices."""
    column = pa.chunked_array([pa.array(["a", "b"] * 10).dictionary_encode(), pa.array(["b"] * 9).dictionary_encode()])
    feature = fit(pa.table({"s": column})).features[0]
    assert (feature.values, feature.slots) == (("b", "a"), 2)


def test_moments_apart_by_whole_weeks_share_the_weekday(spec):
    """Two Tuesdays noon of one month differ in no unit."""
    rows = pa.table(columns(2)).set_column(4, "at", pa.array([datetime(2024, 7, 2, 12), datetime(2024, 7, 16, 12)]))
    first, second = spec.encode_table(rows).x_NF[:, 2:8]
    np.testing.assert_array_equal(first, second)


def test_a_vocabulary_that_no_model_file_has_room_for_is_refused(monkeypatch):
    """The values of all categories together have a limit, checked when they are fitted; the largest column is named."""
    table = pa.table({"a": [f"{i:010}" for i in range(100)], "b": [f"{i:05}" for i in range(100)], "x": range(100)})
    monkeypatch.setattr(spec_module, "MAX_VOCABULARY", 1500)
    fit(table)
    monkeypatch.setattr(spec_module, "MAX_VOCABULARY", 1499)
    with pytest.raises(TrainingError) as caught:
        fit(table)
    assert str(caught.value) == (
        "The categories have too many different values, or too long ones.\n"
        "  expected: at most 1,499 bytes in all\n  found: 1,500 bytes, 1,000 of them in column 'a'\n"
        "  to do: Leave out of the model what only identifies a row: features: {exclude: [a]}."
    )

"""The segments that a model knows: which one a row is in, and what a model file may say of them."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scoring.test_scorer import rows_of
from vae_model import Config, Detector
from vae_model.errors import ModelFileError, SchemaError, TrainingError
from vae_model.features.fields import Fields
from vae_model.features.schema import arrow_columns
from vae_model.scoring import model_file
from vae_model.scoring.segments import ROWS_EACH, Segments, check_columns

VALUE = st.sampled_from(["", "a", "b", "a\x1fb", "null", "ä", None])
ROW = st.tuples(VALUE, VALUE, VALUE)
DETECTOR = Detector(
    Config.model_validate({"model": {"steps": 20, "hidden": [8]}, "decision": {"by": ["city", "flag"]}})
).fit(rows_of(2000, 0))
HEADER, ARRAYS = model_file.loads(DETECTOR.to_bytes())


def table(rows):
    """Rows of three columns."""
    return pa.table([pa.array(own, pa.string()) for own in zip(*rows, strict=True)], names=["x", "y", "z"])


@given(st.lists(ROW, min_size=1, max_size=9, unique=True), st.lists(ROW, min_size=1, max_size=20), st.integers(1, 3))
def test_a_row_is_in_the_segment_of_its_values(known, rows, columns):
    """By one, two or three columns, a missing value being one of its own: the segment with the very same values, and
    none where there was no such row in training; as much after it stood in a model file.
    """
    by = ("x", "y", "z")[:columns]
    values = tuple(dict.fromkeys(row[:columns] for row in known))
    stored = Segments.from_json(Fields(Segments(by, values).to_json(), "segments"))
    found = stored.codes_in(table(rows)).tolist()
    assert found == [values.index(row[:columns]) if row[:columns] in values else -1 for row in rows]


@given(st.lists(ROW, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_segments_do_not_depend_on_the_order_of_rows(rows, order):
    """A sample's rows in any order, in any parts, have the same segments in the same order."""
    many = rows * ROWS_EACH
    order.shuffle(rows)
    parts = [table(rows * ROWS_EACH).slice(0, 7), table(rows * ROWS_EACH).slice(7)]
    assert Segments.of(parts, ["x", "z"]).values == Segments.of([table(many)], ["x", "z"]).values


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        (pa.array([1, None, -20]), ["1", None, "-20"]),
        (pa.array([1, None, -20], pa.int8()), ["1", None, "-20"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
        (pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)]), ["2024-02-29", None, "0001-01-01"]),
        (pa.array([dt.date(2024, 2, 29), None, dt.date(1, 1, 1)], pa.date64()), ["2024-02-29", None, "0001-01-01"]),
        (pa.array(["a", None, "b"], pa.large_string()), ["a", None, "b"]),
        (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"]),
        (pa.array([7, None, 8]).dictionary_encode(), ["7", None, "8"]),
        (pa.nulls(3), [None, None, None]),
    ],
    ids=lambda own: str(own.type) if isinstance(own, pa.Array) else "",
)
def test_values_are_compared_as_text(values, texts):
    """A number in training may come as text later, an enumeration as plain values."""
    segments = Segments(("x",), tuple((text,) for text in dict.fromkeys(texts)))
    expected = [list(dict.fromkeys(texts)).index(text) for text in texts]
    assert segments.codes([values]).tolist() == segments.codes([pa.array(texts, pa.string())]).tolist() == expected


def test_too_many_segments_are_refused():
    """A segment for each hundred rows at most, on average; both numbers are said."""
    assert len(Segments.of([pa.table({"day": np.arange(1000) % 10})], ["day"]).values) == 10
    rows = pa.table({"day": np.arange(1000) % 11})
    with pytest.raises(TrainingError) as error:
        Segments.of([rows.slice(0, 300), rows.slice(300)], ["day"])
    assert str(error.value) == (
        "decision.by (day) makes too many segments.\n"
        "  expected: at most 10, one for each 100 of the 1,000 rows of the sample\n  found: 11\n"
        "  to do: Choose a column with fewer values, raise train.rows, or leave decision.by out."
    )


def test_a_long_text_is_no_segment():
    """It would stand in the model file."""
    rows = pa.table({"note": ["ä" * 501] * 1000})
    with pytest.raises(SchemaError, match=r"'note' of decision\.by holds text that is too long.*\n.*\n.*1,002 bytes"):
        Segments.of([rows], ["note"])


def test_columns_are_checked_together():
    """A missing one with the nearest name, and those of a type that makes no segments."""
    columns = arrow_columns(pa.schema([("carrier", "string"), ("miles", "float64"), ("at", pa.timestamp("us"))]))
    check_columns(columns, ["carrier"])
    with pytest.raises(SchemaError) as error:
        check_columns(columns, ["carier", "miles", "at"])
    assert str(error.value) == (
        "The table does not fit decision.by:\n"
        "  - column 'carier' is not in the table; did you mean 'carrier'?\n"
        "  - column 'miles': expected string, integer, boolean or date, found double\n"
        "  - column 'at': expected string, integer, boolean or date, found timestamp[us]"
    )


def model(segments=None, arrays=None, decision=None):
    """A model file that says something else of its segments."""
    header = {key: value for key, value in HEADER.items() if key not in ("sha256", "format_version")}
    if segments is not None:
        header["segments"] = HEADER["segments"] | segments
    if decision is not None:
        header["config"] = HEADER["config"] | {"decision": HEADER["config"]["decision"] | decision}
    return model_file.dumps(header, ARRAYS | (arrays or {}))


CITIES, FLAGS = HEADER["segments"]["values"]
CODES, LEVELS = ARRAYS["calibration_segments"], ARRAYS["calibration_levels"]


@pytest.mark.parametrize(
    ("forged", "place"),
    [
        ({"segments": {"by": []}}, "segments.by"),
        ({"segments": {"by": ["city", "city"]}}, "segments.by"),
        ({"segments": {"by": ["city", 7]}}, "segments.by"),
        ({"segments": {"by": ["flag", "city"]}}, "config.decision.by"),
        ({"segments": {"by": ["city", "at"]}}, "config.decision.by"),
        ({"decision": {"by": ["city"]}}, "config.decision.by"),
        ({"decision": {"by": []}}, "config.decision.by"),
        ({"decision": {"by": None}}, "config.decision.by"),
        ({"segments": {"values": []}}, "segments.values"),
        ({"segments": {"values": [CITIES]}}, "segments.values"),
        ({"segments": {"values": [CITIES, FLAGS[:-1]]}}, "segments.values"),
        ({"segments": {"values": [[], []]}}, "segments.values"),
        ({"segments": {"values": ["xyz", "abc"]}}, "segments.values.0.values"),
        ({"segments": {"values": [CITIES, {}]}}, "segments.values.1.values"),
        ({"segments": {"values": [CITIES, [7, *FLAGS[1:]]]}}, "segments.values.1.texts"),
        ({"segments": {"values": [CITIES, ["\ud800", *FLAGS[1:]]]}}, "segments.values.1.texts"),
        ({"segments": {"values": [CITIES[:1] * len(CITIES), FLAGS]}}, "segments.values"),
        ({"segments": {"values": [CITIES[:-1], FLAGS[:-1]]}}, "The array 'calibration_segments'"),
        ({"segments": {"values": [[*CITIES, "new"], [*FLAGS, "true"]]}}, "The array 'calibration_levels'"),
        ({"arrays": {"calibration_segments": CODES - 1}}, "The array 'calibration_segments'"),
        ({"arrays": {"calibration_segments": CODES + 1}}, "The array 'calibration_segments'"),
        ({"arrays": {"calibration_segments": CODES[:-1]}}, "The array 'calibration_segments'"),
        ({"arrays": {"calibration_segments": CODES.astype(np.int64)}}, "The array 'calibration_segments'"),
        ({"arrays": {"calibration_levels": 0 * LEVELS}}, "The array 'calibration_levels'"),
        ({"arrays": {"calibration_levels": -LEVELS}}, "The array 'calibration_levels'"),
        ({"arrays": {"calibration_levels": LEVELS * np.nan}}, "The array 'calibration_levels'"),
        ({"arrays": {"calibration_levels": LEVELS * np.inf}}, "The array 'calibration_levels'"),
    ],
)
def test_what_training_cannot_have_written_is_refused(forged, place):
    """A forged file is refused when it is loaded, with the place in it."""
    with pytest.raises(ModelFileError) as error:
        Detector.from_bytes(model(**forged), "Model file m.vae")
    assert str(error.value).startswith(f"Model file m.vae does not make sense. {place} of the model cannot be.\n")


@pytest.mark.parametrize("name", ["calibration_segments", "calibration_levels"])
def test_arrays_of_segments_are_there_with_them_and_not_without(name):
    """One that is missing, and one that belongs to nothing, are refused."""
    header = {key: value for key, value in HEADER.items() if key not in ("sha256", "format_version")}
    less = {other: array for other, array in ARRAYS.items() if other != name}
    without = {key: value for key, value in header.items() if key != "segments"}
    plain = without | {
        "config": HEADER["config"] | {"decision": {"false_alarm_rate": 0.1, "reasons": 5, "max_missing": 0.5}}
    }
    for own, arrays in ((header, less), (plain, ARRAYS), (without, ARRAYS)):
        with pytest.raises(ModelFileError, match="of the model cannot be"):
            Detector.from_bytes(model_file.dumps(own, arrays))


def test_small_segments_are_told():
    """Those of fewer held-out rows than one counts as much as the whole with; nothing where there is none."""
    codes = np.repeat(np.arange(8), [500, 49, 0, 3, 2, 60, 7, 1]).astype(np.int32)
    values = tuple((name, None) for name in "abcdefgh")
    assert Segments(("x", "y"), values, np.ones(8), codes).note() == (
        "decision.by: 6 of 8 segments have fewer than 50 held-out rows, and are decided on more as the whole is: "
        "b/null 49, g/null 7, d/null 3, e/null 2, h/null 1, …"
    )
    assert Segments(("x", "y"), values[:1], np.ones(1), codes[:500]).note() == ""

"""`init`: what it makes of the tables that people have, the same on every engine."""

import datetime as dt
from decimal import Decimal
from itertools import cycle, islice

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from tests.spark.jobs.scoring import run_score
from vae_model.config.load import parse_config
from vae_model.scoring.output import OUTPUT
from vae_model.spark.jobs.init import named_source, starter_config
from vae_model.spark.jobs.train import run_train

ROWS = 2000
DRAW = np.random.default_rng(0)


def every(*values, rows=ROWS):
    """The values over and over."""
    return list(islice(cycle(values), rows))


def rare(common, other, every_nth=50):
    """A column of one value, and now and then another."""
    return [other if i % every_nth == 5 else common for i in range(ROWS)]


def prose(letters):
    """Texts of words, each another."""
    return [f"{i} " + "some words of a story " * (letters // 22) for i in range(ROWS)]


COLUMNS = {
    # the label-like: public sets of fraud (Class, isFraud), of credit (default.payment.next.month), of machines
    "isFraud": (rare(0, 1), "looks like a label: two values, one of them in 2.00% of the rows; training must not see"),
    "label": (rare("normal", "attack"), "looks like a label"),
    "Class": (every(0, 1), "looks like a label: two values, one of them in 50.00%"),
    "default.payment.next.month": (rare(0, 1, 7), "looks like a label"),
    "Machine failure": (rare(False, True), "looks like a label"),
    "target": (every(1.5, 2.5, 9.0), None),
    "first_class": (every(True, False), None),
    "smoker": (rare("no", "yes"), None),
    # identifiers, and what only sounds like one
    "uuid": ([f"a{i:05}" for i in range(ROWS)], "looks like an identifier: 2,000 distinct values in 2,000 rows"),
    "store_id": (every(*range(30)), "categorical"),
    "storeKey": (every(*[f"s{i}" for i in range(30)]), "categorical"),
    "customer_id": (every(*range(900)), "an identifier of something else: 900 distinct values in 2,000 rows"),
    "price": ((DRAW.permutation(ROWS * 50)[:ROWS] + 1000).tolist(), "looks like an identifier"),
    "cents": ([5, 5, *(DRAW.permutation(ROWS * 50)[2:ROWS] + 9).tolist()], "numeric"),
    "valid": (DRAW.normal(size=ROWS).tolist(), "numeric"),
    # numbers and times as text
    "amount": ([f"{i / 7:.3f}" for i in range(ROWS)], "numbers written as text: all of the values; source.schema with"),
    "mostly": ([f"{i}.5" if i % 50 else "N/A" for i in range(ROWS)], "numbers written as text: 98.0% of the values"),
    "few": (every("1.5", "2.5", "-3"), "categorical"),
    "zip": (every(*[f"{i:05}" for i in range(400, 600)]), "categorical"),
    "when": ([f"2024-01-{1 + i % 28:02} 10:{i % 60:02}" for i in range(ROWS)], "categorical"),
    "stamp": ([f"{2000 + i}-01-01" for i in range(ROWS)], "times written as text: all of the values; source.schema"),
    # texts
    "body": (prose(300), "free text: up to "),
    "blob": (every("x" * 1001, "y"), "texts of up to 1,001 bytes: too long for a category"),
    "città": (every("é" * 500, "ü"), "categorical"),
    "word": ([f"w{i // 2}" for i in range(ROWS)], None),
    # types: what Arrow has no count_distinct for, and what is no feature
    "money": (pa.array([Decimal(i % 97) / 4 for i in range(ROWS)], pa.decimal128(38, 4)), "numeric"),
    "bytes": ([b"x"] * ROWS, "files? Pictures: kinds: {…: image}"),
    "struct": ([{"a": i} for i in range(ROWS)], "cannot be a feature"),
    "map": (pa.array([[("k", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int64())), "cannot be a feature"),
    "vector": ([[1.0, float(i)] for i in range(ROWS)], "vector"),
    "ragged": ([[1.0] * (1 + i % 3) for i in range(ROWS)], "arrays of different lengths"),
    "nothing": (pa.nulls(ROWS, pa.int32()), "all null"),
    "nan": ([float("nan")] * ROWS, "all null"),
    "same": ([3] * ROWS, "constant"),
    "zeros": (every(0.0, -0.0), "constant"),
    "grade": (every(1, 2, 3), "perhaps a category?"),
    # a year that Python has no datetime for, a day before every calendar
    "far": (pa.array([2**60 + i for i in range(ROWS)], pa.timestamp("us", "UTC")), "datetime"),
    "day": (every(dt.date(1, 1, 1), dt.date(9999, 12, 31)), "datetime"),
}
"""A column, and what the line about it holds; None where it is a feature like others."""


def written(engine, path, **more):
    """What `init` writes of a place: its lines, by the column that a line is about, and all of it."""
    text = starter_config(engine, parse_config({"source": {"path": str(path), **more}}))
    return text, YAML(typ="safe").load(text)


def line_of(text, name):
    """The one line of the features that is about a column."""
    features = text.partition("features:")[2].partition("train:")[0]
    (line,) = [line for line in features.splitlines() if line.split("  #")[0].strip(" -").split(": ")[0] in
               (name, f'"{name}"')]  # fmt: skip
    return line


@pytest.fixture
def zoo(tmp_path):
    """One table of all the columns, and a key."""
    table = {"row_id": pa.array(range(ROWS))} | {name: pa.array(values) for name, (values, _) in COLUMNS.items()}
    pq.write_table(pa.table(table), tmp_path / "zoo.parquet")
    return tmp_path / "zoo.parquet"


def test_each_column_is_what_a_person_would_say(engine, zoo):
    """Labels, identifiers, codes, numbers and times as text, prose and odd types: each is told, with the reason."""
    text, values = written(engine, zoo)
    assert values["key"] == ["row_id"]
    for name, (_, told) in COLUMNS.items():
        line = line_of(text, name)
        assert told is None or told in line, line
        kept = told is None or told.startswith(("categorical", "numeric", "vector", "datetime", "perhaps"))
        assert (name in values["features"]["kinds"]) == kept, line
        assert (name in values["features"]["exclude"]) != kept, line
    parse_config(values)


@pytest.mark.slow
def test_every_engine_writes_the_same(engine, zoo, on_sail):
    """The text is that of the embedded engine, to the letter."""
    text, _ = written(engine, zoo)
    assert on_sail(lambda sail: written(sail, zoo)[0]) == text


def test_a_scored_table_is_told_of_the_clash(engine, tmp_path):
    """The scores of an earlier run are no features, whatever their prefix, and the output gets a prefix of its own."""
    own = {name: DRAW.normal(size=100) for name in ("x", "reconstruction_error", "Anomaly_Score", "anomaly_p_value")}
    theirs = {f"vae_{name}": DRAW.normal(size=100) for name in ("anomaly_score", "anomaly_p_value", "is_anomaly")}
    pq.write_table(pa.table(own | theirs), tmp_path / "scored.parquet")
    text, values = written(engine, tmp_path / "scored.parquet")
    assert values["output"]["prefix"] == "vae2_"
    assert "named like the output's: reconstruction_error, anomaly_score, anomaly_p_value" in text
    assert list(values["features"]["kinds"]) == ["x"]
    assert "a score of an earlier run" in line_of(text, "Anomaly_Score")


def test_a_label_of_the_outputs_name_is_a_label(engine, tmp_path):
    """A table's own is_anomaly is a label, not an earlier score; the clash is told all the same."""
    table = {"x": DRAW.normal(size=100), "is_anomaly": [i % 10 == 0 for i in range(100)]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    text, values = written(engine, tmp_path / "t.parquet")
    assert "looks like a label" in line_of(text, "is_anomaly")
    assert {f"{values['output']['prefix']}{name}" for name in OUTPUT.names}.isdisjoint(table)


def test_a_tiny_table_has_features(engine, tmp_path):
    """Of five rows nothing is said to be an identifier that is not named so."""
    pq.write_table(pa.table({"id": range(5), "n": [3, 1, 4, 1, 6], "s": list("abcde")}), tmp_path / "t.parquet")
    _, values = written(engine, tmp_path / "t.parquet")
    assert values["key"] == ["id"]
    assert values["features"]["kinds"] == {"n": "numeric", "s": "categorical"}


@pytest.mark.parametrize("gap", [False, True])
def test_constants_alone_are_told(engine, tmp_path, gap):
    """Columns that the file's statistics call constant are counted as they are, each by itself and together."""
    columns = {"whole": 7, "word": "a", "money": Decimal("1.50"), "day": dt.date(2024, 3, 1), "flag": True, "half": 0.5}
    for names in [*([name] for name in columns), list(columns)]:
        table = {name: [columns[name]] * 99 + [None if gap else columns[name]] for name in names}
        pq.write_table(pa.table(table), tmp_path / "t.parquet")
        text, _ = written(engine, tmp_path / "t.parquet")
        assert all("# constant" in line_of(text, name) for name in names), text


def test_what_no_column_can_be_counted_of_is_still_told(engine, tmp_path):
    """A table of types that no feature is made of has its rows counted, and each column's reason."""
    pq.write_table(pa.table({"b": [b"x", b"y"], "n": pa.nulls(2, pa.list_(pa.string()))}), tmp_path / "t.parquet")
    text, values = written(engine, tmp_path / "t.parquet")
    assert values["features"] == {"exclude": ["b", "n"], "kinds": {}}
    assert "a look at its 2 rows" in text


def test_csv_has_its_types_listed(engine, tmp_path):
    """For CSV the type of each column as found is written, to be changed by hand; nothing is inferred again."""
    (tmp_path / "t.csv").write_text("no,price,town: where\n" + "".join(f"{i},{i / 8},x{i % 3}\n" for i in range(60)))
    options = {"header": "true", "inferSchema": "true"}
    _, values = written(engine, tmp_path / "t.csv", format="csv", options=options)
    assert values["source"]["options"] == {"header": "true"}
    assert list(values["source"]["schema"]) == ["no", "price", "town: where"]
    assert values["source"]["schema"]["price"] == "double" and values["source"]["schema"]["town: where"] == "string"


@pytest.mark.slow
def test_long_texts_stay_in_the_engine(engine, tmp_path):
    """20,000 texts of 10 KB, more than gRPC carries in a message, are told as what they are."""
    texts = pa.array([f"{i:06} " + "word " * 2046 for i in range(20_000)])
    pq.write_table(pa.table({"x": pa.array(range(20_000)), "body": texts}), tmp_path / "long.parquet")
    text, _ = written(engine, tmp_path / "long.parquet")
    assert "free text: up to 10,237 letters" in line_of(text, "body")


@pytest.mark.slow
@pytest.mark.thorough
def test_a_thousand_columns_are_looked_at(engine, tmp_path):
    """1,000 columns, numbers and texts, in a few queries."""
    table = {f"n{i}": DRAW.normal(size=500) for i in range(500)} | {
        f"s{i}": every("a", "b", rows=500) for i in range(500)
    }
    pq.write_table(pa.table(table), tmp_path / "wide.parquet")
    _, values = written(engine, tmp_path / "wide.parquet")
    assert len(values["features"]["kinds"]) == 1000


@pytest.mark.slow
def test_the_config_runs(_sail, zoo, tmp_path, monkeypatch):
    """What is written of the zoo trains a model and scores every row, on the embedded engine."""
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    monkeypatch.chdir(tmp_path)
    _, values = written(_sail, zoo)
    values["model"]["steps"] = 20
    config = parse_config(values)
    assert run_score(_sail, config, run_train(_sail, config)).rows == ROWS


@pytest.mark.parametrize(
    ("name", "format_"),
    [("a.tsv", "csv"), ("a.psv", "csv"), ("a.TXT", "csv"), ("a.csv.gz", "csv"), ("a.jsonl", "json"),
     ("a.ndjson.gz", "json"), ("a.parq", "parquet"), ("a.orc", "orc")],
)  # fmt: skip
def test_a_files_name_says_its_format(tmp_path, monkeypatch, name, format_):
    """A file in the working directory is a path, of the format that its ending says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("a,b\n1,2\n")
    source = named_source(name, None, "auto").for_reading()
    assert (source.path, source.format) == (name, format_)


def test_a_name_that_is_nowhere_is_a_table():
    """What looks like no path and is none is a table's name."""
    assert named_source("main.sales.orders", None, "auto").for_reading().table == "main.sales.orders"

"""Sources and sinks: what is refused before any work, and what a failed job leaves behind."""

import datetime as dt
import shutil
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from tests.spark.conftest import ODD
from vae_model.config import Output, Source
from vae_model.errors import OutputError, SchemaError, SourceError
from vae_model.scoring import OUTPUT
from vae_model.spark import score, tables


def sink(tmp_path, kind, format_, mode="replace"):
    """An output of the given kind."""
    place = {"path": str(tmp_path / "out")} if kind == "path" else {"table": f"scored_{tmp_path.name.lower()}"}
    return Output.model_validate({**place, "format": format_, "mode": mode})


def read(engine, output):
    """An output as pandas, by id."""
    return tables.to_arrow(tables.read_output(engine, output)).to_pandas().sort_values("id", ignore_index=True)


def failing(frame, detector):
    """The scored frame, but for one row that fails on a worker."""
    bad = F.when(F.col("id") == 900, F.slice("vector", 1, 2)).otherwise(F.col("vector"))
    return score(frame.withColumn("vector", bad), detector)


SINKS = pytest.mark.parametrize(
    ("kind", "format_"), [("path", "delta"), ("path", "parquet"), ("table", "delta"), ("table", "parquet")]
)


@SINKS
def test_replace_writes_what_was_scored(frame, engine, detector, tmp_path, kind, format_):
    """What is read back from a replaced output is the scored frame, odd names and nested reasons included."""
    output = sink(tmp_path, kind, format_)
    scored = score(frame, detector)
    tables.write(scored, output)
    tables.write(scored, output)
    expected = tables.to_arrow(scored).to_pandas().sort_values("id", ignore_index=True)
    found = read(engine, output)
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found.drop(columns="at"), expected.drop(columns="at"), rtol=1e-6)


@SINKS
def test_append_adds_rows(frame, engine, detector, tmp_path, kind, format_):
    """Appending twice leaves both runs' rows."""
    output = sink(tmp_path, kind, format_, "append")
    scored = score(frame, detector)
    for times in (1, 2):
        tables.write(scored, output)
        assert len(read(engine, output)) == times * 1200


@pytest.mark.parametrize(
    ("kind", "format_", "mode"),
    [
        ("path", "delta", "replace"),
        ("path", "parquet", "replace"),
        ("path", "parquet", "append"),
        ("table", "delta", "append"),
        ("table", "parquet", "replace"),
    ],
)
def test_a_failed_job_leaves_the_previous_output_as_it_was(frame, engine, detector, tmp_path, kind, format_, mode):
    """A row that fails on a worker, late in the job, changes nothing of what could be read before."""
    tables.write(score(frame.where("id < 500"), detector), sink(tmp_path, kind, format_))
    before = read(engine, sink(tmp_path, kind, format_))
    with pytest.raises(tables.ENGINE_ERRORS):
        tables.write(failing(frame, detector), sink(tmp_path, kind, format_, mode))
    after = read(engine, sink(tmp_path, kind, format_))
    assert len(before) == 500
    pd.testing.assert_frame_equal(after, before)
    if kind == "path":
        assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("out")) == ["out"]


def test_a_killed_swap_puts_the_previous_output_back(frame, engine, detector, tmp_path, monkeypatch):
    """A Parquet output whose swap is interrupted is moved back, and no staged folder stays."""
    output = sink(tmp_path, "path", "parquet")
    tables.write(score(frame.where("id < 100"), detector), output)
    from fsspec.implementations.local import LocalFileSystem

    real = LocalFileSystem.mv

    def interrupted(self, source, target, **options):
        if str(source).endswith(".staged"):
            raise KeyboardInterrupt
        return real(self, source, target, **options)

    monkeypatch.setattr(LocalFileSystem, "mv", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tables.write(score(frame, detector), output)
    monkeypatch.undo()
    assert len(pd.read_parquet(tmp_path / "out")) == 100
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("out")) == ["out"]


def test_the_previous_rows_survive_even_a_swap_that_cannot_be_undone(frame, engine, detector, tmp_path, monkeypatch):
    """Where neither the new rows nor the old ones can be moved in, the old ones stay on disk."""
    output = sink(tmp_path, "path", "parquet")
    tables.write(score(frame.where("id < 100"), detector), output)
    from fsspec.implementations.local import LocalFileSystem

    real = LocalFileSystem.mv

    def broken(self, source, target, **options):
        if str(source).endswith((".staged", ".old")):
            raise OSError("the disk is gone")
        return real(self, source, target, **options)

    monkeypatch.setattr(LocalFileSystem, "mv", broken)
    with pytest.raises(OSError, match="the disk is gone"):
        tables.write(score(frame, detector), output)
    (kept,) = tmp_path.glob("out.*.old")
    assert len(pd.read_parquet(kept)) == 100


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("scored", "`scored_x`"),
        ("main.scored", "`main`.`scored_x`"),
        ("a.`b.c`.`d``; DROP TABLE e`", "`a`.`b.c`.`d``; DROP TABLE e_x`"),
    ],
)
def test_the_staged_tables_name_is_quoted(table, expected):
    """Whatever letters a table's name has, the name beside it is one quoted identifier a part."""
    assert tables._beside(table, "_x") == expected


SOURCES = {
    "nothing there": ({"path": "{tmp}/nowhere"}, ["cannot be opened", "Nothing is there"]),
    "an empty folder": ({"path": "{tmp}/empty"}, ["cannot be opened", "Nothing is there"]),
    "not Parquet": ({"path": "{tmp}/text.parquet"}, ["The parquet source", "cannot be opened"]),
    "CSV read as Parquet": ({"path": "{tmp}/rows.csv"}, ["cannot be opened", "It looks like csv"]),
    "no Delta table": ({"path": "{tmp}/source", "format": "delta"}, ["cannot be opened", "It looks like parquet"]),
    "no such table": ({"table": "no_such_table"}, ["Table no_such_table cannot be opened", "Check the table's name"]),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_opened_says_why(engine, path, tmp_path, case):
    """A missing, empty, unreadable or mistaken source is a SourceError that says what is there."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("this is no Parquet file, not at all")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    place, words = SOURCES[case]
    filled = {key: value.format(tmp=tmp_path) for key, value in place.items()}
    with pytest.raises(SourceError) as error:
        tables.open_source(engine, Source.model_validate(filled)).count()
    for word in words:
        assert word in str(error.value)
    assert "\tat org." not in str(error.value)


def test_an_error_that_says_nothing_gives_its_cause():
    """Spark 3.5 wraps what went wrong in a failed task and a failed thread; what is told is what went wrong."""
    text = (
        "An error occurred while calling o27.parquet.\n: org.apache.spark.SparkException: Job aborted due to stage "
        "failure: Task 0 in stage 0.0 failed: org.apache.spark.SparkException: Exception thrown in awaitResult: \n"
        "\tat org.apache.spark.util.SparkThreadUtils$.awaitResult(SparkThreadUtils.scala:56)\n"
        "Caused by: org.apache.spark.SparkException: Exception thrown in awaitResult: \n\t... 1 more\n"
        "Caused by: java.lang.RuntimeException: file:/x.csv is not a Parquet file\n\t... 14 more\n"
    )
    assert tables.reason(Exception(text)) == "java.lang.RuntimeException: file:/x.csv is not a Parquet file"


@pytest.mark.parametrize("predicate", ["a >< 1", "no_such_column > 1", "a + 1"])
def test_a_predicate_that_does_not_fit_is_shown(frame, predicate):
    """A predicate that does not parse, names no column, or is no condition is an error that shows it and its key."""
    with pytest.raises(SourceError) as error:
        tables.where(frame, predicate, "train.normal")
    assert "The predicate train.normal does not fit the source" in str(error.value)
    assert repr(predicate) in str(error.value)


def check(engine, frame, path, output, source=None):
    """``check_output`` for a Parquet source."""
    tables.check_output(engine, Source.model_validate(source or {"path": path}), output, frame)


def test_the_output_must_not_be_the_source(engine, frame, path):
    """The source itself, a folder in it, a folder around it, and other spellings of them are refused."""
    around = str(Path(path).parent)
    for place in (path, path + "/", f"file://{path}", f"{path}/inside", around, f"{around}/x/../source"):
        output = Output.model_validate({"path": place, "format": "parquet"})
        with pytest.raises(OutputError, match="same place as the source"):
            check(engine, frame, path, output)
    named = Output.model_validate({"table": "Rows", "format": "parquet"})
    with pytest.raises(OutputError, match="same place as the source"):
        check(engine, frame, path, named, {"table": "rows"})


def test_the_output_must_have_the_format_that_is_there(engine, frame, path, detector, tmp_path):
    """Parquet where Delta is, Delta where Parquet is, and anything where CSV is, are refused before any work."""
    tables.write(score(frame, detector), sink(tmp_path, "path", "delta"))
    with pytest.raises(OutputError, match=r"expected: parquet, or nothing\n  found: delta"):
        check(engine, frame, path, sink(tmp_path, "path", "parquet"))
    shutil.rmtree(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("a\n1\n")
    with pytest.raises(OutputError, match=r"expected: delta, or nothing\n  found: csv"):
        check(engine, frame, path, sink(tmp_path, "path", "delta"))


def test_an_output_that_cannot_be_written_is_refused_before_any_work(engine, frame, path, tmp_path):
    """A path below a file cannot be written, and says so."""
    (tmp_path / "file").write_text("")
    output = Output.model_validate({"path": str(tmp_path / "file" / "out"), "format": "parquet"})
    with pytest.raises(OutputError, match="cannot be written"):
        check(engine, frame, path, output)


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_appending_other_columns_is_refused(engine, frame, path, detector, tmp_path, format_):
    """Rows are not appended to an output whose columns differ; the differing ones are named."""
    tables.write(score(frame.drop("note"), detector), sink(tmp_path, "path", format_))
    with pytest.raises(OutputError, match="its columns differ") as error:
        check(engine, frame, path, sink(tmp_path, "path", format_, "append"))
    assert "note: string" in str(error.value)


def test_columns_that_differ_only_in_case_are_refused(engine, tmp_path):
    """Spark folds case: two such columns could not be told apart."""
    pd.DataFrame({"x": [1.0], "X": [2.0]}).to_parquet(tmp_path / "twins.parquet")
    with pytest.raises((SchemaError, SourceError), match=r"(?i)x"):
        tables.open_source(engine, Source.model_validate({"path": str(tmp_path / "twins.parquet")}))


def test_families_of_spark_types(engine):
    """Every Spark type a feature can be made from has its family, and others have none."""
    types = {
        "tinyint": "integer", "smallint": "integer", "int": "integer", "bigint": "integer", "float": "float",
        "double": "float", "decimal(12,3)": "decimal", "boolean": "boolean", "string": "string", "date": "date",
        "timestamp": "timestamp", "timestamp_ntz": "timestamp", "array<double>": "array", "array<int>": "array",
        "array<string>": None, "map<string,int>": None, "struct<x:int>": None, "binary": None,
    }  # fmt: skip
    nulls = engine.range(1).select(*(F.lit(None).cast(t).alias(f"c{i}") for i, t in enumerate(types)))
    assert [c.family for c in tables.columns(nulls)] == list(types.values())


@pytest.mark.parametrize("rows", [2, 0])
def test_every_type_comes_over_as_arrow(engine, rows):
    """A DataFrame's types are Arrow's own here, instants in UTC whatever the session's zone, of no rows too."""
    zone = engine.conf.get("spark.sql.session.timeZone")
    engine.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        made = engine.range(rows).selectExpr(
            "id", "id = 1 AS flag", "CAST(id AS FLOAT) AS float", "CAST(id + 0.5 AS DECIMAL(12,3)) AS decimal",
            "DATE '9999-12-31' AS day", "TIMESTAMP '2024-03-10 05:00:00Z' AS at",
            "TIMESTAMP_NTZ '2024-03-10 02:30:00' AS local", "array(id, NULL) AS whole", "array(id + 0.5D) AS vector",
            "CASE WHEN id = 1 THEN 'é' END AS text",
        )  # fmt: skip
        found = tables.to_arrow(made)
    finally:
        engine.conf.set("spark.sql.session.timeZone", zone)
    types = [pa.int64(), pa.bool_(), pa.float32(), pa.decimal128(12, 3), pa.date32(), pa.timestamp("us", "UTC"),
             pa.timestamp("us"), pa.list_(pa.int64()), pa.list_(pa.float64()), pa.string()]  # fmt: skip
    assert [(a.value_type if pa.types.is_list(a) else a) for a in found.schema.types] == [
        (b.value_type if pa.types.is_list(b) else b) for b in types
    ]
    at = dt.datetime(2024, 3, 10, 5, tzinfo=dt.UTC)
    fixed = (dt.date(9999, 12, 31), at, dt.datetime(2024, 3, 10, 2, 30))
    expected = [(0, False, 0.0, Decimal("0.500"), *fixed, [0, None], [0.5], None),
                (1, True, 1.0, Decimal("1.500"), *fixed, [1, None], [1.5], "é")]  # fmt: skip
    assert sorted(tuple(row.values()) for row in found.to_pylist()) == expected[:rows]


def test_the_odd_column_is_among_the_scored(detector):
    """The tests above do train on a column with dots, spaces, backticks and umlauts in its name."""
    assert ODD in detector.spec.names
    assert len(OUTPUT) == 7

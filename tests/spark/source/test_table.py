"""The source: what is refused before any work, and how Spark's columns and errors come over."""

import datetime as dt
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from vae_model.config.tables import Source
from vae_model.errors import SchemaError, SourceError
from vae_model.spark import frames
from vae_model.spark.source.table import open_source, where

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
        open_source(engine, Source.model_validate(filled)).count()
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
    assert frames.reason(Exception(text)) == "java.lang.RuntimeException: file:/x.csv is not a Parquet file"


@pytest.mark.parametrize("predicate", ["a >< 1", "no_such_column > 1", "a + 1"])
def test_a_predicate_that_does_not_fit_is_shown(frame, predicate):
    """A predicate that does not parse, names no column, or is no condition is an error that shows it and its key."""
    with pytest.raises(SourceError) as error:
        where(frame, predicate, "train.normal")
    assert "The predicate train.normal does not fit the source" in str(error.value)
    assert repr(predicate) in str(error.value)


def test_columns_that_differ_only_in_case_are_refused(engine, tmp_path):
    """Spark folds case: two such columns could not be told apart. Sail would read them."""
    pd.DataFrame({"x": [1.0], "X": [2.0]}).to_parquet(tmp_path / "twins.parquet")
    with pytest.raises(SchemaError, match=r"Columns that differ only in case, or not at all: x, X\."):
        open_source(engine, Source.model_validate({"path": str(tmp_path / "twins.parquet")}))


@pytest.mark.parametrize("how", [{"coerce_timestamps": "us"}, {"coerce_timestamps": "ms"}, {"version": "2.4"}, {}])
@pytest.mark.parametrize("zone", ["UTC", None])
def test_times_are_read_in_the_unit_that_the_file_has(engine, tmp_path, how, zone):
    """Nanoseconds that the writer has turned into a coarser unit, as pandas did for years, are no nanoseconds, though
    the Arrow schema beside them says so: Spark would have read the year 1970.
    """
    at = dt.datetime(2024, 5, 14, 18, tzinfo=dt.UTC if zone else None)
    pq.write_table(pa.table({"at": pa.array([at], pa.timestamp("ns", zone))}), tmp_path / "times.parquet", **how)
    found = open_source(engine, Source.model_validate({"path": str(tmp_path / "times.parquet")}))
    assert frames.to_arrow(found).column("at").to_pylist() == [at]


def test_families_of_spark_types(engine):
    """Every Spark type a feature can be made from has its family, and others have none."""
    types = {
        "tinyint": "integer", "smallint": "integer", "int": "integer", "bigint": "integer", "float": "float",
        "double": "float", "decimal(12,3)": "decimal", "boolean": "boolean", "string": "string", "date": "date",
        "timestamp": "timestamp", "timestamp_ntz": "timestamp", "array<double>": "array", "array<int>": "array",
        "array<string>": None, "map<string,int>": None, "struct<x:int>": None, "binary": "binary",
    }  # fmt: skip
    nulls = engine.range(1).select(*(F.lit(None).cast(t).alias(f"c{i}") for i, t in enumerate(types)))
    assert [c.family for c in frames.columns(nulls)] == list(types.values())


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
        found = frames.to_arrow(made)
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

"""What a format is said to hold is what it holds, on each engine."""

import pytest
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from vae_model.config.tables import Output
from vae_model.errors import OutputError
from vae_model.spark.engines.engine import Capabilities
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS
from vae_model.spark.sinks.types import check_types, unheld
from vae_model.spark.sinks.writer import writer

VALUES = {
    "void": "NULL", "array of void": "array(NULL)", "map to void": "map('a', NULL)", "struct of void": "struct(NULL)",
    "struct with void": "struct(NULL, 1)", "void in struct in array": "array(struct(NULL, 1))",
    "day-time interval": "INTERVAL '1 02:03:04' DAY TO SECOND", "year-month interval": "INTERVAL '1-2' YEAR TO MONTH",
    "interval in struct": "struct(INTERVAL '1' DAY)", "calendar interval": "make_interval(1, 2, 3, 4, 5, 6, 7.5)",
    "calendar interval in array": "array(make_interval(1))", "variant": "parse_json('{}')",
    "variant in array": "array(parse_json('1'))", "variant in struct": "struct(parse_json('1'))",
    "time": "TIME '10:11:12'", "empty struct": "struct()", "empty struct in array": "array(struct())",
    "geometry": "ST_GeomFromWKB(X'0101000000000000000000F03F0000000000000040')", "collated": "'a' COLLATE UNICODE_CI",
    "map of struct": "map(struct(1), 2)", "map of double": "map(1.5D, 2)", "array of map": "array(map('a', 1))",
    "binary": "X'00FF'", "decimal": "CAST(1 AS DECIMAL(38, 10))", "timestamp_ntz": "TIMESTAMP_NTZ '2020-01-01'",
    "timestamps in struct": "struct(TIMESTAMP '2020-01-01 00:00:00', TIMESTAMP_NTZ '2020-01-01 00:00:00')",
    "varchar": "CAST('a' AS VARCHAR(3))", "tinyint": "CAST(1 AS TINYINT)", "old date": "DATE '0001-01-01'",
}  # fmt: skip


def holds(frame, format_, path):
    """Whether a DataFrame can be written in a format and read back with its types and values."""
    try:
        writer(frame, format_).mode("overwrite").save(path)
        back = frame.sparkSession.read.format(format_).load(path)
        if "interval" in str(back.dtypes):  # which not every client can fetch
            return back.dtypes == frame.dtypes and back.count() == 3
        return back.dtypes == frame.dtypes and len(back.collect()) == 3
    except ENGINE_ERRORS:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_type_is_refused_where_and_only_where_it_cannot_be_written(engine, tmp_path, format_):
    """Of every type that an engine has, what is refused cannot be written, and what is not refused can."""
    if engine.version.startswith("3."):
        pytest.skip("Spark 3.5 cannot write columns of nulls alone, which are not refused there before the work")
    said, found = {}, {}
    for name, text in VALUES.items():
        value = text if "void" in name else f"IF(id = 1, NULL, {text})"
        try:
            frame = engine.range(3).select("id", F.expr(value).alias("c"))
            type_ = frame.schema["c"].dataType
        except ENGINE_ERRORS:  # the engine has no such type
            continue
        said[name] = not unheld(type_, format_, engine_of(engine).can, is_open=True)
        found[name] = holds(frame, format_, str(tmp_path / str(len(said))))
    assert len(said) > 20
    assert said == found


def test_every_column_that_cannot_be_held_is_named_before_the_work(engine):
    """The message names column, type and what to do, and another format where that would do."""
    frame = engine.range(3).selectExpr("id", "INTERVAL '1' DAY AS lag", "struct(INTERVAL '1' MONTH AS x) AS s")
    check_types(frame, Output(path="/nowhere", format="parquet"))
    with pytest.raises(OutputError) as caught:
        check_types(frame, Output(path="/nowhere", format="delta"))
    text = str(caught.value)
    assert "column 'lag': interval day" in text and "column 's': struct<x:interval" in text
    assert "'id'" not in text
    assert text.endswith("leave them out of the source. Or set output.format: parquet.")


def test_what_a_platforms_delta_may_hold_is_not_refused():
    """Collated text is refused only where the Delta jars are known to be the open ones."""
    type_ = StructType([StructField("c", StringType("UNICODE_CI"))])
    assert unheld(type_, "delta", Capabilities(), is_open=True)
    assert not unheld(type_, "delta", Capabilities(), is_open=False)

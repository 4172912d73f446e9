"""Reading what an output holds."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from vae_model.config.tables import Output
from vae_model.errors import InputError
from vae_model.places import files, identifiers
from vae_model.places.listing import NULL_PARTITION
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, column, table_place
from vae_model.spark.sinks.first_commit import has_log
from vae_model.spark.sinks.writing import RUN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


def existing(spark: SparkSession, output: Output) -> DataFrame | None:
    """What is at the output now, as a DataFrame; None where there is nothing."""
    if output.table is not None:
        return read_output(spark, output) if spark.catalog.tableExists(identifiers.table(output.table)) else None
    try:
        return read_output(spark, output) if _is_there(output.path or "", output.format) else None
    except InputError:  # this process does not get there; of a Delta table the engine says whether it is one
        if output.format != "delta":
            raise
    frame = read_output(spark, output)
    with suppress(*ENGINE_ERRORS):
        _ = frame.schema
        return frame
    return None


def _is_there(path: str, format_: str) -> bool:
    """Whether there are rows of a format, or a table without rows."""
    return files.present_format(path) == format_ and (format_ != "delta" or has_log(path))


def read_output(spark: SparkSession, output: Output) -> DataFrame:
    """The output as a DataFrame."""
    if output.table is not None:
        return spark.read.table(identifiers.table(output.table))
    path = files.for_engine(output.path or "")
    return spark.read.format(output.format).load(path if output.format == "delta" else engine_of(spark).literal(path))


def written(spark: SparkSession, output: Output, run: str, schema: StructType) -> DataFrame:
    """The rows of an output that a run wrote, with the types of ``schema``, by the column ``anomaly_run``."""
    if output.format != "parquet" or output.path is None or not output.partition_by:
        return rows_of(read_output(spark, output), output, run)
    # What stands in the names of folders is text; each engine would make of it what it likes.
    within = {name.lower() for name in output.partition_by}
    fields = [StructField(f.name, StringType() if f.name.lower() in within else f.dataType) for f in schema.fields]
    path = engine_of(spark).literal(files.for_engine(output.path))
    rows = rows_of(spark.read.schema(StructType(fields)).parquet(path), output, run)
    return rows.select(*(_typed(f) if f.name.lower() in within else column(f.name) for f in schema.fields))


def rows_of(frame: DataFrame, output: Output, run: str) -> DataFrame:
    """Those of an output's rows that a run wrote."""
    return frame.where(column(output.prefix + RUN) == F.lit(run))


def _typed(field: StructField) -> Column:
    """A partition column's values, from the names of its folders."""
    text = column(field.name)
    return F.when(text != F.lit(NULL_PARTITION), text).cast(field.dataType).alias(field.name)


def location(spark: SparkSession, output: Output) -> str:
    """The folder of an output: its path, or where the catalog says that its table lies."""
    return output.path.rstrip("/") if output.path is not None else table_place(spark, output.table or "")[0]


def in_sql(output: Output) -> str:
    """An output as a query of Spark SQL names it."""
    return (
        identifiers.table(output.table) if output.table else f"{output.format}.{identifiers.quote(output.path or '')}"
    )

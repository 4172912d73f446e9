"""Reading what an output holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vae_model.config.sections import Output
from vae_model.places import files, identifiers
from vae_model.spark.engines.lookup import engine_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Rows = Callable[[], "DataFrame | None"]
"""A function that reads the rows that a run wrote; it gives None where they cannot be told from others."""


def existing(spark: SparkSession, output: Output) -> DataFrame | None:
    """What is at the output now, as a DataFrame; None where there is nothing."""
    if output.table is not None:
        return read_output(spark, output) if spark.catalog.tableExists(identifiers.table(output.table)) else None
    return read_output(spark, output) if files.present_format(output.path or "") == output.format else None


def read_output(spark: SparkSession, output: Output, version: int | None = None) -> DataFrame:
    """The output as a DataFrame; of Delta, as it was at a version."""
    reader = spark.read if version is None else spark.read.option("versionAsOf", version)
    if output.table is not None:
        return reader.table(identifiers.table(output.table))
    path = files.for_engine(output.path or "")
    return reader.format(output.format).load(path if output.format == "delta" else engine_of(spark).literal(path))

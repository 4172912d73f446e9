"""Rows in a table beside one that they are for, where files are the engine's own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from vae_model.places import identifiers, marks
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter, SparkSession


@contextmanager
def beside(frame: DataFrame, table: str, saver: DataFrameWriter) -> Iterator[DataFrame]:
    """The rows of a DataFrame, computed once, in a table of their own as long as the block lasts, made by ``saver``.
    What dead runs have left of the kind goes when the block has gone well: of one that was killed while it copied it
    may be all there was.
    """
    spark, staged = frame.sparkSession, identifiers.table(table, f"_staged_{marks.new()}")
    try:
        with engine_of(spark).cancelling(spark):
            saver.saveAsTable(staged)
        yield spark.table(staged)
        _sweep(spark, table)
    finally:
        with suppress(*ENGINE_ERRORS):
            spark.sql(f"DROP TABLE IF EXISTS {staged}")


def _sweep(spark: SparkSession, table: str) -> None:
    """Drop the staged tables of dead runs. No engine tells when a table was last written to: what counts is the
    process, or the time in the name; those of earlier versions, which have none, stay.
    """
    *outer, last = identifiers.parts(table)
    schema = f"IN {identifiers.schema(table)} " if outer else ""
    with suppress(*ENGINE_ERRORS):
        like = re.sub(r"[^A-Za-z0-9_]", "*", f"{last}_staged_")
        for name in [str(row["tableName"]) for row in spark.sql(f"SHOW TABLES {schema}LIKE '{like}*'").collect()]:
            found = re.fullmatch(rf"{re.escape(last)}_staged_({marks.MARK})", name, re.IGNORECASE)
            if found and marks.is_dead(found[1].lower(), None):
                spark.sql(f"DROP TABLE IF EXISTS {'.'.join(map(identifiers.quote, [*outer, name]))}")

"""Rows merged into a Delta table by their key: updated where the key is there, else inserted."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.errors import OutputError
from vae_model.places import marks
from vae_model.places.identifiers import quote
from vae_model.spark import frames
from vae_model.spark.sinks.writing import Writing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SHOWN = 5
"""Keys that stand more than once, shown in the error."""
GONE = "__vae_gone"
"""The column that marks keys of rows that are gone from the source."""


def check_keys(
    rows: DataFrame, key: list[str], problem: str = "Rows cannot be merged: a key stands more than once in the source."
) -> None:
    """Raise OutputError where a key stands more than once among rows, showing some."""
    columns = [frames.column(name) for name in key]
    twice = rows.groupBy(*columns).agg(F.count(F.lit(1)).alias("times")).where("times > 1")
    found = twice.orderBy(F.desc("times"), *columns).limit(SHOWN).collect()
    if found:
        shown = [", ".join(f"{name} {value}" for name, value in zip(key, row, strict=False)) for row in found]
        raise OutputError(
            problem,
            f"each {', '.join(key)} once",
            "; ".join(f"{text} ({row[-1]} times)" for text, row in zip(shown, found, strict=True)),
            "Add columns to key, or leave the other rows out: of a source by source.where or in a view.",
        )


def merge(rows: DataFrame, writing: Writing, target: str) -> None:
    """Merge rows, which have the target's columns, into it in one commit. ``target`` is its name in SQL.

    A null in a key is a value like any other.
    """
    key = writing.stamp.key
    names, spark = rows.columns, rows.sparkSession
    if writing.gone is not None:
        gone = writing.gone.select(*map(frames.column, key)).withColumn(GONE, F.lit(True))
        rows = rows.withColumn(GONE, F.lit(False)).unionByName(gone, allowMissingColumns=True)
    is_gone = f"`new`.{quote(GONE)}" if writing.gone is not None else "false"
    view, values = f"vae_anomaly_{marks.new()}", [f"`new`.{quote(name)}" for name in names]
    pairs = zip(map(quote, names), values, strict=True)
    clauses = [
        f"MERGE INTO {target} AS `there` USING {view} AS `new`",
        "ON " + " AND ".join(f"`there`.{quote(name)} <=> `new`.{quote(name)}" for name in key),
        f"WHEN MATCHED AND {is_gone} THEN DELETE" if writing.gone is not None else "",
        "WHEN MATCHED THEN UPDATE SET " + ", ".join(f"{name} = {value}" for name, value in pairs),
        f"WHEN NOT MATCHED AND NOT {is_gone} THEN INSERT",
        f"({', '.join(map(quote, names))}) VALUES ({', '.join(values)})",
    ]
    if writing.output.delete_missing and writing.gone is None:
        among = f" AND ({writing.where}\n) IS TRUE" if writing.where else ""
        clauses.append(f"WHEN NOT MATCHED BY SOURCE{among} THEN DELETE")
    rows.createOrReplaceTempView(view)
    try:
        spark.sql("\n".join(filter(None, clauses))).collect()
    finally:
        with suppress(*frames.ENGINE_ERRORS):
            spark.catalog.dropTempView(view)


def merged(there: DataFrame, rows: DataFrame, writing: Writing) -> DataFrame:
    """The rows of a table once others are merged into it, for an engine whose MERGE is not to be had."""
    key = writing.stamp.key
    kept = frames.without(there, rows if writing.keys is None else writing.keys, key)
    if writing.gone is not None:
        kept = frames.without(kept, writing.gone, key)
    elif writing.output.delete_missing:
        kept = kept.where(f"NOT (({writing.where}\n) IS TRUE)") if writing.where else kept.limit(0)
    return kept.unionByName(rows)

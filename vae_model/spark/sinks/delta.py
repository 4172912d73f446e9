"""A Delta output, by path or by name: one commit to the Delta log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote
from uuid import uuid4

from pyspark.sql import functions as F

from vae_model.config.sections import Output
from vae_model.places import files, identifiers
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.sinks import first_commit
from vae_model.spark.sinks.reading import Rows, existing, read_output
from vae_model.spark.sinks.writer import writer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

NEWEST = 1000
"""A commit is looked for among so many, from the newest backwards: others may have written since."""


class Delta:
    """Delta tables."""

    modes: ClassVar[Mapping[str, tuple[str, ...]]] = {"replace": (), "append": ()}

    @contextmanager
    def write(self, frame: DataFrame, output: Output) -> Iterator[Rows]:
        """Write a DataFrame as the Delta table of ``output``, replacing it or adding to it."""
        spark, own = frame.sparkSession, f"vae-anomaly {uuid4().hex}"
        appending = output.mode == "append"
        is_first = appending and existing(spark, output) is None
        saver = writer(frame, "delta").mode("append" if appending else "overwrite")
        # To append: what the commit is found again by, for others may append too.
        saver = saver.option("userMetadata", own) if appending else saver.option("overwriteSchema", "true")
        if re.search(r"[ ,;{}()\n\t=]", "".join(frame.columns)):
            saver = saver.option("delta.columnMapping.mode", "name")  # Delta refuses such names without it
        with engine_of(spark).cancelling(spark):
            if output.table is not None:
                saver.saveAsTable(identifiers.table(output.table))
            else:
                with first_commit.writing(output.path or ""):
                    saver.save(files.for_engine(output.path or ""))
        yield lambda: _added(spark, output, own, is_first) if appending else read_output(spark, output)

    def mend(self, path: str) -> None:
        """Remove what a run has left that was killed before the table's first commit."""
        first_commit.mend(path)


def _added(spark: SparkSession, output: Output, own: str, is_first: bool) -> DataFrame | None:
    """The rows of the commit that carries ``own`` as its user metadata; None where it is not found.

    The commit that classic Spark makes a table with carries none: that one is the first.
    """
    rows = (_by_history if engine_of(spark).can.history else _by_log)(spark, output, own)
    return read_output(spark, output, 0) if rows is None and is_first else rows


def _by_history(spark: SparkSession, output: Output, own: str) -> DataFrame | None:
    """The rows in the files that a version of the table has and the one before it has not."""
    place = identifiers.table(output.table) if output.table else f"delta.{identifiers.quote(output.path or '')}"
    history = spark.sql(f"DESCRIBE HISTORY {place} LIMIT {NEWEST}")
    found = history.where(frames.column("userMetadata") == own).select("version").collect()
    if not found:
        return None
    version = int(found[0][0])
    now = read_output(spark, output, version)
    if version == 0:
        return now
    before = read_output(spark, output, version - 1)
    names = {file.rpartition("/")[2] for file in set(now.inputFiles()) - set(before.inputFiles())}
    return now.where(F.col("_metadata.file_name").isin(*names))


def _by_log(spark: SparkSession, output: Output, own: str) -> DataFrame | None:
    """The rows in the files that a commit added, by the Delta log, for an engine that tells no history.

    Read file by file: where columns are mapped the files have names of their own, and columns that the table is
    partitioned by are not in them.
    """
    folder = (output.path or _location(spark, output.table or "")).rstrip("/")
    whole = read_output(spark, output)
    groups: dict[str, list[str]] = {}
    for add in _adds(folder, own):
        path = unquote(add["path"])
        path = path if re.match(r"[\w+.-]+:/", path) else f"{folder}/{path}"
        groups.setdefault(json.dumps(add.get("partitionValues") or {}, sort_keys=True), []).append(path)
    parts = []
    for text, paths in groups.items():
        values: dict[str, str | None] = json.loads(text)
        inside = [name for name in whole.columns if name not in values]
        part = spark.read.parquet(*map(files.for_engine, paths)).toDF(*inside)
        given = [F.lit(values[name]).alias(name) if name in values else frames.column(name) for name in whole.columns]
        # Cast by position: the fields of reasons may be mapped too.
        typed = [frames.column(f.name).cast(f.dataType).alias(f.name) for f in whole.schema]
        parts.append(part.select(*given).select(*typed))
    return reduce(lambda one, other: one.unionByName(other), parts) if parts else None


def _location(spark: SparkSession, table: str) -> str:
    """The folder of a table: what the description says after its columns, one of which may have any name."""
    described = [(str(row[0]), str(row[1])) for row in spark.sql(
        f"DESCRIBE TABLE EXTENDED {identifiers.table(table)}").collect()]  # fmt: skip
    return next(value for name, value in reversed(described) if name == "Location")


def _adds(folder: str, own: str) -> list[dict[str, Any]]:
    """What a commit added, an entry a file (https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Delta Log
    Entries": one action a line, the newest version has the highest name).
    """
    for name in reversed(files.names_in(f"{folder}/_delta_log", r"\d{20}\.json")[-NEWEST:]):
        actions = [json.loads(line) for line in files.get(f"{folder}/_delta_log/{name}").splitlines() if line.strip()]
        if any(action.get("commitInfo", {}).get("userMetadata") == own for action in actions):
            return [action["add"] for action in actions if "add" in action]
    return []

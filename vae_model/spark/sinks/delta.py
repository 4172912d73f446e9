"""A Delta output, by path or by name: one commit to the Delta log."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote
from uuid import uuid4

from pyspark.sql import functions as F

from vae_model.config.sections import Output
from vae_model.errors import InputError
from vae_model.places import files, identifiers
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.sinks.reading import existing, read_output
from vae_model.spark.sinks.writer import writer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

_FILE = "__vae_file"


class Delta:
    """Delta tables."""

    modes: ClassVar[Mapping[str, tuple[str, ...]]] = {"replace": (), "append": ()}

    @contextmanager
    def write(self, frame: DataFrame, output: Output) -> Iterator[DataFrame | None]:
        """Write a DataFrame as the Delta table of ``output``; within the block, the rows that were written."""
        spark, own = frame.sparkSession, f"vae-anomaly {uuid4().hex}"
        adding = output.mode == "append" and existing(spark, output) is not None
        saver = writer(frame, "delta").mode("append" if output.mode == "append" else "overwrite")
        if output.mode == "replace":
            saver = saver.option("overwriteSchema", "true")
        if adding:
            saver = saver.option("userMetadata", own)  # to find the commit again: others may append too
        if re.search(r"[ ,;{}()\n\t=]", "".join(frame.columns)):
            saver = saver.option("delta.columnMapping.mode", "name")  # Delta refuses such names without it
        with engine_of(spark).cancelling(spark):
            if output.table is not None:
                saver.saveAsTable(identifiers.table(output.table))
            else:
                saver.save(files.for_engine(output.path or ""))
        yield _added(spark, output, own) if adding else read_output(spark, output)


def _added(spark: SparkSession, output: Output, own: str) -> DataFrame | None:
    """The rows of the commit that carries ``own`` as its user metadata; None where they cannot be told from others."""
    whole = read_output(spark, output)
    try:
        place = output.path or _location(spark, output.table or "")
        added = _files_of_commit(place, own)
    except (InputError, OSError, *frames.ENGINE_ERRORS) as error:
        log.debug("The log of %s cannot be read here: %s", output, error)
        added = []
    if added:
        # By position: where columns are mapped, the files have names of their own.
        rows = spark.read.parquet(*map(files.for_engine, added)).toDF(*whole.columns)
        return rows.select(*(frames.column(f.name).cast(f.dataType).alias(f.name) for f in whole.schema))
    try:
        return _since_previous(spark, output, own)
    except frames.ENGINE_ERRORS as error:  # Sail has no history
        log.debug("The history of %s cannot be read: %s", output, error)
        return None


def _location(spark: SparkSession, table: str) -> str:
    """The folder of a table."""
    described = spark.sql(f"DESCRIBE TABLE EXTENDED {identifiers.table(table)}").collect()
    return next((str(row[1]) for row in described if row[0] == "Location"), "")


def _files_of_commit(folder: str, own: str) -> list[str]:
    """The files that a commit added, found from the newest backwards (https://github.com/delta-io/delta/blob/master/
    PROTOCOL.md, "Delta Log Entries": one action a line, the newest version has the highest name).
    """
    folder = folder.rstrip("/")
    for name in reversed(files.names_in(f"{folder}/_delta_log", r"\d{20}\.json")[-100:]):
        actions = [json.loads(line) for line in files.get(f"{folder}/_delta_log/{name}").splitlines() if line.strip()]
        if any(action.get("commitInfo", {}).get("userMetadata") == own for action in actions):
            paths = [unquote(action["add"]["path"]) for action in actions if "add" in action]
            return [path if re.match(r"[\w+.-]+:/", path) else f"{folder}/{path}" for path in paths]
    return []


def _since_previous(spark: SparkSession, output: Output, own: str) -> DataFrame:
    """The rows of a commit by the table's history, where this process does not reach its files."""
    place = identifiers.table(output.table) if output.table else f"delta.{identifiers.quote(output.path or '')}"
    history = spark.sql(f"DESCRIBE HISTORY {place} LIMIT 100").where(frames.column("userMetadata") == own)
    version = int(history.collect()[0]["version"])

    def at(number: int) -> DataFrame:
        return read_output(spark, output, number).withColumn(_FILE, F.col("_metadata.file_path"))

    return at(version).join(at(version - 1).select(_FILE).distinct(), _FILE, "left_anti").drop(_FILE)

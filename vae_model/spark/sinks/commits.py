"""The commits to a Delta table, as the engine or the table's log tells them, and the stamps that runs left there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_model.config.tables import Output
from vae_model.places import delta_log, files, identifiers
from vae_model.runs.stamp import Stamp
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS
from vae_model.spark.sinks.reading import existing, location

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NEWEST = 1000
"""A run's commit is looked for among so many, from the newest backwards: others may have written since."""


def stamps(spark: SparkSession, output: Output) -> Iterator[tuple[int, Stamp]]:
    """The stamps of the newest commits, each with its version, the newest first."""
    for version, text in _commits(spark, output):
        if stamp := Stamp.of(text):
            yield version, stamp


def newest(spark: SparkSession, output: Output) -> int:
    """The version of a table; -1 where there is none."""
    return next((version for version, _ in _commits(spark, output)), -1)


def _commits(spark: SparkSession, output: Output) -> Iterator[tuple[int, str | None]]:
    """Version and user metadata of the newest commits, the newest first; none where there is no table."""
    if existing(spark, output) is None:
        return
    yield from (_by_history if engine_of(spark).can.history else _by_log)(spark, output)


def _by_history(spark: SparkSession, output: Output) -> Iterator[tuple[int, str | None]]:
    path = identifiers.quote(files.for_engine(output.path or ""))
    place = identifiers.table(output.table) if output.table else f"delta.{path}"
    try:
        history = spark.sql(f"DESCRIBE HISTORY {place} LIMIT {NEWEST}").select("version", "userMetadata").collect()
    except ENGINE_ERRORS as error:
        if "[DELTA_TABLE_ONLY_OPERATION" in str(error):  # another run is about to make the table: it has no commit yet
            return
        raise
    yield from sorted(((int(row[0]), row[1]) for row in history), reverse=True)


def _by_log(spark: SparkSession, output: Output) -> Iterator[tuple[int, str | None]]:
    folder = location(spark, output)
    for version in reversed(delta_log.versions(folder)[-NEWEST:]):
        told = (action["commitInfo"] for action in delta_log.commit(folder, version) if "commitInfo" in action)
        info: dict[str, str] = next(told, {})
        yield version, info.get("userMetadata")

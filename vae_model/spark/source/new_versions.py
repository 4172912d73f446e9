"""What is new in a Delta table by its versions: the rows of the commits since the last run."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vae_model.config.config import Config
from vae_model.config.tables import Source
from vae_model.errors import EngineError, InputError, SourceError
from vae_model.places import delta_log, files
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, column, without
from vae_model.spark.source import changes
from vae_model.spark.source.table import where
from vae_model.spark.source.version import place

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

Found = tuple["DataFrame", dict[str, Any], str, "DataFrame | None"]
"""New rows, the position, in words, and keys that are gone."""
_AT_ONCE = 16
"""Files that are looked for at a time."""
_FULL = "Run once with --full: everything is scored anew."


def by_path(spark: SparkSession, source: Source) -> Source:
    """A Delta source by its path, to be read at a version, and its log with it.

    Raises SourceError where it is none, and EngineError where the engine cannot read it.
    """
    folder, format_, about = "", "", None
    try:
        folder, format_ = place(spark, source)
        folder = folder.rstrip("/")
        about = delta_log.metadata(folder) if format_ == "delta" else None
    except (InputError, OSError, *ENGINE_ERRORS) as error:
        log.debug("The log of %s cannot be read: %s", source, error)
    if about is None:
        raise SourceError(
            "source.incremental: {by: version} needs the log of a Delta table, which this process can read.",
            "a Delta table",
            f"{source}: {format_ or 'nothing that is known'}",
            "Use source.incremental: {column: …}, a column that grows.",
        )
    if about.configuration.get(changes.FEED) == "true" and not engine_of(spark).can.history:
        raise EngineError(
            f"{engine_of(spark).name} cannot read a Delta table with a change data feed.", "", str(source),
            "Set engine: spark.",
        )  # fmt: skip
    return source.model_copy(update={"path": folder, "table": None, "format": "delta"})


def find(config: Config, frame: DataFrame, version: str | None, start: dict[str, Any] | None) -> Found:
    """The rows after a position; all where there is none. ``frame`` is the source by its path, at its version.

    Raises SourceError where what is new cannot be told, or rows were changed that the output's mode does not follow.
    """
    spark, (source, output) = frame.sparkSession, config.for_scoring()
    folder, number = by_path(spark, source).path or "", re.fullmatch(r"delta:(\d+)", version or "")
    if number is None:
        raise SourceError(f"The version of {source} cannot be told.", "a Delta table's", str(version))
    last = int(number[1])
    about = delta_log.metadata(folder, last)
    position = {"version": last, "table": about.id}
    if start is None:
        return where(frame, source.where, "source.where"), position, f"versions up to {last}", None
    after = _after(source, start, about.id, last)
    words = f"versions {after + 1} to {last}"
    follows = output.mode == "merge"
    try:
        found = delta_log.changes(folder, after, last)
        _look_for(folder, [*found.moved, *(found.removed if follows else [])])
    except FileNotFoundError as error:
        raise SourceError(
            f"The version {after} of {source}, which the last run read, is gone.",
            "its commits and files, until the next run has read on",
            f"{error.filename or error} is not there: cleaned up, or vacuumed",
            f"{_FULL} Keep versions for longer than there is between two runs.",
        ) from None
    told = None
    if about.configuration.get(changes.FEED) == "true":
        told = changes.feed(spark, folder, after, last, config.key if follows else [])
    if not follows:
        if told is not None and told.updated + told.deleted:
            raise _changed(source, after, last, f"{told.updated} rows updated, {told.deleted} deleted")
        if told is None and found.removed:
            raise _changed(source, after, last, f"{len(found.removed)} files with rows updated or deleted")
    rows = changes.read(spark, folder, found.added, about) if told is None else told.rows
    new = where(_like(rows, frame), source.where, "source.where")
    before = None
    if follows and told is not None and told.updated + told.deleted:
        before = told.rows.union(told.gone)
    elif follows and told is None and found.removed:
        before = changes.read(spark, folder, found.removed, delta_log.metadata(folder, after))
    if before is None:  # None would have a merge look for itself, among all that is not new
        gone = new.select(*map(column, config.key)).limit(0) if output.delete_missing else None
        return new, position, words, gone
    return new, position, words, _gone(config, before, new, source)


def _after(source: Source, start: dict[str, Any], table: str, last: int) -> int:
    after = start["version"]
    if start.get("table") != table or type(after) is not int or after > last:
        raise SourceError(
            f"{source} is not the table that the last run read.",
            f"the table {start.get('table')}, at version {after} or later",
            f"the table {table}, at version {last}",
            _FULL,
        )
    return after


def _changed(source: Source, after: int, last: int, found: str) -> SourceError:
    return SourceError(
        f"Rows of {source} were updated or deleted since the last run; output.mode append does not follow that.",
        f"versions {after + 1} to {last} that only add rows",
        found,
        f"Set output.mode: merge. Or: {_FULL[0].lower()}{_FULL[1:]}",
    )


def _look_for(folder: str, found: Sequence[delta_log.File]) -> None:
    """Raise FileNotFoundError where one of some files is no more there."""
    places = [changes.place(folder, file) for file in found]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for path, is_there in zip(places, pool.map(files.exists, places), strict=True):
            if not is_there:
                raise FileNotFoundError(f"{path}")


def _gone(config: Config, before: DataFrame, new: DataFrame, source: Source) -> DataFrame | None:
    """Of rows that were changed, the keys that are no more, where the output is to lose them too; else a warning."""
    keys = without(before.select(*map(column, config.key)).distinct(), new, config.key)
    if config.output is not None and config.output.delete_missing:
        return keys
    if number := keys.count():
        log.warning(
            "Up to %d rows are gone from %s, or match source.where no more, and stay in the output: "
            "output.delete_missing would remove them", number, source,
        )  # fmt: skip
    return None


def _like(rows: DataFrame, frame: DataFrame) -> DataFrame:
    """Rows with the columns and types of the source as it was opened: ``source.schema`` may have others."""
    return rows.select(*(column(f.name).cast(f.dataType).alias(f.name) for f in frame.schema.fields))

"""A Parquet output written whole: the engine writes beside what is there, and then it is swapped in."""

from __future__ import annotations

import errno
import posixpath
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar

from vae_model.config.sections import Output
from vae_model.errors import JobError
from vae_model.places import files, identifiers, marks, merge, staging, swap
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS
from vae_model.spark.sinks.reading import Rows, read_output
from vae_model.spark.sinks.writer import writer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FIXED = (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES)
"""What a rename is answered with where a folder cannot be moved, though files of it can."""
LINGER = 3.0
"""Seconds for which tasks that were told to end may still write: Spark gives their Python two."""


class Parquet:
    """Parquet folders and tables."""

    modes: ClassVar[Mapping[str, tuple[str, ...]]] = {"replace": (), "append": ()}

    @contextmanager
    def write(self, frame: DataFrame, output: Output) -> Iterator[Rows]:
        """Write a DataFrame to ``output``, replacing what is there or adding to it.

        A job that fails, or is stopped, before the swap leaves the output as it was. Raises JobError where the rows
        lie out of this machine's reach or the swap fails, and whatever the engine raises.
        """
        if output.table is not None:
            with _table(frame, output.table, output.mode == "append") as rows:
                yield lambda: rows
            return
        path = (output.path or "").rstrip("/")
        new, spark = _folder(frame, path, output.mode == "append"), frame.sparkSession
        literal = engine_of(spark).literal
        yield (
            lambda: (
                spark.read.parquet(*(literal(files.for_engine(p)) for p in new)) if new else read_output(spark, output)
            )
        )

    def mend(self, path: str) -> None:
        """Put right what a run that was killed has left at a folder."""
        staging.mend(path)


@contextmanager
def _table(frame: DataFrame, table: str, append: bool) -> Iterator[DataFrame]:
    """Score into a table beside the output, then copy: Sail cannot rename tables, but a copy of rows that are already
    scored does not fail half-way for a reason of ours. Within the block: the rows, in that table.
    """
    spark = frame.sparkSession
    target, staged = identifiers.table(table), identifiers.table(table, f"_staged_{marks.new()}")
    try:
        with engine_of(spark).cancelling(spark):
            writer(frame, "parquet").saveAsTable(staged)
        rows = spark.table(staged)
        if append and spark.catalog.tableExists(target):
            rows.write.insertInto(target)  # by position: the columns were found the same
        else:
            writer(rows, "parquet").mode("append" if append else "overwrite").saveAsTable(target)
        _sweep(spark, table)  # only now: what a run left that was killed while it copied may have been all there was
        yield rows
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


def _save(frame: DataFrame, staged: str) -> None:
    """Have the engine write a new folder."""
    with engine_of(frame.sparkSession).cancelling(frame.sparkSession):
        writer(frame, "parquet").mode("error").save(files.for_engine(staged))
    if not files.exists(staged):
        raise JobError(
            "The scored rows were written where this machine cannot see them.",
            "a path that the engine and this machine share, to put a Parquet folder in its place",
            f"no {staged} here",
            "On a remote Spark Connect server write Delta, a table, or a path on shared storage; the folder that was "
            "written there may be removed.",
        )


@contextmanager
def _tidied(at: staging.Folder, staged: str) -> Iterator[None]:
    """A folder that is gone after the block. When the block fails, the engine's last tasks may make it anew while they
    end: it is looked after for some seconds.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):  # an error that says more is on its way
            end = time.monotonic() + LINGER if at.fs.exists(staged) else 0
            while time.monotonic() < end:
                with suppress(OSError):  # a task took a file away that was to be removed
                    staging.discard(at, staged)
                time.sleep(0.2)
        raise
    with suppress(Exception):  # the rows are in place
        staging.discard(at, staged)


def _folder(frame: DataFrame, path: str, append: bool) -> list[str]:
    """Stage, then put in place: returned are the files that were added, none where they are all there is.

    Staged beside the folder, it is exchanged with it in one step, or in two renames where the system has none. Within
    the folder, where that cannot be (an object store, a mount point, no rights beside it), the new files are put among
    the old, which are removed after that; so are files that are added.
    """
    at, mark = staging.folder(path), marks.new()
    is_swapped = files.renames(path) and (not at.is_local or swap.is_movable(at.inner, mark))
    staged = marks.beside(at.inner, mark, "staged") if is_swapped else f"{at.inner}/{staging.STAGED}{mark}"
    with _tidied(at, staged):
        _save(frame, _for_engine(at, staged))
        adds = append and at.fs.exists(at.inner)
        if is_swapped and not adds and _swapped(at, staged, mark):
            return []
        new = merge.move_in(at, staged, mark, append)
    return [f"{path}/{name}" for name in new] if append else []


def _for_engine(at: staging.Folder, staged: str) -> str:
    """A staged folder as the engine takes it; a local one absolute: the engine may have another working directory."""
    if at.is_local:
        return f"file://{staged}" if at.path.startswith("file:") else staged
    name = posixpath.basename(staged)
    return f"{at.path if name.startswith(staging.STAGED) else posixpath.dirname(at.path)}/{name}"


def _swapped(at: staging.Folder, staged: str, mark: str) -> bool:
    """Put a staged folder in the place of the output; False, and nothing done, where the system does not let it.

    That cannot all be known beforehand: a folder of a container's image, say, does not move, but its files do.
    """
    old = marks.beside(at.inner, mark, "old")
    try:
        swap.replace(at.folders, staged, at.inner, old)
    except OSError as error:
        if error.errno in FIXED and at.folders.exists(at.inner) and not at.folders.exists(old):
            return False
        away = not at.folders.exists(at.inner) and at.folders.exists(old)
        raise staging.unchanged(at, error, old if away else "") from error
    return True

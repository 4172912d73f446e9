"""A Parquet output: the engine writes beside what is there, and then it is put in place."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from vae_model.config.tables import Output
from vae_model.errors import GateClosed, OutputError
from vae_model.places import files, identifiers, marks, merge, staging, swap
from vae_model.places.merge import Order
from vae_model.places.staging import STAMP
from vae_model.runs.identity import file_name
from vae_model.runs.stamp import Stamp
from vae_model.spark.frames import ENGINE_ERRORS
from vae_model.spark.sinks import chain, sliced, staged_table
from vae_model.spark.sinks.columns import aligned
from vae_model.spark.sinks.reading import existing, location, written
from vae_model.spark.sinks.staged_files import for_engine, save, tidied
from vae_model.spark.sinks.writer import writer
from vae_model.spark.sinks.writing import Mode, Writing, check_config

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FIXED = (errno.EXDEV, errno.EBUSY, errno.EPERM, errno.EACCES)
"""What a rename is answered with where a folder cannot be moved, though files of it can."""


class Parquet:
    """Parquet folders and tables."""

    def modes(self, output: Output) -> Mapping[str, Mode]:
        """No merge, for which files of rows would be written anew, and for a table by name no slice either."""
        within = "A reader in between may find the previous rows too, never too few."
        found = {
            "replace": Mode(
                (), "Where folders can be exchanged, one step: a reader finds the previous rows or the new ones."
            ),
            "append": Mode((), f"A run's rows are there once, however often it is run. {within}"),
        }
        if output.path is not None:
            slice_ = "Rows in other folders stay as they are, and the slice is replaced whole or not at all."
            found["replace_where"] = Mode((), f"{slice_} {within}")
        return found

    def check(self, frame: DataFrame, output: Output) -> None:
        """Raise OutputError where ``partition_by`` or the slice do not fit the columns, or what is there."""
        if output.table is not None:
            if output.partition_by:
                raise OutputError(
                    "A Parquet table by name is not partitioned by this job.", "output.path", "output.partition_by",
                    "Give output.path, or output.format: delta.",
                )  # fmt: skip
            if output.mode == "append":
                _folder_of_table(frame.sparkSession, output)
            return
        sliced.check(frame, output)

    def write(self, frame: DataFrame, writing: Writing) -> None:
        """Write a DataFrame to an output.

        A job that fails, or is stopped, before the swap leaves the output as it was. Raises JobError where the rows
        lie out of this machine's reach or the swap fails, and whatever the engine raises.
        """
        output, spark = writing.output, frame.sparkSession
        there = None if writing.mode == "replace" else existing(spark, output)
        if output.table is None:
            rows = frame if there is None else aligned(frame, there.schema, output.partition_by)
            _folder(rows, output.path or "", writing)
        elif writing.mode == "replace":
            _table(frame, output.table, writing)
        else:  # the files go where the table's are, under the run's name, by which they are found again
            if there is None:
                _table(frame.limit(0), output.table, replace(writing, gate=None))
                fs, inner = files.locate(location(spark, output))
                fs.makedirs(inner, exist_ok=True)  # Sail makes no folder of no rows
                there = frame
            try:
                _folder(aligned(frame, there.schema), _folder_of_table(spark, output), writing)
            except GateClosed:
                if there is frame:  # the table was made for them
                    spark.sql(f"DROP TABLE IF EXISTS {identifiers.table(output.table)}")
                raise
            with suppress(*ENGINE_ERRORS):  # Sail, which lists the files anew for each query, has no such command
                spark.catalog.refreshTable(identifiers.table(output.table))

    def staged(self, frame: DataFrame, writing: Writing) -> AbstractContextManager[DataFrame]:
        """The rows as they are: they are staged when they are written."""
        return nullcontext(frame)

    def stamp(self, spark: SparkSession, output: Output) -> Stamp | None:
        """What the last run left beside the files; a table by name has nothing."""
        if output.path is None:
            return None
        with files.explained(output.path), suppress(FileNotFoundError, NotADirectoryError):
            at = staging.folder(output.path)
            for mark, place in staging.contents(at)[1].items():  # a killed run may not have come to its stamp
                staging.finish(at, place, mark)
            return _stamp(at)
        return None

    def undo(self, spark: SparkSession, output: Output) -> None:
        """Nothing: an increment knows that it has lost before its rows are there."""

    def mend(self, path: str) -> None:
        """Put right what a run that was killed has left at a folder."""
        staging.mend(path)


def _stamp(at: staging.Folder) -> Stamp | None:
    """What is left beside the files."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return Stamp.of(at.fs.cat_file(f"{at.inner}/{STAMP}"))
    return None


def _folder_of_table(spark: SparkSession, output: Output) -> str:
    """Where the files of a table lie; empty where there is no table. Raises OutputError where this process does not
    reach them.
    """
    if not spark.catalog.tableExists(identifiers.table(output.table or "")):
        return ""
    path = location(spark, output)
    if not path or not files.exists(path):
        raise OutputError(
            f"Rows cannot be appended to the Parquet table {output}.",
            "files that this machine reaches, to put a run's rows there once and no more",
            f"no {path} here",
            "Use output.mode: replace, or output.format: delta.",
        )
    return path


def _table(frame: DataFrame, table: str, writing: Writing) -> None:
    """Score into a table beside the output, then copy: Sail cannot rename tables, but a copy of rows that are already
    scored does not fail half-way for a reason of ours.
    """
    with staged_table.beside(frame, table, writer(frame, "parquet")) as rows:
        if writing.gate is not None:
            writing.gate(rows)
        writer(rows, "parquet").mode("overwrite").saveAsTable(identifiers.table(table))


def _folder(frame: DataFrame, path: str, writing: Writing) -> None:
    """Stage, then put in place.

    Staged beside the folder, it is exchanged with it in one step, or in two renames where the system has none. Within
    the folder, where that cannot be (an object store, a mount point, no rights beside it), the new files are put among
    the old, which are removed after that; so are files that are added, or replace a slice.
    """
    at, mark = staging.folder(path.rstrip("/")), marks.new()
    if writing.mode == "append":
        check_config(_stamp(at), writing)
    is_swapped = files.renames(path) and (not at.is_local or swap.is_movable(at.inner, mark))
    staged = marks.beside(at.inner, mark, "staged") if is_swapped else f"{at.inner}/{staging.STAGED}{mark}"
    with tidied(at, staged):
        place = for_engine(at, staged)
        save(frame, place, writing.output.partition_by)
        if writing.gate is not None:
            output = writing.output.model_copy(update={"path": place, "table": None})
            writing.gate(written(frame.sparkSession, output, writing.stamp.run, frame.schema))
        if files.renames(path):
            at.fs.makedirs(staged, exist_ok=True)
        tag = file_name(writing.stamp.run)
        if is_swapped and (writing.mode == "replace" or not at.fs.exists(at.inner)):
            merge.name_within(at, staged, mark, tag)
            at.fs.pipe_file(f"{staged}/{STAMP}", writing.stamp.to_text().encode())
            if _swapped(at, staged, mark) if writing.mode == "replace" else _is_first(at, staged):
                return
        replaced = sliced.replaced(frame, writing, at, staged)
        check = None if writing.after is None else lambda: chain.check(_stamp(at), writing)
        merge.move_in(at, staged, mark, Order(replaced, writing.stamp.to_text(), tag, check))


def _is_first(at: staging.Folder, staged: str) -> bool:
    """Put a staged folder where none is; False, and nothing done, where another run has put its own meanwhile."""
    with suppress(FileExistsError):
        at.folders.rename(staged, at.inner)
        return True
    return False


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

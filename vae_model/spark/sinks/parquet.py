"""A Parquet output written whole: the engine writes beside what is there, and then it is swapped in."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from vae_model.config.sections import Output
from vae_model.errors import JobError
from vae_model.places import credentials, files, identifiers
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS
from vae_model.spark.sinks.reading import Rows, read_output
from vae_model.spark.sinks.writer import writer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

STAGED = "_vae_anomaly_staged_"
"""Before the run's number: the name of a folder in the output, which readers pass over for its underscore."""
AT_ONCE = 16
"""Files that an object store is asked to copy or delete at a time."""
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
        new = (_rename_in if files.renames(path) else _copy_in)(frame, path, output.mode == "append")
        spark = frame.sparkSession
        yield lambda: spark.read.parquet(*map(files.for_engine, new)) if new else read_output(spark, output)


@contextmanager
def _table(frame: DataFrame, table: str, append: bool) -> Iterator[DataFrame]:
    """Score into a table beside the output, then copy: Sail cannot rename tables, but a copy of rows that are already
    scored does not fail half-way for a reason of ours. Within the block: the rows, in that table.
    """
    spark = frame.sparkSession
    target, staged = identifiers.table(table), identifiers.table(table, f"_staged_{uuid4().hex[:8]}")
    try:
        with engine_of(spark).cancelling(spark):
            writer(frame, "parquet").saveAsTable(staged)
        rows = spark.table(staged)
        if append and spark.catalog.tableExists(target):
            rows.write.insertInto(target)  # by position: the columns were found the same
        else:
            writer(rows, "parquet").mode("append" if append else "overwrite").saveAsTable(target)
        yield rows
    finally:
        with suppress(*ENGINE_ERRORS):
            spark.sql(f"DROP TABLE IF EXISTS {staged}")


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
def _staging(fs: Any, staged: str) -> Iterator[None]:
    """A folder that is gone after the block. When the block fails, the engine's last tasks may make it anew while they
    end: it is looked after for some seconds.
    """
    try:
        yield
    except BaseException:
        with suppress(Exception):  # an error that says more is on its way
            end = time.monotonic() + LINGER if fs.exists(staged) else 0
            while time.monotonic() < end:
                with suppress(OSError):  # a task took a file away that was to be removed
                    fs.rm(staged, recursive=True)
                time.sleep(0.2)
        raise
    with suppress(Exception):  # the rows are in place
        fs.rm(staged, recursive=True)


def _is_data(name: str) -> bool:
    """Whether a file, by its path in a Parquet folder, is one that readers read."""
    return not name.endswith("/") and not any(part.startswith(("_", ".")) for part in name.split("/"))


def _rename_in(frame: DataFrame, path: str, append: bool) -> list[str]:
    """Stage beside the folder, then replace it by two renames, or add a rename for each new file. Returned are the
    files that were added, none where they are all there is.

    A reader that opens the folder between the two finds nothing for that moment. A failure in it is undone.
    """
    fs, target = files.locate(path)
    run = uuid4().hex[:8]
    staged, old = f"{target}.{run}.staged", f"{target}.{run}.old"
    with _staging(fs, staged):
        if files.protocol(path) == "file":  # absolute: the engine may have another working directory
            _save(frame, f"file://{staged}" if path.startswith("file:") else staged)
        else:
            _save(frame, f"{path}.{run}.staged")
        if append and fs.exists(target):
            names = [*filter(_is_data, (posixpath.basename(str(file)) for file in fs.ls(staged, detail=False)))]
            _move_all(fs, {f"{staged}/{name}": f"{target}/{name}" for name in names}, path)
            return [f"{path}/{name}" for name in names]
        if fs.exists(target):
            fs.mv(target, old, recursive=True)
        try:
            fs.mv(staged, target, recursive=True)
        except BaseException as error:
            if fs.exists(old):
                fs.mv(old, target, recursive=True)  # if this fails too, the old rows stay where they are: in `old`
            if not isinstance(error, OSError):
                raise
            raise JobError(
                f"The new rows could not be put in the place of those of {path}.",
                found=str(error),
                hint="They are as they were.",
            ) from error
        with suppress(OSError):
            fs.rm(old, recursive=True)
    return []


def _copy_in(frame: DataFrame, path: str, append: bool) -> list[str]:
    """Stage in the folder, under a name that readers pass over (so that rights on the folder are enough), then copy.

    An object store has no renames: the new files are copied into place, within the store, and to replace, the old ones
    are deleted after that. A reader in between finds rows of both, never too few. A failure while copying is undone;
    one while deleting is told, and leaves rows of both until the job has run again. Returned are the files that were
    added to others, none where they are all there is.
    """
    run = uuid4().hex[:8]
    fs, target = files.locate(path)
    staged = f"{target}/{STAGED}{run}"
    with _staging(fs, staged):
        _save(frame, f"{path}/{STAGED}{run}")
        with files.explained(path):
            new = [str(file).removeprefix(f"{staged}/") for file in fs.find(staged)]
            old = [] if append else [str(file) for file in fs.find(target) if not str(file).startswith(f"{staged}/")]
            data = filter(_is_data, new)
            copies = {f"{staged}/{name}": f"{target}/{run}-{posixpath.basename(name)}" for name in data}
            _copy_all(fs, copies, path)
            _remove_all(fs, old, path)
            if "_SUCCESS" in new:  # what some schedulers wait for
                with suppress(Exception):  # the rows are in place
                    fs.cp_file(f"{staged}/_SUCCESS", f"{target}/_SUCCESS")
    return [f"{path}/{posixpath.basename(copy)}" for copy in copies.values()] if append else []


def _each(do: Callable[..., object], *arguments: Iterable[str]) -> None:
    """Do something for each file, several at a time. The first failure is raised when nothing is under way any more."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(do, *arguments):
            pass


def _move_all(fs: Any, moves: dict[str, str], path: str) -> None:
    """Rename files, all or none."""
    try:
        for source, target in moves.items():
            fs.mv(source, target)
    except BaseException as error:
        for target in moves.values():
            with suppress(FileNotFoundError):  # those that were not moved yet
                fs.rm(target)
        if not isinstance(error, OSError):
            raise
        raise JobError(
            f"The new rows could not be put beside those of {path}.", found=str(error), hint="They are as they were."
        ) from error


def _copy_all(fs: Any, copies: dict[str, str], path: str) -> None:
    """Copy files within a store, all or none."""
    try:
        _each(fs.cp_file, copies.keys(), copies.values())
    except BaseException as error:
        try:
            for copy in copies.values():
                with suppress(FileNotFoundError):
                    fs.rm_file(copy)
        except Exception as second:
            raise JobError(
                f"New rows of {path} were copied in part, and could not be removed again.",
                found=credentials.redact(f"{error}; then {second}"),
                hint=f"Remove what is called {posixpath.commonprefix(list(copies.values()))}*.",
            ) from None
        raise


def _remove_all(fs: Any, files: list[str], path: str) -> None:
    """Delete the previous files."""
    try:
        _each(fs.rm_file, files)  # one by one: s3fs passes over what a bulk delete was not allowed
    except Exception as error:
        raise JobError(
            f"The previous rows of {path} could not all be removed: it now holds them beside the new ones.",
            found=credentials.redact(str(error)),
            hint="Use credentials that may delete there, then run again.",
        ) from None

"""Rows that an engine writes beside an output, to be looked at, or put in place, by this process."""

from __future__ import annotations

import io
import posixpath
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from vae_model.errors import GateClosed, JobError
from vae_model.places import files, marks, staging
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import to_arrow
from vae_model.spark.sinks import sliced
from vae_model.spark.sinks.writer import writer

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

LINGER = 3.0
"""Seconds for which tasks that were told to end may still write: Spark gives their Python two."""


def save(frame: DataFrame, staged: str, partition_by: list[str]) -> None:
    """Have the engine write a new folder."""
    saver = writer(sliced.as_folders(frame, partition_by), "parquet").mode("error")
    with engine_of(frame.sparkSession).cancelling(frame.sparkSession):
        (saver.partitionBy(*partition_by) if partition_by else saver).save(files.for_engine(staged))
    if files.exists(staged):
        return
    if not frame.isEmpty():
        raise JobError(
            "The scored rows were written where this machine cannot see them.",
            "a path that the engine and this machine share, to put a Parquet folder in its place",
            f"no {staged} here",
            "On a remote Spark Connect server write Delta, a table, or a path on shared storage; the folder that was "
            "written there may be removed.",
        )
    if not partition_by:  # Sail writes nothing of no rows: a reader is to find their columns
        buffer = io.BytesIO()
        pq.write_table(to_arrow(frame), buffer)
        files.put(f"{staged}/part-0.parquet", buffer.getvalue())


@contextmanager
def tidied(at: staging.Folder, staged: str) -> Iterator[None]:
    """A folder that is gone after the block. When the block fails, the engine's last tasks may make it anew while they
    end: it is looked after for some seconds. A gate that closes is no failure: all tasks have ended.
    """
    try:
        yield
    except BaseException as error:
        with suppress(Exception):  # an error that says more is on its way
            end = time.monotonic() + LINGER if at.fs.exists(staged) else 0
            while time.monotonic() < end:
                with suppress(OSError):  # a task took a file away that was to be removed
                    staging.discard(at, staged)
                if isinstance(error, GateClosed):
                    break
                time.sleep(0.2)
        raise
    with suppress(Exception):  # the rows are in place
        staging.discard(at, staged)


def for_engine(at: staging.Folder, staged: str) -> str:
    """A staged folder as the engine takes it; a local one absolute: the engine may have another working directory."""
    if at.is_local:
        return f"file://{staged}" if at.path.startswith("file:") else staged
    name = posixpath.basename(staged)
    return f"{at.path if name.startswith(staging.STAGED) else posixpath.dirname(at.path)}/{name}"


@contextmanager
def beside(frame: DataFrame, path: str) -> Iterator[DataFrame]:
    """The rows of a DataFrame, computed once and written beside a folder, for as long as the block lasts.

    What killed runs have left of the kind is removed.
    """
    at, mark, spark = staging.folder(path.rstrip("/")), marks.new(), frame.sparkSession
    parent = posixpath.dirname(at.inner)
    for name in (posixpath.basename(str(name)) for name in staging.listed(at.fs, parent or "/")):
        if dead := marks.of(at.inner, name, "staged"):
            staging.finish(at, f"{parent}/{name}", dead)
    staged = marks.beside(at.inner, mark, "staged")
    with tidied(at, staged):
        place = for_engine(at, staged)
        save(frame, place, [])
        yield spark.read.schema(frame.schema).parquet(engine_of(spark).literal(files.for_engine(place)))

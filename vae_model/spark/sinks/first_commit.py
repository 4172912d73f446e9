"""A Delta folder before its first commit: data files without a log, which would be taken for a Parquet output."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from vae_model.errors import InputError, OutputError
from vae_model.places import files, marks, staging

WRITING = "_vae_anomaly_writing_"
"""Before the run's mark: an empty file in the folder, which readers pass over, while a first run writes to it."""
EMPTY = ("/_delta_log/_staged_commits", "/_delta_log/_commits")
"""Folders that classic Spark makes first of all: Delta from 4 on, and 3."""
LINGER = 3.0
"""Seconds for which tasks that were told to end may still write."""


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Around the first write to a folder. When it fails, nothing is left of it.

    Only before the first commit is that safe: the folder says which runs write to it. In a table that has a log, what
    no commit names may be what another writer is about to commit.
    """
    if not files.renames(path) or not _is_first(path):
        yield
        return
    mark = marks.new()
    with suppress(InputError, OSError):  # the engine may have rights that this process has not
        at = staging.folder(path)
        at.fs.makedirs(at.inner, exist_ok=True)
        at.fs.pipe_file(f"{at.inner}/{WRITING}{mark}", b"")  # in one step, for `mend` knows it by its whole name alone
    try:
        yield
    except BaseException:
        with suppress(Exception):  # an error that says more is on its way
            end = time.monotonic() + LINGER
            while time.monotonic() < end:
                _clear(path, {mark})
                time.sleep(0.2)
            _forget(path, {mark})
        raise
    with suppress(Exception):  # the rows are committed
        _forget(path, {mark})


def mend(path: str) -> None:
    """Remove what first runs that were killed have left. Raises OutputError where another writes its first rows."""
    if not files.renames(path):
        return
    at = staging.folder(path)
    with suppress(FileNotFoundError, NotADirectoryError):
        running = _marks(path)
        dead = {mark for mark in running if marks.is_dead(mark, at.fs.info(f"{at.inner}/{WRITING}{mark}").get("mtime"))}
        if dead == running:
            _clear(path, dead)
        elif not has_log(path):
            raise OutputError(
                f"Another job writes the first rows of {path}.",
                "one job at a time until the table is there",
                hint=f"Run it again when the other has ended; if there is none, remove the folder {path}.",
                transient=True,
            )
        _forget(path, dead)


def _marks(path: str) -> set[str]:
    """The runs that write to a folder, or were killed while they did."""
    return {name.removeprefix(WRITING) for name in files.names_in(path, rf"{WRITING}{marks.MARK}")}


def _is_first(path: str) -> bool:
    """Whether there is nothing in a folder but what others write that want to be first too."""
    return files.present_format(path) is None or (bool(_marks(path)) and not has_log(path))


def has_log(path: str) -> bool:
    """Whether a folder is a Delta table: a first run makes the log's folder some time before its commit."""
    try:
        return bool(files.names_in(f"{path}/_delta_log", r".*\.json"))
    except FileNotFoundError:
        return False


def _clear(path: str, ours: set[str]) -> None:
    """Remove a folder's data files where there is no log and nobody but ``ours`` has written them."""
    at = staging.folder(path)
    found = [str(name).removeprefix(f"{at.inner}/") for name in at.fs.find(at.inner)]  # before it is asked who writes
    if ours and _marks(path) <= ours and not has_log(path):
        staging.remove(at, [name for name in found if re.match(r"\.?part-", posixpath.basename(name))])


def _forget(path: str, ours: set[str]) -> None:
    """Remove the marks of runs; the folder too if it is no table and nothing is in it then."""
    at = staging.folder(path)
    staging.remove(at, [f"{WRITING}{mark}" for mark in ours])
    if ours and not has_log(path):
        for folder in (*EMPTY, "/_delta_log", ""):
            with suppress(OSError):
                at.fs.rmdir(f"{at.inner}{folder}")

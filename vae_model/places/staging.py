"""Staged folders: where new files wait for their place in a folder, and what is done with those of killed runs."""

from __future__ import annotations

import json
import logging
import os
import posixpath
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from vae_model.errors import JobError
from vae_model.places import files, marks, swap

log = logging.getLogger(__name__)

STAGED = "_vae_anomaly_staged_"
"""Before the run's mark: the name of a folder in the output, which readers pass over for its underscore."""
ADDING, ADDED = "_adding", "_added"
"""In a staged folder: its files are being put in place, and are to be taken back if that does not end; or they all are
there, and those listed in it, which they replace, are to be removed. ``ADDED`` counts where both are."""


STAMP = "_vae_anomaly.json"
"""What the last run says of the folder; readers pass over it."""
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
"""What file systems call the time of the last write, the surest first."""


class Folder(NamedTuple):
    """A folder that a run writes: as its file system has it, links followed."""

    path: str
    fs: Any
    inner: str

    @property
    def is_local(self) -> bool:
        """Whether it is this machine's."""
        return files.protocol(self.path) == "file"

    @property
    def folders(self) -> swap.Folders:
        """Its file system, where folders can be renamed."""
        return swap.Local() if self.is_local else swap.Remote(self.fs)

    def place(self, source: str, target: str) -> None:
        """Put a staged file in its place: by a rename, in an object store by a copy."""
        if self.is_local:
            Path(source).rename(target)
        elif files.renames(self.path):
            self.fs.mv(source, target)
        else:
            self.fs.cp_file(source, target)


def folder(path: str) -> Folder:
    """The folder at a path. A link is followed: what it leads to is replaced, and the link remains."""
    fs, inner = files.locate(path)
    return Folder(path, fs, os.path.realpath(inner) if files.protocol(path) == "file" else inner)


def is_data(name: str) -> bool:
    """Whether a file, by its path in a Parquet folder, is one that readers read."""
    return not name.endswith("/") and not any(part.startswith(("_", ".")) for part in name.split("/"))


def mend(path: str) -> None:
    """Put right what runs that were killed have left at a folder, and beside it, where files can be renamed.

    A folder that was moved away is put back before anything else, whoever did it: a swap that goes on notices. Files
    that were put in place in part are taken back; what is left over of dead runs is removed. Nothing of a live one is.
    """
    if not files.renames(path):
        return  # an object store is only listed when it is written to: `merge` does it then
    with files.explained(path):
        at = folder(path)
        names = [posixpath.basename(str(name)) for name in listed(at.fs, posixpath.dirname(at.inner) or "/")]
        old = {name: mark for name in names if (mark := marks.of(at.inner, name, "old"))}
        parent = posixpath.dirname(at.inner)
        if old and not at.folders.exists(at.inner):
            newest = max(old, key=lambda name: _touched(at.fs, f"{parent}/{name}") or 0)
            with suppress(FileNotFoundError, FileExistsError):  # another run was quicker
                at.folders.rename(f"{parent}/{newest}", at.inner)
                log.warning("%s was away: a job was killed while it replaced it. The previous rows are back.", path)
        for name in names:
            if mark := marks.of(at.inner, name, r"staged|old|old\.gone|tmp"):
                finish(at, f"{parent}/{name}", mark)
        for name in (posixpath.basename(str(name)) for name in listed(at.fs, at.inner)):
            found = re.fullmatch(rf"{STAGED}({marks.MARK})", name)
            if mark := found[1] if found else marks.of(at.inner, name, "tmp"):
                finish(at, f"{at.inner}/{name}", mark)


def listed(fs: Any, inner: str) -> list[str]:
    """The paths of all that is in a folder."""
    try:
        return list(fs.ls(inner, detail=False))
    except OSError:  # nothing is there, or it is not ours to look at
        return []


def finish(at: Folder, staged: str, mark: str) -> None:
    """End what a dead run began with a staged folder: remove what it was to replace, or take back what it added."""
    with suppress(OSError, ValueError):  # it is away already, not ours to remove, or not as we leave it
        if not marks.is_dead(mark, _touched(at.fs, staged)):
            return
        log.info("Removing what a job that was killed has left: %s", staged)
        if at.fs.exists(f"{staged}/{ADDED}"):
            note = json.loads(at.fs.cat_file(f"{staged}/{ADDED}"))
            note = note if isinstance(note, dict) else {"replaced": note}  # of earlier versions: the names alone
            replaced = note.get("replaced")
            remove(at, replaced if isinstance(replaced, list) else [str(replaced)])
            if isinstance(note.get("stamp"), str):
                put_stamp(at, note["stamp"])
        elif at.fs.exists(f"{staged}/{ADDING}"):
            remove(at, [name for name in contents(at)[0] if posixpath.basename(name).startswith(f"{mark}-")])
        discard(at, staged)


def put_stamp(at: Folder, stamp: str) -> None:
    """Leave what a run says of its output, beside its files."""
    files.put(f"{at.path}/{STAMP}", stamp.encode())


def discard(at: Folder, staged: str) -> None:
    """Remove a staged folder, what says how far its run came last of all."""
    rest = [str(name) for name in listed(at.fs, staged) if posixpath.basename(str(name)) != ADDED]
    if files.renames(at.path):
        for name in rest:
            at.fs.rm(name, recursive=True)
    elif rest:
        at.fs.rm(rest, recursive=True)
    with suppress(FileNotFoundError):  # an object store's folder goes with what is in it
        at.fs.rm(staged, recursive=True)


def _touched(fs: Any, staged: str) -> float | None:
    """When something in a folder was last written to, in seconds since 1970; None where that is not known."""
    found = fs.find(staged, detail=True)
    with suppress(OSError, NotImplementedError):
        found[staged] = fs.info(staged)
    return _newest(found.values())


def _newest(infos: Iterable[dict[str, Any]]) -> float | None:
    """The newest time in what a file system tells of files, however it calls it."""
    times = []
    for info in infos:
        given = next((info[key] for key in _TIMES if info.get(key)), None)
        given = datetime.fromisoformat(given) if isinstance(given, str) else given
        times += [given.timestamp() if isinstance(given, datetime) else float(given)] if given else []
    return max(times, default=None)


def remove(at: Folder, names: Iterable[str]) -> None:
    """Remove files of a folder, by their paths in it, and the local folders that are empty then.

    Raises ValueError, and removes nothing, where one is no path in it: whoever may write there could have named it.
    """
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not _is_inside(at, name):
            raise ValueError(f"no file of {at.path}: {name!r}")
    for name in names:
        with suppress(FileNotFoundError):
            at.fs.rm_file(f"{at.inner}/{name}")
    if at.is_local:
        for inside in sorted({posixpath.dirname(name) for name in names} - {""}, key=len, reverse=True):
            with suppress(OSError):
                Path(at.inner, inside).rmdir()


def _is_inside(at: Folder, name: str) -> bool:
    """Whether a path leads to a file in a folder, and by no link out of it."""
    if posixpath.normpath(name) != name or name.startswith(("/", "..")):
        return False
    return not at.is_local or Path(at.inner, name).parent.resolve().is_relative_to(Path(at.inner).resolve())


def contents(at: Folder) -> tuple[list[str], dict[str, str]]:
    """The files in a folder, and the staged folders in it by their runs' marks."""
    names, staging = [], {}
    for file in at.fs.find(at.inner):
        name = str(file).removeprefix(f"{at.inner}/")
        if found := re.match(rf"{STAGED}({marks.MARK})(?=/|$)", name):
            staging[found[1]] = f"{at.inner}/{found[0]}"
        else:
            names.append(name)
    return names, staging


def conflict(at: Folder) -> JobError:
    """The error of a run that has met another one."""
    return JobError(
        f"Another job writes to {at.path} at the same time.",
        "one job at a time for one Parquet folder",
        hint="This job's rows are not there. Run it again when the other has ended.",
        transient=True,
    )


def unchanged(at: Folder, error: OSError, away: str = "") -> JobError:
    """The error of a run whose rows could not be put in place; ``away``: where the previous ones are, if not there."""
    if isinstance(error, FileExistsError):
        return conflict(at)
    return JobError(
        f"The new rows could not be put in the place, or beside those, of {at.path}.",
        found=str(error),
        hint=f"The previous rows are in {away}: the next run puts them back." if away else "They are as they were.",
        transient=isinstance(error, FileNotFoundError),  # another job has swapped or swept
    )

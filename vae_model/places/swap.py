"""Put one folder in the place of another: by one call of the operating system where it has one, else by renames."""

from __future__ import annotations

import ctypes
import errno
import os
import posixpath
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from vae_model.places import marks

TRIES = 5
"""How often a swap begins anew where another job's came between."""
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST)
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
"""What kernels and file systems without such a call answer; some sandboxes answer EPERM."""


class Folders(Protocol):
    """A file system, as far as a swap needs it."""

    def exists(self, path: str) -> bool:
        """Whether anything is there."""

    def rename(self, source: str, target: str) -> None:
        """Rename a folder, never into another. Raises FileExistsError where one with something in it is there."""

    def exchange(self, one: str, other: str) -> bool:
        """Exchange two folders in one step; False, and nothing done, where that cannot be had."""

    def remove(self, path: str) -> None:
        """Remove a folder and all in it."""


class Local:
    """Folders of this machine."""

    def exists(self, path: str) -> bool:
        """Whether anything is there, a link that leads nowhere too."""
        return os.path.lexists(path)

    def rename(self, source: str, target: str) -> None:
        """The system's rename, which never copies, and never replaces a folder that is not empty."""
        try:
            Path(source).rename(target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise FileExistsError(error.errno, error.strerror, source, None, target) from None
            raise

    def exchange(self, one: str, other: str) -> bool:
        """``renameat2`` on Linux, ``renamex_np`` on macOS."""
        call = _exchanger()
        if call is None:
            return False
        if call(os.fsencode(one), os.fsencode(other)) == 0:
            return True
        code = ctypes.get_errno()
        if code in _UNSUPPORTED:
            return False
        raise OSError(code, os.strerror(code), one, None, other)

    def remove(self, path: str) -> None:
        """Remove a folder and all in it."""
        shutil.rmtree(path)


def _exchanger() -> Callable[[bytes, bytes], int] | None:
    """The system's call that exchanges two paths, as a function that gives 0 for done; None where it has none."""
    if sys.platform == "win32":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "renameat2"):
        here, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of linux/fcntl.h, linux/fs.h
        return lambda one, other: int(library.renameat2(here, one, here, other, exchange))
    if hasattr(library, "renamex_np"):
        return lambda one, other: int(library.renamex_np(one, other, 2))  # RENAME_SWAP of sys/stdio.h
    return None


class Remote:
    """Folders of a file system that fsspec reaches and that can rename: HDFS."""

    def __init__(self, fs: Any) -> None:
        self._fs = fs

    def exists(self, path: str) -> bool:
        """Whether anything is there."""
        return bool(self._fs.exists(path))

    def rename(self, source: str, target: str) -> None:
        """HDFS moves a folder *into* one that is there: there it is taken out again."""
        is_taken = self._fs.exists(target)
        if not is_taken:
            self._fs.mv(source, target, recursive=True)
            inside = f"{target}/{posixpath.basename(source)}"
            is_taken = ".vae_anomaly." in inside and self._fs.exists(inside)  # it has come there meanwhile
            if is_taken:
                self._fs.mv(inside, source, recursive=True)
        if is_taken:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)

    def exchange(self, one: str, other: str) -> bool:
        """HDFS has no such call."""
        return False

    def remove(self, path: str) -> None:
        """Remove a folder and all in it."""
        self._fs.rm(path, recursive=True)


def replace(folders: Folders, staged: str, target: str, old: str) -> None:
    """Put the folder ``staged`` in the place of ``target``. What was there is at ``staged`` afterwards.

    Where two folders cannot be exchanged, ``target`` is away, at ``old``, between two renames; a failure there is
    undone, and ``mend`` does it for a run that was killed there. Raises OSError, FileExistsError where other jobs came
    between, time and again; ``target`` is then as they, or the previous run, left it.
    """
    for _ in range(TRIES):
        if not folders.exists(target):
            with suppress(FileExistsError):
                folders.rename(staged, target)
                return
            continue
        try:
            if folders.exchange(staged, target):
                return
            folders.rename(target, old)
        except FileNotFoundError:
            if not folders.exists(staged):
                raise
            continue  # another job is between its two renames
        try:
            folders.rename(staged, target)
        except FileExistsError:  # another job has put its rows there meanwhile: whole ones, newer than those at `old`
            with suppress(FileNotFoundError):  # or they are those, put back
                folders.rename(old, f"{old}.gone")  # a folder half removed must not be what is put back
                folders.remove(f"{old}.gone")
            continue
        except BaseException:
            if folders.exists(old):
                folders.rename(old, target)  # if this fails too, the rows stay where they are, and `mend` looks there
            raise
        with suppress(FileNotFoundError):  # another job has cleaned up
            folders.rename(old, staged)
        return
    raise FileExistsError(errno.EEXIST, "other jobs write there at the same time", target)


def is_movable(target: str, mark: str) -> bool:
    """Whether what lies beside a folder can be renamed into its place, tried with an empty file: not where it is a
    mount point, or where nothing can be written beside it.
    """
    if not Path(target).is_dir():
        return True
    probe = Path(marks.beside(target, mark, "tmp"))
    inside = Path(target, probe.name)
    try:
        probe.touch()
        probe.rename(inside)
    except OSError:
        return False
    finally:
        for path in (probe, inside):
            with suppress(OSError):
                path.unlink()
    return True

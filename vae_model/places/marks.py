"""Names of what a run leaves when it is killed: that it is ours, when the run began, and in which process."""

from __future__ import annotations

import hashlib
import os
import platform
import posixpath
import re
import time
from calendar import timegm
from pathlib import Path
from uuid import uuid4

MARK = r"\d{8}t\d{6}_[0-9a-f]{8}_\d+(?:s\d+)?_[0-9a-f]{4}"
"""A run: UTC time, process space, process id with the process's start, number. Small letters and underscores, so that
tables may be named so.
"""
QUIET = 86_400.0
"""Seconds without a write after which a run is taken for dead, where its process cannot be looked at."""
QUIET_BY_NAME = 7 * QUIET
"""The same where nothing but the name tells an age: the run may have written a moment ago."""


def new() -> str:
    """The mark of a run that begins now, in this process."""
    began = time.strftime("%Y%m%dt%H%M%S", time.gmtime())
    _, start = _stat(os.getpid())
    return f"{began}_{_process_space()}_{os.getpid()}{start and 's' + start}_{uuid4().hex[:4]}"


def process_id(mark: str) -> int:
    """The id of a run's process, on its machine."""
    return int(mark.split("_")[2].partition("s")[0])


def _process_space() -> str:
    """Where a process id means what it means here: one boot and one PID namespace of Linux, one host elsewhere.

    Two containers may have the same host name, and the same process ids for other processes.
    """
    parts = [platform.node()]
    if Path("/proc/self/ns/pid").exists():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        parts += [boot, str(Path("/proc/self/ns/pid").stat().st_ino)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def is_dead(mark: str, touched: float | None, quiet: float = QUIET) -> bool:
    """Whether the run of a mark has ended: its process is gone, or, of another machine's, nobody has written for long.

    ``touched`` is the time of the last write to what it left, None where that cannot be told; ``quiet`` how many
    seconds ago that may be.
    """
    began, space, process, _ = mark.split("_")
    if space == _process_space() and os.name == "posix":
        return not _is_running(process_id(mark), process.partition("s")[2])
    if touched is None:
        return time.time() - timegm(time.strptime(began, "%Y%m%dt%H%M%S")) > QUIET_BY_NAME
    return time.time() - touched > quiet


def _is_running(pid: int, start: str) -> bool:
    """Whether a process goes on. Another one may have its id by now: a container that starts again has the same ids."""
    state, found = _stat(pid)
    if found:
        return state not in "ZX" and start in ("", found)  # Z: killed, and its parent has not asked what became of it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # a number that no process has
        return False
    except OSError:  # another user's
        return True
    return True


def _stat(pid: int) -> tuple[str, str]:
    """A process's state, a letter, and when it began, in the kernel's ticks (proc(5)); empty where /proc tells none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    except (OSError, IndexError):
        return "", ""


def beside(place: str, mark: str, kind: str) -> str:
    """A run's path beside a file or folder. For its leading dot it is passed over by whoever reads the folder it is in,
    even if it should be moved into the place itself.
    """
    folder, name = posixpath.split(place)
    return posixpath.join(folder, f".{_short(name)}.vae_anomaly.{mark}.{kind}")


def of(place: str, name: str, kinds: str) -> str | None:
    """The mark in a name that ``beside`` gave for a place; None for any other name.

    ``kinds`` is a pattern.
    """
    own = posixpath.basename(place)
    found = re.fullmatch(rf"\.{re.escape(_short(own))}\.vae_anomaly\.({MARK})\.(?:{kinds})", name)
    return found[1] if found else None


def _short(name: str) -> str:
    """A name, or what stands for it where a longer one would be too long for a file system."""
    return name if len(os.fsencode(name)) <= 150 else hashlib.sha256(os.fsencode(name)).hexdigest()[:32]

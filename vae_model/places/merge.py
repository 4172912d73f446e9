"""Put staged files among those of a folder, beside them or in their stead: all or none, whatever happens on the way."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vae_model.errors import JobError
from vae_model.places import credentials, files, marks, staging
from vae_model.places.staging import Folder

AT_ONCE = 16
"""Files that an object store is asked to copy or delete at a time."""


@dataclass(frozen=True)
class Order:
    """Which files new ones take the place of, how the new ones are called, and what is left beside them."""

    replaces: Callable[[str], bool]
    """Whether a file, by its path in the folder, is to be replaced."""
    stamp: str
    tag: str = ""
    """What stands in the new files' names, after the run's mark."""
    check: Callable[[], None] | None = None
    """Where no other run may add files at the same time: raises, once all are in place, where one has done so."""


def move_in(at: Folder, staged: str, mark: str, order: Order) -> None:
    """Put the data files of a staged folder into a folder, and remove those that they replace, after that.

    A reader in between finds rows of both, never too few. Until all are in place a failure is undone, at once or, where
    the run is killed, by the next one; from then on the next one ends what this one began. Raises JobError, with
    ``transient`` where another job wrote the same at the same time.
    """
    with files.explained(at.path, writing=True):
        before = _before(at, mark, order)
        new = [str(file).removeprefix(f"{staged}/") for file in at.fs.find(staged)]
        moves = {name: named(name, f"{mark}-{order.tag}") for name in filter(staging.is_data, new)}
        at.fs.pipe_file(f"{staged}/{staging.ADDING}", b"")
        try:
            if files.renames(at.path):
                for inside in {posixpath.dirname(name) for name in moves.values()} - {""}:
                    at.fs.makedirs(f"{at.inner}/{inside}", exist_ok=True)
            _each(at.place, (f"{staged}/{name}" for name in moves), (f"{at.inner}/{name}" for name in moves.values()))
            after = {*filter(staging.is_data, staging.contents(at)[0])}
            if not after.issuperset(moves.values()) or {*filter(order.replaces, after)} - {*before, *moves.values()}:
                raise staging.conflict(at)
            if order.check is not None:
                _check_alone(at, mark)  # first: who is no more seen here has left its stamp
                order.check()
            _note(at, staged, {"replaced": before, "stamp": order.stamp})
        except BaseException as error:
            _take_back(at, staged, moves.values(), error)
            if isinstance(error, OSError) and files.renames(at.path):
                raise staging.unchanged(at, error) from error
            raise
        _remove_replaced(at, before)
        with suppress(FileNotFoundError):  # another run has put a folder of its own there: its stamp counts
            staging.put_stamp(at, order.stamp)
        if "_SUCCESS" in new:  # what some schedulers wait for
            with suppress(Exception):  # the rows are in place
                at.place(f"{staged}/_SUCCESS", f"{at.inner}/_SUCCESS")


def name_within(at: Folder, staged: str, mark: str, tag: str) -> None:
    """Call the data files of a staged folder what ``move_in`` would; where files can be renamed."""
    for file in map(str, at.fs.find(staged)):
        name = file.removeprefix(f"{staged}/")
        if staging.is_data(name):
            at.place(file, f"{staged}/{named(name, f'{mark}-{tag}')}")


def named(name: str, first: str) -> str:
    """The path of a file in its folder, with something before its own name, where that is not there yet."""
    folder, own = posixpath.split(name)
    return name if own.startswith(f"{first}-") else posixpath.join(folder, f"{first}-{own}")


def _before(at: Folder, mark: str, order: Order) -> list[str]:
    """The files that are to be replaced, once what dead runs have left is away. Raises JobError where another run is
    just now adding some: half of them would be replaced.
    """
    names, runs = staging.contents(at)
    others = {other: place for other, place in runs.items() if other != mark}
    for other, place in others.items():
        staging.finish(at, place, other)
    if others:
        names, runs = staging.contents(at)
    runs |= _beside(at)
    replaced = sorted(filter(order.replaces, names))
    for other, place in runs.items():
        if other == mark or not any(posixpath.basename(name).startswith(f"{other}-") for name in replaced):
            continue
        if at.fs.exists(f"{place}/{staging.ADDING}") and not at.fs.exists(f"{place}/{staging.ADDED}"):
            raise staging.conflict(at)
    return replaced


def _beside(at: Folder) -> dict[str, str]:
    """The staged folders beside a folder by their runs' marks, where files can be renamed."""
    if not files.renames(at.path):
        return {}
    parent = posixpath.dirname(at.inner)
    names = [posixpath.basename(str(name)) for name in staging.listed(at.fs, parent or "/")]
    return {mark: f"{parent}/{name}" for name in names if (mark := marks.of(at.inner, name, "staged"))}


def _check_alone(at: Folder, mark: str) -> None:
    """Raise JobError where another run puts files among the others just now. Of two that do each says so before it
    looks: one at least sees the other.
    """
    for other, place in (staging.contents(at)[1] | _beside(at)).items():
        is_adding = other != mark and at.fs.exists(f"{place}/{staging.ADDING}") and not marks.is_dead(other, None)
        if is_adding or (other != mark and at.fs.exists(f"{place}/{staging.ADDED}")):
            raise staging.conflict(at)


def _each(do: Callable[..., object], *arguments: Iterable[str]) -> None:
    """Do something for each file, several at a time. The first failure is raised when nothing is under way any more."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(do, *arguments):
            pass


def _note(at: Folder, staged: str, what: dict[str, Any]) -> None:
    """Write down, whole or not at all, that a run's files are in place, and what is still to be done."""
    note, data = f"{staged}/{staging.ADDED}", json.dumps(what).encode()
    if files.renames(at.path):
        at.fs.pipe_file(f"{note}.tmp", data)
        at.place(f"{note}.tmp", note)
    else:
        at.fs.pipe_file(note, data)


def _take_back(at: Folder, staged: str, names: Iterable[str], error: BaseException) -> None:
    """Remove files that were put in place, those of them that are; first of all the note that says that all are."""
    try:
        with suppress(FileNotFoundError):
            at.fs.rm_file(f"{staged}/{staging.ADDED}")
        staging.remove(at, names)
    except Exception as second:
        raise JobError(
            f"New rows of {at.path} were put in place in part, and could not be removed again.",
            found=credentials.redact(f"{error}; then {second}"),
            hint=f"Remove what is called {posixpath.commonprefix(list(names))}*.",
        ) from None


def _remove_replaced(at: Folder, names: list[str]) -> None:
    """Remove the previous files; an interrupt waits for that."""
    try:
        try:
            _each(lambda name: staging.remove(at, [name]), names)  # one by one: s3fs hides a bulk delete's failures
        except KeyboardInterrupt:
            staging.remove(at, names)
            raise
    except Exception as error:
        raise JobError(
            f"The previous rows of {at.path} could not all be removed: it now holds them beside the new ones.",
            found=credentials.redact(str(error)),
            hint="Use credentials that may delete there, then run again.",
        ) from None

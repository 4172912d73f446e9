"""The log of a Delta table: which files its commits added and removed.

By https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Delta Log Entries": a commit is a file of one action a
line, its name is the version.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq

from vae_model.places import files
from vae_model.places.listing import partition_of

_AT_ONCE = 16
"""Commits that are read at a time."""

Action = dict[str, Any]


@dataclass(frozen=True)
class Metadata:
    """What a table says of itself."""

    id: str
    """Another one where the table was dropped and made anew."""
    schema: dict[str, Any]
    partition_by: list[str]
    configuration: dict[str, str]


@dataclass(frozen=True)
class File:
    """A data file of a table, less the rows that its deletion vector takes away."""

    path: str
    """As the log has it, no more escaped: in the table's folder, or a URL."""
    partition: dict[str, str | None]
    vector: str | None
    seen: int
    """A version of the table that has the file."""

    @property
    def name(self) -> tuple[str, str | None]:
        """What tells it from any other."""
        return self.path, self.vector


@dataclass(frozen=True)
class Changes:
    """What the commits after a version did to it."""

    added: list[File]
    """Files with rows that are new or changed."""
    removed: list[File]
    """Files of that version whose rows were changed, deleted, or are in ``added`` as they were."""
    moved: list[File]
    """Those of ``added`` whose rows the table has in other files by now."""


def versions(folder: str) -> list[int]:
    """The versions whose commits are in the log, in order. Raises FileNotFoundError where there is no log."""
    return [int(name.partition(".")[0]) for name in files.names_in(f"{folder}/_delta_log", r"\d{20}\.json")]


def commit(folder: str, version: int) -> Iterator[Action]:
    """The actions of a commit, one by one. Raises FileNotFoundError where it is no more in the log."""
    data = files.get(f"{folder}/_delta_log/{version:020d}.json")
    return (json.loads(line) for line in data.splitlines() if line.strip())


def metadata(folder: str, version: int | None = None) -> Metadata:
    """What a table says of itself at a version, or now. Raises FileNotFoundError where the log does not tell."""
    version = sys.maxsize if version is None else version
    for actions in _backwards(folder, version):
        for action in actions:
            if found := action.get("metaData"):
                config = found.get("configuration") or {}
                schema = json.loads(found["schemaString"])
                return Metadata(found["id"], schema, list(found.get("partitionColumns") or []), dict(config))
    raise FileNotFoundError(f"no metadata of version {version} in {folder}/_delta_log")


def changes(folder: str, after: int, last: int) -> Changes:
    """What the commits after a version did, up to another. What only moves rows (OPTIMIZE) is passed over.

    Raises FileNotFoundError where a commit is no more in the log.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        commits = list(pool.map(lambda version: list(commit(folder, version)), range(after + 1, last + 1)))
    numbered = list(zip(range(after + 1, last + 1), commits, strict=True))
    # Where rows that were moved have changed after that, it is no more known which: the move counts as a change too.
    return _sum(numbered, after, last, moves=False) or _sum(numbered, after, last, moves=True) or Changes([], [], [])


def _sum(commits: Iterable[tuple[int, list[Action]]], after: int, last: int, moves: bool) -> Changes | None:
    """The changes of all commits; None where a file was changed that a move has made. ``moves`` are changes too."""
    added: dict[tuple[str, str | None], File] = {}
    removed: dict[tuple[str, str | None], File] = {}
    made: set[tuple[str, str | None]] = set()
    moved: dict[tuple[str, str | None], File] = {}
    for version, actions in commits:
        for action in sorted(actions, key=lambda action: "add" in action):  # what is replaced first
            told = action.get("add") or action.get("remove")
            if told is None:
                continue
            counts, file = told.get("dataChange", True) or moves, _described(told, last)
            if "add" in action:
                moved.pop(file.name, None)
                if not counts:
                    made.add(file.name)
                elif removed.pop(file.name, None) is None:  # else it is back, by RESTORE say
                    added[file.name] = file
            elif counts:
                if file.name in made:
                    return None
                if added.pop(file.name, None) is None:
                    removed[file.name] = replace(file, seen=after)
                moved.pop(file.name, None)
            elif file.name in added:
                moved[file.name] = replace(file, seen=version - 1)
    return Changes([moved.get(name, file) for name, file in added.items()], list(removed.values()), [*moved.values()])


def _described(told: Action, seen: int) -> File:
    path, vector = unquote(told["path"]), told.get("deletionVector")
    unique = f"{vector.get('storageType')}{vector['pathOrInlineDv']}@{vector.get('offset')}" if vector else None
    values = told.get("partitionValues")
    return File(path, partition_of(told["path"]) if values is None else dict(values), unique, seen)


def _backwards(folder: str, version: int) -> Iterator[Iterable[Action]]:
    """What the log says up to a version, the newest first: its commits, and what the checkpoints say of the table."""
    names = files.names_in(f"{folder}/_delta_log", r"\d{20}\.(json|checkpoint(\.[\w-]+){0,2}\.parquet)")
    for name in sorted(names, reverse=True):  # of one version the commit before the checkpoint
        number, _, kind = name.partition(".")
        if int(number) <= version:
            with suppress(FileNotFoundError):  # cleaned up just now: a checkpoint tells the same
                yield commit(folder, int(number)) if kind == "json" else _checkpoint(f"{folder}/_delta_log/{name}")


def _checkpoint(path: str) -> list[Action]:
    """What a checkpoint says of the table; of one in several files, one of them does."""
    told = pq.read_table(io.BytesIO(files.get(path)), columns=["metaData"]).column("metaData").to_pylist()
    return [{"metaData": one | {"configuration": dict(one.get("configuration") or [])}} for one in told if one]

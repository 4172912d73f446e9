"""The data files of a table that is a folder, a pattern or one file, as the engines find them."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import fsspec

from vae_model.errors import InputError, StorageError
from vae_model.places import files

NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
"""What Hive calls the folder of rows whose partition column is null."""
_PATTERN = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class DataFile:
    """One file of a table."""

    path: str
    """As fsspec has it, without a protocol."""
    inside: str
    """Its path within the table's folder, or what of a pattern is none; its name, where the table is one file."""
    size: int
    """In bytes."""
    changed: str
    """When it was written, in the file system's own words; to tell a file from another that took its place."""

    @property
    def partition(self) -> dict[str, str | None]:
        """The values that the folders about it stand for."""
        return partition_of(self.inside)


@dataclass(frozen=True)
class Listing:
    """The data files of a table, by path."""

    fs: Any
    root: str
    """What was listed, as the config has it."""
    is_pattern: bool
    """Whether that is a pattern, and no file or folder."""
    is_file: bool
    """Whether it is one file."""
    files: tuple[DataFile, ...]

    @cached_property
    def partition_columns(self) -> list[str]:
        """The columns that stand in the folders' names instead of in the files; none of a pattern's."""
        return [] if self.is_pattern else list(dict.fromkeys(name for file in self.files for name in file.partition))

    def opened(self, file: DataFile) -> Any:
        """A file, to read its bytes, decompressed by the name's ending (``.gz``, ``.bz2``)."""
        compression = fsspec.utils.infer_compression(file.path)
        return fsspec.core.OpenFile(self.fs, file.path, "rb", compression)

    def url(self, file: DataFile) -> str:
        """A file's path as the engines take it."""
        if self.is_file:
            return files.for_engine(self.root)
        root = files.for_engine(self.root).rstrip("/")
        return _like(root, file.path) if self.is_pattern else f"{root}/{file.inside}"


def partition_of(inside: str) -> dict[str, str | None]:
    """The values that the folders about a file stand for, as Hive lays tables out: ``year=2023/city=New%20York/…``."""
    steps = [step.partition("=") for step in posixpath.dirname(inside).split("/") if "=" in step]
    return {name: None if value == NULL_PARTITION else unquote(value) for name, _, value in steps}


def _like(root: str, path: str) -> str:
    """A path with the protocol of another."""
    protocol = re.match(r"[A-Za-z][\w+.-]*:/+", root)
    return (protocol[0] if protocol else "/") + path.lstrip("/")


def data_files(path: str) -> Listing | None:
    """The files that readers of tables read at a path, in the order of their names: those whose names, and whose
    folders' names, begin with neither ``.`` nor ``_`` (but for ``_name=value``).

    None where nothing is found, or fsspec has no library for the place: the engine may have one. Raises StorageError
    where a place does not answer.
    """
    try:
        there = files.exists(re.split(r"/[^/]*[*?\[{]", path)[0])  # of a pattern, its folder; it answers in seconds
        fs, inner = files.locate(path)
    except StorageError:
        raise
    except InputError:
        return None
    if not there and not files.exists(path):  # a name may have a bracket in it
        return None
    with files.explained(path):
        is_pattern = bool(_PATTERN.search(inner)) and not fs.exists(inner)
        tops = sorted({str(top) for one in _without_braces(inner) for top in fs.glob(one)}) if is_pattern else [inner]
        found: dict[str, Any] = {}
        for top in tops:
            found |= fs.find(top, detail=True)
    entries = []
    base = re.split(r"/[^/]*[*?\[{]", inner)[0] if is_pattern else inner
    for name, details in sorted(found.items()):
        inside = str(name).removeprefix(base).lstrip("/") or posixpath.basename(inner)
        if not any(_is_hidden(step) for step in inside.split("/")):
            changed = str(details.get("mtime") or details.get("LastModified") or details.get("ETag") or "")
            entries.append(DataFile(str(name), inside, int(details.get("size") or 0), changed))
    return Listing(fs, path, is_pattern, list(found) == [inner], tuple(entries)) if entries else None


def _without_braces(pattern: str) -> list[str]:
    """Patterns without the ``{a,b}`` of the engines' patterns, which fsspec does not know."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [one for choice in found[1].split(",") for one in _without_braces(before + choice + after)]


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or (name.startswith("_") and "=" not in name)

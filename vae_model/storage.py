"""Files beside the tables (models, staged outputs), on any file system fsspec knows; written whole or not at all."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any
from uuid import uuid4

import fsspec

from vae_model.errors import InputError, OutputError


def locate(path: str) -> tuple[Any, str]:
    """File system and path in it. ``file:/x`` and ``file:///x`` are the local ``/x``; ``s3a`` is ``s3``."""
    path = for_engine(path)
    if path.startswith(("s3a://", "s3n://")):
        path = "s3" + path[3:]
    try:
        fs, inner = fsspec.core.url_to_fs(path)
    except (ValueError, ImportError) as error:  # a protocol nobody knows, or one whose library is not installed
        raise InputError(
            f"The place {path} cannot be reached.", "a file system that fsspec knows", str(error)
        ) from None
    return fs, str(inner).rstrip("/") or "/"


def _is_local(fs: Any) -> bool:
    return "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,))


def canonical(path: str) -> str:
    """One spelling for one place, to tell whether two paths are the same."""
    fs, inner = locate(path)
    return str(fs.unstrip_protocol(str(Path(inner).resolve()) if _is_local(fs) else inner))


def for_engine(path: str) -> str:
    """A path as every engine reads it: a ``file:`` URI becomes the plain path (Sail takes ``file:/x`` for relative)."""
    return "/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path


def read(path: str) -> bytes:
    """All bytes of a file. Raises OSError (FileNotFoundError where it is missing)."""
    fs, inner = locate(path)
    return bytes(fs.cat_file(inner))


def write(path: str, data: bytes) -> None:
    """Write a file whole: a reader finds the old bytes or the new ones, never a part. Parents are made."""
    fs, inner = locate(path)
    if fs.isdir(inner):
        raise IsADirectoryError(f"{path} is a folder")
    parent = inner.rpartition("/")[0]
    if parent:
        fs.makedirs(parent, exist_ok=True)
    staged = f"{inner}.{uuid4().hex[:8]}.tmp"
    try:
        fs.pipe_file(staged, data)
        fs.mv(staged, inner)
    except BaseException:
        with suppress(OSError):
            fs.rm(staged)
        raise


def check_writable(path: str) -> None:
    """Try whether something new can be made at a local path, before any work. Raises OutputError.

    Other file systems answer when they are written to.
    """
    fs, inner = locate(path)
    if not _is_local(fs):
        return
    parent = Path(inner).parent
    while not parent.exists():
        parent = parent.parent
    try:
        with TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written.", f"a folder that can be written in at {parent}", str(error)
        ) from None

"""Files beside the tables (configs, models) on any file system fsspec knows; written whole or not at all.

What goes wrong is told within seconds: which bucket, what is the matter with it, what to do.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

import fsspec
from fsspec.asyn import sync

from vae_model.errors import InputError, OutputError, StorageError, VaeAnomalyError
from vae_model.places import credentials, marks

ANSWER_WITHIN = 10
"""Seconds for a short question to an object store; its library alone would go on for a minute or more."""
PROBE = "_vae_anomaly_write_probe"
"""The object that is put and removed to learn whether one can be. Readers of tables pass over a leading underscore."""


class _Store(NamedTuple):
    """What to say of a kind of object store."""

    extra: str
    bucket: str
    credentials: str
    address: str


_STORES = {
    "s3": _Store(
        "s3",
        "bucket",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role.",
        "Check AWS_ENDPOINT_URL, AWS_REGION and the network.",
    ),
    "gs": _Store(
        "gcs",
        "bucket",
        "Set GOOGLE_APPLICATION_CREDENTIALS, or give this machine a service account.",
        "Check the network.",
    ),
    "abfs": _Store(
        "azure",
        "container",
        "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or give this machine an identity.",
        "Check the account's name and the network.",
    ),
    "models": _Store(
        "mlflow",
        "registry",
        "Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        "Check MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI and the network.",
    ),
}
fsspec.register_implementation(
    "models", "vae_model.platforms.mlflow.Registry", clobber=True, errtxt="MLflow is missing"
)
_BUSY = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "429", "500", "502", "503", "504")
"""What a store answers when the same question may be answered a moment later."""
_SPELLINGS = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs"}
_ENDINGS = {"parq": "parquet", "jsonl": "json", "ndjson": "json"} | dict.fromkeys(("tsv", "tab", "psv", "txt"), "csv")
"""Endings of files' names that are not the formats' own names."""
_RENAMING = ("file", "hdfs", "webhdfs")
"""Where a rename is one step. Elsewhere it is a copy and a delete, but a new object appears whole."""


def protocol(path: str) -> str:
    """The kind of file system a path is on: file, s3 (for ``s3a://`` too), gs, abfs, hdfs or another; models for
    MLflow's registry, ``models:/name@alias``.
    """
    found = re.match(r"(file):|(?=models:/)(models):|([A-Za-z][\w+.-]*)(?:://|::)", path, re.IGNORECASE)
    name = (found[found.lastindex or 0]).lower() if found else "file"
    return _SPELLINGS.get(name, name)


def renames(path: str) -> bool:
    """Whether a file or folder can be renamed in one step where a path is."""
    return protocol(path) in _RENAMING


def locate(path: str) -> tuple[Any, str]:
    """File system and path in it; ``file:/x`` is the local ``/x``, and ``s3a`` is ``s3``. Listings are never cached:
    an engine writes behind fsspec's back.

    Raises InputError where the path holds credentials or fsspec has no library for it, StorageError where the library
    does not come up.
    """
    if credentials.within(path):
        raise InputError("A path holds credentials.", hint=credentials.HINT)
    kind = protocol(path)
    try:
        fsspec.get_filesystem_class(kind)
    except ValueError as error:
        known = "a file system that fsspec knows"
        raise InputError(f"The place {path} cannot be reached.", known, str(error)) from None
    except ImportError as error:
        hint = f"pip install 'spark-vae-anomaly[{_STORES[kind].extra}]'" if kind in _STORES else ""
        raise InputError(f"The place {path} cannot be reached.", found=str(error), hint=hint) from None
    spelled = _local(path) if kind == "file" else re.sub("^models:/+", "models://", re.sub("^s3[an]://", "s3://", path))
    with explained(path):
        fs, inner = fsspec.core.url_to_fs(spelled, use_listings_cache=False, **_options(kind))
    return fs, str(inner).rstrip("/") or "/"


def _options(kind: str) -> dict[str, Any]:
    """What a file system is made with: short waits, and the variables that the engines read too."""
    if kind == "s3":
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        retries = {"mode": "standard", "total_max_attempts": 3}
        config = {"connect_timeout": ANSWER_WITHIN / 2, "read_timeout": 60, "retries": retries}
        return {"config_kwargs": config, "client_kwargs": {"region_name": region} if region else {}}
    # adlfs would otherwise go without credentials before it asks the platform for them
    return {"anon": False} if kind == "abfs" and "AZURE_STORAGE_ANON" not in os.environ else {}


def s3_endpoint() -> str:
    """The S3 server that the environment names, or an empty string for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def ask(fs: Any, question: str, *about: Any) -> Any:
    """A short question to a file system (a method's name), answered within ``ANSWER_WITHIN`` seconds or not at all."""
    if getattr(fs, "async_impl", False):
        return sync(fs.loop, getattr(fs, f"_{question}"), *about, timeout=ANSWER_WITHIN)
    return getattr(fs, question)(*about)


@contextmanager
def explained(path: str, writing: bool = False) -> Iterator[None]:
    """Turn what a store's library raises into a StorageError: what is wrong with bucket, credentials or network.

    FileNotFoundError, and all errors of local files, stay as they are.
    """
    loud = [logging.getLogger(name) for name in ("gcsfs", "s3fs", "azure")]  # they log what they raise, with its stack
    levels = [logger.level for logger in loud]
    try:
        for logger in loud:
            logger.setLevel(logging.CRITICAL)
        yield
    except VaeAnomalyError:
        raise
    except Exception as error:
        if protocol(path) == "file":
            raise
        found, hint, transient = _explain(path, error, writing)
        if not found:
            raise
        raise StorageError(f"{path} cannot be reached.", found=found, hint=hint, transient=transient) from None
    finally:
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)


def _explain(path: str, error: Exception, writing: bool) -> tuple[str, str, bool]:
    """What a library's error means, what to do, and whether to try again; nothing for a file that is not there."""
    store = _STORES.get(
        protocol(path), _Store("", "host", "Check the credentials.", "Check the address and the network.")
    )
    bucket = f"{store.bucket} {path.partition('://')[2].partition('/')[0]}".rstrip()
    kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
    answer = getattr(error.__cause__ or error, "response", None)
    code = str(answer["Error"].get("Code") if isinstance(answer, dict) and "Error" in answer else "")
    code = code or str(
        getattr(error, "error_code", "") or getattr(error, "status_code", "") or getattr(error, "code", "")
    )
    text = credentials.redact(str(error).strip().partition("\n")[0])[:300] or type(error).__name__
    if code in ("NoSuchBucket", "ContainerNotFound") or (writing and isinstance(error, FileNotFoundError)):
        return f"there is no {bucket}", f"Create it, or check its name. {store.address}", False
    if isinstance(error, FileNotFoundError):
        return "", "", False
    if code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired"):
        return f"the credentials are not accepted ({code})", store.credentials, False
    if isinstance(error, PermissionError) or code in ("401", "403"):
        return (
            f"access to the {bucket} is denied: {text}",
            "Use credentials that may list, read, write and delete there.",
            False,
        )
    if "Timeout" in kinds:
        return f"the {bucket} does not answer", f"{store.address} {store.credentials}", True
    if code in _BUSY:
        return f"the {bucket} is busy ({code}): {text}", "Try again later.", True
    if re.search("Credential|Authentication|SSO|TokenRetrieval|ProfileNotFound", kinds) or "credentials" in text:
        return f"there are no credentials for the {bucket}: {text}", store.credentials, False
    if re.search("Connect|HTTPClient|ServiceRequest", kinds) or "Max retries exceeded" in text:
        return f"the {bucket} does not answer: {text}", store.address, True
    return text, "", False


def canonical(path: str) -> str:
    """One spelling for one place, to tell whether two paths are the same. Needs no library."""
    kind = protocol(path)
    if kind == "file":
        return f"file://{Path(_local(path)).resolve()}"
    return f"{kind}://{posixpath.normpath(path.partition(':')[2].lstrip('/'))}"


def for_engine(path: str) -> str:
    """A path as every engine reads it. Sail takes ``file:/x``, without the slashes, for relative; and a relative path
    starts at this process's working directory, which need not be the engine's.
    """
    if path.startswith("file:"):
        return f"file://{_local(path)}"
    return str(Path(path).absolute()) if protocol(path) == "file" else path


def _local(path: str) -> str:
    return "/" + path.removeprefix("file:").lstrip("/") if path.startswith("file:") else path


def exists(path: str) -> bool:
    """Whether a file or folder is there. Raises StorageError where that cannot be learnt."""
    fs, inner = locate(path)
    if protocol(path) == "file":
        return bool(fs.exists(inner))
    with suppress(FileNotFoundError), explained(path):
        _find(fs, inner)
        return True
    return False


def _find(fs: Any, inner: str) -> None:
    """Raise FileNotFoundError where nothing is, and the library's error where that cannot be learnt."""
    try:
        ask(fs, "info", inner)
    except PermissionError:
        # S3 refuses a HEAD without a reason, and to who may list only some of the bucket it refuses it for what is not
        # there: a listing tells.
        ask(fs, "ls", inner)


def get(path: str) -> bytes:
    """All bytes of a file. Raises OSError (FileNotFoundError where it is missing) or StorageError."""
    fs, inner = locate(path)
    with explained(path):
        _find(fs, inner)
        return bytes(fs.cat_file(inner))


def put(path: str, data: bytes) -> None:
    """Write a file whole: a reader finds the old bytes or the new ones, never a part. Parents are made.

    A local link is followed, and remains. HDFS cannot rename onto a file: there the old one is removed just before.
    What runs that were killed have left of the same file is removed. Raises OSError or StorageError.
    """
    fs, inner = locate(path)
    with explained(path, writing=True):
        if not renames(path):
            fs.pipe_file(inner, data)  # no parents: a store's library would make a missing bucket
            return
        if fs.isdir(inner):
            raise IsADirectoryError(f"{path} is a folder")
        fs.makedirs(inner.rpartition("/")[0] or "/", exist_ok=True)
        inner = os.path.realpath(inner) if protocol(path) == "file" else inner
        staged = marks.beside(inner, marks.new(), "tmp")
        try:
            fs.pipe_file(staged, data)
            if protocol(path) == "file":
                Path(staged).replace(inner)
            else:
                if fs.exists(inner):
                    fs.rm(inner)
                fs.mv(staged, inner)
        except BaseException:
            with suppress(Exception):
                fs.rm(staged)
            raise
        _sweep(fs, inner)


def _sweep(fs: Any, inner: str) -> None:
    """Remove what dead runs have left of a file that they were writing."""
    with suppress(Exception):  # the file is written
        for info in fs.ls(inner.rpartition("/")[0] or "/", detail=True):
            mark = marks.of(inner, posixpath.basename(str(info["name"])), "tmp")
            touched = info.get("mtime")
            if mark and marks.is_dead(mark, touched if isinstance(touched, float) else None):
                fs.rm(str(info["name"]))


def check_writable(path: str, folder: bool = False) -> None:
    """Try, before any work, whether a file, or files in a folder, can be written at a path. Raises OutputError.

    Nothing is left: locally a nameless file is made, on an object store ``PROBE`` is put and removed, in the folder or
    beside the file. HDFS answers when it is written to.
    """
    try:
        fs, inner = locate(path)
        with explained(path, writing=True):
            if protocol(path) == "file":
                _check_local(Path(inner), folder)
            elif not renames(path):
                parent = inner if folder else posixpath.dirname(inner)
                if not parent:
                    raise OutputError(f"{path} cannot be written.", "a file in the bucket", "the bucket itself")
                ask(fs, "pipe_file", f"{parent}/{PROBE}", b"")
                with suppress(FileNotFoundError):  # removed by another job, whose probe it was too
                    ask(fs, "rm_file", f"{parent}/{PROBE}")
    except StorageError as error:
        raise error.as_kind(OutputError, f"{path} cannot be written.") from None


def _check_local(path: Path, folder: bool) -> None:
    parent = path if folder and path.is_dir() else path.parent
    while not parent.exists():
        parent = parent.parent
    try:
        if path.is_dir() and not folder:
            raise IsADirectoryError(f"{path} is a folder")
        with TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written.", f"a folder that can be written in at {parent}", str(error)
        ) from None


def names_in(folder: str, pattern: str) -> list[str]:
    """The names in a folder that match a pattern, sorted. Raises OSError or StorageError."""
    fs, inner = locate(folder)
    with explained(folder):
        names = (posixpath.basename(str(entry)) for entry in fs.ls(inner, detail=False))
        return sorted(name for name in names if re.fullmatch(pattern, name))


def present_format(path: str) -> str | None:
    """What lies at a path: parquet, delta, another format's extension, or None for nothing (an empty folder too).

    Raises StorageError where that cannot be learnt.
    """
    if not exists(path):
        return None
    if exists(f"{path.rstrip('/')}/_delta_log"):
        return "delta"
    fs, inner = locate(path)
    with explained(path):
        names = [name for name in fs.find(inner) if not re.search(r"(^|/)[_.][^/]*(/|$)", name.removeprefix(inner))]
    return format_of_name(names[0]) if names else None


def format_of_name(name: str) -> str:
    """The format that a file has by the ending of its name."""
    stem = re.sub(r"\.(gz|snappy|zst|bz2)$", "", name.lower())
    _, dot, extension = stem.rpartition("/")[2].rpartition(".")
    return _ENDINGS.get(extension, extension) if dot else "a file"

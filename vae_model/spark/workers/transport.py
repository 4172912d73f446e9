"""How this package, a model's bytes and the rows reach the workers: nothing but numpy, pandas and pyarrow is installed
there.
"""

from __future__ import annotations

import hashlib
import io
import logging
import tempfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from vae_model.errors import EngineError
from vae_model.spark.engines import jvm
from vae_model.spark.engines.reachable import is_gone
from vae_model.spark.frames import ENGINE_ERRORS

log = logging.getLogger(__name__)

CLOSURE_LIMIT = 1 << 20
"""Bytes of a model that travel inside the function on Spark Connect. The function is part of every plan that is sent,
so a larger model goes once, as an artifact."""
MESSAGE_LIMIT = 100 << 20
"""gRPC refuses a message of 128 MiB: the largest closure where there are no artifacts (Sail)."""

COLUMNAR_INPUT = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
"""Spark 4.2: whether a reader's columnar batches go to Python without becoming rows (SPARK-56350)."""

_shipped: weakref.WeakSet[Any] = weakref.WeakSet()


def ship_package(spark: Any) -> None:
    """Give the workers of a session this package, the driver's own version of it, once a session."""
    if spark in _shipped:
        return
    data = _package()
    name = f"vae_model-{hashlib.sha256(data).hexdigest()[:16]}.zip"
    if jvm.is_classic(spark):
        jvm.add_package(spark, name, data)
    else:  # Sail takes no artifacts, and needs none: it is this process. Other workers are asked before they are used
        _add_artifact(spark, name, data, pyfile=True)
    _shipped.add(spark)


def ship_model(spark: Any, data: bytes) -> Callable[[], bytes]:
    """A function that gives the model's bytes on a worker. What is pickled with it is small.

    On classic Spark the bytes are a broadcast, once an executor. On Spark Connect up to ``CLOSURE_LIMIT`` bytes travel
    in the function itself, more as an artifact of the session. Raises EngineError where neither can take them.
    """
    if jvm.is_classic(spark):
        return jvm.broadcast(spark, data)
    if len(data) > CLOSURE_LIMIT:
        name = f"model-{hashlib.sha256(data).hexdigest()[:16]}.vae"
        if _add_artifact(spark, name, data, file=True):
            return _artifact(name)
    if len(data) > MESSAGE_LIMIT:
        raise EngineError(
            "The model is too large for this engine.",
            f"at most {MESSAGE_LIMIT >> 20} MiB",
            f"{len(data) >> 20} MiB",
            "Use fewer columns, or engine: spark.",
        )
    return lambda: data


@contextmanager
def as_rows(spark: Any) -> Iterator[None]:
    """Spark hands rows to Python, not its readers' batches, until the end of the block.

    Those of its Parquet reader are not Arrow's: Spark 4.2 copies them value by value, with all columns beside them, and
    a job takes a sixth longer, a third where texts pass through (docs/performance.md). Earlier Sparks and others know
    no such setting.
    """
    try:
        before = spark.conf.get(COLUMNAR_INPUT)
        spark.conf.set(COLUMNAR_INPUT, "false")
    except ENGINE_ERRORS as error:
        log.debug("%s was not set: %s", COLUMNAR_INPUT, error)
        yield
        return
    gone = False
    try:
        yield
    except Exception as error:
        gone = is_gone(error)
        raise
    finally:
        if not gone:  # else its client would wait for the server once more
            with suppress(Exception):  # why a session ended must not be hidden
                spark.conf.set(COLUMNAR_INPUT, before)


def _artifact(name: str) -> Callable[[], bytes]:
    def read() -> bytes:
        from pathlib import Path

        from pyspark import SparkFiles  # the session's own files, wherever the server put them

        return Path(SparkFiles.get(name)).read_bytes()

    return read


def _add_artifact(spark: Any, name: str, data: bytes, **kind: bool) -> bool:
    """Send a file to the server of a Connect session; whether it takes any."""
    with tempfile.TemporaryDirectory(prefix="vae-anomaly-") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            spark.addArtifact(str(path), **kind)
        except PySparkException as error:
            log.debug("%s was not sent: %s", name, error)
            return False
    return True


@cache
def _package() -> bytes:
    """The package as a zip file that Python imports from: of the same files always the same bytes."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in _sources(files("vae_model"), "vae_model"):
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return memory.getvalue()


def _sources(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        name = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from _sources(entry, name)
        elif entry.name.endswith((".py", "py.typed")):
            yield name, entry.read_bytes()

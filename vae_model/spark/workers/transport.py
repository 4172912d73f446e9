"""How this package, a model's bytes and the rows reach the workers: nothing but numpy, pandas and pyarrow is installed
there.
"""

from __future__ import annotations

import hashlib
import io
import logging
import weakref
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING

from vae_model.spark.engines.engine import BytesSource
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.reachable import is_gone
from vae_model.spark.frames import ENGINE_ERRORS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

COLUMNAR_INPUT = "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled"
"""Spark 4.2: whether a reader's columnar batches go to Python without becoming rows (SPARK-56350)."""

_shipped: weakref.WeakSet[SparkSession] = weakref.WeakSet()


def ship_package(spark: SparkSession) -> None:
    """Give the workers of a session this package, the driver's own version of it, once a session."""
    if spark in _shipped:
        return
    data = _package()
    engine_of(spark).add_package(spark, f"vae_model-{hashlib.sha256(data).hexdigest()[:16]}.zip", data)
    _shipped.add(spark)


def ship_model(spark: SparkSession, data: bytes) -> BytesSource:
    """A function that gives the model's bytes on a worker. What is pickled with it is small.

    Raises EngineError where the engine cannot take so many.
    """
    return engine_of(spark).send(spark, f"model-{hashlib.sha256(data).hexdigest()[:16]}.vae", data)


@contextmanager
def as_rows(spark: SparkSession) -> Iterator[None]:
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

"""Where the Spark session comes from."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from vae_model.errors import JobError
from vae_model.spark import frames
from vae_model.spark.engines import classic, connect, sail
from vae_model.spark.engines.own import is_started, marked

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)


@contextmanager
def session(engine: str, needs_delta: bool, needs_s3: bool = False) -> Iterator[SparkSession]:
    """A Spark session on the engine named in the config; one that is started here is stopped at the end.

    ``auto`` is the session that is already there (a notebook, spark-submit), else the Connect server in SPARK_REMOTE,
    else the embedded Sail server. Raises EngineError where the engine cannot be had, and JobError where it fails
    within the block.
    """
    chosen = _resolve(engine)
    existing = _existing_session()
    if existing is not None and chosen in ("existing", "connect" if connect.is_remote(existing) else "spark"):
        log.info("Engine: the Spark session that is already there (Spark %s)", existing.version)
        yield existing
        return
    start = {"sail": sail.start, "connect": connect.start, "spark": classic.start}[chosen]
    try:
        is_near = chosen == "sail" or (chosen == "spark" and "PYSPARK_GATEWAY_PORT" not in os.environ)
        with start(needs_delta, needs_s3) as spark, marked(spark, is_near):
            yield spark
    except frames.ENGINE_ERRORS as error:
        raise JobError(
            "The engine failed.", "", frames.reason(error), "Its own log says more.", frames.is_transient(error)
        ) from error


def _resolve(engine: str) -> str:
    if engine != "auto":
        return engine
    if _existing_session() is not None:
        return "existing"
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # set by spark-submit for the Python it starts
        return "spark"
    return "connect" if "SPARK_REMOTE" in os.environ else "sail"


def _existing_session() -> SparkSession | None:
    """The session of this process, classic or Connect; None where there is none."""
    from pyspark.sql import SparkSession

    with suppress(Exception):  # a half-closed session is no session
        active = SparkSession.getActiveSession()
        if active is not None:
            return active
    if find_spec("py4j"):
        from pyspark import SparkContext

        if getattr(SparkContext, "_active_spark_context", None) is not None:  # made by another thread
            return SparkSession.builder.getOrCreate()
    return _of_another_thread()


def _of_another_thread() -> SparkSession | None:
    """The Connect session of this process, where another thread has made it: the active one is a thread's own, and
    platforms such as Databricks run a job in a thread that has none. One that a job of ours has started is that job's.
    """
    with suppress(Exception):  # earlier clients keep none
        module = sys.modules.get("pyspark.sql.connect.session")
        if module is not None and connect.is_for_remote():
            session: SparkSession | None = module.SparkSession._get_default_session()
            return None if session is None or is_started(session) else session
    return None

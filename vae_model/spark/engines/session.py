"""Where the Spark session comes from. Nothing else in the project asks which engine it is on."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from vae_model.errors import EngineError, VaeAnomalyError
from vae_model.places import files
from vae_model.spark.engines import classic
from vae_model.spark.engines.own import marked
from vae_model.spark.engines.reachable import is_gone, knock

log = logging.getLogger(__name__)

PATIENCE = 24
"""Seconds for a Spark Connect server to come back in."""
SAIL_SETTINGS = {
    "RUST_LOG": "error",
    "SAIL_EXECUTION__BATCH_SIZE": "16384",
    "SAIL_PARQUET__COMPRESSION": "snappy",
    "SAIL_PARQUET__DICTIONARY_PAGE_SIZE_LIMIT": str(1 << 17),
}
"""The embedded engine's, where the environment has no others. Batches of twice Sail's own rows are half the trips into
Python. Snappy is Spark's codec; Sail's own takes twice the time. A column whose values differ gives up its dictionary
after 128 KB, not after a megabyte: looking them all up took more than half of all the writing (docs/performance.md).
"""
SAIL_CHANNEL = [("grpc.compression_enabled_algorithms_bitset", 1)]
"""Nothing is compressed on its way: Sail would gzip what a client of this very process asks for, at 40 MB a second."""


@contextmanager
def session(engine: str, needs_delta: bool, needs_s3: bool = False) -> Iterator[Any]:
    """A Spark session on the engine named in the config; one that is started here is stopped at the end.

    ``auto`` is the session that is already there (a notebook, spark-submit), else the Connect server in SPARK_REMOTE,
    else the embedded Sail server. Raises EngineError where the engine cannot be had.
    """
    if not find_spec("pyspark"):
        raise EngineError(
            "pyspark is not installed.", hint="pip install 'spark-vae-anomaly[sail]' (embedded) or '…[spark]' (classic)"
        )
    chosen = _resolve(engine)
    existing = _existing_session()
    if existing is not None and chosen in ("existing", "connect" if _is_remote(existing) else "spark"):
        log.info("Engine: the Spark session that is already there (Spark %s)", existing.version)
        yield existing
        return
    start = {"sail": _sail, "connect": _connect, "spark": classic.start}[chosen]
    from vae_model.spark import frames  # not before pyspark is known to be there

    try:
        own = chosen == "sail" or (chosen == "spark" and "PYSPARK_GATEWAY_PORT" not in os.environ)
        with start(needs_delta, needs_s3) as spark, marked(spark) if own else nullcontext():
            yield spark
    except frames.ENGINE_ERRORS as error:
        raise VaeAnomalyError(
            "The engine failed.", found=frames.reason(error), hint="Its own log says more."
        ) from error


def _resolve(engine: str) -> str:
    if engine != "auto":
        return engine
    if _existing_session() is not None:
        return "existing"
    if "PYSPARK_GATEWAY_PORT" in os.environ:  # set by spark-submit for the Python it starts
        return "spark"
    return "connect" if "SPARK_REMOTE" in os.environ else "sail"


def _is_remote(spark: Any) -> bool:
    """Whether a session is Spark Connect's."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def _existing_session() -> Any:
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
    return None


@contextmanager
def _sail(needs_delta: bool, needs_s3: bool) -> Iterator[Any]:
    """The embedded engine: a Sail server in this process, reached by Spark Connect. No JVM."""
    if not find_spec("pysail"):
        raise EngineError(
            "The embedded engine needs pysail, which is not installed.",
            hint="pip install pysail, or set engine: spark, or SPARK_REMOTE.",
        )
    for name, value in SAIL_SETTINGS.items():
        os.environ.setdefault(name, value)  # read once, when the server starts
    if needs_s3:
        _agree_on_s3()
    from pysail.spark import SparkConnectServer
    from threadpoolctl import threadpool_limits

    server = SparkConnectServer()
    server.start()
    try:
        host, port = server.listening_address
        log.info("Engine: Sail, embedded")
        # Sail scores on one thread a core in this process: BLAS threads on top of them only collide.
        with threadpool_limits(1, user_api="blas"), _remote(f"sc://{host}:{port}", SAIL_CHANNEL) as spark:
            _take_back_signals()
            yield spark
    except BaseException:
        server.stop()
        _drain()
        raise
    server.stop()


def _drain(quiet: float = 0.2, patience: float = 10) -> None:
    """Wait until no thread of the server has been in Python for a moment: the interpreter must not end under one."""
    ours = {thread.ident for thread in threading.enumerate()}
    end = time.monotonic() + patience
    last = time.monotonic()
    while time.monotonic() < min(last + quiet, end):
        if sys._current_frames().keys() - ours:
            last = time.monotonic()
        time.sleep(0.01)


def _take_back_signals() -> None:
    """Put Python's handlers back: Sail's server takes SIGINT and SIGTERM for its own end, and the job waits for it."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.getsignal(number) or signal.SIG_DFL)


def _agree_on_s3() -> None:
    """Sail reads the AWS variables as others do, but for a server that is not Amazon's it wants two of its own."""
    endpoint = files.s3_endpoint()
    if endpoint.startswith("http://"):
        os.environ.setdefault("AWS_ALLOW_HTTP", "true")
    if endpoint and "AWS_DEFAULT_REGION" not in os.environ:
        os.environ.setdefault("AWS_REGION", "us-east-1")


@contextmanager
def _connect(needs_delta: bool, needs_s3: bool) -> Iterator[Any]:
    """A Spark Connect server that is already running, by SPARK_REMOTE."""
    url = os.environ.get("SPARK_REMOTE")
    if not url:
        raise EngineError(
            "engine: connect needs a server.", "its address in SPARK_REMOTE, such as sc://host:15002", "no SPARK_REMOTE"
        )
    _knock(url)
    log.info("Engine: Spark Connect at %s", re.sub(r";.*", ";…", url))  # what follows may hold a token
    with _remote(url) as spark:
        yield spark


def _knock(url: str) -> None:
    """Raise EngineError where nobody listens: the client itself would go on trying for minutes."""
    try:
        address = urlsplit(url.partition(";")[0])
        knock([(address.hostname or "", address.port or 15002)])
    except (OSError, ValueError) as error:
        raise EngineError(
            "The Spark Connect server does not answer.",
            "an address such as sc://host:15002 in SPARK_REMOTE",
            str(error),
            "Check that the server runs, and its address.",
        ) from None


@contextmanager
def _remote(url: str, channel: list[tuple[str, Any]] | None = None) -> Iterator[Any]:
    from pyspark.sql.connect import client
    from pyspark.sql.connect.session import SparkSession

    before = os.environ.get("SPARK_CONNECT_MODE_ENABLED")
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # pyspark.sql.functions asks this
    try:
        try:
            if channel is None:
                builder = SparkSession.builder.remote(url)
            else:  # Spark 3.5's goes by the shorter name
                channels = getattr(client, "DefaultChannelBuilder", None) or client.ChannelBuilder
                builder = SparkSession.builder.channelBuilder(channels(url, channel))
            spark = builder.create()
            _ = spark.version
        except Exception as error:
            raise EngineError(
                "The Spark Connect server does not answer.",
                found=str(error).strip().splitlines()[0][:300],
                hint="Check that it runs, and its address.",
            ) from None
        _be_patient_for_seconds(spark)
        try:
            yield spark
        except Exception as error:
            if not is_gone(error):
                raise
            _be_patient_for_seconds(spark, retries=0)  # nor does stopping the session wait for it
            raise VaeAnomalyError(
                "The Spark Connect server went away during the job.",
                found=f"no answer in {PATIENCE} s",
                hint="A Delta output is as it was before, or whole. Look after the server, then run the job again.",
            ) from error
        finally:
            with suppress(Exception):  # the work is done: a server that is gone cannot spoil it
                spark.stop()
    finally:
        if before is None:
            os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
        else:
            os.environ["SPARK_CONNECT_MODE_ENABLED"] = before


def _be_patient_for_seconds(spark: Any, retries: int = 8) -> None:
    """Let the client ask a server that does not answer for about ``PATIENCE`` seconds, not ten minutes."""
    with suppress(ImportError):  # Spark 3.5's client has no such policies
        from pyspark.sql.connect.client.retries import DefaultPolicy

        waits = {"initial_backoff": 100, "backoff_multiplier": 3.0, "max_backoff": 5000, "jitter": 0}
        spark.client.set_retry_policies([DefaultPolicy(max_retries=retries, **waits)])

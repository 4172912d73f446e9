"""The embedded engine: a Sail server in this process, reached by Spark Connect. No JVM."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from vae_model.errors import EngineError
from vae_model.networks.products import one_thread
from vae_model.places import files
from vae_model.spark.engines.connect import client_session
from vae_model.spark.engines.engine import Capabilities, Engine
from vae_model.spark.engines.own import is_ours

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

SETTINGS = {
    "RUST_LOG": "error",
    "SAIL_EXECUTION__BATCH_SIZE": "65536",
    "SAIL_EXECUTION__COLLECT_STATISTICS": "false",
    "SAIL_PARQUET__COMPRESSION": "snappy",
    "SAIL_PARQUET__DICTIONARY_PAGE_SIZE_LIMIT": str(1 << 17),
    "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(365 * 24 * 60 * 60),
}
"""The embedded engine's, where the environment has no others. Batches of eight times Sail's own rows are an eighth of
the trips into Python, and of the searches for reasons. Snappy is Spark's codec; Sail's own takes twice the time. A
column whose values differ gives up its dictionary after 128 KB, not after a megabyte: looking them all up took more
than half of all the writing (docs/performance.md). By the statistics of a Parquet file, which pass over NaN, Sail reads
a column of one value and NaN as that value alone. Sail forgets a session that asked for nothing in fifteen minutes,
even one whose query was still running: a longer training, or a longer query, found it gone.
"""
CHANNEL = [("grpc.compression_enabled_algorithms_bitset", 1)]
"""Nothing is compressed on its way: Sail would gzip what a client of this very process asks for, at 40 MB a second."""


class Sail(Engine):
    """Sail: Spark Connect without Spark."""

    name: ClassVar[str] = "Sail"
    can: ClassVar[Capabilities] = Capabilities(
        merge=False,
        replace_where_by_name=False,
        commit_metadata=False,
        transactions=False,
        history=False,
        artifacts=False,
        nan_in_delta=False,
        any_path=False,
        base_path=False,
        arrow_types=True,
        orc=False,
        variant=False,
        encodings=False,
        line_ends=True,
        metadata=False,
        void_in_delta=False,
        nested_variant=False,
    )

    def literal(self, path: str) -> str:
        """A path that is no pattern: Sail takes the escapes of a URL for what they stand for, and for no pattern."""
        local = path.removeprefix("file://")
        return f"file://{quote(local)}" if re.search(r"[\[\]{}*?]", local) and local.startswith("/") else path

    def workers_run_this_python(self, spark: SparkSession) -> bool:
        """Its workers are threads of the server's process: of this one, where the server was started here."""
        return is_ours(spark)

    def add_package(self, spark: SparkSession, name: str, data: bytes) -> None:
        """Do nothing: Sail takes no modules, and needs none where its workers are threads of this process."""


@contextmanager
def start(needs_delta: bool, needs_s3: bool) -> Iterator[SparkSession]:
    """A session of a server that is started here, and stopped at the end. Raises EngineError without pysail."""
    if not find_spec("pysail"):
        raise EngineError(
            "The embedded engine needs pysail, which is not installed.",
            hint="pip install pysail, or set engine: spark, or SPARK_REMOTE.",
        )
    with _environment(SETTINGS | (_s3_settings() if needs_s3 else {})), _server() as spark:
        yield spark


@contextmanager
def _server() -> Iterator[SparkSession]:
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start()
    try:
        host, port = server.listening_address
        log.info("Engine: Sail, embedded")
        # Sail scores on one thread a core in this process: BLAS threads on top of them only collide.
        with one_thread, client_session(f"sc://{host}:{port}", CHANNEL) as spark:
            _take_back_signals()
            yield spark
    except BaseException:
        server.stop()
        _drain()
        raise
    server.stop()


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Variables for the server, where the environment has no others; taken back at the end."""
    added = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


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


def _s3_settings() -> dict[str, str]:
    """Sail reads the AWS variables as others do, but for a server that is not Amazon's it wants two of its own."""
    endpoint, settings = files.s3_endpoint(), {}
    if endpoint.startswith("http://"):
        settings["AWS_ALLOW_HTTP"] = "true"
    if endpoint and "AWS_DEFAULT_REGION" not in os.environ:
        settings["AWS_REGION"] = "us-east-1"
    return settings

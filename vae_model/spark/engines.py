"""Where the Spark session comes from. Nothing else in the project asks which engine it is on."""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vae_model.errors import EngineError

log = logging.getLogger(__name__)

MIN_JAVA = 17
DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


@contextmanager
def session(engine: str, needs_delta: bool) -> Iterator[Any]:
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
    start = {"sail": _sail, "connect": _connect, "spark": _classic}[chosen]
    with start(needs_delta) as spark:
        yield spark


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
def _sail(needs_delta: bool) -> Iterator[Any]:
    """The embedded engine: a Sail server in this process, reached by Spark Connect. No JVM."""
    if not find_spec("pysail"):
        raise EngineError(
            "The embedded engine needs pysail, which is not installed.",
            hint="pip install pysail, or set engine: spark, or SPARK_REMOTE.",
        )
    os.environ.setdefault("RUST_LOG", "error")  # read once, when the server starts; so is the next
    os.environ.setdefault("SAIL_PARQUET__COMPRESSION", "snappy")  # Spark's codec; Sail's own takes twice the time
    from pysail.spark import SparkConnectServer
    from threadpoolctl import threadpool_limits

    server = SparkConnectServer()
    server.start()
    try:
        host, port = server.listening_address
        log.info("Engine: Sail, embedded")
        # Sail scores on one thread a core in this process: BLAS threads on top of them only collide.
        with threadpool_limits(1, user_api="blas"), _remote(f"sc://{host}:{port}") as spark:
            yield spark
    finally:
        server.stop()


@contextmanager
def _connect(needs_delta: bool) -> Iterator[Any]:
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
        host, port = address.hostname, address.port or 15002
        socket.create_connection((host or "", port), timeout=10).close()
    except (OSError, ValueError) as error:
        raise EngineError(
            "The Spark Connect server does not answer.",
            "an address such as sc://host:15002 in SPARK_REMOTE",
            str(error),
            "Check that the server runs, and its address.",
        ) from None


@contextmanager
def _remote(url: str) -> Iterator[Any]:
    from pyspark.sql.connect.session import SparkSession

    before = os.environ.get("SPARK_CONNECT_MODE_ENABLED")
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # pyspark.sql.functions asks this
    try:
        try:
            spark = SparkSession.builder.remote(url).create()
            _ = spark.version
        except Exception as error:
            raise EngineError(
                "The Spark Connect server does not answer.",
                found=str(error).strip().splitlines()[0][:300],
                hint="Check that it runs, and its address.",
            ) from None
        try:
            yield spark
        finally:
            with suppress(Exception):  # the work is done: a server that is gone cannot spoil it
                spark.stop()
    finally:
        if before is None:
            os.environ.pop("SPARK_CONNECT_MODE_ENABLED", None)
        else:
            os.environ["SPARK_CONNECT_MODE_ENABLED"] = before


@contextmanager
def _classic(needs_delta: bool) -> Iterator[Any]:
    """Classic Spark: what spark-submit set up, else local[*]."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _check_java()
        # Classic Spark starts its workers with the `python3` of the PATH, not with this environment's.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("vae-anomaly")
    if not submitted:
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        builder = builder.config("spark.log.level", "ERROR").config("spark.sql.session.timeZone", "UTC")
        if needs_delta:
            builder = _with_delta(builder)
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        raise EngineError(
            "Classic Spark did not start.",
            found=str(error).strip().splitlines()[0][:300],
            hint="Its own words stand above. If they are about downloads, Delta's jars could not be had from Maven: "
            "give them to spark-submit with --jars, try --conf spark.jars.ivy=FOLDER, or write Parquet."
            if needs_delta
            else "Its own words stand above.",
        ) from error
    log.info("Engine: Spark %s, %s", spark.version, spark.sparkContext.master)
    try:
        if needs_delta:
            _check_delta(spark)
        yield spark
    finally:
        spark.stop()


def _with_delta(builder: Any) -> Any:
    """Delta's extension, and its jars from Maven unless they lie among Spark's own."""
    import pyspark

    builder = builder.config("spark.sql.extensions", DELTA_EXTENSION)
    builder = builder.config("spark.sql.catalog.spark_catalog", DELTA_CATALOG)
    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    if any(home.glob("jars/delta-spark_*.jar")):
        return builder
    from delta import configure_spark_with_delta_pip

    log.info("Delta: fetching its jars by Maven, once (about 90 MB the first time)")
    return configure_spark_with_delta_pip(builder)


def _check_delta(spark: Any) -> None:
    """Raise EngineError where the session's classes lack Delta."""
    try:
        spark._jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass(DELTA_CATALOG)
        extensions = spark.conf.get("spark.sql.extensions", "") or ""
    except Exception:
        raise EngineError(
            "Delta's jars are not on Spark's class path.",
            hint="spark-submit --packages io.delta:delta-spark_4.2_2.13:4.4.0 (or --jars with the files), with "
            f"--conf spark.sql.extensions={DELTA_EXTENSION} --conf spark.sql.catalog.spark_catalog={DELTA_CATALOG}; "
            "or set output.format: parquet.",
        ) from None
    if DELTA_EXTENSION not in extensions:
        raise EngineError(
            "Delta's jars are there, but the session does not use them.",
            f"spark.sql.extensions={DELTA_EXTENSION} and spark.sql.catalog.spark_catalog={DELTA_CATALOG}",
            f"spark.sql.extensions={extensions or '(not set)'}",
        )


def _check_java() -> None:
    """Raise EngineError where there is no Java, or one that Spark 4 cannot run on."""
    home = os.environ.get("JAVA_HOME")
    java = f"{home}/bin/java" if home else shutil.which("java")
    hint = f"Install Java {MIN_JAVA} or 21, or use the embedded engine, which needs none: engine: sail."
    try:
        found = subprocess.run([java or "java", "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        raise EngineError(
            "Classic Spark needs Java, and none was found.", f"Java {MIN_JAVA} or later", hint=hint
        ) from None
    version = re.search(r'version "(\d+)', found)
    if version and int(version[1]) < MIN_JAVA:
        raise EngineError("Java is too old for Spark 4.", f"Java {MIN_JAVA} or later", f"Java {version[1]}", hint)

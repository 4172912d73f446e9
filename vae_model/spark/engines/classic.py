"""The start of classic Spark. Beside ``jvm`` the only module that reaches past the DataFrame API (a test says so)."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_model.errors import EngineError
from vae_model.places import files
from vae_model.spark.engines.reachable import check_reachable
from vae_model.spark.frames import is_transient, reason

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

MIN_JAVA = 17
DELTA_EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
DELTA_CATALOG = "org.apache.spark.sql.delta.catalog.DeltaCatalog"


@contextmanager
def start(needs_delta: bool, needs_s3: bool) -> Iterator[SparkSession]:
    """Classic Spark: what spark-submit set up, else local[*]."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if not submitted:
        _check_java()
        # Classic Spark starts its workers with the `python3` of the PATH, not with this environment's.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    from pyspark.sql import SparkSession

    logging.getLogger("py4j").setLevel(logging.CRITICAL)  # it prints the stack of what it raises, Ctrl-C among them,
    logging.getLogger().addFilter(_is_not_of_py4j)  # some of it to the root logger itself
    builder = SparkSession.builder.appName("vae-anomaly")
    if not submitted:
        builder = builder.config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        builder = builder.config("spark.log.level", "ERROR").config("spark.sql.session.timeZone", "UTC")
        packages: list[str] = []
        if needs_s3:
            builder, packages = _with_s3(builder)
        if needs_delta:
            builder = _with_delta(builder, packages)
    else:
        _check_master()
    try:
        spark = builder.getOrCreate()
    except Exception as error:
        raise EngineError(
            "Classic Spark did not start.",
            found=reason(error),
            hint="Its own words stand above." + (_without_maven(needs_delta) if needs_delta or needs_s3 else ""),
            transient=is_transient(error),
        ) from error
    log.info("Engine: Spark %s, %s", spark.version, spark.sparkContext.master)
    try:
        if needs_delta:
            _check_delta(spark)
        yield spark
    finally:
        spark.stop()


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    return "py4j" not in record.pathname


def _without_maven(needs_delta: bool) -> str:
    """What to do where jars cannot be fetched."""
    import pyspark

    if not needs_delta:
        return " If they are about downloads: put hadoop-aws and its AWS bundle among Spark's jars, or engine: sail."
    _, name, release = delta_package(pyspark.__version__).split(":")
    jars = f"{name}-{release}.jar,delta-storage-{release}.jar"
    return (
        f" If they are about downloads, Delta's jars cannot be had by Maven here: put {jars.replace(',', ' and ')} "
        f"among Spark's own, or set PYSPARK_SUBMIT_ARGS='--jars {jars} pyspark-shell' (spark-submit: --jars {jars}); "
        "or output.format: parquet; or engine: sail, which needs none."
    )


def _check_master() -> None:
    """Raise EngineError where the standalone master that spark-submit was given does not answer."""
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()  # else the configuration is not spark-submit's
    master = SparkConf().get("spark.master", "") or ""
    if not master.startswith("spark://"):
        return
    try:
        check_reachable((host, int(port)) for host, _, port in (a.rpartition(":") for a in master[8:].split(",")))
    except (OSError, ValueError) as error:
        raise EngineError(
            "The Spark master does not answer.",
            "an address such as spark://host:7077 in --master",
            f"{master}: {error}",
            "Check that the cluster runs, and its address.",
            transient=True,
        ) from None


def _jars(pattern: str) -> list[Path]:
    """The jars of such a name among Spark's own."""
    import pyspark

    home = Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)
    return sorted(home.glob(f"jars/{pattern}.jar"))


def _with_s3(builder: Any) -> tuple[Any, list[str]]:
    """S3A for ``s3://`` too, at the server and in the region that the environment names, and the Maven package it is in
    unless it lies among Spark's own jars. Credentials are not put here: S3A finds them in the environment itself.
    """
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    endpoint = files.s3_endpoint()
    settings = {"s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem"}
    if endpoint:
        settings |= {"s3a.endpoint": endpoint, "s3a.path.style.access": "true"}
    if region or endpoint:
        settings["s3a.endpoint.region"] = region or "us-east-1"
    for name, value in settings.items():
        builder = builder.config(f"spark.hadoop.fs.{name}", value)
    hadoop = _jars("hadoop-client-api-*")
    if not hadoop or _jars("hadoop-aws-*"):
        return builder, []
    package = f"org.apache.hadoop:hadoop-aws:{hadoop[0].stem.removeprefix('hadoop-client-api-')}"
    log.info("S3: fetching %s by Maven, once (about 700 MB the first time)", package)
    return builder.config("spark.jars.packages", package), [package]


def _with_delta(builder: Any, packages: list[str]) -> Any:
    """Delta's extension, and its jars from Maven, after other packages, unless they lie among Spark's own."""
    builder = builder.config("spark.sql.extensions", DELTA_EXTENSION)
    builder = builder.config("spark.sql.catalog.spark_catalog", DELTA_CATALOG)
    if _jars("delta-spark_*"):
        return builder
    import pyspark

    log.info("Delta: fetching its jars by Maven, once (about 90 MB the first time)")
    return builder.config("spark.jars.packages", ",".join([delta_package(pyspark.__version__), *packages]))


def delta_package(spark: str) -> str:
    """The Maven coordinates of Delta for a version of Spark: of the delta-spark that is installed, else of the newest
    release for it.
    """
    series = ".".join(spark.split(".")[:2])
    try:
        release = version("delta-spark")
    except PackageNotFoundError:
        release = "3.3.3" if series.startswith("3.") else "4.4.0"
    if release.startswith("3."):
        return f"io.delta:delta-spark_2.12:{release}"
    # Up to 4.0 a release was for one Spark; since then it has jars for several, and their names say for which.
    return f"io.delta:delta-spark_{'' if release.startswith('4.0.') else f'{series}_'}2.13:{release}"


def _check_delta(spark: SparkSession) -> None:
    """Raise EngineError where the session's classes lack Delta."""
    try:
        spark._jvm.java.lang.Thread.currentThread().getContextClassLoader().loadClass(DELTA_CATALOG)
        extensions = spark.conf.get("spark.sql.extensions", "") or ""
    except Exception:
        raise EngineError(
            "Delta's jars are not on Spark's class path.",
            hint=f"spark-submit --packages {delta_package(spark.version)} (or --jars with the files), with "
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
        found = subprocess.run([java or "java", "-version"], capture_output=True, text=True, check=True).stderr  # noqa: S603 - a fixed question
    except (OSError, subprocess.CalledProcessError):
        raise EngineError(
            "Classic Spark needs Java, and none was found.", f"Java {MIN_JAVA} or later", hint=hint
        ) from None
    number = re.search(r'version "(\d+)', found)
    if number and int(number[1]) < MIN_JAVA:
        raise EngineError("Java is too old for Spark 4.", f"Java {MIN_JAVA} or later", f"Java {number[1]}", hint)

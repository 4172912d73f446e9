"""A session of Spark Connect: of a server that is already running, by SPARK_REMOTE, or of any address."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from vae_model.errors import EngineError, JobError
from vae_model.spark.engines.reachable import check_reachable, is_gone
from vae_model.spark.frames import reason

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

PATIENCE = 24
"""Seconds for a Spark Connect server to come back in."""
MODE = "SPARK_CONNECT_MODE_ENABLED"
"""pyspark.sql.functions asks this variable which kind of session it is for."""


def is_remote(spark: SparkSession) -> bool:
    """Whether a session is Spark Connect's."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def is_for_remote() -> bool:
    """Whether pyspark's functions are for a Connect session."""
    from pyspark.sql.utils import is_remote

    return bool(is_remote())


@contextmanager
def start(needs_delta: bool, needs_s3: bool) -> Iterator[SparkSession]:
    """A Spark Connect server that is already running, by SPARK_REMOTE."""
    url = os.environ.get("SPARK_REMOTE")
    if not url:
        raise EngineError(
            "engine: connect needs a server.", "its address in SPARK_REMOTE, such as sc://host:15002", "no SPARK_REMOTE"
        )
    is_platforms = url.startswith("unix:")
    if not is_platforms:
        _check_server(url)
    log.info("Engine: Spark Connect at %s", re.sub(r";.*", ";…", url))  # what follows may hold a token
    if is_platforms:
        yield _of_platform()
        return
    with client_session(url) as spark:
        yield spark


def _of_platform() -> SparkSession:
    """The session of a platform's own socket, which its own pyspark alone reaches (Databricks); it ends it too."""
    from pyspark.sql import SparkSession

    try:
        return SparkSession.builder.getOrCreate()
    except Exception as error:
        raise EngineError(
            "The Spark Connect server gives no session.",
            "an address such as sc://host:15002 in SPARK_REMOTE, or the platform's own pyspark",
            reason(error),
            "A pyspark that pip has installed hides the platform's: install this package without spark and sail.",
        ) from None


def _check_server(url: str) -> None:
    """Raise EngineError where nobody listens: the client itself would go on trying for minutes."""
    try:
        address = urlsplit(url.partition(";")[0])
        check_reachable([(address.hostname or "", address.port or 15002)])
    except (OSError, ValueError) as error:
        raise EngineError(
            "The Spark Connect server does not answer.",
            "an address such as sc://host:15002 in SPARK_REMOTE",
            str(error),
            "Check that the server runs, and its address.",
            transient=True,
        ) from None


@contextmanager
def client_session(url: str, channel: list[tuple[str, Any]] | None = None) -> Iterator[SparkSession]:
    """A session of the server at an address, stopped at the end; ``channel`` are options of gRPC.

    Raises EngineError where the server gives none, and JobError where it goes away within the block.
    """
    from pyspark.sql.connect import client
    from pyspark.sql.connect.session import SparkSession

    before = os.environ.get(MODE)
    os.environ[MODE] = "1"
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
                "The Spark Connect server gives no session.",
                found=reason(error),
                hint="Check that it runs, and its address.",
                transient=is_gone(error),
            ) from None
        _be_patient_for_seconds(spark)
        try:
            yield spark
        except Exception as error:
            if not is_gone(error):
                raise
            _be_patient_for_seconds(spark, retries=0)  # nor does stopping the session wait for it
            raise JobError(
                "The Spark Connect server went away during the job.",
                found=f"no answer in {PATIENCE} s",
                hint="A Delta output is as it was before, or whole. Look after the server, then run the job again.",
                transient=True,
            ) from error
        finally:
            with suppress(Exception):  # the work is done: a server that is gone cannot spoil it
                spark.stop()
    finally:
        if before is None:
            os.environ.pop(MODE, None)
        else:
            os.environ[MODE] = before


def _be_patient_for_seconds(spark: SparkSession, retries: int = 8) -> None:
    """Let the client ask a server that does not answer for about ``PATIENCE`` seconds, not ten minutes."""
    with suppress(ImportError):  # Spark 3.5's client has no such policies
        from pyspark.sql.connect.client.retries import DefaultPolicy

        waits = {"initial_backoff": 100, "backoff_multiplier": 3.0, "max_backoff": 5000, "jitter": 0}
        spark.client.set_retry_policies([DefaultPolicy(max_retries=retries, **waits)])

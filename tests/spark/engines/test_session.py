"""Starting an engine, losing it, and stopping a job: one message within seconds, and nothing half-written."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import IllegalArgumentException

from tests.conftest import REMOTE, clean_environment, running_connect_server
from tests.test_cli import CONFIG, pumps
from vae_model.cli import app, guarded
from vae_model.errors import EngineError
from vae_model.spark.engines import own
from vae_model.spark.engines.session import _of_another_thread, session

ROWS = 3_000_000
"""Enough for a job of several seconds."""


@pytest.fixture
def place(tmp_path, monkeypatch, no_session):
    """A folder with a small table and a config."""
    monkeypatch.chdir(tmp_path)
    pumps().to_parquet(tmp_path / "pumps.parquet", index=False)
    (tmp_path / "pumps.yaml").write_text(CONFIG.format(tmp=tmp_path))
    return tmp_path


@pytest.fixture
def scored(place):
    """The same with a model and a first output; then the table becomes a long one."""
    assert guarded(lambda: app(["run", "--config", "pumps.yaml"])) == 0
    many = np.random.default_rng(1).integers(0, 600, ROWS)
    pumps().iloc[many].to_parquet(place / "pumps.parquet", index=False)
    return place


def command(*arguments, env=None, before=()):
    """The command line as a process of its own; ``before`` it, a command that starts it."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "vae_model.cli", *arguments],
        env=clean_environment(**(env or {})), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def staged(folder):
    """What a job leaves beside its output while it runs."""
    return [path.name for path in folder.iterdir() if path.name.startswith(".scored.")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "shell"),
    [(signal.SIGINT, ()), (signal.SIGTERM, ()), (signal.SIGTERM, ("sh", "-c", 'trap "" INT; exec "$@"', "sh"))],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in a script's background"],
)
def test_a_job_that_is_stopped_leaves_the_previous_output(scored, number, shell):
    """Ctrl-C, and a scheduler's SIGTERM, end a job within seconds: exit code 130, the old rows, nothing beside them.
    Shells start what a script runs in the background with Ctrl-C ignored.
    """
    before = pd.read_parquet(scored / "scored")
    job = command("score", "--config", "pumps.yaml", before=shell)
    assert "Engine: Sail" in job.stderr.readline()
    time.sleep(2)  # by now rows are being scored
    job.send_signal(number)
    _, errors = job.communicate(timeout=30)
    assert job.returncode == 130, errors
    assert "Interrupted" in errors and "Traceback" not in errors
    assert staged(scored) == []
    pd.testing.assert_frame_equal(pd.read_parquet(scored / "scored"), before)


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, ["needs Java, and none was found", "Java 17 or later", "engine: sail"]),
        ("echo 'openjdk version \"11.0.2\" 2019-01-15' >&2", ["too old for Spark 4", "found: Java 11"]),
    ],
)
def test_classic_spark_without_its_java_says_so(place, capsys, monkeypatch, script, words):
    """No Java, or one that is too old, is one message before anything starts."""
    pytest.importorskip("py4j")
    home = place / "java"
    (home / "bin").mkdir(parents=True)
    if script:
        (home / "bin" / "java").write_text(f"#!/bin/sh\n{script}\n")
        (home / "bin" / "java").chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert guarded(lambda: app(["run", "--config", "pumps.yaml", "--set", "engine=spark"])) == 2
    errors = capsys.readouterr().err
    for word in words:
        assert word in errors


@pytest.mark.classic
def test_no_delta_and_no_maven_says_what_to_pass(place):
    """Where Delta's jars can be fetched from nowhere, the message names them and where to give them."""
    options = "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=1 -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=1"
    env = {"JAVA_TOOL_OPTIONS": f"{options} -Duser.home={place}", "SPARK_LOCAL_IP": "127.0.0.1"}
    started = time.monotonic()
    job = command("run", "--config", "pumps.yaml", "--set", "engine=spark", "--set", "output.format=delta",
                  "--set", f"output.path={place}/delta", env=env)  # fmt: skip
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 2, errors
    message = errors[errors.index("Error: ") :]
    for word in ("Delta's jars", "--jars", "delta-spark_", "delta-storage", "output.format: parquet"):
        assert word in message
    assert "\tat " not in message and "Traceback" not in errors
    assert time.monotonic() - started < 60
    assert not (place / "delta").exists()


@pytest.mark.classic
@pytest.mark.connect
def test_a_connect_server_that_dies_mid_run_is_told(scored, capsys, monkeypatch, tmp_path_factory):
    """A server killed while it scores is told within half a minute, as worth another try; the previous output stays."""
    folder = tmp_path_factory.mktemp("dying")
    before = pd.read_parquet(scored / "scored")
    with running_connect_server(folder) as (address, server):
        monkeypatch.setenv("SPARK_REMOTE", address)
        killed = []

        def kill_when_it_scores():
            while not staged(scored):  # Spark makes the folder first
                time.sleep(0.05)
            time.sleep(1)
            killed.append(time.monotonic())
            os.killpg(server.pid, signal.SIGKILL)

        threading.Thread(target=kill_when_it_scores, daemon=True).start()
        with pytest.warns(UserWarning, match="RETRIES_EXCEEDED"):
            assert guarded(lambda: app(["score", "--config", "pumps.yaml", "--set", "engine=connect"])) == 4
        assert time.monotonic() - killed[0] < 45
    errors = capsys.readouterr().err
    assert "The Spark Connect server went away during the job." in errors and "Traceback" not in errors
    pd.testing.assert_frame_equal(pd.read_parquet(scored / "scored"), before)


def test_what_the_embedded_engine_sends_is_not_compressed(no_session):
    """Rows that would compress to nothing arrive with all their bytes: gzip would take most of the time."""
    with session("sail", needs_delta=False) as spark:
        rows = spark.range(200_000).selectExpr("id * 0 AS zero")
        before = psutil.net_io_counters().bytes_recv
        table = rows.toArrow()
        assert psutil.net_io_counters().bytes_recv - before > table.nbytes >= 8 * 200_000


def test_one_value_and_nan_are_not_one_value(no_session, tmp_path):
    """NaN beside a single other value stays NaN: Parquet's statistics pass over it, and Sail would go by them."""
    pq.write_table(pa.table({"a": [1.0, float("nan"), 1.0]}), tmp_path / "nan.parquet")
    with session("sail", needs_delta=False) as spark:
        found = [row[0] for row in spark.read.parquet(f"{tmp_path}/nan.parquet").collect()]
        assert [value == 1.0 for value in found] == [True, False, True]
        assert spark.read.parquet(f"{tmp_path}/nan.parquet").where("isnan(a)").count() == 1


@pytest.mark.slow
def test_how_long_the_embedded_engine_waits_for_the_driver(no_session, monkeypatch):
    """Sail alone forgets a session in fifteen minutes: by a variable of this name."""
    monkeypatch.setenv("SAIL_SPARK__SESSION_TIMEOUT_SECS", "1")
    with session("sail", needs_delta=False) as spark:
        assert spark.range(3).count() == 3
        time.sleep(3)
        with pytest.raises(IllegalArgumentException, match="is not running"):
            spark.range(3).count()


def test_what_the_embedded_engine_puts_in_the_environment_is_taken_back(no_session, monkeypatch):
    """Variables for the server are there while it runs, unless the environment has its own, and gone after it."""
    for name in ("RUST_LOG", "SAIL_SPARK__SESSION_TIMEOUT_SECS", "AWS_ALLOW_HTTP", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SAIL_PARQUET__COMPRESSION", "zstd")
    pytest.importorskip("threadpoolctl")  # it leaves a variable of its own when it is imported
    before = dict(os.environ)
    with session("sail", needs_delta=False, needs_s3=True):
        during = dict(os.environ)
    assert dict(os.environ) == before
    added = {name for name in during if name not in before}
    assert {"RUST_LOG", "SAIL_EXECUTION__BATCH_SIZE", "AWS_ALLOW_HTTP", "AWS_REGION"} <= added
    assert during["SAIL_PARQUET__COMPRESSION"] == "zstd"
    assert int(during["SAIL_SPARK__SESSION_TIMEOUT_SECS"]) >= 365 * 24 * 3600


def in_a_thread(function):
    """What a function gives in a thread of its own."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result()


def test_the_connect_session_of_another_thread_is_taken(_sail, monkeypatch):
    """Platforms run a job in a thread whose session another one has made; one that another job has started here is
    that job's to stop, and is left to it.
    """
    monkeypatch.setenv(REMOTE, "1")
    monkeypatch.setattr(type(_sail), "_default_session", _sail)

    def taken():
        with session("auto", needs_delta=False) as found:
            return found

    assert in_a_thread(taken) is _sail and not _sail.is_stopped
    with own.marked(_sail, is_near=False):
        assert in_a_thread(_of_another_thread) is None
        assert not own.is_ours(_sail)


def test_a_platforms_own_address_is_left_to_its_pyspark(no_session, monkeypatch):
    """A socket (Databricks serverless) is no address to knock at: another pyspark says at once that it is none."""
    from pyspark.sql.connect.session import SparkSession

    monkeypatch.setenv(REMOTE, "1")
    monkeypatch.setenv("SPARK_REMOTE", "unix:///databricks/sparkconnect/grpc.sock;user_id=secret")
    monkeypatch.setattr(SparkSession, "_default_session", None)

    def start():
        with session("auto", needs_delta=False):
            """Never."""

    with pytest.raises(EngineError, match="gives no session") as error:
        in_a_thread(start)
    assert "hides the platform's" in str(error.value)

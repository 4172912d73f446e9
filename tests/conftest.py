"""One engine fixture for everything that touches a DataFrame: Sail, classic Spark with Delta, Spark Connect."""

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

REMOTE = "SPARK_CONNECT_MODE_ENABLED"
"""pyspark.sql.functions asks this variable which kind of session it is for."""
DELTA_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.session.timeZone": "UTC",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.driver.host": "127.0.0.1",
    "spark.jars.ivy": str(Path(tempfile.gettempdir()) / f"vae-anomaly-ivy-{os.getuid()}"),
}
"""Few partitions for small frames, and an Ivy folder of its own: a half-filled ~/.m2 breaks the default one."""


def delta_package():
    """The Maven coordinates of the Delta jars that go with the installed delta-spark."""
    from importlib.metadata import version

    spark = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{spark}_2.13:{version('delta-spark')}"


@pytest.fixture(scope="session", autouse=True)
def _engines_in_order(request):
    """The JVM first: pyspark forks to start it, which is not safe once gRPC, Sail and torch run threads here."""
    os.environ.setdefault("RUST_LOG", "error")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if any("engine" in item.fixturenames and item.get_closest_marker("classic") for item in request.session.items):
        request.getfixturevalue("_classic")


@pytest.fixture(scope="session")
def _sail(tmp_path_factory):
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    server = SparkConnectServer()
    server.start()
    host, port = server.listening_address
    session = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    yield session
    session.stop()
    server.stop()


@pytest.fixture(scope="session")
def _classic(tmp_path_factory):
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", "1g")
    for key, value in DELTA_CONF.items():
        builder = builder.config(key, value)
    builder = builder.config("spark.jars.packages", delta_package())
    builder = builder.config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("classic-warehouse")))
    session = builder.getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="session")
def connect_server(tmp_path_factory):
    """The address of a real Spark Connect server, a process of its own."""
    import pyspark

    home = Path(pyspark.__file__).parent
    folder = tmp_path_factory.mktemp("connect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = {
        **DELTA_CONF,
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    clean = ("SPARK_REMOTE", REMOTE, "SPARK_LOCAL_REMOTE", "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET")
    environment = {key: value for key, value in os.environ.items() if key not in clean}
    environment |= {"SPARK_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    command = [
        str(home / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--master", "local[2]", "--driver-memory", "1g", "--packages", delta_package(),
        *(part for key, value in conf.items() for part in ("--conf", f"{key}={value}")), "spark-internal",
    ]  # fmt: skip
    log = (folder / "server.log").open("wb")
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
    )

    def stop():
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)

    atexit.register(stop)  # an interrupted run leaves no server behind
    deadline = time.monotonic() + 180
    while True:
        assert server.poll() is None, (folder / "server.log").read_text()[-3000:]
        assert time.monotonic() < deadline, "the Connect server did not come up"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.2)
    yield f"sc://127.0.0.1:{port}"
    stop()
    log.close()


@pytest.fixture(scope="session")
def _connect(connect_server):
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(connect_server).create()
    yield session
    session.stop()  # before its server: a client whose server is gone keeps trying at exit


@pytest.fixture
def no_session(monkeypatch):
    """As in a process of its own: whatever session another test keeps is not there."""
    from vae_model.spark import engines

    monkeypatch.setattr(engines, "_existing_session", lambda: None)
    monkeypatch.delenv(REMOTE, raising=False)


ENGINES = ["sail", pytest.param("spark", marks=pytest.mark.classic), pytest.param("connect", marks=pytest.mark.classic)]


@pytest.fixture(params=ENGINES)
def engine(request, monkeypatch, tmp_path):
    """A Spark session on each engine in turn, in a working directory of the test's own."""
    session = request.getfixturevalue({"sail": "_sail", "spark": "_classic", "connect": "_connect"}[request.param])
    monkeypatch.chdir(tmp_path)  # Sail keeps its tables under the working directory
    if request.param == "spark":
        monkeypatch.delenv(REMOTE, raising=False)
    else:
        monkeypatch.setenv(REMOTE, "1")
    return session

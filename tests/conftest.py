"""One engine fixture for everything that touches a DataFrame: Sail, classic Spark with Delta, Spark Connect."""

import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hypothesis import settings

from tests.s3 import _s3_server, s3  # noqa: F401 - fixtures

settings.register_profile("patient", deadline=None)  # how long an example takes tells of the machine, not of the code
settings.load_profile("patient")

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


ROOT = Path(__file__).parents[1]
TEST, WORKER = (ROOT / ".venv" / name / "bin" / "python" for name in ("test", "worker"))
"""The Python with classic Spark and torch, and the Python of a cluster's workers: no torch, no pyspark, no project."""


def pytest_configure(config):
    """Let Spark before 4.2 be: it leaves sockets to the garbage collector, and 3.5 compares versions by distutils. And
    heed Ctrl-C, which what a script runs in the background ignores, its children too.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(PackageNotFoundError):
        if version("pyspark").startswith(("3.", "4.0.", "4.1.")):
            config.addinivalue_line("filterwarnings", "ignore:distutils Version classes:DeprecationWarning")
            config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what -m does
def pytest_collection_modifyitems(items):
    """On an engine with a JVM a job takes seconds: what is thorough is heavy there, or even too much for that."""
    for item in items:
        engine = getattr(item, "callspec", None) and item.callspec.params.get("engine")
        if any(engine in mark.args for mark in item.iter_markers("soak_on")):
            item.add_marker(pytest.mark.soak)
        elif engine in ("spark", "connect") and item.get_closest_marker("thorough"):
            item.add_marker(pytest.mark.heavy)


def asked(python, code):
    """What a line of Python prints in another environment."""
    return subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def delta_package(python=sys.executable):
    """The Maven coordinates of the Delta jars that go with the delta-spark of an environment."""
    code = (
        "import pyspark; from vae_model.spark.engines import classic; print(classic.delta_package(pyspark.__version__))"
    )
    return asked(python, code)


def spark_home(python=sys.executable):
    """The folder of classic Spark in an environment."""
    return Path(asked(python, "import pyspark; print(pyspark.__path__[0])"))


def free_port():
    """A port that nobody listens at just now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def clean_environment(**more):
    """The environment without what would tie a child to this process's sessions."""
    ours = (
        "SPARK_REMOTE",
        REMOTE,
        "SPARK_LOCAL_REMOTE",
        "PYSPARK_GATEWAY_PORT",
        "PYSPARK_GATEWAY_SECRET",
        "SPARK_HOME",
    )
    return {key: value for key, value in os.environ.items() if key not in ours} | more


@pytest.fixture(scope="session", autouse=True)
def _engines_in_order(request):
    """The JVM first: pyspark forks to start it, which is not safe once gRPC, Sail and torch run threads here."""
    os.environ.setdefault("RUST_LOG", "error")
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if any(
        "engine" in item.fixturenames and item.get_closest_marker("classic") and not item.get_closest_marker("connect")
        for item in request.session.items
    ):
        request.getfixturevalue("_classic")


@pytest.fixture(scope="session")
def _sail(tmp_path_factory):
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.session import SparkSession

    with pytest.MonkeyPatch.context() as patch:  # Sail forgets a session that tests without it keep waiting
        patch.setenv("SAIL_SPARK__SESSION_TIMEOUT_SECS", str(24 * 60 * 60))
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


@contextmanager
def running_connect_server(folder):
    """A real Spark Connect server, a process of its own whose workers lack this project: its address, and itself."""
    home, port = spark_home(TEST), free_port()
    conf = {
        **DELTA_CONF,
        "spark.connect.grpc.binding.port": str(port),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    environment = clean_environment(SPARK_HOME=str(home), PYSPARK_PYTHON=str(WORKER), PYSPARK_DRIVER_PYTHON=str(WORKER))
    command = [
        str(home / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--master", "local[2]", "--driver-memory", "1g", "--packages", delta_package(TEST),
        *(part for key, value in conf.items() for part in ("--conf", f"{key}={value}")), "spark-internal",
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip

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
    try:
        yield f"sc://127.0.0.1:{port}", server
    finally:
        stop()


@pytest.fixture(scope="session")
def connect_server(tmp_path_factory):
    """The address of the Spark Connect server that the tests share."""
    with running_connect_server(tmp_path_factory.mktemp("connect")) as (address, _):
        yield address


@pytest.fixture(scope="session")
def _connect(connect_server):
    from pyspark.sql.connect.session import SparkSession

    session = SparkSession.builder.remote(connect_server).create()
    yield session
    session.stop()  # before its server: a client whose server is gone keeps trying at exit


@pytest.fixture(autouse=True)
def _own_log():
    """A command line run in this process sets up its log; the next test starts without it."""
    yield
    log = logging.getLogger("vae_model")
    log.handlers[:], log.propagate = [], True


@pytest.fixture
def no_session(monkeypatch):
    """As in a process of its own: whatever session another test keeps is not there."""
    from vae_model.spark.engines import session

    monkeypatch.setattr(session, "_existing_session", lambda: None)
    monkeypatch.delenv(REMOTE, raising=False)


ENGINES = [
    "sail",
    pytest.param("spark", marks=pytest.mark.classic),
    pytest.param("connect", marks=[pytest.mark.classic, pytest.mark.connect]),
]


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


@pytest.fixture
def on_sail(request, monkeypatch):
    """Call a function with the embedded engine, which all others are held against. The last thing a test does: where
    it is not installed the rest is skipped.
    """

    def call(function):
        pytest.importorskip("pysail", reason="held against nothing: the embedded engine is not in this environment")
        session = request.getfixturevalue("_sail")
        with monkeypatch.context() as patch:
            patch.setenv(REMOTE, "1")
            return function(session)

    return call

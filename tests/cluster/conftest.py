"""A Spark standalone cluster: a master and two workers as processes of their own, and jobs submitted to it.

The driver runs in .venv/test, the Python workers in .venv/worker, which has numpy, pandas and pyarrow and nothing else.
"""

import atexit
import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.conftest import DELTA_CONF, ROOT, TEST, WORKER, clean_environment, delta_package, free_port, spark_home
from tests.test_cli import pumps

ROWS, FILES = 32_000, 4
CONFIG = """
name: pumps
source: {{path: {folder}/source}}
key: [id]
train: {{normal: pressure < 100, rows: 2000}}
model: {{path: {folder}/pumps.vae, steps: 200}}
decision: {{false_alarm_rate: 0.01}}
output: {{path: {folder}/scored, format: delta}}
"""
WITHOUT_DELTA = {key: value for key, value in DELTA_CONF.items() if "delta" not in f"{key} {value}"}
QUICK_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For processes that live for seconds on few cores."""
SPARK_CONF = {
    "spark.pyspark.driver.python": str(TEST),
    "spark.pyspark.python": str(WORKER),
    "spark.cores.max": "2",
    "spark.executor.cores": "1",
    "spark.executor.memory": "512m",
    "spark.driver.memory": "768m",
    "spark.sql.files.maxPartitionBytes": "1m",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.driver.extraJavaOptions": QUICK_JAVA,
    "spark.executor.extraJavaOptions": QUICK_JAVA,
    "spark.eventLog.enabled": "true",
    "spark.eventLog.rolling.enabled": "false",
    "spark.eventLog.compress": "false",
}
"""Two executors, one a worker, and no job before both are there; a task for each file of the source; an event log that
is one file of JSON lines."""


def wait_until(condition, seconds, what):
    """The condition's first answer that is true; an AssertionError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return answer


def end_group(process, signal_=signal.SIGKILL):
    """Signal a process and all that it started in its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal_)


@dataclass
class Submission:
    """A spark-submit that was started, in a folder of its own."""

    process: subprocess.Popen
    folder: Path

    def wait(self, seconds=300):
        """Its exit code."""
        return self.process.wait(seconds)

    @property
    def text(self):
        """All it said: spark-submit sends its Python's stderr to stdout."""
        return (self.folder / "out.log").read_text() + (self.folder / "err.log").read_text()

    def events(self, kind):
        """The event log's entries of one kind."""
        (log,) = (self.folder / "events").iterdir()
        events = [json.loads(line) for line in log.read_text().splitlines()]
        return [event for event in events if event["Event"] == f"SparkListener{kind}"]

    def scoring_tasks(self):
        """The ends of the tasks that wrote rows: scoring and writing are one pass."""
        ended = [event for event in self.events("TaskEnd") if event.get("Task Metrics")]
        return [event for event in ended if event["Task Metrics"]["Output Metrics"]["Records Written"]]

    def failed_tasks(self):
        """The ends of the tasks that did not succeed."""
        return [event for event in self.events("TaskEnd") if event["Task End Reason"]["Reason"] != "Success"]

    def python(self):
        """The driver's Python, a child of the JVM."""
        (python,) = [c for c in psutil.Process(self.process.pid).children() if "python" in c.name()]
        return python


class Cluster:
    """A master, two workers of two cores, and the applications on them."""

    def __init__(self, folder):
        self.folder, self.home = folder, spark_home(TEST)
        self.port, self.web = free_port(), free_port()
        self.url = f"spark://127.0.0.1:{self.port}"
        self.daemons, self.submissions = [], []

    def start(self):
        """Start the master, then the workers, and wait until it knows them."""
        deploy, web = "org.apache.spark.deploy", ("--webui-port", str(self.web))
        self._daemon(f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(self.port), *web)
        wait_until(self.state, 120, "the master answers")
        for i in range(2):
            place = ("--work-dir", str(self.folder / f"worker{i}"), "--webui-port", "0", "--host", "127.0.0.1")
            self._daemon(f"{deploy}.worker.Worker", "--cores", "2", "--memory", "1g", *place, self.url)
        wait_until(lambda: self.state().get("aliveworkers") == 2, 120, "two workers are registered")

    def _daemon(self, class_, *arguments):
        environment = self.environment(SPARK_DAEMON_MEMORY="256m", SPARK_LOCAL_DIRS=str(self.folder / "local"))
        log = (self.folder / f"daemon{len(self.daemons)}.log").open("wb")
        with log:
            daemon = subprocess.Popen(
                [str(self.home / "bin" / "spark-class"), class_, *arguments],
                cwd=self.folder, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.daemons.append(daemon)

    def environment(self, **more):
        """What the processes of this cluster find in their environment."""
        ours = clean_environment(SPARK_HOME=str(self.home), SPARK_LOCAL_IP="127.0.0.1", **more)
        return {key: value for key, value in ours.items() if not key.startswith(("PYSPARK_", "PYTHONPATH", "OMP_"))}

    def state(self):
        """What the master says of itself; nothing while it does not answer."""
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.web}/json/", timeout=5) as answer,
        ):
            return json.load(answer)
        return {}

    def idle(self):
        """Whether no application is left."""
        return self.state().get("activeapps") == [] and not self.executors()

    def executors(self):
        """The executors' processes."""
        return self._below(self.daemons, "CoarseGrainedExecutorBackend")

    @staticmethod
    def _below(processes, word):
        found = []
        for process in processes:
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.Error):
                    found += [child] if word in " ".join(child.cmdline()) else []
        return found

    def submit(self, folder, script, *arguments, conf=None, delta=False, package=None, master=None):
        """Start spark-submit in a folder."""
        (folder / "events").mkdir(parents=True)
        chosen = {**(DELTA_CONF if delta else WITHOUT_DELTA), **SPARK_CONF, **(conf or {})}
        chosen["spark.eventLog.dir"] = (folder / "events").as_uri()
        command = [str(self.home / "bin" / "spark-submit"), "--master", master or self.url]
        command += ["--packages", delta_package(TEST)] if delta else []
        command += ["--py-files", str(package)] if package else []
        command += [part for key, value in chosen.items() for part in ("--conf", f"{key}={value}")]
        with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
            process = subprocess.Popen(
                [*command, str(script), *map(str, arguments)],
                cwd=folder, env=self.environment(), stdout=out, stderr=err, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
        self.submissions.append(process)
        return Submission(process, folder)

    def clear(self):
        """End what tests left running and wait for the workers to notice."""
        for process in self.submissions:
            if process.poll() is None:
                end_group(process)
                process.wait(30)
        self.submissions.clear()
        wait_until(self.idle, 60, "the master has no application left")

    def stop(self):
        """End every process, executors and their Python included."""
        running = [daemon for daemon in self.daemons if daemon.poll() is None]
        left = [child for daemon in running for child in psutil.Process(daemon.pid).children(recursive=True)]
        for process in [*self.submissions, *running]:
            end_group(process)
        for child in left:  # pyspark.daemon leads a group of its own
            with suppress(psutil.Error):
                child.kill()
        for process in [*self.submissions, *running]:
            process.wait(30)
        self.submissions.clear()
        self.daemons.clear()


@pytest.fixture(scope="session")
def standalone(tmp_path_factory):
    """The cluster, for the whole session."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    atexit.register(cluster.stop)  # an interrupted run leaves no process behind,
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # nor does one that is told to end
    cluster.start()
    yield cluster
    cluster.stop()
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def cluster(standalone):
    """The cluster, without a trace of other tests."""
    yield standalone
    standalone.clear()


@pytest.fixture(scope="session")
def package():
    """The zip for --py-files, made by `make package`."""
    environment = ".venv/test/ready"  # taken as it is: making it anew would pull it from under this very process
    subprocess.run(["make", "--old-file", environment, "package"], cwd=ROOT, check=True, capture_output=True)
    return ROOT / "dist" / "vae_model.zip"


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder with the source, one file a task, and the config."""
    folder = tmp_path_factory.mktemp("pumps")
    (folder / "source").mkdir()
    rows = pumps(ROWS)
    for i, part in enumerate(np.array_split(np.arange(ROWS), FILES)):
        rows.iloc[part].to_parquet(folder / "source" / f"part{i:02}.parquet", index=False)
    (folder / "pumps.yaml").write_text(CONFIG.format(folder=folder))
    return folder


@pytest.fixture(scope="session")
def trained(standalone, place, package):
    """An undisturbed jobs/run.py into Delta: its model and its output are what the other tests compare with."""
    submission = standalone.submit(
        place / "run", ROOT / "jobs" / "run.py", "--config", place / "pumps.yaml", delta=True, package=package
    )
    assert submission.wait() == 0, submission.text[-3000:]
    standalone.clear()
    return submission


@pytest.fixture(scope="session")
def reference(trained, place):
    """The rows of the undisturbed run, without its id."""
    return delta_rows(place / "scored").drop_columns(["anomaly_run"])


@pytest.fixture
def score(cluster, trained, place, package, tmp_path):
    """Start jobs/score.py with the trained model into a Parquet folder of the test's own."""

    def start(*more, package=package, **how):
        arguments = ["--config", place / "pumps.yaml", "--set", f"output.path={tmp_path}/scored"]
        arguments += ["--set", "output.format=parquet", *more]
        return cluster.submit(tmp_path / "score", ROOT / "jobs" / "score.py", *arguments, package=package, **how)

    return start


def parquet_rows(folder):
    """The rows of a Parquet folder by key."""
    return by_key(pq.read_table(folder))


def scored_rows(folder):
    """The rows of a scored Parquet folder by key, without the id of their run."""
    return parquet_rows(folder).drop_columns(["anomaly_run"])


def delta_rows(folder):
    """The rows that the log of a Delta table says are there, by key."""
    live = {}
    for log in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, log.read_text().splitlines()):
            live |= {action[kind]["path"]: kind == "add" for kind in ("add", "remove") if kind in action}
    return by_key(pq.read_table([folder / unquote(path) for path, there in live.items() if there]))


def by_key(table):
    """Sorted rows; whether a column may be null is the format's business."""
    return pa.table({name: table[name] for name in table.column_names}).sort_by("id")


def previous_output(format_, place, target):
    """Put an earlier output at a place, and return how its rows are read."""
    if format_ == "delta":
        shutil.copytree(place / "scored", target)
        return delta_rows
    target.mkdir()
    pq.write_table(delta_rows(place / "scored").slice(0, 500), target / "part-0.parquet")
    return parquet_rows


def parts(folder):
    """The Parquet files anywhere under a folder."""
    with suppress(FileNotFoundError):  # one was moved while we looked
        return set(folder.rglob("*.parquet"))
    return set()

"""A standalone cluster: driver and workers with different Pythons, processes killed, libraries missing."""

import json
import os
import signal
import sys
import time
import venv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.cluster.conftest import FILES, ROWS, end_group, parts, previous_output, scored_rows, wait_until
from tests.conftest import WORKER, asked, free_port
from vae_model import Detector
from vae_model.runs.ledger import Folder

pytestmark = [pytest.mark.cluster, pytest.mark.classic]

IN_SCORING = """
import os, sys, time

def look(frame, event, argument):
    code, module = frame.f_code, frame.f_globals.get("__name__")
    if event == "call" and code.co_name == "__call__" and module == "vae_model.scoring.scorer":
        act()

os.register_at_fork(after_in_child=lambda: sys.setprofile(look))  # in each Python worker that pyspark.daemon forks
"""
"""Makes every Python worker act before it scores a batch. The product is not touched."""
SLOWLY = """
def act():
    if not os.path.exists({folder!r} + "/over"):
        open(f"{folder}/{{os.getpid()}}", "w").close()
        time.sleep(0.01)
"""
FAIL_ONCE = """
def act():
    try:
        os.close(os.open({marker!r}, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return
    raise RuntimeError("this task fails once")
"""
MANY_BATCHES = {"spark.sql.execution.arrow.maxRecordsPerBatch": "20"}
"""400 a task, some 4 seconds in slow motion."""


def worker_code(folder, code):
    """Spark settings that make every Python process of the executors run some code first."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(code)
    return {"spark.executorEnv.PYTHONPATH": str(folder)}


@dataclass
class SlowMotion:
    """A start of jobs/score.py whose Python workers take their time, and say so in a folder."""

    score: Callable
    folder: Path

    def start(self, *more, **how):
        """The job, submitted."""
        code = IN_SCORING + SLOWLY.format(folder=str(self.folder))
        return self.score(*more, conf=MANY_BATCHES | worker_code(self.folder / "code", code), **how)

    def worker(self):
        """The Python process that was the last to begin a batch."""
        return psutil.Process(int(max(self.folder.glob("[0-9]*"), key=os.path.getmtime).name))

    def end(self):
        """From now on at full speed."""
        (self.folder / "over").touch()


@pytest.fixture
def slowly(score, tmp_path_factory):
    """Scoring in slow motion, with the rest of the arguments as for ``score``."""
    return SlowMotion(score, tmp_path_factory.mktemp("slowly"))


def mid_scoring(folder):
    """Wait until some task has written its rows and others are at it."""
    before = parts(folder)
    wait_until(lambda: len(parts(folder) - before) > 2, 180, "scoring is under way")


def executors_of(tasks):
    """The ids of the executors that ran tasks."""
    return {task["Task Info"]["Executor ID"] for task in tasks}


def test_the_workers_python_is_not_the_drivers():
    """The workers' environment has what scoring needs, and neither torch nor pydantic, pyspark or this package."""
    names = ["numpy", "pandas", "pyarrow", "torch", "pydantic", "pyspark", "vae_model"]
    code = f"from importlib.util import find_spec as find; sys.path.remove(''); print([n for n in {names} if find(n)])"
    assert asked(WORKER, f"import sys; {code}") == str(names[:3])


def test_run_trains_on_the_driver_and_scores_on_both_executors(trained, reference, place):
    """jobs/run.py with --py-files scores every row once, on both executors, with the model that it saved."""
    tasks = trained.scoring_tasks()
    assert executors_of(tasks) == {"0", "1"}
    assert len(tasks) == FILES
    assert reference["id"].to_pylist() == list(range(ROWS))
    assert "Scored 32,000 rows: " in trained.text
    rows = pd.read_parquet(place / "source").sort_values("id", ignore_index=True)
    expected = Detector.load(str(place / "pumps.vae")).score(rows)
    scored = reference.select(expected.columns).to_pandas()
    for name in ("reconstruction_error", "anomaly_score", "anomaly_p_value"):
        np.testing.assert_allclose(scored[name], expected[name], rtol=1e-6)
    for name in ("is_anomaly", "anomaly_status", "anomaly_model"):
        assert scored[name].tolist() == expected[name].tolist()


def test_score_without_py_files_brings_its_own_package(score, reference, tmp_path):
    """jobs/score.py ships the driver's own package to workers that lack it, and gives the rows of `run`."""
    submission = score(package=None)
    assert submission.wait() == 0, submission.text[-3000:]
    assert executors_of(submission.scoring_tasks()) == {"0", "1"}
    assert scored_rows(tmp_path / "scored").equals(reference)


def test_an_executor_killed_while_scoring_changes_nothing(slowly, cluster, reference, tmp_path):
    """The tasks of an executor that dies are run again elsewhere, and the output is the undisturbed one."""
    submission = slowly.start()
    mid_scoring(tmp_path)
    cluster.executors()[0].kill()
    slowly.end()
    assert submission.wait() == 0, submission.text[-3000:]
    assert submission.events("ExecutorRemoved") and submission.failed_tasks()
    assert scored_rows(tmp_path / "scored").equals(reference)


def test_a_python_worker_killed_while_scoring_changes_nothing(slowly, reference, tmp_path):
    """The task of a Python process that dies is run again, and the output is the undisturbed one."""
    submission = slowly.start()
    mid_scoring(tmp_path)
    slowly.worker().kill()
    slowly.end()
    assert submission.wait() == 0, submission.text[-3000:]
    assert "Python worker exited unexpectedly" in json.dumps(submission.failed_tasks())
    assert scored_rows(tmp_path / "scored").equals(reference)


def test_a_task_that_fails_once_changes_nothing(score, reference, tmp_path):
    """An exception in the middle of scoring fails that attempt; the next one writes the undisturbed rows."""
    failing = worker_code(tmp_path / "failing", IN_SCORING + FAIL_ONCE.format(marker=str(tmp_path / "failed")))
    submission = score(conf=MANY_BATCHES | failing)
    assert submission.wait() == 0, submission.text[-3000:]
    (failed,) = submission.failed_tasks()
    assert "this task fails once" in json.dumps(failed)
    assert scored_rows(tmp_path / "scored").equals(reference)


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_killed_driver_leaves_the_previous_output(format_, slowly, cluster, place, tmp_path):
    """A driver that dies without a word while rows are written leaves the rows of before, readable."""
    target = tmp_path / "scored"
    read = previous_output(format_, place, target)
    before = read(target)
    submission = slowly.start("--set", f"output.format={format_}", delta=format_ == "delta")
    mid_scoring(tmp_path)
    end_group(submission.process, signal.SIGKILL)
    assert submission.wait() == -signal.SIGKILL
    wait_until(cluster.idle, 60, "the master drops the application")
    assert read(target).equals(before)


@pytest.mark.parametrize("who", ["python", "group"])
def test_an_interrupted_driver_tidies_up(who, slowly, cluster, place, tmp_path):
    """SIGINT, to the driver or as Ctrl-C to all of spark-submit, ends the job; its record is all that it leaves."""
    target = tmp_path / "scored"
    read = previous_output("parquet", place, target)
    before = read(target)
    submission = slowly.start()
    mid_scoring(tmp_path)
    if who == "python":
        submission.python().send_signal(signal.SIGINT)
    else:
        end_group(submission.process, signal.SIGINT)
    assert submission.wait(30) != 0
    wait_until(cluster.idle, 30, "the master drops the application")
    left = ["score", "scored", "scored_runs"]
    wait_until(lambda: sorted(path.name for path in tmp_path.iterdir()) == left, 10, "nothing else is left")
    runs = Folder(f"{target}_runs")
    wait_until(lambda: [record.status for record in runs.records()] == ["failed"], 30, "the run is recorded as failed")
    assert read(target).equals(before)
    assert "Traceback" not in submission.text


def no_java_stack(text):
    """Whether a text has none of the JVM's stack traces."""
    return "\tat org." not in text and "Traceback" not in text


def environment_without(library, folder):
    """The Python of an environment like the workers', without one library."""
    venv.create(folder, with_pip=False, symlinks=True)
    lib = f"lib/python3.{sys.version_info.minor}/site-packages"
    for entry in (WORKER.parents[1] / lib).iterdir():
        if not entry.name.startswith(library):
            (folder / lib / entry.name).symlink_to(entry)
    return folder / "bin" / "python"


def test_a_library_the_workers_lack_is_told_before_training(cluster, place, package, tmp_path):
    """Workers without pyarrow are found out before training, with the library, the version needed and what to do."""
    bare = environment_without("pyarrow", tmp_path / "bare")
    arguments = ["--config", place / "pumps.yaml", "--set", f"model.path={tmp_path}/new.vae"]
    arguments += ["--set", f"output.path={tmp_path}/scored", "--set", "output.format=parquet"]
    script = Path(__file__).parents[2] / "jobs" / "run.py"
    submission = cluster.submit(
        tmp_path / "run", script, *arguments, package=package, conf={"spark.pyspark.python": str(bare)}
    )
    assert submission.wait() == 2, submission.text[-3000:]
    assert "pyarrow" in submission.text and "pip install" in submission.text
    assert no_java_stack(submission.text)
    assert not (tmp_path / "new.vae").exists() and not (tmp_path / "scored").exists()


OTHER_PYTHON = """
import sys
from collections import namedtuple

version = namedtuple("version_info", "major minor micro releaselevel serial")(*sys.version_info)
sys.version_info = version._replace(minor=version.minor + 1)
"""


def test_another_python_on_the_workers_is_told(score, tmp_path):
    """Workers with another minor version of Python are found out at once; the message has both versions."""
    submission = score(conf=worker_code(tmp_path / "other", OTHER_PYTHON))
    assert submission.wait() == 2, submission.text[-3000:]
    minor = sys.version_info.minor
    assert f"3.{minor}" in submission.text and f"3.{minor + 1}" in submission.text
    assert no_java_stack(submission.text)
    assert not (tmp_path / "scored").exists()


def test_a_master_that_is_not_there_is_told_soon(score, tmp_path):
    """A master that nobody listens at is told within half a minute, with its address; try again."""
    address, begun = f"spark://127.0.0.1:{free_port()}", time.monotonic()
    submission = score(master=address)
    assert submission.wait(60) == 4, submission.text[-3000:]
    assert time.monotonic() - begun < 30
    assert address in submission.text
    assert no_java_stack(submission.text)


PROBE = """
import json, sys
from pathlib import Path
from pyspark.sql import SparkSession
import vae_model

def probe(batches):
    import ctypes, os
    from pathlib import Path
    import numpy, pandas
    import vae_model
    library, = Path(numpy.__path__[0] + ".libs").glob("*openblas*")
    blas = ctypes.CDLL(str(library)).scipy_openblas_get_num_threads64_()
    for batch in batches:
        answer = {"omp": os.environ.get("OMP_NUM_THREADS"), "blas": blas, "package": vae_model.__file__}
        yield pandas.DataFrame([answer])

spark = SparkSession.builder.getOrCreate()
rows = spark.range(8, numPartitions=8).mapInPandas(probe, "omp string, blas int, package string").collect()
Path(sys.argv[1]).write_text(json.dumps({"driver": vae_model.__file__, "workers": [row.asDict() for row in rows]}))
spark.stop()
"""


def probe(cluster, folder, package, cpus):
    """What tasks of so many CPUs say of their threads and of this package, and the driver of the latter."""
    folder.mkdir()
    (folder / "probe.py").write_text(PROBE)
    conf = {"spark.task.cpus": cpus, "spark.executor.cores": cpus, "spark.cores.max": 2 * cpus}
    submission = cluster.submit(
        folder / "submit", folder / "probe.py", folder / "answer.json", package=package, conf=conf
    )
    assert submission.wait() == 0, submission.text[-3000:]
    return json.loads((folder / "answer.json").read_text())


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_workers_threads_follow_the_tasks_cpus(cpus, cluster, package, tmp_path):
    """Spark gives a task's Python as many OpenMP threads as the task has CPUs, and NumPy's BLAS keeps to that.

    Driver and workers import the package from the zip that --py-files names.
    """
    answer = probe(cluster, tmp_path / "probe", package, cpus)
    assert {worker["omp"] for worker in answer["workers"]} == {str(cpus)}
    assert {worker["blas"] for worker in answer["workers"]} == {min(cpus, os.cpu_count() or 1)}
    assert all(f"/{package.name}/" in place for place in [answer["driver"], *(w["package"] for w in answer["workers"])])


COUNT_SCORERS = """
import os, sys

def count(frame, event, argument):
    built = event == "call" and frame.f_code.co_name == "from_bytes"
    if built and frame.f_globals.get("__name__") == "vae_model.scoring.scorer":
        with open({marker!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")

os.register_at_fork(after_in_child=lambda: sys.setprofile(count))  # in each Python worker
"""


def test_a_python_worker_builds_the_scorer_once(score, tmp_path):
    """Over all its tasks each Python worker builds one scorer from the broadcast bytes."""
    counting = worker_code(tmp_path / "counting", COUNT_SCORERS.format(marker=str(tmp_path / "built")))
    submission = score(conf={"spark.python.worker.reuse": "true"} | counting)
    assert submission.wait() == 0, submission.text[-3000:]
    assert len(submission.scoring_tasks()) == FILES
    built = (tmp_path / "built").read_text().split()
    assert len(built) == len(set(built)) == 2

"""Scoring jobs in processes of their own, which are killed at a given moment; and what their output holds then.

A process is forked from a server that has imported everything and started nothing, so that a job on the embedded engine
takes a second. It is killed whole, with the JVM that it may have started, as the kernel does it for lack of memory.
"""

import multiprocessing
import os
import signal
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from tests.conftest import DELTA_CONF, clean_environment
from tests.reliability.outputs import state
from vae_model import Config, cli
from vae_model.errors import VaeAnomalyError
from vae_model.places import swap
from vae_model.spark import run
from vae_model.spark.jobs import tries

CALLS = ("rename", "replace", "unlink", "remove", "rmdir", "mkdir")
"""By which a job changes files, as ``os`` has them; whatever writes a file ends in ``pipe_file``."""
PATIENCE = 240
"""Seconds after which a job is taken for stuck."""


@dataclass(frozen=True)
class Kill:
    """When a job is killed: before the so-manieth call that changes files or commits, as soon as the files in its
    folder have changed so often, or after a time.
    """

    at: Literal["call", "change", "second"]
    number: float


@dataclass(frozen=True)
class Job:
    """``vae-anomaly score`` on a config, with a run's id."""

    settings: dict
    run_id: str | None
    kill: Kill | None = None
    tries: int = tries.TRIES
    """How often it writes where another's commit comes between."""

    @property
    def config(self):
        """The config, checked."""
        return Config.model_validate(self.settings)

    @property
    def folder(self):
        """Where its output is, and whatever it leaves beside it."""
        return Path(self.settings["output"]["path"]).parent

    def killed(self, at, number):
        """The same job, to be killed."""
        return replace(self, kill=Kill(at, number))


@dataclass
class Ended:
    """What came of a job."""

    code: int
    """Its exit code, or minus the signal that ended it."""
    said: str = ""
    calls: list[str] = field(default_factory=list)
    """The calls that it could have been killed at."""
    changes: int = 0
    seconds: float = 0.0
    before: dict = field(default_factory=dict)
    """What a reader found in the output before the job began: see ``state``."""
    after: dict = field(default_factory=dict)
    """The same when it had gone well."""


# --- In the job's own process


def _perform(job, pipe, barrier):
    """Do a job, and send what came of it."""
    os.setsid()  # to be killed with all that it starts
    os.chdir(job.folder.parent)  # Spark leaves an empty folder where it is
    kept = clean_environment()
    for name in set(os.environ) - set(kept):
        del os.environ[name]
    os.environ.update({"RUST_LOG": "error", "SPARK_LOCAL_IP": "127.0.0.1"})
    log = os.open(job.folder.parent / f"{job.folder.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join([*(f"--conf {k}={v}" for k, v in DELTA_CONF.items()), "pyspark-shell"])

    def ready():
        pipe.send("ready")
        if barrier is not None:
            barrier.wait(PATIENCE)

    with cli._session(job.config) as spark:
        found = performed(spark, job, ready)
    pipe.send(found)


def performed(spark, job, ready=lambda: None, counted=True):
    """Do a job by a session that is there; calls are counted for the whole process."""
    found = Ended(0)
    try:
        found.before = state(spark, job.config)
        ready()
        tries.TRIES = job.tries
        began, moment = time.monotonic(), job.kill.number if job.kill and job.kill.at == "call" else 0
        with _counted(found.calls, moment) if counted else nullcontext():
            run(spark, job.config, job.run_id, train=False)
        found.seconds = time.monotonic() - began
        found.after = state(spark, job.config)
    except VaeAnomalyError as error:
        found.code, found.said = error.exit_code, str(error)
    except Exception:
        found.code, found.said = 1, traceback.format_exc()
    finally:
        tries.TRIES = Job.tries
    return found


@contextmanager
def _counted(passed, moment):
    """Note the calls that change files or commit, and be killed before the one at ``moment``. A commit counts twice:
    once more when it is done.
    """
    from fsspec.implementations.local import LocalFileSystem
    from pyspark.sql import DataFrameWriter, SparkSession
    from pyspark.sql.connect.readwriter import DataFrameWriter as ConnectWriter
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    undo = []

    def here(call):
        passed.append(call)
        if len(passed) == moment:
            os.killpg(0, signal.SIGKILL)
            time.sleep(PATIENCE)

    def around(owner, name, is_commit=lambda *_: False, always=True):
        call = getattr(owner, name)

        def counted(*arguments, **options):
            commits = is_commit(*arguments)
            if commits or always:
                here("commit" if commits else name)
            result = call(*arguments, **options)
            if commits:
                here("committed")
            return result

        setattr(owner, name, counted)
        undo.append((owner, name, call))

    for name in CALLS:
        around(os, name)
    around(LocalFileSystem, "pipe_file")
    around(swap.Local, "exchange")
    for writer in (DataFrameWriter, ConnectWriter):
        around(writer, "save", lambda *_: True)
    for session in (SparkSession, ConnectSession):
        around(session, "sql", lambda _, text, *__: text.startswith("MERGE"), always=False)
    try:
        yield
    finally:
        for owner, name, call in reversed(undo):
            setattr(owner, name, call)


# --- In the test's process


_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def together(*jobs):
    """Do jobs at the same time, each in a process of its own: what came of them."""
    barrier = _CONTEXT.Barrier(len(jobs))
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: ended(job, barrier), jobs))


def ended(job, barrier=None):
    """Do a job in a process of its own, killed when it says so; what came of it. Where there is a barrier it begins
    when the others do.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_perform, args=(job, theirs, barrier))
    process.start()
    theirs.close()
    found = Ended(0)
    try:
        with suppress(EOFError):  # it was killed
            message = _received(ours)
            if message == "ready":
                changes = _watched(process, job, ours)
                message = _received(ours)
                message.changes = changes
            found = message
        process.join(PATIENCE)
        found.code = process.exitcode or found.code
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
        ours.close()
    return found


def _received(pipe):
    assert pipe.poll(PATIENCE), "a job is stuck"
    return pipe.recv()


def _watched(process, job, pipe):
    """Kill a process in time, from outside; how often its files were seen to change."""
    kill = job.kill or Kill("call", 0)
    if kill.at == "second":
        if not pipe.poll(kill.number):
            os.killpg(process.pid, signal.SIGKILL)
        return 0
    seen, before = 0, _files(job.folder)
    while not pipe.poll(0.0005):
        if before != (now := _files(job.folder)):
            seen, before = seen + 1, now
            if kill.at == "change" and seen == kill.number:
                os.killpg(process.pid, signal.SIGKILL)
                break
    return seen


def _files(folder):
    """All that is in a folder, with the sizes."""
    found, places = [], [str(folder)]
    while places:
        with suppress(FileNotFoundError), os.scandir(places.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    places.append(entry.path)
                    found.append(entry.path)
                else:
                    with suppress(FileNotFoundError):
                        found.append((entry.path, entry.stat(follow_symlinks=False).st_size))
    return found

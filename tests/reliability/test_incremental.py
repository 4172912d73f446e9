"""What is new, scored again and again while runs are killed or meet each other, is what one run over all gives."""

import contextlib
import random
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from tests.spark.source.test_increments import Job, trained
from vae_model.errors import JobError, NothingToScore, OvertakenError
from vae_model.spark.jobs import score
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import read_output

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
COMMITS, KILLS = 50, 10
WAYS = [({"by": "version"}, "append", "delta"), ({"by": "version"}, "merge", "delta"),
        ({"column": "at"}, "append", "parquet")]  # fmt: skip
CHILD = """
import json, os, random, signal, sys, threading, time
from vae_model.config.load import parse_config
from vae_model.errors import NothingToScore
from vae_model.spark.engines.session import session
from vae_model.spark.jobs.run import run
config = parse_config(json.loads(sys.argv[1]))
draw = random.Random(int(sys.argv[2]))
with session("sail", True, False) as spark:
    wait = draw.uniform(0.0, 0.4)
    threading.Thread(target=lambda: (time.sleep(wait), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()
    try:
        run(spark, config, sys.argv[3], train=False)
    except NothingToScore:
        pass
os._exit(0)
"""


def contents(spark, config):
    """All rows of an output, to the last bit, but for which run wrote them."""
    return sorted(map(tuple, read_output(spark, config.output).drop("anomaly_run", "anomaly_reasons").collect()))


@pytest.mark.heavy
@pytest.mark.parametrize("engine", ["sail"], indirect=True)  # the runs that are killed are Sail's
@pytest.mark.parametrize(("by", "mode", "format_"), WAYS)
def test_small_commits_and_kills_give_what_a_full_rescore_gives(engine, tmp_path, by, mode, format_):
    """Of 50 commits, ten are scored by a run that is killed at a random moment and tried again: at the end the output
    is that of one run over all rows.
    """
    job, draw = Job(engine, tmp_path, trained(), by, mode), random.Random(16)
    output = job.config.output.model_copy(update={"format": format_})
    job.config = job.config.model_copy(update={"output": output})
    killed = sorted(draw.sample(range(COMMITS), KILLS))
    codes = []
    for number in range(COMMITS):
        # Of a Delta file of one value Sail reads the log's statistics instead, whose last bit may be another.
        job.add(*range(10 * number, 10 * number + 10), a=[draw.gauss(0, 1) for _ in range(10)])
        if mode == "merge" and number % 7 == 3:
            job.sql(f"UPDATE {{}} SET a = 5 WHERE id = {draw.randrange(10 * number)}")  # noqa: S608 - a number
        run_id = f"run {number}"
        if number in killed:
            command = [sys.executable, "-c", CHILD, job.config.model_dump_json(exclude_defaults=True), str(number)]
            done = subprocess.run([*command, run_id], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
            codes.append(done.returncode)
        if number in killed or draw.random() < 0.5:
            job.run(run_id)
    with contextlib.suppress(NothingToScore):
        job.run("the rest")
    print(f"\n{mode} {format_}: {codes.count(-signal.SIGKILL)} of {KILLS} runs were killed")
    assert codes.count(-signal.SIGKILL) > KILLS // 3
    whole = job.config.output.model_copy(update={"path": f"{tmp_path}/whole", "mode": "replace"})
    plain = job.config.source.model_copy(update={"incremental": None})
    full = job.config.model_copy(update={"source": plain, "output": whole})
    assert run(engine, full, train=False).rows_read == 10 * COMMITS
    assert contents(engine, job.config) == contents(engine, full)


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_of_two_runs_that_add_the_same_rows_one_is_told(engine, tmp_path, monkeypatch, format_, is_first):
    """A run that another comes before, between its look at the output and its commit, adds nothing and says so."""
    job = Job(engine, tmp_path, trained(), {"column": "at"}, "append", format=format_)
    job.add(1)
    if not is_first:
        job.run()
        job.add(2)
    real = score.sink.write

    def late(frame, writing):
        if writing.stamp.run == "late":
            job.add(3)
            job.run("quick")
        real(frame, writing)

    monkeypatch.setattr(score.sink, "write", late)
    with pytest.raises(OvertakenError) as error:
        job.run("late")
    assert error.value.exit_code == 4
    assert job.ids == ([1, 3] if is_first else [1, 2, 3])
    with pytest.raises(NothingToScore):
        job.run("late")


@pytest.mark.parametrize("is_killed", [False, True])
def test_of_two_commits_the_later_is_taken_back(engine, tmp_path, monkeypatch, is_killed):
    """A run that another's commit comes before, when it has looked for the last time, removes its rows; or the next run
    does where it was killed before that. Runs that went on meanwhile count all the same.
    """
    job = Job(engine, tmp_path, trained(), {"by": "version"}, "append")
    job.add(1)
    job.run("first")
    job.add(2)
    delta = sink.SINKS["delta"]
    real, settle = type(delta).write, type(delta)._settle

    def late(self, frame, writing):
        if writing.stamp.run == "late":
            job.run("quick")
        real(self, frame, writing)

    def settled(self, spark, writing):
        if writing.stamp.run == "late":
            assert job.ids == [1, 2, 2]
            if is_killed:
                raise KeyboardInterrupt
        settle(self, spark, writing)

    with monkeypatch.context() as patch:
        patch.setattr(type(delta), "write", late)
        patch.setattr(type(delta), "_settle", settled)
        with pytest.raises(KeyboardInterrupt if is_killed else OvertakenError):
            job.run("late")
    job.add(3)
    job.run("next")
    job.add(4)
    job.run("late")
    assert job.ids == [1, 2, 3, 4]
    own = {row[0]: row[1] for row in read_output(engine, job.config.output).select("id", "anomaly_run").collect()}
    assert own == {1: "first", 2: "quick", 3: "next", 4: "late"}


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_runs_at_the_same_moment_give_each_row_once(engine, tmp_path, format_):
    """Four threads add what is new at the same time, a few times: each row is there once, and the losers say so."""
    job = Job(engine, tmp_path, trained(), {"column": "at"}, "append", format=format_)
    outcomes = []

    def one(name):
        try:
            job.run(name)
            outcomes.append("done")
        except (OvertakenError, NothingToScore) as error:
            outcomes.append(type(error).__name__)
        except JobError as error:
            outcomes.append(f"JobError {error.exit_code}" if error.transient else str(error))

    for number in range(4):
        job.add(*range(5 * number + 1, 5 * number + 6))
        threads = [threading.Thread(target=one, args=(f"{number} {i}",)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(f"\n{format_}: {Counter(outcomes)}")
    assert set(outcomes) <= {"done", "OvertakenError", "NothingToScore", "JobError 4"}
    assert job.ids == list(range(1, 21))

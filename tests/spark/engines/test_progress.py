"""What an engine tells while a job runs."""

import threading
import time

import pytest
from pyspark.sql import functions as F
from pyspark.sql import types as T

from vae_model.spark.engines import progress


def slowly(frame):
    """A frame whose rows take a quarter of a second each."""

    def wait(value):
        time.sleep(0.25)
        return value

    return frame.select(F.udf(wait, T.LongType(), useArrow=False)("id"))


@pytest.mark.slow
def test_tasks_are_reported_while_a_job_runs(engine, request, monkeypatch):
    """Spark tells how many of a job's tasks are done; the embedded engine tells none, and time goes on being told."""
    monkeypatch.setattr(progress, "INTERVAL", 0.2)
    seen = []
    with progress.watch(engine, "Scoring", lambda *state: seen.append(state)):
        slowly(engine.range(0, 24, 1, 8)).collect()
    assert {what for what, *_ in seen} == {"Scoring"}
    if "sail" in request.node.callspec.id:
        assert {state[1:] for state in seen} == {(0, 0)}
    else:
        assert any(0 < done < total == 8 for _, done, total in seen)


@pytest.mark.slow
def test_nothing_is_asked_where_nobody_listens(engine):
    """Without a listener no thread runs."""
    assert engine.range(3).count() == 3  # whatever threads the engine's client keeps
    before = set(threading.enumerate())
    with progress.watch(engine, "Scoring", None):
        assert set(threading.enumerate()) == before
    with progress.watch(engine, "Scoring", lambda *_: None):
        assert len(set(threading.enumerate()) - before) == 1


@pytest.mark.slow
def test_an_error_in_the_block_comes_out_and_the_watch_ends(engine, monkeypatch):
    """An exception passes through, and no report comes after it."""
    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    seen = []
    with (
        pytest.raises(RuntimeError, match="stop"),
        progress.watch(engine, "Scoring", lambda *state: seen.append(state)),
    ):
        time.sleep(0.2)
        raise RuntimeError("stop")
    count = len(seen)
    time.sleep(0.2)
    assert len(seen) == count > 0

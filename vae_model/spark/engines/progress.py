"""What an engine tells of a job while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from vae_model.spark.engines import jvm

Tasks = Callable[[str, int, int], None]
"""Called with what is being done, the tasks that are done, and all of them (0 where the engine does not tell)."""

INTERVAL = 1.0
"""Seconds between two looks."""


@contextmanager
def watch(spark: Any, what: str, report: Tasks | None) -> Iterator[None]:
    """Report the tasks of whatever the session runs inside the block, about once a second."""
    if report is None:
        yield
        return
    over = Event()

    def look(state: Callable[[], tuple[int, int]]) -> None:
        while not over.wait(INTERVAL):
            with suppress(Exception):  # an engine that is going down tells no progress, and no error of its own here
                report(what, *state())

    with _state(spark) as state:
        thread = Thread(target=look, args=(state,), name="vae-anomaly-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def _state(spark: Any) -> Iterator[Callable[[], tuple[int, int]]]:
    """A function that gives tasks done and tasks in all."""
    if jvm.is_classic(spark):
        yield lambda: jvm.tasks(spark)
        return
    last = (0, 0)

    def remember(stages: Any, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
        nonlocal last
        running = list(stages or ())
        last = sum(s.num_completed_tasks for s in running), sum(s.num_tasks for s in running)

    if not hasattr(spark, "registerProgressHandler"):  # Connect before Spark 4
        yield lambda: last
        return
    spark.registerProgressHandler(remember)
    try:
        yield lambda: last
    finally:
        spark.removeProgressHandler(remember)

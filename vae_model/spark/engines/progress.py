"""What an engine tells of a job while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import TYPE_CHECKING

from vae_model.spark.engines.engine import State
from vae_model.spark.engines.lookup import engine_of

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Tasks = Callable[[str, int, int], None]
"""Called with what is being done, the tasks that are done, and all of them (0 where the engine does not tell)."""

INTERVAL = 1.0
"""Seconds between two looks."""


@contextmanager
def watch(spark: SparkSession, what: str, reports: Tasks | None) -> Iterator[None]:
    """Report the tasks of whatever the session runs inside the block, about once a second."""
    if reports is None:
        yield
        return
    over = Event()

    def look(state: State) -> None:
        while not over.wait(INTERVAL):
            with suppress(Exception):  # an engine that is going down tells no progress, and no error of its own here
                reports(what, *state())

    with engine_of(spark).watching(spark) as state:
        thread = Thread(target=look, args=(state,), name="vae-anomaly-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

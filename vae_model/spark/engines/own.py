"""Which sessions this package has started, and with which of them what this process can reach the engine can reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_started: list[tuple[SparkSession, bool]] = []


@contextmanager
def marked(spark: SparkSession, is_near: bool = True) -> Iterator[SparkSession]:
    """A session of our own, until the end of the block; ``is_near``: its engine is where this process is."""
    mark = (spark, is_near)
    _started.append(mark)
    try:
        yield spark
    finally:
        _started.remove(mark)


def is_ours(spark: SparkSession) -> bool:
    """Whether the session has this process's credentials and network; a given one may have its own."""
    return any(spark is one and is_near for one, is_near in _started)


def is_started(spark: SparkSession) -> bool:
    """Whether the session will be stopped by who started it here."""
    return any(spark is one for one, _ in _started)

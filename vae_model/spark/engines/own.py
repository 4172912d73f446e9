"""Which sessions this package has started: with these, what this process can reach is what the engine can reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_started: list[SparkSession] = []


@contextmanager
def marked(spark: SparkSession) -> Iterator[SparkSession]:
    """A session of our own, until the end of the block."""
    _started.append(spark)
    try:
        yield spark
    finally:
        _started.remove(spark)


def is_ours(spark: SparkSession) -> bool:
    """Whether the session has this process's credentials and network; a given one may have its own."""
    return any(spark is one for one in _started)

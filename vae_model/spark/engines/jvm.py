"""What only a session of classic Spark has: what reaches past the DataFrame API into the JVM and the RDDs.

No module but this and ``classic`` may: a Connect server and serverless platforms have neither (a test says so).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4


def is_classic(spark: Any) -> bool:
    """Whether a session is classic Spark's."""
    return hasattr(spark, "_jsc")


def runs_this_python(spark: Any) -> bool:
    """Whether the workers are of this machine and of this very Python."""
    context = spark.sparkContext
    return bool(context.master.startswith("local") and context.pythonExec == sys.executable)


def add_package(spark: Any, name: str, data: bytes) -> None:
    """Put a zip of modules on the workers' import path, unless they have this process's own."""
    if not runs_this_python(spark):
        context = spark.sparkContext
        path = Path(context._temp_dir, name)  # Spark's own folder of this run: it is served from there to the end
        path.write_bytes(data)
        context.addPyFile(str(path))


def broadcast(spark: Any, data: bytes) -> Callable[[], bytes]:
    """A function that gives ``data`` on a worker, where it arrives once an executor, however many tasks run there."""
    sent = spark.sparkContext.broadcast(data)
    return lambda: bytes(sent.value)


class PeakMemory:
    """The largest resident set of any Python worker, in bytes."""

    def __init__(self, spark: Any) -> None:
        from pyspark import AccumulatorParam

        class Largest(AccumulatorParam):  # type: ignore[misc]  # here: it travels by value, the workers lack the module
            def zero(self, value: int) -> int:
                return value

            def addInPlace(self, value1: int, value2: int) -> int:
                return max(value1, value2)

        self._largest = spark.sparkContext.accumulator(0, Largest())

    @property
    def bytes(self) -> int:
        """So far."""
        return int(self._largest.value)

    def observer(self) -> Callable[[], None]:
        """A function for a worker to call now and then."""
        largest = self._largest

        def observe() -> None:
            import resource

            largest.add(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

        return observe


@dataclass(frozen=True)
class Layout:
    """How a DataFrame that has not been computed lies before the engine."""

    partitions: int
    cores: int
    size: int
    """Spark's own estimate, in bytes; of files, what they take on disk."""


def layout(frame: Any) -> Layout | None:
    """The layout of a DataFrame, without any job; None where only running its shuffles would tell."""
    execution = frame._jdf.queryExecution()
    if "AdaptiveSparkPlan" in execution.executedPlan().toString():
        return None
    return Layout(
        partitions=execution.toRdd().getNumPartitions(),
        cores=frame.sparkSession.sparkContext.defaultParallelism,
        size=int(str(execution.optimizedPlan().stats().sizeInBytes())),
    )


def tasks(spark: Any) -> tuple[int, int]:
    """Tasks done and tasks in all of the stages that run now."""
    tracker = spark.sparkContext.statusTracker()
    stages = [stage for stage in map(tracker.getStageInfo, tracker.getActiveStageIds()) if stage]
    return sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)


@contextmanager
def cancelling(spark: Any) -> Iterator[None]:
    """What classic Spark does for this block ends when it is interrupted; for other engines nothing is done.

    PySpark means to end all that the driver does, but cannot: its py4j is busy waiting.
    """
    if not is_classic(spark):
        yield
        return
    context, tag = spark.sparkContext, f"vae-anomaly-{uuid4().hex}"
    context.addJobTag(tag)
    try:
        yield
    except KeyboardInterrupt:
        with suppress(Exception):  # the JVM may have gone first
            context.cancelJobsWithTag(tag)
        raise
    finally:
        with suppress(Exception):
            context.removeJobTag(tag)

"""Classic Spark: what its sessions have beyond the DataFrame API, the JVM and the RDDs.

No module but this and ``classic`` may reach for them: a Connect server and serverless platforms have neither (a test
says so).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from vae_model.spark.engines.engine import BytesSource, Capabilities, Engine, Partitioning, State

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Classic(Engine):
    """Classic Spark, in this process's own JVM."""

    name: ClassVar[str] = "classic Spark"
    can: ClassVar[Capabilities] = Capabilities(streaming=True, cancel=True, peak_memory=True)

    def workers_run_this_python(self, spark: SparkSession) -> bool:
        """In local mode, where the workers' Python is this one."""
        context = spark.sparkContext
        return bool(context.master.startswith("local") and context.pythonExec == sys.executable)

    def add_package(self, spark: SparkSession, name: str, data: bytes) -> None:
        """Put a zip of modules on the workers' import path, unless they have this process's own."""
        if not self.workers_run_this_python(spark):
            context = spark.sparkContext
            path = Path(context._temp_dir, name)  # Spark's own folder of this run: it is served from there to the end
            path.write_bytes(data)
            context.addPyFile(str(path))

    def send(self, spark: SparkSession, name: str, data: bytes) -> BytesSource:
        """A broadcast: the bytes arrive once an executor, however many tasks run there."""
        sent = spark.sparkContext.broadcast(data)
        return lambda: bytes(sent.value)

    @contextmanager
    def watching(self, spark: SparkSession) -> Iterator[State]:
        """The tasks of the stages that run now."""
        tracker = spark.sparkContext.statusTracker()

        def tasks() -> tuple[int, int]:
            stages = [stage for stage in map(tracker.getStageInfo, tracker.getActiveStageIds()) if stage]
            return sum(stage.numCompletedTasks for stage in stages), sum(stage.numTasks for stage in stages)

        yield tasks

    def partitioning(self, frame: DataFrame) -> Partitioning | None:
        """How rows are spread; None where only running the frame's shuffles would tell."""
        execution = frame._jdf.queryExecution()
        if "AdaptiveSparkPlan" in execution.executedPlan().toString():
            return None
        return Partitioning(
            partitions=execution.toRdd().getNumPartitions(),
            cores=frame.sparkSession.sparkContext.defaultParallelism,
            size=int(str(execution.optimizedPlan().stats().sizeInBytes())),
        )

    def peak_memory(self, spark: SparkSession) -> WorkerMemory:
        """A meter of the Python workers' memory, which a Spark accumulator brings to the driver."""
        return WorkerMemory(spark)

    @contextmanager
    def cancelling(self, spark: SparkSession) -> Iterator[None]:
        """What Spark does for this block ends when it is interrupted.

        PySpark means to end all that the driver does, but cannot: its py4j is busy waiting.
        """
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


class WorkerMemory:
    """The largest resident set of any Python worker, in bytes."""

    def __init__(self, spark: SparkSession) -> None:
        from pyspark import AccumulatorParam

        class Largest(AccumulatorParam):  # type: ignore[misc]  # here: it travels by value, the workers lack the module
            def zero(self, value: int) -> int:
                return value

            def addInPlace(self, value1: int, value2: int) -> int:
                return max(value1, value2)

        self._largest: Any = spark.sparkContext.accumulator(0, Largest())

    @property
    def bytes(self) -> int:
        """In bytes, so far; 0 where the workers' system does not tell."""
        return int(self._largest.value)

    def observer(self) -> Callable[[], None]:
        """A function for a worker to call now and then."""
        largest = self._largest

        def observe() -> None:
            import sys

            if sys.platform == "win32":  # it has no such module
                return
            import resource

            unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, the others KiB
            largest.add(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)

        return observe

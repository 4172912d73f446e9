"""An engine: what its sessions can do beyond the DataFrame API.

``Engine`` is any Spark Connect server, whose sessions have the DataFrame API and nothing else. ``sail.Sail`` and
``jvm.Classic`` say what differs on theirs. An engine keeps nothing of a session.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pyspark.errors import PySparkException

from vae_model.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

CLOSURE_LIMIT = 1 << 20
"""Bytes of a model that travel inside the function on Spark Connect. The function is part of every plan that is sent,
so that a larger model goes once, as an artifact."""
MESSAGE_LIMIT = 100 << 20
"""gRPC refuses a message of 128 MiB: the largest closure where there are no artifacts (Sail)."""

BytesSource = Callable[[], bytes]
"""A function that gives bytes on a worker."""
State = Callable[[], tuple[int, int]]
"""A function that gives the tasks that are done, and all of them; 0 and 0 where the engine does not tell."""


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Each was tried on it; a sink's mode names those that it needs."""

    merge: bool = True
    """MERGE INTO a Delta table, at a price that does not double with each column that has one value."""
    replace_where: bool = True
    """Delta's overwrite of the rows that match a predicate."""
    replace_where_by_name: bool = True
    """``replaceWhere`` for a table by its name, and not by its path alone."""
    commit_metadata: bool = True
    """What the session's Delta commits are to carry can be set, for those of MERGE too."""
    transactions: bool = True
    """Delta's ``txnAppId`` and ``txnVersion``: a repeated append is passed over."""
    history: bool = True
    """The versions of a Delta table, and the files of each."""
    artifacts: bool = True
    """Files and modules sent to the workers of a session."""
    nan_in_delta: bool = True
    """NaN read as it is from a Delta table whose statistics pass over it."""
    any_path: bool = True
    """Delta tables at paths of any letters, in the place that the path says."""
    base_path: bool = True
    """The columns in the folders' names of files that are named one by one (the reader's ``basePath``)."""
    arrow_types: bool = False
    """Parquet read by the Arrow schema that its writer may have left in it, even where that has types of no engine."""
    orc: bool = True
    """Files of the format ORC."""
    variant: bool = True
    """Parquet columns of the type VARIANT, as what they are."""
    encodings: bool = True
    """CSV in other encodings than UTF-8."""
    line_ends: bool = False
    """CSV whose lines end in two ways, with and without a carriage return."""
    metadata: bool = True
    """What a column carries beside its type is in its schema, and can be set."""
    void_in_delta: bool = True
    """Columns of nulls alone, without a type, in a Delta table."""
    nested_variant: bool = True
    """Structs with a VARIANT in them, read back from a Delta table."""
    streaming: bool = False
    """Structured Streaming with a ``foreachBatch`` that runs in this process."""
    cancel: bool = False
    """The job of one thread ended from outside it, and no other's."""
    peak_memory: bool = False
    """The memory of its Python workers told to the driver."""


@dataclass(frozen=True)
class Partitioning:
    """How the rows of a DataFrame that has not been computed are spread."""

    partitions: int
    cores: int
    size: int
    """Spark's own estimate, in bytes; of files, what they take on disk."""


class PeakMemory(Protocol):
    """The largest resident set of any Python worker."""

    @property
    def bytes(self) -> int:
        """In bytes, so far."""

    def observer(self) -> Callable[[], None]:
        """A function for a worker to call now and then."""


class Engine:
    """What any Spark Connect server does; subclasses say what differs on theirs."""

    name: ClassVar[str] = "Spark Connect"
    can: ClassVar[Capabilities] = Capabilities()

    def literal(self, path: str) -> str:
        """A path that is no pattern, whatever its letters, as the reader of files takes it."""
        return re.sub(r"([\[\]{}*?\\])", r"\\\1", path)

    def workers_run_this_python(self, spark: SparkSession) -> bool:
        """Whether the workers are known to run this very Python, with its libraries."""
        return False

    def add_package(self, spark: SparkSession, name: str, data: bytes) -> None:
        """Put a zip of modules on the workers' import path. A server that takes none may have the modules itself:
        its workers are asked before they are used.
        """
        _add_artifact(spark, name, data, pyfile=True)

    def send(self, spark: SparkSession, name: str, data: bytes) -> BytesSource:
        """Send bytes to the workers; ``name`` is unique to them. What is pickled with the answer is small.

        Up to ``CLOSURE_LIMIT`` bytes travel in the function itself, more as an artifact of the session. Raises
        EngineError where neither can take them.
        """
        if len(data) > CLOSURE_LIMIT and self.can.artifacts and _add_artifact(spark, name, data, file=True):
            return _artifact(name)
        if len(data) > MESSAGE_LIMIT:
            raise EngineError(
                "The model is too large for this engine.",
                f"at most {MESSAGE_LIMIT >> 20} MiB",
                f"{len(data) >> 20} MiB",
                "Use fewer columns, or engine: spark.",
            )
        return lambda: data

    @contextmanager
    def watching(self, spark: SparkSession) -> Iterator[State]:
        """The tasks of what the session runs inside the block."""
        last = (0, 0)

        def remember(stages: Iterable[Any] | None, inflight_tasks: int, operation_id: str | None, done: bool) -> None:
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

    def partitioning(self, frame: DataFrame) -> Partitioning | None:
        """How rows are spread, without running any job; None where that cannot be told."""
        return None

    def peak_memory(self, spark: SparkSession) -> PeakMemory | None:
        """A meter of the workers' memory; None where there is none."""
        return None

    def cancelling(self, spark: SparkSession) -> AbstractContextManager[None]:
        """What the engine does for this block ends when the block is interrupted, where the engine ``can.cancel``."""
        return nullcontext()


def _artifact(name: str) -> BytesSource:
    def read() -> bytes:
        from pathlib import Path

        from pyspark import SparkFiles  # the session's own files, wherever the server put them

        return Path(SparkFiles.get(name)).read_bytes()

    return read


def _add_artifact(spark: SparkSession, name: str, data: bytes, **kind: bool) -> bool:
    """Send a file to the server of a Connect session; whether it takes any."""
    with tempfile.TemporaryDirectory(prefix="vae-anomaly-") as folder:
        path = Path(folder, name)
        path.write_bytes(data)
        try:
            spark.addArtifact(str(path), **kind)
        except PySparkException as error:
            log.debug("%s was not sent: %s", name, error)
            return False
    return True

"""Columns, types and errors as Spark has them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

try:
    from py4j.protocol import Py4JError
except ImportError:  # the Connect client comes without py4j
    Py4JError = PySparkException

from vae_model.features.schema import Column
from vae_model.places import credentials, identifiers

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame
    from pyspark.sql.types import StructType

ENGINE_ERRORS = (PySparkException, Py4JError)
"""What an engine raises: classic Spark leaves some of the JVM's errors as py4j's own."""
_TRANSIENT = re.compile(
    r"Concurrent\w*Exception|DELTA_CONCURRENT|Failed to commit transaction|Metadata changed since last commit"
    r"|ExecutorLostFailure|Python worker exited unexpectedly"
    r"|StatusCode\.(UNAVAILABLE|DEADLINE_EXCEEDED)|Connection (refused|reset|timed out|aborted)|SocketTimeoutException"
    r"|UnknownHostException|NoHttpResponseException|error sending request|(operation|request) timed out"
    r"|SlowDown|Service ?Unavailable"
)
"""What engines say when another try may go well: a commit lost to another writer, workers lost, no answer."""

_FAMILIES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "integer"),
    **dict.fromkeys(("float", "double"), "float"),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "timestamp"),
    **{name: name for name in ("boolean", "string", "date")},
    "void": "null",
}


def column(name: str) -> SparkColumn:
    """A column of any name; dots in it are letters, not fields."""
    return F.col(identifiers.quote(name))


def columns(frame: DataFrame) -> list[Column]:
    """The columns of a DataFrame."""
    return [Column(f.name, _family(f.dataType.simpleString()), f.dataType.simpleString()) for f in frame.schema]


def _family(type_: str) -> str | None:
    if type_.startswith(("decimal", "varchar", "char")):
        return "decimal" if type_.startswith("decimal") else "string"
    if type_.startswith("array<"):
        return "array" if _family(type_[6:-1]) in ("integer", "float", "decimal") else None
    return _FAMILIES.get(type_)


def to_arrow(frame: DataFrame) -> pa.Table:
    """All rows of a DataFrame, here, as Arrow; timestamps in UTC."""
    if hasattr(frame, "toArrow"):
        return frame.toArrow()
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = to_arrow_schema(frame.schema)  # Spark 3.5: what toPandas is made of there; of no rows there is no batch
    batches = frame._collect_as_arrow()
    return pa.Table.from_batches(batches, None if batches else schema).cast(schema)


def from_arrow(schema: pa.Schema) -> StructType:
    """An Arrow schema as Spark has it."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(schema)


def reason(error: Exception) -> str:
    """The first telling line of an engine's error, without its stack and plan."""
    lines = [line.strip().removeprefix(": ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("An error occurred while calling", "at "))]
    if telling and telling[0].endswith(":"):  # Spark 3.5: only that a thread failed
        causes = [line.removeprefix("Caused by: ") for line in telling if line.startswith("Caused by: ")]
        telling = [line for line in causes if not line.endswith(":")] or telling
    if raised := re.findall(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)", str(error)):
        telling = [raised[-1]]  # on a worker: the engine's own first line only says that something was
    first = telling[0].partition(" SQLSTATE:")[0].partition(": <?xml")[0] if telling else type(error).__name__
    return credentials.redact(first)[:400]


def is_transient(error: Exception) -> bool:
    """Whether an engine's error may be gone when the same job is run again."""
    return bool(_TRANSIENT.search(str(error)))

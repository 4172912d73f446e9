"""Columns, types and errors as Spark has them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
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
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

ENGINE_ERRORS = (PySparkException, Py4JError)
"""What an engine raises: classic Spark leaves some of the JVM's errors as py4j's own."""
READ_ERRORS = (*ENGINE_ERRORS, pa.ArrowException, ValueError, OverflowError)
"""What bringing rows here raises: also what pyspark and Arrow say of values that Python or Arrow has no room for, such
as a year beyond 9999."""
_CONFLICT = re.compile(
    r"Concurrent\w*Exception|DELTA_CONCURRENT|(Protocol|Metadata)ChangedException|DELTA_(PROTOCOL|METADATA)_CHANGED"
    r"|Failed to commit transaction|Metadata changed since last commit|Missing commit file: expected version"
)
"""What engines say of a commit that another writer's came before."""
_TRANSIENT = re.compile(
    r"ExecutorLostFailure|Python worker exited unexpectedly"
    r"|StatusCode\.(UNAVAILABLE|DEADLINE_EXCEEDED)|Connection (refused|reset|timed out|aborted)|SocketTimeoutException"
    r"|UnknownHostException|NoHttpResponseException|error sending request|(operation|request) timed out"
    r"|SlowDown|Service ?Unavailable"
)
"""What engines say when another try may go well: workers lost, no answer."""

_STACK = ("An error occurred while calling", "at ", "Caused by: ", "Suppressed: ", "... ", "JVM stacktrace:", "<_")
"""How lines begin that are no message."""
_WRAPPED = re.compile(r"^.*Job aborted due to stage failure: Task .*?\((?:TID \d+\) \(.*?|TID \d+)\): ")
_EXCEPTION = re.compile(r"^org\.apache\.spark\.(\w+\.)*\w+Exception: (?=\S)")
_SAYS_LITTLE = re.compile(r":$|^\[FAILED_READ_FILE|^(\[TASK_WRITE_FAILED\]|Job aborted|Task failed while writing rows)")
"""A message that leaves what happened to its cause."""
_DATA = [
    (r"The value ", r" of the type \""),
    (r"[Cc]annot cast string '", r"' to "),
    (r"Can't cast value ", r" to type "),
    (r"[Ee]rror while parsing value '", r"' as type"),
    (r"Row data: ", r"$"),
    (r"detected in record parsing: ", r"\.\s*Parse Mode|$"),
    (r"For input string: ", r"$|\n"),
    (r"Unrecognized token '", r"': was expecting"),
    (r"Text '", r"' could not be parsed"),
    (r"[Cc]ould not convert ", r" with type "),
    (r"violated by row with values:", r"$"),
]
"""Between which words engines quote a row, the readers of CSV and JSON and casts above all."""

_FAMILIES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "integer"),
    **dict.fromkeys(("float", "double"), "float"),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "timestamp"),
    **{name: name for name in ("boolean", "string", "date", "binary")},
    "void": "null",
}


def column(name: str) -> SparkColumn:
    """A column of any name; dots in it are letters, not fields."""
    return F.col(identifiers.quote(name))


def table_place(spark: SparkSession, table: str) -> tuple[str, str]:
    """The folder of a table and its format, as the catalog has them; empty where it says none.

    It is what the table's description says after its columns, one of which may have any name.
    """
    described = spark.sql(f"DESCRIBE TABLE EXTENDED {identifiers.table(table)}").collect()
    found = {str(row[0]): str(row[1]) for row in described}
    return re.sub(r"^file:/+", "/", found.get("Location", "")).rstrip("/"), found.get("Provider", "").lower()


def free_name(taken: Iterable[str], stem: str) -> str:
    """``stem``, or it with a number: a name that no column has, in any case, as Spark folds it."""
    folded = {name.upper().lower() for name in taken}
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(1)))
    return next(name for name in names if name not in folded)


def without(rows: DataFrame, known: DataFrame, names: Sequence[str]) -> DataFrame:
    """The rows that are not among others, by some columns; a null is a value like any other."""
    other = free_name(rows.columns, "__known")
    renamed = known.select(*(column(name).alias(f"{other}{i}") for i, name in enumerate(names)))
    condition = F.lit(True)
    for i, name in enumerate(names):
        condition = condition & column(name).eqNullSafe(F.col(f"{other}{i}"))
    return rows.join(renamed, condition, "left_anti")


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
    """The telling line of an error that an engine raised, without stack, plan, and the data of the row it met."""
    text = _without_data(str(error))
    if raised := re.findall(r"Traceback \(most recent call last\):\n(?:[ \t].*\n)*(\S.*)", text):
        found = raised[-1]  # on a worker: the engine's own first line only says that something was
    elif status := re.search(r"status = StatusCode\.(\w+)", text):
        found = _of_call(status[1], text)
    else:
        found = _of_lines([line.strip().removeprefix(": ") for line in text.splitlines()])
    found = found.partition(": <?xml")[0].strip() or type(error).__name__
    return credentials.redact(found)[:400]


def _of_call(status: str, text: str) -> str:
    """What gRPC says of a call that failed. Some messages are empty; an engine that broke off left none."""
    told = re.search(r'details = "(.+)"', text) or re.search(r'debug_error_string = "(.+)"', text)
    broke_off = "; the engine broke off without a word, its own log may say more" if "(RST_STREAM" in text else ""
    return f"{status}: {told[1]}{broke_off}" if told else status


def _of_lines(lines: list[str]) -> str:
    """The first line that says something; where it only says that a file or a task failed, with the cause."""
    telling = [line for line in lines if line and not line.startswith(_STACK)]
    first = next((line for line in telling if not line.endswith(":")), "".join(telling[:1]))
    first = _plain(_WRAPPED.sub("", first))
    if not _SAYS_LITTLE.search(first):
        return first
    causes = [_plain(line.removeprefix("Caused by: ")) for line in lines if line.startswith("Caused by: ")]
    cause = next((cause for cause in causes if not _SAYS_LITTLE.search(cause)), "")
    if not cause or first.endswith(":"):
        return cause or first
    return f"{first.partition('. ')[0].rstrip('.')}. {cause}"


def _plain(line: str) -> str:
    """A line without SQLSTATE and the name of Spark's exception."""
    return _EXCEPTION.sub("", line).partition(" SQLSTATE:")[0].strip()


def _without_data(text: str) -> str:
    """An engine's words with … for what it quotes of a row: that is the user's own, and no matter for a log."""
    for before, after in _DATA:
        text = re.sub(f"(?s)({before}).+?({after})", r"\1…\2", text)
    return text


def is_transient(error: Exception) -> bool:
    """Whether an engine's error may be gone when the same job is run again."""
    return is_conflict(error) or bool(_TRANSIENT.search(_without_data(str(error))))


def is_conflict(error: Exception) -> bool:
    """Whether an engine's error says that another writer committed to the same table meanwhile."""
    return bool(_CONFLICT.search(_without_data(str(error))))

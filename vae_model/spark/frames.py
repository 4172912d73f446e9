"""Columns, types and errors as Spark has them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

try:
    from py4j.protocol import Py4JError
except ImportError:  # the Connect client comes without py4j
    Py4JError = PySparkException

from vae_model.features.schema import Column
from vae_model.places import credentials, identifiers

REASONS_TYPE = "array<struct<feature:string,share:double,observed:string,expected:string>>"
OUTPUT_TYPES = ("double", "double", "double", "boolean", REASONS_TYPE, "string", "string")
"""Spark's types of the columns in ``OUTPUT``."""

ENGINE_ERRORS = (PySparkException, Py4JError)
"""What an engine raises: classic Spark leaves some of the JVM's errors as py4j's own."""

_FAMILIES = {
    **dict.fromkeys(("tinyint", "smallint", "int", "bigint"), "integer"),
    **dict.fromkeys(("float", "double"), "float"),
    **dict.fromkeys(("timestamp", "timestamp_ntz"), "timestamp"),
    **{name: name for name in ("boolean", "string", "date")},
    "void": "null",
}


def column(name: str) -> Any:
    """A column of any name; dots in it are letters, not fields."""
    return F.col(identifiers.quote(name))


def columns(frame: Any) -> list[Column]:
    """The columns of a DataFrame."""
    return [Column(f.name, _family(f.dataType.simpleString()), f.dataType.simpleString()) for f in frame.schema]


def _family(type_: str) -> str | None:
    if type_.startswith(("decimal", "varchar", "char")):
        return "decimal" if type_.startswith("decimal") else "string"
    if type_.startswith("array<"):
        return "array" if _family(type_[6:-1]) in ("integer", "float", "decimal") else None
    return _FAMILIES.get(type_)


def to_arrow(frame: Any) -> pa.Table:
    """All rows of a DataFrame, here, as Arrow; timestamps in UTC."""
    if hasattr(frame, "toArrow"):
        return frame.toArrow()
    from pyspark.sql.pandas.types import to_arrow_schema

    schema = to_arrow_schema(frame.schema)  # Spark 3.5: what toPandas is made of there; of no rows there is no batch
    batches = frame._collect_as_arrow()
    return pa.Table.from_batches(batches, None if batches else schema).cast(schema)


def reason(error: Exception) -> str:
    """The first telling line of an engine's error, without its stack and plan."""
    lines = [line.strip().removeprefix(": ") for line in str(error).splitlines()]
    telling = [line for line in lines if line and not line.startswith(("An error occurred while calling", "at "))]
    if telling and telling[0].endswith(":"):  # Spark 3.5: only that a thread failed
        causes = [line.removeprefix("Caused by: ") for line in telling if line.startswith("Caused by: ")]
        telling = [line for line in causes if not line.endswith(":")] or telling
    first = telling[0].partition(" SQLSTATE:")[0].partition(": <?xml")[0] if telling else type(error).__name__
    return credentials.redact(first)[:400]

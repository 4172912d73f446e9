"""The source: opening a table and holding it against the config; columns, types and errors as Spark has them."""

from __future__ import annotations

import logging
import re
from collections import Counter
from contextlib import suppress
from typing import Any

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

try:
    from py4j.protocol import Py4JError
except ImportError:  # the Connect client comes without py4j
    Py4JError = PySparkException

from vae_model.config.sections import Source
from vae_model.errors import InputError, SchemaError, SourceError, StorageError
from vae_model.features.schema import Column
from vae_model.places import credentials, files, identifiers
from vae_model.scoring.scorer import OUTPUT
from vae_model.spark.ours import is_ours

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
log = logging.getLogger(__name__)


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


def open_source(spark: Any, source: Source) -> Any:
    """The source as a DataFrame, its schema known. Raises SourceError where it cannot be opened."""
    _look_at(spark, source)
    try:
        if source.table is not None:
            frame = spark.table(identifiers.table(source.table))
        else:
            frame = spark.read.format(source.format).options(**source.options).load(files.for_engine(source.path or ""))
        names = frame.schema.names  # a Connect frame is analysed only when asked
    except ENGINE_ERRORS as error:
        what = f"Table {source.table}" if source.table else f"The {source.format} source at {source.path}"
        found = reason(error)
        raise SourceError(f"{what} cannot be opened.", found=found, hint=_source_hint(source, found)) from None
    if not names:  # what Sail makes of a path where nothing is
        raise SourceError(f"The {source.format} source at {source} cannot be opened.", found="no file with columns",
                          hint=_source_hint(source))  # fmt: skip
    folded = Counter(name.lower() for name in names)
    twins = [name for name in names if folded[name.lower()] > 1]
    if twins:
        raise SchemaError(
            f"Columns that differ only in case, or not at all: {', '.join(twins)}.",
            hint="Spark folds case: rename one of each.",
        )
    return frame


def _look_at(spark: Any, source: Source) -> None:
    """Raise SourceError where the bucket is missing, denied or out of reach: an engine would try for minutes.

    Only for an engine of our own, which has the same credentials and network as this process.
    """
    if source.path is None or not is_ours(spark):
        return
    try:
        files.exists(re.split(r"/[^/]*[*?\[{]", source.path)[0])  # the folder of a pattern
    except StorageError as error:
        raise SourceError(f"The source {source} cannot be opened.", found=error.found, hint=error.hint) from None
    except InputError:  # fsspec's library for it is not installed; the engine's own may do
        return


def _source_hint(source: Source, found: str = "") -> str:
    if source.table is not None:
        return "Check the table's name and catalog."
    if "No FileSystem for scheme" in found:
        return "This Spark session knows no such paths: write s3a:// for s3://, or give it the jars for them."
    with suppress(Exception):  # a hint is not worth an error of its own
        there = files.present_format(source.path or "")
        if there is None:
            return "Nothing is there: check source.path (a relative path starts at the working directory)."
        if there != source.format:
            return f"It looks like {there}: check source.format."
    return "Check source.path and source.format."


def where(frame: Any, predicate: str | None, key: str) -> Any:
    """Rows of ``frame`` that match a SQL predicate from the config; ``key`` is its dotted name, for the message."""
    if predicate is None:
        return frame
    try:
        matching = frame.where(F.expr(predicate))
        _ = matching.select(F.lit(1)).schema  # Connect would answer for the filter alone from its cache
    except ENGINE_ERRORS as error:
        raise SourceError(
            f"The predicate {key} does not fit the source.",
            f"a SQL condition over {', '.join(frame.columns[:12])}{', …' if len(frame.columns) > 12 else ''}",
            f"{predicate!r}: {reason(error)}",
        ) from None
    return matching


def check_clash(names: list[str], prefix: str) -> None:
    """Refuse a source that already has a column named like an output column (in any case: Spark folds case)."""
    taken = {name.lower() for name in names}
    clash = [prefix + name for name in OUTPUT.names if (prefix + name).lower() in taken]
    if clash:
        raise SchemaError(
            f"The source already has {'columns' if len(clash) > 1 else 'a column'} named like the output's: "
            f"{', '.join(clash)}.",
            hint="Set output.prefix, for example output: {prefix: vae_}.",
        )

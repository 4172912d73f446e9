"""Source and sink: opening a table, holding it against the config, writing the scored rows so that a failed job
leaves the previous output readable.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import functions as F

try:
    from py4j.protocol import Py4JError
except ImportError:  # the Connect client comes without py4j
    Py4JError = PySparkException

from vae_model import credentials, identifiers, storage
from vae_model.config import Output, Place, Source
from vae_model.errors import InputError, OutputError, SchemaError, SourceError, StorageError
from vae_model.features.schema import Column
from vae_model.scoring import OUTPUT
from vae_model.spark import staging
from vae_model.spark.ours import is_ours
from vae_model.spark.spread import writer

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
            frame = (
                spark.read.format(source.format).options(**source.options).load(storage.for_engine(source.path or ""))
            )
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
        storage.exists(re.split(r"/[^/]*[*?\[{]", source.path)[0])  # the folder of a pattern
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
        there = present_format(source.path or "")
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


def check_output(spark: Any, source: Source, output: Output, frame: Any) -> None:
    """Before any work: the output is not the source, is of the format that is there, can be written, and (append)
    has the columns of ``frame``, the source, with the output columns after them. Raises OutputError.
    """
    if _same_place(spark, source, output):
        raise OutputError(
            "The output is the same place as the source.", "two places", f"both are {output}", "Change output."
        )
    if output.table is not None:
        _check_schema(spark, output.table)
    if output.path is not None:
        try:
            _check_folder(output, output.path)
        except InputError as error:
            # Delta needs nothing of this machine, and another's engine may have rights that this process has not.
            if output.format != "delta" or is_ours(spark) or storage.protocol(output.path) == "file":
                raise
            log.warning("The output could not be looked at before the job: %s", str(error).replace("\n ", ""))
    there_now = existing(spark, output) if output.mode == "append" else None
    if there_now is None:
        return
    old = [(f.name, f.dataType.simpleString()) for f in there_now.schema]
    new = [(f.name, f.dataType.simpleString()) for f in frame.schema]
    new += [(output.prefix + name, type_) for name, type_ in zip(OUTPUT.names, OUTPUT_TYPES, strict=True)]
    if old != new:
        differs = [f"{name}: {type_}" for name, type_ in set(old) ^ set(new)] or ["their order"]
        raise OutputError(
            f"Rows cannot be appended to {output}: its columns differ.",
            "the source's columns and the output columns, in order",
            f"differing: {', '.join(sorted(differs))}",
            "Use mode: replace, or another output.",
        )


def _check_folder(output: Output, path: str) -> None:
    """Raise OutputError where something of another format lies, or nothing can be written."""
    try:
        there = present_format(path)
    except StorageError as error:
        raise OutputError(f"The output {path} cannot be written.", found=error.found, hint=error.hint) from None
    if there not in (None, output.format):
        raise OutputError(
            f"The output {path} holds something else.",
            f"{output.format}, or nothing",
            there,
            "Set output.format to what is there, or choose another output.path.",
        )
    storage.check_writable(path, folder=True)


def present_format(path: str) -> str | None:
    """What lies at a path: parquet, delta, another format's extension, or None for nothing (an empty folder too).

    Raises StorageError where that cannot be learnt.
    """
    if not storage.exists(path):
        return None
    if storage.exists(f"{path.rstrip('/')}/_delta_log"):
        return "delta"
    fs, inner = storage.locate(path)
    with storage.explained(path):
        names = [name for name in fs.find(inner) if not re.search(r"(^|/)[_.][^/]*(/|$)", name.removeprefix(inner))]
    return _format_of_file(names[0]) if names else None


def _format_of_file(name: str) -> str:
    stem = re.sub(r"\.(gz|snappy|zst|bz2)$", "", name.lower())
    _, dot, extension = stem.rpartition("/")[2].rpartition(".")
    return {"parq": "parquet", "jsonl": "json", "tsv": "csv"}.get(extension, extension) if dot else "a file"


def _check_schema(spark: Any, table: str) -> None:
    """Raise OutputError where the schema that a table should be in does not exist."""
    schema = identifiers.schema(table)
    if schema and not spark.catalog.databaseExists(schema):
        raise OutputError(
            f"The output table {table} has no place to be in.",
            f"the schema {schema}",
            "no such schema",
            f"CREATE SCHEMA {schema}, or check the name.",
        )


def _same_place(spark: Any, source: Place, output: Place) -> bool:
    if source.table and output.table:
        return _qualified(spark, source.table) == _qualified(spark, output.table)
    if source.table or output.table:
        return False
    one, other = (storage.canonical(place.path or "") for place in (source, output))
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _qualified(spark: Any, table: str) -> list[str]:
    """The parts of a table's name with those it leaves out; Spark folds case."""
    parts = identifiers.parts(table)
    outer = [spark.catalog.currentCatalog(), spark.catalog.currentDatabase()] if len(parts) < 3 else []
    return [part.lower() for part in [*outer, *parts][-3:]]


def existing(spark: Any, output: Output) -> Any:
    """What is at the output now, as a DataFrame; None where there is nothing."""
    if output.table is not None:
        return read_output(spark, output) if spark.catalog.tableExists(identifiers.table(output.table)) else None
    return read_output(spark, output) if present_format(output.path or "") == output.format else None


def read_output(spark: Any, output: Output) -> Any:
    """The output as a DataFrame."""
    if output.table is not None:
        return spark.table(identifiers.table(output.table))
    return spark.read.format(output.format).load(storage.for_engine(output.path or ""))


def write(frame: Any, output: Output) -> None:
    """Write the scored rows. Until all of them are scored, a reader finds the previous output."""
    if output.format == "delta":  # one commit to the Delta log
        saver = _replacing(writer(frame, "delta"), output)
        if output.mode == "replace":
            saver = saver.option("overwriteSchema", "true")
        if re.search(r"[ ,;{}()\n\t=]", "".join(frame.columns)):
            saver = saver.option("delta.columnMapping.mode", "name")  # Delta refuses such names without it
        if output.table is not None:
            saver.saveAsTable(identifiers.table(output.table))
        else:
            saver.save(storage.for_engine(output.path or ""))
    elif output.table is not None:
        _write_parquet_table(frame, output.table, output)
    else:
        staging.write(frame, output)


def _replacing(saver: Any, output: Output) -> Any:
    return saver.mode({"replace": "overwrite", "append": "append"}[output.mode])


def _write_parquet_table(frame: Any, table: str, output: Output) -> None:
    """Score into a table beside the output, then copy: Sail cannot rename tables, but a copy of rows that are already
    scored does not fail half-way for a reason of ours.
    """
    spark = frame.sparkSession
    target, staged = identifiers.table(table), identifiers.table(table, f"_staged_{uuid4().hex[:8]}")
    try:
        writer(frame, "parquet").saveAsTable(staged)
        rows = spark.table(staged)
        if output.mode == "append" and spark.catalog.tableExists(target):
            rows.write.insertInto(target)  # by position: the columns were found the same
        else:
            _replacing(writer(rows, "parquet"), output).saveAsTable(target)
    finally:
        with suppress(*ENGINE_ERRORS):
            spark.sql(f"DROP TABLE IF EXISTS {staged}")

"""The sink: where scored rows go, held against the config before any work, and written so that a failed job leaves the
previous output readable.
"""

from __future__ import annotations

import logging
from typing import Any

from vae_model.config.sections import Output, Place, Source
from vae_model.errors import InputError, OutputError, StorageError
from vae_model.places import files, identifiers
from vae_model.scoring.scorer import OUTPUT
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import OUTPUT_TYPES
from vae_model.spark.sinks import delta, parquet

log = logging.getLogger(__name__)


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
            if output.format != "delta" or is_ours(spark) or files.protocol(output.path) == "file":
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
        there = files.present_format(path)
    except StorageError as error:
        raise OutputError(f"The output {path} cannot be written.", found=error.found, hint=error.hint) from None
    if there not in (None, output.format):
        raise OutputError(
            f"The output {path} holds something else.",
            f"{output.format}, or nothing",
            there,
            "Set output.format to what is there, or choose another output.path.",
        )
    files.check_writable(path, folder=True)


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
    one, other = (files.canonical(place.path or "") for place in (source, output))
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
    return read_output(spark, output) if files.present_format(output.path or "") == output.format else None


def read_output(spark: Any, output: Output) -> Any:
    """The output as a DataFrame."""
    if output.table is not None:
        return spark.table(identifiers.table(output.table))
    return spark.read.format(output.format).load(files.for_engine(output.path or ""))


def write(frame: Any, output: Output) -> None:
    """Write the scored rows. Until all of them are scored, a reader finds the previous output."""
    if output.format == "delta":
        delta.write(frame, output)
    elif output.table is not None:
        parquet.write_parquet_table(frame, output.table, output)
    else:
        parquet.write(frame, output)

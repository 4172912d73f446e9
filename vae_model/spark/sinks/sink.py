"""The sink: where scored rows go, held against the config before any work, and written so that a failed job leaves the
previous output readable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from vae_model.config.tables import Output, Place, Source
from vae_model.errors import InputError, OutputError, StorageError, nearest
from vae_model.places import files, identifiers
from vae_model.runs.stamp import CONTRACT, Stamp
from vae_model.scoring.output import OUTPUT
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import column, from_arrow
from vae_model.spark.sinks import chain, merging, sliced
from vae_model.spark.sinks.columns import check_columns
from vae_model.spark.sinks.delta import Delta
from vae_model.spark.sinks.metadata import without_metadata
from vae_model.spark.sinks.parquet import Parquet
from vae_model.spark.sinks.reading import existing
from vae_model.spark.sinks.types import check_types
from vae_model.spark.sinks.writing import Sink, Writing

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

SHOWN = 5
"""Columns of a row that are shown in an error."""
_ODD = re.compile(r"[^A-Za-z0-9/_.+&=,;:!@$'()-]")
"""Letters that Sail writes otherwise than they are; each was tried."""
SINKS: dict[str, Sink] = {"delta": Delta(), "parquet": Parquet()}
"""By ``output.format``."""


def check_output(
    spark: SparkSession, source: Source, output: Output, frame: DataFrame, key: list[str], added: pa.Schema = OUTPUT
) -> None:
    """Before any work: the output is not the source, is of the format that is there, can be written, can hold the
    columns of ``frame``, the source, and, where rows of it are to stay, has columns that they fit, with those that are
    ``added`` to them. Raises OutputError.
    """
    check_mode(spark, output)
    check_apart(spark, "output", output, {"source": source})
    if output.table is not None:
        _check_schema(spark, output.table)
    if output.path is not None:
        _check_letters(spark, output, output.path)
        try:
            _check_folder(output, output.path)
        except InputError as error:
            # Delta needs nothing of this machine, and another's engine may have rights that this process has not.
            if output.format != "delta" or is_ours(spark) or files.protocol(output.path) == "file":
                raise
            log.warning("The output could not be looked at before the job: %s", str(error).replace("\n ", ""))
    check_types(frame, output)
    for name in output.partition_by:
        if name not in frame.columns:
            raise OutputError(
                f"output.partition_by names {name!r}, which is no column of the source.",
                hint=nearest(name, frame.columns) or f"Its columns are {', '.join(frame.columns[:12])}.",
            )
    SINKS[output.format].check(frame, output)
    if output.mode == "replace":
        return
    there = existing(spark, output)
    if there is None:
        return
    own = [StructField(output.prefix + f.name, f.dataType) for f in from_arrow(added)]
    check_columns(StructType([*frame.schema.fields, *own]), there.schema, output)
    _check_stamp(spark, there, output, key)


def check_slice(rows: DataFrame, output: Output, slice_: str, is_filter: bool) -> None:
    """Raise OutputError where rows to score lie outside the slice that they are to replace. ``is_filter``: the slice's
    predicate is the very one that has chosen them.
    """
    if output.format == "parquet":
        sliced.check_predicate(rows, output, slice_)
    if is_filter:
        return
    outside = rows.where(~F.coalesce(F.expr(slice_), F.lit(False)))
    found = outside.select(*map(column, rows.columns[:SHOWN])).limit(1).collect()
    if found:
        raise OutputError(
            f"Rows to score lie outside the slice of {output} that they are to replace.",
            f"rows where {slice_}",
            "a row with " + ", ".join(f"{name} {value}" for name, value in found[0].asDict().items()),
            "Make source.where choose rows of the slice alone, or widen output.where.",
        )


def _check_stamp(spark: SparkSession, there: DataFrame, output: Output, key: list[str]) -> None:
    """Raise OutputError where the last run wrote by another contract, or for rows with another key."""
    stamp = SINKS[output.format].stamp(spark, output)
    if output.mode == "merge" and (stamp is None or stamp.mode != output.mode):
        merging.check_keys(there, key, f"The output {output} has a key more than once: no row is its only one.")
    if stamp is None:
        return
    for what, now, before in (("contract version", CONTRACT, stamp.contract), ("key", key, stamp.key)):
        if now != before:
            raise OutputError(
                f"The output {output} was written by a run with another {what}.",
                f"{what} {now}",
                f"{what} {before}",
                "Choose another output, or write this one anew with mode: replace.",
            )


def mend(output: Output) -> None:
    """Put right what a job that was killed has left at an output, before anything looks at it.

    What cannot be reached is left: the checks that come after say so.
    """
    if output.path is not None:
        with suppress(InputError):
            SINKS[output.format].mend(output.path)


def undo(spark: SparkSession, output: Output) -> None:
    """Remove what increments have added that came too late and were killed before they removed it themselves."""
    SINKS[output.format].undo(spark, output)


def check_mode(spark: SparkSession, output: Output) -> str:
    """What a run may rely on in the output's mode. Raises OutputError where the format has no such mode, or the engine
    cannot do what the mode needs.
    """
    modes = SINKS[output.format].modes(output)
    mode = modes.get(output.mode)
    if mode is not None and not mode.needs:  # any engine will do: none is asked
        return mode.promise
    engine = engine_of(spark)
    lacking = {name: [need for need in one.needs if not getattr(engine.can, need)] for name, one in modes.items()}
    if mode is not None and not lacking[output.mode]:
        return mode.promise
    allowed = [name for name, needs in lacking.items() if not needs]
    cannot = ", ".join(lacking.get(output.mode, ())).replace("_", " ")
    kind = "tables by name" if output.table else "paths"
    raise OutputError(
        f"output.mode {output.mode} cannot be had here.",
        f"for {output.format} {kind} on {engine.name}: {' or '.join(allowed)}",
        f"{engine.name} cannot do: {cannot}" if cannot else "no such mode",
        "Change output.mode, output.format or engine.",
    )


def _check_letters(spark: SparkSession, output: Output, path: str) -> None:
    """Raise OutputError where the engine would write a Delta table elsewhere: Sail takes the URL's escapes of a space,
    a letter beyond ASCII and the like for the name of the folder.
    """
    odd = _ODD.search(files.canonical(path).partition("://")[2]) if output.format == "delta" else None
    if odd and not engine_of(spark).can.any_path:
        raise OutputError(
            f"{engine_of(spark).name} cannot write Delta at {path}.",
            "a whole path of letters from a to z, digits and / _ . - + & = , ; : ! @ $ ' ( )",
            f"{odd[0]!r} in {files.canonical(path)}",
            "Choose another place, or output.format: parquet, or engine: spark.",
        )


def _check_folder(output: Output, path: str) -> None:
    """Raise OutputError where something of another format lies, or nothing can be written."""
    try:
        there = files.present_format(path)
    except StorageError as error:
        raise error.as_kind(OutputError, f"The output {path} cannot be written.") from None
    if there not in (None, output.format):
        raise OutputError(
            f"The output {path} holds something else.",
            f"{output.format}, or nothing",
            there,
            "Set output.format to what is there, or choose another output.path.",
        )
    files.check_writable(path, folder=True)


def _check_schema(spark: SparkSession, table: str) -> None:
    """Raise OutputError where the schema that a table should be in does not exist."""
    schema = identifiers.schema(table)
    if schema and not spark.catalog.databaseExists(schema):
        raise OutputError(
            f"The output table {table} has no place to be in.",
            f"the schema {schema}",
            "no such schema",
            f"CREATE SCHEMA {schema}, or check the name.",
        )


def check_apart(spark: SparkSession, name: str, place: Place, others: Mapping[str, Place | None]) -> None:
    """Raise OutputError where a place of the config is one of the others, or one lies within the other."""
    for other, its in others.items():
        if its is not None and _same_place(spark, its, place):
            raise OutputError(
                f"{name} is the same place as {other}, or one lies within the other.",
                "two places",
                f"{other} {its}, {name} {place}",
                f"Change {name}.",
            )


def _same_place(spark: SparkSession, one: Place, other: Place) -> bool:
    """Whether two places are the same one, or one lies within the other."""
    if one.table and other.table:
        return _qualified(spark, one.table) == _qualified(spark, other.table)
    if one.table or other.table:
        return False
    inner, outer = (files.canonical(place.path or "") for place in (one, other))
    return inner == outer or inner.startswith(outer + "/") or outer.startswith(inner + "/")


def _qualified(spark: SparkSession, table: str) -> list[str]:
    """The parts of a table's name with those it leaves out; Spark folds case."""
    parts = identifiers.parts(table)
    outer = [spark.catalog.currentCatalog(), spark.catalog.currentDatabase()] if len(parts) < 3 else []
    return [part.lower() for part in [*outer[: 3 - len(parts)], *parts]]


def write(frame: DataFrame, writing: Writing) -> None:
    """Write the scored rows. Until all of them are scored, a reader finds the previous output.

    Raises OvertakenError where another run has written what this one was to add.
    """
    chain.check(stamp(frame.sparkSession, writing.output) if writing.after is not None else None, writing)
    SINKS[writing.output.format].write(without_metadata(frame, writing.output.format), writing)


def staged(frame: DataFrame, writing: Writing) -> AbstractContextManager[DataFrame]:
    """The rows that ``write`` is to be given, as often as it takes: scored by now where a gate has to see them first.
    Raises GateClosed.
    """
    return SINKS[writing.output.format].staged(frame, writing)


def stamp(spark: SparkSession, output: Output) -> Stamp | None:
    """What the last run left in an output; None where there is no output, or no run of this job's wrote it."""
    return SINKS[output.format].stamp(spark, output)

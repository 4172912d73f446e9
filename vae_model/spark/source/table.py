"""The source: opening a table and holding it against the config."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.config.tables import Source
from vae_model.errors import EngineError, SchemaError, SourceError, StorageError
from vae_model.places import files, identifiers
from vae_model.places.listing import Listing, data_files
from vae_model.scoring.output import OUTPUT
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.own import is_ours
from vae_model.spark.engines.sail import Sail
from vae_model.spark.frames import ENGINE_ERRORS, is_transient, reason
from vae_model.spark.source import delimited, overrides, parquet, partitions, pictures
from vae_model.spark.source.names import check_names

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


def open_source(spark: SparkSession, source: Source, listing: Listing | None = None) -> DataFrame:
    """The source as a DataFrame, its schema known: the same columns and values on every engine. ``listing``: its files,
    where they are ``listed`` already.

    Raises SourceError where it cannot be opened, SchemaError where a column cannot be read, and EngineError where the
    engine has no such format.
    """
    if source.format == "orc" and source.table is None and not engine_of(spark).can.orc:
        raise EngineError(f"{engine_of(spark).name} does not read ORC: {source}.", hint="Set engine: spark.")
    listing = listing or listed(spark, source)
    if listing:
        partitions.check(source, listing)
    reader = READERS.get(source.format) if listing else None
    try:
        if reader is not None and listing is not None:
            frame = reader(spark, source, listing)
        else:
            frame = _read(spark, source, listing)
        names = frame.schema.names  # a Connect frame is analysed only when asked
    except ENGINE_ERRORS as error:
        what = f"Table {source.table}" if source.table else f"The {source.format} source at {source.path}"
        found = reason(error)
        raise SourceError(
            f"{what} cannot be opened.",
            "",
            found,
            _source_hint(source, engine_of(spark).name, found),
            is_transient(error),
        ) from None
    if not names:  # what Sail makes of a path where nothing is
        raise SourceError(f"The {source.format} source at {source} cannot be opened.", found="no file with columns",
                          hint=_source_hint(source, engine_of(spark).name))  # fmt: skip
    check_names(names)
    return overrides.typed(frame, source)


READERS = {"parquet": parquet.read, "csv": delimited.read}
"""Formats of files that are looked at before an engine reads them."""


def _read(spark: SparkSession, source: Source, listing: Listing | None) -> DataFrame:
    """The source as the engine itself reads it; but for the types of what stands in the names of a table's folders."""
    if source.table is not None:
        return spark.table(identifiers.table(source.table))
    path = files.for_engine(source.path or "")
    if listing and not listing.is_pattern and source.format != "delta":
        path = engine_of(spark).literal(path)
    options = delimited.options_of(source) if source.format == "csv" else source.options
    frame = spark.read.format(source.format).options(**options).load(path)
    if source.format == "binaryFile":
        frame = pictures.with_paths(frame)
    return partitions.typed(frame, listing) if listing and source.format != "delta" else frame


def listed(spark: SparkSession, source: Source) -> Listing | None:
    """The files of the source, where it is files and this process can see them.

    Raises SourceError where the bucket is missing, denied or out of reach, and the engine is our own, which has the
    same credentials and network: it would try for minutes.
    """
    if source.path is None:
        return None
    try:
        return data_files(source.path)
    except StorageError as error:
        if is_ours(spark):
            raise error.as_kind(SourceError, f"The source {source} cannot be opened.") from None
        log.debug("%s cannot be listed here: %s", source, error)
    except OSError as error:
        log.debug("%s cannot be listed here: %s", source, error)
    return None


def _source_hint(source: Source, engine: str, found: str = "") -> str:
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
        other = "spark" if engine == Sail.name else "sail"
        return f"The files are there, but {engine} cannot read them: another engine may (engine: {other})."
    return "Check source.path and source.format, and that the engine can reach the path."


def where(frame: DataFrame, predicate: str | None, key: str) -> DataFrame:
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

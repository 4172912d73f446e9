"""The source: opening a table and holding it against the config."""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.config.sections import Source
from vae_model.errors import InputError, SchemaError, SourceError, StorageError
from vae_model.places import files, identifiers
from vae_model.scoring.scorer import OUTPUT
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import ENGINE_ERRORS, is_transient, reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def open_source(spark: SparkSession, source: Source) -> DataFrame:
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
        raise SourceError(
            f"{what} cannot be opened.", "", found, _source_hint(source, found), is_transient(error)
        ) from None
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


def _look_at(spark: SparkSession, source: Source) -> None:
    """Raise SourceError where the bucket is missing, denied or out of reach: an engine would try for minutes.

    Only for an engine of our own, which has the same credentials and network as this process.
    """
    if source.path is None or not is_ours(spark):
        return
    try:
        files.exists(re.split(r"/[^/]*[*?\[{]", source.path)[0])  # the folder of a pattern
    except StorageError as error:
        raise error.as_kind(SourceError, f"The source {source} cannot be opened.") from None
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

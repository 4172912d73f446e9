"""All that is found out and checked before a job does any work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vae_model.config.config import Config
from vae_model.detector import Detector, choose
from vae_model.errors import NothingToScore, SourceError
from vae_model.features import schema
from vae_model.spark import frames
from vae_model.spark.sinks import merging, sink
from vae_model.spark.source.table import check_clash, open_source, where
from vae_model.spark.source.version import pinned, source_version
from vae_model.spark.workers import libraries

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Prepared:
    """The rows to score, and what is known of them."""

    rows: DataFrame
    version: str | None
    """Of the source, where it can be told."""
    slice: str | None
    """Which rows of it, in words."""
    where: str | None = None
    """The predicate of the rows of the output that are replaced, or among which ``delete_missing`` looks."""
    position: dict[str, Any] | None = None
    """How far an incremental source is read with these rows."""
    anew: bool = False
    """The whole output is to be replaced, whatever its mode."""
    gone: DataFrame | None = None
    """Keys of rows that are gone from the source."""


def prepare(
    spark: SparkSession, config: Config, detector: Detector | None = None, mending: bool = True, full: bool = False
) -> Prepared:
    """The rows to score, after every check that needs no work: source, columns, predicates, output. First of all, if
    ``mending``, what a job that was killed has left of the output is put right. ``full``: everything is scored anew.

    Without a detector (before training) the feature columns are held against the config instead of the model. Raises
    NothingToScore where there is no row, and an InputError where something does not fit.
    """
    source, output = config.for_scoring()
    if mending:
        sink.mend(output)
    version = source_version(spark, source)
    frame = open_source(spark, pinned(source, version))
    found = frames.columns(frame)
    if detector is None:
        choose(found, config)
    else:
        schema.check_fits_model(found, detector.spec.trained, config.key)
    check_clash(frame.columns, output.prefix)
    sink.check_output(spark, source, output, frame, config.key)
    rows = where(frame, source.where, "source.where")
    slice_ = source.where if output.mode == "merge" else output.where or source.where
    if output.mode == "replace_where":
        where(frame, output.where, "output.where")
    libraries.check_workers(spark)
    try:
        if output.mode == "replace_where" and slice_ is not None:
            sink.check_slice(rows, output, slice_, is_filter=slice_ == source.where)
        if output.mode == "merge":
            merging.check_keys(rows, config.key)
        empty = rows.isEmpty()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(
            f"The source {source} cannot be read.", found=frames.reason(error), transient=frames.is_transient(error)
        ) from error
    if empty and not output.allow_empty:
        raise NothingToScore(
            "There is no row to score.",
            found=f"{source} is empty" + (f" where {source.where}" if source.where else ""),
        )
    return Prepared(rows, version, source.where, slice_)

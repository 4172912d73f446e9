"""All that is found out and checked before a job does any work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, NamedTuple

from pyspark.sql import functions as F

from vae_model.config.config import Config
from vae_model.config.tables import Source
from vae_model.detector import Detector, choose
from vae_model.errors import ConfigError, NothingToScore, SourceError
from vae_model.features import schema
from vae_model.features.sequence import check_columns as check_order
from vae_model.scoring.segments import check_columns
from vae_model.spark import frames
from vae_model.spark.jobs.gating import check_gates
from vae_model.spark.jobs.last import last
from vae_model.spark.sinks import merging, sink
from vae_model.spark.sinks.alerts import check_alerts
from vae_model.spark.sinks.chain import AFTER
from vae_model.spark.source import new_versions
from vae_model.spark.source.increments import Increment, increment
from vae_model.spark.source.table import check_clash, listed, open_source, where
from vae_model.spark.source.version import pinned, source_version
from vae_model.spark.workers import libraries

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession


class LookBack(NamedTuple):
    """A table in which rows to score have others before them."""

    table: DataFrame
    condition: Column


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
    look_back: LookBack | None = None
    """Of rows that come one after the other and are not all of their table: the table, and what makes them of it."""
    after: str | None = None
    """Of what is new: the run that has read the source so far; empty where none has. None: it goes on from none."""


def prepare(
    spark: SparkSession,
    config: Config,
    detector: Detector | None = None,
    mending: bool = True,
    full: bool = False,
) -> Prepared:
    """The rows to score, after every check that needs no work: source, columns, predicates, output. First of all, if
    ``mending``, what a job that was killed has left of the output is put right. ``full``: everything is scored anew.

    Without a detector (before training) the feature columns are held against the config instead of the model. Raises
    NothingToScore where there is no row, and an InputError where something does not fit.
    """
    source, output = config.for_scoring()
    if mending:
        for place in filter(None, [output, config.alerts_output, config.rejected_output]):
            sink.mend(place)
        if source.incremental:
            sink.undo(spark, output)
    before = last(spark, output) if source.incremental else None
    listing = listed(spark, source)
    version = source_version(spark, source, listing)
    read = new_versions.by_path(spark, source) if source.incremental and source.incremental.by else source
    frame = open_source(spark, pinned(read, version), listing)
    columns = frames.columns(frame)
    if detector is None:
        chosen = choose(columns, config)
    else:
        schema.check_fits_model(columns, detector.spec.trained, config.key)
        check_columns(columns, detector.with_decision(config.decision).scorer.rule.by)
        if windows := detector.scorer.windows:
            check_order(columns, windows.sequence)
            if config.reads_late_rows:
                raise ConfigError(
                    f"The model {detector.scorer.name} scores rows after those before them, and rows that come late "
                    "would change the windows of rows that are scored by then.",
                    "source.incremental: {column: …} without lag, or none",
                    f"{source.incremental}",
                )
    check_clash(frame.columns, output.prefix)
    whole = output.model_copy(update={"mode": "replace"})
    sink.check_output(spark, source, whole if before and full else output, frame, config.key)
    slice_ = source.where if output.mode == "merge" else output.where or source.where
    if config.alerts_output is not None:
        check_alerts(spark, config, frame, slice_, anew=before is not None and full)
    check_gates(spark, config, frame)
    rows = where(frame, source.where, "source.where")
    found: Increment | None = None
    if output.mode == "replace_where":
        where(frame, output.where, "output.where")
    taken = chosen if detector is None else detector.spec.trained
    libraries.check_workers(spark, schema.has_picture_files(taken))
    try:
        if output.mode == "replace_where" and slice_ is not None:
            sink.check_slice(rows, output, slice_, is_filter=slice_ == source.where)
        if before is not None:
            model = detector.scorer.name if detector else None
            found = increment(config, frame, version, before.stamp, before.there, model, full)
            rows = found.rows
        if output.mode == "merge":
            merging.check_keys(rows, config.key)
        empty = rows.isEmpty() and (found is None or found.gone is None or found.gone.isEmpty())
    except frames.ENGINE_ERRORS as error:
        raise SourceError(
            f"The source {source} cannot be read.", found=frames.reason(error), transient=frames.is_transient(error)
        ) from error
    is_counted = found is None and config.gates.min_rows is not None  # the gate is to answer
    if empty and not is_counted and (found is not None or not output.allow_empty):
        raise NothingToScore("There is no row to score.", found=_nothing(source, found))
    is_series = config.features.sequence if detector is None else detector.scorer.windows
    look_back = _look_back(frame, source, found) if is_series else None
    if found is None or before is None:
        return Prepared(rows, version, source.where, slice_, look_back=look_back)
    words = "; ".join(filter(None, [source.where, found.words]))
    after = None if found.anew else before.stamp.run if before.stamp else ""
    position = found.position if after is None or output.mode == "merge" else {**found.position, AFTER: after}
    return Prepared(rows, version, words, slice_, position, found.anew, found.gone, look_back, after)


def _look_back(frame: DataFrame, source: Source, found: Increment | None) -> LookBack | None:
    """The table, where not all of its rows are scored."""
    parts = [F.expr(source.where)] if source.where is not None else []
    parts += [found.condition] if found is not None and found.condition is not None else []
    return LookBack(frame, reduce(and_, parts)) if parts else None


def _nothing(source: Source, found: Increment | None) -> str:
    of = f" where {source.where}" if source.where else ""
    return f"{source} is empty{of}" if found is None else f"nothing new in {source}{of}: {found.words}"

"""`vae-anomaly evaluate --what-if`: what other decisions would flag, counted in one pass. Writes nothing."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from vae_model.config.config import Config
from vae_model.config.tables import Source
from vae_model.detector import Detector
from vae_model.errors import ConfigError, JobError, NothingToScore, SourceError
from vae_model.evaluation.what_if import Subject, WhatIf, ladder
from vae_model.spark import frames
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.parts import VALUES, check_part, day_column
from vae_model.spark.jobs.score import decide_as_configured, own_error, score
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.jobs.tally import Parts, tally
from vae_model.spark.sinks.reading import existing
from vae_model.spark.sinks.writing import RUN
from vae_model.spark.source import partitions
from vae_model.spark.source.spread import spread
from vae_model.spark.source.table import listed, open_source, where
from vae_model.spark.workers import libraries, transport

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

FEW = 100
"""Rows of a segment of which little can be told."""
NAMES = ("anomaly_score", "anomaly_model")
"""The columns by which a scored table is known, and counted."""


class _Rows(NamedTuple):
    """Scored rows, or rows that are scored when they are used."""

    frame: DataFrame
    place: str
    is_output: bool


def what_if(
    spark: SparkSession,
    config: Config,
    *,
    time: str | None = None,
    by: Sequence[str] = (),
    model: Detector | None = None,
    tasks: Tasks | None = None,
) -> WhatIf:
    """Count what other decisions would flag: in the config's output, where it holds rows that the model has scored, or
    else in its source, which is scored for it. Nothing is written.

    ``time`` is the column whose days are told, by default the only date or timestamp among key and features. ``by`` are
    the columns whose values make segments, by default those of ``decision.by``. ``model`` is the one to score by, where
    it is loaded already. Raises InputError before any work, NothingToScore where there is no row, and JobError.
    """
    loaded = model or Detector.load(config.for_model(), config.model.version)
    detector = decide_as_configured(loaded, config)
    rows = _output(spark, config, detector) or _source(spark, config, detector)
    columns = frames.columns(rows.frame)
    segments = tuple(dict.fromkeys(by or config.decision.by))
    for name in segments:
        check_part(columns, name, "--by", VALUES)
    day, notes = day_column(columns, time, [*config.key, *detector.scorer.names])
    prefix = config.output.prefix if config.output else ""
    run = next((one.name for one in columns if rows.is_output and one.name == prefix + RUN), None)
    parts = Parts(next((one for one in columns if one.name == day), None), run, segments)
    cuts, started = ladder(detector.calibration), clock.monotonic()
    try:
        what = "Counting" if rows.is_output else "Scoring"
        with watch(spark, what, tasks), transport.as_rows(spark):
            found, others = tally(rows.frame, prefix, detector.scorer, cuts, parts)
    except frames.READ_ERRORS as error:
        raise _counting_error(error, rows) from error
    if found is None:
        raise NothingToScore("There is no row to count.", found=f"no row in {rows.place}")
    log_stage("counting" if rows.is_output else "scoring", found.whole.rows, started)
    if others:
        notes.append(f"{others:,} rows of {rows.place} that other models have scored are not counted")
    if day and (undated := found.whole.rows - sum(one.rows for one in found.days.values())):
        notes.append(f"{undated:,} rows have no {day}: they are of no day")
    if len(found.segments) > found.whole.rows / FEW:
        notes.append(
            f"{len(found.segments):,} segments of under {FEW} rows in the mean: an alert more or less says little"
        )
    subject = Subject(detector.scorer.name, rows.place, rows.is_output, day, segments, tuple(notes))
    return WhatIf.of(subject, detector.calibration, cuts, found)


def _output(spark: SparkSession, config: Config, detector: Detector) -> _Rows | None:
    """The config's output, where it holds rows that the model has scored."""
    output, name = config.output, detector.scorer.name
    if output is None:
        return None
    frame = existing(spark, output)
    if frame is None or not {output.prefix + name for name in NAMES} <= set(frame.columns):
        return None
    kept = set(frame.columns)
    if output.path is not None and output.format == "parquet" and output.partition_by:
        listing = listed(spark, Source(path=output.path))
        frame = partitions.typed(frame, listing) if listing else frame
        kept -= set(output.partition_by)  # the name of a folder may be read as another type: 07 as 7
    if not set(detector.scorer.rule.by) <= kept:
        log.info("The output %s does not hold the columns of decision.by as they were", output)
        return None
    try:
        is_other = frame.where(frames.column(output.prefix + "anomaly_model") == name).isEmpty()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(f"The output {output} cannot be read.", found=frames.reason(error),
                          transient=frames.is_transient(error)) from error  # fmt: skip
    if not is_other:
        return _Rows(frame, str(output), True)
    log.info("No row of the output %s was scored by %s", output, name)
    return None


def _source(spark: SparkSession, config: Config, detector: Detector) -> _Rows:
    """The config's source, to be scored."""
    if config.source is None:
        raise ConfigError(
            "There are no scored rows to count, and no source to score.",
            f"an output that {detector.scorer.name} has scored, or a source",
            f"output {config.output}" if config.output else "neither in the config",
            "Add source to the config, or score first.",
        )
    source, prefix = config.source, config.output.prefix if config.output else ""
    frame = where(open_source(spark, source), source.where, "source.where")
    libraries.check_workers(spark)
    log.info("Scoring %s to count; nothing is written", source)
    with transport.as_rows(spark):
        return _Rows(score(spread(frame, source.partitions), detector, prefix), str(source), False)


def _counting_error(error: Exception, rows: _Rows) -> Exception:
    """An engine's error; one of our own from a worker is told as it was."""
    text = str(error)
    return (
        own_error(text, f"It was met while scoring {rows.place}.")
        or libraries.explain(text)
        or JobError(f"The rows of {rows.place} could not be counted.", found=frames.reason(error),
                    hint="Nothing was written.", transient=frames.is_transient(error))
    )  # fmt: skip

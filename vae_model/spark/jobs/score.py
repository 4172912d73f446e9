"""Scoring a DataFrame, and the job that a config describes: source to sink."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from vae_model import errors
from vae_model.config.sections import Config, Output, Source
from vae_model.detector import Detector, choose
from vae_model.errors import JobError, NothingToScore, SourceError, VaeAnomalyError
from vae_model.features import schema
from vae_model.scoring.scorer import Scorer
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import Rows
from vae_model.spark.sinks.summary import Summary, summarise
from vae_model.spark.source.spread import spread
from vae_model.spark.source.table import check_clash, open_source, where
from vae_model.spark.workers import libraries, transport, udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


def score(
    frame: DataFrame, detector: Detector, prefix: str = "", observe: Callable[[], None] | None = None
) -> DataFrame:
    """``frame`` with the seven output columns after its own. Lazy: rows are scored when the result is used.

    ``observe`` is called by the workers after every batch.
    Raises SchemaError where a feature is missing or retyped, or an output column would clash.
    """
    found = frames.columns(frame)
    schema.check_fits_model(found, detector.spec.trained)
    check_clash([column.name for column in found], prefix)
    function = udf.scoring_udf(frame.sparkSession, detector.to_bytes(), detector.scorer, observe)
    return udf.add_scores(frame, function, detector.scorer, prefix)


def run_score(spark: SparkSession, config: Config, detector: Detector, tasks: Tasks | None = None) -> Summary | None:
    """The scoring job: source to sink, and the summary of the rows it wrote, read back from what was written.

    No summary, with a warning, where the rows are written but cannot be read back, or not be told from those that were
    there: by then there is nothing to try again.
    """
    source, output = config.for_scoring()
    detector = decide_as_configured(detector, config)
    frame = spread(prepare_score(spark, config, detector), source.partitions)
    peak = engine_of(spark).peak_memory(spark)
    started = time.monotonic()
    with ExitStack() as stack:
        try:
            with watch(spark, "Scoring", tasks), transport.as_rows(spark):
                scored = score(frame, detector, output.prefix, peak.observer() if peak else None)
                rows = stack.enter_context(sink.write(scored, output))
        except frames.ENGINE_ERRORS as error:
            raise _write_error(error, source, output) from error
        written = time.monotonic()
        summary = _summary(rows, output, config.key, detector.scorer)
    measured = {"worker_peak_mb": peak.bytes // 2**20} if peak else {}
    log_stage("scoring", summary.rows if summary else None, started, written, measured)
    return summary


def _summary(rows: Rows, output: Output, key: list[str], scorer: Scorer) -> Summary | None:
    """The summary of the rows that were written; None, with a warning, where there can be none."""
    try:
        found = rows()
        if found is not None:
            return summarise(found, output, key, scorer)
        log.warning("No summary: the rows that were appended to %s cannot be told from those that were there", output)
    except Exception as error:  # whatever it is: the rows are written
        log.warning("No summary: the rows are written to %s, but cannot be read back: %s", output, frames.reason(error))
        log.debug("How reading back failed", exc_info=True)
    return None


def prepare_score(
    spark: SparkSession, config: Config, detector: Detector | None = None, mending: bool = True
) -> DataFrame:
    """The rows to score, after every check that needs no work: source, columns, predicate, output. First of all, if
    ``mending``, what a job that was killed has left of the output is put right.

    Without a detector (before training) the feature columns are held against the config instead of the model. Raises
    NothingToScore where there is no row, and an InputError where something does not fit.
    """
    source, output = config.for_scoring()
    if mending:
        sink.mend(output)
    frame = open_source(spark, source)
    found = frames.columns(frame)
    if detector is None:
        choose(found, config)
    else:
        schema.check_fits_model(found, detector.spec.trained, config.key)
    check_clash(frame.columns, output.prefix)
    sink.check_output(spark, source, output, frame)
    rows = where(frame, source.where, "source.where")
    libraries.check_workers(spark)
    try:
        empty = rows.isEmpty()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(
            f"The source {source} cannot be read.", found=frames.reason(error), transient=frames.is_transient(error)
        ) from error
    if empty:
        raise NothingToScore(
            "There is no row to score.",
            found=f"{source} is empty" + (f" where {source.where}" if source.where else ""),
        )
    return rows


def decide_as_configured(detector: Detector, config: Config) -> Detector:
    """The detector, deciding as the config says now: a decision is no part of a model."""
    trained = detector.config
    if trained.features != config.features:
        log.warning("features in the config differ from the model's: the model's are used (train again)")
    if trained.decision != config.decision:
        log.info("decision in the config differs from the one trained with: the config's is used")
    return detector.with_decision(config.decision)


def _write_error(error: Exception, source: Source, output: Output) -> VaeAnomalyError:
    """An engine's error while scoring and writing; an error of our own from a worker is told as it was."""
    text = str(error)
    if own := _own_error(text, f"It was met while scoring {source}. {output} is as it was."):
        return own
    if explained := libraries.explain(text):
        return explained
    return JobError(
        f"Scoring {source} into {output} failed.",
        found=frames.reason(error),
        hint=f"{output} is as it was before.",
        transient=frames.is_transient(error),
    )


def _own_error(text: str, where: str) -> VaeAnomalyError | None:
    """The error of this package that a worker's traceback ends with, put together again from its text."""
    raised = re.search(r"vae_model\.errors\.(\w+): (.*(?:\n {2}(?:expected|found|to do): .*)*)", text)
    kind = getattr(errors, raised[1], None) if raised else None
    if raised is None or not (isinstance(kind, type) and issubclass(kind, VaeAnomalyError)):
        return None
    problem, *lines = raised[2].splitlines()
    parts = dict(line.strip().partition(": ")[::2] for line in lines)
    hint = " ".join(filter(None, [parts.get("to do"), where]))
    return kind(problem, parts.get("expected", ""), parts.get("found", ""), hint)

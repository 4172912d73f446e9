"""Scoring a DataFrame, and the rows of a job: source to sink."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from vae_model import errors
from vae_model.config.config import Config
from vae_model.config.tables import Output, Source
from vae_model.detector import Detector
from vae_model.errors import JobError, VaeAnomalyError
from vae_model.features import schema
from vae_model.features.sequence import check_columns as check_order
from vae_model.runs.record import Stage
from vae_model.runs.stamp import Stamp
from vae_model.scoring.scorer import Scorer
from vae_model.scoring.segments import check_columns
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs import alerts, tries
from vae_model.spark.jobs.gating import Gating
from vae_model.spark.jobs.prepare import Prepared
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.alerts import query
from vae_model.spark.sinks.reading import read_output, written
from vae_model.spark.sinks.summary import Summary, summarise
from vae_model.spark.sinks.writing import Writing
from vae_model.spark.source.series import with_look_back
from vae_model.spark.source.spread import spread
from vae_model.spark.source.table import check_clash
from vae_model.spark.workers import libraries, series, transport, udf

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

log = logging.getLogger(__name__)


def score(
    frame: DataFrame,
    detector: Detector,
    prefix: str = "",
    observe: Callable[[], None] | None = None,
    run_id: str | None = None,
    own: str | None = None,
) -> DataFrame:
    """``frame`` with the output columns after its own: seven and, where ``run_id`` names a run, ``anomaly_run``. Lazy:
    rows are scored when the result is used.

    ``observe`` is called by the workers after every batch. Of rows that come one after the other those are scored that
    a boolean column named ``own`` says; the others are there to be looked back at, and go.
    Raises SchemaError where a feature is missing or retyped, or an output column would clash.
    """
    found = frames.columns(frame)
    schema.check_fits_model(found, detector.spec.trained)
    check_columns(found, detector.scorer.rule.by)
    check_clash([column.name for column in found if column.name != own], prefix)
    if windows := detector.scorer.windows:
        check_order(found, windows.sequence)
        key = [name for name in detector.config.key if name in frame.columns]
        return series.add_scores(frame, detector.to_bytes(), detector.scorer, key, prefix, run_id, observe, own)
    function = udf.scoring_udf(frame.sparkSession, detector.to_bytes(), detector.scorer, observe)
    return udf.add_scores(frame, function, detector.scorer, prefix, run_id)


class Scored(NamedTuple):
    """What came of scoring the rows of a job."""

    summary: Summary | None
    """None where the rows are written but cannot be read back: by then there is nothing to try again."""
    stages: list[Stage]
    alerts: int | None = None
    """How many there are; None where the config asks for none."""


def score_prepared(
    prepared: Prepared,
    config: Config,
    detector: Detector,
    run_id: str,
    tasks: Tasks | None = None,
    gating: Gating | None = None,
) -> Scored:
    """Score the rows of a job and write them, and then its alerts; the summary is read back from what was written.

    Where another run's commit comes between, all of it is done again, a few times. Raises JobError; GateClosed where a
    gate is closed, which is asked before the rows are published, and before they are scored where that is possible.
    """
    gating = gating or Gating(config, run_id)
    source, output = config.for_scoring()
    rows, own = prepared.rows, None
    if (windows := detector.scorer.windows) is None:
        rows = spread(rows, source.partitions)
    elif prepared.look_back:
        rows, own = with_look_back(*prepared.look_back, windows.sequence)
    spark = rows.sparkSession
    stamp = Stamp(run_id, config.key, detector.scorer.name, prepared.position, config.digest, output.mode,
                  config.alerts is not None)  # fmt: skip
    keys = prepared.rows.select(*map(frames.column, config.key)) if config.key else None
    writing = Writing(output, stamp, prepared.where, prepared.anew, prepared.gone, keys, prepared.after)
    if gating.closed and config.rejected_output is None:
        gating.refuse(output)
    if writing.mode != "replace" and gating.closed is None:  # else they would go the moment that they are there
        alerts.make_up(spark, config, detector, run_id)
    peak = engine_of(spark).peak_memory(spark)
    started = time.monotonic()
    with transport.as_rows(spark):
        scored = score(rows, detector, output.prefix, peak.observer() if peak else None, run_id, own)
    if gating.closed:
        with watch(spark, "Scoring", tasks):
            gating.reject(scored, writing)
    writing = replace(writing, gate=gating.hook(writing, detector.scorer))
    try:
        with ExitStack() as stack:
            with watch(spark, "Scoring", tasks), transport.as_rows(spark):
                rows = stack.enter_context(sink.staged(scored, writing))
            for attempt in tries.tries(output):
                with attempt, watch(spark, "Scoring", tasks), transport.as_rows(spark):
                    sink.write(rows, writing)
    except frames.ENGINE_ERRORS as error:
        raise _write_error(error, source, output) from error
    ended = time.monotonic()
    chosen = alerts.write(spark, config, writing, scored.schema, detector)
    summary = _summary(spark, config, run_id, scored.schema, detector.scorer)
    measured = {"worker_peak_mb": peak.bytes // 2**20} if peak else {}
    stage = log_stage("scoring", summary.rows if summary else None, started, ended, measured)
    return Scored(summary, [stage, chosen] if chosen else [stage], chosen.rows if chosen else None)


def read_back(spark: SparkSession, config: Config, detector: Detector, run_id: str) -> Summary | None:
    """The summary of what a run has written before."""
    schema = read_output(spark, config.for_scoring().output).schema
    return _summary(spark, config, run_id, schema, detector.scorer)


def _summary(spark: SparkSession, config: Config, run_id: str, schema: StructType, scorer: Scorer) -> Summary | None:
    """The summary of the rows that a run wrote; None, with a warning, where they cannot be read back."""
    output = config.for_scoring().output
    try:
        found = summarise(written(spark, output, run_id, schema), output, config.key, scorer)
        table = config.alerts_output
        return replace(found, alerts_sql=query(table, run_id)) if table else found
    except Exception as error:  # whatever it is: the rows are written
        log.warning("No summary: the rows are written to %s, but cannot be read back: %s", output, frames.reason(error))
        log.debug("How reading back failed", exc_info=True)
    return None


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
    if frames.is_conflict(error):
        return JobError(
            f"Another run wrote to {output} while this one did.",
            "a commit that no other comes before",
            f"{tries.TRIES} tries, each lost: {frames.reason(error)}",
            f"This run's rows are not there. {output} is as the other run left it; run this one again.",
            transient=True,
        )
    if own := own_error(text, f"It was met while scoring {source}. {output} is as it was."):
        return own
    if explained := libraries.explain(text):
        return explained
    return JobError(
        f"Scoring {source} into {output} failed.",
        found=frames.reason(error),
        hint=f"{output} is as it was before.",
        transient=frames.is_transient(error),
    )


def own_error(text: str, where: str) -> VaeAnomalyError | None:
    """The error of this package that a worker's traceback ends with, put together again from its text."""
    raised = re.search(r"vae_model\.errors\.(\w+): (.*(?:\n {2}(?:expected|found|to do): .*)*)", text)
    kind = getattr(errors, raised[1], None) if raised else None
    if raised is None or not (isinstance(kind, type) and issubclass(kind, VaeAnomalyError)):
        return None
    problem, *lines = raised[2].splitlines()
    parts = dict(line.strip().partition(": ")[::2] for line in lines)
    hint = " ".join(filter(None, [parts.get("to do"), where]))
    return kind(problem, parts.get("expected", ""), parts.get("found", ""), hint)

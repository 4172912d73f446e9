"""Scoring a DataFrame, and the job that a config describes: source to sink."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from vae_model.config.sections import Config, Output, Source
from vae_model.detector import Detector, choose
from vae_model.errors import OutputError, SourceError, VaeAnomalyError
from vae_model.features import schema
from vae_model.spark import frames
from vae_model.spark.engines import jvm
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.summary import Summary, summarise
from vae_model.spark.source.spread import spread
from vae_model.spark.source.table import check_clash, open_source, where
from vae_model.spark.workers import libraries, transport, udf

log = logging.getLogger(__name__)


def score(frame: Any, detector: Detector, prefix: str = "", observe: Callable[[], None] | None = None) -> Any:
    """``frame`` with the seven output columns after its own. Lazy: rows are scored when the result is used.

    ``observe`` is called by the workers after every batch.
    Raises SchemaError where a feature is missing or retyped, or an output column would clash.
    """
    found = frames.columns(frame)
    schema.check(found, detector.spec.trained)
    check_clash([column.name for column in found], prefix)
    function = udf.scoring_udf(frame.sparkSession, detector.to_bytes(), detector.scorer, observe)
    return udf.add_scores(frame, function, detector.scorer, prefix)


def run_score(spark: Any, config: Config, detector: Detector, tasks: Tasks | None = None) -> Summary:
    """The scoring job: source to sink, and the summary read back from what was written."""
    config.require("source", "output")
    assert config.source and config.output  # noqa: S101 - require has raised otherwise
    output = config.output
    detector = decide_as_configured(detector, config)
    frame = spread(prepare_score(spark, config, detector), config.source.partitions)
    existing = sink.existing(spark, output) if output.mode == "append" else None
    before = None if existing is None else summarise(existing, config)
    peak = jvm.PeakMemory(spark) if jvm.is_classic(spark) else None
    started = time.monotonic()
    try:
        with watch(spark, "Scoring", tasks), transport.as_rows(spark):
            sink.write(score(frame, detector, output.prefix, peak.observer() if peak else None), output)
    except frames.ENGINE_ERRORS as error:
        raise _write_error(error, config.source, output) from error
    written = time.monotonic()
    summary = summarise(sink.read_output(spark, output), config)
    summary = summary.since(before) if before else summary
    log_stage("scoring", summary.rows, started, written, {"worker_peak_mb": peak.bytes // 2**20} if peak else {})
    return summary


def prepare_score(spark: Any, config: Config, detector: Detector | None = None) -> Any:
    """The rows to score, after every check that needs no work: source, columns, predicate, output.

    Without a detector (before training) the feature columns are held against the config instead of the model.
    """
    assert config.source and config.output  # noqa: S101 - the callers have required them
    frame = open_source(spark, config.source)
    found = frames.columns(frame)
    if detector is None:
        choose(found, config)
    else:
        schema.check(found, detector.spec.trained, config.key)
    check_clash(frame.columns, config.output.prefix)
    sink.check_output(spark, config.source, config.output, frame)
    rows = where(frame, config.source.where, "source.where")
    libraries.check(spark)
    try:
        empty = rows.isEmpty()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(f"The source {config.source} cannot be read.", found=frames.reason(error)) from error
    if empty:
        raise SourceError(
            "There is no row to score.",
            found=f"{config.source} is empty" + (f" where {config.source.where}" if config.source.where else ""),
        )
    return rows


def decide_as_configured(detector: Detector, config: Config) -> Detector:
    """The detector, deciding as the config says now; a decision changed since training makes other bytes."""
    trained = detector.config
    if trained.features != config.features or trained.key != config.key:
        log.warning("features or key in the config differ from the model's: the model's are used (train again)")
    if trained.decision == config.decision:
        return detector
    changed = detector.with_decision(config.decision)
    log.warning(
        "decision in the config differs from the model's: the config's is used, as %s (trained as %s)",
        changed.scorer.name, detector.scorer.name,
    )  # fmt: skip
    return changed


def _write_error(error: Exception, source: Source, output: Output) -> VaeAnomalyError:
    """An engine's error while scoring and writing; a message of our own from a worker is shown as it was."""
    text = str(error)
    marker = "vae_model.errors."
    if marker in text:
        own = text.split(marker, 1)[1].partition(": ")[2]
        lines = own.splitlines()
        kept = [lines[0], *(line for line in lines[1:4] if line.strip().startswith(("expected:", "found:", "to do:")))]
        return VaeAnomalyError("\n".join(kept), found=f"while scoring {source}; {output} is as it was")
    if explained := libraries.explain(text):
        return explained
    return OutputError(
        f"Scoring {source} into {output} failed.", found=frames.reason(error), hint=f"{output} is as it was before."
    )

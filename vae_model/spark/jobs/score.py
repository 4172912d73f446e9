"""Training and scoring on a DataFrame, and the two jobs a config describes: source to model, source to sink."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from vae_model.config.sections import Config, Output, Source
from vae_model.detector import MIN_ROWS, Detector, choose
from vae_model.errors import OutputError, SourceError, TrainingError, VaeAnomalyError
from vae_model.features import schema
from vae_model.places import files
from vae_model.spark import frames
from vae_model.spark.engines import jvm
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.summary import Summary, summarise
from vae_model.spark.source import sampling
from vae_model.spark.source.spread import spread
from vae_model.spark.source.table import check_clash, open_source, where
from vae_model.spark.workers import libraries, transport, udf
from vae_model.training import fit

if TYPE_CHECKING:
    from vae_model.training.loop import Progress

log = logging.getLogger(__name__)


def train(
    frame: Any, config: Config, progress: Callable[[Progress], None] | None = None, tasks: Tasks | None = None
) -> Detector:
    """Train a detector on a hash sample of the normal rows of a DataFrame (``train.normal``, ``train.rows``).

    ``progress`` is told of the training's steps, ``tasks`` of the engine's tasks while the sample is read.

    Raises SchemaError, SourceError or TrainingError before any training where the table does not fit.
    """
    chosen = choose(frames.columns(frame), config)
    normal = where(frame, config.train.normal, "train.normal")
    settings, started = config.train, time.monotonic()
    try:
        with watch(frame.sparkSession, "Sampling", tasks):
            sample = sampling.draw(normal, config.key, list(chosen), settings.rows, settings.calibration, settings.seed)
    except frames.ENGINE_ERRORS as error:
        raise SourceError("The training sample could not be read.", found=frames.reason(error)) from error
    if sample.normal_rows < MIN_ROWS:
        raise TrainingError(
            "Too few normal rows to train on.",
            f"at least {MIN_ROWS} rows" + (f" that match {settings.normal!r}" if settings.normal else ""),
            f"{sample.normal_rows} row{'' if sample.normal_rows == 1 else 's'}",
            "Widen train.normal, or give a larger table.",
        )
    training, held_out = len(sample.training), len(sample.calibration)
    if training + held_out < fit.SMALL:
        log.info(
            "Sample: %s of %s normal rows, few enough to train and to calibrate by turns",
            *(f"{count:,}" for count in (training + held_out, sample.normal_rows)),
        )
    else:
        log.info(
            "Sample: %s rows to train on and %s held out, of %s normal rows",
            *(f"{count:,}" for count in (training, held_out, sample.normal_rows)),
        )
    _log_stage("sampling", sample.normal_rows, started)
    started = time.monotonic()
    detector = Detector(config).fit_columns(sample.training, sample.calibration, chosen, progress)
    _log_stage("training", training, started)
    for warning in detector.warnings:
        log.warning("%s", warning)
    return detector


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


def run_train(
    spark: Any, config: Config, progress: Callable[[Progress], None] | None = None, tasks: Tasks | None = None
) -> Detector:
    """The training job: source to model file."""
    config.require("source", "model.path")
    assert config.source and config.model.path  # noqa: S101 - require has raised otherwise
    frame = open_source(spark, config.source)
    files.check_writable(config.model.path)
    detector = train(frame, config, progress, tasks)
    detector.save(config.model.path)
    log.info("Model: %s in %s", detector.scorer.name, config.model.path)
    return detector


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
    _log_stage("scoring", summary.rows, started, written, {"worker_peak_mb": peak.bytes // 2**20} if peak else {})
    return summary


def _log_stage(
    stage: str, rows: int, started: float, ended: float | None = None, more: Mapping[str, int] = MappingProxyType({})
) -> None:
    """One line on a stage that is over: rows, seconds, rows a second, and whatever else was measured."""
    seconds = (ended or time.monotonic()) - started
    measured = {"rows": rows, "seconds": round(seconds, 2), "rows_per_second": round(rows / max(seconds, 1e-9)), **more}
    text = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in measured.items())
    log.info("Stage %s: %s", stage, text, extra={"data": {"stage": stage, **measured}})


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

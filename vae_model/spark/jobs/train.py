"""Training on a DataFrame, and the job that a config describes: source to model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from vae_model.config.sections import Config
from vae_model.detector import MIN_ROWS, Detector, choose
from vae_model.errors import SourceError, TrainingError
from vae_model.places import files
from vae_model.spark import frames
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.source import sampling
from vae_model.spark.source.table import open_source, where
from vae_model.training import fit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.training.loop import TrainingProgress

log = logging.getLogger(__name__)


def train(
    frame: DataFrame,
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
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
    except frames.READ_ERRORS as error:
        raise SourceError(
            "The training sample could not be read.",
            found=frames.reason(error),
            transient=frames.is_transient(error),
        ) from error
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
    log_stage("sampling", sample.normal_rows, started)
    started = time.monotonic()
    detector = Detector(config).fit_columns(sample.training, sample.calibration, chosen, progress)
    log_stage("training", training, started)
    for warning in detector.warnings:
        log.warning("%s", warning)
    return detector


def run_train(
    spark: SparkSession,
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
) -> Detector:
    """The training job: source to model file."""
    source, model_path = config.for_training()
    frame = open_source(spark, source)
    files.check_writable(model_path)
    detector = train(frame, config, progress, tasks)
    detector.save(model_path)
    log.info("Model: %s in %s", detector.scorer.name, model_path)
    return detector

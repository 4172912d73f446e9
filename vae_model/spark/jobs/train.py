"""Training on a DataFrame, and the job that a config describes: source to model."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from vae_model.config.config import Config
from vae_model.config.sections import AcceptIf
from vae_model.detector import Detector, choose
from vae_model.errors import ConfigError, GateClosed, ModelFileError, SourceError, TrainingError
from vae_model.places import files
from vae_model.runs import versions
from vae_model.spark import frames
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.source import pictures, sampling, series
from vae_model.spark.source.table import open_source, where
from vae_model.training import fit
from vae_model.training.acceptance import Comparison
from vae_model.training.model import MIN_ROWS

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.features.feature import Chosen
    from vae_model.runs.versions import Versions
    from vae_model.spark.source.sampling import Sample
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
    return _train(frame, config, progress, tasks)[0]


def _train(
    frame: DataFrame,
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
) -> tuple[Detector, pa.Table]:
    """A detector, and the rows to hold it against another by: those held out, or of a small sample all."""
    chosen = choose(frames.columns(frame), config)
    sample = draw_sample(frame, config, [*chosen, *config.decision.by], tasks)
    detector = fit_sample(sample, chosen, config, progress)
    parts = [sample.training, sample.calibration]
    return detector, pa.concat_tables(parts) if sum(map(len, parts)) < fit.SMALL else sample.calibration


def draw_sample(
    frame: DataFrame, config: Config, names: Iterable[str], tasks: Tasks | None = None, more: Sequence[str] = ()
) -> Sample:
    """Some columns of a sample of the normal rows, and ``more`` that have no say in which rows these are. Raises
    SourceError, and TrainingError where they are too few.
    """
    normal = where(frame, config.train.normal, "train.normal")
    settings, started = config.train, time.monotonic()
    own = list(dict.fromkeys(names))
    shown = [name for name in own if config.features.kinds.get(name) == "image"]
    try:
        with watch(frame.sparkSession, "Sampling", tasks):
            rows = pictures.room(normal, shown, settings.rows) if shown else settings.rows
            amounts = rows, settings.calibration, settings.seed, more
            if config.features.sequence:
                sequence = config.features.sequence.of(frames.columns(frame))
                sample = series.draw(frame, settings.normal, config.key, own, sequence, *amounts)
            else:
                sample = sampling.draw(normal, config.key, own, *amounts)
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
    return sample


def fit_sample(
    sample: Sample,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Detector:
    """A detector trained on a sample, and the log's words on it."""
    started = time.monotonic()
    parts = sample.training, sample.calibration
    detector = Detector(config).fit_columns(*parts, chosen, progress, source_rows=sample.normal_rows)
    log_stage("training", len(sample.training), started)
    for warning in detector.warnings:
        log.warning("%s", warning)
    return detector


class Trained(NamedTuple):
    """A model that has been trained, and what takes it into use."""

    detector: Detector
    adopt: Callable[[], None]
    """Raises OutputError where the model cannot be written."""


def run_train(
    spark: SparkSession,
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
) -> Detector:
    """The training job: source to model file, or to a new version in a folder of them, in use from now on.

    Raises GateClosed where the version is there, but ``train.accept_if`` keeps the current one in use.
    """
    detector, adopt = train_for(spark, config, progress, tasks)
    adopt()
    return detector


def train_for(
    spark: SparkSession,
    config: Config,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
) -> Trained:
    """Train as ``run_train`` does, and take the model into use later. In a folder of versions it is there by now."""
    source, model_path = config.for_training()
    kept = versions.place(model_path, config.model.version)
    frame = open_source(spark, source)
    if kept is None:
        files.check_writable(model_path)
        return Trained(detector := train(frame, config, progress, tasks), partial(_save, detector, model_path))
    kept.check_writable()
    current = _current(kept, config)
    detector, held_out = _train(frame, config, progress, tasks)
    return Trained(detector, _added(kept, detector, current, held_out, config))


def _save(detector: Detector, path: str) -> None:
    detector.save(path)
    log.info("Model: %s in %s", detector.scorer.name, path)


def _current(kept: Versions, config: Config) -> Detector | None:
    """The version in use, deciding as the config says; None where there is none that could score."""
    if kept.current() is None:
        return None
    try:
        current = Detector.load(f"{kept.folder}/")
    except ModelFileError as error:
        if error.transient:
            raise
        log.warning("The current version cannot be used, and is no measure for the next: %s", error.problem)
        return None
    try:
        return current.with_decision(config.decision)
    except ConfigError as error:
        log.info("%s It is held against the new one without.", error.problem)
        return current.with_decision(config.decision.model_copy(update={"by": []}))


def _added(
    kept: Versions, detector: Detector, current: Detector | None, held_out: pa.Table, config: Config
) -> Callable[[], None]:
    """Add a model to the versions; what takes it into use. Raises GateClosed where it is refused."""
    limits, digest = config.train.accept_if, detector.header["sha256"]
    version = kept.add(detector.to_bytes(), digest)
    if current is None:
        why = "trained, the first version that could be used"
    elif limits == AcceptIf():
        why = "trained"
    else:
        compared = Comparison.of(detector.scorer, current.scorer, held_out)
        if refusal := compared.refusal(limits):
            raise GateClosed(
                f"The new version {version.file} is not taken into use: {current.scorer.name} stays. {refusal.words}",
                hint=f"Look into the sample, or take it into use: "
                f"`vae-anomaly models --config FILE --promote {version.digits}`.",
            ).at(refusal.gate, refusal.limit, refusal.number)
        why = f"trained, {compared.describe()}"

    def adopt() -> None:
        kept.promote(version, digest, why)
        log.info("Model: %s, version %s in %s: %s", detector.scorer.name, version.file, kept.folder, why)
        for old in kept.prune(config.model.keep, config.model.version):
            log.info("Removed version %s: model.keep is %d", old.file, config.model.keep)

    return adopt

"""`vae-anomaly evaluate`: what a model finds on a table, beside the usual detectors. Writes nothing.

The training sample is drawn as training draws it. What is looked at are other rows where the table has more than
`train.rows`; else those that the sample holds out, which the model is calibrated on and was not trained on.
"""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.config.config import Config
from vae_model.detector import Detector, choose
from vae_model.errors import ConfigError, InputError, NothingToScore, SchemaError, SourceError
from vae_model.evaluation import baselines
from vae_model.evaluation.contest import check_enough
from vae_model.evaluation.on_labels import ANOMALOUS, NORMAL, on_labels
from vae_model.evaluation.on_planted import CLEAN, on_planted
from vae_model.evaluation.record import Evaluation, Subject
from vae_model.features import schema
from vae_model.places import files
from vae_model.runs import versions
from vae_model.scoring.segments import check_columns
from vae_model.spark import frames
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.labels import Labelled, labelled
from vae_model.spark.jobs.score import decide_as_configured
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.jobs.train import draw_sample, fit_sample
from vae_model.spark.source.sampling import Others, Sample, draw_others
from vae_model.spark.source.table import open_source, where
from vae_model.training import fit

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.training.loop import TrainingProgress

log = logging.getLogger(__name__)

ENOUGH = 2000
"""Other rows than the sample's that are enough to look at them alone."""
HELD_OUT = "held-out rows of the training sample, by which the model is calibrated"


class Evaluated(NamedTuple):
    """An evaluation, and the model that it is of."""

    evaluation: Evaluation
    detector: Detector


def evaluate(
    spark: SparkSession,
    config: Config,
    *,
    label: str | None = None,
    anomalous: str | None = None,
    model: Detector | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
    tasks: Tasks | None = None,
) -> Evaluated:
    """Say what a model finds in the config's source: by a label, or without one of errors that are planted.

    ``anomalous`` is the value of the label that says so, by default 1 or true. ``model`` is the one to evaluate, by
    default the config's; where that is not there yet, one is trained for it and not kept. Raises InputError before any
    training, NothingToScore where there is no row.
    """
    baselines.check()
    source = config.for_reading()
    whole = open_source(spark, source)
    frame = where(whole, source.where, "source.where")  # which rows are trained on it does not say
    columns = frames.columns(whole)
    detector = model or stored(config)
    check_alone(config, detector)
    if detector is None:
        own = config = _without(config, label)
        chosen = choose(columns, config)
        names = hashed = [*chosen, *config.decision.by]
    else:
        own, hashed = detector.config, list(detector.header["training"]["columns"])
        detector = decide_as_configured(detector, config)
        schema.check_fits_model(columns, detector.spec.trained, own.key)
        check_columns(columns, detector.scorer.rule.by)
        chosen, names = detector.spec.trained, detector.scorer.names
    if label in names:
        raise SchemaError(
            f"The label {label!r} is a column that the model sees.",
            "a label that is no feature, nor in decision.by",
            f"{'decision.by' if detector is None or label not in chosen else 'features'}: {', '.join(names)}",
            f"Train the model without it: features: {{exclude: [{label}]}}.",
        )
    _check_rows(frame, str(source))
    classes = labelled(frame, label, anomalous) if label is not None else None
    gone = [name for name in hashed if name not in whole.columns]
    hashed = [name for name in dict.fromkeys(hashed) if name not in gone]
    more = [name for name in dict.fromkeys(names) if name not in hashed]
    sample = draw_sample(whole, own, hashed, tasks, more)
    drawn = len(sample.training) + len(sample.calibration)
    if drawn < fit.SMALL:
        raise InputError(
            "The training sample is too small to evaluate: each of its rows trains one of the VAEs.",
            f"at least {fit.SMALL} rows",
            f"{drawn:,} of {sample.normal_rows:,} normal rows",
            "Give a larger table." if sample.normal_rows < fit.SMALL else f"Set train.rows to {fit.SMALL} or more.",
        )
    others = partial(_others, own=own, names=hashed, more=more, sample=sample)
    with watch(spark, "Drawing other rows", tasks):
        rows = _by_label(classes, others) if classes else _clean(frame, own, sample, source.where is not None, others)
    check_enough(int(np.count_nonzero(~rows.is_anomalous)), "normal")
    started = clock.monotonic()
    trained = detector or fit_sample(sample, chosen, config, progress)
    seconds = None if detector else clock.monotonic() - started
    if detector is None:
        log.info("There is no model yet: %s was trained for this, and is not kept", trained.scorer.name)
    subject = Subject(
        trained.scorer.name, str(source), rows.words, detector is None, seconds, config.train.seed, label,
        tuple(_notes(trained, sample, gone)),
    )  # fmt: skip
    started = clock.monotonic()
    if classes:
        found = on_labels(trained, sample.training, rows.table, rows.is_anomalous, rows.weights, subject)
    else:
        found = on_planted(trained, sample.training, rows.table, subject)
    log_stage("evaluation", sum(found.rows.values()), started)
    return Evaluated(found, trained)


_BY_HAND = "Of a table with known anomalies: run the job, and hold anomaly_score against the label by SQL."


def check_alone(config: Config, detector: Detector | None) -> None:
    """Raise ConfigError where rows are not scored by themselves, or by pictures: of a model, or of one that would be
    trained.
    """
    if detector.spec.pictures if detector else config.features.image:
        raise ConfigError(
            "Pictures cannot be evaluated yet: no errors are planted into them, and other detectors do not see them.",
            "a config or a model without a column of kind image",
            "one with it",
            _BY_HAND,
        )
    if (detector.scorer.windows if detector else config.features.sequence) is not None:
        raise ConfigError(
            "Rows that come one after the other cannot be evaluated yet: errors are planted into single rows, and the "
            "other detectors see rows by themselves.",
            "a config or a model without features.sequence",
            "one with it",
            _BY_HAND,
        )


def stored(config: Config) -> Detector | None:
    """The config's model; None where there is none yet. Raises ModelFileError where it cannot be used."""
    path, version = config.model.path, config.model.version
    if path is None:
        return None
    kept = versions.place(path, version)
    is_there = files.exists(path) if kept is None else config.model.is_pinned or kept.current() is not None
    return Detector.load(path, version) if is_there else None


def _without(config: Config, label: str | None) -> Config:
    """The config with a label that is no feature, whatever it says of it."""
    if label is None:
        return config
    own = config.features
    features = {
        "include": [name for name in own.include if name != label] if own.include else None,
        "exclude": [name for name in own.exclude if name != label] + ([] if own.include else [label]),
        "kinds": {name: kind for name, kind in own.kinds.items() if name != label},
    }
    return config.model_copy(update={"features": own.model_copy(update=features)})


class _Rows(NamedTuple):
    """Rows to look at, none of which was trained on."""

    table: pa.Table
    is_anomalous: NDArray[np.bool_]
    weights: NDArray[np.float64]
    words: str


def _clean(
    frame: DataFrame, own: Config, sample: Sample, is_part: bool, draw: Callable[[DataFrame, int], Others | None]
) -> _Rows:
    """Normal rows that are not in the sample; where there are too few, those that it holds out. ``is_part``: the frame
    is a part of the table that the sample is of.
    """
    table, words = sample.calibration, HELD_OUT
    if is_part or sample.normal_rows > own.train.rows:
        others = draw(where(frame, own.train.normal, "train.normal"), CLEAN)
        held_out = others.rows.filter(pa.array(others.is_held_out)) if others else table.slice(0, 0)
        new = others.rows.filter(pa.array(~others.is_held_out)) if others else held_out
        table = held_out if is_part else table
        if len(new) >= min(ENOUGH, max(len(table), 1)):
            table, words = new, "rows that are not in the training sample"
    return _Rows(table, np.zeros(len(table), dtype=bool), np.ones(len(table)), words)


def _by_label(classes: Labelled, draw: Callable[[DataFrame, int], Others | None]) -> _Rows:
    """Rows of both classes that are not in the training sample, or held out of it."""
    parts = [draw(frame, most) for frame, most in zip(classes, (NORMAL, ANOMALOUS), strict=True)]
    found = [part for part in parts if part is not None]
    check_enough(len(parts[1].rows) if parts[1] else 0, "anomalous", 1)
    held_out = sum(int(part.is_held_out.sum()) for part in found)
    words = "rows that are not in the training sample"
    if held_out:
        words = f"rows that were not trained on; by {held_out:,} of them the model is calibrated"
    return _Rows(
        pa.concat_tables([part.rows for part in found]),
        np.repeat([False, True], [len(part.rows) for part in found]),
        np.concatenate([np.full(len(part.rows), part.weight) for part in found]),
        words,
    )


def _others(
    frame: DataFrame, most: int, own: Config, names: Sequence[str], more: Sequence[str], sample: Sample
) -> Others | None:
    """Rows that were not trained on; None where there is none."""
    try:
        return draw_others(frame, own.key, names, most, own.train.seed, sample, more)
    except frames.READ_ERRORS as error:
        raise SourceError(
            "The rows to evaluate on could not be read.",
            found=frames.reason(error),
            transient=frames.is_transient(error),
        ) from error


def _check_rows(frame: DataFrame, place: str) -> None:
    try:
        is_empty = frame.isEmpty()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(f"The source {place} cannot be read.", found=frames.reason(error),
                          transient=frames.is_transient(error)) from error  # fmt: skip
    if is_empty:
        raise NothingToScore("There is no row to evaluate on.", found=f"no row in {place}")


def _notes(detector: Detector, sample: Sample, gone: Sequence[str]) -> Iterator[str]:
    """What makes figures less sure: a model of which it is not known for certain what it was trained on."""
    before = detector.header["training"].get("source_rows")
    perhaps = "rows that it was trained on may be among those looked at"
    if before is None:
        yield f"The model was not trained by a job: {perhaps}"
    elif before != sample.normal_rows:
        yield (
            f"The table had {before:,} normal rows when the model was trained, and has {sample.normal_rows:,} now: "
            f"{perhaps}"
        )
    if gone:
        yield f"The table had a column {', '.join(gone)} when the model was trained: {perhaps}"

"""The rows of a run held against those that its model learnt from, before they are scored."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from vae_model.config.config import Config
from vae_model.detector import Detector
from vae_model.drift.comparison import Comparison
from vae_model.errors import SchemaError, SourceError
from vae_model.runs.record import Stage
from vae_model.spark import frames
from vae_model.spark.engines.progress import Tasks, watch
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.source import pictures, sampling

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

SEED = 18
"""Of the rows that are compared: not that of any training sample, whose rows are known too well. The same in each run,
so that a run that is done again says the same."""


class Compared(NamedTuple):
    """What is known of a run's rows before they are scored."""

    rows: int | None
    """How many there are; None where nobody needed to know."""
    comparison: Comparison | None
    """None where nothing is compared, or there is no row."""
    stages: list[Stage]


def count(rows: DataFrame, config: Config) -> int | None:
    """How many rows a run has; None where no gate asks for it. Raises SourceError."""
    try:
        return rows.count() if config.gates.min_rows is not None else None
    except frames.READ_ERRORS as error:
        raise _unread(error) from error


def compare(rows: DataFrame, config: Config, detector: Detector, tasks: Tasks | None = None) -> Compared:
    """Count the rows of a run and hold some of them against the model's sample, as far as the config asks for it.

    The rows are chosen by a hash of their key, as a training sample is: they are the same on every engine, and so are
    the counts. Raises SourceError where rows cannot be read and a gate needs them (else that is a warning), and
    SchemaError where one of them cannot be scored.
    """
    started = time.monotonic()
    if not config.drift.rows:
        return Compared(count(rows, config), None, [])
    try:
        with watch(rows.sparkSession, "Comparing", tasks):
            bare = pictures.without(rows, [own.name for own in detector.spec.pictures])
            sample, total = sampling.look(bare, config.key, detector.spec.names, config.drift.rows, SEED)
    except frames.READ_ERRORS as error:
        if config.gates.limits.keys() - {"max_anomaly_rate", "max_unscored"}:
            raise _unread(error) from error
        log.warning("Drift is not known: the rows could not be compared: %s", frames.reason(error))
        return Compared(None, None, [])
    if not len(sample):
        return Compared(total, None, [])
    try:
        counts = detector.reference.counts(sample)
    except SchemaError as error:  # such a row cannot be scored either
        where = f"It was met in {config.source}. {config.output} is as it was."
        raise SchemaError(
            error.problem, error.expected, error.found, " ".join(filter(None, [error.hint, where]))
        ) from error
    return Compared(total, Comparison.of(detector.reference, counts), [log_stage("drift", len(sample), started)])


def _unread(error: Exception) -> SourceError:
    return SourceError(
        "The rows could not be read to hold them against the gates.",
        found=frames.reason(error),
        transient=frames.is_transient(error),
    )

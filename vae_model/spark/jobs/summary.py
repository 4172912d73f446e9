"""The summary of a run that is done, read back from what it wrote. Nothing is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_model.config.config import Config
from vae_model.detector import Detector
from vae_model.errors import JobError
from vae_model.spark.jobs.report import find
from vae_model.spark.jobs.score import decide_as_configured, read_back
from vae_model.spark.sinks.summary import Summary

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def summary(spark: SparkSession, config: Config, run_id: str | None = None) -> Summary:
    """Counts of a run's rows, its decision, and its highest-scoring rows with their reasons: of the run with an id, by
    default the latest that scored, by the model and the decision that the config has now.

    Raises InputError for a run that is not in the runs table, and JobError where its rows cannot be read.
    """
    record = find(spark, config, run_id)
    detector = decide_as_configured(Detector.load(config.for_model(), config.model.version), config)
    found = read_back(spark, config, detector, record.run_id)
    if found is None:
        raise JobError(f"The rows of the run {record.run_id} cannot be read back.", hint="The log says why.")
    return found

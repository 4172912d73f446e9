"""Scoring a Delta table as it grows: Structured Streaming, each batch a run with a record of its own.

A batch is called by the checkpoint that it is of and its number. Spark hands a batch whose end it has not noted over
again, with the same number and the same rows; a run of the same id has its rows in the output once, however often it is
run (``sinks.delta``). So a stream that is killed and started again neither loses nor doubles a row.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

from vae_model.config.config import Config
from vae_model.config.tables import Source
from vae_model.detector import Detector
from vae_model.errors import ConfigError, EngineError, JobError, NothingToScore, SourceError
from vae_model.places import files, identifiers
from vae_model.runs.identity import derived_id
from vae_model.runs.record import RunRecord
from vae_model.spark import frames
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.jobs.listener import Listener
from vae_model.spark.jobs.prepare import Prepared, prepare
from vae_model.spark.jobs.run import run_prepared
from vae_model.spark.jobs.score import decide_as_configured
from vae_model.spark.source.table import where

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

AVAILABLE_NOW = "available-now"
"""The trigger of a stream that ends when all that is there has been scored."""
INTERVAL = r"\d+ (second|minute|hour)s?"


def check(config: Config, trigger: str) -> str:
    """Where the checkpoint of a stream is. Raises ConfigError where a config, or a trigger, is none of a stream."""
    source, output = config.for_scoring()
    if trigger != AVAILABLE_NOW and not re.fullmatch(INTERVAL, trigger):
        raise ConfigError("--trigger says when a stream looks for rows.", f'{AVAILABLE_NOW}, or "1 minute"', trigger)
    if source.format != "delta":
        raise ConfigError("A stream is read from a Delta table.", "source.format: delta", source.format)
    if source.incremental is not None or config.features.sequence is not None:
        key = "source.incremental" if source.incremental else "features.sequence"
        raise ConfigError(f"{key} does not go with --stream, which knows by itself what is new.", f"no {key}", key)
    if output.format != "delta" or output.mode not in ("append", "merge"):
        raise ConfigError(
            "A stream adds to a Delta table.",
            "output: {format: delta, mode: append}, or merge",
            f"{output.format}, {output.mode}",
        )
    place = source.checkpoint_path or (output.path and output.path.rstrip("/") + "_checkpoint")
    if not place:
        raise ConfigError(
            "Where the stream keeps how far it has read is not clear: the output is a table by name.",
            "source.checkpoint_path",
            "none",
        )
    return place


def stream(spark: SparkSession, config: Config, detector: Detector, trigger: str, listener: Listener) -> int:
    """Score what is new in the source, batch by batch, and say how many batches there were.

    With the trigger ``available-now`` it returns when there is nothing new any more, else never. Raises EngineError
    where the engine has no streams, InputError where something does not fit, and whatever a batch raises as a run: the
    stream ends with it, and begins with that batch when it is started again.
    """
    place = check(config, trigger)
    if not engine_of(spark).can.streaming:
        raise EngineError(
            f"{engine_of(spark).name} has no streams that score.",
            "classic Spark (engine: spark)",
            engine_of(spark).name,
            "Or let a scheduler run `score` with source.incremental: {by: version}, which any engine can.",
        )
    source, _ = config.for_scoring()
    detector = decide_as_configured(detector, config)
    try:
        prepare(spark, config, detector)
    except NothingToScore:  # rows may come
        log.info("There is no row yet")
    rows = where(_reading(spark, source), source.where, "source.where")
    failure: list[BaseException] = []
    done: list[RunRecord] = []

    def score(batch: DataFrame, number: int) -> None:
        if batch.isEmpty():
            return
        try:
            prepared = Prepared(batch, None, f"batch {number} of {place}", position=None)
            run_id = derived_id(config.name, [_checkpoint(place), str(number)])
            record = run_prepared(spark, config, f"{run_id}-{number}", prepared, detector, listener)
        except BaseException as error:  # Spark would tell the text of it alone
            failure.append(error)
            raise
        done.append(record)
        log.info("Batch %d: %s rows, %s anomalies", number, f"{record.rows_read or 0:,}", f"{record.anomalies or 0:,}")

    writer = rows.writeStream.foreachBatch(score).option("checkpointLocation", files.for_engine(place))
    writer = writer.trigger(availableNow=True) if trigger == AVAILABLE_NOW else writer.trigger(processingTime=trigger)
    query = None
    try:
        query = writer.start()
        query.awaitTermination()
    except frames.ENGINE_ERRORS as error:
        raise _explained(error, failure, source, place) from error
    finally:
        if query is not None and query.isActive:
            query.stop()
    return len(done)


def _reading(spark: SparkSession, source: Source) -> DataFrame:
    reader = spark.readStream.format("delta").options(**source.options)
    if source.table is not None:
        return reader.table(identifiers.table(source.table))
    return reader.load(files.for_engine(source.path or ""))


def _checkpoint(place: str) -> str:
    """What Spark calls the stream of a checkpoint: another one where the checkpoint was removed and begun anew."""
    return str(json.loads(files.get(f"{place}/metadata"))["id"])


def _explained(error: Exception, failure: list[BaseException], source: Source, place: str) -> BaseException:
    if failure:
        return failure[0]
    text = frames.reason(error)
    if re.search("DELTA_SOURCE_(IGNORE|TABLE)|data update|deleted data", f"{error}"):
        return SourceError(
            f"Rows of {source} were changed or deleted, and a stream reads a table that grows.",
            found=text,
            hint='source.options: {skipChangeCommits: "true"} passes over such commits; source.incremental: '
            "{by: version} scores what changed anew.",
        )
    return JobError(
        f"The stream from {source} ended.",
        found=text,
        hint=f"Batches before it are written. Started again, it goes on from {place}.",
        transient=frames.is_transient(error),
    )

"""`vae-anomaly validate`: config, source, model and output held against each other. Writes nothing, trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_model.config.config import Config
from vae_model.detector import Detector, choose
from vae_model.errors import ModelFileError, NothingToScore
from vae_model.places import files
from vae_model.runs import versions
from vae_model.spark import frames
from vae_model.spark.jobs.prepare import prepare
from vae_model.spark.jobs.score import score
from vae_model.spark.sinks import sink
from vae_model.spark.source.table import open_source, where

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def validate(spark: SparkSession, config: Config) -> Iterator[str]:
    """A line for each thing that is in order. Raises the first error there is."""
    source = config.for_reading()
    frame = open_source(spark, source)
    yield f"source  ok: {source}, {len(frame.columns)} columns"
    chosen = choose(frames.columns(frame), config)
    yield "columns ok: " + ", ".join(f"{name} ({taken.kind})" for name, taken in chosen.items())
    where(frame, config.train.normal, "train.normal")
    where(frame, source.where, "source.where")
    yield "predicates ok"
    detector = _model(config)
    if detector is not None:
        yield f"model   ok: {detector.scorer.name} in {config.model.path}"
    else:
        yield f"model   none yet at {config.model.path}" if config.model.path else "model   no path given"
    if config.output is None:
        yield "output  none given"
        return
    try:
        rows = prepare(spark, config, detector, mending=False).rows
        if detector is not None:
            score(rows, detector, config.output.prefix)
    except NothingToScore as error:  # a job would say so each time: what is to come may fit all the same
        yield f"rows    none just now: {error.found}"
    yield f"output  ok: {config.output} ({config.output.format}, {config.output.mode})"
    yield f"promise {sink.check_mode(spark, config.output)}"
    if config.alerts_output is not None:
        yield f"alerts  ok: {config.alerts_output} ({config.alerts_output.format}, {config.output.mode})"
    if config.gates.limits:
        told = ", ".join(f"{gate} {limit}" for gate, limit in config.gates.limits.items())
        kept = config.rejected_output
        yield f"gates   ok: {told}" + (f"; rejected rows go to {kept} ({kept.format})" if kept else "")
    place = config.runs_place
    yield f"runs    {'none' if place is None else f'ok: {place}'}"


def _model(config: Config) -> Detector | None:
    """The model, if its file is there; whether it can be written, if not."""
    if config.model.path is None:
        return None
    try:
        return Detector.load(config.model.path, config.model.version)
    except ModelFileError as error:
        if "does not exist" not in error.problem:
            raise
    kept = versions.place(config.model.path)
    kept.check_writable() if kept else files.check_writable(config.model.path)
    return None

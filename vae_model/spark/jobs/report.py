"""`vae-anomaly report`: the page of a run, from its record, its model and a bounded number of its rows. The table is
read; nothing is written to it.
"""

from __future__ import annotations

import logging
import shlex
import time as clock
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vae_model.config.config import Config
from vae_model.detector import Detector
from vae_model.errors import ConfigError, VaeAnomalyError, nearest
from vae_model.places import files
from vae_model.report.evaluation import Evaluated, read
from vae_model.report.facts import Facts, Rows
from vae_model.report.page import Page, check, page
from vae_model.runs import versions
from vae_model.runs.identity import checked_id
from vae_model.runs.record import RunRecord
from vae_model.spark import frames
from vae_model.spark.jobs.parts import VALUES, check_part, day_column
from vae_model.spark.jobs.portrait import Parts, portrait
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.sinks.reading import existing, rows_of
from vae_model.spark.sinks.runs_table import ledger
from vae_model.spark.sinks.writing import RUN

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from vae_model.config.tables import Output

log = logging.getLogger(__name__)


def report(
    spark: SparkSession,
    config: Config,
    run_id: str | None = None,
    *,
    evaluation: Evaluated | None = None,
    time: str | None = None,
    by: Sequence[str] = (),
    command: str = "",
    record: RunRecord | None = None,
) -> Page:
    """The page of a run as HTML, which a notebook shows: of the one with an id, by default the latest that scored.

    ``evaluation`` is what `vae-anomaly evaluate --result` has written (``evaluation_in``). ``time`` is the column whose
    days are told, by default the only date or timestamp among key and features; ``by`` are the columns whose values
    make segments, by default those of ``decision.by``. ``command`` is what does the run again, ``record`` the run's
    where it is at hand. Raises InputError for a run that is not in the runs table, and columns that are not in the
    output.
    """
    check()
    started = clock.monotonic()
    found = record or find(spark, config, run_id)
    lacks = {}
    model, why = _model(config, found)
    if why:
        lacks["model"] = why
    elif found.decision_digest != config.decision.digest:
        lacks["decision"] = "The config decides otherwise by now: what the run's decision asked for is not known."
    if model is not None and "decision" not in lacks:
        model = model.with_decision(config.decision)
    rows: Rows | None = None
    frame, place, why = _rows(spark, config, found)
    if frame is not None:
        columns = frames.columns(frame)
        segments = tuple(dict.fromkeys(by or config.decision.by or ()))
        for name in segments:
            check_part(columns, name, "--by", VALUES)
        day, notes = day_column(columns, time, [*config.key, *(model.scorer.names if model else ())])
        if not day:
            lacks["time"] = (
                f"{notes[0]}." if notes else "No column is a date or a timestamp: flagged rows are not told by day."
            )
        parts = Parts(config.key, next((one for one in columns if one.name == day), None), segments)
        prefix = config.output.prefix if config.output else ""
        try:
            rows = portrait(frame, place, prefix, model, parts)
        except frames.READ_ERRORS as error:
            why = f"The rows of the run could not be read from {place}: {frames.reason(error)}"
    if rows is None:
        lacks["rows"] = why
    elif found.rows_read is not None and rows.rows < found.rows_read:
        lacks["replaced"] = (
            f"Later runs have replaced {found.rows_read - rows.rows:,} of the run's rows: these are not counted."
        )
    if found.config_digest is not None and found.config_digest != config.digest:
        lacks["config"] = "The config is another than the run's: this is the one of now."
    made = page(Facts(found, config, model, rows, evaluation, lacks, _again(found, command)))
    log_stage("report", rows.rows if rows else None, started)
    return made


def evaluation_in(path: str) -> Evaluated:
    """The evaluation in a file. Raises ConfigError, and StorageError where it cannot be read."""
    try:
        return read(files.get(path), path)
    except OSError as error:
        raise ConfigError(
            f"The evaluation {path} cannot be read.", found=str(error),
            hint="`vae-anomaly evaluate --result FILE` writes one.",
        ) from None  # fmt: skip


def find(spark: SparkSession, config: Config, run_id: str | None) -> RunRecord:
    """The record of a run. Raises ConfigError where there is no such run, or there are no records."""
    kept = ledger(spark, config)
    if kept is None:
        raise ConfigError(
            "The config keeps no record of runs.", "output, or runs: {path: …}", "runs: none",
            "A report is made from a record: `vae-anomaly run --report FILE` makes one with the run.",
        )  # fmt: skip
    if run_id is not None:
        try:
            checked_id(run_id)
        except ConfigError as error:
            hint = "`vae-anomaly runs` shows the ids. Leave --run out: the latest."
            raise ConfigError("--run is no id that a run can have.", error.expected, error.found, hint) from None
        if found := kept.find(run_id) or kept.find(run_id, trains=True):
            return found
    records = kept.records()
    if not records:
        raise ConfigError(
            f"There is no run yet in {config.runs_place}.", hint="`vae-anomaly run --config FILE` makes one."
        )
    if run_id is None:
        return next((one for one in records if not one.trains), records[0])
    known = [one.run_id for one in records]
    raise ConfigError(
        f"The run {run_id} is not in {config.runs_place}.", "the id of a run, as `vae-anomaly runs` shows it",
        f"{len(known):,} run{'' if len(known) == 1 else 's'}, the latest {', '.join(known[:3])}",
        nearest(run_id, known) or "Leave --run out: the latest.",
    )  # fmt: skip


def _model(config: Config, record: RunRecord) -> tuple[Detector | None, str]:
    """The model of a run; or None, and why."""
    if record.model is None:
        return None, "The run has not come to a model."
    path, digits = config.model.path, record.model.rpartition("@")[2]
    if path is None:
        return None, "The config names no model."
    try:
        kept = versions.place(path, config.model.version)
        detector = Detector.load(path) if kept is None else Detector.load(path, digits)
    except VaeAnomalyError as error:
        return None, f"The model of the run, {record.model}, is not there: {error.problem}"
    if detector.header["sha256"].startswith(digits):
        return detector, ""
    return None, f"The model of the run, {record.model}, has been replaced since, by {detector.scorer.name}."


def _rows(spark: SparkSession, config: Config, record: RunRecord) -> tuple[DataFrame | None, str, str]:
    """The rows that a run has scored and where they are; or None, and why."""
    output: Output | None = config.output
    if record.trains:
        return None, "", "The run only trained: it has scored no rows."
    if record.status == "gated":
        output = config.rejected_output
        if (record.gate or "").startswith("train."):
            return None, "", "The run has scored no rows: the gate kept its model from use."
        if record.rejected is None:
            return None, "", "The rows that the gate kept back were not kept: gates.keep_rejected says where to."
        if output is None or record.rejected != str(output):
            kept = f"The rows that the gate kept back were kept in {record.rejected}"
            return None, "", f"{kept}, which is not gates.keep_rejected of the config."
    elif record.status != "succeeded":
        return None, "", "The run has published no rows."
    if output is None or (record.status != "gated" and str(output) != record.output):
        return None, "", f"The run wrote to {record.output}, which is not the output of the config."
    try:
        frame = existing(spark, output)
        if frame is None or output.prefix + RUN not in frame.columns:
            return None, "", f"The rows are not in {output} any more."
        own = rows_of(frame, output, record.run_id)
        if own.isEmpty():
            return None, "", f"There is no row of the run in {output}: it had none, or later runs have replaced them."
        return own, str(output), ""
    except VaeAnomalyError as error:
        return None, "", f"The rows in {output} cannot be read: {error.problem}"
    except frames.ENGINE_ERRORS as error:
        return None, "", f"The rows in {output} cannot be read: {frames.reason(error)}"


def _again(record: RunRecord, command: str) -> str:
    """What does the run again. Without its id: the id of a run that is done is that of its rows."""
    return command or f"vae-anomaly {shlex.quote(record.command)} --config FILE"

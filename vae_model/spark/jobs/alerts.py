"""The alerts of a run: chosen among the rows that it wrote, explained, and written."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from vae_model.config.config import Config
from vae_model.config.tables import Output
from vae_model.decisions import fdr
from vae_model.detector import Detector
from vae_model.errors import JobError, SchemaError
from vae_model.features import schema
from vae_model.runs.record import Stage
from vae_model.scoring.output import OUTPUT
from vae_model.spark import frames
from vae_model.spark.jobs import tries
from vae_model.spark.jobs.stage import log_stage
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.alerts import flat, sentence, stale, worst_first
from vae_model.spark.sinks.reading import existing, rows_of, written
from vae_model.spark.sinks.top_rows import SAME
from vae_model.spark.sinks.writing import Writing
from vae_model.spark.source.table import open_source
from vae_model.spark.workers import transport, udf

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

log = logging.getLogger(__name__)


def write(
    spark: SparkSession, config: Config, scored: Writing, columns: StructType, detector: Detector | None
) -> Stage | None:
    """Write the alerts among the rows that a run has written; None where the config asks for none.

    ``scored`` is the order by which the rows were written, ``columns`` are theirs. Without the detector that scored
    them, the reasons are those that the rows have. Raises JobError.
    """
    output, alerts = config.for_scoring().output, config.alerts_output
    if alerts is None:
        return None
    run, started = scored.stamp.run, time.monotonic()
    try:
        rows = written(spark, output, run, columns)
        if _is_replaced(spark, rows, scored):
            log.info("The rows of the run %s were replaced by another's: so are its alerts", run)
            return log_stage("alerts", 0, started)
        chosen = _chosen(rows, config, detector)
        made = flat(*_explained(chosen, output.prefix, detector), output.prefix, config.key)
        keys = chosen.select(*map(frames.column, config.key))
        for attempt in tries.tries(alerts):
            with attempt, transport.as_rows(spark):
                gone = stale(keys, config, alerts, run) if alerts.mode == "merge" and not scored.anew else None
                stamp = replace(scored.stamp, position=None, mode=alerts.mode, alerts=False)
                sink.write(made, Writing(alerts, stamp, scored.where, scored.anew, gone, keys))
        return log_stage("alerts", _count(spark, alerts, run), started)
    except frames.ENGINE_ERRORS as error:
        raise JobError(
            f"The rows of the run {run} are in {output}, but its alerts could not be written to {alerts}.",
            found=frames.reason(error),
            hint="Run it again by its id. Another run does it too, before it writes rows of its own.",
            transient=frames.is_transient(error),
        ) from error


def make_up(spark: SparkSession, config: Config, detector: Detector | None, but: str = "") -> None:
    """Write the alerts that the output's last run has not come to: it was killed when its rows were there.

    ``but`` is the run that will write its own. Which slice a run has replaced, nobody knows any more: a warning.
    """
    alerts, (source, output) = config.alerts_output, config.for_scoring()
    last = sink.stamp(spark, output) if alerts else None
    if alerts is None or last is None or not last.alerts or last.run == but or not _lacks(spark, alerts, last.run):
        return
    if alerts.mode == "replace_where":
        log.warning("The run %s was cut off before its alerts were written to %s: run it again", last.run, alerts)
        return
    log.info("The run %s was cut off before its alerts were written: this is done first", last.run)
    found = [*open_source(spark, source).schema.fields]
    found += [StructField(output.prefix + field.name, field.dataType) for field in frames.from_arrow(OUTPUT)]
    known = detector if detector and detector.scorer.name == last.model else None
    write(spark, config, Writing(output, last), StructType(found), known)


def made_up(spark: SparkSession, config: Config, detector: Detector, run: str) -> int | None:
    """How many alerts a run has that wrote its rows before; first of all those that are lacking are written."""
    make_up(spark, config, detector)
    return _count(spark, config.alerts_output, run) if config.alerts_output else None


def _lacks(spark: SparkSession, alerts: Output, run: str) -> bool:
    """Whether nothing says that a run has written its alerts."""
    stamp, there = sink.stamp(spark, alerts), existing(spark, alerts)
    return (stamp is None or stamp.run != run) and (there is None or rows_of(there, alerts, run).isEmpty())


def _count(spark: SparkSession, alerts: Output, run: str) -> int:
    there = existing(spark, alerts)
    return 0 if there is None else rows_of(there, alerts, run).count()


def _is_replaced(spark: SparkSession, rows: DataFrame, scored: Writing) -> bool:
    """Whether another run has put its rows in the place of all of these."""
    last = sink.stamp(spark, scored.output) if scored.mode in ("replace", "replace_where") else None
    return last is not None and last.run != scored.stamp.run and rows.isEmpty()


def _chosen(rows: DataFrame, config: Config, detector: Detector | None) -> DataFrame:
    """The rows of a run that are alerts: all that are flagged, the worst of them, or by the false-discovery rate."""
    alerts, prefix = config.alerts, config.for_scoring().output.prefix
    if alerts is not None and alerts.fdr is not None:
        p_value = frames.column(prefix + "anomaly_p_value")
        cutoff = _cutoff(rows.where(p_value.isNotNull()), p_value, alerts.fdr, detector)
        return rows.where(F.lit(False) if cutoff is None else p_value <= F.lit(cutoff))
    flagged = rows.where(frames.column(prefix + "is_anomaly"))
    if alerts is None or alerts.budget is None:
        return flagged
    return flagged.orderBy(*worst_first(prefix, config.key)).limit(alerts.budget)


def _cutoff(scored: DataFrame, p_value: Column, rate: float, detector: Detector | None) -> float | None:
    """The largest p-value of an alert; where they are too coarse for any, a warning says what it would take."""
    counted = frames.to_arrow(scored.groupBy(p_value.alias("p")).agg(F.count(F.lit(1)).alias("rows")))
    p_values, counts = np.asarray(counted["p"], np.float64), np.asarray(counted["rows"], np.int64)
    found, finest = fdr.cutoff(p_values, counts, rate), detector.calibration.finest_rate if detector else 0.0
    at_finest = int(counts[p_values == finest].sum())
    needed = fdr.need(int(counts.sum()), at_finest, finest, rate) if found is None else None
    if needed is not None:
        log.warning(
            "No row is an alert by alerts.fdr %g: the finest p-value there can be, %.3g, is too coarse for %d scored "
            "rows, of which %d have it. It would take %d rows that have it; or %d held-out rows (train.rows, "
            "train.calibration); or a run of at most %d scored rows.",
            rate, finest, int(counts.sum()), at_finest, *needed,
        )  # fmt: skip
    return found


def _explained(chosen: DataFrame, prefix: str, detector: Detector | None) -> tuple[DataFrame, Column, Column]:
    """Rows of a scored table, and columns of the reasons of each and of the sentence: the scorer's own, or those that
    the table has where the columns, as the table holds them, do not give the row its score any more.
    """
    there = frames.column(prefix + "anomaly_reasons")
    said = sentence(there)
    try:
        if detector is None or detector.scorer.windows:  # no window is in the table of a few rows
            return chosen, there, said
        schema.check_fits_model(frames.columns(chosen), detector.spec.trained)
    except SchemaError as error:
        log.debug("The alerts have the reasons of the scored table: %s", error)
        return chosen, there, said
    own = "_" * (1 + max(map(len, chosen.columns)))  # no column begins with so many
    function = udf.scoring_udf(chosen.sparkSession, detector.to_bytes(), detector.scorer, explains=True)
    explained = udf.add_scores(chosen, function, detector.scorer, own, explains=True)
    before, now = frames.column(prefix + "anomaly_score"), frames.column(own + "anomaly_score")
    is_same = F.abs(now - before) <= F.lit(SAME) * F.abs(before)
    ours = (frames.column(own + name) for name in ("anomaly_reasons", "reason"))
    reasons, reason = (F.when(is_same, one).otherwise(other) for one, other in zip(ours, (there, said), strict=True))
    return explained, reasons, reason

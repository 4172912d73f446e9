"""The alerts table: the config's held against everything else before any work, and its rows, one flat row an alert."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Window
from pyspark.sql import functions as F

from vae_model.config.config import Config
from vae_model.config.tables import Output
from vae_model.errors import OutputError, SchemaError
from vae_model.places import literals
from vae_model.spark.frames import column, columns, without
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import existing, in_sql, read_output
from vae_model.spark.sinks.sliced import needs_more
from vae_model.spark.sinks.writing import RUN

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ALERT = pa.schema(
    [
        (RUN, pa.string()),
        ("rank", pa.int64()),
        ("anomaly_score", pa.float64()),
        ("anomaly_p_value", pa.float64()),
        ("top_feature", pa.string()),
        ("observed", pa.string()),
        ("expected", pa.string()),
        ("share", pa.float64()),
        ("reason", pa.string()),
        ("anomaly_model", pa.string()),
    ]
)
"""The columns after those of the key, in order."""


def check_alerts(spark: SparkSession, config: Config, frame: DataFrame, slice_: str | None, anew: bool) -> None:
    """Before any work: the alerts table is a place of its own, has columns for all that an alert says, and can be
    written as the output is. ``frame`` is the source, ``slice_`` what ``replace_where`` replaces; ``anew``: all of it
    is replaced. Raises OutputError and SchemaError.
    """
    source, output = config.for_scoring()
    alerts = config.alerts_output
    if alerts is None:
        return
    sink.check_apart(spark, "alerts", alerts, {"source": source, "output": output, "runs": config.runs_place})
    names = {name.lower() for name in ALERT.names}
    if clash := [name for name in config.key if name.lower() in names]:
        raise SchemaError(
            f"The key has columns named like those of an alert: {', '.join(clash)}.",
            f"none named {', '.join(ALERT.names)}",
            hint="Rename them in a view.",
        )
    if maps := [one.name for one in columns(frame) if one.name in config.key and "map<" in one.type]:
        raise SchemaError(
            f"Alerts cannot be ordered by the key's column {', '.join(maps)}.", "types that have an order", "a map",
            "Choose another column that identifies a row.",
        )  # fmt: skip
    keys = frame.select(*map(column, config.key))
    if anew:
        alerts = alerts.model_copy(update={"mode": "replace"})
    elif alerts.mode == "replace_where" and (found := needs_more(keys, config.key, slice_ or "")):
        raise OutputError(
            f"Which alerts belong to the slice of {output} cannot be told: they have no columns of the source but the "
            "key's.",
            f"a predicate over {', '.join(config.key)} alone",
            found,
            "Add the columns of the slice to key, or set output.where to a predicate over the key.",
        )
    if lacking := [name for name in alerts.partition_by if name not in config.key]:
        raise OutputError(
            "The alerts table cannot be partitioned as the output is.",
            f"columns of key in output.partition_by: {', '.join(config.key)}",
            ", ".join(lacking),
            "Add them to key, or use alerts.format: delta.",
        )
    try:
        sink.check_output(spark, source, alerts, keys, config.key, ALERT)
    except OutputError as error:
        problem, expected, found, hint = map(_of_alerts, error.args[:4])
        raise OutputError(f"alerts: {problem}", expected, found, hint, error.transient) from None


def _of_alerts(text: str) -> str:
    """What is said of an output's keys, of those that the alerts table has itself."""
    return re.sub(r"\boutput\.(path|table|format)\b", r"alerts.\1", text)


def flat(chosen: DataFrame, reasons: Column, reason: Column, prefix: str, key: list[str]) -> DataFrame:
    """A row for each of some scored rows: its key and the columns of ``ALERT``. Rank 1 is the worst; ties go by key."""
    first = F.get(reasons, 0)
    of_run = Window.partitionBy(column(prefix + RUN)).orderBy(*worst_first(prefix, key))
    named = {
        RUN: column(prefix + RUN),
        "rank": F.row_number().over(of_run).cast("bigint"),
        "anomaly_score": column(prefix + "anomaly_score"),
        "anomaly_p_value": column(prefix + "anomaly_p_value"),
        "top_feature": first.getField("feature"),
        "observed": first.getField("observed"),
        "expected": first.getField("expected"),
        "share": first.getField("share"),
        "reason": reason,
        "anomaly_model": column(prefix + "anomaly_model"),
    }
    return chosen.select(*map(column, key), *(value.alias(name) for name, value in named.items()))


def sentence(reasons: Column) -> Column:
    """The first of some reasons in words, as far as they tell it; null where there is none."""
    feature, observed, expected = map(F.get(reasons, 0).getField, ("feature", "observed", "expected"))
    return F.concat(feature, F.lit(" "), observed, F.lit(", expected "), expected, F.lit("."))


def worst_first(prefix: str, key: list[str]) -> list[Column]:
    """The order of scored rows, the same on each engine: by what they were decided by, and of the finest p-value by
    their scores.
    """
    p_value, score = (column(prefix + name) for name in ("anomaly_p_value", "anomaly_score"))
    return [p_value.asc(), score.desc(), *(column(name).asc_nulls_first() for name in key)]


def stale(chosen: DataFrame, config: Config, alerts: Output, run: str) -> DataFrame | None:
    """Keys of alerts that are none any more once a run's are merged: the output has no such row, or one that this or
    another run has scored since. None where there is no alerts table yet.
    """
    spark, key = chosen.sparkSession, config.key
    output, there = config.for_scoring().output, existing(spark, alerts)
    if there is None:
        return None
    own = column(output.prefix + RUN)
    others = read_output(spark, output).where(own != F.lit(run)).select(*map(column, key), own.alias(RUN))
    gone = without(there.select(*map(column, key), column(RUN)), others, [*key, RUN])
    return without(gone.select(*map(column, key)), chosen, key)


def query(alerts: Output, run: str) -> str:
    """A query over the alerts of a run, for Spark SQL."""
    return f"SELECT * FROM {in_sql(alerts)} WHERE {RUN} = {literals.text(run)} ORDER BY rank"  # noqa: S608 - to be shown

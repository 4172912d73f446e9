"""A table of days as a job would write it, without a model: who wrote which row is in it."""

from datetime import date

from pyspark.sql import functions as F

from tests.spark.sinks.orders import order
from vae_model.config.tables import Output
from vae_model.places.listing import NULL_PARTITION
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import read_output

OWN = [
    "id * 1D AS reconstruction_error", "id * 2D AS anomaly_score", "0.5D AS anomaly_p_value", "id > 3 AS is_anomaly",
    "array(named_struct('feature', 'f', 'share', 1D, 'observed', 'o', 'expected', 'e')) AS anomaly_reasons",
    "'ok' AS anomaly_status", "'m@0123456789ab' AS anomaly_model",
]  # fmt: skip
"""The output columns but the run's."""
ONE, TWO, THREE = (date(2026, 1, day) for day in (1, 2, 3))
OLD = [(1, ONE, 1.0), (2, ONE, 2.0), (3, TWO, 3.0), (4, None, 4.0), (5, None, 5.0)]
"""Rows of a first run: id, day, value."""


def output_at(tmp_path, kind, format_, mode, **more):
    """An output of a kind."""
    place = {"path": str(tmp_path / "out")} if kind == "path" else {"table": f"days_{tmp_path.name.lower()}"}
    return Output.model_validate({**place, "format": format_, "mode": mode, **more})


def frame_of(engine, rows, columns="id bigint, day date, value double"):
    """Rows with the output columns that a job adds, but for the run's."""
    return engine.createDataFrame(rows, columns).selectExpr("*", *OWN)


def save(engine, frame, output, run, key=("id",), **more):
    """Write as a run."""
    named = [F.col(name).alias(output.prefix + name) if name in OWN_NAMES else F.col(f"`{name.replace('`', '``')}`")
             for name in frame.columns]  # fmt: skip
    rows = frame.select(*named).withColumn(f"{output.prefix}anomaly_run", F.lit(run))
    sink.write(rows, order(output, run, key, **more))


OWN_NAMES = [text.rpartition(" ")[2] for text in OWN]


def found(engine, output):
    """What the output holds: id, day, value and the run of each row, by id."""
    rows = read_output(engine, output).selectExpr(
        "id", "CAST(day AS STRING)", "value", f"{output.prefix}anomaly_run"
    ).collect()  # fmt: skip
    plain = [(r[0], None if r[1] in (None, NULL_PARTITION) else date.fromisoformat(r[1]), r[2], r[3]) for r in rows]
    return sorted(plain, key=lambda row: (row[0] is None, row))


def by(run, rows):
    """Rows as ``found`` gives them, of a run."""
    return [(*row, run) for row in rows]

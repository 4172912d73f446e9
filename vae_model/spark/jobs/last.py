"""What the runs before have left in an output to which each adds what is new in its source."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vae_model.config.config import Config
from vae_model.config.tables import Output
from vae_model.errors import OutputError
from vae_model.runs.stamp import Stamp
from vae_model.spark.sinks import sink
from vae_model.spark.sinks.reading import existing, rows_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Last(NamedTuple):
    """The output, and what the last run says of it; None where there is none."""

    there: DataFrame | None
    stamp: Stamp | None


def last(spark: SparkSession, output: Output) -> Last:
    """What the last run has left. Raises OutputError where an output can hold nothing but rows."""
    if output.format == "parquet" and output.table is not None:
        raise OutputError(
            "source.incremental needs an output that can say how far its source was read.",
            "output.format delta, or output.path",
            f"the Parquet table {output}",
            "Change output.",
        )
    there = existing(spark, output)
    return Last(there, None if there is None else sink.stamp(spark, output))


def is_done(spark: SparkSession, config: Config, run_id: str | None) -> bool:
    """Whether a run was cut off when its rows were in the output: what is new since then is no more its own."""
    source, output = config.for_scoring()
    if source.incremental is None or run_id is None:
        return False
    sink.mend(output)
    sink.undo(spark, output)
    there, stamp = last(spark, output)
    if there is None or stamp is None:
        return False
    return stamp.run == run_id or not rows_of(there, output, run_id).isEmpty()

"""Counting a scored table: its rows, and those that each of some decisions would flag; by run, day and segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pyspark.sql import functions as F
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from vae_model.errors import SchemaError
from vae_model.evaluation.what_if import Cut, Tallies, Tally
from vae_model.features.schema import Column
from vae_model.scoring.scorer import Scorer
from vae_model.spark.frames import column, free_name, to_arrow

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

MAX_PARTS = 100_000
"""Days, runs and segments that are brought here at most."""
WHOLE, RUNS, DAYS, SEGMENTS = "whole", "run", "day", "segment"


class Parts(NamedTuple):
    """The columns whose values part a table."""

    time: Column | None
    run: str | None
    by: Sequence[str]


def tally(
    frame: DataFrame, prefix: str, scorer: Scorer, cuts: Sequence[Cut], parts: Parts
) -> tuple[Tallies | None, int]:
    """What is counted of the rows that a model has scored, and how many others there are. None where it is no row.

    What is flagged is told by the scores: the table's p-values are those of the decision that it was scored by. The
    rows are read once: counted by all that parts them together, and these counts are added up for each. No row comes
    here. Raises ``frames.READ_ERRORS``, and SchemaError where the parts are too many.
    """
    keys = {f"s{i}": column(name).cast("string") for i, name in enumerate(parts.by)}
    keys |= {"day": day_of(parts.time)} if parts.time else {}
    keys |= {"run": column(parts.run)} if parts.run else {}
    frame, ranked = over_levels(frame, column(prefix + "anomaly_score"), scorer)
    own = F.coalesce(column(prefix + "anomaly_model") == F.lit(scorer.name), F.lit(False))
    conditions = {"rows": own, "scored": own & column(prefix + "anomaly_score").isNotNull(), "others": ~own}
    conditions |= {f"c{i}": own & cut.flags(ranked) for i, cut in enumerate(cuts)}
    counts = [F.count(F.when(condition, 1)).alias(name) for name, condition in conditions.items()]
    finest = frame.groupBy(*(value.alias(name) for name, value in keys.items())).agg(*counts)
    groups = {WHOLE: [], RUNS: ["run"] if parts.run else None, DAYS: ["day"] if parts.time else None,
              SEGMENTS: list(keys)[: len(parts.by)] or None}  # fmt: skip
    told = [group for group, names in groups.items() if names is not None]
    each = finest.withColumn("part", F.explode(F.array(*map(F.lit, told))))
    own_keys = [
        F.when(F.col("part") == next(group for group in told if name in (groups[group] or ())), F.col(name)).alias(name)
        for name in keys
    ]
    sums = [F.sum(name).alias(name) for name in conditions]
    summed = each.select("part", *own_keys, *conditions).groupBy("part", *keys).agg(*sums)
    found = to_arrow(summed.limit(MAX_PARTS + 1)).to_pylist()
    if len(found) > MAX_PARTS:
        raise SchemaError(
            "The table falls into too many days, runs and segments.", f"at most {MAX_PARTS:,}", "more",
            "Choose --by columns with fewer values, or another --time.",
        )  # fmt: skip
    return _tallies(found, len(cuts), len(parts.by))


def over_levels(frame: DataFrame, score: SparkColumn, scorer: Scorer) -> tuple[DataFrame, SparkColumn]:
    """Scored rows, and what is decided on: their scores, over the levels of their segments where it is by them."""
    if scorer.segments is None or not scorer.rule.by:
        return frame, score
    by, other = scorer.segments.by, free_name(frame.columns, "__segment")
    names = [f"{other}{i}" for i in range(len(by))]
    types = [*(StructField(name, StringType()) for name in names), StructField(other, DoubleType())]
    rows = [
        (*values, level) for values, level in zip(scorer.segments.values, scorer.segments.level_S.tolist(), strict=True)
    ]
    levels = frame.sparkSession.createDataFrame(rows, StructType(types))
    conditions = (column(own).cast("string").eqNullSafe(F.col(name)) for own, name in zip(by, names, strict=True))
    joined = frame.join(levels, reduce(and_, conditions), "left")
    return joined, score / F.coalesce(F.col(other), F.lit(1.0))


def day_of(time: Column) -> SparkColumn:
    """The number of a time's day since 1970, in UTC, whatever the session's time zone."""
    value = column(time.name)
    if time.type == "timestamp":
        return F.floor(F.unix_seconds(value) / 86_400).cast("int")
    return F.unix_date(value.cast("date"))


def _tallies(found: Iterable[dict[str, Any]], cuts: int, by: int) -> tuple[Tallies | None, int]:
    """The rows that the engine gives, put in order."""
    whole: Tally | None = None
    runs, days, segments, others = {}, {}, {}, 0
    for row in found:
        one = Tally(row["rows"], row["scored"], tuple(row[f"c{i}"] for i in range(cuts)))
        others += row["others"] if row["part"] == WHOLE else 0
        if not one.rows:
            continue
        if row["part"] == WHOLE:
            whole = one
        elif row["part"] == SEGMENTS:
            segments[tuple(row[f"s{i}"] for i in range(by))] = one
        elif row["part"] == RUNS:
            runs[str(row["run"])] = one
        elif row["day"] is not None:
            days[str(np.datetime64(int(row["day"]), "D"))] = one
    return (Tallies(whole, runs, days, segments) if whole else None), others

"""A look at the first rows of a table: each column's values counted by the engine. No value comes here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from vae_model.config.advice import Counted, is_like_label
from vae_model.features.families import FAMILIES
from vae_model.features.schema import Column
from vae_model.spark import frames

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

LOOK = 20_000
"""At most this many rows are looked at."""
AT_ONCE = 50
"""Columns counted by one query. Of a thousand at once Sail needs ten times as long."""
NUMBER = r"^\s*[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$"
TIME = r"^\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([ T][0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?\s*(Z|[-+][0-9:]+)?)?\s*$"
CODE = r"^0[0-9]+$"
"""Texts by their form. Rust's and Java's regular expressions agree on these signs."""


def look(frame: DataFrame) -> list[Counted]:
    """What is counted of each column over the first rows. Raises ``frames.READ_ERRORS``."""
    found = frames.columns(frame)
    countable = [column for column in found if column.family not in (None, "null", "binary")]
    counted: dict[str, Counted] = {}
    for start in range(0, len(countable), AT_ONCE):
        part = countable[start : start + AT_ONCE]
        first = frame.select(*(frames.column(column.name) for column in part)).limit(LOOK)
        counted |= {one.column.name: one for one in _count(first, part)}
    rows = next(iter(counted.values())).rows if counted else frame.limit(LOOK).count()
    looks = [counted.get(column.name, Counted(column, rows)) for column in found]
    return [_with_rarer(frame, one) if one.distinct == 2 and is_like_label(one.column.name) else one for one in looks]


def _count(first: DataFrame, part: list[Column]) -> Iterator[Counted]:
    counts = [_counts(column) for column in part]
    named = [value.alias(f"{c}_{what}") for c, column in enumerate(counts) for what, value in column.items()]
    row = frames.to_arrow(first.agg(F.count(F.lit(1)).alias("rows"), *named)).to_pylist()[0]
    for c, column in enumerate(part):
        yield Counted(column, row["rows"], **{what: row[f"{c}_{what}"] or 0 for what in counts[c]})


def _counts(column: Column) -> dict[str, Any]:
    """What is asked of the engine about a column: a field of ``Counted`` each."""
    value = frames.column(column.name)
    if column.family == "float":
        value = F.when(~F.isnan(value), value + F.lit(0.0))  # NaN is no value, -0.0 is 0.0
    elif FAMILIES[column.family or ""].is_nested:
        value = F.when(value.isNotNull(), F.size(value))
    # The hashes in a set: Spark would do a distinct count of n columns by n copies of each row. Null has one too, which
    # no condition leaves out: of a column that is constant by its file's statistics Sail would panic.
    hashes, present = F.collect_set(F.xxhash64(value)), F.count(value)
    nulls = F.when(present < F.count(F.lit(1)), 1).otherwise(0)
    counts = {"present": present, "distinct": F.size(hashes) - nulls}
    if column.family != "string":
        return counts
    return counts | {
        "longest": F.max(F.octet_length(value)),
        "letters": F.max(F.char_length(value)),
        "mean": F.avg(F.char_length(value)),
        "spaced": _number_of(value.rlike(r"\S\s+\S")),
        "numbers": _number_of(value.rlike(NUMBER)),
        "times": _number_of(value.rlike(TIME)),
        "zeros": _number_of(value.rlike(CODE)),
    }


def _number_of(condition: SparkColumn) -> SparkColumn:
    return F.count(F.when(condition, 1))


def _with_rarer(frame: DataFrame, one: Counted) -> Counted:
    """With how many rows have the rarer of a column's two values."""
    value = frames.column(one.column.name)
    sizes = frame.select(value.alias("value")).limit(LOOK).where("value IS NOT NULL").groupBy("value").count()
    return replace(one, rarer=frames.to_arrow(sizes.agg(F.min("count").alias("rarer"))).to_pylist()[0]["rarer"])

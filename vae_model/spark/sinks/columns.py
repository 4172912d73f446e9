"""A source whose columns have moved since the output was written: what still fits, and what does not."""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import DataType, DecimalType, StructField, StructType

from vae_model.config.tables import Output
from vae_model.errors import OutputError, listed
from vae_model.runs.stamp import CONTRACT
from vae_model.scoring.output import OUTPUT
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger(__name__)

_WIDER = ("tinyint", "smallint", "int", "bigint"), ("float", "double")
"""Each of a row holds all values of those before it."""


def check_columns(rows: StructType, there: StructType, output: Output) -> None:
    """Raise OutputError where rows cannot be written into an output that is there. Told are all columns that differ.

    Columns may stand in another order, and be of a narrower type than the output's. One that the source has no more is
    null in the new rows, which a warning says. One that the output lacks, or has as a narrower type, is an error: not
    every engine can add or widen it, and one drops it without a word.
    """
    fields = {field.name: field for field in there.fields}
    own = [output.prefix + name for name in OUTPUT.names]
    if own[-1] not in fields and set(own[:-1]) <= fields.keys():
        raise OutputError(
            f"The output {output} was written by an earlier version, whose rows do not say which run wrote them.",
            f"contract version {CONTRACT}, with the column {own[-1]}",
            "contract version 1",
            "Write it anew once with mode: replace, or choose another output.",
        )
    within = {name.lower() for name in output.partition_by} if output.format == "parquet" else set()
    differing = [
        problem
        for field in rows.fields
        if (problem := _problem(field, fields.get(field.name), field.name.lower() in within))
    ]
    given = {field.name for field in rows.fields}
    gone = [field for field in there.fields if field.name not in given]
    differing += [f"column {field.name!r} is gone, and must not be null in the output" for field in gone
                  if not field.nullable]  # fmt: skip
    if differing:
        raise OutputError(
            listed(f"Rows cannot be written to {output}: its columns differ.", differing),
            "columns that the output has, of its types or narrower ones",
            hint="Write the output anew with mode: replace, or give the source as a view with the output's columns.",
        )
    if gone:
        names = ", ".join(field.name for field in gone)
        log.warning("Columns that the source has no more are null in the new rows of %s: %s", output, names)


def _problem(new: StructField, old: StructField | None, is_partition: bool) -> str:
    """What is wrong with a column; nothing where it fits."""
    if old is None:
        return f"column {new.name!r} ({new.dataType.simpleString()}) is not in the output"
    if is_partition or _fits(new.dataType, old.dataType):
        return ""
    return f"column {new.name!r} is {new.dataType.simpleString()}, and {old.dataType.simpleString()} in the output"


def _fits(new: DataType, old: DataType) -> bool:
    """Whether a type holds all values of another."""
    one, other = str(new.simpleString()), str(old.simpleString())
    if one in (other, "void"):
        return True
    if isinstance(new, DecimalType) and isinstance(old, DecimalType):
        return bool(old.scale >= new.scale and old.precision - old.scale >= new.precision - new.scale)
    return any(one in row and other in row and row.index(one) < row.index(other) for row in _WIDER)


def aligned(frame: DataFrame, there: StructType, as_is: Container[str] = ()) -> DataFrame:
    """Rows with an output's columns, in its order and, but for those ``as_is``, of its types; ``check_columns`` has
    found that they fit.
    """
    types = {field.name: field.dataType.simpleString() for field in frame.schema.fields}
    return frame.select(
        *(column(f.name) if f.name in as_is and f.name in types else _as(f, types.get(f.name)) for f in there.fields)
    )


def _as(field: StructField, type_: str | None) -> Column:
    if type_ is None:
        return F.lit(None).cast(field.dataType).alias(field.name)
    value = column(field.name)
    return value if type_ == field.dataType.simpleString() else value.cast(field.dataType).alias(field.name)

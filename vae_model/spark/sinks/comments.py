"""What the output columns mean, as comments on the columns of a Delta table: catalogs and BI tools show them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.places import literals
from vae_model.scoring.output import MEANINGS
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame
    from pyspark.sql.types import StructField


def commented(frame: DataFrame, prefix: str) -> DataFrame:
    """The rows of a table that is about to be made, the output columns among them with comments. A table that is there
    keeps its own: rows that are added to it bring none.
    """
    told = {prefix + name: text for name, text in MEANINGS.items()}
    with_comment = _by_metadata if engine_of(frame.sparkSession).can.metadata else _by_type
    return frame.select(
        *(with_comment(f, told[f.name]) if f.name in told else column(f.name) for f in frame.schema.fields)
    )


def _by_metadata(field: StructField, text: str) -> Column:
    return column(field.name).alias(field.name, metadata={"comment": text})


def _by_type(field: StructField, text: str) -> Column:
    """On Sail, which writes metadata under a name of its own, but takes a comment from the text of a type."""
    type_ = f"struct<x: {field.dataType.simpleString()} comment {literals.text(text)}>"
    return F.struct(column(field.name).alias("x")).cast(type_).getField("x").alias(field.name)

"""Columns of pictures: how many rows of them there is room for here, and rows without them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.spark.frames import column, columns, to_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

MOST_ROWS = 25_000
"""Rows of a sample with pictures: what is held out of them aside, no more are trained on (``training.pictures``)."""
MOST_BYTES = 1_000_000_000
"""Of the files, or arrays, of a sample: they are all brought to the driver. Also what Spark lets a driver receive."""
FEWEST = 100
"""Rows of a sample, however large their pictures are: as `train.rows` has it."""


def room(frame: DataFrame, names: Sequence[str], rows: int) -> int:
    """For how many rows of some columns of pictures there is room: ``rows``, or fewer where they are large. Reads the
    columns once.
    """
    most = min(rows, MOST_ROWS)
    families = {found.name: found.family for found in columns(frame)}
    size = F.lit(0)
    for name in names:
        value = column(name)
        length = F.size(value) * F.lit(8) if families[name] == "array" else F.octet_length(value)
        size = size + F.when(value.isNotNull(), length).otherwise(0)
    mean = to_arrow(frame.select(F.avg(size).alias("mean"))).column(0)[0].as_py() or 0
    if rows > MOST_ROWS:
        log.info("The sample is of at most %s rows, as it has pictures", f"{MOST_ROWS:,}")
    if most * mean > MOST_BYTES:
        most = max(int(MOST_BYTES / mean), FEWEST)
        log.info("Pictures of %s kB a row: the sample is of at most %s rows", f"{mean / 1000:,.0f}", f"{most:,}")
    return most


def with_paths(frame: DataFrame) -> DataFrame:
    """Files as rows, with the same paths on every engine: Spark says file:/data/a.png of what is data/a.png to Sail."""
    path = F.col("path")
    bare = F.regexp_replace(path, "^(file:)?/*", "/")
    is_elsewhere = path.rlike("^[A-Za-z0-9+.-]+:/") & ~path.rlike("^file:")
    told = F.when(is_elsewhere, path).otherwise(bare)
    return frame.select(told.alias("path"), *(column(name) for name in frame.columns if name != "path"))


def without(frame: DataFrame, names: Sequence[str]) -> DataFrame:
    """Rows with empty files for pictures: all that is told of them is whether they are there."""
    if not names:
        return frame
    return frame.select(
        *(
            F.when(column(name).isNotNull(), F.lit("")).cast("binary").alias(name) if name in names else column(name)
            for name in frame.columns
        )
    )

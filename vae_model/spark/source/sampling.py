"""The training sample: rows chosen by a stable hash of their key, brought to the driver once, as Arrow.

``xxhash64`` gives the same number for the same values on every engine and in every run, so the sample is the same
whatever the partitions, and a retried task draws the same rows. ``rand()`` promises neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import functions as F

from vae_model.spark.frames import column, to_arrow

CHOICE_BITS, SPLIT_BITS = 62, 20
_CHOICE, _TIE = "__vae_choice", "__vae_tie"


@dataclass(frozen=True)
class Sample:
    """Normal rows on the driver, only the feature columns."""

    training: pa.Table
    calibration: pa.Table
    normal_rows: int
    """How many rows of the table count as normal."""


def draw(frame: Any, key: Sequence[str], features: Sequence[str], rows: int, calibration: float, seed: int) -> Sample:
    """Draw at most ``rows`` rows of ``frame`` by hash and keep the share ``calibration`` of them apart.

    Never brings more than about ``rows`` + 5 sqrt(rows) rows to the driver (at most twice ``rows`` where keys repeat),
    and reads only key and feature columns.
    """
    total = frame.count()
    choice = F.xxhash64(*(column(name) for name in key or features), F.lit(seed)).bitwiseAND(F.lit(2**CHOICE_BITS - 1))
    tie = F.xxhash64(*(column(name) for name in features), F.lit(seed))
    if total > rows:  # first of all: a tie is broken among the chosen only
        share = (rows + 5 * math.sqrt(rows)) / total
        frame = frame.where(choice < F.lit(int(share * 2**CHOICE_BITS)))
    chosen = frame.select(*(column(name) for name in features), choice.alias(_CHOICE), tie.alias(_TIE))
    table = to_arrow(chosen.limit(2 * rows))
    order = pc.sort_indices(table, [(_CHOICE, "ascending"), (_TIE, "ascending")])[:rows]
    hashes = table.column(_CHOICE).take(order).to_numpy()
    table = table.select(list(features)).take(order)
    held_out = hashes % 2**SPLIT_BITS < calibration * 2**SPLIT_BITS
    return Sample(table.take(np.flatnonzero(~held_out)), table.take(np.flatnonzero(held_out)), total)

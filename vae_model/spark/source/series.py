"""Rows that come one after the other, as an engine brings them: each numbered within its series.

``row_number()`` over a window of Spark's sorts the rows of a series and lays them one after the other, on every engine;
a plain sort before Python is optimised away by some.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence as Listed
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyspark.sql import Window
from pyspark.sql import functions as F

from vae_model.features.sequence import PLACE, TIMES, UNITS, Sequence, held_out, places, stretch, ticks
from vae_model.features.spec import combine
from vae_model.spark.frames import column, free_name, to_arrow
from vae_model.spark.source.sampling import CHOICE_BITS, Sample
from vae_model.spark.source.table import where

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger(__name__)

CLOCKS = 2 * UNITS["d"]
"""So much more is read: a date, or a time without a zone, is a moment by the session's clocks, which are put forward
and back."""


def numbered(frame: DataFrame, sequence: Sequence, key: Listed[str], features: Listed[str]) -> tuple[DataFrame, str]:
    """Add the number of each row in its series, from 1 on, in a column whose name is returned. The rows of a series lie
    one after the other. What the order holds for equal stands by the key, and then by a hash of the features.
    """
    name = free_name(frame.columns, "__number")
    ties = [column(one).asc_nulls_first() for one in key if one not in sequence.names]
    order = [column(sequence.order).asc_nulls_first(), *ties, F.xxhash64(*map(column, features))]
    by = [column(one) for one in sequence.by] or [F.lit(0)]  # without any Spark warns that there is one series
    window = Window.partitionBy(*by).orderBy(*order)
    return frame.withColumn(name, F.row_number().over(window)), name


def with_look_back(frame: DataFrame, condition: Column, sequence: Sequence) -> tuple[DataFrame, str]:
    """Rows of a table that meet a condition, and those before them that their windows may need; a column, whose name is
    returned, says which are which.

    How far back that is, is known where no gap may be longer than ``max_gap``; else all rows of the table are read.
    """
    own = free_name(frame.columns, "__own")
    marked = frame.withColumn(own, F.coalesce(condition, F.lit(False)))
    if sequence.max_gap is None:
        return marked, own
    order = column(sequence.order)
    is_time = sequence.family in TIMES
    tick = F.unix_micros(order.cast("timestamp")) if is_time else order.cast("double")
    first = marked.where(F.col(own)).agg(F.min(tick).alias("first")).collect()[0][0]
    if first is None:
        return marked.where(F.col(own)), own
    reach = (sequence.length - 1) * sequence.max_gap
    reach += CLOCKS if is_time else 1e-12 * abs(first)  # a large whole number is not exact as a float
    return marked.where(F.col(own) | (tick >= F.lit(first - (int(reach) if is_time else reach)))), own


def draw(
    frame: DataFrame,
    normal: str | None,
    key: Listed[str],
    features: Listed[str],
    sequence: Sequence,
    rows: int,
    calibration: float,
    seed: int,
    more: Listed[str] = (),
) -> Sample:
    """Draw about ``rows`` normal rows as stretches, by the hash of the series and the stretch's number, and hold the
    share ``calibration`` of the stretches apart; of few stretches the end of each.

    A row that is not normal leaves a hole, which no window reaches across. The tables have the column ``PLACE``.
    """
    names = list(dict.fromkeys([*features, *more, sequence.order]))
    rank, number = numbered(frame, sequence, key, features)
    kept = rank if normal is None else where(rank, normal, "train.normal")
    part = F.floor((column(number) - F.lit(1)) / F.lit(stretch(sequence.length))).cast("bigint")
    mask = F.lit(2**CHOICE_BITS - 1)
    told = [value for name in sequence.by for value in (column(name), F.lit(0))]  # a null leaves a hash as it was
    series = F.xxhash64(*told, F.lit(seed)).bitwiseAND(mask)
    choice = F.xxhash64(*told, part, F.lit(seed)).bitwiseAND(mask)
    total = kept.count()
    enough = rows + 3 * math.sqrt(rows * stretch(sequence.length))  # so many rows come together or not at all
    share = min(1.0, enough / total) if total > rows else 1.0
    found = kept.select(
        *(column(name).alias(str(i)) for i, name in enumerate(names)),
        column(number).alias("number"), series.alias("series"), choice.alias("choice"),
    )  # fmt: skip
    chosen = found if share == 1 else found.where(choice < F.lit(int(share * 2**CHOICE_BITS)))
    table = to_arrow(chosen.limit(2 * math.ceil(enough)))
    if not len(table) and total:  # a table of very few stretches
        table = to_arrow(found.orderBy("choice", "number").limit(rows))
    table = table.sort_by([("series", "ascending"), ("number", "ascending")])
    series_N, number_N, choice_N = (table.column(name).to_numpy() for name in ("series", "number", "choice"))
    is_after_N = np.zeros(len(table), dtype=bool)
    is_after_N[1:] = (np.diff(number_N) == 1) & (series_N[1:] == series_N[:-1])
    is_other_N = np.append(False, series_N[1:] != series_N[:-1])
    place_N = places(np.cumsum(is_other_N), number_N)
    _warn_of_ties(table.column(str(names.index(sequence.order))), is_after_N, sequence)
    is_kept_N, is_held_out_N = _parts(choice_N, rows, calibration)
    named = table.select(list(map(str, range(len(names))))).rename_columns(names)
    named = named.append_column(PLACE, pa.array(place_N))
    training_N, held_out_N = is_kept_N & ~is_held_out_N, is_kept_N & is_held_out_N
    training, held_out = (named.filter(pa.array(own_N)) for own_N in (training_N, held_out_N))
    return Sample(training, held_out, total, choice_N[training_N], choice_N[held_out_N])


def _warn_of_ties(order: pa.ChunkedArray, is_after_N: NDArray[np.bool_], sequence: Sequence) -> None:
    tick_N = ticks(sequence.typed(combine(order)))
    tied = int(np.count_nonzero(is_after_N[1:] & (tick_N[1:] == tick_N[:-1])))
    if tied:
        log.warning(
            "%s of %s rows drawn have the %s of the row before them in the same series: they are taken for rows one "
            "after the other", f"{tied:,}", f"{len(tick_N):,}", sequence.order,
        )  # fmt: skip


def _parts(choice_N: NDArray[np.int64], rows: int, calibration: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) which rows are taken, whole stretches in the order of their hashes, and which of them are held out."""
    _, stretch_N, count = np.unique(choice_N, return_inverse=True, return_counts=True)
    is_kept_N = (np.cumsum(count) - count < rows)[stretch_N]
    is_held_out_N = np.zeros(len(choice_N), dtype=bool)
    is_held_out_N[is_kept_N] = held_out(stretch_N[is_kept_N], calibration)
    return is_kept_N, is_held_out_N

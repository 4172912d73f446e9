"""The training sample: rows chosen by a stable hash of their key, brought to the driver once, as Arrow.

``xxhash64`` gives the same number for the same values on every engine and in every run, so the sample is the same
whatever the partitions, and a retried task draws the same rows. ``rand()`` promises neither.

A key that identifies rows takes one pass that hashes the key alone: whatever the features, the same rows. Where the
draw shows that it does not, rows are drawn once more by key and features; where those repeat too, by counting them.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import functions as F

from vae_model.features.categories import MAX_BYTES
from vae_model.spark.frames import column, to_arrow

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger(__name__)

CHOICE_BITS, SPLIT_BITS = 62, 20
COMMON = 100
"""A row that makes up more than one in so many of the sample is common: its copies are split."""
COPIES, LOOK_COPIES = 2, 20
"""So many rows drawn may have the same hash, on average, where they are to be a sample, and where they are looked at:
there, to draw them otherwise would take longer than to score them."""
_CHOICE, _KEY, _ROW, _COPIES = "choice", "key", "row", "copies"
"""Columns of a draw beside the features, which have numbers for names meanwhile: the two never meet."""


@dataclass(frozen=True)
class Sample:
    """Normal rows on the driver, only the feature columns."""

    training: pa.Table
    calibration: pa.Table
    normal_rows: int
    """How many rows of the table count as normal."""
    training_hashes: NDArray[np.int64]
    """Of each training row, a hash of key and features."""
    calibration_hashes: NDArray[np.int64]


@dataclass(frozen=True)
class Others:
    """Rows of a table on the driver, none of which was trained on."""

    rows: pa.Table
    """The feature columns, in an order that says nothing."""
    is_held_out: NDArray[np.bool_]
    """Whether each is among the held-out rows of the training sample."""
    weight: float
    """How many rows of the table each stands for."""


def draw(
    frame: DataFrame,
    key: Sequence[str],
    features: Sequence[str],
    rows: int,
    calibration: float,
    seed: int,
    more: Sequence[str] = (),
) -> Sample:
    """Draw at most ``rows`` rows of ``frame`` by hash and keep the share ``calibration`` of them apart. The columns
    ``more`` come with the features, and have no say in which rows are drawn.

    Never brings more than twice ``rows`` rows to the driver at once, as a rule ``rows`` + 5 sqrt(rows), and reads only
    key and feature columns. Warns where the drawn rows show that the key does not identify a row.
    """
    total = frame.count()
    draws = _Draws(frame, key, features, rows, _share(rows, total), seed, more)
    first, table = draws.whole(total)
    if key:
        _warn_of_repeats(key, first if _distinct(first, _KEY) < len(first) else table)
    training, held_out = _split(table, rows, calibration)
    return Sample(
        draws.named(training),
        draws.named(held_out),
        total,
        training.column(_ROW).to_numpy(),
        held_out.column(_ROW).to_numpy(),
    )


def draw_others(
    frame: DataFrame,
    key: Sequence[str],
    features: Sequence[str],
    rows: int,
    seed: int,
    sample: Sample,
    more: Sequence[str] = (),
) -> Others | None:
    """Draw at most ``rows`` rows of ``frame`` that a sample did not train on; None where there is no such row.

    ``key``, ``features`` and ``seed`` are those of the sample; the columns ``more`` come with the features. The
    sample's rows have the lowest hashes, so these are drawn from the highest on: the sample is met only where the table
    has hardly more rows.
    """
    total = frame.count()
    draws = _Draws(frame, key, features, rows, _share(rows, total), seed, more, from_the_end=True)
    _, table = draws.whole(total)
    table = table.take(pc.sort_indices(table, [(_CHOICE, "ascending"), (_ROW, "ascending")])).slice(0, rows)
    table = table.filter(pa.array(~np.isin(table.column(_ROW).to_numpy(), sample.training_hashes)))
    if not len(table):
        return None
    is_held_out = np.isin(table.column(_ROW).to_numpy(), sample.calibration_hashes)
    return Others(draws.named(table), is_held_out, total / len(table))


def look(frame: DataFrame, key: Sequence[str], features: Sequence[str], rows: int, seed: int) -> tuple[pa.Table, int]:
    """About ``rows`` rows of ``frame``, drawn by hash, or all where they are no more; and how many there are. Only the
    feature columns.
    """
    total = frame.count()
    draws = _Draws(frame, key, features, rows, _share(rows, total), seed)
    _, table = draws.whole(total, LOOK_COPIES)
    return draws.named(table), total


def _share(rows: int, total: int) -> float:
    """The share of a table to draw: so that hardly ever fewer than ``rows`` come."""
    return (rows + 5 * math.sqrt(rows)) / total if total > rows else 1.0


@dataclass(frozen=True)
class _Draws:
    """Ways to draw a share of a table's rows."""

    frame: DataFrame
    key: Sequence[str]
    features: Sequence[str]
    rows: int
    share: float
    seed: int
    more: Sequence[str] = ()
    """Columns that come with the features, and have no say in which rows are drawn."""
    from_the_end: bool = False
    """Whether the rows of the highest hashes are chosen instead of the lowest."""

    @property
    def names(self) -> list[str]:
        """The columns that a draw brings."""
        return [*self.features, *self.more]

    def named(self, table: pa.Table) -> pa.Table:
        """These columns of a draw, by their names."""
        return table.select(list(map(str, range(len(self.names))))).rename_columns(self.names)

    def whole(self, total: int, copies: int = COPIES) -> tuple[pa.Table, pa.Table]:
        """The rows drawn by the hash of the key, and those of the first way that gives as many as it should."""
        first = table = self.by_hash(self.key or self.features)
        if total > self.rows:
            if self.key and not self.is_even(table, copies):
                table = self.by_hash([*self.key, *self.features])
            if not self.is_even(table, copies):
                table = self.by_count()
        return first, table

    def by_hash(self, names: Sequence[str]) -> pa.Table:
        """The rows whose hash of some columns is among the lowest: equal rows come together or not at all."""
        frame, choice = self.frame, self._hash(names)
        if self.from_the_end:
            choice = F.lit(2**CHOICE_BITS - 1) - choice
        if self.share < 1:  # first of all: the other hashes are of the chosen only
            frame = frame.where(choice < F.lit(int(self.share * 2**CHOICE_BITS)))
        return self._here(frame.select(*self._carried(), choice.alias(_CHOICE), self._key(), self._row()))

    def by_count(self) -> pa.Table:
        """The share of each row's copies, rounded up or down by its hash; a row without copies is chosen as above.

        Shuffles every different row once: for tables of which most rows have equals.
        """
        names = [*map(str, range(len(self.names))), _KEY]
        rows = self.frame.select(*self._carried(), self._key(), self._row())
        counted = rows.groupBy(_ROW).agg(*(F.first(column(name)).alias(name) for name in names),
                                         F.count(F.lit(1)).alias(_COPIES))  # fmt: skip
        expected = column(_COPIES).cast("double") * F.lit(self.share)
        table = self._here(counted.where(column(_ROW).cast("double") < expected * F.lit(2.0**CHOICE_BITS)))
        chance = 1 - table.column(_ROW).to_numpy() / 2.0**CHOICE_BITS
        times = np.floor(table.column(_COPIES).to_numpy() * min(self.share, 1.0) + chance).clip(1).astype(np.int64)
        return _by_row(table.take(np.repeat(np.arange(len(table)), times)))

    def is_even(self, table: pa.Table, copies: int) -> bool:
        """Whether a draw has about as many rows as it should, and on average fewer than ``copies`` of the same hash."""
        fewest = self.rows if copies == COPIES else self.rows // 2
        return fewest <= len(table) < 2 * self.rows and copies * _distinct(table, _CHOICE) > len(table)

    def _here(self, frame: DataFrame) -> pa.Table:
        return to_arrow(frame.limit(2 * self.rows))

    def _carried(self) -> list[Column]:
        """The columns, each by its number; of text no more than says whether it is too long for a category."""
        types = dict(self.frame.dtypes)
        values = [
            F.substring(column(name), 1, MAX_BYTES + 1) if types.get(name) == "string" else column(name)
            for name in self.names
        ]
        return [value.alias(str(number)) for number, value in enumerate(values)]

    def _key(self) -> Column:
        return (self._hash(self.key) if self.key else F.lit(0)).alias(_KEY)

    def _row(self) -> Column:
        return self._hash([*self.key, *self.features], apart=True).alias(_ROW)

    def _hash(self, names: Sequence[str], apart: bool = False) -> Column:
        """A hash of columns; with ``apart``, which costs twice as much, (1, null) and (null, 1) differ."""
        types, values = dict(self.frame.dtypes), []
        for name in names:
            wide = re.match(r"decimal\((19|[23]\d)\b", types.get(name, ""))
            values.append(column(name).cast("string") if wide else column(name))  # Sail hashes these in its own way
            values += [F.lit(0)] if apart else []  # a null leaves a hash as it was
        return F.xxhash64(*values, F.lit(self.seed)).bitwiseAND(F.lit(2**CHOICE_BITS - 1))


def _by_row(table: pa.Table) -> pa.Table:
    """Add a choice made from the row's hash, scrambled once more: rows may have been chosen for low hashes."""
    return table.append_column(_CHOICE, pa.array(_scattered(table.column(_ROW).to_numpy())))


def _distinct(table: pa.Table, name: str) -> int:
    return int(pc.count_distinct(table.column(name)).as_py())


def _is_mostly_distinct(table: pa.Table) -> bool:
    return 2 * _distinct(table, _CHOICE) > len(table)


def _warn_of_repeats(key: Sequence[str], table: pa.Table) -> None:
    different = _distinct(table, _KEY)
    if different < len(table):
        log.warning(
            "The key (%s) does not identify a row: %s different ones in the %s rows drawn",
            ", ".join(key), *(f"{count:,}" for count in (different, len(table))),
        )  # fmt: skip


def _split(table: pa.Table, rows: int, calibration: float) -> tuple[pa.Table, pa.Table]:
    """The first ``rows`` rows in the order of their hashes, to train on and held out.

    Rows of one key with other features fall on either side, where keys repeat much: what is scored later is of known
    keys too, and of few keys one side would have none. Copies of one row stay together, lest one that is held out was
    trained on and its score says too little; but a common row is divided, or one side would be made of it and the
    other would lack it.
    """
    if not _is_mostly_distinct(table):
        table = _by_row(table.drop_columns(_CHOICE))
    table = table.take(pc.sort_indices(table, [(_CHOICE, "ascending"), (_ROW, "ascending")]))
    choice, row = (table.column(name).to_numpy() for name in (_CHOICE, _ROW))
    begin = np.flatnonzero(np.diff(row, prepend=-1))
    copies = np.diff(begin, append=len(row))
    nth = np.arange(len(row)) - np.repeat(begin, copies)
    is_common = np.repeat(copies, copies) * COMMON > len(row)
    place = np.where(is_common, choice ^ _scattered(nth), choice)
    first = np.argsort(place, kind="stable")[:rows]
    held_out = place[first] % 2**SPLIT_BITS < calibration * 2**SPLIT_BITS
    return table.take(first[~held_out]), table.take(first[held_out])


def _scattered(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each number as another, as if drawn from ``CHOICE_BITS`` bits; 0 stays 0 (SplitMix64)."""
    z = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) & np.uint64(2**CHOICE_BITS - 1)).astype(np.int64)

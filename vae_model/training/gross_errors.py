"""Gross errors: rows of a sample that hold a cell which cannot belong to its column.

A sample that nobody has cleaned holds the very errors it is meant to show. Trained on, they are learnt by heart and
look normal; held out, they set the bar that others have to pass. So they are set aside before anything is fitted. They
are scored like all rows.

A number is a gross error where it stands apart from its column's own tail (``tails``); a value of a category, and a
missing cell, where hardly any row has it and all else is common. What is merely rare stays, for the model to learn: a
flag that is seldom set, a value that several rows have, gaps that are many over all columns together.

Shapes: N rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.features.categories import Booleans, SlotKind, text
from vae_model.features.feature import Chosen, Expectation
from vae_model.features.spec import FeatureSpec, combine
from vae_model.scoring.set_aside import WORST
from vae_model.training import tails

FEWEST = 100
"""In a sample of fewer rows there is no telling what hardly any row has."""
MAX_ROWS = 0.05
"""At most this share of the rows is set aside for numbers, those farthest out."""
FEW = 0.002, 2
"""Few are at most this share of the rows, or so many of a small sample: of cells missing in a column, of rows with a
value of a category."""
COMMON = 10
"""The next more frequent value has to be this many times as frequent as a rare one."""
MAX_NEW = 0.012, 10
"""Values that only one row has each may be more than few: up to this share of the rows, or so many of a small sample.
Where the missing cells, or the rare values, of all columns are in more rows together, they are no errors but a part of
the table."""


class GrossError(NamedTuple):
    """A cell that cannot belong to its column."""

    feature: str
    observed: str
    expected: str


@dataclass(frozen=True)
class Screened:
    """A sample without its gross errors."""

    training: pa.Table
    held_out: pa.Table
    rows: tuple[int, int] = (0, 0)
    """How many rows of either were set aside."""
    worst: Sequence[GrossError] = ()
    """The different cells farthest out, at most one a row."""


def screen(training: pa.Table, held_out: pa.Table, chosen: Mapping[str, Chosen]) -> Screened:
    """Set aside the rows with gross errors. Raises as ``FeatureSpec.fit`` does."""
    if len(training) + len(held_out) < FEWEST:
        return Screened(training, held_out)
    features = [
        pa.table({name: _without_dictionary(part.column(name)) for name in chosen}) for part in (training, held_out)
    ]
    try:
        rows = pa.concat_tables(features, promote_options="permissive")  # the held-out rows' types may be other ones
    except pa.ArrowException:  # too different to be looked at together: those of the caller's own choice are trusted
        is_gross_N, worst = find(features[0], chosen)
        return Screened(training.filter(pa.array(~is_gross_N)), held_out, (int(is_gross_N.sum()), 0), worst)
    is_gross_N, worst = find(rows, chosen)
    if not is_gross_N.any():
        return Screened(training, held_out)
    parts = [(training, is_gross_N[: len(training)]), (held_out, is_gross_N[len(training) :])]
    kept, others = (part.filter(pa.array(~own_N)) for part, own_N in parts)
    return Screened(kept, others, (int(parts[0][1].sum()), int(parts[1][1].sum())), worst)


def find(rows: pa.Table, chosen: Mapping[str, Chosen]) -> tuple[NDArray[np.bool_], list[GrossError]]:
    """Whether each row of a sample holds a gross error (N,), and the worst of them."""
    spec = FeatureSpec.fit(rows, chosen)
    batch = spec.encode_table(rows)
    far, rare, missing = (_Rows(len(rows)) for _ in range(3))
    categories = iter(batch.codes_NC.T)
    for index, (feature, kind, own) in enumerate(zip(spec.features, spec.kinds, spec.residuals, strict=True)):
        if isinstance(kind, SlotKind):
            missing_N = np.less(next(categories), 0)
            if not isinstance(kind, Booleans):  # a flag that is seldom set is no error
                rare.add(index, _rare(text(combine(rows.column(feature.name)))))
        else:
            missing_N = np.isnan(batch.x_NF[:, own]).all(axis=1)
            for x_N in batch.x_NF[:, own].T:
                size_N = _sizes(x_N)
                far.add(index, _far(size_N))
                rare.add(index, _only_other(size_N))
        if np.count_nonzero(missing_N) <= _at_most(FEW, len(rows)):
            missing.add(index, missing_N.astype(np.float32))
    far.leave(MAX_ROWS)
    found = [far, *(few for few in (rare, missing) if np.count_nonzero(few.excess_N) <= _at_most(MAX_NEW, len(rows)))]
    worst: dict[GrossError, None] = {}  # each but once
    for cells in found:
        for row in np.argsort(-cells.excess_N, kind="stable")[: np.count_nonzero(cells.excess_N)].tolist():
            if len(worst) == WORST:
                break
            worst[_in_words(spec, batch, rows, row, cells.feature_N[row])] = None
    return np.logical_or.reduce([cells.excess_N > 0 for cells in found]), list(worst)


def _without_dictionary(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as its values, so that it can be put below one without a dictionary."""
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


class _Rows:
    """How far out each row's worst cell of one kind is, 0 where there is none, and in which feature that is."""

    def __init__(self, rows: int) -> None:
        self.excess_N: NDArray[np.float32] = np.zeros(rows, dtype=np.float32)
        self.feature_N: NDArray[np.intp] = np.zeros(rows, dtype=np.intp)

    def add(self, index: int, excess_N: NDArray[np.float32]) -> None:
        """Another feature."""
        larger_N = excess_N > self.excess_N
        self.excess_N[larger_N], self.feature_N[larger_N] = excess_N[larger_N], index

    def leave(self, share: float) -> None:
        """Leave at most this share of the rows, those farthest out."""
        order_N = np.argsort(-self.excess_N, kind="stable")
        self.excess_N[order_N[math.ceil(share * len(order_N)) :]] = 0


def _at_most(limit: tuple[float, int], rows: int) -> float:
    """How many of so many rows a limit allows: a share of them, or a number where they are few."""
    return max(limit[0] * rows, limit[1])


def _sizes(x_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of numbers: their distance from the median, 0 where missing."""
    seen_N = ~np.isnan(x_N)
    size_N = np.zeros_like(x_N)
    if seen_N.any():
        size_N[seen_N] = np.abs(x_N[seen_N] - np.median(x_N[seen_N]))
    return size_N


def _far(size_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of distances: each in units of where their tail ends, where it is beyond that, else 0."""
    end = tails.end(size_N)
    return np.asarray(np.where(size_N > end, size_N / end, 0), dtype=np.float32)


def _only_other(size_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of distances: 1 for the only one that is not 0, in a column that is constant but for one value; else 0."""
    is_alone = np.count_nonzero(size_N) == 1
    return np.asarray((size_N > 0) & is_alone, dtype=np.float32)


def _rare(values: pa.Array) -> NDArray[np.float32]:
    """Of categories: 1 for the values that hardly any row has where all others are common, else 0."""
    counted = pc.value_counts(values.drop_null())
    count_V = counted.field("counts").to_numpy()
    ascending_V = np.sort(count_V)
    steps = np.flatnonzero((ascending_V[1:] >= COMMON * ascending_V[:-1]) & (np.diff(ascending_V) > 0))
    singles, few = (_at_most(limit, len(values)) for limit in (MAX_NEW, FEW))
    steps = steps[np.cumsum(ascending_V)[steps] <= np.where(ascending_V[steps] == 1, singles, few)]
    if not len(steps):
        return np.zeros(len(values), dtype=np.float32)
    rare = counted.field("values").filter(pa.array(count_V <= ascending_V[steps[-1]]))
    return np.asarray(pc.is_in(values, value_set=rare).to_numpy(zero_copy_only=False), dtype=np.float32)


def _in_words(spec: FeatureSpec, batch: Batch, rows: pa.Table, row: int, index: int) -> GrossError:
    """A gross error as it is shown: the column, what was observed, and what is usual there."""
    feature, kind, own = spec.features[index], spec.kinds[index], spec.residuals[index]
    value = combine(rows.column(feature.name))[row]
    usual: NDArray[np.float64] = np.zeros(1)  # the most frequent value of a category
    parts = np.ones(1, dtype=np.float32)
    if not isinstance(kind, SlotKind):
        # an element of an array may be missing in every row
        seen = (x_N[~np.isnan(x_N)] for x_N in batch.x_NF[:, own].T)
        middle_U = np.array([np.median(x_N) if len(x_N) else 0.0 for x_N in seen])
        usual = np.array(feature.center) + np.array(feature.scale) * middle_U
        parts = np.abs(np.nan_to_num(batch.x_NF[row, own] - middle_U))
    told = usual.tolist()
    words = kind.words(feature, value, Expectation(told, told, told, parts.tolist()))
    return GrossError(feature.name, words.observed, words.expected)

"""Categories as slot numbers: the frequent values have a slot each, the rest share one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

MAX_SLOTS = 127
"""At most this many values get a slot of their own in the network."""
MIN_COUNT = 5
"""A value seen less often than this in training has no slot of its own: there is too little to learn from."""
MAX_VALUES = 50_000
"""At most this many values are remembered as seen."""


def text(array: pa.Array) -> pa.Array:
    """Any categorical column as strings."""
    return array.cast(pa.string()) if array.type != pa.string() else array


def vocabulary(array: pa.Array) -> tuple[list[str], int, float, int]:
    """The values seen, most frequent first (ties by value).

    Returns (values, number of them with a slot of their own, Gini impurity of the column, distinct values in all).
    The Gini impurity 1 - sum of squared shares is the variance of the one-hot vector.
    """
    counted = pc.value_counts(text(array).drop_null())
    values, counts = counted.field("values").to_pylist(), counted.field("counts").to_numpy()
    order = sorted(range(len(values)), key=lambda i: (-counts[i], values[i]))
    shares = counts / max(counts.sum(), 1)
    frequent = int(np.sum(counts >= min(MIN_COUNT, counts.max(initial=0))))
    kept = [values[i] for i in order[:MAX_VALUES]]
    return kept, min(frequent, MAX_SLOTS), float(1 - np.sum(shares**2)), len(values)


def codes(array: pa.Array, values: pa.Array, slots: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Slot of each row, (N,) int32: -1 missing, ``slots`` for rare and unseen values; and (N,) whether it is unseen."""
    column = text(array)
    found = pc.index_in(column, value_set=values)
    index = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    unseen = (index < 0) & ~missing
    slot = np.where(unseen, slots, np.minimum(index, slots)).astype(np.int32, copy=False)
    return slot, unseen

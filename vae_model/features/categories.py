"""Categories and booleans: the number of a slot. The frequent values have a slot each, the rest share one."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.errors import SchemaError
from vae_model.features.feature import MISSING, Expectation, Feature, Fit, Kind, Words

MAX_SLOTS = 127
"""At most this many values get a slot of their own in the network."""
MIN_COUNT = 5
"""A value seen less often than this in training has no slot of its own: there is too little to learn from."""
MAX_VALUES = 50_000
"""At most this many values are remembered as seen."""
MAX_BYTES = 1000
"""No value of a category may be longer, in UTF-8: it would stand in the model file, for nothing."""
MAX_VOCABULARY = 12 << 20
"""The values of all categories of a model together, in UTF-8: they are in its header, which may have 100 MB and writes
a byte as up to seven."""
RARE = "(a rare value)"
"""The values without a slot of their own, in words."""
SHOWN = 200
"""Longer values are shown by their first letters."""
MANY_VALUES = 1000
"""With more distinct values than this, a note says that most of them are not told apart."""


class SlotKind(Kind):
    """A kind that makes a column a category to the network: each row is in one of a few slots."""

    @abstractmethod
    def encode(self, feature: Feature, array: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(N,) the slot of each row: -1 missing, ``feature.slots`` for what has no slot of its own; and (N,) whether
        the value never occurred in training.
        """


class Categories(SlotKind):
    """Strings, or whole numbers and booleans by the words they are written in."""

    name = "categorical"
    families: ClassVar[tuple[str, ...]] = ("string", "integer", "boolean")
    default_of: ClassVar[tuple[str, ...]] = ("string", "null")  # nulls alone could be of any kind: a name is needed

    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """The values, most frequent first, and how many of them have a slot."""
        longest = pc.max(pc.binary_length(text(array))).as_py() or 0
        if longest > MAX_BYTES:
            raise SchemaError(
                f"Column {bare.name!r} holds text that is too long for a category.",
                f"values of at most {MAX_BYTES:,} bytes",
                f"a value of {longest:,} bytes or more",
                f"Leave it out of the model: features: {{exclude: [{bare.name}]}}.",
            )
        values, slots, gini, distinct = vocabulary(array)
        notes = []
        if distinct > MANY_VALUES:
            notes.append(f"{distinct:,} distinct values; the {slots} most frequent are told apart")
        if distinct == 1:
            notes.append(f"constant ({shortened(values[0])!r}) in the training rows")
        missing = array.null_count / len(array)
        return Fit(replace(bare, values=tuple(values), slots=slots, gini=gini, missing=missing), notes)

    def encode(self, feature: Feature, array: pa.Array) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
        """(N,) the slot of each row, and (N,) whether its value is unseen."""
        return codes(array, feature.value_set, feature.slots)

    def describe(self, feature: Feature) -> str:
        """How many values there are, the first six, and how many have no slot."""
        count, pooled = len(feature.values), len(feature.values) - feature.slots
        shown = ", ".join(map(shortened, feature.values[:6])) + (", …" if count > 6 else "")
        return f"{count} values ({shown})" + (f", {pooled} rare ones pooled" if pooled else "")

    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """The value, and the likeliest other one."""
        slot = int(expected.value_U[0])
        likeliest = feature.values[slot] if slot < feature.slots else RARE
        observed = shortened(_in_words(value.as_py())) if value.is_valid else MISSING
        return Words(observed, shortened(likeliest))


class Booleans(Categories):
    """Categories of two values, true and false."""

    name = "boolean"
    families = ("boolean",)
    default_of = ("boolean",)


def _in_words(value: Any) -> str:
    """A value as Arrow and SQL write it, not as Python does."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def shortened(value: str) -> str:
    """A value as it is shown: of a long one the first letters."""
    return value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"


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


def singles(array: pa.Array) -> int:
    """How many rows have a value that no other row has."""
    counted = pc.value_counts(text(array).drop_null())
    return int(np.count_nonzero(counted.field("counts").to_numpy() == 1))


def codes(array: pa.Array, values: pa.Array, slots: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Slot of each row, (N,) int32: -1 missing, ``slots`` for rare and unseen values; and (N,) whether it is unseen."""
    column = text(array)
    found = pc.index_in(column, value_set=values)
    index = found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    missing = column.is_null().to_numpy(zero_copy_only=False)
    unseen = (index < 0) & ~missing
    slot = np.where(unseen, slots, np.minimum(index, slots)).astype(np.int32, copy=False)
    return slot, unseen

"""Bins: a bounded number of them for each column, and where its values fall.

Of numbers: below all that training saw; each value that a tenth of the rows or more have; the other values by their
quantiles, in as many bins as make ten with these; above all that training saw. Of categories: each of the most frequent
values, all other known ones, and those that training never saw. Of pictures: those that are there. The last bin of
every column is for missing values.

Shapes: N rows, E edges, B bins.
"""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features.categories import SlotKind
from vae_model.features.feature import Feature
from vae_model.features.fields import LARGEST
from vae_model.features.images import Images
from vae_model.features.kinds import KINDS
from vae_model.features.spec import naming, typed
from vae_model.features.units import UnitsKind

PARTS = 10
"""So many bins the training range is divided into, some more where a value of many rows parts them, and fewer where
there are few values."""
MOST_EDGES = 2 * PARTS
"""A value with a bin of its own has two; the least and the largest value have one each."""
VALUES = 20
"""So many values of a category have a bin of their own."""


def edges_of(feature: Feature, array: pa.Array) -> NDArray[np.float64]:
    """(E,) ascending: where the bins of a column of numbers begin, from the least value of training to just above the
    largest. None of a category, nor where no value is finite.

    Those between lie halfway from one value of training to the next: of counts that all rise by a half, each is in
    another bin then.
    """
    kind = KINDS[feature.kind]
    if not isinstance(kind, UnitsKind):
        return np.empty(0)
    values = naming(kind.gauge, feature, typed(array, feature.family))
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    distinct, count = np.unique(values, return_counts=True)
    is_own = count >= len(values) / PARTS
    own, others = np.flatnonzero(is_own), np.cumsum(np.where(is_own, 0, count))
    parts = max(PARTS - len(own), 1)
    place = np.searchsorted(others, np.arange(1, parts) / parts * others[-1])
    place = np.unique(np.concatenate([place, own, own + 1]))  # the bins begin with these
    place = place[(place > 0) & (place < len(distinct))]
    below, above = distinct[place - 1], distinct[place]
    halfway = below / 2 + above / 2  # neither does it overflow, nor is it always between two floats
    inner = np.where((below < halfway) & (halfway < above), halfway, above)
    top = min(math.nextafter(float(distinct[-1]), math.inf), LARGEST)
    return np.unique(np.concatenate([distinct[:1], inner, [top]]))


def width(feature: Feature, edges: int) -> int:
    """How many bins a column has."""
    is_category = isinstance(KINDS[feature.kind], SlotKind)
    return min(feature.slots, VALUES) + 3 if is_category else edges + 2


def counts(feature: Feature, edges_E: NDArray[np.float64], array: pa.Array) -> NDArray[np.int64]:
    """(B,) how many rows fall into each bin of a column. An infinite value counts as missing, as it does in a row."""
    kind, array, last = KINDS[feature.kind], typed(array, feature.family), width(feature, len(edges_E)) - 1
    if isinstance(kind, SlotKind):
        slot_N, unseen_N = naming(kind.encode, feature, array)
        bin_N = np.where(unseen_N, last - 1, np.minimum(slot_N, last - 2))
        bin_N[slot_N < 0] = last
    else:
        values = naming(cast(UnitsKind | Images, kind).gauge, feature, array)  # there is no other
        bin_N = np.where(np.isfinite(values), np.searchsorted(edges_E, values, side="right"), last)
    return np.bincount(bin_N, minlength=last + 1).astype(np.int64)

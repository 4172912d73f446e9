"""Rows to leave out of training: a sample called normal may hold anomalies, and what is learnt is not found.

A row is far when even the nearest fifth of all rows is far from it: a few anomalies that sit together are near each
other, but not near a fifth of the table. That ranks the anomalies in a sample better than the distance to a center, to
the nearest rows, or to what a network reconstructs (docs/quality.md has the figures). Left out is what lies, on the
logarithmic scale, more than ``REACH`` times as far above the median as the upper quartile does. How many rows that is
follows from the sample: of clean tables about one in 110, of others more.

Numbers are seen through ``symlog`` and clipped: a row is not far for one column's sake, as ``gross_errors`` may find it
to be. A category is one column for each of its slots, so that a rare value is no farther than any other.

Shapes: N rows, O columns (numbers, and slots of categories), S rows that distances are taken to.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.networks.inputs import TableShape, symlog

NEAREST = 0.2
"""The share of all rows that a row has to be near to."""
REACH = 4.0
"""How many times the log-distance from the median to the upper quartile a row may lie beyond the median."""
CLIP = 4.0
"""Numbers stop at this many training deviations."""
OTHERS = 1000
"""Distances are taken to this many rows, drawn at random."""
ROWS = 1024
"""Of so many rows at once."""


def kept(
    shape: TableShape, rows: Batch, constant_F: NDArray[np.bool_], trim: float | Literal["auto"], seed: int
) -> NDArray[np.intp]:
    """Indices of the rows to learn from: all but the share ``trim``, or all but those that are far ("auto")."""
    if trim == 0:
        return np.arange(len(rows))
    column_NO = _columns(shape, rows, constant_F)
    far_N = _distances(column_NO, seed)
    if trim == "auto":
        middle, quartile = np.quantile(far_N, [0.5, 0.75])
        stays_N = far_N <= middle + (REACH * (quartile - middle) or np.inf)
    else:
        stays_N = np.zeros(len(rows), dtype=np.bool_)
        stays_N[np.argsort(far_N, kind="stable")[: len(rows) - round(trim * len(rows))]] = True
    return np.flatnonzero(stays_N | _alone_in(column_NO, stays_N))


def _alone_in(column_NO: NDArray[np.float32], stays_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N,) the rows without which a column would not vary any more: what is rare is to be known, not unheard of."""
    first_O = column_NO[stays_N.argmax()]
    vanishes_O = (column_NO[stays_N] == first_O).all(axis=0) & ~(column_NO == first_O).all(axis=0)
    return np.asarray((column_NO[:, vanishes_O] != first_O[vanishes_O]).any(axis=1))


def _columns(shape: TableShape, rows: Batch, constant_F: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, O) numbers as symlogs and categories as slots; 0, which is ordinary, where missing."""
    column_NO = np.zeros((len(rows), shape.outputs), dtype=np.float32)
    numbers_NV = symlog(np.clip(rows.x_NF[:, ~constant_F], -CLIP, CLIP))
    column_NO[:, : shape.varying] = np.nan_to_num(numbers_NV, nan=0.0)
    for own, code_N in zip(shape.categories, rows.codes_NC.T, strict=True):
        seen_N = np.flatnonzero(code_N >= 0)
        column_NO[seen_N, own.start + code_N[seen_N]] = 1
    return column_NO


def _distances(column_NO: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """(N,) logarithm of the mean distance to the nearest fifth of some rows."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(column_NO))[:OTHERS])
    other_SO = column_NO[drawn]
    own_S = (other_SO**2).sum(axis=1)
    nearest = max(2, round(NEAREST * len(other_SO)))
    parts = []
    for start in range(0, len(column_NO), ROWS):
        row_NO = column_NO[start : start + ROWS]
        squared_NS = (row_NO**2).sum(axis=1, keepdims=True) - 2 * row_NO @ other_SO.T + own_S
        squared_NS.partition(nearest - 1, axis=1)
        parts.append(np.sqrt(np.maximum(squared_NS[:, :nearest], 0)).mean(axis=1, dtype=np.float64))
    return np.asarray(np.log(np.maximum(np.concatenate(parts), 1e-3)))

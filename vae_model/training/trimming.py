"""Rows to leave out of training: a sample called normal may hold anomalies, and what is learnt is not found.

A row is far when even the nearest tenth of all rows is far from it: a few anomalies that sit together are near each
other, but not near a tenth of the table. That ranks the anomalies in a sample better than the distance to a center, to
the nearest rows, or to what a network reconstructs (docs/quality.md has the figures). Left out is what lies, on the
logarithmic scale, more than ``REACH`` times as far above the median as the upper quartile does. How many rows that is
follows from the sample: of clean tables about one in 150, of others more.

Numbers are seen through ``symlog``: what is far out in one column is far, but does not outweigh all the others. A
category is one column for each of its slots, so that a rare value is no farther than any other.

Shapes: N rows, O columns (numbers, and slots of categories), S rows that distances are taken to.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.networks.inputs import TableShape, symlog

NEAREST = 0.1
"""The share of all rows that a row has to be near to."""
REACH = 4.0
"""How many times the log-distance from the median to the upper quartile a row may lie beyond the median."""
OTHERS = 1000
"""Distances are taken to this many rows, drawn at random."""
ROWS = 1024
"""Of so many rows at once."""


def kept(
    shape: TableShape, rows: Batch, constant_F: NDArray[np.bool_], trim: float | Literal["auto"], seed: int
) -> NDArray[np.intp]:
    """Indices of the rows to learn from: all but the share ``trim``, or all but those that are far ("auto")."""
    everything = np.arange(len(rows))
    if trim == 0:
        return everything
    far_N = _distances(_columns(shape, rows, constant_F), seed)
    if trim != "auto":
        return np.sort(np.argsort(far_N, kind="stable")[: len(rows) - round(trim * len(rows))])
    middle, quartile = np.quantile(far_N, [0.5, 0.75])
    if middle == quartile:
        return everything
    return np.flatnonzero(far_N <= middle + REACH * (quartile - middle))


def _columns(shape: TableShape, rows: Batch, constant_F: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(N, O) numbers as symlogs and categories as slots; 0, which is ordinary, where missing."""
    column_NO = np.zeros((len(rows), shape.outputs), dtype=np.float32)
    column_NO[:, : shape.varying] = np.nan_to_num(symlog(rows.x_NF[:, ~constant_F]), nan=0.0)
    for own, code_N in zip(shape.categories, rows.codes_NC.T, strict=True):
        seen_N = np.flatnonzero(code_N >= 0)
        column_NO[seen_N, own.start + code_N[seen_N]] = 1
    return column_NO


def _distances(column_NO: NDArray[np.float32], seed: int) -> NDArray[np.float64]:
    """(N,) logarithm of the mean distance to the nearest tenth of some rows."""
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

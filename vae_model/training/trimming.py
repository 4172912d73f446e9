"""Rows to leave out of training: a sample called normal may hold anomalies, and what is learnt is not found.

A row is far when even the nearest fifth of all rows is far from it: a few anomalies that sit together are near each
other, but not near a fifth of the table. That ranks the anomalies in a sample better than the distance to a center, to
the nearest rows, or to what a network reconstructs (docs/quality.md has the figures). Left out is what lies, on the
logarithmic scale, more than ``REACH`` times as far above the median as the upper quartile does. How many rows that is
follows from the sample: of clean tables about one in 150, of others more.

Numbers are seen through ``symlog`` and clipped: a row is not far for one column's sake, as ``gross_errors`` may find it
to be. Two categories are as far from each other as any other two, so that a rare value is no farther than others.

Shapes: N rows, V varying numbers, C categories, S rows that distances are taken to.
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
MAX_SHARE = 0.06
"""Where more rows than this stand out, they do not: the bulk has another shape than was taken for granted."""
OTHERS = 1000
"""Distances are taken to this many rows, drawn at random."""
ROWS = 1024
"""Of so many rows at once."""


def kept(
    shape: TableShape, rows: Batch, constant_F: NDArray[np.bool_], trim: float | Literal["auto"], seed: int
) -> NDArray[np.intp]:
    """Indices of the rows to learn from: all but the share ``trim``, or all but those that are far ("auto").

    Rows stay without which a column would not vary any more: what is rare is to be known, not unheard of.
    """
    everything = np.arange(len(rows))
    if trim == 0:
        return everything
    x_NV = rows.x_NF[:, ~constant_F]
    x_NV = np.nan_to_num(symlog(np.clip(x_NV, -CLIP, CLIP)), nan=0.0)  # where missing it is ordinary
    far_N = _distances(x_NV, rows.codes_NC, seed)
    if trim == "auto":
        middle, quartile = np.quantile(far_N, [0.5, 0.75])
        stays_N = far_N <= middle + REACH * (quartile - middle)
        if middle == quartile or stays_N.mean() < 1 - MAX_SHARE:
            return everything
    else:
        stays_N = np.zeros(len(rows), dtype=np.bool_)
        stays_N[np.argsort(far_N, kind="stable")[: len(rows) - round(trim * len(rows))]] = True
    for value_N in (*x_NV.T, *rows.codes_NC.T):
        first = value_N[stays_N.argmax()]
        if (value_N[stays_N] == first).all():
            stays_N |= value_N != first
    for code_N, slots in zip(rows.codes_NC.T, shape.slots, strict=True):
        vanishes_S = np.bincount(code_N[stays_N & (code_N >= 0)], minlength=slots) == 0
        stays_N |= (code_N >= 0) & vanishes_S[code_N]
    return np.flatnonzero(stays_N)


def _distances(x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], seed: int) -> NDArray[np.float64]:
    """(N,) logarithm of the mean distance to the nearest fifth of some rows."""
    drawn = np.sort(np.random.default_rng(seed).permutation(len(x_NV))[:OTHERS])
    other_SV, other_SC = x_NV[drawn], codes_NC[drawn]
    own_S = (other_SV**2).sum(axis=1)
    nearest = max(2, round(NEAREST * len(drawn)))
    parts = []
    for start in range(0, len(x_NV), ROWS):
        row_NV, row_NC = x_NV[start : start + ROWS], codes_NC[start : start + ROWS]
        squared_NS = (row_NV**2).sum(axis=1, keepdims=True) - 2 * row_NV @ other_SV.T + own_S
        for code_N, code_S in zip(row_NC.T, other_SC.T, strict=True):  # one-hot, they would take far more memory
            squared_NS += 2 * (code_N[:, None] != code_S)
            squared_NS -= (code_N[:, None] < 0) != (code_S < 0)
        squared_NS.partition(nearest - 1, axis=1)
        parts.append(np.sqrt(np.maximum(squared_NS[:, :nearest], 0)).mean(axis=1, dtype=np.float64))
    return np.asarray(np.log(np.maximum(np.concatenate(parts), 1e-3)))

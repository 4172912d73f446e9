"""Rows to leave out of training: a sample called normal may hold anomalies, and what is learnt is not found.

The rows far from the bulk of the sample are found by concentration steps (Rousseeuw and Van Driessen, "A fast algorithm
for the minimum covariance determinant estimator", 1999): the Mahalanobis distance fitted on the 80 % of the rows that
were nearest last time, again and again. A row is left out when its distance is beyond what the spread of the nearest
three quarters allows: log(d / median) > ``REACH`` log(upper quartile / median). A sample without anomalies then loses
the rows of its tails, and never more than ``train.trim`` allows: it costs a little of what is rare in it
(docs/quality.md has the figures), so that nothing is left out unless it is asked for.

The measure knows no bends and no clusters, on purpose: a network, or a codebook, would have learnt the anomalies.

Shapes: N rows, F numeric units, C categories, R = F + C.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.scoring.residuals import FITTED_ROWS, ResidualDistance

CORE = 0.8
"""Share of the rows that the distance is fitted on."""
STEPS = 8
"""Concentration steps; the set of rows has all but settled by then."""
REACH = 3.0
"""How many times the log-distance from the median to the upper quartile a row may lie beyond the median."""


def kept(rows: Batch, constant_R: NDArray[np.bool_], max_share: float) -> NDArray[np.intp]:
    """Indices of the rows to learn from: all but at most the share ``max_share``."""
    everything = np.arange(len(rows))
    if max_share == 0 or constant_R.all():
        return everything
    size_NR = _standardised(rows)
    sample_NR = size_NR[:: max(1, -(-len(rows) // FITTED_ROWS))]
    core = np.arange(len(sample_NR))
    for _ in range(STEPS):
        distance = ResidualDistance.fit(sample_NR[core], constant_R)
        before, core = (
            core,
            np.sort(np.argsort(_distances(distance, sample_NR), kind="stable")[: round(CORE * len(sample_NR))]),
        )
        if np.array_equal(before, core):
            break
    d_N = _distances(ResidualDistance.fit(sample_NR[core], constant_R), size_NR)
    middle, quartile = np.quantile(d_N, [0.5, 0.75])
    if not 0 < middle < quartile:
        return everything
    limit = max(middle * (quartile / middle) ** REACH, float(np.quantile(d_N, 1 - max_share)))
    return np.flatnonzero(d_N <= limit)


def _standardised(rows: Batch) -> NDArray[np.float32]:
    """(N, R) numbers, and for each category the root of the odds against its value; NaN where missing."""
    columns = [rows.x_NF]
    for code in rows.codes_NC.T:
        share = np.bincount(code[code >= 0], minlength=1) / max((code >= 0).sum(), 1)
        with np.errstate(divide="ignore"):
            odds = 1 / share - 1
        columns.append(np.where(code < 0, np.nan, np.sqrt(odds)[code])[:, None].astype(np.float32))
    return np.concatenate(columns, axis=1)


def _distances(distance: ResidualDistance, size_NR: NDArray[np.float32]) -> NDArray[np.float64]:
    parts = [
        distance.parts(block).sum(axis=1, dtype=np.float64) / np.maximum((~np.isnan(block)).sum(axis=1), 1)
        for block in (size_NR[start : start + 4096] for start in range(0, len(size_NR), 4096))
    ]
    return np.concatenate(parts)

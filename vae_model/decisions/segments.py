"""The level of each segment of a table: how high its normal rows score, so that scores can be compared across segments.

Normal rows of one segment, a carrier or a site, score higher than those of another, and a rate of false alarms that
holds over the whole table holds in neither. A score divided by the level of its segment can be ranked among the scores
of all held-out rows, each divided by its own: one calibration with all the rows there are. A calibration for each
segment would have too few for any rate worth asking for.

The level of some scores is the geometric mean of the highest 5 % of them, which says where the tail begins and how far
it reaches; a quantile says the first alone. That of a segment is shrunk to the whole's, the more the fewer its rows.
Both numbers were chosen on half of the tables of ``tests/benchmarks/calibration.py``.

Shapes: N held-out rows, S segments.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

HIGHEST = 0.05
"""Share of the scores that a level is the mean of."""
SMALL = 50
"""A segment of so many held-out rows counts as much as the whole; one of fewer is called small."""
LOWEST_LEVEL, HIGHEST_LEVEL = 1e-6, 1e6
"""Where levels end: no segment scores so much lower or higher than the whole."""


def levels(scores_N: NDArray[np.float64], segment_N: NDArray[np.integer], segments: int) -> NDArray[np.float64]:
    """(S,) the level of each segment over that of the whole; 1 for a segment without a held-out row."""
    whole = _log_level(scores_N)
    level_S = np.ones(segments)
    for segment in range(segments):
        own_N = scores_N[segment_N == segment]
        if len(own_N):
            weight = len(own_N) / (len(own_N) + SMALL)
            level_S[segment] = math.exp(weight * (_log_level(own_N) - whole))
    return np.clip(level_S, LOWEST_LEVEL, HIGHEST_LEVEL)


def _log_level(scores_N: NDArray[np.float64]) -> float:
    highest = np.sort(scores_N)[-math.ceil(HIGHEST * len(scores_N)) :]
    return float(np.log(np.maximum(highest, LOWEST_LEVEL)).mean())

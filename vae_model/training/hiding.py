"""What to expect of rows of which a column is hidden: how far its values may lie from what the VAEs then expect of
them, and how high ordinary rows then score.

The intervals are those of split conformal inference (Lei et al., "Distribution-Free Predictive Inference for
Regression", 2018). Each column in turn is hidden in rows that were not trained on; of the differences between what it
holds and what is expected of it, the interval leaves out (1 - ``LEVEL``) / 2 at either end. So it holds the value of a
row like those held out with a chance of ``LEVEL``. The decoder's own variance is that of a value it sees.

What the others are expected to be is less certain without a column that they hang on, and all rows score higher: a row
is ordinary without a column where it scores as most held-out rows do without it.

Shapes: N rows, D features, F numeric units.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.features.spec import FeatureSpec
from vae_model.networks import tiles
from vae_model.networks.buffers import Buffers
from vae_model.networks.tiles import BLOCK
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.masking import ORDINARY, hide

LEVEL = 0.9
"""The share of values that an interval holds."""
MOST_ROWS, FEWEST_ROWS = 2_000, 100
CELLS = 30_000_000
"""So many rows are looked at that they have about so many values, each of their columns hidden in turn."""


class Hidden(NamedTuple):
    """What was found of each column."""

    margin_F2: NDArray[np.float64]
    """Where the interval of a unit begins and ends, as differences from what is expected of it, standardised."""
    rise_D2: NDArray[np.float64]
    """How many times as high is the score that a tenth of the rows reach without a feature, and that half reach."""


def fit(ensemble: Ensemble, held_out: Batch) -> Hidden:
    """Hide each column in held-out rows."""
    spec = ensemble.spec
    features, units = len(spec.features), len(spec.scale_F)
    count = min(len(held_out), max(FEWEST_ROWS, min(MOST_ROWS, CELLS // features**2)))
    rows = held_out.take(np.linspace(0, len(held_out) - 1, count).astype(np.intp))
    whole_2 = _levels(ensemble.scores(rows))
    margin_F2, rise_D2 = np.zeros((units, 2)), np.ones((features, 2))
    for index, own in enumerate(spec.residuals):
        hidden_ND = np.zeros((count, features), dtype=bool)
        hidden_ND[:, index] = True
        score_N, mean_NF = _scored(ensemble, hide(spec, rows, hidden_ND))
        rise_D2[index] = np.maximum(_levels(score_N) / whole_2, 1)
        for unit in range(own.start, min(own.stop, units)):
            if not ensemble.constant_F[unit]:
                margin_F2[unit] = _interval(rows.x_NF[:, unit].astype(np.float64) - mean_NF[:, unit])
    return Hidden(margin_F2, rise_D2)


def median_of(spec: FeatureSpec, several: Sequence[Ensemble]) -> Hidden:
    """The medians over ensembles of several samples of a table, which may lack columns that it has."""
    margin_F2, rise_D2 = np.zeros((len(spec.scale_F), 2)), np.ones((len(spec.features), 2))
    places = [{feature.name: place for place, feature in enumerate(other.spec.features)} for other in several]
    for index, (feature, own) in enumerate(zip(spec.features, spec.residuals, strict=True)):
        theirs = [(other, at[feature.name]) for other, at in zip(several, places, strict=True) if feature.name in at]
        if theirs:
            rise_D2[index] = np.median([other.rise_D2[their] for other, their in theirs], axis=0)
        if theirs and own.start < len(margin_F2):
            margins = [other.margin_F2[other.spec.residuals[their]] for other, their in theirs]
            margin_F2[own] = np.median(margins, axis=0)
    return Hidden(margin_F2, rise_D2)


def _scored(ensemble: Ensemble, rows: Batch) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """(N,) the scores of rows, and (N, F) what is expected of their units."""
    buffers, scores, means = Buffers(), [], []
    for block in rows.blocks(BLOCK):
        residuals = ensemble(block, buffers)
        scores.append(residuals.score_N)
        means.append(ensemble.numbers(tiles.to_rows(residuals.mean_BOW, len(block))))
    return np.concatenate(scores), np.concatenate(means)


def _levels(score_N: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.quantile(score_N, [1 - ORDINARY, 0.5])


def _interval(difference_N: NDArray[np.float64]) -> tuple[float, float]:
    """The ends between which a new difference lies with a chance of ``LEVEL``."""
    seen_N = np.sort(difference_N[~np.isnan(difference_N)])
    if not len(seen_N):
        return 0.0, 0.0
    outside = int((1 - LEVEL) / 2 * (len(seen_N) + 1))  # of the n + 1 places that a new one may take
    low = max(outside, 1) - 1
    return float(seen_N[low]), float(seen_N[-1 - low])

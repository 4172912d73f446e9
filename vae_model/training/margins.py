"""How far a number may lie from what the VAEs expect that do not see it: prediction intervals by split conformal
inference (Lei et al., "Distribution-Free Predictive Inference for Regression", 2018).

Each column in turn is hidden in rows that were not trained on; of the differences between what it holds and what is
expected of it, the interval leaves out (1 - ``LEVEL``) / 2 at either end. So it holds the value of a row like those
held out with a chance of ``LEVEL``, whatever the decoder thinks of its own variance, which is that of a value it sees.

Shapes: N rows, D features, F numeric units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.features.spec import FeatureSpec
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.masking import hide

LEVEL = 0.9
"""The share of values that an interval holds."""
TRIALS, FEWEST = 200_000, 200
"""Rows times columns that are looked at, and no fewer rows than this: they are for two quantiles of each column."""


def fit(ensemble: Ensemble, held_out: Batch) -> NDArray[np.float64]:
    """(F, 2) differences between a unit and what is expected of it, standardised: the lower and the upper end."""
    spec = ensemble.spec
    margin_F2 = np.zeros((len(spec.scale_F), 2))
    count = max(FEWEST, TRIALS // len(spec.features))
    rows = held_out.take(np.linspace(0, len(held_out) - 1, min(count, len(held_out))).astype(np.intp))
    for index, own in enumerate(spec.residuals):
        if own.start >= len(margin_F2):
            continue
        hidden_ND = np.zeros((len(rows), len(spec.features)), dtype=bool)
        hidden_ND[:, index] = True
        difference_NU = rows.x_NF[:, own] - ensemble.expected_numbers(hide(spec, rows, hidden_ND))[:, own]
        for unit, difference_N in zip(range(own.start, own.stop), difference_NU.T, strict=True):
            seen_N = np.sort(difference_N[~np.isnan(difference_N)])
            if len(seen_N) and not ensemble.constant_F[unit]:
                outside = (1 - LEVEL) / 2 * (len(seen_N) + 1)  # of the n + 1 places that a new one may take
                low = max(int(outside), 1) - 1
                margin_F2[unit] = seen_N[low], seen_N[len(seen_N) - 1 - low]
    return margin_F2


def median_of(spec: FeatureSpec, ensembles: Sequence[Ensemble]) -> NDArray[np.float64]:
    """(F, 2) the medians over ensembles of other rows of the table; 0 of a column that none of them has."""
    margin_F2 = np.zeros((len(spec.scale_F), 2))
    units = zip(spec.names, spec.residuals, strict=True)
    for name, own in ((name, own) for name, own in units if own.start < len(margin_F2)):
        others = [ensemble for ensemble in ensembles if name in ensemble.spec.names]
        theirs = [ensemble.margin_F2[ensemble.spec.residuals[ensemble.spec.names.index(name)]] for ensemble in others]
        if theirs:
            margin_F2[own] = np.median(theirs, axis=0)
    return margin_F2

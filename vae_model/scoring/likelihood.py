"""How likely a model holds a row's values to be, in the columns' own units: what two models can be compared by.

An ``anomaly_score`` is measured against each model's own ordinary row, and a reconstruction error in its own standard
deviations: a model that was trained on worse rows may well give lower ones. The log-likelihood of a value (the
logarithmic score of Gneiting and Raftery, "Strictly Proper Scoring Rules", 2007) is the same figure whichever model
gives it: densities of numbers are per unit of the column, not of its deviation.

It is the likelihood given the row's own latent code, the first term of the ELBO. The second, how usual that code is,
cannot be had: a model file does not hold the encoder's variances, which scoring does without.

Shapes: N rows, R residuals, D features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.scoring.ensemble import Ensemble


def log_likelihoods(ensemble: Ensemble, batch: Batch) -> Iterator[NDArray[np.float64]]:
    """(N, D) mean log-likelihood of each feature's values, in nats, block by block; NaN where missing, or without one.

    It is the weighted mean over the members, which is no more than that of their mixture. A number that never varied in
    training has no density, and so no likelihood to compare.
    """
    spec = ensemble.spec
    units = len(spec.scale_F)
    with np.errstate(divide="ignore"):
        log_scale_F = np.log(spec.scale_F)
    for residuals, _ in ensemble.member_residuals(batch):
        values_NR = np.zeros(residuals[0].shape)
        for member, weight, own_NR in zip(ensemble.members, ensemble.weights, residuals, strict=True):
            squared_NR = np.square(own_NR, dtype=np.float64)
            log_deviation_F = np.log(ensemble.deviation(member)[:units]) + log_scale_F
            numbers_NF = -0.5 * squared_NR[:, :units] - log_deviation_F - 0.5 * math.log(2 * math.pi)
            numbers_NF[:, spec.scale_F == 0] = np.nan
            values_NR[:, :units] += weight * numbers_NF
            values_NR[:, units:] -= weight * np.log1p(squared_NR[:, units:])  # the square is the odds against
        yield np.stack([values_NR[:, own].mean(axis=1) for own in spec.residuals], axis=1)

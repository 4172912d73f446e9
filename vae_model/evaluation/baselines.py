"""The usual detectors, to hold a model against on the same rows: Mahalanobis, Isolation Forest, robust z, kNN, PCA.

All of them see the columns as the model's spec encodes them: numbers standardised and a missing one as the mean, times
on their circles; categories one-hot; a column of 0 and 1 for each feature that is missing, or an unseen category.
Each has its library's defaults. scikit-learn is imported when it is used, as the extra `evaluate` brings it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import NormalDist

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.errors import ConfigError
from vae_model.features.spec import FeatureSpec

Matrix = NDArray[np.float64]
Score = Callable[[Matrix], Matrix]
"""(N, D) rows to (N,) scores, higher where more anomalous."""

NEIGHBOURS = 5
RIDGE = 1e-3
"""Added to the variances, so that columns which follow from others have a distance too."""
EXPLAINED = 0.9
"""Share of the variance that PCA's components keep."""
UNKNOWN = 1e12
"""As far as what no fitted row has, in standard deviations."""
NORMAL_MAD, NORMAL_DEVIATION = NormalDist().inv_cdf(0.75), math.sqrt(2 / math.pi)
"""Of a normal distribution, the median and the mean distance from its middle in standard deviations."""


def check() -> None:
    """Raise ConfigError where scikit-learn is not installed."""
    if find_spec("sklearn") is None:
        raise ConfigError(
            "Evaluation needs scikit-learn, for the detectors that the model is held against.",
            found="it is not installed",
            hint="pip install 'spark-vae-anomaly[evaluate]'",
        )


@dataclass(frozen=True)
class Encoder:
    """A table's columns as one matrix (N, D): standardised units, gaps, one-hot categories."""

    spec: FeatureSpec

    def __call__(self, table: pa.Table) -> Matrix:
        """Encode the feature columns of a table."""
        batch = self.spec.encode_table(table)
        x_NF = batch.x_NF.astype(np.float64)
        is_missing_NF = np.isnan(x_NF)
        of_unit_F = self.spec.feature_of_unit[: x_NF.shape[1]]
        gaps = [is_missing_NF[:, of_unit_F == feature].any(axis=1) for feature in np.unique(of_unit_F)]
        parts = [np.where(is_missing_NF, 0.0, x_NF), *(gap.astype(float)[:, None] for gap in gaps)]
        for c, feature in enumerate(self.spec.categorical):
            slots = np.arange(-1, feature.slots + 1)  # missing, those of one value each, the one of rare values
            is_slot = (batch.codes_NC[:, [c]] == slots) & ~batch.unseen_NC[:, [c]]
            parts += [is_slot.astype(float), batch.unseen_NC[:, [c]].astype(float)]
        return np.concatenate(parts, axis=1)

    @property
    def numbers(self) -> int:
        """How many columns of the matrix are numbers; the others are 0 or 1."""
        return len(self.spec.center_F)


def mahalanobis(rows: Matrix, seed: int, numbers: int) -> Score:
    """Squared distance from the mean by the inverse covariance."""
    mean = rows.mean(axis=0)
    precision = np.linalg.inv(np.atleast_2d(np.cov(rows.T)) + RIDGE * np.eye(rows.shape[1]))
    return lambda X: np.asarray(np.einsum("ni,ij,nj->n", X - mean, precision, X - mean, optimize=True))


def isolation_forest(rows: Matrix, seed: int, numbers: int) -> Score:
    """How few cuts at random set a row apart."""
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(random_state=seed).fit(rows)
    return lambda X: np.asarray(-forest.score_samples(X))


def nearest(rows: Matrix, seed: int, numbers: int) -> Score:
    """Root mean square distance to the nearest rows."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(rows))).fit(rows)
    return lambda X: np.asarray(np.sqrt((found.kneighbors(X)[0] ** 2).mean(axis=1)))


def components(rows: Matrix, seed: int, numbers: int) -> Score:
    """Squared distance from the plane of the principal components."""
    from sklearn.decomposition import PCA

    pca = PCA(EXPLAINED, svd_solver="full").fit(rows)
    return lambda X: np.asarray(((X - pca.inverse_transform(pca.transform(X))) ** 2).sum(axis=1))


def robust_z(rows: Matrix, seed: int, numbers: int) -> Score:
    """The farthest column's distance from its median, in robust standard deviations. A category, or a gap, is as far as
    a normal distribution's value that is as rare; one that no fitted row has is farther than any number.
    """
    middle = np.median(rows[:, :numbers], axis=0)
    scale = np.array([_scale(column) for column in np.abs(rows[:, :numbers] - middle).T])
    shares = rows[:, numbers:].mean(axis=0)
    far = np.array([-NormalDist().inv_cdf(share / 2) if share else UNKNOWN for share in shares])

    def score(X: Matrix) -> Matrix:
        parts = [np.abs(X[:, :numbers] - middle) / scale, X[:, numbers:] * far]
        return np.asarray(np.concatenate(parts, axis=1).max(axis=1))

    return score


def _scale(distance_N: Matrix) -> float:
    """Standard deviation by the median distance, or by the mean one where most values are the same."""
    return float(np.median(distance_N) / NORMAL_MAD or distance_N.mean() / NORMAL_DEVIATION or 1.0)


Z, MAHALANOBIS = "z-score by column", "Mahalanobis"
BASELINES: dict[str, Callable[[Matrix, int, int], Score]] = {
    MAHALANOBIS: mahalanobis,
    "Isolation Forest": isolation_forest,
    Z: robust_z,
    "kNN": nearest,
    "PCA": components,
}
"""Each by its name: fitted on rows, with a seed and the number of columns that are numbers, it gives scores."""

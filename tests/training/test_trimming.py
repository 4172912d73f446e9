"""Rows left out of training: those far from all others, and no more than allowed."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from vae_model import Config, Detector
from vae_model.features.batch import Batch
from vae_model.training.trimming import kept


def batch(x_NF, codes_NC=None):
    """Encoded rows."""
    codes = np.empty((len(x_NF), 0), dtype=np.int32) if codes_NC is None else codes_NC.astype(np.int32)
    whole = np.zeros(len(x_NF)), np.zeros(len(x_NF), dtype=bool), np.full(len(x_NF), -1)
    return Batch(x_NF.astype(np.float32), codes, codes < -1, *whole)


def mixture(normal=900, odd=100, seed=0):
    """Correlated normal rows, then a tight cluster that breaks the correlation."""
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(normal, 4)) @ (np.eye(4) + 0.8)
    b = np.array([4.0, -4, 4, -4]) + 0.2 * draw.normal(size=(odd, 4))
    both = np.concatenate([a, b])
    return (both - both.mean(axis=0)) / both.std(axis=0)


def constant(columns):
    """No column is constant."""
    return np.zeros(columns, dtype=bool)


def test_a_cluster_of_anomalies_is_left_out():
    """A tenth of the rows, all alike and unlike the rest, is left out whole; nearly all others stay."""
    left = kept(batch(mixture()), constant(4), 0.2)
    assert (left < 900).all()
    assert len(left) > 0.95 * 900


def test_normal_rows_stay():
    """Of normal rows without anomalies hardly any is left out."""
    rows = np.random.default_rng(1).normal(size=(2000, 5))
    assert len(kept(batch(rows), constant(5), 0.2)) > 0.97 * 2000


@pytest.mark.parametrize("most", [0.0, 0.03, 0.2])
def test_no_more_than_allowed_is_left_out(most):
    """The share of the config is a limit; 0 leaves every row in."""
    left = kept(batch(mixture()), constant(4), most)
    assert len(left) >= (1 - most) * 1000 - 1
    if most == 0:
        np.testing.assert_array_equal(left, np.arange(1000))


def test_rare_categories_and_gaps_are_taken_as_they_are():
    """Missing cells and categories do not stop it, and rows of one kind keep their order."""
    x_NF = mixture()
    x_NF[::7, 1] = np.nan
    codes = np.where(np.arange(1000) < 900, np.arange(1000) % 3, 3)[:, None]
    codes[::11] = -1
    left = kept(batch(x_NF, codes), constant(5), 0.2)
    assert (np.diff(left) > 0).all()
    assert (left < 900).mean() > 0.99


def test_trimmed_training_finds_what_was_among_its_rows():
    """With a tenth of the sample a cluster of anomalies, trimming ranks such rows far better, and says what it did."""
    rows = mixture(1800, 200)
    test = mixture(500, 100, seed=1)
    labels = np.arange(600) >= 500

    def auc(trim):
        config = Config.model_validate({"train": {"trim": trim}, "model": {"steps": 200}})
        detector = Detector(config).fit(pa.table({f"c{i}": rows[:, i] for i in range(4)}))
        scores = detector.score(pa.table({f"c{i}": test[:, i] for i in range(4)}))["anomaly_score"].to_numpy()
        return roc_auc_score(labels, scores), detector

    trusting, _ = auc(0.0)
    careful, detector = auc(0.2)
    assert careful > 0.99
    assert careful > trusting
    assert detector.header["training"]["trimmed"] >= 150
    assert any("train.trim" in warning for warning in detector.warnings)

"""Rows left out of training: those far from most others, as many as stand out, or the share that is asked for."""

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from vae_model import Config, Detector
from vae_model.features.batch import Batch
from vae_model.networks.inputs import TableShape
from vae_model.training.trimming import kept

pytestmark = pytest.mark.slow


def batch(x_NF, codes_NC=None):
    """Encoded rows."""
    codes = np.empty((len(x_NF), 0), dtype=np.int32) if codes_NC is None else codes_NC.astype(np.int32)
    whole = np.zeros(len(x_NF)), np.zeros(len(x_NF), dtype=bool), np.full(len(x_NF), -1)
    return Batch(x_NF.astype(np.float32), codes, codes < -1, *whole)


def mixture(normal=900, odd=100, seed=0, far=4):
    """Correlated normal rows, then a tight cluster that breaks the correlation."""
    draw = np.random.default_rng(seed)
    a = draw.normal(size=(normal, 4)) @ (np.eye(4) + 0.8)
    b = np.array([far, -far, far, -far]) + 0.2 * draw.normal(size=(odd, 4))
    both = np.concatenate([a, b])
    return (both - both.mean(axis=0)) / both.std(axis=0)


def constant(columns):
    """No column is constant."""
    return np.zeros(columns, dtype=bool)


def left(x_NF, codes_NC=None, trim="auto", slots=()):
    """The rows that stay."""
    rows = batch(x_NF, codes_NC)
    return kept(TableShape(rows.x_NF.shape[1], slots), rows, constant(rows.x_NF.shape[1]), trim, 0)


def test_a_few_alike_and_remote_rows_are_left_out():
    """Rows that have each other for neighbours, but not a fifth of the table, are left out; nearly all others stay."""
    stays = left(mixture(950, 50, far=6))
    assert (stays < 950).all()
    assert len(stays) > 0.97 * 950


def test_normal_rows_stay():
    """Of normal rows without anomalies hardly any is left out."""
    rows = np.random.default_rng(1).normal(size=(2000, 5))
    assert len(left(rows)) > 0.99 * 2000


def test_a_bulk_of_another_shape_stays():
    """Where more rows stand out than can be few, as of a single normal column, none is left out."""
    assert len(left(np.random.default_rng(0).normal(size=(4000, 1)))) == 4000


def test_equal_rows_stay():
    """Where most rows are the same there is no telling which of the others are far."""
    rows = np.zeros((500, 3))
    rows[:100] = np.random.default_rng(0).normal(size=(100, 3))
    assert len(left(rows)) == 500


@pytest.mark.parametrize("trim", [0.0, 0.03, 0.2])
def test_a_number_is_the_share_that_is_left_out(trim):
    """So many rows are left out, those farthest from most others; with 0 none is."""
    stays = left(mixture(), trim=trim)
    assert len(stays) == round((1 - trim) * 1000)
    if trim == 0.2:
        assert (stays >= 900).sum() == 0


def test_categories_and_gaps_are_taken_as_they_are():
    """Missing cells and categories do not stop it, hardly a row is left out for them, and rows keep their order."""
    x_NF = mixture(1000, 0)
    x_NF[::7, 1] = np.nan
    codes = (np.arange(1000) % 3)[:, None]
    codes[500:505] = 3
    codes[::11] = -1
    stays = left(x_NF, codes, slots=(4,))
    assert (np.diff(stays) > 0).all()
    assert len(stays) > 0.98 * 1000


def test_no_value_becomes_unheard_of():
    """A column that hardly ever varies keeps the rows in which it does, however far they are."""
    x_NF = mixture(1000, 0)
    x_NF[:, 3] = 0
    x_NF[[7, 70], 3] = 44
    codes = np.zeros((1000, 1), dtype=int)
    codes[80:86] = 1
    x_NF[70:86, :3] += 30
    stays = left(x_NF, codes, slots=(2,))
    assert set(range(80, 86)) <= set(stays.tolist())
    assert {7, 70} <= set(stays.tolist())
    assert len(stays) < 1000


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

"""What to expect of rows of which a column is hidden."""

import numpy as np
import pyarrow as pa
import pytest

from tests.scoring.test_masking import NAMES, rows
from vae_model import Config, Detector
from vae_model.scoring.masking import hide
from vae_model.training import hiding

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def detector():
    """Trained by the defaults."""
    return Detector(Config.model_validate({})).fit(rows(3000, 0).append_column("same", pa.repeat(1.5, 3000)))


def held(detector, table):
    """Of each number, the share of its values within its interval, each hidden in turn."""
    ensemble, spec = detector.scorer.ensemble, detector.spec
    batch = spec.encode_table(table)
    shares = {}
    for name in NAMES:
        index = spec.names.index(name)
        hidden = np.zeros((len(batch), len(spec.features)), dtype=bool)
        hidden[:, index] = True
        means = [ensemble.expectation(ensemble(own), own.codes_NC)[0]
                 for own in hide(spec, batch, hidden).blocks(2000)]  # fmt: skip
        unit = spec.residuals[index].start
        difference = batch.x_NF[:, unit] - np.concatenate(means)[:, unit]
        low, high = ensemble.margin_F2[unit]
        shares[name] = float(np.mean((low <= difference) & (difference <= high)))
    return shares


def test_an_interval_holds_as_many_values_as_it_says(detector):
    """Of rows that were neither trained on nor held out, within four points of the level."""
    shares = held(detector, rows(4000, 7).append_column("same", pa.repeat(1.5, 4000)))
    assert all(abs(share - hiding.LEVEL) < 0.04 for share in shares.values()), shares


def test_of_a_constant_nothing_else_is_expected(detector):
    """A column that never varied has no interval."""
    unit = detector.spec.residuals[detector.spec.names.index("same")].start
    assert detector.scorer.ensemble.margin_F2[unit].tolist() == [0, 0]


def test_rows_score_higher_without_a_column_that_others_hang_on(detector):
    """By how much is at least 1, and more of a number that tells a category than of one that tells nothing."""
    rise = dict(zip(detector.spec.names, detector.scorer.ensemble.rise_D2[:, 0], strict=True))
    assert min(rise.values()) >= 1
    assert rise["n0"] > rise["often"]


def test_few_rows_have_intervals_too():
    """Those of the folds that have the column, in a table under 500 rows."""
    table = rows(200, 8)
    margin = Detector(Config.model_validate({})).fit(table).scorer.ensemble.margin_F2
    assert (margin[:, 0] < 0).all() and (margin[:, 1] > 0).all()
    assert (margin < 3).all() and (margin > -3).all()

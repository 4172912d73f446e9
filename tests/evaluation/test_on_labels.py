"""What a label says of the scores of a model."""

import json

import numpy as np
import pyarrow as pa
import pytest

from vae_model.errors import InputError
from vae_model.evaluation.on_labels import BUDGETS, on_labels
from vae_model.evaluation.planting import plant, roomy
from vae_model.evaluation.record import Subject

pytestmark = pytest.mark.slow

metrics = pytest.importorskip("sklearn.metrics", reason="an extra that not every environment has")
SUBJECT = Subject("judged@0", "a table", "rows of its own", label="is_bad")


@pytest.fixture(scope="module")
def labelled(judged):
    """Clean rows and rows with a gross error, half of which stand for ten."""
    detector, trained, clean = judged
    wrong = plant(clean, trained, detector.spec.trained, 30, 0)[0].rows
    rows = pa.concat_tables([roomy(clean), wrong])
    odd = np.arange(len(rows)) >= len(clean)
    return detector, trained, rows, odd, np.where(odd, 1.0, 10.0)


def test_the_figures_are_scikit_learns(labelled):
    """Of the model, weighted: areas, and precision and recall of its decision."""
    detector, _, rows, odd, weights = labelled
    found = on_labels(*labelled, SUBJECT)
    scored = detector.score(rows)
    scores, flagged = scored["anomaly_score"].to_numpy(), np.array(scored["is_anomaly"].to_pylist())
    own = {name: interval.value for name, interval in found.detectors[0].figures.items()}
    assert own["auc_roc"] == pytest.approx(metrics.roc_auc_score(odd, scores, sample_weight=weights))
    assert own["auc_pr"] == pytest.approx(metrics.average_precision_score(odd, scores, sample_weight=weights))
    assert found.decided.recall.value == pytest.approx(metrics.recall_score(odd, flagged, sample_weight=weights))
    precision = metrics.precision_score(odd, flagged, sample_weight=weights)
    assert found.decided.precision.value == pytest.approx(precision)
    assert found.decided.false_alarms == pytest.approx(flagged[~odd].mean())
    assert {f"recall_{share:g}" for share in BUDGETS} < set(own) and own["recall_0.05"] > 0.9
    assert json.dumps(found.to_json(), allow_nan=False) and "AUC-PR" in found.verdict


def test_of_few_anomalous_rows_no_detector_is_called_better(labelled):
    """One row that happens to score high says nothing, and no resample shows that it does not."""
    detector, trained, rows, odd, weights = labelled
    kept = ~odd | (np.cumsum(odd) <= 5)
    found = on_labels(detector, trained, rows.filter(pa.array(kept)), odd[kept], weights[kept], SUBJECT)
    assert all(one.ahead is None for one in found.detectors) and "within chance" not in found.verdict
    assert "5 anomalous rows are too few" in found.subject.notes[-1]


def test_nothing_flagged_has_no_precision(labelled):
    """Which is told as null, and not as 0."""
    detector, *rest = labelled
    found = on_labels(
        detector.with_decision(detector.config.decision.model_copy(update={"threshold": 1e12})), *rest, SUBJECT
    )
    assert found.decided.precision is None and found.decided.recall.value == 0


def test_too_few_normal_rows_are_told(labelled):
    """Rather than figures that are chance."""
    detector, trained, rows, odd, weights = labelled
    kept = np.flatnonzero(odd | (np.arange(len(rows)) < 50))
    with pytest.raises(InputError, match="too few rows"):
        on_labels(detector, trained, rows.take(kept), odd[kept], weights[kept], SUBJECT)

"""What is found of planted errors: figures that add up, the same for a seed, and told as JSON."""

import json

import numpy as np
import pytest

from vae_model.decisions.calibration import Calibration
from vae_model.errors import InputError
from vae_model.evaluation import on_planted
from vae_model.evaluation.baselines import BASELINES
from vae_model.evaluation.contest import OURS, ranked
from vae_model.evaluation.planting import KINDS, plant, roomy
from vae_model.evaluation.record import Subject

pytestmark = pytest.mark.slow

pytest.importorskip("sklearn", reason="an extra that not every environment has")
SUBJECT = Subject("judged@0", "a table", "rows of its own", seed=3)


@pytest.fixture(scope="module")
def found(judged):
    """The evaluation of it."""
    return on_planted.on_planted(*judged, SUBJECT)


def test_every_detector_is_there_and_every_kind(found):
    """The model first; of each the share found of every kind that could be planted."""
    assert [one.name for one in found.detectors] == [OURS, *BASELINES]
    assert all(list(one.by_kind) == list(KINDS) for one in found.detectors)
    assert found.rows["clean"] == 400 and found.subject.notes == ()


def test_the_shares_add_up(found):
    """Of kinds to that of all, for each detector and for the decision; each within its interval."""
    sizes = [part.rows for part in found.decided.by_kind]
    assert sum(sizes) == found.rows["planted"]
    for one in found.detectors:
        recall = one.figures["recall"]
        assert np.average(list(one.by_kind.values()), weights=sizes) == pytest.approx(recall.value)
        assert recall.low <= recall.value <= recall.high
    recalls = [part.recall for part in found.decided.by_kind]
    assert np.average(recalls, weights=sizes) == pytest.approx(found.decided.recall.value)


def test_the_figures_are_those_of_scoring_by_hand(found, judged):
    """The same errors planted and scored: cut at the clean rows' rate, and flagged by the decision."""
    detector, trained, clean = judged
    errors = plant(clean, trained, detector.spec.trained, on_planted.PLANTED, SUBJECT.seed)
    cut = Calibration(np.sort(ranked(detector, roomy(clean))), found.rate).cut
    for one, part in zip(errors, found.decided.by_kind, strict=True):
        scored = detector.score(one.rows)
        assert part.recall == pytest.approx(np.mean(scored["is_anomaly"].to_pylist()))
        hits = scored["anomaly_score"].to_numpy() > cut
        assert found.detectors[0].by_kind[one.kind] == pytest.approx(hits.mean())
        reasons = [own[0]["feature"] for own in scored["anomaly_reasons"].to_pylist() if own]
        columns = [own for own, flag in zip(one.columns, scored["is_anomaly"].to_pylist(), strict=True) if flag]
        right = [first in own for first, own in zip(reasons, columns, strict=True)]
        assert part.first_reason == (pytest.approx(np.mean(right)) if right else None)
    assert found.decided.false_alarms == np.mean(detector.score(clean)["is_anomaly"].to_pylist())


def test_gross_errors_are_found_and_named(found):
    """What no row can miss: a number far out, and a gap where there was none."""
    kinds = {part.name: part for part in found.decided.by_kind}
    assert kinds["tail"].recall > 0.9 and kinds["missing"].recall > 0.9 and kinds["tail"].first_reason > 0.9


def test_a_seed_gives_the_same_record(found, judged):
    """But for the seconds; JSON holds all of it, and no NaN."""

    def told(evaluation):
        document = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
        return [document, *(one.pop("score_seconds") + (one.pop("fit_seconds") or 0) for one in document["detectors"])]

    first, again = told(found), told(on_planted.on_planted(*judged, SUBJECT))
    assert first[0] == again[0] and first[0]["verdict"].startswith("On this table ")
    assert min(first[1:]) > 0


def test_too_few_clean_rows_are_told(judged):
    """Before anything is planted."""
    detector, trained, clean = judged
    with pytest.raises(InputError, match="too few rows") as caught:
        on_planted.on_planted(detector, trained, clean.slice(0, 99), SUBJECT)
    assert caught.value.exit_code == 2

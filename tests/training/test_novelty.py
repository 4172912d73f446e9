"""What is new in a row adds to its score by how few training rows had the like, in the currency of held-out scores."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model import Config, Detector
from vae_model.training import novelty

HELD_OUT = np.random.default_rng(0).lognormal(size=1000)


@pytest.mark.slow
@given(st.lists(st.sets(st.integers(0, 4)), min_size=1, max_size=40))
def test_a_share_counts_the_rows_that_would_have_surprised_as_much(rows):
    """The share of a feature is that of the rows that miss one which at most as many of the other rows miss."""
    count = np.array([sum(feature in row for row in rows) for feature in range(5)])
    gap_N = [min(row, key=lambda feature: (count[feature], feature), default=-1) for row in rows]
    expected = [np.mean([any(count[own] - 1 <= k for own in row) for row in rows]) for k in count]
    np.testing.assert_allclose(novelty.shares(count, np.array(gap_N)), expected)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_the_rarer_a_gap_the_more_it_adds(shares):
    """What gaps add falls as their share rises, and is never negative."""
    added = novelty.scores(np.sort(shares), HELD_OUT)
    assert (np.diff(added) <= 0).all() and added[-1] >= 0


@pytest.mark.parametrize("share", [0.125, 0.3, 1.0])
def test_a_usual_gap_adds_nothing(share):
    """From an eighth of the training rows on, a gap is no evidence at all."""
    assert novelty.scores(np.array([share]), HELD_OUT).tolist() == [0]


def test_what_was_never_missing_goes_beyond_all_held_out_rows():
    """A gap that no training row had lifts even a row with the lowest score above every held-out one."""
    assert novelty.scores(np.zeros(1), HELD_OUT)[0] + HELD_OUT.min() > 1.2 * HELD_OUT.max()


def test_without_held_out_scores_there_is_no_currency():
    """Where no held-out row could be scored, gaps add nothing."""
    assert novelty.scores(np.zeros(3), np.empty(0)).tolist() == [0, 0, 0]


def numbers(rows, seed, *shares):
    """Correlated columns, of which these shares are missing."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, len(shares))) + draw.normal(size=(rows, 1))
    return np.where(draw.random(x.shape) < shares, np.nan, x)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [300, 2000])
def test_one_cell_gone_missing_is_flagged(rows):
    """A null where no training row had one is flagged at 1 %, in tables that cross-fit and in tables that do not."""
    decision = {"false_alarm_rate": 0.01}
    detector = Detector(Config.model_validate({"decision": decision, "model": {"steps": 100}}))
    detector.fit(numbers(rows, 0, *[0] * 6))
    fresh = numbers(600, 1, *[0] * 6)
    fresh[np.arange(600), np.arange(600) % 6] = np.nan
    assert np.mean(detector.score(fresh)["is_anomaly"].to_numpy()) == 1


@pytest.mark.slow
def test_rows_with_a_gap_as_rare_as_the_false_alarms_do_not_fill_them():
    """A gap that 2 % of the rows have is not flagged for itself at 1 %, and takes no alarms from the other rows."""
    decision = {"false_alarm_rate": 0.01}
    detector = Detector(Config.model_validate({"decision": decision, "model": {"steps": 100}}))
    detector.fit(numbers(6000, 0, 0.02, *[0] * 5))
    fresh = numbers(20_000, 1, 0.02, *[0] * 5)
    flagged, gap = detector.score(fresh)["is_anomaly"].to_numpy(), np.isnan(fresh[:, 0])
    assert flagged[gap].mean() < 0.15
    assert 0.005 < flagged[~gap].mean() < 0.02


@pytest.mark.slow
def test_rows_with_some_gap_do_not_fill_the_alarms():
    """Where each of many columns is hardly ever missing, two in five rows have a gap: they are flagged as often."""
    decision = {"false_alarm_rate": 0.01}
    detector = Detector(Config.model_validate({"decision": decision, "model": {"steps": 50}}))
    detector.fit(numbers(2500, 0, *[0.005] * 100))
    fresh = numbers(8000, 1, *[0.005] * 100)
    flagged, gap = detector.score(fresh)["is_anomaly"].to_numpy(), np.isnan(fresh).any(axis=1)
    assert 0.3 < gap.mean() < 0.5
    assert flagged[gap].mean() < 0.03
    assert flagged[~gap].mean() > 0.004


def test_gaps_do_not_add_up():
    """Rows with many gaps keep their order: what a gap adds is added once, however many there are."""
    detector = Detector(Config.model_validate({"model": {"steps": 50}})).fit(numbers(600, 0, *[0] * 8))
    rows = pa.table({f"x{i}": [0.0, None, None, None] for i in range(4)} | {f"x{i}": [0.0] * 4 for i in range(4, 8)})
    rows = rows.set_column(1, "x1", [[0.0, 0.0, None, None]]).set_column(2, "x2", [[0.0, 0.0, 0.0, None]])
    whole, *scores = detector.score(rows)["anomaly_score"].to_pylist()
    added = detector.scorer.ensemble.gap_score_D[0]
    np.testing.assert_allclose(scores, whole + added, rtol=0.2)


@pytest.mark.slow
def test_an_unseen_category_is_as_new_as_values_that_occurred_once_are_few():
    """Where all values are common an unseen one goes beyond all held-out rows; where many occur once, it is nothing."""
    assert novelty.unseen_shares(np.array([0, 30, 2, 500]), 1000).tolist() == [0, 1, 0.002, 1]

    def frame(rows, seed):
        draw = np.random.default_rng(seed)
        city = draw.choice(["Lyon", "Nice", "Turin"], rows)
        return pa.table(
            {"x": draw.normal(size=rows), "city": city, "ticket": draw.integers(0, 10**9, rows).astype(str)}
        )

    detector = Detector(Config.model_validate({"model": {"steps": 60}})).fit(frame(800, 0))
    rows = frame(200, 1)
    known = detector.score(rows)
    odd = detector.score(rows.set_column(1, "city", pa.array(["Oslo"] * 200)))
    assert known["is_anomaly"].to_numpy(zero_copy_only=False).mean() < 0.05
    assert odd["is_anomaly"].to_numpy(zero_copy_only=False).all()
    assert {reasons[0]["feature"] for reasons in odd["anomaly_reasons"].to_pylist()} == {"city"}

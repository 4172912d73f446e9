"""Metrics against brute force and scikit-learn, with ties, weights and rows without a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.decisions.calibration import Calibration
from vae_model.evaluation.metrics import RESAMPLES, Interval, Ranking, cut_at, resamples

ROWS = st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.integers(1, 4)), min_size=2, max_size=40).filter(
    lambda rows: len({odd for _, odd, _ in rows}) == 2
)
"""Scores with ties, labels of both classes, and weights."""


def parts(rows):
    """Scores, labels and weights as arrays."""
    scores, odd, weights = zip(*rows, strict=True)
    return np.array(scores, float), np.array(odd), np.array(weights, float)


@pytest.mark.slow
@settings(max_examples=150)
@given(ROWS)
def test_the_areas_are_those_of_scikit_learn(rows):
    """Weighted as it weighs, whatever is equal."""
    metrics = pytest.importorskip("sklearn.metrics", reason="an extra that not every environment has")
    scores, odd, weights = parts(rows)
    curve = Ranking.of(scores, odd).curve(weights)
    assert curve.auc_roc == pytest.approx(metrics.roc_auc_score(odd, scores, sample_weight=weights))
    assert curve.auc_pr == pytest.approx(metrics.average_precision_score(odd, scores, sample_weight=weights))


@pytest.mark.slow
@settings(max_examples=150)
@given(ROWS)
def test_the_area_is_how_often_an_anomalous_row_is_higher(rows):
    """Counted pair by pair, a tie as a half; a weight is so many rows."""
    scores, odd, weights = parts(rows)
    copies = np.repeat(np.arange(len(scores)), weights.astype(int))
    pairs = [
        (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2 for i in copies if odd[i] for j in copies if not odd[j]
    ]
    assert Ranking.of(scores, odd).curve(weights).auc_roc == pytest.approx(np.mean(pairs))


@pytest.mark.slow
@settings(max_examples=150)
@given(ROWS, st.floats(0.02, 1), st.randoms(use_true_random=False))
def test_a_budget_takes_the_highest_rows(rows, share, random):
    """As many as the mean over all orders of equal rows would, whatever order they come in."""
    scores, odd, weights = parts(rows)
    left, hits = share * weights.sum(), 0.0
    for score in sorted(set(scores), reverse=True):
        own = scores == score
        part = min(left / weights[own].sum(), 1.0)
        hits += part * weights[own & odd].sum()
        left -= part * weights[own].sum()
    order = random.sample(range(len(scores)), len(scores))
    curve = Ranking.of(scores[order], odd[order]).curve(weights[order])
    assert curve.recall(share) == pytest.approx(hits / weights[odd].sum())
    assert curve.precision(share) == pytest.approx(hits / (share * weights.sum()))


@settings(max_examples=150)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.floats(1e-4, 0.999))
def test_a_cut_is_that_of_a_calibration(scores, rate):
    """On the same rows, and where a row comes twice, on both."""
    known = np.array(scores, float)
    assert cut_at(known, np.ones(len(known)), rate) == Calibration(np.sort(known), rate).cut
    twice = np.sort(np.append(known, known[0]))
    weights = np.ones(len(known))
    weights[0] = 2
    assert cut_at(known, weights, rate) == Calibration(twice, rate).cut


@settings(max_examples=100)
@given(ROWS, st.randoms())
def test_the_order_of_rows_says_nothing(rows, random):
    """Equal scores are equal, and so are those of rows without one."""
    shuffled = random.sample(rows, len(rows))
    curves = []
    for own in (rows, shuffled):
        scores, odd, weights = parts(own)
        curves.append(Ranking.of(np.where(scores < 3, np.nan, scores), odd).curve(weights))
    for name in ("auc_roc", "auc_pr"):
        assert getattr(curves[0], name) == pytest.approx(getattr(curves[1], name))


def test_a_row_without_a_score_is_the_lowest():
    """It is found last, and is no bar to others."""
    scores, odd = np.array([np.nan, 1.0, 2.0]), np.array([True, False, True])
    assert Ranking.of(scores, odd).curve(np.ones(3)).auc_roc == 0.5
    assert cut_at(np.array([np.nan, 3.0]), np.ones(2), 0.01) == 3.0


def test_resamples_are_of_the_seed():
    """As many rows as there are, drawn with replacement, in each group by itself."""
    first, again, other = (list(resamples((30, 5), seed)) for seed in (0, 0, 1))
    assert len(first) == RESAMPLES and all(
        own.sum() == size for one in first for own, size in zip(one, (30, 5), strict=True)
    )
    same = [np.array_equal(one[0], two[0]) for one, two in zip(first, again, strict=True)]
    assert all(same) and not np.array_equal(first[0][0], other[0][0])


@pytest.mark.slow
def test_an_interval_holds_the_truth_about_as_often_as_it_says():
    """Of a share of 0.3 in 200 rows, of 100 samples."""
    held = 0
    for trial in range(100):
        is_found = np.random.default_rng(trial).random(200) < 0.3
        drawn = np.array([np.average(is_found, weights=own) for (own,) in resamples((200,), trial)])
        interval = Interval.of(is_found.mean(), drawn)
        held += interval.low <= 0.3 <= interval.high
    assert 88 <= held <= 100

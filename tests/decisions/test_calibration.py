"""Scores to p-values and decisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.decisions.calibration import Calibration

SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 7.0]), min_size=1, max_size=40)


def calibrated(scores, rate=0.1, threshold=None):
    """A calibration over held-out scores in any order."""
    return Calibration(np.sort(np.asarray(scores, dtype=float)), rate, threshold)


def flags(calibration, scores):
    """The decision on scores."""
    scores = np.asarray(scores, dtype=float)
    return calibration.decide(scores, calibration.p_values(scores)).tolist()


@settings(max_examples=100, deadline=None)
@given(SCORES, SCORES)
def test_p_values_are_a_count(held_out, scores):
    """A p-value is (1 + held-out scores at least as high) / (1 + n), ties counted."""
    expected = [(1 + sum(h >= s for h in held_out)) / (1 + len(held_out)) for s in scores]
    np.testing.assert_array_equal(calibrated(held_out).p_values(np.array(scores)), expected)


def test_ties_count_against_the_row():
    """A score equal to held-out ones is no more unusual than they are."""
    np.testing.assert_array_equal(
        calibrated([1, 2, 2, 3]).p_values(np.array([0.5, 2, 2.5, 3, 4])), [1, 0.8, 0.4, 0.4, 0.2]
    )


def test_p_values_fall_with_the_score():
    """A higher score never has a larger p-value."""
    p = calibrated(np.random.default_rng(0).normal(size=99)).p_values(np.linspace(-5, 5, 1000))
    assert (np.diff(p) <= 0).all()
    assert (p[0], p[-1]) == (1, 0.01)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.3, 0.77])
def test_normal_rows_are_flagged_at_most_at_the_rate(rate):
    """P(p <= a) <= a over draws of held-out rows and one row more of the same distribution."""
    draws = np.random.default_rng(1).normal(size=(8000, 50))
    p = np.array([calibrated(row[:-1]).p_values(row[-1:])[0] for row in draws])
    flagged = (p <= rate + 1e-12).mean()
    exact = np.floor(rate * 50 + 1e-9) / 50  # what exchangeability promises for 49 held-out rows
    assert exact <= rate + 1e-12
    assert flagged == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / len(draws)))


@pytest.mark.parametrize(("rate", "expected"), [(0.2, 1), (0.4, 3), (0.39, 1), (0.6, 4), (0.8, 5)])
def test_the_rate_decides(rate, expected):
    """Rows whose p-value is at most the rate are flagged, those exactly at it included."""
    scores = [4, 3, 2.5, 2, 1, 0]  # p-values 0.2, 0.4, 0.4, 0.6, 0.8, 1 by the four held-out scores
    calibration = calibrated([0.5, 1.5, 2.2, 3], rate)
    p = calibration.p_values(np.array(scores, dtype=float))
    np.testing.assert_allclose(p, [0.2, 0.4, 0.4, 0.6, 0.8, 1])
    assert flags(calibration, scores) == [i < expected for i in range(6)]


@pytest.mark.parametrize("held_out", [9, 19, 99, 999, 4999])
def test_the_finest_rate_is_reached(held_out):
    """A row above every held-out row is flagged at the rate 1 / (1 + n), whatever the rounding of it."""
    calibration = calibrated(np.arange(held_out), 1 / (1 + held_out))
    assert not calibration.is_too_small
    assert flags(calibration, [held_out, held_out - 1]) == [True, False]


def test_the_threshold_decides():
    """With a threshold, scores at least as high are flagged, whatever their p-values."""
    calibration = calibrated(np.arange(100), 0.1, threshold=2.5)
    assert flags(calibration, [2.5, 2.4999, 1e9, -1]) == [True, False, True, False]
    assert not calibration.is_too_small
    assert calibration.describe() == "anomaly_score >= 2.5"


def test_too_few_held_out_rows_flag_only_what_is_above_all():
    """Where no p-value can reach the rate, rows above every held-out row are flagged, and no other."""
    calibration = calibrated([1, 2, 3], 0.001)
    assert calibration.is_too_small
    assert (calibration.finest_rate, calibration.effective_rate) == (0.25, 0.25)
    assert flags(calibration, [3.1, 3, 0]) == [True, False, False]


def test_enough_held_out_rows_keep_the_rate():
    """Where the rate can be reached it is the one that decides."""
    calibration = calibrated(np.arange(999), 0.01)
    assert (calibration.is_too_small, calibration.effective_rate) == (False, 0.01)
    assert sum(flags(calibration, np.arange(999))) == 9


@pytest.mark.parametrize("threshold", [None, 1.0])
def test_nan_is_never_flagged(threshold):
    """A score that is not a number has no p-value and is not flagged."""
    calibration = calibrated([1, 2, 3], 0.9, threshold)
    assert np.isnan(calibration.p_values(np.array([np.nan]))[0])
    assert flags(calibration, [np.nan]) == [False]


def test_an_infinite_score_is_above_all():
    """Infinity has the smallest p-value, minus infinity the largest."""
    np.testing.assert_array_equal(calibrated([1, 2, 3]).p_values(np.array([np.inf, -np.inf])), [0.25, 1])


def test_describe_in_words():
    """The decision says its rate, the score it amounts to, and what it rests on."""
    assert calibrated(np.arange(1001), 0.01).describe() == (
        "p-value <= 0.01 (a score of about 990), from 1,001 held-out rows"
    )

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
    return calibration.decide(np.asarray(scores, dtype=float)).tolist()


@settings(max_examples=100)
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


@pytest.mark.slow
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


def test_too_few_held_out_rows_flag_only_what_is_above_all():
    """Where no p-value can reach the rate, rows above every held-out row are flagged, and no other."""
    calibration = calibrated([1, 2, 3], 0.001)
    assert calibration.is_too_small
    assert (calibration.finest_rate, calibration.resulting_rate, calibration.cut) == (0.25, 0.25, 3)
    assert flags(calibration, [3.1, 3, 0]) == [True, False, False]


def test_enough_held_out_rows_keep_the_rate():
    """Where the rate can be reached it is the one that decides."""
    calibration = calibrated(np.arange(999), 0.01)
    assert (calibration.is_too_small, calibration.resulting_rate) == (False, 0.01)
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


RATES = st.one_of(
    st.sampled_from([0.001, 1 / 7, 0.1, 0.25, 1 / 3, 0.5, 0.9, 0.999]),  # 1 / (1 + n) of small n among them
    st.floats(0, 1, exclude_min=True, exclude_max=True),
)


@pytest.mark.slow
@settings(max_examples=300)
@given(SCORES, RATES, SCORES, st.data())
def test_the_cut_is_where_rows_begin_to_be_flagged(held_out, rate, scores, data):
    """A row is flagged where it scores above the cut, which is where its p-value is at most the rate, or the smallest
    there is where that is larger; ties, neighbours of the cut and held-out scores themselves included.
    """
    calibration = calibrated(held_out, rate)
    cut = calibration.cut
    near = [np.nextafter(cut, -np.inf), cut, np.nextafter(cut, np.inf)]
    scores = np.array([*scores, *held_out, *(near if np.isfinite(cut) else []), data.draw(st.floats(-10, 10))])
    assert flags(calibration, scores) == (scores > cut).tolist()
    lowest = max(rate, calibration.finest_rate) * (1 + 1e-9)
    assert flags(calibration, scores) == (calibration.p_values(scores) <= lowest).tolist()


@settings(max_examples=100)
@given(SCORES, RATES)
def test_the_resulting_rate_is_the_largest_p_value_that_is_flagged(held_out, rate):
    """It is the largest multiple of 1 / (1 + n) up to the rate; no finer than 1 / (1 + n), however fine the rate."""
    calibration = calibrated(held_out, rate)
    whole = 1 + len(held_out)
    assert calibration.resulting_rate == max(np.floor(rate * whole * (1 + 1e-9)), 1) / whole
    assert calibration.resulting_rate <= max(rate * (1 + 1e-9), calibration.finest_rate)


@pytest.mark.parametrize(("threshold", "expected"), [(2.5, 0.97), (99, 0.01), (99.5, 1 / 101), (-1, 1)])
def test_the_rate_of_a_threshold_is_counted(threshold, expected):
    """It is the share of held-out rows that reach the threshold; where none does they tell of no finer rate."""
    calibration = calibrated(np.arange(100), threshold=threshold)
    assert (calibration.cut, calibration.resulting_rate) == (threshold, pytest.approx(expected))


@pytest.mark.parametrize("held_out", [1, 4, 63, 400])
@pytest.mark.parametrize("rate", [1e-9, 0.001, 0.2])
def test_far_above_every_held_out_row_is_flagged_whatever_their_number(held_out, rate):
    """A score many times the highest held-out one is flagged, though the rate be finer than the rows support."""
    assert flags(calibrated(np.arange(held_out), rate), [100.0 * held_out]) == [True]


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (
            calibrated(np.arange(1000), 0.01),
            "rows that score above 990 are flagged, about 1 normal row in 100. "
            "decision.false_alarm_rate asks for 0.01; 1,000 held-out rows support rates down to 0.000999",
        ),
        (
            calibrated([3.25], 0.001),
            "rows that score above 3.25, the highest score of a held-out row, are flagged, about 50% of the normal "
            "rows. decision.false_alarm_rate asks for 0.001, but 1 held-out row supports no rate below 0.5",
        ),
        (
            calibrated(np.arange(400), 1, threshold=396),
            "rows that score at least 396 (decision.threshold) are flagged, about 1 normal row in 100: it is "
            "reached by 4 of the held-out rows. 400 held-out rows support rates down to 0.00249",
        ),
        (
            calibrated(np.arange(400), 1, threshold=1e6),
            "rows that score at least 1000000 (decision.threshold) are flagged, at most about 1 normal row in 401: it "
            "is reached by 0 of the held-out rows. 400 held-out rows support rates down to 0.00249",
        ),
    ],
)
def test_describe_in_words(calibration, words):
    """The decision says its cut, the rate that results, the one asked for, and the finest that can be had."""
    assert calibration.describe() == words

"""P-values: uniform but for their tail, or not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.drift.p_values import BINS, Uniformity


def counts(p_values):
    """How many are in each bin."""
    return np.bincount(np.ceil(np.asarray(p_values, dtype=float) * BINS - 1e-9).astype(int) - 1, minlength=BINS)


def of(scores, held_out):
    """The p-values of some scores by those of held-out rows."""
    at_least = len(held_out) - np.searchsorted(np.sort(held_out), scores)
    return (1 + at_least) / (1 + len(held_out))


@pytest.mark.parametrize("held_out", [9, 30, 99, 100, 1000, 40_000])
@pytest.mark.parametrize("rows", [10, 1000, 100_000])
def test_rows_like_the_held_out_ones_are_even(held_out, rows):
    """Few or many of either."""
    draw = np.random.default_rng(held_out)
    found = Uniformity.of(counts(of(draw.normal(size=rows), draw.normal(size=held_out))), held_out)
    assert not found.has_moved and 0 <= found.distance <= 1


@pytest.mark.parametrize("held_out", [1, 2, 5, 7, 10, 50, 333])
def test_p_values_that_are_exactly_even_are_at_no_distance(held_out):
    """Each of the p-values there can be, once: of few held-out rows they are steps, not a slope."""
    found = Uniformity.of(counts(np.arange(1, held_out + 2) / (1 + held_out)), held_out)
    assert found.distance < 1e-9


@pytest.mark.parametrize("share", [0, 0.001, 0.05, 0.08])
def test_anomalies_are_no_drift(share):
    """A run may have some: up to nearly a tenth of its rows."""
    draw = np.random.default_rng(0)
    scores = np.where(draw.random(5000) < share, 99, draw.normal(size=5000))
    assert not Uniformity.of(counts(of(scores, draw.normal(size=1000))), 1000).has_moved


@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_rows_of_few_scores_are_as_even_as_they_can_be(values, seed):
    """Equal scores have equal p-values: steps that lie below the slope."""
    draw = np.random.default_rng(seed)
    held_out, rows = draw.integers(0, values, 1000), draw.integers(0, values, 4000)
    assert not Uniformity.of(counts(of(rows, held_out)), 1000).has_moved


@pytest.mark.parametrize("share", [0.2, 0.5, 1])
def test_many_rows_in_the_tail_are_drift(share):
    """A run of which a fifth or more scores above nearly all that was held out is of other data."""
    draw = np.random.default_rng(0)
    scores = np.where(np.arange(5000) < share * 5000, 99, draw.normal(size=5000))
    found = Uniformity.of(counts(of(scores, draw.normal(size=1000))), 1000)
    assert found.has_moved and found.distance == pytest.approx(0.9 * share, abs=0.02)


def test_higher_scores_are_seen():
    """Where rows score half a deviation higher; not where they score lower, as rows of training do."""
    draw = np.random.default_rng(0)
    held_out = draw.normal(size=2000)
    moved = [Uniformity.of(counts(of(draw.normal(size=5000) + by, held_out)), 2000).has_moved for by in (0.5, -0.5)]
    assert moved == [True, False]


def test_nothing_says_nothing():
    """No row with a score, or no held-out row."""
    assert Uniformity.of(counts([]), 99) is None
    assert Uniformity.of(counts([1.0] * 50), 0) is None

"""P-values: uniform but for their tail, or not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.drift.p_values import BINS, Uniformity


def counts(p_values):
    """How many are in each bin."""
    return np.bincount(np.ceil(np.asarray(p_values) * BINS - 1e-9).astype(int) - 1, minlength=BINS)


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
    assert found is None or found.distance < 1e-9


@given(st.integers(0, 10**6))
def test_anomalies_are_no_drift(anomalies):
    """However many rows have the smallest p-values, the distance is that of the others."""
    draw = np.random.default_rng(0)
    count = counts(of(draw.normal(size=5000), draw.normal(size=1000)))
    with_them = count.copy()
    with_them[0] += anomalies
    assert Uniformity.of(with_them, 1000) == Uniformity.of(count, 1000)


def test_higher_scores_are_seen():
    """Where rows score half a deviation higher; not where they score lower, as rows of training do."""
    draw = np.random.default_rng(0)
    held_out = draw.normal(size=2000)
    moved = [Uniformity.of(counts(of(draw.normal(size=5000) + by, held_out)), 2000).has_moved for by in (0.5, -0.5)]
    assert moved == [True, False]


def test_nothing_beyond_the_tail_says_nothing():
    """Rows that all score above the held-out ones are anomalies, and one held-out row is no distribution."""
    assert Uniformity.of(counts([0.01] * 50), 99) is None
    assert Uniformity.of(counts([1.0] * 50), 0) is None

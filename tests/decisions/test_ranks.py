"""Ranks among sorted numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.decisions.ranks import Ranks


@pytest.mark.slow
@settings(max_examples=200)
@given(
    st.lists(st.floats(allow_nan=False) | st.floats(0.5, 2) | st.sampled_from([0.0, -0.0, 1.0])),
    st.lists(st.floats(allow_nan=False) | st.floats(0.5, 2), min_size=1),
    st.sampled_from([1, 3000]),
)
def test_ranks_are_those_of_bisection(numbers, others, copies):
    """How many numbers are below another is what bisection finds, near one another, far out, tied, infinite or -0."""
    ascending = np.sort(np.repeat(np.array(numbers, dtype=float), copies))
    with np.errstate(over="ignore"):  # the largest float's neighbour is infinite
        next_ones = np.nextafter(ascending[::copies], np.inf)
    values = np.concatenate([ascending[::copies], others, next_ones])
    np.testing.assert_array_equal(Ranks.of(ascending)(values), np.searchsorted(ascending, values))


def test_ranks_of_many_scores_are_those_of_bisection():
    """So they are among as many scores as a model has."""
    draw = np.random.default_rng(2)
    ascending = np.sort(draw.gamma(2, size=40_000))
    values = np.concatenate([draw.gamma(2, size=40_000), ascending[::7], [0, -1, 1e300]])
    np.testing.assert_array_equal(Ranks.of(ascending)(values), np.searchsorted(ascending, values))

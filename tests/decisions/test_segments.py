"""The level of each segment."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.decisions.segments import HIGHEST_LEVEL, LOWEST_LEVEL, SMALL, levels

SEGMENTS = 4
ROWS = st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, SEGMENTS - 1)), min_size=1, max_size=60)


def tail(rows, seed=0):
    """Scores with a long tail."""
    return np.random.default_rng(seed).pareto(3, rows) + 1


@given(ROWS)
def test_levels_are_finite_and_those_of_nobody_are_the_whole(rows):
    """Whatever the scores, zeros included: a number to divide by, 1 for a segment without a row."""
    scores, segment = (np.array(own) for own in zip(*rows, strict=True))
    found = levels(scores.astype(float), segment, SEGMENTS)
    assert ((found >= LOWEST_LEVEL) & (found <= HIGHEST_LEVEL)).all()
    assert (found[~np.isin(np.arange(SEGMENTS), segment)] == 1).all()


@pytest.mark.slow
@given(ROWS, st.randoms(use_true_random=False), st.sampled_from([0.001, 8.0, 1e6]))
def test_levels_do_not_depend_on_order_or_unit(rows, order, unit):
    """Neither the order of the rows nor a unit of the scores changes them."""
    rows = [(score + 1, segment) for score, segment in rows]  # zeros have no unit
    scores, segment = (np.array(own) for own in zip(*rows, strict=True))
    order.shuffle(rows)
    others, where = (np.array(own) for own in zip(*rows, strict=True))
    expected = levels(scores.astype(float), segment, SEGMENTS)
    np.testing.assert_allclose(levels(others * unit, where, SEGMENTS), expected, rtol=1e-9)


def test_one_segment_is_the_whole():
    """Where all rows are of one segment there is nothing to divide by."""
    np.testing.assert_array_equal(levels(tail(100), np.zeros(100, np.intp), 1), [1])


@pytest.mark.parametrize("factor", [0.2, 3.0, 40.0])
def test_a_segment_of_many_rows_has_its_own_level(factor):
    """Scores that are so many times higher give a level that is."""
    segment = np.repeat([0, 1], 20_000)
    found = levels(tail(40_000) * np.where(segment == 1, factor, 1), segment, 2)
    assert found[1] / found[0] == pytest.approx(factor, rel=0.05)


def test_a_small_segment_counts_by_its_rows():
    """Of equal scores: as many rows as SMALL go half of the way, on a scale of logarithms, fewer less."""
    for rows in (1, SMALL, 4 * SMALL):
        scores, segment = np.repeat([1.0, 16.0], [1_000_000, rows]), np.repeat([0, 1], [1_000_000, rows])
        assert levels(scores, segment, 2)[1] == pytest.approx(16 ** (rows / (rows + SMALL)), rel=0.02)

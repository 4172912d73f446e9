"""The course of numbers: what is expected after the rows before, levels, runs; and what they depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.networks.course import MAX_INPUTS, STATISTICS, Course, Steps

LENGTH, VARYING = 8, 3


def course(wanders=(0, 0, 1)):
    """A course of weights drawn by chance."""
    rng = np.random.default_rng(0)
    lags = Steps.of(LENGTH, VARYING).lags
    weight = rng.normal(0, 0.2, (lags * VARYING + 2 + 1, VARYING))
    return Course(
        LENGTH,
        weight,
        np.array([1.0, 2.0, 0.5]),
        np.array([0.1, 0, 0]),
        np.array(wanders, dtype=float),
        np.zeros(3),
        np.ones(3),
    )


def rows(count, seed=1):
    """Rows and their times."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, VARYING)).astype(np.float32), rng.normal(size=(count, 2))


def looked_at(x_NV, moment_NU, first):
    """The statistics of the rows from ``first`` on."""
    return course()(x_NV, moment_NU, first).statistic_NTV


@settings(max_examples=30)
@given(st.integers(LENGTH - 1, 900), st.integers(1, 700), st.integers(0, 2**16))
def test_what_a_row_is_depends_on_its_window_alone(first, count, seed):
    """Looked at among others, with nothing but its window, or in a block of another size: the same to the last bit."""
    x_NV, moment_NU = rows(first + count, seed)
    found = looked_at(x_NV, moment_NU, first)
    assert found.shape == (count, len(STATISTICS), VARYING)
    start = first - LENGTH + 1
    assert np.array_equal(looked_at(x_NV[start:], moment_NU[start:], LENGTH - 1), found)
    last = slice(len(x_NV) - LENGTH, None)
    assert np.array_equal(looked_at(x_NV[last], moment_NU[last], LENGTH - 1)[0], found[-1])


def test_what_lies_before_the_window_is_no_matter():
    """A wild value a window's length ago changes nothing; one step later it did."""
    x_NV, moment_NU = rows(40)
    other_NV = x_NV.copy()
    other_NV[20] = 9
    changed = (looked_at(x_NV, moment_NU, 0) != looked_at(other_NV, moment_NU, 0)).any(axis=(1, 2))
    assert changed[20 : 20 + LENGTH].any()
    assert not changed[20 + LENGTH :].any()
    assert not changed[:20].any()


def test_a_surprise_is_what_is_not_expected():
    """The distance from the weights' own answer, in deviations."""
    x_NV, moment_NU = rows(LENGTH)
    one = course()
    found = one(x_NV, moment_NU, LENGTH - 1)
    lags = Steps.of(LENGTH, VARYING).lags
    middle_V = x_NV[-1 - lags : -1].mean(axis=0) * [0, 0, 1]  # one that wanders is taken from the mean of its past
    given_I = np.concatenate([(x_NV[-2 : -2 - lags : -1] - middle_V).ravel(), moment_NU[-1], [1]])
    assert np.allclose(found.expected_NV[0], given_I @ one.weight_IV + middle_V, rtol=1e-5)
    assert np.allclose(found.statistic_NTV[0, 0], np.abs(x_NV[-1] - found.expected_NV[0]) / [1, 2, 0.5])


def test_a_level_is_that_of_the_last_rows():
    """Against the usual level; of a number that wanders, against the mean of its window."""
    x_NV, moment_NU = rows(LENGTH)
    level = np.abs(x_NV[-2:].mean(axis=0) - [0.1, 0, x_NV[:, 2].mean()])
    assert np.allclose(looked_at(x_NV, moment_NU, LENGTH - 1)[0, 1], level)


def test_a_run_ends_with_another_value_and_with_the_window():
    """So many rows before have the same value, at most those of the window."""
    x_NV, moment_NU = rows(30)
    x_NV[10:, 0] = 5
    x_NV[26, 1] = x_NV[27, 1] = x_NV[28, 1]
    run = looked_at(x_NV, moment_NU, 12)[:, 2]
    assert run[:, 0].tolist() == [min(n, LENGTH - 1) for n in range(2, 20)]
    assert run[-4:, 1].tolist() == [0, 1, 2, 0]


def test_what_is_missing_has_no_statistic_and_is_no_run():
    """A row whose number is missing says nothing of it; the rows after it are looked at."""
    x_NV, moment_NU = rows(30)
    x_NV[20:22, 1] = np.nan
    found = looked_at(x_NV, moment_NU, LENGTH)
    assert np.isnan(found[20 - LENGTH : 22 - LENGTH, :, 1]).all()
    assert np.isnan(found).sum() == 2 * len(STATISTICS)


@pytest.mark.parametrize(("length", "varying"), [(2, 1), (24, 8), (24, 500), (1000, 3000)])
def test_a_window_looks_back_as_far_as_it_is_long_and_a_wide_table_less(length, varying):
    """There is always a lag and a step, and never more inputs than are worth their time."""
    lags, level = Steps.of(length, varying)
    assert 1 <= lags < length
    assert 1 <= level < length
    assert lags == 1 or lags * varying <= MAX_INPUTS

"""Landmarks: the distance to the nearest of a few rows, draw by draw, whatever is missing."""

import numpy as np
import pytest

from vae_model.networks import tiles
from vae_model.networks.inputs import Inputs, TableShape
from vae_model.networks.landmarks import DRAWN, GROUPS, NEAREST, Landmarks

SHAPE = TableShape(3, (2, 4))


def rows(count, seed=0):
    """Encoded rows without gaps."""
    draw = np.random.default_rng(seed)
    codes_NC = np.stack([draw.integers(0, 2, count), draw.integers(0, 4, count)], axis=1).astype(np.int32)
    return draw.normal(size=(count, 3)).astype(np.float32), codes_NC


def told(landmarks, x_NV, codes_NC, imputed_NO=None):
    """(N,) what is told of rows."""
    inputs = Inputs.of(x_NV, codes_NC)
    if imputed_NO is not None:
        inputs = Inputs(inputs.table, tiles.of_rows(imputed_NO.astype(np.float32)), inputs.buffers)
    return tiles.values(landmarks(inputs), len(x_NV))


def columns(x_NV, codes_NC):
    """Numbers and one-hot categories side by side."""
    return np.concatenate([np.clip(x_NV, -10, 10), *(np.eye(k)[c] for k, c in zip((2, 4), codes_NC.T, strict=True))], 1)


def test_it_is_the_mean_log_distance_to_the_nearest_of_each_draw():
    """As computed by hand, from all pairs of rows and landmarks."""
    sample, others = rows(500), rows(900, 1)
    landmarks = Landmarks.fit(SHAPE, *sample, 7)
    drawn = np.random.default_rng(7).permutation(500)[: GROUPS * DRAWN]
    between = columns(*others)[:, None] - columns(*sample)[drawn]
    squared = (between**2).sum(axis=2) + NEAREST * 5
    expected = 0.5 * np.log(squared.reshape(900, GROUPS, DRAWN).min(axis=2)).mean(axis=1)
    np.testing.assert_allclose(told(landmarks, *others), expected, rtol=1e-4, atol=1e-4)


def test_what_is_missing_is_imputed():
    """A row with gaps is as far as it would be with what the other members expect, and a missing category is half as
    far as another one.
    """
    landmarks = Landmarks.fit(SHAPE, *rows(500), 0)
    x_NV, codes_NC = rows(50, 1)
    whole = told(landmarks, x_NV, codes_NC)
    gaps = x_NV.copy()
    gaps[::2, 1] = np.nan
    imputed = np.concatenate([x_NV, np.full((50, 6), 0.2)], axis=1)
    np.testing.assert_allclose(told(landmarks, gaps, codes_NC, imputed), whole, rtol=1e-5, atol=1e-5)
    missing = codes_NC.copy()
    missing[:, 0] = -1
    between = x_NV[:, None] - landmarks.numbers_LV, np.eye(4)[codes_NC[:, 1]][:, None] - landmarks.slots_LS[:, 2:]
    squared = sum((part**2).sum(axis=2) for part in between) + 1 + NEAREST * 5
    expected = 0.5 * np.log(squared.reshape(50, GROUPS, DRAWN).min(axis=2)).mean(axis=1)
    np.testing.assert_allclose(told(landmarks, x_NV, missing, imputed), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("count", [1, 5, 31])
def test_few_rows_are_landmarks_more_than_once(count):
    """Fewer rows than landmarks are drawn again and again, and a copy of one is at the least distance there is."""
    sample = rows(count)
    landmarks = Landmarks.fit(SHAPE, *sample, 0)
    assert landmarks.numbers_LV.shape == (GROUPS * DRAWN, 3)
    if count == 1:
        np.testing.assert_allclose(told(landmarks, *sample), 0.5 * np.log(NEAREST * 5), atol=1e-3)


def test_a_few_rows_that_sit_together_are_still_remote():
    """One row in a hundred, far off and all alike, is farther from the landmarks than all others."""
    x_NV, codes_NC = rows(2000)
    x_NV[:20] = 6 + 0.01 * x_NV[:20]
    found = told(Landmarks.fit(SHAPE, x_NV, codes_NC, 1), x_NV, codes_NC)
    assert found[:20].min() > found[20:].max()


def test_arrays_make_the_same_landmarks():
    """What a model file holds gives them back."""
    landmarks = Landmarks.fit(SHAPE, *rows(200), 0)
    arrays = landmarks.arrays()
    assert {name: one.shape for name, one in Landmarks.stored(SHAPE)} == {n: a.shape for n, a in arrays.items()}
    np.testing.assert_array_equal(told(Landmarks.from_arrays(SHAPE, arrays), *rows(9)), told(landmarks, *rows(9)))

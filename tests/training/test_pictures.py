"""Training on pictures: planted defects, groups, repeatability, limits."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vae_model.errors import TrainingError
from vae_model.networks.edges import EDGES, PictureShape
from vae_model.networks.pictures import PictureVAE, cells_of
from vae_model.training import pictures as training
from vae_model.training.pictures import fit

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
import textures

pytestmark = pytest.mark.slow

SHAPE = PictureShape(64, 64, 1)


class Sizes(dict):
    """Sizes as a model file's header gives them."""

    def count(self, name):
        """A number."""
        return self[name]

    counts = count


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """Half the steps: enough for what is asked here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "STEPS", 150)
        patch.setattr(training, "WHOLE_STEPS", 60)
        yield


@pytest.fixture(scope="module")
def surfaces():
    """A model of 100 pictures of a weave and 100 of dots."""
    train = np.concatenate([textures.pictures(0, name, 100)[0] for name in ("weave", "dots")])
    fitted = fit(SHAPE, train[..., None], 0)
    return fitted, PictureVAE.from_arrays(SHAPE, fitted.arrays)


def test_planted_defects_rank_first(surfaces):
    """Of ordinary pictures and such with a defect, of two surfaces, the odd ones have the higher scores; those of the
    ordinary ones are about 0.
    """
    _, model = surfaces
    for name in ("weave", "dots"):
        usual = model.score(model.statistics(textures.pictures(1, name, 40)[0][..., None])[0])
        assert abs(np.median(usual)) < 1
        for defect in ("hole", "smudge", "orientation"):
            odd = model.score(model.statistics(textures.pictures(1, name, 10, defect)[0][..., None])[0])
            assert (odd[:, None] > usual).mean() > 0.95, (name, defect)


def test_heat_and_place_point_at_the_defect(surfaces):
    """The heat map peaks on the mask or within a cell of it, and the oddest window meets it."""
    _, model = surfaces
    pixels, masks = textures.pictures(2, "weave", 12, "smudge")
    heat, (_, where) = model.heat_map(pixels[..., None]), model.statistics(pixels[..., None])
    hits, meets = 0, 0
    for own, mask, (top, left, bottom, right) in zip(heat, masks, where, strict=True):
        row, column = np.unravel_index(own.argmax(), own.shape)
        hits += mask[max(0, row - 4) : row + 5, max(0, column - 4) : column + 5].any()
        meets += mask[top:bottom, left:right].any()
        assert own[mask].mean() > 1.5 * np.median(own)
    assert hits >= 11 and meets >= 11


def test_different_things_are_groups(surfaces):
    """Two surfaces are told apart without being told so; one surface is one group."""
    fitted, model = surfaces
    assert fitted.sizes["groups"] > 1
    groups = [model.group(cells_of(SHAPE, textures.pictures(1, name, 30)[0][..., None])) for name in ("weave", "dots")]
    assert set(groups[0]) & set(groups[1]) == set()
    assert fit(SHAPE, textures.pictures(0, "weave", 120)[0][..., None], 0).sizes["groups"] == 1


@pytest.mark.parametrize("size", [(8, 8, 1), (28, 20, 3), (4, 5, 1)])
def test_arrays_are_as_they_are_listed(size):
    """What training gives has the names, shapes and ranges that a model file is held against; nothing is random but by
    the seed.
    """
    shape = PictureShape(*size)
    pixels = np.random.default_rng(0).integers(0, 256, (60, *size)).astype(np.uint8)
    fitted, again, other = (fit(shape, pixels, seed) for seed in (1, 1, 2))
    listed = dict(PictureVAE.stored(shape, Sizes(fitted.sizes)))
    assert listed.keys() == fitted.arrays.keys()
    for name, stored in listed.items():
        array = fitted.arrays[name]
        assert (array.shape, str(array.dtype)) == (stored.shape, stored.dtype), name
        assert stored.low <= array.min() and array.max() <= stored.high, name
        np.testing.assert_array_equal(array, again.arrays[name])
    assert any((fitted.arrays[name] != other.arrays[name]).any() for name in listed)


def test_the_workers_pass_is_the_trained_network():
    """The statistic of whole pictures in NumPy is that of torch."""
    shape = PictureShape(28, 28, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1)).astype(np.uint8)
    cells = cells_of(shape, pixels)
    edges = np.ascontiguousarray(cells[1 : 1 + EDGES].reshape(-1, 50).T)
    edges /= np.linalg.norm(edges, axis=1, keepdims=True)
    network = training._VAE(edges, 16, 4, 0, flat=0.01)
    network.fit(edges, 30)
    expected = np.log(np.square(network.residuals(edges)).sum(axis=1))
    fitted = fit(shape, pixels, 0)
    own = {name: array for name, array in fitted.arrays.items() if not name.startswith("whole")}
    model = PictureVAE.from_arrays(shape, own | network.arrays("whole"))
    np.testing.assert_allclose(model.statistics(pixels)[0][:, 0], expected, atol=1e-4)


def test_flat_pictures_train_and_the_odd_one_stands_out():
    """Pictures that are all the same train without an error, and any other one is far from them."""
    shape = PictureShape(28, 28, 1)
    flat = np.full((30, 28, 28, 1), 90, np.uint8)
    model = PictureVAE.from_arrays(shape, fit(shape, flat, 0).arrays)
    odd = flat[:1].copy()
    odd[:, 10:14, 10:14] = 250
    usual, odd = (model.score(model.statistics(pixels)[0]) for pixels in (flat, odd))
    assert np.isfinite(usual).all() and odd[0] > usual.max() + 2


def test_a_few_odd_training_pictures_still_are_odd():
    """Two holes among a hundred training pictures do not become what is usual."""
    usual = textures.pictures(3, "weave", 100)[0]
    holes = textures.pictures(3, "weave", 2, "hole")[0]
    pixels = np.concatenate([usual, holes])[..., None]
    model = PictureVAE.from_arrays(SHAPE, fit(SHAPE, pixels, 0).arrays)
    score = model.score(model.statistics(pixels)[0])
    assert set(np.argsort(-score)[:3]) >= {100, 101}


def test_too_few_pictures_are_refused():
    """Under 20 pictures say nothing of what is usual."""
    with pytest.raises(TrainingError, match="Too few pictures"):
        fit(SHAPE, np.zeros((19, 64, 64, 1), np.uint8), 0)


def test_torchs_own_random_numbers_are_left_alone():
    """Training draws from a generator of its own."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(PictureShape(8, 8, 1), np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1)).astype(np.uint8), 0)
    assert torch.rand(1) == expected

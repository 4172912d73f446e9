"""The forward pass of pictures: cells, windows, groups, and that a picture's score is its own."""

from typing import ClassVar

import numpy as np
import pytest

from vae_model.networks.edges import PictureShape, coarser
from vae_model.networks.pictures import PictureVAE, cells_of, summary

SHAPES = [(8, 8, 1), (28, 28, 1), (64, 64, 3), (4, 9, 3), (30, 41, 1), (5, 5, 1), (100, 140, 3)]


class Widths:
    """Sizes as a model file's header gives them."""

    known: ClassVar = {"whole_hidden": [7], "whole_latent": 3, "hidden": [6, 5], "latent": 4, "groups": 3}

    def count(self, name):
        """A number above 0."""
        return self.known[name]

    def counts(self, name):
        """Numbers above 0."""
        return self.known[name]


def network(shape, seed=0):
    """A network of random weights."""
    draw = np.random.default_rng(seed)
    arrays = {}
    for name, array in PictureVAE.stored(shape, Widths()):
        size = np.sqrt(array.shape[0]) if name.endswith("weight") else 10
        arrays[name] = (draw.normal(size=array.shape) / size).astype(array.dtype)
    arrays["groups.scale"] = np.abs(arrays["groups.scale"]) + np.float32(0.1)
    return PictureVAE.from_arrays(shape, arrays)


def noise(shape, count, seed=0):
    """Random pictures, some of them dark, some flat."""
    draw = np.random.default_rng(seed)
    pixels = draw.integers(0, 256, (count, shape.height, shape.width, shape.channels))
    return (pixels * draw.random((count, 1, 1, 1))).astype(np.uint8)


@pytest.mark.parametrize("size", SHAPES)
def test_a_pictures_statistics_are_its_own(size):
    """To the last bit the same alone, in another order, and among others; so is the place, and the heat map."""
    model, pixels = network(PictureShape(*size)), noise(PictureShape(*size), 9)
    statistics, where = model.statistics(pixels)
    heat = model.heat_map(pixels)
    assert statistics.shape == (9, 1 + len(model.shape.grids)) and np.isfinite(statistics).all()
    order = np.random.default_rng(1).permutation(9)
    again, place = model.statistics(pixels[order])
    np.testing.assert_array_equal(again, statistics[order])
    np.testing.assert_array_equal(place, where[order])
    for n in (0, 5):
        one, place = model.statistics(pixels[n : n + 1])
        np.testing.assert_array_equal(one[0], statistics[n])
        np.testing.assert_array_equal(place[0], where[n])
        np.testing.assert_array_equal(model.heat_map(pixels[n : n + 1])[0], heat[n])


def test_more_pictures_than_a_block_are_each_measured():
    """Past the 304 pictures of a block scoring goes on with the next."""
    shape = PictureShape(12, 12, 1)
    model, pixels = network(shape), noise(shape, 700)
    statistics, _ = model.statistics(pixels)
    heat = model.heat_map(pixels)
    for n in (0, 303, 304, 699):
        np.testing.assert_array_equal(model.statistics(pixels[n : n + 1])[0][0], statistics[n])
        np.testing.assert_array_equal(model.heat_map(pixels[n : n + 1])[0], heat[n])


def test_no_picture_has_no_statistics():
    """An empty batch comes back empty."""
    shape = PictureShape(28, 28, 1)
    statistics, where = network(shape).statistics(noise(shape, 0))
    assert statistics.shape == (0, 2) and where.shape == (0, 4)
    assert network(shape).heat_map(noise(shape, 0)).shape == (0, 28, 28)


def test_pictures_of_another_shape_are_refused():
    """An array of other sides is an error of the caller's."""
    with pytest.raises(ValueError, match="28"):
        network(PictureShape(28, 28, 1)).statistics(noise(PictureShape(28, 27, 1), 2))


@pytest.mark.parametrize("size", [*SHAPES, (512, 512, 3)])
def test_windows_lie_in_the_picture_and_cover_it(size):
    """Windows are inside, and each pixel but for a rim of a cell is in one; heat is spread by weights that add to 1."""
    shape = PictureShape(*size)
    for scale in range(len(shape.grids)):
        for along in (0, 1):
            spans = [shape.span(scale, window, along) for window in range(shape.windows(scale)[along])]
            assert all(0 <= first < last <= size[along] for first, last in spans)
            assert spans[0][0] <= shape.cell * 2**scale and spans[-1][1] >= size[along] - shape.cell * 2**scale
            np.testing.assert_allclose(shape.spreading(scale, along).sum(axis=1), 1, rtol=1e-5)


def test_cells_know_direction_and_brightness():
    """A vertical edge is in one map, its mirror image in the map beside; a flat picture has no edges, but its grey."""
    shape = PictureShape(28, 28, 1)
    step = np.zeros((1, 28, 28, 1), np.uint8)
    step[:, :, 14:] = 255
    cells = np.concatenate([shape.cells(p) for p in (step, step[:, :, ::-1], np.full_like(step, 51))], axis=-1)
    strength = cells.sum(axis=(1, 2))
    assert strength[1:3, 0].min() == 0 and strength[1:3, 0].max() > 1
    np.testing.assert_allclose(strength[1:3, 0], strength[[2, 1], 1], rtol=1e-6)
    assert strength[3:5, :2].max() == 0
    assert (cells[1:, ..., 2] == 0).all()
    np.testing.assert_allclose(cells[0, ..., 2], 0.2, rtol=1e-6)


def test_colours_are_maps_of_their_own():
    """Pictures of equal brightness and other colours differ in the last two maps alone."""
    shape = PictureShape(16, 16, 3)
    red = np.full((1, 16, 16, 3), (140, 60, 100), np.uint8)
    green = np.full((1, 16, 16, 3), (60, 100, 100), np.uint8)
    one, other = shape.cells(red)[..., 0], shape.cells(green)[..., 0]
    np.testing.assert_array_equal(one[:9], other[:9])
    np.testing.assert_allclose(one[9:, 0, 0], [80 / 255, 0], atol=1e-6)
    np.testing.assert_allclose(other[9:, 0, 0], [-40 / 255, 20 / 255], atol=1e-6)


def test_coarser_cells_keep_a_flat_picture_flat():
    """Weights of the triangles add up to one."""
    np.testing.assert_allclose(coarser(np.full((2, 9, 8, 3), 0.3, np.float32)), 0.3, rtol=1e-6)
    assert coarser(np.zeros((2, 9, 8, 3), np.float32)).shape == (2, 4, 3, 3)


def test_each_picture_is_measured_by_the_nearest_group():
    """The group is that whose middle is nearest to the picture's means and spreads."""
    shape = PictureShape(28, 28, 1)
    model, cells = network(shape), cells_of(shape, noise(shape, 20))
    facts = (summary(cells) - model.center_X) / model.scale_X
    nearest = [int(np.argmin([np.sum((own - middle) ** 2) for middle in model.groups_GX])) for own in facts]
    assert model.group(cells).tolist() == nearest


def test_the_worst_place_is_where_the_heat_is():
    """The oddest window of the scale that stands out holds that scale's largest distance."""
    shape = PictureShape(28, 28, 1)
    model, pixels = network(shape), noise(shape, 5)
    _, where = model.statistics(pixels)
    heat = model.heat_map(pixels)
    for own, (top, left, bottom, right) in zip(heat, where, strict=True):
        assert own[top:bottom, left:right].max() >= 0.95 * own.max()

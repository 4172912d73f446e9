"""Pictures of the report: small, made anew, red where something is odd."""

import io

import numpy as np
import pytest
from PIL import Image

from vae_model.report.heat import MOST, SIDE, drawn


def opened(jpeg):
    """The pixels of a JPEG."""
    image = Image.open(io.BytesIO(jpeg))
    assert image.format == "JPEG"
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("shape", [(4, 4, 1), (64, 64, 3), (512, 512, 3), (512, 4, 1)])
def test_a_picture_of_noise_is_small(shape):
    """Whatever the size: at most so many bytes, and pixels on a side."""
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    for jpeg in drawn(pixels, np.ones(shape[:2], np.float32)):
        assert len(jpeg) <= MOST
        assert max(opened(jpeg).shape[:2]) <= SIDE


def test_what_is_hot_is_red_and_the_rest_is_grey():
    """By how much it is beyond what ordinary pictures reach."""
    heat = np.full((64, 64), 0.7, np.float32)
    heat[8:24, 8:24] = 20
    plain, tinted = map(opened, drawn(np.full((64, 64, 1), 128, np.uint8), heat))
    assert np.ptp(plain) < 8
    inside, outside = tinted[12:20, 12:20].mean(axis=(0, 1)), tinted[40:, 40:].mean(axis=(0, 1))
    assert inside[0] > inside[1] + 80
    assert abs(outside - 128).max() < 8

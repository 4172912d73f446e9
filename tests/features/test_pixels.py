"""Pictures in columns as pixels: sizes, modes, damaged and dangerous files, numbers."""

import io
import os
import struct
import threading
import time
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from vae_model.features.pixels import decode, full_scale, of_numbers

RAMP = np.linspace(0, 255, 12 * 16).reshape(12, 16).astype(np.uint8)
"""12 rows, 16 columns."""


def file(image, kind="png", **options):
    """The bytes of a picture file."""
    out = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(out, kind, **options)
    return out.getvalue()


def one(data, height=12, width=16, channels=1):
    """(H, W, C) pixels of one file that can be read."""
    found = decode(pa.array([data], pa.binary()), height, width, channels)
    assert found.readable_N.all()
    return found.pixels_NHWC[0]


def huge_png(width, height):
    """A PNG whose header speaks of a large picture, and that ends there."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


@pytest.mark.parametrize("kind", ["png", "bmp", "gif", "tiff", "ppm"])
def test_a_grey_picture_of_the_right_size_is_taken_as_it_is(kind):
    """Files without loss give their pixels, bit by bit."""
    np.testing.assert_array_equal(one(file(RAMP, kind))[..., 0], RAMP)


def test_what_cannot_be_read_is_marked_and_nothing_is_raised():
    """Nulls are missing; empty, truncated and foreign bytes are unreadable; the rows between are read."""
    good = file(RAMP)
    rows = [good, None, b"", b"no picture", good[:-30], good[:20], file(RAMP, "jpeg")[:200], good]
    found = decode(pa.array(rows, pa.binary()), 12, 16, 1)
    np.testing.assert_array_equal(found.missing_N, [0, 1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(found.unreadable_N, [0, 0, 1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(found.pixels_NHWC[[0, -1], ..., 0], [RAMP, RAMP])
    assert not found.pixels_NHWC[1:-1].any()


def test_damaged_files_never_raise():
    """Bytes changed at random make files unreadable, or other pictures, and no error or warning."""
    draw = np.random.default_rng(0)
    rows = []
    for kind in ("png", "jpeg", "gif", "tiff", "webp", "bmp"):
        whole = np.frombuffer(file(RAMP, kind), np.uint8)
        for _ in range(40):
            damaged = whole.copy()
            damaged[draw.integers(0, len(whole), 3)] = draw.integers(0, 256, 3)
            rows.append(damaged.tobytes())
    assert len(decode(pa.array(rows), 12, 16, 3).pixels_NHWC) == len(rows)


def test_an_empty_column_has_no_pictures():
    """No row, no picture."""
    assert decode(pa.array([], pa.binary()), 12, 16, 3).pixels_NHWC.shape == (0, 12, 16, 3)


@pytest.mark.parametrize("size", [(50_000, 50_000), (10_000, 10_000), (8_001, 8_000)])
def test_a_decompression_bomb_is_refused_by_its_header(size):
    """More than 64 million pixels are not decoded, whatever Pillow's own limit."""
    found = decode(pa.array([huge_png(*size)]), 12, 16, 1)
    assert found.unreadable_N.all()


def test_a_large_jpeg_is_scaled_while_it_is_decoded():
    """A JPEG of 24 million pixels is read, and is what it shows."""
    large = Image.fromarray(RAMP).resize((6000, 4000), Image.Resampling.NEAREST)
    found = one(file(large, "jpeg"), 24, 36)
    np.testing.assert_allclose(found[..., 0], large.resize((36, 24), Image.Resampling.BOX), atol=12)


def test_exif_orientation_is_applied():
    """A picture taken with the camera on its side stands upright."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned left: to be shown turned right by 90 degrees
    lying = np.rot90(RAMP)
    for kind in ("jpeg", "png", "tiff"):
        options = {"quality": 100} if kind == "jpeg" else {}
        turned = one(file(np.ascontiguousarray(lying), kind, exif=exif, **options))
        np.testing.assert_allclose(turned[..., 0], RAMP, atol=4)


@pytest.mark.parametrize("channels", [1, 3])
def test_modes(channels):
    """CMYK, palettes, 16 bits, two colours, and transparency over white become the channels that are asked for."""
    grey = Image.fromarray(RAMP)
    expected = np.repeat(RAMP[..., None], channels, axis=2)
    np.testing.assert_allclose(one(file(grey.convert("RGB").convert("CMYK"), "tiff"), channels=channels), expected)
    np.testing.assert_allclose(one(file(grey.convert("P")), channels=channels), expected)
    sixteen = Image.fromarray(RAMP.astype(np.uint16) * 257)
    np.testing.assert_allclose(one(file(sixteen), channels=channels), expected)
    np.testing.assert_allclose(one(file(Image.fromarray(RAMP / np.float32(255)), "tiff"), channels=channels), expected)
    two = one(file(grey.convert("1")), channels=channels)
    assert set(np.unique(two)) == {0, 255}
    clear = Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 0)])
    assert (one(file(clear), channels=channels) == 255).all()
    palette = Image.new("P", (16, 12), 0)
    assert (one(file(palette, "gif", transparency=0), channels=channels) == 255).all()


def test_only_the_first_frame_counts():
    """An animated picture is its first frame."""
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    np.testing.assert_array_equal(one(file(frames[0], "gif", save_all=True, append_images=frames[1:]))[..., 0], RAMP)


def test_another_size_is_fitted_and_continued_at_its_edges():
    """The aspect is kept: what is missing above and below, or at the sides, repeats the outermost pixels."""
    wide = np.zeros((10, 40), np.uint8)
    wide[:5] = 200
    found = one(file(wide), 20, 20)[..., 0]
    assert (found[:8] == 200).all() and (found[12:] == 0).all()
    tall = one(file(np.ascontiguousarray(wide.T)), 20, 20)[..., 0]
    np.testing.assert_array_equal(tall, found.T)
    assert one(file(np.full((1, 3000), 7, np.uint8)), 8, 8).tolist() == np.full((8, 8, 1), 7).tolist()
    assert one(file(np.full((3, 3), 9, np.uint8)), 8, 12).tolist() == np.full((8, 12, 1), 9).tolist()


def test_threads_do_not_disturb_each_other():
    """Several threads decode bad and good files at once, and no warning gets out."""
    rows = pa.array([file(RAMP), huge_png(10_000, 12_000), file(RAMP, "jpeg")] * 20)
    found = []
    threads = [threading.Thread(target=lambda: found.append(decode(rows, 12, 16, 1))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    for own in found:
        np.testing.assert_array_equal(own.pixels_NHWC, found[0].pixels_NHWC)
        assert own.unreadable_N.sum() == 20


def test_numbers_are_pictures_too():
    """Arrays of H W C numbers are pixels: whole numbers to 255, floats to the scale that training found."""
    flat = RAMP.ravel()
    whole = pa.array([flat.tolist(), None, flat[:-1].tolist()], pa.list_(pa.int32()))
    found = of_numbers(whole, 12, 16, 1, full_scale(whole))
    np.testing.assert_array_equal(found.pixels_NHWC[0, ..., 0], RAMP)
    assert found.missing_N.tolist() == [False, True, False]
    assert found.unreadable_N.tolist() == [False, False, True]
    floats = pa.array([(flat / 255).tolist(), [float("nan"), *(flat[1:] / 255)], [None, *(flat[1:] / 255)]])
    assert full_scale(floats) == 1
    found = of_numbers(floats, 12, 16, 1, 1.0)
    np.testing.assert_array_equal(found.pixels_NHWC[0, ..., 0], RAMP)
    assert found.unreadable_N.tolist() == [False, True, True]
    fixed = pa.array([(flat * 1.0).tolist()], pa.list_(pa.float32(), 192))
    np.testing.assert_array_equal(of_numbers(fixed, 12, 16, 1, full_scale(fixed)).pixels_NHWC[0, ..., 0], RAMP)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_meanwhile_decodes_too():
    """A child that is forked while another thread decodes has no lock of that thread's to wait for."""
    own, many, done = pa.array([file(RAMP)]), pa.array([file(RAMP)] * 3000), threading.Event()

    def work():
        while not done.is_set():
            decode(many, 8, 8, 1)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(5):
            if not (child := os.fork()):
                os._exit(0 if decode(own, 8, 8, 1).readable_N.all() else 1)
            deadline = time.monotonic() + 20
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
                time.sleep(0.01)
            if ended == (0, 0):
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert ended == (child, 0)
    finally:
        done.set()
        thread.join()

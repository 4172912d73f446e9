"""Columns of pictures as pixels of one size: files (PNG, JPEG, …) in a binary column, or numbers in an array column.

No row raises an error. What is null is missing; what cannot be read, or is larger than a worker can bear, is marked,
and its pixels are 0. What is made of a file:

- its first frame or page; turned as its EXIF data says
- transparent parts: over white; CMYK: as red, green and blue; a palette: its colours; 16 bits: the upper 8 of them;
  floats: 0 to 1 where none is larger, else 0 to 255
- another size: scaled until it fits, its aspect kept, and continued by its outermost pixels to either side
- more than 64 million pixels, or more than 128 MB when decoded: unreadable, told by the file's header. Of a JPEG that
  is stored in one scan only what is needed is decoded

Pillow is imported when the first column is decoded, and none of its settings are changed.

Shapes: N rows, H rows and W columns of pixels, C channels (1 grey, 3 red, green, blue).
"""

from __future__ import annotations

import math
import os
import threading
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
"""What is read. Others that Pillow knows (PostScript, fonts, …) start programs or are no pictures of a camera."""
MAX_PIXELS, MAX_BYTES = 64_000_000, 128_000_000
BYTES = {"1": 1, "L": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Memory of a pixel, by Pillow's modes; 4 for all others, and for those in which one colour is transparent."""
STRAY = 0.01
"""So many of an array column's numbers may lie beyond black and full brightness, at either end, and so far."""
MOST_BRIGHT = 2.0**32 - 1
PROGRESSIVE = 6
"""Memory of a pixel of a JPEG in several scans, whose coefficients are all held at once."""
ORIENTATION = 0x0112
"""The EXIF tag of how a camera was held."""


class _Quiet:
    """Pillow's warnings are not shown meanwhile. Filters are the process's: the first of several threads sets them, and
    the last restores what was before.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):  # a process that is forked may find the lock held, by a thread it lacks
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", module="PIL")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._before.__exit__(None, None, None)


_quiet = _Quiet()


@dataclass(frozen=True)
class Pixels:
    """A column's pictures."""

    pixels_NHWC: NDArray[np.uint8]
    """0 where there is no picture."""
    missing_N: NDArray[np.bool_]
    """Nulls."""
    unreadable_N: NDArray[np.bool_]
    """Neither null nor a picture."""

    @property
    def readable_N(self) -> NDArray[np.bool_]:
        """Where there is a picture."""
        return ~(self.missing_N | self.unreadable_N)


def decode(files: pa.Array, height: int, width: int, channels: int) -> Pixels:
    """Pixels of an Arrow column of picture files (binary)."""
    from PIL import Image

    Image.init()  # makes the formats known; does nothing the second time
    out = np.zeros((len(files), height, width, channels), np.uint8)
    missing_N = files.is_null().to_numpy(zero_copy_only=False)
    unreadable_N = np.zeros(len(files), bool)
    with _quiet:  # of odd files; what comes of them is told here
        for row in np.flatnonzero(~missing_N):
            try:
                out[row] = _picture(files[row].as_py(), height, width, channels)
            except Exception:  # damaged files make decoders raise nearly anything; their rows are marked
                unreadable_N[row] = True
    return Pixels(out, missing_N, unreadable_N)


def full_scale(numbers: pa.Array) -> float:
    """The number that means full brightness in an array column: 1, 255, or the next of 1023, 2047, … to which nearly
    all of its numbers come up; a few strays have no say. 1 where there is no number.

    Raises ValueError where more than a few are below 0, or beyond 32 bits: they are no brightness.
    """
    values = numbers.flatten().cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    values = values[np.isfinite(values)]
    if not len(values):
        return 1.0
    low, high = (float(quantile) for quantile in np.quantile(values, [STRAY, 1 - STRAY]))
    full = 1.0 if high <= 1 + STRAY else 255.0 if high <= 255 else 2.0 ** max(math.ceil(math.log2(high + 1)), 10) - 1
    if low < -STRAY * max(high, 0) or full > MOST_BRIGHT:
        raise ValueError(f"from {low:.4g} to {high:.4g}")
    return full


def of_numbers(numbers: pa.Array, height: int, width: int, channels: int, full: float) -> Pixels:
    """Pixels of an Arrow column of arrays of H W C numbers each, row by row, the channels of a pixel side by side.

    ``full`` is full brightness, 0 black; what is beyond either is cut off. Arrays of another length, or with a number
    that is null or not finite, are unreadable.
    """
    size = height * width * channels
    missing_N = numbers.is_null().to_numpy(zero_copy_only=False)
    lengths_N = pc.fill_null(pc.list_value_length(numbers), -1).to_numpy(zero_copy_only=False)
    whole_N = lengths_N == size
    out = np.zeros((len(numbers), size), np.uint8)
    flat = numbers.filter(pa.array(whole_N)).flatten().cast(pa.float64(), safe=False)
    values = flat.to_numpy(zero_copy_only=False).reshape(-1, size)  # nulls become NaN
    is_finite = np.isfinite(values).all(axis=1)
    own = np.flatnonzero(whole_N)[is_finite]
    out[own] = np.rint(np.clip(values[is_finite] * (255 / full), 0, 255))
    readable_N = np.zeros(len(numbers), bool)
    readable_N[own] = True
    return Pixels(out.reshape(-1, height, width, channels), missing_N, ~(readable_N | missing_N))


def _picture(file: bytes, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """(H, W, C) pixels of one file. Raises anything where it is not a readable picture."""
    image = _open(file)
    mode = "L" if channels == 1 else "RGB"
    if image.format in ("JPEG", "MPO"):
        # Its own scaling, by 2, 4 or 8, while it is decoded; both ways about, as it may be turned.
        image.draft(mode if image.mode in ("L", "RGB", "YCbCr") else None, (2 * max(width, height),) * 2)
    image.load()
    image = _turned(image)
    fit = min(height / image.height, width / image.width)
    size = max(1, round(fit * image.width)), max(1, round(fit * image.height))
    if image.mode != mode or "transparency" in image.info:
        image = _unpacked(image)
    if image.size != size:
        factor = int(min(image.width / size[0], image.height / size[1]) / 2)
        image = _flattened(image.reduce(factor) if factor > 1 else image, mode)
        image = image.resize(size, 2)  # bilinear; of a larger picture, all pixels count
    else:
        image = _flattened(image, mode)
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(image.height, image.width, channels)
    down, across = height - image.height, width - image.width
    if down or across:
        halves = (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0)
        pixels = np.pad(pixels, halves, mode="edge")
    return pixels


def _open(file: bytes) -> Any:
    """A picture of which only the header was read. Raises ValueError where it is none, or too large.

    ``Image.open`` does this too, but its own limit is a setting of the process, and it warns.
    """
    from PIL import Image

    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None or (accept is not None and accept(file[:16]) is not True):
            continue
        image = factory(BytesIO(file), "")
        columns, rows = image.size
        if name == "JPEG":
            each = PROGRESSIVE if image.info.get("progressive") else 1
        else:
            each = 4 if "transparency" in image.info else BYTES.get(image.mode, 4)
        if columns * rows > MAX_PIXELS or columns * rows * each > MAX_BYTES:
            raise ValueError("too large")
        return image
    raise ValueError("no picture")


def _turned(image: Any) -> Any:
    """A picture as it was seen."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return image
    if image.format in ("PNG", "JPEG", "MPO", "TIFF", "WEBP") and image.getexif().get(ORIENTATION, 1) != 1:
        from PIL import ImageOps

        return ImageOps.exif_transpose(image)
    return image


def _unpacked(image: Any) -> Any:
    """A picture of 8 bits a channel, and without a palette."""
    from PIL import Image

    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        values *= 255 if values.max() <= 1 else 1
        return Image.fromarray(np.clip(values, 0, 255, out=values).astype(np.uint8))
    if image.mode.startswith("I"):
        return Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode == "PA":
        return image.convert("RGBA")
    return image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))


def _flattened(image: Any, mode: str) -> Any:
    """A picture in grey or colours, over white."""
    if image.mode in ("RGBA", "LA", "La", "RGBa"):
        from PIL import Image

        whole = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", whole.size, (255, 255, 255, 255)), whole)
    return image if image.mode == mode else image.convert(mode)

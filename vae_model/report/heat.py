"""Pictures with what is odd about them, small enough for a page: made of their pixels, never the file as it came.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray

SIDE = 96
"""Pixels of the longer side that are shown at most."""
QUALITIES, MOST = (80, 60, 35, 15), 5_000
"""Of JPEG: the first by which a picture takes no more bytes."""
FAINT, FULL = 1.0, 4.0
"""Heat below the one is not coloured; that of the other, or its largest where that is more, as much as can be."""
RED, STRENGTH = (255, 40, 0), 0.75


def drawn(pixels_HWC: NDArray[np.uint8], heat_HW: NDArray[np.float32]) -> tuple[bytes, bytes]:
    """A picture as JPEG, and the same in grey with what is odd in red."""
    colours_HWC = np.broadcast_to(pixels_HWC, (*pixels_HWC.shape[:2], 3)).astype(np.float64)
    grey_HW1 = colours_HWC.mean(axis=2, keepdims=True)
    full = max(FULL, float(heat_HW.max()))
    share_HW = np.clip(np.log(np.maximum(heat_HW, FAINT)) / np.log(full), 0, 1) * STRENGTH
    tinted_HWC = grey_HW1 * (1 - share_HW[..., None]) + share_HW[..., None] * np.array(RED)
    return _encoded(colours_HWC), _encoded(tinted_HWC)


def _encoded(colours_HWC: NDArray[np.float64]) -> bytes:
    from PIL import Image

    image = Image.fromarray(np.rint(colours_HWC).astype(np.uint8))
    image.thumbnail((SIDE, SIDE))
    for quality in QUALITIES:
        out = BytesIO()
        image.save(out, "JPEG", quality=quality, optimize=True)
        if out.tell() <= MOST:
            break
    return out.getvalue()

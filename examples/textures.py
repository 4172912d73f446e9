"""Make a table of pictures of surfaces, a few with a defect, as Parquet under data/, for the examples.

    python examples/textures.py [FOLDER]

Three surfaces (a weave, rows of dots, a brushed gradient) of 64 x 64 grey pixels, each picture with its own phase,
pitch, tilt, light and noise. Four defects, each with a mask of the pixels that it changed: a hole, a scratch, a smudge,
and a spot in which the surface lies the wrong way. All is drawn from a seed: the same seed gives the same bytes.

Shapes: N pictures, H rows, W columns; all are square, of SIZE pixels.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE = 64
NORMALS, DEFECTS_IN = 600, 0.02
"""Pictures of each surface in the table, and the share of the table's pictures that has a defect."""


def coordinates(tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Place of each pixel across and along a surface that is turned by ``tilt`` degrees about the middle, in pixels."""
    y_HW, x_HW = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    turn = np.deg2rad(tilt)
    return np.cos(turn) * x_HW + np.sin(turn) * y_HW, np.cos(turn) * y_HW - np.sin(turn) * x_HW


def weave(draw: np.random.Generator, turned: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A twill: threads over and under each other, which makes slanting ribs."""
    pitch, (a, b) = 8 * draw.uniform(0.9, 1.1), draw.uniform(0, 2 * np.pi, 2)
    depth, tilt = draw.uniform(0.7, 1.3), draw.uniform(-5, 5)

    def surface(tilt: float) -> np.ndarray:
        across, along = coordinates(tilt)
        warp = np.cos(2 * np.pi * across / pitch + a)
        weft = np.cos(2 * np.pi * along / pitch + b)
        rib = np.cos(2 * np.pi * (across + along) / (2 * pitch) + a)
        return 0.5 + depth * (0.09 * warp + 0.09 * weft + 0.12 * rib)

    return surface(tilt), surface(tilt + turned)


def dots(draw: np.random.Generator, turned: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of round dots, closer to each other along a row than the rows are."""
    pitch, (a, b) = 9 * draw.uniform(0.9, 1.1), draw.uniform(0, 1, 2)
    size, tilt = draw.uniform(1.6, 2.2), draw.uniform(-5, 5)

    def surface(tilt: float) -> np.ndarray:
        across, along = coordinates(tilt)
        u = (across / (0.75 * pitch) + a + 0.5) % 1 - 0.5
        v = (along / (1.25 * pitch) + b + 0.5) % 1 - 0.5
        return 0.75 - 0.45 * np.exp(-((0.75 * pitch * u) ** 2 + (1.25 * pitch * v) ** 2) / (2 * size**2))

    return surface(tilt), surface(tilt + turned)


def gradients(draw: np.random.Generator, turned: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Brushed metal: light that falls off to one side, and fine lines along the brush."""
    fall, tilt, phase = draw.uniform(0.1, 0.3), draw.uniform(-5, 5), draw.uniform(0, 1000)
    lines = np.convolve(draw.normal(size=4 * SIZE), [0.25, 0.5, 0.25], "same")

    def surface(tilt: float) -> np.ndarray:
        across, along = coordinates(tilt)
        brushed = np.interp(along + 2 * SIZE, np.arange(4 * SIZE), lines)
        return 0.5 + fall * across / SIZE + 0.07 * brushed + 0.01 * np.sin(across / 7 + phase)

    return surface(tilt), surface(tilt + turned)


SURFACES = {"weave": weave, "dots": dots, "gradients": gradients}


def _disc(draw: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Weights of a spot somewhere inside, 0 to 1: an ellipse of a radius from ``low`` to ``high``, with a soft edge."""
    radius, stretch, turn = draw.uniform(low, high), draw.uniform(0.75, 1.33), draw.uniform(0, np.pi)
    cy, cx = draw.uniform(high + 1, SIZE - high - 1, 2)
    y_HW, x_HW = np.mgrid[:SIZE, :SIZE]
    u = (np.cos(turn) * (x_HW - cx) + np.sin(turn) * (y_HW - cy)) / stretch
    v = (np.cos(turn) * (y_HW - cy) - np.sin(turn) * (x_HW - cx)) * stretch
    return np.clip(radius + 0.5 - np.hypot(u, v), 0, 1)


def _blurred(picture_HW: np.ndarray, passes: int) -> np.ndarray:
    """Each pixel as the mean of its surroundings, again and again."""
    for _ in range(passes):
        padded = np.pad(picture_HW, 1, mode="edge")
        rows = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
        picture_HW = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 3
    return picture_HW


def hole(draw: np.random.Generator, whole: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small dark spot in which little is left of the surface."""
    weight_HW = _disc(draw, 2.2, 4.5)
    return (1 - weight_HW) * whole + weight_HW * (0.4 * whole + draw.uniform(0.05, 0.15)), weight_HW > 0


def scratch(draw: np.random.Generator, whole: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A thin bright or dark line, one to two pixels wide and 12 to 30 long."""
    length, turn, width = draw.uniform(12, 30), draw.uniform(0, np.pi), draw.uniform(0.5, 0.9)
    cy, cx = draw.uniform(SIZE / 4, 3 * SIZE / 4, 2)
    y_HW, x_HW = np.mgrid[:SIZE, :SIZE]
    along = np.cos(turn) * (x_HW - cx) + np.sin(turn) * (y_HW - cy)
    across = np.cos(turn) * (y_HW - cy) - np.sin(turn) * (x_HW - cx)
    weight_HW = np.clip(width + 0.5 - np.abs(across), 0, 1) * np.clip(length / 2 - np.abs(along), 0, 1)
    change = draw.choice([-1, 1]) * draw.uniform(0.15, 0.28)
    return whole + change * weight_HW, weight_HW > 0


def smudge(draw: np.random.Generator, whole: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A spot in which the surface is blurred and a little darker."""
    weight_HW = draw.uniform(0.75, 1.0) * _disc(draw, 6, 11)
    return (1 - weight_HW) * whole + weight_HW * (_blurred(whole, 6) - 0.06), weight_HW > 0


def orientation(draw: np.random.Generator, whole: np.ndarray, turned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A spot in which the surface lies the wrong way."""
    weight_HW = _disc(draw, 7, 11)
    return (1 - weight_HW) * whole + weight_HW * turned, weight_HW > 0


DEFECTS = {"hole": hole, "scratch": scratch, "smudge": smudge, "orientation": orientation}


def picture(draw: np.random.Generator, surface: str, defect: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A picture of a surface, (H, W) uint8, and the mask of its defect, (H, W) bool: nowhere True without one."""
    whole_HW, turned_HW = SURFACES[surface](draw, draw.uniform(30, 90))
    mask_HW = np.zeros((SIZE, SIZE), bool)
    if defect is not None:
        whole_HW, mask_HW = DEFECTS[defect](draw, whole_HW, turned_HW)
    light = draw.uniform(0.85, 1.15)
    grey_HW = light * whole_HW + draw.uniform(0.015, 0.035) * draw.normal(size=(SIZE, SIZE))
    return np.clip(255 * grey_HW, 0, 255).round().astype(np.uint8), mask_HW


def pictures(seed: int, surface: str, count: int, defect: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """So many pictures of a surface, (N, H, W) uint8, and their masks, (N, H, W) bool."""
    draw = np.random.default_rng(
        [seed, list(SURFACES).index(surface), list(DEFECTS).index(defect) + 1 if defect else 0]
    )
    made = [picture(draw, surface, defect) for _ in range(count)]
    return np.stack([own for own, _ in made]), np.stack([mask for _, mask in made])


def as_png(pixels: np.ndarray) -> bytes:
    """A picture, or a mask, as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * (255 if pixels.dtype == bool else 1)).save(file, "png")
    return file.getvalue()


def table(seed: int = 0, normals: int = NORMALS) -> pa.Table:
    """Pictures of all surfaces in random order: id, surface, photo, defect (null: none), mask (null: none).

    About 2 % have a defect, each kind about as often on each surface.
    """
    rows = []
    each = max(1, round(DEFECTS_IN * normals / len(DEFECTS)))
    for surface in SURFACES:
        rows += [(surface, as_png(own), None, None) for own in pictures(seed, surface, normals)[0]]
        for defect in DEFECTS:
            found = zip(*pictures(seed, surface, each, defect), strict=True)
            rows += [(surface, as_png(own), defect, as_png(mask)) for own, mask in found]
    order = np.random.default_rng(seed).permutation(len(rows))
    columns = list(zip(*(rows[i] for i in order), strict=True))
    types = [pa.int64(), pa.string(), pa.binary(), pa.string(), pa.binary()]
    arrays = [pa.array(own, kind) for own, kind in zip([range(len(rows)), *columns], types, strict=True)]
    return pa.table(arrays, names=["id", "surface", "photo", "defect", "mask"])


def main(folder: Path) -> None:
    """Write the table, unless it is there already."""
    target = folder / "textures.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        pq.write_table(table(), target)
    print(f"{target}: ready")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))

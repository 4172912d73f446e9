"""Pictures as cells: how bright each small square is, and how much of an edge it has in each of eight directions.

Every map is a rectified difference of neighbouring pixels, pooled by overlapping triangles to cells of a few pixels,
and its root taken: the orientation histograms of Dalal and Triggs, "Histograms of oriented gradients for human
detection" (2005), without their block normalisation. There is nothing to be learned here.

Up to the pooled sums all numbers are whole, and small enough for 32-bit floats to hold them exactly. So it does not
matter in which order a matrix product adds them up: a picture's cells depend on nothing but the picture.

Shapes: N pictures, H rows, W columns, C channels; M maps (grey, edges, colours), R x Q cells; K numbers of a window,
P windows of a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

SMALLEST, LARGEST = 4, 512
"""Sides of pictures, in pixels. The largest is where sums of pixels still are exact."""
EDGES = 8
"""Maps of edges: dark to bright, and bright to dark, along four lines."""
REACH = 3
"""A window has so many cells a side."""


@dataclass(frozen=True)
class PictureShape:
    """Height and width in pixels, and 1 channel (grey) or 3 (red, green, blue), of all pictures of a column."""

    height: int
    width: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def cell(self) -> int:
        """Pixels from one cell to the next: 4, fewer for thumbnails, more where there would be over 32 x 32 cells."""
        side = min(self.height, self.width)
        if side < 24:
            return 1 if side < 6 else 2
        return max(4, -(-max(self.height, self.width) // 32))

    @property
    def margin(self) -> int:
        """Pixels by which a thumbnail is continued on all sides, so that cells reach to its border."""
        return self.cell - 1 if self.cell < 4 else 0

    @property
    def maps(self) -> int:
        """M."""
        return 1 + EDGES + (2 if self.channels == 3 else 0)

    @cached_property
    def grids(self) -> list[tuple[int, int]]:
        """R and Q at each scale: cells, and cells of twice the size where a window of those fits."""
        fine = _cells(self.height + 2 * self.margin - 1, self.cell), _cells(self.width + 2 * self.margin - 1, self.cell)
        coarse = _cells(fine[0], 2), _cells(fine[1], 2)
        return [fine, coarse] if min(coarse) >= REACH else [fine]

    def window(self, scale: int) -> tuple[int, int]:
        """How many cells high and wide a window is: 3, or all there are."""
        rows, columns = self.grids[scale]
        return min(REACH, rows), min(REACH, columns)

    def windows(self, scale: int) -> tuple[int, int]:
        """How many windows there are, from top to bottom and from left to right, one cell apart."""
        (rows, columns), (high, wide) = self.grids[scale], self.window(scale)
        return rows - high + 1, columns - wide + 1

    def window_numbers(self, scale: int) -> int:
        """K."""
        return self.maps * self.window(scale)[0] * self.window(scale)[1]

    def span(self, scale: int, window: int, along: int) -> tuple[int, int]:
        """First pixel of a window, and the one after its last, along an axis (0: rows, 1: columns)."""
        size = (self.height, self.width)[along]
        first, length = self._placed(scale, along)
        stride = self.cell * 2**scale
        start = first + stride * window
        return max(0, start), min(size, start + stride * (self.window(scale)[along] - 1) + length)

    def spreading(self, scale: int, along: int) -> NDArray[np.float32]:
        """(pixels x windows) along an axis: spread what windows say over pixels. A cell takes the mean of the windows
        that see it, a pixel what lies between the middles of the cells about it.
        """
        cells, windows, reach = self.grids[scale][along], self.windows(scale)[along], self.window(scale)[along]
        sees = np.array([[w <= c < w + reach for w in range(windows)] for c in range(cells)], float)
        first, length = self._placed(scale, along)
        middles = first + (length - 1) / 2 + self.cell * 2**scale * np.arange(cells)
        pixels = np.arange((self.height, self.width)[along])
        between = np.stack([np.interp(pixels, middles, own) for own in np.eye(cells)], axis=1)
        return np.asarray(between @ (sees / sees.sum(axis=1, keepdims=True)), np.float32)

    def _placed(self, scale: int, along: int) -> tuple[int, int]:
        """First pixel and length of the first cell along an axis; pixels of the margin are below 0."""
        size = (self.height, self.width)[along] + 2 * self.margin - 1
        first = _offset(size, self.cell) - self.margin
        length = 2 * self.cell  # 2 c - 1 differences, of 2 c pixels
        for finer in range(scale):
            first += self.cell * _offset(self.grids[finer][along], 2)
            length += 2 * self.cell
        return first, length

    @cached_property
    def _pooling(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(R x H') and (Q x W'): whole weights of the triangles, from differences to cells."""
        return _triangles(self.height + 2 * self.margin - 1, self.cell), _triangles(
            self.width + 2 * self.margin - 1, self.cell
        )

    def cells(self, pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(M, R, Q, N) the maps of some pictures, each from 0 to 1 (colours: -1 to 1)."""
        down, across = self._pooling
        channels_CHWN = np.ascontiguousarray(pixels_NHWC.transpose(3, 1, 2, 0))
        if self.margin:
            about = (self.margin, self.margin)
            channels_CHWN = np.pad(channels_CHWN, ((0, 0), about, about, (0, 0)), mode="edge")
        grey_HWN = channels_CHWN[0] if self.channels == 1 else _grey(channels_CHWN)

        here, right = grey_HWN[:-1, :-1], grey_HWN[:-1, 1:]
        below, across_below = grey_HWN[1:, :-1], grey_HWN[1:, 1:]
        rows, columns, count = here.shape
        maps = self.maps + (1 if self.channels == 3 else 0)
        maps_HMWN = np.empty((rows, maps, columns, count), np.float32)
        maps_HMWN[:, 0] = here
        for pair, (one, other) in enumerate(((here, right), (here, below), (here, across_below), (right, below))):
            higher = np.maximum(one, other)
            np.subtract(higher, one, out=maps_HMWN[:, 1 + 2 * pair], casting="unsafe")
            np.subtract(higher, other, out=maps_HMWN[:, 2 + 2 * pair], casting="unsafe")
        if self.channels == 3:
            maps_HMWN[:, 1 + EDGES :] = channels_CHWN[:, :-1, :-1].transpose(1, 0, 2, 3)

        pooled = (down @ maps_HMWN.reshape(rows, -1)).reshape(len(down), maps, columns, count)
        sums_MRQN = np.ascontiguousarray(np.matmul(across, pooled).swapaxes(0, 1))
        sums_MRQN *= np.float32(1 / (255 * self.cell**4))
        np.sqrt(sums_MRQN[1 : 1 + EDGES], out=sums_MRQN[1 : 1 + EDGES])
        if self.channels == 3:
            red, green, blue = sums_MRQN[1 + EDGES :]
            blue -= 0.5 * (red + green)
            red -= green
            green[:] = blue
        return sums_MRQN[: self.maps]


def coarser(cells_MRQN: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cells of twice the size: triangles of three cells a side, one at every other cell."""
    for axis in (1, 2):
        length = cells_MRQN.shape[axis]
        count, start = _cells(length, 2), _offset(length, 2)
        first, middle, last = (
            cells_MRQN.take(start + place + 2 * np.arange(count), axis=axis) for place in range(REACH)
        )
        cells_MRQN = 0.25 * first + 0.5 * middle + 0.25 * last
    return cells_MRQN


def windows(cells_MRQN: NDArray[np.float32], high: int, wide: int) -> NDArray[np.float32]:
    """(K, P, N) what each window sees: all maps, rows and columns of its cells."""
    maps, rows, columns, count = cells_MRQN.shape
    down, across = rows - high + 1, columns - wide + 1
    seen = np.empty((maps, high, wide, down, across, count), np.float32)
    for i in range(high):
        for j in range(wide):
            seen[:, i, j] = cells_MRQN[:, i : i + down, j : j + across]
    return seen.reshape(maps * high * wide, down * across, count)


def _grey(channels_CHWN: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A quarter red, half green, a quarter blue, rounded."""
    red, green, blue = channels_CHWN.astype(np.uint16)
    return np.asarray((red + 2 * green + blue + 2) >> 2, np.uint8)


def _cells(length: int, cell: int) -> int:
    """How many triangles of 2 c - 1 steps fit, one every c steps."""
    return max(0, (length - 2 * cell + 1) // cell + 1)


def _offset(length: int, cell: int) -> int:
    """Where the first of them begins, so that what is left over is at both ends."""
    return (length - (_cells(length, cell) + 1) * cell + 1) // 2


def _triangles(length: int, cell: int) -> NDArray[np.float32]:
    """(cells x length) weights 1, 2, …, c, …, 2, 1 of each cell."""
    rise = np.minimum(np.arange(1, 2 * cell), np.arange(2 * cell - 1, 0, -1))
    weights = np.zeros((_cells(length, cell), length), np.float32)
    for i, row in enumerate(weights):
        start = _offset(length, cell) + i * cell
        row[start : start + 2 * cell - 1] = rise
    return weights

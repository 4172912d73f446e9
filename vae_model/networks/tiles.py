"""Tiles: the arrangement of a block of rows in which scoring computes.

A table comes with its rows one after the other. For scoring they are turned: an array has the shape (B, columns, W),
B tiles of W = 320 rows each, and the rows run along the last axis. Of a tile only the inner 304 rows are real. The
8 on either side are margins of zeros, computed like all others and then left out: what a matrix product makes of them
may differ in the last bits from what it would make of them elsewhere (``products`` has the reason).

Shapes: N rows, B tiles, W rows of a tile with its margins, X columns of whatever kind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MARGIN = 8
"""Rows at either end of a tile that are not real."""
INNER = 304
"""Real rows of a tile."""
TILE = INNER + 2 * MARGIN
"""W"""
BLOCK = 8 * INNER
"""At most this many rows are computed at once: enough to make the cost of a NumPy call small, few enough to stay in
the processor's cache."""

Array = NDArray[Any]
_REAL = slice(MARGIN, MARGIN + INNER)


def count(rows: int) -> int:
    """How many tiles hold so many rows."""
    return -(-rows // INNER)


def fill(out_BXW: Array, rows_NX: Array) -> Array:
    """Write rows into tiles, with zeros for the margins and for rows that the last tile lacks."""
    whole, columns = len(rows_NX) // INNER, rows_NX.shape[1]
    out_BXW[..., :MARGIN] = 0
    out_BXW[..., -MARGIN:] = 0
    full_NX, rest_NX = rows_NX[: whole * INNER], rows_NX[whole * INNER :]
    out_BXW[:whole, :, _REAL] = full_NX.reshape(whole, INNER, columns).transpose(0, 2, 1)
    if len(rest_NX):
        out_BXW[whole] = 0
        out_BXW[whole, :, MARGIN : MARGIN + len(rest_NX)] = rest_NX.T
    return out_BXW


def of_rows(rows_NX: Array) -> Array:
    """(B, X, W) rows as tiles, in an array of their own."""
    return fill(np.empty((count(len(rows_NX)), rows_NX.shape[1], TILE), rows_NX.dtype), rows_NX)


def to_rows(tiles_BXW: Array, rows: int) -> Array:
    """(N, X) the rows of tiles, one after the other, in an array of their own."""
    inner_BWX = tiles_BXW[..., _REAL].transpose(0, 2, 1).copy()  # reshape alone gives a view of a single tile
    return inner_BWX.reshape(len(tiles_BXW) * INNER, tiles_BXW.shape[1])[:rows]


def values(tiles_BW: Array, rows: int) -> Array:
    """(N,) one value for each row, from tiles of such values, in an array of their own."""
    return tiles_BW[:, _REAL].flatten()[:rows]

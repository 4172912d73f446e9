"""Rows as tiles, and back."""

import numpy as np
import pytest

from vae_model.networks import tiles
from vae_model.networks.buffers import Buffers
from vae_model.networks.tiles import BLOCK, INNER, MARGIN, TILE


@pytest.mark.parametrize("rows", [0, 1, INNER - 1, INNER, INNER + 1, BLOCK])
@pytest.mark.parametrize("columns", [0, 1, 5])
def test_rows_come_back_as_they_were(rows, columns):
    """All rows, and one value a row, are taken from tiles in the order of the rows."""
    rows_NX = np.random.default_rng(0).normal(size=(rows, columns))
    tiles_BXW = tiles.of_rows(rows_NX)
    assert tiles_BXW.shape == (-(-rows // INNER), columns, TILE)
    np.testing.assert_array_equal(tiles.to_rows(tiles_BXW, rows), rows_NX)
    for column in range(columns):
        np.testing.assert_array_equal(tiles.values(tiles_BXW[:, column], rows), rows_NX[:, column])


@pytest.mark.parametrize("rows", [1, INNER, BLOCK])
@pytest.mark.parametrize("columns", [1, 5])
def test_rows_taken_from_tiles_are_a_copy(rows, columns):
    """They stay as they are when the tiles' memory is used for the next rows, be it a single tile."""
    tiles_BXW = tiles.of_rows(np.ones((rows, columns)))
    taken = [tiles.to_rows(tiles_BXW, rows), tiles.values(tiles_BXW[:, 0], rows)]
    tiles_BXW.fill(2)
    assert all((part == 1).all() for part in taken)


def test_what_is_not_a_row_is_zero():
    """Margins, and rows that the last tile lacks, are zeros, whatever the memory held."""
    memory = np.full((2, 3, TILE), np.nan)
    filled = tiles.fill(memory, np.ones((INNER + 7, 3)))
    assert filled.sum() == 3 * (INNER + 7)
    assert (filled[0, :, :MARGIN] == 0).all() and (filled[0, :, -MARGIN:] == 0).all()


def test_a_buffer_is_the_same_memory_again():
    """A name's memory is kept, whatever the shape, until more is asked for; other names have their own."""
    buffers = Buffers()
    first = buffers("a", 4, 3)
    assert np.shares_memory(buffers("a", 2, 6), first)
    assert np.shares_memory(buffers("a", 4, dtype=np.float64), first)
    assert buffers("a", 4, 3) is first
    assert not np.shares_memory(buffers("b", 4, 3), first)
    larger = buffers("a", 100)
    assert np.shares_memory(buffers("a", 4, 3), larger)
    assert np.shares_memory(buffers.scratch(0, 3), buffers.scratch(0, 1, 2))

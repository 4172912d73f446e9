"""Landmarks: training rows drawn at random, by which to tell how far a row is from where most rows are.

A network that is large enough to learn its rows by heart learns the errors among them too, and a row like them then
looks normal. The distance to the nearest of a few rows drawn at random does not fall for that: among a handful there is
hardly ever one of a few errors, however alike they are. Such distances are the detector of Sugiyama and Borgwardt
("Rapid distance-based outlier detection via sampling", 2013); here the mean over ``GROUPS`` draws of ``DRAWN`` rows
each, of their logarithms (docs/quality.md has the measurements).

Numbers are clipped as for the networks, in training deviations; two different categories are as far from each other as
two numbers that differ by sqrt(2). A missing number is imputed: taken as what the dense VAEs expect it to be;
a missing category is half as far, squared, from any landmark's as another one is.

Shapes as in ``inputs``; L landmarks, G groups of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.inputs import INPUT_CLIP, FirstLayer, Inputs, TableShape
from vae_model.networks.stored import Stored

GROUPS, DRAWN = 8, 4
"""So many draws of so many rows: 8 to 50 draws of 2 to 16 rows are within 0.2 points of AUC-ROC."""
NEAREST = 0.05
"""No mean squared difference of two rows' columns counts as less: copies of a landmark are no nearer than others."""


@dataclass(frozen=True)
class Landmarks:
    """The rows drawn, encoded: group after group."""

    shape: TableShape
    numbers_LV: NDArray[np.float32]
    """Clipped, 0 where missing."""
    slots_LS: NDArray[np.float32]
    """The slots of all categories side by side: 1 for the row's own, all 0 where missing."""

    @classmethod
    def fit(cls, shape: TableShape, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], seed: int) -> Self:
        """Draw from encoded rows (NaN and -1: missing); the same row again only where there are fewer than L."""
        drawn = np.resize(np.random.default_rng(seed).permutation(len(x_NV)), GROUPS * DRAWN)
        numbers_LV = np.nan_to_num(np.clip(x_NV[drawn], -INPUT_CLIP, INPUT_CLIP), nan=0.0)
        slots_LS = np.zeros((len(drawn), sum(shape.slots)), dtype=np.float32)
        for start, code_L in zip(shape.starts, codes_NC[drawn].T, strict=True):
            slots_LS[code_L >= 0, start + code_L[code_L >= 0]] = 1
        return cls(shape, np.asarray(numbers_LV, dtype=np.float32), slots_LS)

    @classmethod
    def stored(cls, shape: TableShape) -> Iterator[tuple[str, Stored]]:
        """The arrays that ``from_arrays`` takes."""
        yield "numbers", Stored((GROUPS * DRAWN, shape.varying), -INPUT_CLIP, INPUT_CLIP)
        yield "slots", Stored((GROUPS * DRAWN, sum(shape.slots)), 0, 1)

    @classmethod
    def from_arrays(cls, shape: TableShape, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        return cls(shape, arrays["numbers"], arrays["slots"])

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """For a model file."""
        return {"numbers": self.numbers_LV, "slots": self.slots_LS}

    @cached_property
    def _first(self) -> FirstLayer:
        """From a row to -2 x'l of each landmark l."""
        flags_VL = np.zeros((self.shape.varying, len(self.numbers_LV)), dtype=np.float32)
        return FirstLayer.of(-2 * np.concatenate([self.numbers_LV.T, flags_VL, self.slots_LS.T]), self.shape)

    @cached_property
    def _own_L1(self) -> NDArray[np.float32]:
        """Of each landmark, l'l, and the 1 that each of a row's categories adds to x'x."""
        own_L = (self.numbers_LV**2).sum(axis=1) + self.slots_LS.sum(axis=1) + len(self.shape.slots)
        return np.asarray(own_L[:, None] + NEAREST * (self.shape.varying + len(self.shape.slots)))

    def __call__(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, W) mean over the groups of the log-distance to the nearest landmark. Overwrites scratch buffers."""
        table, buffers = inputs.table, inputs.buffers
        size, _, rows = table.x_BVW.shape
        numbers_BVW = self._filled(inputs)
        squared_BLW = buffers.scratch(0, size, GROUPS * DRAWN, rows)
        self._first(numbers_BVW, None, table.codes_BCW, squared_BLW, buffers)
        squared_BLW += self._own_L1
        nearest_BGW = buffers("nearest", size, GROUPS, rows)
        squared_BLW.reshape(size, GROUPS, DRAWN, rows).min(axis=2, out=nearest_BGW)
        nearest_BGW += np.einsum("bvw,bvw->bw", numbers_BVW, numbers_BVW)[:, None]
        if table.has_gaps:
            nearest_BGW -= (table.codes_BCW < 0).sum(axis=1, keepdims=True, dtype=np.float32)
        np.maximum(nearest_BGW, NEAREST, out=nearest_BGW)  # rounded, it could be less
        np.log(nearest_BGW, out=nearest_BGW)
        return np.asarray(0.5 * nearest_BGW.mean(axis=1))

    def _filled(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, V, W) numbers, clipped, or what is imputed where they are missing, or 0."""
        table = inputs.table
        if table.missing_BVW is None or inputs.imputed_BOW is None:
            return table.numbers_BVW
        numbers_BVW = inputs.buffers("filled", *table.numbers_BVW.shape)
        np.clip(inputs.imputed_BOW[:, : self.shape.varying], -INPUT_CLIP, INPUT_CLIP, out=numbers_BVW)
        np.copyto(numbers_BVW, table.numbers_BVW, where=~table.missing_BVW)
        return numbers_BVW

"""A block of rows within the ensemble: what the members are given, and what comes of it.

Shapes: N rows, B tiles of W rows (``networks.tiles``), X constant units, C categories, R residuals, O outputs of a
network (``networks.inputs``), Q chosen rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vae_model.networks import tiles
from vae_model.networks.inputs import Inputs

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Block:
    """Encoded rows as tiles: what the members are given, and what they need not see."""

    rows: int
    """N"""
    inputs: Inputs
    missing_BRW: NDArray[np.bool_] | None
    """None where nothing is."""
    beside: Beside | None
    """None where the table has nothing but varying numbers."""


@dataclass(frozen=True)
class Beside:
    """The constant units and the categories of a block; its varying numbers are in ``Inputs``."""

    constants_BXW: Array
    """Units that never varied in training: 0 where equal to the constant, 1 where not, NaN where missing."""
    unseen_BCW: NDArray[np.bool_]
    """Whether a category's value never occurred in training."""
    observed_BCW: NDArray[np.intp]
    """Where in a flat (B, O, W) array the observed slot of each category stands; for a missing one, anywhere."""


@dataclass(frozen=True)
class Residuals:
    """What the ensemble makes of a block of rows. The arrays are buffers: the next block overwrites them."""

    block: Block
    parts_BRW: Array
    """Each residual's part of R times the score; 1, that of an ordinary row, where missing."""
    squared_BRW: Array
    """Squared residuals of ``mean_BOW``, in units of the column's training variance; 0 where missing."""
    mean_BOW: Array
    """What a row was expected to be: numbers, standardised, and the probabilities of each category's slots. It is the
    mean of the members that need no imputed cells."""
    remoteness_BW: Array
    """Log-distance to the landmarks, less that of an ordinary row."""
    remoteness_weight: float
    """How much its square counts in the score beside 1 for the parts."""

    gap_score_N: NDArray[np.float64] | None
    """What the row's least usual gap adds to its score; None where nothing is missing."""
    unseen_score_NC: NDArray[np.float64] | None
    """What each category adds whose value is unseen, 0 for the others; None where none is."""

    @property
    def score_N(self) -> NDArray[np.float64]:
        """The scores."""
        score_BW = self.parts_BRW.mean(axis=1, dtype=np.float64)
        score_BW += self.remoteness_weight * np.exp(2 * self.remoteness_BW, dtype=np.float64)
        score_BW /= 1 + self.remoteness_weight
        score_N = tiles.values(score_BW, self.block.rows)
        for added_N in (self.gap_score_N, self._unseen_beyond_N):
            if added_N is not None:
                score_N += added_N
        return score_N

    @property
    def _unseen_beyond_N(self) -> NDArray[np.float64] | None:
        """What the row's least usual unseen category adds beyond what its gap does: of all that is new in a row only
        one thing counts.
        """
        if self.unseen_score_NC is None:
            return None
        most_N = self.unseen_score_NC.max(axis=1)
        return np.asarray(np.maximum(most_N - (0 if self.gap_score_N is None else self.gap_score_N), 0))

    def reconstruction_error_N(self, share_R: Array) -> NDArray[np.float64]:
        """Mean squared residual over the observed features; ``share_R`` is each residual's share of its feature."""
        total_BW, seen_BW = np.einsum("brw,r->bw", self.squared_BRW, share_R), share_R.sum(dtype=np.float64)
        if self.block.missing_BRW is not None:  # subtracted: rows without gaps are divided by the same sum either way
            seen_BW = seen_BW - np.einsum("brw,r->bw", self.block.missing_BRW, share_R, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):  # where nothing is there: not scored
            return tiles.values(np.divide(total_BW, seen_BW, dtype=np.float64), self.block.rows)

    def parts_NR(self, gap_NR: NDArray[np.bool_]) -> Array:
        """Each residual's part of R times the score; 0 where missing, but for the first residual of ``gap_NR``, those
        of the row's least usual gap: it has what that adds. So has an unseen category.
        """
        rows, every_N = self.block.rows, np.arange(self.block.rows)
        parts_NR = tiles.to_rows(self.parts_BRW, rows)
        if self.block.missing_BRW is not None and self.gap_score_N is not None:
            missing_NR = tiles.to_rows(self.block.missing_BRW, rows)
            parts_NR[missing_NR] = 0
            first_N = (missing_NR & gap_NR).argmax(axis=1)
            parts_NR[every_N, first_N] += self.gap_score_N * parts_NR.shape[1]
        beyond_N = self._unseen_beyond_N
        if beyond_N is not None and self.unseen_score_NC is not None:
            of_category_N = parts_NR.shape[1] - self.unseen_score_NC.shape[1] + self.unseen_score_NC.argmax(axis=1)
            parts_NR[every_N, of_category_N] += beyond_N * parts_NR.shape[1]
        return parts_NR

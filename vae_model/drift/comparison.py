"""The rows of a run held against the reference, column by column: what moved, and by how much.

A column has moved where one of these is more than chance would have it (``chance``) and more than a bound below which
nobody would look: its population stability index, the share missing, the share of values that training has not seen.

Shapes: B bins of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vae_model.drift import chance
from vae_model.drift.finding import ColumnDrift
from vae_model.drift.reference import Reference, Spread
from vae_model.drift.words import bin_in_words, from_to

PSI = 0.1
"""Up to this a population stability index counts as no shift (Siddiqi, "Credit Risk Scorecards", 2006)."""
MISSING, MISSING_NEVER = 0.02, 0.001
"""A share missing that rose or fell by less is not told; of a column that was never missing in the sample."""
NEW = 0.005
"""A share of values that training has not seen that rose by less is not told."""


@dataclass(frozen=True)
class Comparison:
    """What a run's rows are beside those of the sample."""

    rows: int
    """Rows that were compared: all of a run, or a sample of them."""
    sample: int
    """Rows of the model's sample."""
    columns: tuple[ColumnDrift, ...]
    """Those that moved most first."""
    drifted: ColumnDrift | None
    """The column of the largest population stability index that is beyond chance; None where none is."""
    missing: ColumnDrift | None
    """The column whose share missing rose most, and beyond chance; None where none did."""

    @classmethod
    def of(cls, reference: Reference, count_DB: Sequence[NDArray[np.int64]]) -> Self:
        """From the counts of the run's rows by column and bin; at least one row."""
        rows = int(count_DB[0].sum())
        each = [_Column(own, count_B, reference.rows) for own, count_B in zip(reference.columns, count_DB, strict=True)]
        found = sorted((own.found for own in each), key=lambda one: (one.moved is None, -one.psi))
        drifted = [own.found for own in each if own.is_psi_beyond_chance]
        missing = [own.found for own in each if own.is_missing_beyond_chance and own.found.missing_increase > 0]
        return cls(
            rows,
            reference.rows,
            tuple(found),
            max(drifted, key=lambda one: one.psi, default=None),
            max(missing, key=lambda one: one.missing_increase, default=None),
        )

    @property
    def drift(self) -> float:
        """The largest population stability index that is beyond chance; 0 where none is."""
        return self.drifted.psi if self.drifted else 0.0

    @property
    def moved(self) -> list[ColumnDrift]:
        """The columns that have moved, most first."""
        return [one for one in self.columns if one.moved is not None]

    @property
    def is_small(self) -> bool:
        """Whether rows are so few, of the run or of the sample, that chance alone may move a column by more than the
        bound.
        """
        return chance.of_psi(12, self.rows, self.sample) > PSI


class _Column:
    """One column's comparison."""

    def __init__(self, own: Spread, count_B: NDArray[np.int64], sample: int) -> None:
        rows = int(count_B.sum())
        then_B, now_B = own.share_B, count_B / rows
        bins, part_B = _parts(then_B, now_B, sample, rows)
        psi, (missing_then, missing_now) = float(part_B.sum()), (float(then_B[-1]), float(now_B[-1]))
        rise = missing_now - missing_then
        self.is_psi_beyond_chance = psi > chance.of_psi(bins, sample, rows)
        self.is_missing_beyond_chance = abs(rise) > chance.of_shares(missing_then, missing_now, sample, rows)
        new_then, new_now = _new(own, then_B), _new(own, now_B)
        is_new_beyond_chance = new_now - new_then > chance.of_shares(new_then, new_now, own.unseen_rows, rows)
        told = []
        if self.is_missing_beyond_chance and abs(rise) > (MISSING if missing_then else MISSING_NEVER):
            told.append(f"missing {from_to(missing_then, missing_now)}")
        if is_new_beyond_chance and new_now - new_then > NEW:
            what = "outside the training range" if len(own.edges_E) else "values that training has not seen"
            told.append(f"{what} {from_to(new_then, new_now)}")
        if self.is_psi_beyond_chance and psi > PSI:
            most = int(np.argmax(part_B[:-1]))
            is_told = bool(told) and (part_B[-1] > psi / 2 or most in _of_new(own))  # it is what makes the others
            shares = from_to(float(then_B[most]), float(now_B[most]))
            told += [] if is_told else [f"{bin_in_words(own, most)}: {shares}"]
        moved = f"{own.feature.name}: {', '.join(told)}" if told else None
        self.found = ColumnDrift(
            own.feature.name, psi, missing_then, missing_now, new_then, new_now, moved, now_B.tolist()
        )


def _of_new(own: Spread) -> tuple[int, ...]:
    """The bins of values beyond the training range, on both sides, or of a category that training has not seen."""
    last = len(own.share_B) - 1
    if not len(own.edges_E):
        return (last - 1,) if own.feature.values else ()
    return (0, last - 1)


def _new(own: Spread, share_B: NDArray[np.float64]) -> float:
    """Their share of the rows."""
    return float(sum(share_B[place] for place in _of_new(own)))


def _parts(
    then_B: NDArray[np.float64], now_B: NDArray[np.float64], sample: int, rows: int
) -> tuple[int, NDArray[np.float64]]:
    """How many bins have rows, on either side, and (B,) what each bin adds to the population stability index: half a
    row is added to each that has some, on both sides, so that none makes an infinity.
    """
    is_used_B = (then_B > 0) | (now_B > 0)
    bins = int(is_used_B.sum())
    then_B = (then_B * sample + 0.5) / (sample + bins / 2)
    now_B = (now_B * rows + 0.5) / (rows + bins / 2)
    return bins, np.where(is_used_B, (now_B - then_B) * np.log(now_B / then_B), 0.0)

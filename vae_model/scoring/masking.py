"""Why a row scores high: the columns without which it would be ordinary.

A column is hidden, as if it were missing (without what a gap adds), and the row is scored again. The column whose
hiding lowers the score most is the first reason; with it hidden, the next is looked for, until the row is ordinary. A
reason's share is by how much its hiding lowers the score, over the whole score. So the shares of a row add up to at
most 1, and what no column explains is in none. What is expected of the reasons' columns is what the VAEs expect that
see none of them: a network that is shown a wrong value expects something near it. So what was expected of the first
column is told anew with each that is hidden beside it, as long as the row is not ordinary.

To hide a column asks what the score would be without it (Robnik-Sikonja and Kononenko, "Explaining Classifications For
Individual Instances", 2008); to go on from there is forward selection. Not every column is tried. The first reason is
one of those with the largest parts of the score or the farthest from their means, which between them hold the one
that is wrong; the second is one of those with the largest parts of what is left. Those after it are taken by their
parts alone, all in one go.

Shapes: Q rows, K trials of each, T = Q K trials, D features, S reasons, F numeric units, C categories, R = F + C.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from vae_model.features.batch import Batch
from vae_model.features.spec import FeatureSpec
from vae_model.networks.buffers import Buffers
from vae_model.networks.tiles import BLOCK
from vae_model.scoring.block import Array
from vae_model.scoring.ensemble import Ensemble

TRIED, FEW = (8, 3), (3, 3)
"""How many columns are tried for the first reason, and for the second; and how many of them are all that is tried of
a row that is ordinary without one of these."""
USUAL = 0.5
"""How much it counts by how much a score is lowered that hiding a column which is not odd lowers: what is within its
interval is a poor reason, but where nothing else lowers the score half as much."""
AT_ONCE = 640
"""Up to so many trials are made in one go, needed or not: a call of the networks takes about as long for three rows as
for three hundred. What is found is the same."""
TRIED_CELLS = 32 * 4 * BLOCK
"""Rows are looked at together as long as their trials for the first reason have no more values than this."""
ORDINARY = 0.1
"""A row is ordinary that scores no higher than this share of the normal rows do with the same columns hidden."""
NEAR = 1e-3
"""What is so near to its interval, in standard deviations, is within it."""
JOINT = 0.1
"""Where no column lowers a row's score by more than this share of it, two may be wrong that follow each other: each
looks right beside the other. Then the first reason is the column with the largest part of the score; the second is one
of those with the largest parts once that is hidden, and what hiding both explains is due to both."""
LARGE = 0.25
"""Of a row that is ordinary already, a column is still a reason that holds more than this share of the score left, if
that is above the median: of two values that were swapped, one may look harmless once the other is hidden."""


@dataclass(frozen=True)
class Suspects:
    """Rows whose culprits are looked for."""

    rows: Batch
    score_Q: NDArray[np.float64]
    usual_Q2: NDArray[np.float64]
    """The scores that ``ORDINARY`` of the normal rows reach, and half of them."""

    @classmethod
    def of(cls, several: Sequence[Self]) -> Self:
        """Those of several, one after the other."""
        rows, *others = zip(*(vars(one).values() for one in several), strict=True)
        return cls(Batch.of(rows), *map(np.concatenate, others))

    def chunks(self) -> Iterator[Self]:
        """A few at a time, so that what is tried of them takes no more memory than a block."""
        columns = self.rows.x_NF.shape[1] + self.rows.codes_NC.shape[1]
        size = max(1, TRIED_CELLS // (TRIED[0] * columns))
        for start in range(0, len(self.rows), size):
            chunk = slice(start, start + size)
            rows, *others = vars(self).values()
            yield type(self)(rows.take(chunk), *(own[chunk] for own in others))


@dataclass(frozen=True)
class Culprits:
    """The columns that make the scores of some rows, most first, and what was expected of them."""

    feature_QS: NDArray[np.intp]
    """By index; -1 where there are no more."""
    share_QS: NDArray[np.float64]
    """By how much hiding them lowers the score, one after the other, over the score."""
    has_range_QS: NDArray[np.bool_]
    """Whether they are outside of what is expected of them, and that was told with no other column hidden, nor one gone
    that hardly ever is: so the intervals were learnt, and what is expected without more columns is less certain.
    """
    is_all_Q: NDArray[np.bool_]
    """Whether the row is ordinary when all of them are hidden."""
    mean_QF: Array
    """What is expected of the units, standardised."""
    likeliest_QC: NDArray[np.intp]
    """The likeliest slot of each category, other than the one observed."""
    parts_QR: Array
    """Each residual's part of R times the score."""


def find_culprits(ensemble: Ensemble, suspects: Suspects, most: int, buffers: Buffers) -> Culprits:
    """Find at least one and at most ``most`` culprits of each row."""
    spec, rows = ensemble.spec, suspects.rows
    most = min(most, len(spec.features))
    search = _Search(ensemble, suspects, most, buffers)
    active_Q, parts_QR = np.arange(len(rows)), search.parts_QR
    size_QR = np.concatenate([np.nan_to_num(np.abs(rows.x_NF)), np.zeros(rows.codes_NC.shape)], axis=1)
    for s, (count, few) in enumerate(zip(TRIED[:most], FEW[:most], strict=True)):
        likely_QK = _largest(_by_feature(spec, parts_QR), None if s else _by_feature(spec, size_QR), count)
        best = search.one_more(active_Q, likely_QK, few, is_first=s == 0)
        is_culprit_Q = search.is_culprit(active_Q, best) | (s == 0)
        search.take(s, active_Q, best, is_culprit_Q)
        own = np.flatnonzero(is_culprit_Q & (search.rest_Q[active_Q] > search.usual_Q2[active_Q, 1]))
        active_Q, parts_QR = active_Q[own], best.parts_QR[own]
        if not len(active_Q):
            return search.found()
    tried_QK = _largest(_by_feature(spec, parts_QR), None, max(most - len(TRIED), 0))
    if tried_QK.shape[1]:
        is_culprit_Q = np.ones(len(active_Q), dtype=bool)
        for s, trial in enumerate(search.trials(active_Q, tried_QK, together=True), len(TRIED)):
            is_culprit_Q &= search.is_culprit(active_Q, trial)
            search.take(s, active_Q, trial, is_culprit_Q)
    return search.found()


@dataclass(frozen=True)
class _Trial:
    """What came of hiding one column more of each row."""

    feature_Q: NDArray[np.intp]
    score_Q: NDArray[np.float64]
    rank_Q: NDArray[np.float64]
    """The lowest is chosen of a row's trials: the score, where the column is odd (see ``USUAL``)."""
    is_odd_Q: NDArray[np.bool_]
    """Whether the column is missing, or outside of what is expected of it; so is any category."""
    parts_QR: Array
    mean_QF: Array
    likeliest_QC: NDArray[np.intp]

    def take(self, rows_Q: NDArray[np.intp] | slice) -> Self:
        """Some of them."""
        return type(self)(*(values[rows_Q] for values in vars(self).values()))

    def put(self, rows_Q: NDArray[np.intp], others: Self) -> None:
        """Put others in the place of some of them."""
        for values, other in zip(vars(self).values(), vars(others).values(), strict=True):
            values[rows_Q] = other


class _Search:
    """The culprits that are known so far."""

    def __init__(self, ensemble: Ensemble, suspects: Suspects, most: int, buffers: Buffers) -> None:
        self._ensemble, self._suspects, self._buffers = ensemble, suspects, buffers
        rows = len(suspects.rows)
        self._hidden_QD = np.zeros((rows, len(ensemble.spec.features)), dtype=bool)
        self.rest_Q, self.usual_Q2 = suspects.score_Q.copy(), suspects.usual_Q2.copy()
        self._feature_QS, self._share_QS = np.full((rows, most), -1, dtype=np.intp), np.zeros((rows, most))
        self._mean_QF = np.zeros(suspects.rows.x_NF.shape, dtype=np.float32)
        self._likeliest_QC = np.zeros(suspects.rows.codes_NC.shape, dtype=np.intp)
        self._is_alone_Q = np.ones(rows, dtype=bool)
        gaps_QR = np.concatenate([np.isnan(suspects.rows.x_NF), suspects.rows.codes_NC < 0], axis=1)
        self._is_gap_QD = np.stack([gaps_QR[:, own].any(axis=1) for own in ensemble.spec.residuals], axis=1)
        self.parts_QR = self._hide(np.arange(rows), self._hidden_QD, np.zeros(rows, dtype=np.intp)).parts_QR

    def one_more(self, of_Q: NDArray[np.intp], tried_QK: NDArray[np.intp], few: int, is_first: bool) -> _Trial:
        """Hide each of K columns beside the rows' culprits: the one of each row that ranks first; one of the first
        ``few``, if the row is ordinary without it. Where no column alone lowers the score much, the first of all K.
        """
        at_once = tried_QK.size <= AT_ONCE
        trials = self.trials(of_Q, tried_QK if at_once else tried_QK[:, :few])
        best = _lowest(trials[:few])
        left = np.flatnonzero(best.rank_Q > self._suspects.usual_Q2[of_Q, 0])
        if len(left) and tried_QK.shape[1] > few:
            if at_once:
                others = [trial.take(left) for trial in trials[few:]]
            else:
                others = self.trials(of_Q[left], tried_QK[left, few:])
            best.put(left, _lowest([best.take(left), *others]))
        if is_first:
            own = np.flatnonzero(self.rest_Q - best.score_Q < JOINT * self.rest_Q)
            best.put(own, trials[0].take(own))
        return best

    def trials(self, of_Q: NDArray[np.intp], tried_QK: NDArray[np.intp], together: bool = False) -> list[_Trial]:
        """Hide each of K columns beside the rows' culprits: each alone, or ``together`` with those before it."""
        rows, count = tried_QK.shape
        hidden_KQD = np.repeat(self._hidden_QD[None, of_Q], count, axis=0)
        np.put_along_axis(hidden_KQD, tried_QK.T[:, :, None], True, axis=2)
        if together:
            hidden_KQD = np.logical_or.accumulate(hidden_KQD, axis=0)
        trials = self._hide(np.tile(of_Q, count), hidden_KQD.reshape(count * rows, -1), tried_QK.T.ravel())
        return [trials.take(slice(k * rows, (k + 1) * rows)) for k in range(count)]

    def _hide(self, row_T: NDArray[np.intp], hidden_TD: NDArray[np.bool_], last_T: NDArray[np.intp]) -> _Trial:
        """Score rows with columns hidden, the last of them ``last_T``."""
        spec, rows = self._ensemble.spec, self._suspects.rows
        score_T, is_odd_T = np.empty(len(row_T)), np.empty(len(row_T), dtype=bool)
        parts_TR = np.empty((len(row_T), len(spec.feature_of_unit)), dtype=np.float32)
        mean_TF = np.empty((len(row_T), rows.x_NF.shape[1]), dtype=np.float32)
        likeliest_TC = np.empty((len(row_T), rows.codes_NC.shape[1]), dtype=np.intp)
        for start in range(0, len(row_T), BLOCK):
            block = slice(start, start + BLOCK)
            batch = hide(spec, rows.take(row_T[block]), hidden_TD[block])
            residuals = self._ensemble(batch, self._buffers)
            score_T[block] = residuals.score_N
            parts_TR[block] = residuals.parts_NR(spec.feature_of_unit == batch.gap_N[:, None])
            observed_NC = rows.codes_NC[row_T[block]]
            mean_TF[block], likeliest_TC[block] = self._ensemble.expectation(residuals, observed_NC)
            is_odd_T[block] = self._is_odd(row_T[block], mean_TF[block], last_T[block])
        rest_T = self.rest_Q[row_T]
        # hiding a column that is missing anyway helps none that hangs on it: rows score so many times higher without it
        rise_T = np.where(self._is_gap_QD[row_T, last_T], self._ensemble.rise_D2[last_T, 0], 1)
        rank_T = np.where(is_odd_T, score_T, rest_T - USUAL * (rest_T - score_T)) / rise_T
        return _Trial(last_T, score_T, rank_T, is_odd_T, parts_TR, mean_TF, likeliest_TC)

    def _is_odd(self, row_N: NDArray[np.intp], mean_NF: Array, feature_N: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(N,) whether a number of a feature is missing or outside of its interval; of a category, always."""
        low_F, high_F = self._ensemble.margin_F2.T
        difference_NF = self._suspects.rows.x_NF[row_N] - mean_NF
        is_inside_NF = (difference_NF >= low_F - NEAR) & (difference_NF <= high_F + NEAR)
        own_NR = self._ensemble.spec.feature_of_unit == feature_N[:, None]
        units = len(low_F)
        return np.asarray((own_NR[:, :units] & ~is_inside_NF).any(axis=1) | own_NR[:, units:].any(axis=1))

    def is_culprit(self, of_Q: NDArray[np.intp], trial: _Trial) -> NDArray[np.bool_]:
        """(Q,) whether what a trial hides is a reason more."""
        rest_Q = self.rest_Q[of_Q]
        drop_Q = rest_Q - trial.score_Q
        is_left_Q = (rest_Q > self.usual_Q2[of_Q, 0]) | (drop_Q > LARGE * rest_Q)
        return np.asarray((drop_Q > 0) & is_left_Q & trial.is_odd_Q)

    def take(self, s: int, of_Q: NDArray[np.intp], trial: _Trial, chosen_Q: NDArray[np.bool_]) -> None:
        """Make a trial's column reason number ``s`` of the chosen ones of some rows."""
        trial, rows = trial.take(np.flatnonzero(chosen_Q)), of_Q[chosen_Q]
        self._feature_QS[rows, s] = trial.feature_Q
        self._share_QS[rows, s] = np.maximum(self.rest_Q[rows] - trial.score_Q, 0) / self._suspects.score_Q[rows]
        # of a row that was ordinary already, what was expected without the columns that were hidden before stays
        is_known_QD = (self.rest_Q[rows] <= self.usual_Q2[rows, 0])[:, None] & self._hidden_QD[rows]
        is_known_QR = is_known_QD[:, self._ensemble.spec.feature_of_unit]
        units = len(self._ensemble.margin_F2)
        np.copyto(trial.mean_QF, self._mean_QF[rows], where=is_known_QR[:, :units])
        np.copyto(trial.likeliest_QC, self._likeliest_QC[rows], where=is_known_QR[:, units:])
        self._mean_QF[rows], self._likeliest_QC[rows] = trial.mean_QF, trial.likeliest_QC
        self._is_alone_Q[rows] &= is_known_QD.any(axis=1) | (s == 0)
        self._hidden_QD[rows, trial.feature_Q] = True
        self.rest_Q[rows] = np.minimum(self.rest_Q[rows], trial.score_Q)
        risen_Q2 = self._suspects.usual_Q2[rows] * self._ensemble.rise_D2[trial.feature_Q]
        self.usual_Q2[rows] = np.maximum(self.usual_Q2[rows], risen_Q2)

    def found(self) -> Culprits:
        """The culprits, each row's in the order of their shares; of equals, the first found."""
        if self._share_QS.shape[1] > 1:  # what is due to both of two that hide each other is divided between them
            one_Q, other_Q = self._share_QS[:, 0], self._share_QS[:, 1]
            is_joint_Q = (one_Q < JOINT) & (other_Q > np.where(one_Q > 0, LARGE, 0))
            self._share_QS[is_joint_Q, :2] = ((one_Q + other_Q) / 2)[is_joint_Q, None]
        order_QS = np.argsort(-np.where(self._feature_QS < 0, -1, self._share_QS), axis=1, kind="stable")
        feature_QS = np.take_along_axis(self._feature_QS, order_QS, axis=1)
        share_QS = np.take_along_axis(self._share_QS, order_QS, axis=1)
        first_Q = self._feature_QS[:, 0]
        is_odd_Q = self._is_odd(np.arange(len(first_Q)), self._mean_QF, first_Q)
        other_gaps_QD = self._is_gap_QD & (self._ensemble.gap_score_D > 0)
        other_gaps_QD[np.arange(len(first_Q)), first_Q] = False
        has_range_Q = is_odd_Q & self._is_alone_Q & ~other_gaps_QD.any(axis=1)
        has_range_QS = (feature_QS == first_Q[:, None]) & has_range_Q[:, None]
        is_all_Q = self.rest_Q <= self.usual_Q2[:, 0]
        told = self._mean_QF, self._likeliest_QC, self.parts_QR
        return Culprits(feature_QS, share_QS, has_range_QS, is_all_Q, *told)


def _lowest(trials: Sequence[_Trial]) -> _Trial:
    """Of several trials of the same rows, each row's with the lowest rank; of equals, the first."""
    best_Q, every = np.argmin([trial.rank_Q for trial in trials], axis=0), np.arange(len(trials[0].score_Q))
    return _Trial(
        *(np.stack(values)[best_Q, every] for values in zip(*(vars(t).values() for t in trials), strict=True))
    )


def hide(spec: FeatureSpec, rows: Batch, hidden_ND: NDArray[np.bool_]) -> Batch:
    """Rows with columns hidden. A gap that is hidden is none, and where it is the one that counts, no other counts."""
    units = rows.x_NF.shape[1]
    hidden_NR = hidden_ND[:, spec.feature_of_unit]
    hidden_NF, hidden_NC = hidden_NR[:, :units], hidden_NR[:, units:]
    is_hidden_N = np.append(hidden_ND, np.zeros((len(rows), 1), dtype=bool), axis=1)[np.arange(len(rows)), rows.gap_N]
    return replace(
        rows,
        x_NF=np.where(hidden_NF, np.float32(np.nan), rows.x_NF),
        codes_NC=np.where(hidden_NC, np.int32(-1), rows.codes_NC),
        unseen_NC=rows.unseen_NC & ~hidden_NC,
        gap_N=np.where(is_hidden_N, -1, rows.gap_N),
    )


def _by_feature(spec: FeatureSpec, parts_QR: Array) -> Array:
    """(Q, D) sum of what is positive over each feature's residuals."""
    positive_QR = np.maximum(parts_QR, 0)
    return np.stack([positive_QR[:, own].sum(axis=1) for own in spec.residuals], axis=1)


def _largest(parts_QD: Array, size_QD: Array | None, count: int) -> NDArray[np.intp]:
    """(Q, K) features to try: those of the largest parts and, in turn with them, those of the largest size."""
    if size_QD is None:
        return np.argsort(-parts_QD, axis=1, kind="stable")[:, :count]
    ranks = (np.argsort(np.argsort(-own_QD, axis=1, kind="stable"), axis=1) for own_QD in (parts_QD, size_QD))
    by_parts_QD, by_size_QD = ranks
    return np.argsort(np.minimum(2 * by_parts_QD, 2 * by_size_QD + 1), axis=1, kind="stable")[:, :count]

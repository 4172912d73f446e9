"""Fit the courses of numbers on normal rows that come one after the other.

What is usual of a course is learnt from rows that it was not fitted on: the training rows are cut into ``FOLDS`` parts,
one after the other, and each is looked at by an autoregression and by levels of the others. Of neighbours in time a
random fold would know too much.

Shapes: N rows, V numbers that have a course, I inputs, K folds.
"""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.errors import TrainingError
from vae_model.features.batch import Batch
from vae_model.features.sequence import PLACE, SERIES, Sequence, follows
from vae_model.features.spec import FeatureSpec, combine
from vae_model.networks.course import Course, Window
from vae_model.networks.inputs import INPUT_CLIP
from vae_model.networks.products import one_thread
from vae_model.scoring.evidence import Evidence, joined
from vae_model.scoring.windows import Along, Numbers, Windows

FOLDS = 5
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
"""Shrinkage that is tried, as a share of the rows: of standardised inputs about their number of deviations squared."""
FEWEST = 50
"""Whole windows that there have to be."""
CELLS = 2_000_000
"""Values that are looked at, as pieces of series: more would tell nothing new, and take long."""
WANDERS = 0.5
"""A number wanders where the means of a third of a window have more than this share of its variance."""
STRAYS, SERIES_ENOUGH = 0.07, 200
"""It strays where more than this share of its windows, by their means, is beyond all others of its series but those of
the same fifth; so many series are looked at."""
STRETCH = 256
"""Rows that are looked at together."""


@dataclass(frozen=True)
class _Moments:
    """What ridge regression needs of some rows."""

    gram_II: NDArray[np.float64]
    cross_IV: NDArray[np.float64]
    square_V: NDArray[np.float64]
    rows: int

    @classmethod
    def of(cls, several: Listed[_Moments]) -> _Moments:
        """Of all their rows."""
        gram_II = np.sum([one.gram_II for one in several], axis=0)
        cross_IV = np.sum([one.cross_IV for one in several], axis=0)
        return cls(gram_II, cross_IV, np.sum([one.square_V for one in several], axis=0), sum(o.rows for o in several))

    def solve(self, ridge: float) -> NDArray[np.float64]:
        """(I, V) weights."""
        shrunk_II = self.gram_II + ridge * max(self.rows, 1) * np.eye(len(self.gram_II))
        return np.asarray(np.linalg.solve(shrunk_II, self.cross_IV))

    def error(self, weight_IV: NDArray[np.float64]) -> NDArray[np.float64]:
        """(V,) squared errors of weights, added up."""
        explained_V = np.einsum("iv,iv->v", weight_IV, 2 * self.cross_IV - self.gram_II @ weight_IV)
        return np.asarray(np.maximum(self.square_V - explained_V, 0))


@one_thread
def fit(spec: FeatureSpec, rows: pa.Table, sequence: Sequence) -> tuple[Windows, NDArray[np.float64]]:
    """Fit on normal rows with the column ``PLACE``. What is usual of a row's own score is not known yet.

    Also gives what the evidence of each row's courses comes to by what the other parts say (N,), in the order of
    ``PLACE``; NaN where its window is short, or it was not looked at.
    Raises TrainingError where hardly any row has a whole window before it.
    """
    rows, numbers = rows.sort_by(PLACE), Numbers.of(spec)
    varying = len(numbers.unit_V)
    if not varying:
        raise TrainingError(
            "No number has a course: features.sequence looks at numbers, and none of the features varies.",
            "a numeric or a vector column that varies",
            f"features {', '.join(spec.names)}",
            "Leave features.sequence out, or include a column of numbers.",
        )
    blank = Evidence.fit(np.zeros((0, 1)))
    none_V = np.zeros(varying)
    empty = Course(sequence.length, np.zeros((0, varying)), none_V, none_V, none_V, none_V, np.ones(varying))
    bare = Windows(sequence, numbers, empty, blank, blank)
    along = along_of(bare, spec, rows)
    whole_N = np.flatnonzero(~along.is_short_N())
    if len(whole_N) < FEWEST:
        raise TrainingError(
            "Too few rows have a whole window before them.",
            f"at least {FEWEST} rows with {sequence.length - 1} before them in an unbroken series",
            f"{len(whole_N)} of {len(rows)}",
            "Lower features.sequence.length, raise max_gap, or train on more rows.",
        )
    folds = [_pieces(own_N, max(1, len(whole_N) * varying // CELLS)) for own_N in np.array_split(whole_N, FOLDS)]
    wanders_V = _wanders(along, [piece for own in folds for piece in own])
    empty = replace(empty, wanders_V=wanders_V, reach_V=_reach(along, wanders_V, folds))
    moments = [_moments(along, own, empty) for own in folds]
    others = [_Moments.of(moments[:fold] + moments[fold + 1 :]) for fold in range(FOLDS)]
    errors = [
        sum(float(own.error(rest.solve(ridge)).sum()) for own, rest in zip(moments, others, strict=True))
        for ridge in RIDGES
    ]
    ridge = RIDGES[int(np.argmin(errors))]
    series_N = rows.column(PLACE).to_numpy() // SERIES
    strays_V = wanders_V * (wanders_V * _strays(along, folds, series_N)).any()  # all alike: they hang together
    course = replace(empty, deviation_V=np.ones(varying), strays_V=strays_V)
    found = [
        _courses(along, replace(course, weight_IV=rest.solve(ridge)), own)
        for own, rest in zip(folds, others, strict=True)
    ]
    level_NV = np.concatenate([level_NV for _, level_NV in found])
    fold_N = np.repeat(np.arange(FOLDS), [len(level_NV) for _, level_NV in found])
    for fold, (statistic_NTV, own_NV) in enumerate(found):
        center_V = level_NV[fold_N != fold].mean(axis=0)
        np.copyto(statistic_NTV[:, 1], np.abs(own_NV - center_V), where=~np.isnan(statistic_NTV[:, 1]))
    statistic_NTV = np.concatenate([statistic_NTV for statistic_NTV, _ in found])
    deviation_V = _deviation(statistic_NTV[:, 0])
    statistic_NTV[:, 0] /= np.where(deviation_V > 0, deviation_V, np.inf)
    course = replace(
        course, weight_IV=_Moments.of(moments).solve(ridge), deviation_V=deviation_V, center_V=level_NV.mean(axis=0)
    )
    fitted = replace(bare, course=course, of_course=Evidence.fit(statistic_NTV.reshape(len(statistic_NTV), -1)))
    of_course_N = np.full(len(rows), np.nan)
    looked_at = np.concatenate([piece for own in folds for piece in own])
    evidence_NJ = fitted.of_course(statistic_NTV.reshape(len(statistic_NTV), -1))
    of_course_N[looked_at] = joined(evidence_NJ, fitted.weight_J)
    return fitted, of_course_N


@one_thread
def looked_at(
    windows: Windows, spec: FeatureSpec, rows: pa.Table, others: pa.Table
) -> tuple[Batch, NDArray[np.float64]]:
    """Rows as the ensemble sees them, and what the evidence of each one's courses comes to (N,), NaN where its window
    is short. Both tables have ``PLACE``: windows reach back to the ``others``.
    """
    both = pa.concat_tables([rows, others.select(rows.column_names)], promote_options="permissive")
    order_N = np.argsort(both.column(PLACE).to_numpy(), kind="stable")
    along, found_N, batches = along_of(windows, spec, both.take(pa.array(order_N))), np.full(len(both), np.nan), []
    for begin in range(0, len(both), STRETCH):
        stop = min(begin + STRETCH, len(both))
        found_N[begin:stop] = joined(windows.evidence(along.courses(begin, stop)), windows.weight_J)
        batches.append(along.rows(begin, stop))
    found_N[along.is_short_N()] = np.nan
    place_N = np.empty(len(both), dtype=np.intp)
    place_N[order_N] = np.arange(len(both))
    own_N = place_N[: len(rows)]
    return Batch.of(batches).take(own_N), found_N[own_N]


def along_of(windows: Windows, spec: FeatureSpec, rows: pa.Table) -> Along:
    """Rows in the order of ``PLACE``, ready to be looked at."""
    arrays = [combine(rows.column(name)) for name in spec.names]
    order = combine(rows.column(windows.sequence.order))
    return windows.along(spec, arrays, order, follows(rows.column(PLACE).to_numpy()))


def _pieces(own_N: NDArray[np.intp], every: int) -> list[NDArray[np.intp]]:
    """Rows, by their places, that are looked at together: of a block of ``STRETCH``; of these one in ``every``."""
    pieces, begin = [], 0
    while begin < len(own_N):
        stop = int(np.searchsorted(own_N, own_N[begin] + STRETCH))
        pieces.append(own_N[begin:stop])
        begin = stop
    return pieces[::every]


def _wanders(along: Along, pieces: Listed[NDArray[np.intp]]) -> NDArray[np.float64]:
    """(V,) 1 where a number's level is no matter: it moves as much from one part of the sample to another."""
    varying, span = along.x_NV.shape[1], max(along.windows.sequence.length // 3, 2)
    means, numbers = [], []
    for piece in pieces:
        begin, stop = piece[0], piece[-1] + 1
        lead = max(begin - span + 1, 0)
        window = Window.of(along.x_NV[lead:stop], begin - lead, span, np.zeros(varying), np.ones(varying))
        means.append(window.mean(span)[piece - begin])
        numbers.append(np.clip(along.x_NV[piece], -INPUT_CLIP, INPUT_CLIP))
    own_NV = np.concatenate(numbers)
    known_NV, count_V = ~np.isnan(own_NV), np.maximum((~np.isnan(own_NV)).sum(axis=0), 1)
    mean_V = np.where(known_NV, own_NV, 0).sum(axis=0) / count_V
    variance_V = np.where(known_NV, (own_NV - mean_V) ** 2, 0).sum(axis=0) / count_V
    return np.asarray(np.concatenate(means).var(axis=0) > WANDERS * variance_V, dtype=np.float64)


def _strays(along: Along, folds: Listed[Listed[NDArray[np.intp]]], series_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """(V,) 1 where a number's windows have means in a part of a series that they have in no other part of it, too often
    for chance. Series that are too short to have parts tell nothing, unless all are.
    """
    varying, length = along.x_NV.shape[1], along.windows.sequence.length
    course = replace(along.windows.course, strays_V=np.ones(varying))
    own, pieces = replace(along, windows=replace(along.windows, course=course)), [p for fold in folds for p in fold]
    mean_NV = np.concatenate([own.middles(piece[0], piece[-1] + 1)[piece - piece[0]] for piece in pieces])
    series_N = series_N[np.concatenate(pieces)]
    parts = np.split(np.arange(len(mean_NV)), np.flatnonzero(np.diff(series_N)) + 1)
    long = [part for part in parts if len(part) >= FOLDS * length][:SERIES_ENOUGH]
    beyond_V, rows = np.zeros(varying), 0
    for part in long or [np.arange(len(mean_NV))]:
        fifths = np.array_split(mean_NV[part], FOLDS)
        for number, fifth_NV in enumerate(fifths):
            others = np.concatenate(fifths[:number] + fifths[number + 1 :])
            beyond_V += ((fifth_NV < others.min(axis=0)) | (fifth_NV > others.max(axis=0))).sum(axis=0)
        rows += len(part)
    return np.asarray(beyond_V > STRAYS * rows, dtype=np.float64)


def _reach(
    along: Along, wanders_V: NDArray[np.float64], folds: Listed[Listed[NDArray[np.intp]]]
) -> NDArray[np.float64]:
    """(V,) how far numbers that wander are from the mean of their window, as a standard deviation; 1 of others."""
    varying = along.x_NV.shape[1]
    square_V, count_V = np.zeros(varying), np.zeros(varying)
    for piece in (piece for own in folds for piece in own):
        window = Window.of(along.x_NV[: piece[-1] + 1], piece[0], along.windows.sequence.length, wanders_V,
                           np.ones(varying))  # fmt: skip
        own_NV = along.x_NV[piece] - window.mean(window.length)[piece - piece[0]]
        square_V += np.nansum(np.clip(own_NV, -INPUT_CLIP, INPUT_CLIP) ** 2, axis=0)
        count_V += (~np.isnan(own_NV)).sum(axis=0)
    spread_V = np.sqrt(square_V / np.maximum(count_V, 1))
    return np.where((wanders_V > 0) & (spread_V > 0), np.minimum(spread_V, 1), 1.0)


def _moments(along: Along, pieces: Listed[NDArray[np.intp]], course: Course) -> _Moments:
    """Of some rows with whole windows. A target that is missing is taken for the mean."""
    varying, lags, clip_V = along.x_NV.shape[1], course.steps.lags, INPUT_CLIP * course.reach_V
    size = lags * varying + along.moment_NU.shape[1] + 1
    gram_II, cross_IV, square_V = np.zeros((size, size)), np.zeros((size, varying)), np.zeros(varying)
    for piece in pieces:
        begin, stop = piece[0], piece[-1] + 1
        window = Window.of(along.x_NV[:stop], begin, course.length, course.wanders_V, course.reach_V)
        past = window.past(slice(0, stop - begin), along.moment_NU[begin:stop], lags)
        given_NI, middle_NV = past.inputs_NI[piece - begin], past.middle_NV[piece - begin]
        target_NV = np.clip(np.nan_to_num(along.x_NV[piece] - middle_NV), -clip_V, clip_V)
        gram_II += given_NI.T @ given_NI
        cross_IV += given_NI.T @ target_NV
        square_V += (target_NV**2).sum(axis=0)
    return _Moments(gram_II, cross_IV, square_V, sum(map(len, pieces)))


def _courses(
    along: Along, course: Course, pieces: Listed[NDArray[np.intp]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Statistics (N, T, V) and levels (N, V) of some rows with whole windows."""
    own = replace(along, windows=replace(along.windows, course=course))
    statistics, levels = [], []
    for piece in pieces:
        found, kept = own.courses(piece[0], piece[-1] + 1), piece - piece[0]
        statistics.append(found.statistic_NTV[kept])
        levels.append(found.mean_N2V[kept, 0] - found.mean_N2V[kept, 1])
    return np.concatenate(statistics), np.concatenate(levels)


def _deviation(residual_NV: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V,) deviations of residuals, wild ones pulled in; 0 where there is none."""
    seen_NV = np.where(np.isnan(residual_NV), 0, np.minimum(residual_NV, INPUT_CLIP))
    count_V = np.maximum((~np.isnan(residual_NV)).sum(axis=0), 1)
    rough_V = np.sqrt((seen_NV**2).sum(axis=0) / count_V)
    pulled_NV = np.minimum(seen_NV, 5 * rough_V)
    return np.asarray(np.sqrt((pulled_NV**2).sum(axis=0) / count_V))

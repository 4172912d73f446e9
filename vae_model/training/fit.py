"""Fit an ensemble, and score held-out rows (small samples: every row, by cross-validation) to calibrate it.

Shapes: N rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.config.config import Config
from vae_model.decisions import segments as decided
from vae_model.features.batch import Batch
from vae_model.features.categories import singles
from vae_model.features.feature import Chosen
from vae_model.features.sequence import PLACE, Sequence
from vae_model.features.spec import FeatureSpec, combine
from vae_model.networks.landmarks import Landmarks
from vae_model.scoring.ensemble import NETWORKS, Ensemble, Ordinary, shape_of
from vae_model.scoring.evidence import Evidence
from vae_model.scoring.pictures import Oddness
from vae_model.scoring.segments import Segments
from vae_model.scoring.windows import Windows
from vae_model.training import hiding, novelty, picture_columns, tails, trimming, windows
from vae_model.training.picture_columns import FittedColumns

if TYPE_CHECKING:
    from vae_model.training.loop import Trained, TrainingProgress

Report = Callable[["TrainingProgress"], None]

SMALL = 500
"""With fewer normal rows than this, all of them train and all calibrate (``cross_fit``): a fifth less to learn from
would cost more than it does of a larger sample, and a fifth would be too few to calibrate by."""
FOLDS = 5
APART = 0.002, 1, 3.0
"""At most this share of the held-out rows, or so many of a small sample, do not calibrate: those whose score has a root
so many times that of the next. More would be missing from the bar for normal rows of their kind."""


@dataclass(frozen=True)
class Fitted:
    """An ensemble with what it was fitted on."""

    spec: FeatureSpec
    ensemble: Ensemble | None
    """None where there are pictures alone."""
    scores: NDArray[np.float64]
    """(N,) of the rows that calibrate, those of them that can be scored and do not stand apart."""
    apart: int
    """How many rows do not calibrate because their score stands apart from all others (``tails``)."""
    rows: int
    """Rows learnt from, without those trimmed."""
    trained: Trained
    gap_share_D: NDArray[np.float64]
    """(D,) of each feature, how usual a gap in it was (``novelty.shares``)."""
    unseen_share_C: NDArray[np.float64]
    """(C,) of each category, how usual an unseen value is (``novelty.unseen_shares``)."""
    new_share_N: NDArray[np.float64]
    """(N,) of the rows that calibrate, how usual the least usual gap or unseen value is; 1 where there is none."""
    segments: Segments | None
    segment_N: NDArray[np.intp]
    """(N,) of the rows that calibrate, which segment each is in; 0 where there are none."""
    row_N: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))
    """(N,) of the rows that calibrate, where each is among those held out."""
    windows: Windows | None = None
    """How rows follow each other; None where each is by itself."""
    of_course_N: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    """(N,) of the rows that calibrate, what the evidence of their courses comes to, NaN where their windows are short;
    empty where each row is by itself."""
    pictures: FittedColumns | None = None
    """The columns of pictures; None where there are none."""
    oddness: Oddness | None = None
    """Of the rows that calibrate, how odd their pictures are."""

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """For a model file: all that scoring needs but the spec."""
        order = np.argsort(self.scores, kind="stable")
        out: dict[str, NDArray[Any]] = {"calibration_scores": self.scores[order]}
        if self.ensemble:
            out |= self.ensemble.arrays()
        if self.segments:
            out["calibration_segments"] = self.segment_N[order].astype(np.int32)
            out["calibration_levels"] = decided.levels(self.scores, self.segment_N, len(self.segments.values))
        if self.windows:
            out |= self.windows.arrays()
        if self.pictures:
            out |= self.pictures.arrays | self.pictures.pictures.arrays()
        for m, (_, own) in enumerate(self.trained.members):
            out |= {f"member.{m}.{name}": array for name, array in own.items()}
        return out


def fit(
    rows: pa.Table,
    held_out: pa.Table,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Report | None = None,
    segments: Segments | None = None,
    sequence: Sequence | None = None,
) -> Fitted:
    """Train on ``rows``, and score the ``held_out`` rows to calibrate by, by ``segments`` too where there are some.

    Where rows are of a ``sequence``, both tables have the column ``PLACE``.
    """
    return _calibrated(_fit(rows, held_out, chosen, config, progress, segments, sequence), config)


def _fit(
    rows: pa.Table,
    held_out: pa.Table,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Report | None,
    segments: Segments | None,
    sequence: Sequence | None,
) -> Fitted:
    """``fit``, with the scores of all held-out rows, to which nothing new adds yet, and nothing of their courses."""
    learnt = replace(_learn(rows, chosen, config, progress, sequence), segments=segments)
    batch, of_course_N = _seen(learnt, held_out, rows)
    oddness = picture_columns.looked_at(learnt.pictures, learnt.spec.pictures, held_out) if learnt.pictures else None
    missing_N = oddness.missing_with(batch.missing_N, len(learnt.spec.features)) if oddness else batch.missing_N
    is_scored_N = (missing_N <= config.decision.max_missing) & (missing_N < 1)
    if learnt.windows:  # of the others the ensemble would see numbers that are less another mean
        is_scored_N &= ~np.isnan(of_course_N)
    scored = np.flatnonzero(is_scored_N)
    batch, of_course_N = batch.take(scored), of_course_N[scored] if learnt.windows else of_course_N
    segment_N = segments.codes_in(held_out)[scored] if segments else np.zeros(len(scored), np.intp)
    learnt = replace(learnt, segment_N=segment_N, row_N=scored, oddness=oddness.take(scored) if oddness else None)
    if learnt.ensemble is None:
        return replace(learnt, scores=np.zeros(len(scored)), new_share_N=np.ones(len(scored)))
    if not len(batch):
        return learnt
    ensemble = replace(learnt.ensemble, ordinary=learnt.ensemble.ordinary_of(batch))
    ensemble = replace(ensemble, **hiding.fit(ensemble, batch)._asdict())
    unseen_N = np.where(batch.unseen_NC, learnt.unseen_share_C, 1).min(axis=1, initial=1)
    share_N = np.minimum(np.append(learnt.gap_share_D, 1)[batch.gap_N], unseen_N)
    scores = ensemble.scores(batch)
    return replace(learnt, ensemble=ensemble, scores=scores, new_share_N=share_N, of_course_N=of_course_N)


def _seen(learnt: Fitted, held_out: pa.Table, rows: pa.Table) -> tuple[Batch, NDArray[np.float64]]:
    """Rows held out as the ensemble sees them, and what the evidence of their courses comes to (N,), where they have
    such; windows reach back to the ``rows`` that were trained on.
    """
    spec = learnt.spec
    if learnt.windows is None:
        return spec.encode_table(held_out), np.empty(0)
    return windows.looked_at(learnt.windows, spec, held_out, rows)


def cross_fit(
    rows: pa.Table,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Report | None = None,
    segments: Segments | None = None,
    sequence: Sequence | None = None,
) -> Fitted:
    """Train on all rows, and calibrate by all: each is scored by a model that was trained on the other folds.

    This is cross-conformal prediction (Vovk, "Cross-conformal predictors", 2015) with one model of all rows in the end,
    in place of those of the folds. It has seen more than they had, so that its p-values tend to be cautious; the
    guarantee of a p-value by rows held out for good they have no more. Rows of a ``sequence`` are cut into folds one
    after the other: of a row's neighbours in time a fold would know too much of it.
    """
    if sequence:
        rows = rows.sort_by(PLACE)
        fold_N = np.arange(len(rows)) * FOLDS // len(rows)
    else:
        fold_N = np.random.default_rng(config.train.seed).permutation(len(rows)) % FOLDS
    picture_columns.check(chosen, rows)
    folds = []
    for fold in range(FOLDS):
        others, own = (rows.take(np.flatnonzero(part_N)) for part_N in (fold_N != fold, fold_N == fold))
        folds.append(_fit(others, own, chosen, config, _share(progress, fold), segments, sequence))
    learnt = replace(_learn(rows, chosen, config, _share(progress, FOLDS), sequence), segments=segments)
    scores, share_N, segment_N = (
        np.concatenate(own) for own in zip(*((f.scores, f.new_share_N, f.segment_N) for f in folds), strict=True)
    )
    learnt = replace(learnt, scores=scores, new_share_N=share_N, segment_N=segment_N)
    if learnt.ensemble:
        several = [fold.ensemble for fold in folds if fold.ensemble]
        ordinary = Ordinary.median_of([one.ordinary for one in several])
        hidden = hiding.median_of(learnt.spec, several)
        learnt = replace(learnt, ensemble=replace(learnt.ensemble, ordinary=ordinary, **hidden._asdict()))
    if learnt.pictures:
        learnt = replace(learnt, oddness=Oddness.of([fold.oddness for fold in folds if fold.oddness]))
    if learnt.windows:  # what courses come to by the others is known: rows are in the order of their places
        row_N = np.concatenate([np.flatnonzero(fold_N == fold)[own.row_N] for fold, own in enumerate(folds)])
        learnt = replace(learnt, of_course_N=learnt.of_course_N[row_N])
    return _calibrated(learnt, config)


def _learn(
    rows: pa.Table,
    chosen: Mapping[str, Chosen],
    config: Config,
    progress: Report | None,
    sequence: Sequence | None,
) -> Fitted:
    """Fit the spec, the members and their distances, and the courses of rows that are of a sequence. There are no
    scores to calibrate by yet.
    """
    from vae_model.training.loop import Trained, train  # torch is the driver's: imported only here

    spec, settings = FeatureSpec.fit(rows, chosen), config.train
    none = np.empty(0, np.intp)
    pictures = None
    if spec.pictures:
        if config.features.image is None:
            raise ValueError("the config has no features.image")
        pictures = picture_columns.fit(spec.pictures, rows, config.features.image, settings.seed)
    if not spec.features:
        shares = np.empty(0), np.empty(0), np.empty(0)
        alone = Trained([], [], {"steps": 0, "members": []})
        return Fitted(spec, None, np.empty(0), 0, len(rows), alone, *shares, None, none, pictures=pictures)
    batch, own, of_course_N, whole = _encoded(spec, rows, sequence)
    kept = whole[trimming.kept(shape_of(spec), batch.take(whole), spec.scale_F == 0, settings.trim, settings.seed)]
    if len(kept) < len(batch):  # encoded anew: a column may vary in the others alone
        spec = replace(FeatureSpec.fit(rows.take(kept), chosen), pictures=spec.pictures)
        if own is None:
            batch = spec.encode_table(rows := rows.take(kept))
        else:
            batch, own, of_course_N, _ = _encoded(spec, rows, sequence)
            batch, rows = batch.take(kept), rows.take(kept)
    x_NV = batch.x_NF if spec.scale_F.all() else batch.x_NF[:, spec.scale_F != 0]
    trained = train(shape_of(spec), x_NV, batch.codes_NC, config.model, settings.seed, progress)
    members, measures = (
        [NETWORKS[kind].from_arrays(shape_of(spec), arrays) for kind, arrays in networks]
        for networks in (trained.members, trained.measures)
    )
    landmarks = Landmarks.fit(shape_of(spec), x_NV, batch.codes_NC, settings.seed)
    ensemble = Ensemble.fit(spec, members, measures, landmarks, batch, len(rows))
    missing_D = np.rint([feature.missing * len(rows) for feature in spec.features]).astype(np.intp)
    gap_share_D = novelty.shares(missing_D, batch.gap_N)
    singles_C = [singles(combine(rows.column(feature.name))) for feature in spec.categorical]
    unseen_share_C = novelty.unseen_shares(np.array(singles_C, dtype=np.intp), len(rows))
    shares = gap_share_D, unseen_share_C, np.empty(0)
    bare = Fitted(spec, ensemble, np.empty(0), 0, len(rows), trained, *shares, None, none)
    return replace(bare, windows=own, of_course_N=of_course_N, pictures=pictures)


def _encoded(
    spec: FeatureSpec, rows: pa.Table, sequence: Sequence | None
) -> tuple[Batch, Windows | None, NDArray[np.float64], NDArray[np.intp]]:
    """Rows as the ensemble sees them, how they follow each other and what their courses come to, where they do, and
    which of them it may be trained on: of series those with a whole window.
    """
    if sequence is None:
        return spec.encode_table(rows), None, np.empty(0), np.arange(len(rows))
    own, of_course_N = windows.fit(spec, rows, sequence)
    batch, found_N = windows.looked_at(own, spec, rows, rows.slice(0, 0))
    return batch, own, of_course_N, np.flatnonzero(~np.isnan(found_N))


def _calibrated(bare: Fitted, config: Config) -> Fitted:
    """Leave out of the scores to calibrate by those that stand apart, unless every row is trusted: an error among the
    held-out rows would be the bar for all others. Then add what is said of what is new in a row, in the currency of
    these scores, to them and to the ensemble's.
    """
    size = np.sqrt(np.maximum(bare.scores, 0))  # a score is a square: of distances, as those the tails are of
    kept = size <= (tails.end(size, *APART) if config.train.trim != 0 else np.inf)
    oddness = bare.oddness
    if oddness and config.train.trim != 0:
        kept &= ~picture_columns.apart(oddness, *APART)
    scores, is_apart, segment_N = bare.scores[kept], int(np.count_nonzero(~kept)), bare.segment_N[kept]
    bare = replace(
        bare, apart=is_apart, segment_N=segment_N, oddness=oddness.take(np.flatnonzero(kept)) if oddness else None
    )
    if bare.ensemble is None:
        return _with_pictures(replace(bare, scores=scores))
    shares = bare.gap_share_D, bare.unseen_share_C, bare.new_share_N[kept]
    own_D, own_C, own_N = (novelty.scores(share_X, scores) for share_X in shares)
    ensemble = replace(bare.ensemble, gap_score_D=own_D, unseen_score_C=own_C)
    calibrated = replace(bare, ensemble=ensemble, scores=scores + own_N)
    if bare.windows:
        return _with_courses(calibrated, bare.windows, bare.of_course_N[kept])
    return _with_pictures(calibrated) if bare.pictures else calibrated


def _with_pictures(bare: Fitted) -> Fitted:
    """Join the scores of rows by their other columns, if there are such, and what is odd about their pictures."""
    if bare.pictures is None or bare.oddness is None or not len(bare.scores):
        return bare
    fitted = bare.pictures.usual(bare.oddness, bare.scores if bare.ensemble else None)
    scores = fitted.pictures.judge(bare.oddness, bare.scores).score_N
    return replace(bare, pictures=fitted, scores=scores)


def _with_courses(bare: Fitted, own: Windows, of_course_N: NDArray[np.float64]) -> Fitted:
    """Join the scores of rows as they are, and what their courses come to; a row with a short window calibrates the
    one, and not the whole.
    """
    own = replace(own, of_row=Evidence.fit(bare.scores[:, None]))
    is_whole_N = ~np.isnan(of_course_N)
    scores = own.join(bare.scores[is_whole_N], of_course_N[is_whole_N])
    return replace(bare, windows=own, scores=scores, segment_N=bare.segment_N[is_whole_N])


def _share(progress: Report | None, fold: int) -> Report | None:
    """Reports the progress of one of ``FOLDS`` + 1 trainings as that of all of them."""
    if progress is None:
        return None

    def tell(own: TrainingProgress) -> None:
        step = fold * own.steps + own.step
        seconds = own.seconds / own.step * step
        progress(replace(own, step=step, steps=(FOLDS + 1) * own.steps, seconds=seconds))

    return tell

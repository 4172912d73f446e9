"""The scorer: a model's bytes in, a pure function of Arrow columns out. NumPy only; this is what a worker runs.

Shapes: N rows, R residuals, one for each numeric unit and category.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.decisions.calibration import Calibration, Rule
from vae_model.errors import ModelFileError
from vae_model.features.batch import Batch
from vae_model.features.sequence import PLACE, follows
from vae_model.features.spec import FeatureSpec, combine
from vae_model.networks.buffers import Buffers
from vae_model.networks.products import one_thread
from vae_model.networks.tiles import BLOCK
from vae_model.scoring import model_file
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.explaining import Part, explained, joined
from vae_model.scoring.header import Header
from vae_model.scoring.masking import ORDINARY, Suspects
from vae_model.scoring.output import COMPUTED, EXPLAINED, STATUSES
from vae_model.scoring.pictures import Judged as JudgedPictures
from vae_model.scoring.pictures import Pictures
from vae_model.scoring.segments import Segments
from vae_model.scoring.windows import Along, Judged, Windows

MOST_BLOCKS = 4
ENCODED_CELLS = 32 * MOST_BLOCKS * BLOCK
"""A batch of more values, or of more blocks, is scored in parts, whose numbers as the networks see them take 1.2 MB."""


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score a row. Built once a worker, then a pure function of arrays."""

    spec: FeatureSpec
    """The fitted feature spec."""
    ensemble: Ensemble | None
    """None where there are pictures alone."""
    calibration: Calibration
    name: str
    rule: Rule
    held_out: NDArray[np.float64]
    """The scores of the held-out rows, ascending. ``calibration`` has them over the levels of their segments, where
    the rule is by segments."""
    segments: Segments | None = None
    windows: Windows | None = None
    """How rows follow each other; None where each is scored by itself."""
    pictures: Pictures | None = None
    _own: threading.local = field(default_factory=threading.local, repr=False, compare=False)
    """Each thread's buffers: on Sail several threads share a scorer."""

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "The model") -> Self:
        """From a model file's bytes. Raises ModelFileError."""
        return cls.from_parts(*model_file.loads(data, origin), origin)

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]], origin: str = "The model") -> Self:
        """From a model file's header and arrays. Raises ModelFileError where they do not make sense."""
        try:
            own = Header.of(header)
            own.check(arrays)
        except ModelFileError as error:
            raise error.as_kind(ModelFileError, f"{origin} does not make sense. {error.problem}") from None
        ensemble = Ensemble.from_arrays(own.spec, own.rows, own.kinds, arrays) if own.spec.features else None
        held_out, segments = arrays["calibration_scores"], own.segments
        if segments:
            level_S, held_out_H = (arrays[f"calibration_{name}"] for name in ("levels", "segments"))
            segments = replace(segments, level_S=level_S, held_out_H=held_out_H)
        windows = Windows.from_arrays(own.sequence, own.spec, arrays) if own.sequence else None
        pictures = Pictures.from_arrays(own.pictures, ensemble is not None, arrays) if own.pictures else None
        calibration = _calibration(own.rule, held_out, segments)
        return cls(own.spec, ensemble, calibration, own.name, own.rule, held_out, segments, windows, pictures)

    def deciding(self, rule: Rule) -> Self:
        """The same model, by its bytes and its name, and the same scores, decided on by another rule."""
        if rule == self.rule:
            return self
        return replace(self, calibration=_calibration(rule, self.held_out, self.segments), rule=rule)

    @property
    def names(self) -> list[str]:
        """The source columns, in the order a call takes them: the features, then those that only segments are by, and
        the one that rows are in the order of.
        """
        order = (self.windows.sequence.order,) if self.windows else ()
        return list(dict.fromkeys([*self.spec.names, *self.rule.by, *order]))

    def _check_alone(self) -> None:
        if self.windows:
            raise ValueError(f"{self.name} scores rows in the order of their series: call along()")

    @property
    def look_back(self) -> int:
        """How many rows before a row its score depends on, at most."""
        return self.windows.sequence.length - 1 if self.windows else 0

    @one_thread
    def __call__(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """Score one Arrow array for each of ``names``: a struct of the ``COMPUTED`` columns, a row for each row.

        Raises ValueError where a row is not scored by itself: then ``along`` is to be called.
        """
        self._check_alone()
        return self._parts(arrays)

    @one_thread
    def along(self, arrays: Sequence[pa.Array], follows_N: NDArray[np.bool_], first: int = 0) -> pa.StructArray:
        """Score rows in the order of their series, as a call does, from row ``first`` on; those before it are there to
        be looked back at. ``follows_N`` says which rows follow the one before them in the same series.
        """
        if self.windows is None:
            return self._parts([array.slice(first) for array in arrays])
        sequence = self.windows.sequence
        order = arrays[self.names.index(sequence.order)]
        found = self.windows.along(self.spec, arrays[: len(self.spec.features)], order, follows_N, first)
        return self._parts([array.slice(first) for array in arrays], along=found)

    def of_table(self, table: pa.Table) -> pa.StructArray:
        """Score the rows of a table; where they are of series, it has the column ``PLACE`` and is in its order."""
        arrays = [combine(table.column(name)) for name in self.names]
        return self.along(arrays, follows(table.column(PLACE).to_numpy())) if self.windows else self(arrays)

    @one_thread
    def explain(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """A struct of the ``EXPLAINED`` columns: reasons for every row that has a score, flagged or not. They take
        longer than the score. Raises ValueError as a call does.
        """
        self._check_alone()
        return self._parts(arrays, explain=True)

    def _parts(self, arrays: Sequence[pa.Array], explain: bool = False, along: Along | None = None) -> pa.StructArray:
        rows, schema = len(arrays[0]), EXPLAINED if explain else COMPUTED
        if rows == 0:
            return pa.array([], pa.struct(list(schema)))
        size = BLOCK * min(max(ENCODED_CELLS // len(arrays) // BLOCK, 1), MOST_BLOCKS)
        parts = [
            self._part([array.slice(start, size) for array in arrays], start, explain, along)
            for start in range(0, rows, size)
        ]
        numbers = [pa.concat_arrays(own) for own in zip(*(part.numbers for part in parts), strict=True)]
        told = self.spec, self.ensemble, self.rule.max_reasons, self._buffers
        why = explained(arrays, parts, explain, *told)
        columns = [*numbers, why.lists(), pa.concat_arrays([part.status for part in parts])]
        if explain:
            columns.append(why.sentences())
        return pa.StructArray.from_arrays(columns, fields=list(schema))

    def _part(self, arrays: list[pa.Array], first: int, explain: bool, along: Along | None) -> Part:
        """Score a part of a batch that begins at row ``first``; all rows are to be explained, or the flagged ones.

        ``along`` has the batch encoded, where its rows are of series.
        """
        stop = first + len(arrays[0])
        batch = along.rows(first, stop) if along else self.spec.encode(arrays)
        oddness = self.pictures(arrays[len(self.spec.features) : len(self.spec.columns)]) if self.pictures else None
        missing_N = oddness.missing_with(batch.missing_N, len(self.spec.features)) if oddness else batch.missing_N
        segment_N = self._segments(arrays)
        level_N = None if segment_N is None or self.segments is None else self.segments.levels_of(segment_N)
        unscored = (missing_N > self.rule.max_missing) | (missing_N == 1)
        short_N = along.is_short_N(first, stop) if along else np.zeros(len(batch), dtype=bool)
        unscored |= short_N
        error, score, row_score, p_value = (np.zeros(len(batch)) for _ in range(4))
        flagged = np.empty(len(batch), dtype=bool)
        judged: list[Judged | JudgedPictures] = []
        buffers = self._buffers
        for start in range(0, len(batch), BLOCK):
            block = slice(start, start + BLOCK)
            rows = batch.take(block)
            if self.ensemble:
                residuals = self.ensemble(rows, buffers)
                score[block] = row_score[block] = residuals.score_N
                error[block] = residuals.reconstruction_error_N(self.spec.share_R)
            if along:
                judged.append(along.judged(first + start, first + start + len(rows), row_score[block]))
            elif self.pictures and oddness:
                judged.append(self.pictures.judge(oddness.take(block), row_score[block]))
            if judged:
                score[block] = judged[-1].score_N
            if not np.isfinite(score[block][~unscored[block]]).all():
                raise ModelFileError(
                    f"The model {self.name} gives a row no score.",
                    "a number for each row that has enough features",
                    "numbers beyond measure: its weights are not those of a trained network",
                    "Train the model again.",
                )
            ranked = score[block] if level_N is None else score[block] / level_N[block]
            p_value[block] = self.calibration.p_values(ranked)
            flagged[block] = self.calibration.decide(ranked) & ~unscored[block]
        if oddness:
            error = oddness.error_with(error, (1 - batch.missing_N) * len(self.spec.features))
        mask = unscored if unscored.any() else None
        numbers = [pa.array(values, mask=mask) for values in (error, score, p_value, flagged)]
        rows_Q = np.flatnonzero((~unscored if explain else flagged) & (self.rule.max_reasons > 0))
        suspects = found = None
        if len(rows_Q) and judged:
            found = joined(judged).take(rows_Q)
        if len(rows_Q) and self.ensemble:
            suspects = Suspects(batch.take(rows_Q), row_score[rows_Q], self._usual(rows_Q, level_N))
        unreadable_N = oddness.unreadable_N if oddness else np.zeros(len(batch), dtype=bool)
        status = _status(batch, segment_N, unscored, short_N, unreadable_N)
        return Part(numbers, status, first + rows_Q, suspects, found)

    def _usual(self, rows_Q: NDArray[np.intp], level_N: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """(Q, 2) the scores, as rows of a table, that ``ORDINARY`` of the normal rows reach, and half of them."""
        beside = self.windows or self.pictures
        if beside and beside.of_row:
            return np.tile([beside.of_row.reached(p_value) for p_value in (ORDINARY, 0.5)], (len(rows_Q), 1))
        usual_2 = [self.calibration.score_of(p_value) for p_value in (ORDINARY, 0.5)]
        level_Q = np.ones(len(rows_Q)) if level_N is None else level_N[rows_Q]
        return np.asarray(np.multiply.outer(level_Q, usual_2))

    @property
    def _buffers(self) -> Buffers:
        """The thread's own."""
        own: Buffers = vars(self._own).setdefault("buffers", Buffers())
        return own

    def _segments(self, arrays: Sequence[pa.Array]) -> NDArray[np.intp] | None:
        """(N,) each row's segment, where the rule is by segments; -1 where it is not known."""
        if not self.rule.by or self.segments is None:
            return None
        places = map(self.names.index, self.segments.by)
        return self.segments.codes([arrays[place] for place in places])


def _calibration(rule: Rule, held_out: NDArray[np.float64], segments: Segments | None) -> Calibration:
    """The held-out scores, each over its segment's level where the rule is by segments, and the rule."""
    decided = rule.false_alarm_rate, rule.threshold, rule.expected_alerts
    if not rule.by or segments is None:
        return Calibration(held_out, *decided)
    return Calibration(np.sort(held_out / segments.levels_of(segments.held_out_H)), *decided, segments.describe())


def _status(
    batch: Batch,
    segment_N: NDArray[np.intp] | None,
    unscored_N: NDArray[np.bool_],
    short_N: NDArray[np.bool_],
    unreadable_N: NDArray[np.bool_],
) -> pa.Array:
    """(N,) the last of ``STATUSES`` that holds of each row."""
    status = np.zeros(len(batch), dtype=np.int8)
    if segment_N is not None:
        status[segment_N < 0] = 1
    for number, own_N in enumerate(
        (batch.unseen_NC.any(axis=1), batch.non_finite_N, unscored_N, short_N, unreadable_N), 2
    ):
        status[own_N] = number
    return pa.array(STATUSES).take(pa.array(status))


_KEPT = 4
"""Scorers a worker process keeps: it may be shared by several jobs."""
_scorers: dict[tuple[str, Rule], Scorer] = {}


def load_scorer(digest: str, rule: Rule, model: Callable[[], bytes]) -> Scorer:
    """The scorer of a model that decides by a rule, built once a worker process and shared by its batches and tasks.

    ``digest`` is the SHA-256 of the bytes that ``model`` gives; they are not asked for again while it is known with the
    rule. Without a lock (a forked worker could find it held): two threads at once may both build it, and get the same.
    """
    scorer = _scorers.get((digest, rule))
    if scorer is None:
        scorer = _scorers[digest, rule] = Scorer.from_bytes(model()).deciding(rule)
        for old in list(_scorers)[:-_KEPT]:
            _scorers.pop(old, None)
    return scorer

"""The scorer: a model's bytes in, a pure function of Arrow columns out. NumPy only; this is what a worker runs.

Shapes: N rows, R residuals, one for each numeric unit and category.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

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
from vae_model.scoring import model_file, reasons
from vae_model.scoring.course_reasons import in_their_course
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.header import Header
from vae_model.scoring.masking import ORDINARY, Suspects, find_culprits
from vae_model.scoring.segments import Segments
from vae_model.scoring.windows import Along, Judged, Windows

OUTPUT = pa.schema(
    [
        ("reconstruction_error", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("anomaly_p_value", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("anomaly_reasons", reasons.TYPE),
        ("anomaly_status", pa.string()),
        ("anomaly_model", pa.string()),
        ("anomaly_run", pa.string()),
    ]
)
"""The columns a scored table gains, in order."""

SCORED = pa.schema(list(OUTPUT)[:-1])
"""Those that rows gain outside a job, which are of no run."""
COMPUTED = pa.schema(list(OUTPUT)[:-2])
"""Those that differ from row to row; model and run are constants, added without a trip through Python."""

MOST_BLOCKS = 4
ENCODED_CELLS = 32 * MOST_BLOCKS * BLOCK
"""A batch of more values, or of more blocks, is scored in parts, whose numbers as the networks see them take 1.2 MB."""
STATUSES = ("ok", "unseen_segment", "unseen_category", "non_finite", "short_window", "too_many_missing")
EXPLAINED = pa.schema([*COMPUTED, ("reason", pa.string())])
"""What explaining a row gives: the same columns, with reasons whether it is flagged or not, and a sentence."""


class _Part(NamedTuple):
    """What came of scoring a part of a batch: the computed columns but for the reasons, and the rows that need them."""

    numbers: list[pa.Array]
    status: pa.Array
    rows: NDArray[np.intp]
    suspects: Suspects | None
    judged: Judged | None
    """What made the scores of these rows, where they are of series."""


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score a row. Built once a worker, then a pure function of arrays."""

    ensemble: Ensemble
    calibration: Calibration
    name: str
    rule: Rule
    held_out: NDArray[np.float64]
    """The scores of the held-out rows, ascending. ``calibration`` has them over the levels of their segments, where
    the rule is by segments."""
    segments: Segments | None = None
    windows: Windows | None = None
    """How rows follow each other; None where each is scored by itself."""
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
        ensemble = Ensemble.from_arrays(own.spec, own.rows, own.kinds, arrays)
        held_out, segments = arrays["calibration_scores"], own.segments
        if segments:
            level_S, held_out_H = (arrays[f"calibration_{name}"] for name in ("levels", "segments"))
            segments = replace(segments, level_S=level_S, held_out_H=held_out_H)
        windows = Windows.from_arrays(own.sequence, own.spec, arrays) if own.sequence else None
        calibration = _calibration(own.rule, held_out, segments)
        return cls(ensemble, calibration, own.name, own.rule, held_out, segments, windows)

    def deciding(self, rule: Rule) -> Self:
        """The same model, by its bytes and its name, and the same scores, decided on by another rule."""
        if rule == self.rule:
            return self
        return replace(self, calibration=_calibration(rule, self.held_out, self.segments), rule=rule)

    @property
    def spec(self) -> FeatureSpec:
        """The fitted feature spec."""
        return self.ensemble.spec

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
        why = self._explained(arrays, parts, explain)
        columns = [*numbers, why.lists(), pa.concat_arrays([part.status for part in parts])]
        if explain:
            columns.append(why.sentences())
        return pa.StructArray.from_arrays(columns, fields=list(schema))

    def _part(self, arrays: list[pa.Array], first: int, explain: bool, along: Along | None) -> _Part:
        """Score a part of a batch that begins at row ``first``; all rows are to be explained, or the flagged ones.

        ``along`` has the batch encoded, where its rows are of series.
        """
        stop = first + len(arrays[0])
        batch = along.rows(first, stop) if along else self.spec.encode(arrays[: len(self.spec.features)])
        segment_N = self._segments(arrays)
        level_N = None if segment_N is None or self.segments is None else self.segments.levels_of(segment_N)
        unscored = (batch.missing_N > self.rule.max_missing) | (batch.missing_N == 1)
        short_N = along.is_short_N(first, stop) if along else np.zeros(len(batch), dtype=bool)
        unscored |= short_N
        error, score, row_score, p_value = (np.empty(len(batch)) for _ in range(4))
        flagged = np.empty(len(batch), dtype=bool)
        courses: list[Judged] = []
        buffers = self._buffers
        for start in range(0, len(batch), BLOCK):
            block = slice(start, start + BLOCK)
            rows = batch.take(block)
            residuals = self.ensemble(rows, buffers)
            score[block] = row_score[block] = residuals.score_N
            if along:
                courses.append(along.judged(first + start, first + start + len(rows), row_score[block]))
                score[block] = courses[-1].score_N
            if not np.isfinite(score[block][~unscored[block]]).all():
                raise ModelFileError(
                    f"The model {self.name} gives a row no score.",
                    "a number for each row that has enough features",
                    "numbers beyond measure: its weights are not those of a trained network",
                    "Train the model again.",
                )
            error[block] = residuals.reconstruction_error_N(self.spec.share_R)
            ranked = score[block] if level_N is None else score[block] / level_N[block]
            p_value[block] = self.calibration.p_values(ranked)
            flagged[block] = self.calibration.decide(ranked) & ~unscored[block]
        mask = unscored if unscored.any() else None
        numbers = [pa.array(values, mask=mask) for values in (error, score, p_value, flagged)]
        rows_Q = np.flatnonzero((~unscored if explain else flagged) & (self.rule.max_reasons > 0))
        suspects, judged = None, None
        if len(rows_Q):
            usual_2 = [self.calibration.score_of(p_value) for p_value in (ORDINARY, 0.5)]
            level_Q = np.ones(len(rows_Q)) if level_N is None else level_N[rows_Q]
            usual_Q2 = np.multiply.outer(level_Q, usual_2)
            suspects = Suspects(batch.take(rows_Q), score[rows_Q], usual_Q2)
            if along:
                of_row_2 = [along.windows.row_score(p_value) for p_value in (ORDINARY, 0.5)]
                suspects = Suspects(suspects.rows, row_score[rows_Q], np.tile(of_row_2, (len(rows_Q), 1)))
                judged = Judged.of(courses).take(rows_Q)
        return _Part(numbers, _status(batch, unscored, short_N, segment_N), first + rows_Q, suspects, judged)

    def _explained(self, arrays: Sequence[pa.Array], parts: Sequence[_Part], in_sentences: bool) -> reasons.Columns:
        """The reasons of a whole batch's rows, looked for at once: a few rows take as long as a few hundred."""
        why = reasons.Columns(len(arrays[0]), in_sentences)
        several = [part.suspects for part in parts if part.suspects is not None]
        rows_Q, done = np.concatenate([part.rows for part in parts]), 0
        several_judged = [part.judged for part in parts if part.judged is not None]
        judged = Judged.of(several_judged) if several_judged else None
        for suspects in Suspects.of(several).chunks() if several else ():
            own_Q = rows_Q[done : done + len(suspects.rows)]
            found = find_culprits(self.ensemble, suspects, self.rule.max_reasons, self._buffers)
            own = judged.take(np.arange(done, done + len(own_Q))) if judged else None
            if own:
                found = replace(found, mean_QF=own.in_place(found.mean_QF))
            explained = reasons.put_into_words(self.ensemble, arrays, own_Q, suspects, found, in_sentences)
            if own:
                explained = in_their_course(own, explained, self.spec, arrays, self.rule.max_reasons)
            why.add(explained)
            done += len(own_Q)
        return why

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
    unscored: NDArray[np.bool_],
    short_N: NDArray[np.bool_],
    segment_N: NDArray[np.intp] | None,
) -> pa.Array:
    status = np.zeros(len(batch), dtype=np.int8)
    if segment_N is not None:
        status[segment_N < 0] = 1
    status[batch.unseen_NC.any(axis=1)] = 2
    status[batch.non_finite_N] = 3
    status[unscored] = 5
    status[short_N] = 4
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

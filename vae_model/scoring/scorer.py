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
from vae_model.features.spec import FeatureSpec
from vae_model.networks.buffers import Buffers
from vae_model.networks.products import one_thread
from vae_model.networks.tiles import BLOCK
from vae_model.scoring import model_file, reasons
from vae_model.scoring.ensemble import Ensemble
from vae_model.scoring.header import Header
from vae_model.scoring.reasons import Reasons

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
STATUSES = ("ok", "unseen_category", "non_finite", "too_many_missing")


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score a row. Built once a worker, then a pure function of arrays."""

    ensemble: Ensemble
    calibration: Calibration
    name: str
    rule: Rule
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
        calibration = Calibration(arrays["calibration_scores"], own.rule.false_alarm_rate, own.rule.threshold)
        return cls(ensemble, calibration, own.name, own.rule)

    def deciding(self, rule: Rule) -> Self:
        """The same model, by its bytes and its name, and the same scores, decided on by another rule."""
        if rule == self.rule:
            return self
        decided = replace(self.calibration, false_alarm_rate=rule.false_alarm_rate, threshold=rule.threshold)
        return replace(self, calibration=decided, rule=rule)

    @property
    def spec(self) -> FeatureSpec:
        """The fitted feature spec."""
        return self.ensemble.spec

    @property
    def names(self) -> list[str]:
        """The source columns, in the order a call takes them."""
        return self.spec.names

    @one_thread
    def __call__(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """Score one Arrow array a feature column: a struct of the ``COMPUTED`` columns, a row for each row."""
        return self._parts(arrays)

    @one_thread
    def explain(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """The same, with reasons for every row that has a score, flagged or not. They take longer than the score."""
        return self._parts(arrays, all_reasons=True)

    def _parts(self, arrays: Sequence[pa.Array], all_reasons: bool = False) -> pa.StructArray:
        rows = len(arrays[0])
        if rows == 0:
            return pa.array([], pa.struct(list(COMPUTED)))
        size = BLOCK * min(max(ENCODED_CELLS // len(arrays) // BLOCK, 1), MOST_BLOCKS)
        parts = [self._part([a.slice(start, size) for a in arrays], all_reasons) for start in range(0, rows, size)]
        return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)

    def _part(self, arrays: list[pa.Array], all_reasons: bool) -> pa.StructArray:
        batch = self.spec.encode(arrays)
        unscored = (batch.missing_N > self.rule.max_missing) | (batch.missing_N == 1)
        error, score, p_value = (np.empty(len(batch)) for _ in range(3))
        flagged = np.empty(len(batch), dtype=bool)
        why = Reasons(self.spec, self.rule.max_reasons)
        buffers = vars(self._own).setdefault("buffers", Buffers())
        for start in range(0, len(batch), BLOCK):
            block = slice(start, start + BLOCK)
            rows = batch.take(block)
            residuals = self.ensemble(rows, buffers)
            score[block] = residuals.score_N
            if not np.isfinite(score[block][~unscored[block]]).all():
                raise ModelFileError(
                    f"The model {self.name} gives a row no score.",
                    "a number for each row that has enough features",
                    "numbers beyond measure: its weights are not those of a trained network",
                    "Train the model again.",
                )
            error[block] = residuals.reconstruction_error_N(self.spec.share_R)
            p_value[block] = self.calibration.p_values(score[block])
            flagged[block] = self.calibration.decide(score[block]) & ~unscored[block]
            found = np.flatnonzero(~unscored[block] if all_reasons else flagged[block])
            if len(found):
                gap_QR = self.spec.feature_of_unit == rows.gap_N[found, None]
                parts_QR = residuals.parts_QR(found, gap_QR)
                why.add(arrays, start + found, parts_QR, *self.ensemble.expectation(residuals, found))
        mask = unscored if unscored.any() else None
        columns = [
            *(pa.array(values, mask=mask) for values in (error, score, p_value, flagged)),
            why.build(len(batch)),
            _status(batch, unscored),
        ]
        return pa.StructArray.from_arrays(columns, fields=list(COMPUTED))


def _status(batch: Batch, unscored: NDArray[np.bool_]) -> pa.Array:
    status = np.zeros(len(batch), dtype=np.int8)
    status[batch.unseen_NC.any(axis=1)] = 1
    status[batch.non_finite_N] = 2
    status[unscored] = 3
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

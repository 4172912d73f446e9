"""The scorer: a model's bytes in, a pure function of Arrow columns out. NumPy only; this is what a worker runs.

Shapes: N rows, R residuals, one for each numeric unit and category.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model import artifact, reasons
from vae_model.calibration import Calibration
from vae_model.ensemble import Ensemble
from vae_model.features.spec import FeatureSpec
from vae_model.networks.layout import BLOCK

OUTPUT = pa.schema(
    [
        ("reconstruction_error", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("anomaly_p_value", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("anomaly_reasons", reasons.TYPE),
        ("anomaly_status", pa.string()),
        ("anomaly_model", pa.string()),
    ]
)
"""The columns a scored table gains, in order."""

COMPUTED = pa.schema(list(OUTPUT)[:-1])
"""Those that differ from row to row; ``anomaly_model`` is one constant, added without a trip through Python."""

STATUSES = ("ok", "unseen_category", "non_finite", "too_many_missing")


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score a row. Built once a worker, then a pure function of arrays."""

    ensemble: Ensemble
    calibration: Calibration
    name: str
    most_reasons: int
    max_missing: float

    @classmethod
    def from_bytes(cls, data: bytes, origin: str = "The model") -> Self:
        """From a model file's bytes. Raises ModelFileError."""
        return cls.from_parts(*artifact.loads(data, origin))

    @classmethod
    def from_parts(cls, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """From a model file's header and arrays."""
        spec = FeatureSpec.from_json(header["spec"])
        decision = header["config"]["decision"]
        kinds = [member["kind"] for member in header["training"]["members"]]
        ensemble = Ensemble.from_arrays(spec, int(header["training"]["rows"]), kinds, arrays)
        calibration = Calibration(
            arrays["calibration_scores"], decision.get("false_alarm_rate", 1.0), decision.get("threshold")
        )
        name = f"{header['config']['name']}@{header['sha256'][:12]}"
        return cls(ensemble, calibration, name, decision["reasons"], decision["max_missing"])

    @property
    def spec(self) -> FeatureSpec:
        """The fitted feature spec."""
        return self.ensemble.spec

    @property
    def names(self) -> list[str]:
        """The source columns, in the order a call takes them."""
        return self.spec.names

    def __call__(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """Score one Arrow array a feature column: a struct of the ``COMPUTED`` columns, a row for each row."""
        rows = len(arrays[0])
        if rows == 0:
            return pa.array([], pa.struct(list(COMPUTED)))
        blocks = [self._block([a.slice(start, BLOCK) for a in arrays]) for start in range(0, rows, BLOCK)]
        return blocks[0] if len(blocks) == 1 else pa.concat_arrays(blocks)

    def _block(self, arrays: list[pa.Array]) -> pa.StructArray:
        batch = self.spec.encode(arrays)
        residuals = self.ensemble(batch)
        score, error = residuals.score_N, reconstruction_error(self.spec, residuals.squared_NR)
        unscored = (batch.missing_N > self.max_missing) | (batch.missing_N == 1)
        p_value = self.calibration.p_values(score)
        flagged = self.calibration.decide(score, p_value) & ~unscored
        status = np.zeros(len(batch), dtype=np.int64)
        status[batch.unseen_NC.any(axis=1)] = 1
        status[batch.non_finite_N] = 2
        status[unscored] = 3
        columns = [
            pa.array(error, mask=unscored),
            pa.array(score, mask=unscored),
            pa.array(p_value, mask=unscored),
            pa.array(flagged, mask=unscored),
            reasons.build(
                self.spec,
                arrays,
                np.flatnonzero(flagged),
                residuals.parts_NR,
                residuals.missing_NR,
                residuals.mean_NF,
                residuals.likeliest_NC,
                self.most_reasons,
            ),
            pa.array(STATUSES).take(pa.array(status)),
        ]
        return pa.StructArray.from_arrays(columns, fields=list(COMPUTED))


_KEPT = 4
"""Scorers a worker process keeps: it may be shared by several jobs."""
_scorers: dict[str, Scorer] = {}


def load_scorer(digest: str, model: Callable[[], bytes]) -> Scorer:
    """The scorer of a model, built once a worker process and shared by all its batches and tasks.

    ``digest`` is the SHA-256 of the bytes that ``model`` gives; they are not asked for again while it is known. Without
    a lock (a forked worker could find it held): two threads at once may both build it, and get the same.
    """
    scorer = _scorers.get(digest)
    if scorer is None:
        scorer = _scorers[digest] = Scorer.from_bytes(model())
        for old in list(_scorers)[:-_KEPT]:
            _scorers.pop(old, None)
    return scorer


def reconstruction_error(spec: FeatureSpec, squared_NR: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) mean squared residual over the observed features; a feature of several units counts once."""
    of_unit = spec.feature_of_unit
    weight_R = 1 / np.bincount(of_unit)[of_unit]
    total = squared_NR @ weight_R
    if not np.isnan(total).any():  # nothing is missing
        return np.asarray(total / weight_R.sum())
    seen = ~np.isnan(squared_NR)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.where(seen, squared_NR, 0) @ weight_R) / (seen @ weight_R))

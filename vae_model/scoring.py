"""The scorer: a model's bytes in, a pure function of Arrow columns out. NumPy only; this is what a worker runs.

Shapes: N rows, F numeric units, V of them varying, C categories, R = F + C residuals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model import artifact, reasons
from vae_model.calibration import Calibration
from vae_model.features.spec import Batch, FeatureSpec
from vae_model.networks.forward import BLOCK, Forward, Layout
from vae_model.residuals import ResidualDistance

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
class Residuals:
    """What the network makes of a batch."""

    pearson_NR: NDArray[np.float64]
    """Pearson residuals; NaN where missing."""
    squared_NR: NDArray[np.float64]
    """Squared residuals in units of the column's training variance; NaN where missing."""
    mean_NF: NDArray[np.float32]
    """The expected value of each unit, standardised."""
    likeliest_NC: NDArray[np.intp]
    """The likeliest slot of each category."""


@dataclass(frozen=True)
class ResidualModel:
    """The fitted spec and network: encoded rows to residuals."""

    spec: FeatureSpec
    forward: Forward
    training_rows: int

    @property
    def rarest(self) -> float:
        """Odds against something never seen in n training rows, n + 1 to 1 (the rule of succession).

        No seen category is ever held for rarer than an unseen one.
        """
        return self.training_rows + 1

    @cached_property
    def constant_F(self) -> NDArray[np.bool_]:
        """Which units never varied in training."""
        return np.asarray(self.spec.scale_F == 0)

    @cached_property
    def constant_R(self) -> NDArray[np.bool_]:
        """Which residuals never varied in training."""
        single = [feature.gini == 0 for feature in self.spec.categorical]
        return np.concatenate([self.constant_F, np.array(single, dtype=bool)])

    def __call__(self, batch: Batch) -> Residuals:
        """Residuals of at most ``BLOCK`` encoded rows."""
        vary_F = ~self.constant_F
        units = len(vary_F)
        x_NV = batch.x_NF if vary_F.all() else batch.x_NF[:, vary_F]
        expected_NV, log_probabilities = self.forward(x_NV, batch.codes_NC)
        sigma_V = np.exp(0.5 * self.forward.log_variance_V.astype(np.float64))
        difference_NV = np.subtract(x_NV, expected_NV, dtype=np.float64)
        if vary_F.all() and not self.spec.categorical:  # nothing but numbers: no need to put parts together
            empty = np.empty(batch.codes_NC.shape, dtype=np.intp)
            return Residuals(difference_NV / sigma_V, difference_NV**2, expected_NV, empty)

        pearson, squared = np.empty((2, len(batch), len(self.constant_R)))
        pearson[:, :units][:, vary_F] = difference_NV / sigma_V
        squared[:, :units][:, vary_F] = difference_NV**2
        # A constant column is encoded as 0 where equal to its constant, 1 where not, NaN where missing. Something
        # with a chance of 1 / (n + 1) has deviation 1 / sqrt(n + 1): the limit of a column that hardly ever varies.
        flag = batch.x_NF[:, self.constant_F]
        pearson[:, :units][:, self.constant_F] = flag * math.sqrt(self.rarest)
        squared[:, :units][:, self.constant_F] = flag

        rows = np.arange(len(batch))
        likeliest_NC = np.empty(batch.codes_NC.shape, dtype=np.intp)
        for c, (feature, log_p) in enumerate(zip(self.spec.categorical, log_probabilities, strict=True)):
            code = batch.codes_NC[:, c]
            own = log_p[rows, code].astype(np.float64)
            odds = np.where(batch.unseen_NC[:, c], np.inf, np.expm1(np.minimum(-own, 700)))
            p = np.exp(log_p)
            brier = 1 - 2 * np.where(batch.unseen_NC[:, c], 0, np.exp(own)) + (p * p).sum(axis=1)
            missing = code < 0
            pearson[:, units + c] = np.where(missing, np.nan, np.sqrt(np.clip(odds, 0, self.rarest)))
            squared[:, units + c] = np.where(missing, np.nan, brier / max(feature.gini, 1 / self.training_rows))
            likeliest_NC[:, c] = log_p.argmax(axis=1)

        mean_NF = np.zeros((len(batch), units), dtype=np.float32)
        mean_NF[:, vary_F] = expected_NV
        return Residuals(pearson, squared, mean_NF, likeliest_NC)

    def blocks(self, batch: Batch) -> list[Residuals]:
        """Residuals of any number of encoded rows, block by block."""
        return [
            self(Batch(*(part[start : start + BLOCK] for part in vars(batch).values())))
            for start in range(0, len(batch), BLOCK)
        ]


@dataclass(frozen=True)
class Scorer:
    """Everything needed to score a row. Built once a worker, then a pure function of arrays."""

    model: ResidualModel
    distance: ResidualDistance
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
        model = ResidualModel(spec, Forward.from_arrays(layout(spec), arrays), int(header["training"]["rows"]))
        calibration = Calibration(
            arrays["calibration_scores"], decision.get("false_alarm_rate", 1.0), decision.get("threshold")
        )
        distance = ResidualDistance.from_arrays(arrays)
        name = f"{header['config']['name']}@{header['sha256'][:12]}"
        return cls(model, distance, calibration, name, decision["reasons"], decision["max_missing"])

    @property
    def names(self) -> list[str]:
        """The source columns, in the order a call takes them."""
        return self.model.spec.names

    def __call__(self, arrays: Sequence[pa.Array]) -> pa.StructArray:
        """Score one Arrow array a feature column: a struct of the ``COMPUTED`` columns, a row for each row."""
        rows = len(arrays[0])
        if rows == 0:
            return pa.array([], pa.struct(list(COMPUTED)))
        blocks = [self._block([a.slice(start, BLOCK) for a in arrays]) for start in range(0, rows, BLOCK)]
        return blocks[0] if len(blocks) == 1 else pa.concat_arrays(blocks)

    def _block(self, arrays: list[pa.Array]) -> pa.StructArray:
        batch = self.model.spec.encode(arrays)
        residuals = self.model(batch)
        parts_NR = self.distance.parts(residuals.pearson_NR)
        score, error = parts_NR.mean(axis=1), reconstruction_error(self.model.spec, residuals.squared_NR)
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
                self.model.spec,
                arrays,
                np.flatnonzero(flagged),
                parts_NR,
                np.isnan(residuals.pearson_NR),
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


def layout(spec: FeatureSpec) -> Layout:
    """The network's layout for a spec: constants stay outside it."""
    return Layout(int(np.sum(spec.scale_F != 0)), tuple(f.slots + 1 for f in spec.categorical))


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

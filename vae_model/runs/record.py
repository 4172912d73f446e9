"""The record of a run: what was scored, when, by which model, from which version of the source."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self, get_args

import pyarrow as pa

from vae_model.drift.finding import ColumnDrift
from vae_model.places import marks

Status = Literal["running", "succeeded", "skipped", "gated", "failed"]
SILENT = 600.0
"""Seconds without a heartbeat after which a run of another machine is taken for dead."""


@dataclass(frozen=True)
class Stage:
    """A part of a run: its name, how long it took, and how many rows went through it."""

    stage: str
    seconds: float
    rows: int | None = None
    rows_per_second: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """One run. A field that is not known, or not known yet, is None."""

    run_id: str
    """The scheduler's, or derived from what the run reads and does."""
    name: str
    """The config's ``name``."""
    command: str
    """train, score or run."""
    status: Status = "running"
    """``skipped``: there was nothing to score. ``gated``: a gate said no."""
    message: str | None = None
    """Why the run was skipped, gated or failed."""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    heartbeat: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the run last said that it is alive."""
    host: str = field(default_factory=platform.node)
    process: str = field(default_factory=marks.new)
    """The process that runs it, by which it is told whether it is still there."""
    config_digest: str | None = None
    decision_digest: str | None = None
    model: str | None = None
    """Name and first digits of the model's digest, as in the column ``anomaly_model``."""
    model_digest: str | None = None
    source: str | None = None
    source_version: str | None = None
    """Of a Delta table its version; of files a digest of their names, sizes and times."""
    slice: str | None = None
    """Which rows of the source: the predicate, and what an incremental run took."""
    output: str | None = None
    mode: str | None = None
    rows_read: int | None = None
    rows_scored: int | None = None
    """Rows that have a score. The others have an ``anomaly_status`` that says why."""
    statuses: dict[str, int] | None = None
    """Rows by ``anomaly_status``."""
    anomalies: int | None = None
    alerts: int | None = None
    """Rows that the run has in the alerts table."""
    alerts_output: str | None = None
    """The alerts table."""
    threshold: float | None = None
    """The score beyond which rows were flagged, times the level of their segment where ``decision.by`` has some. Of a
    training, as of the three below, what its own decision would flag of the source."""
    effective_rate: float | None = None
    """The share of normal rows that the threshold flags, as expected from the held-out rows."""
    finest_rate: float | None = None
    """The smallest false-alarm rate that the held-out rows support."""
    expected_alerts: float | None = None
    """So many of the rows that have a score would be flagged, were they all normal."""
    drift: list[ColumnDrift] | None = None
    """The run's columns beside those of the sample that the model learnt from, those that moved most first."""
    drift_rows: int | None = None
    """Rows that were held against the sample: all of the run, or so many of them."""
    drift_small: bool | None = None
    """Whether these are too few to tell a shift from chance."""
    largest_drift: float | None = None
    """The largest population stability index of a column that is beyond chance; 0 where none is."""
    p_value_distance: float | None = None
    """By how much the distribution of the run's p-values is above an even one, beyond its tail (``drift.p_values``)."""
    p_values_moved: bool | None = None
    """Whether that is beyond chance, and more than a small distance."""
    gate: str | None = None
    """The gate that said no, by its key: ``gates.max_drift``, ``train.accept_if.max_score_loss``."""
    gate_limit: float | None = None
    gate_found: float | None = None
    """What was found where the gate has its limit; None where nothing could be compared."""
    rejected: str | None = None
    """Where the rows are that the gate kept from the output."""
    stages: list[Stage] = field(default_factory=list)
    engine: str | None = None
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether it only trains a model. By one id a scheduler may train and score."""
        return self.command == "train"

    @property
    def is_alive(self) -> bool:
        """Whether the run goes on: it has not ended, and neither has its process as far as can be told."""
        return self.status == "running" and not marks.is_dead(self.process, self.heartbeat.timestamp(), SILENT)

    @property
    def seconds(self) -> float | None:
        """From start to end."""
        return (self.ended - self.started).total_seconds() if self.ended else None

    def ending(self, status: Status, message: str | None = None) -> Self:
        """The same run, ended now."""
        now = datetime.now(UTC)
        return replace(self, status=status, message=message, ended=now, heartbeat=now)

    def to_json(self) -> dict[str, Any]:
        """As values that JSON has; times in ISO 8601, UTC."""
        values = asdict(self)
        return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}

    def _repr_html_(self) -> str:
        """As a notebook shows it."""
        from vae_model.runs.shown import html

        return html(self)

    def to_arrow(self) -> pa.Table:
        """As a table of one row."""
        values = asdict(self)
        return pa.Table.from_pylist([{name: _as_items(value) for name, value in values.items()}], SCHEMA)

    def to_row(self) -> tuple[Any, ...]:
        """As a row of a runs table: exactly the types of ``SCHEMA``, for Spark takes no 5 for 5.0."""
        (typed,) = self.to_arrow().to_pylist()
        return tuple(dict(value) if name in _MAPS and value is not None else value for name, value in typed.items())

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """From a row of a runs table, which others may have written. Columns of later versions are passed over; raises
        ValueError or TypeError for what is no record.
        """
        known = {name: _as_items(row[name]) for name in SCHEMA.names if name in row}
        (typed,) = pa.Table.from_pylist([known], SCHEMA).to_pylist()
        values: dict[str, Any] = {name: value for name, value in typed.items() if value is not None}
        values |= {name: dict(values[name]) for name in _MAPS if name in values}
        if not {"run_id", "name", "command", "status", "started", "heartbeat", "process"} <= values.keys():
            raise ValueError("a column that each record has is missing")
        if values["status"] not in get_args(Status) or not re.fullmatch(marks.MARK, values["process"]):
            raise ValueError("its status or its process is none")
        times: dict[str, Any] = {
            name: values[name].astimezone(UTC) for name in ("started", "ended", "heartbeat") if name in values
        }
        stages = [Stage(**stage) for stage in values.get("stages", [])]
        drift = [ColumnDrift(**one) for one in values["drift"]] if "drift" in values else None
        return cls(**(values | times | {"stages": stages, "drift": drift}))


def _as_items(value: Any) -> Any:
    """A map as Arrow takes it: a list of pairs."""
    return list(value.items()) if isinstance(value, dict) else value


_MAPS = ("statuses", "versions")
_TIME = pa.timestamp("us", "UTC")
_STAGE = pa.struct(
    [("stage", pa.string()), ("seconds", pa.float64()), ("rows", pa.int64()), ("rows_per_second", pa.float64())]
)
_DRIFT_TYPES = {
    **dict.fromkeys(("column", "moved"), pa.string()),
    "shares": pa.list_(pa.float64()),
}
_DRIFT = pa.struct([(one.name, _DRIFT_TYPES.get(one.name, pa.float64())) for one in fields(ColumnDrift)])
_TYPES: dict[str, pa.DataType] = {
    "started": _TIME,
    "ended": _TIME,
    "heartbeat": _TIME,
    "rows_read": pa.int64(),
    "rows_scored": pa.int64(),
    "statuses": pa.map_(pa.string(), pa.int64()),
    "anomalies": pa.int64(),
    "alerts": pa.int64(),
    "threshold": pa.float64(),
    **dict.fromkeys(("effective_rate", "finest_rate", "expected_alerts"), pa.float64()),
    "drift": pa.list_(_DRIFT),
    "drift_rows": pa.int64(),
    **dict.fromkeys(("largest_drift", "p_value_distance", "gate_limit", "gate_found"), pa.float64()),
    **dict.fromkeys(("drift_small", "p_values_moved"), pa.bool_()),
    "stages": pa.list_(_STAGE),
    "versions": pa.map_(pa.string(), pa.string()),
}
SCHEMA = pa.schema([(one.name, _TYPES.get(one.name, pa.string())) for one in fields(RunRecord)])
"""The columns of a runs table."""

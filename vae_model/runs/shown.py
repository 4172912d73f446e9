"""The record of a run as a notebook shows it. Every name and value in it is text, whatever it holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vae_model.places import credentials
from vae_model.printable import html_table

if TYPE_CHECKING:
    from vae_model.runs.record import RunRecord

MOVED = 5
"""Columns that have moved and are told; the record has all."""


def html(record: RunRecord) -> str:
    """What is known of a run, a line each."""
    return html_table((name, credentials.redact(str(value))) for name, value in _pairs(record) if value)


def _pairs(record: RunRecord) -> Iterator[tuple[str, str | None]]:
    is_gone = record.status == "running" and not record.is_alive
    yield "run", record.run_id
    yield "status", "running, but gone" if is_gone else record.status
    if record.status != "succeeded":
        yield "message", record.message
    if record.gate is not None:
        found = "not known" if record.gate_found is None else f"{record.gate_found:.6g}"
        limit = "" if record.gate_limit is None else f", the limit is {record.gate_limit:.6g}"
        yield "gate", f"{record.gate}: found {found}{limit}"
    yield "command", record.command
    yield "source", record.source
    yield "slice", record.slice
    yield "rows", _rows(record)
    yield "flagged", _flagged(record)
    if record.statuses:
        yield "status of rows", ", ".join(f"{count:,} {name}" for name, count in record.statuses.items())
    yield "drift", _drift(record)
    yield "model", record.model
    yield "output", record.output and f"{record.output} ({record.mode})"
    if record.alerts_output is not None:
        yield "alerts", f"{record.alerts or 0:,} in {record.alerts_output}"
    yield "rejected rows", record.rejected
    yield (
        "time",
        ", ".join(
            [f"{record.started:%Y-%m-%d %H:%M:%S} UTC", *([f"{record.seconds:.1f} s in all"] if record.seconds else [])]
            + [f"{one.stage} {one.seconds:.1f} s" for one in record.stages]
        ),
    )
    yield "engine", record.engine


def _rows(record: RunRecord) -> str | None:
    if record.rows_read is None:
        return None
    scored = "" if record.rows_scored is None else f", {record.rows_scored:,} with a score"
    return f"{record.rows_read:,}{scored}"


def _flagged(record: RunRecord) -> str | None:
    """Rows that were flagged, of how many, and how many were to be expected."""
    if record.anomalies is None:
        return None
    share = f" ({record.anomalies / record.rows_read:.3%})" if record.rows_read else ""
    expected = "" if record.expected_alerts is None else f"; {record.expected_alerts:,.1f} expected if all were normal"
    return f"{record.anomalies:,}{share}{expected}"


def _drift(record: RunRecord) -> str | None:
    if record.drift is None:
        return None
    moved = [one.moved for one in record.drift if one.moved is not None]
    told = f"{len(moved):,} of {len(record.drift):,} columns have moved since training"
    more = f"; and {len(moved) - MOVED:,} more" if len(moved) > MOVED else ""
    return told + (f": {'; '.join(moved[:MOVED])}{more}" if moved else "")

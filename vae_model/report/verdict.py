"""What came of a run, in a few sentences and figures: the head of the page."""

from __future__ import annotations

from collections.abc import Iterator

from vae_model.decisions.calibration import Alerts
from vae_model.report.facts import Facts
from vae_model.report.words import SENTENCE, count, figure, percent, rows, short
from vae_model.runs.record import RunRecord

STATUS = {
    "succeeded": ("good", "✓ succeeded"),
    "skipped": ("plain", "– nothing to score"),
    "gated": ("bad", "■ stopped by a gate"),
    "failed": ("bad", "✕ failed"),
    "running": ("plain", "… running"),
    "gone": ("bad", "✕ running, but gone"),
}
"""A tone and words for each status; the signs are for those who do not tell the colours apart."""

FEW = "The run, or the sample, has few rows: only a large shift can be told from chance."


def status(record: RunRecord) -> tuple[str, str]:
    """The tone and the words of a run's status."""
    is_gone = record.status == "running" and not record.is_alive
    return STATUS["gone" if is_gone else record.status]


def expected(facts: Facts) -> Alerts | None:
    """How many flagged rows to expect, where the model that decided is known."""
    scored = facts.record.rows_scored
    if facts.model is None or not scored or "decision" in facts.lacks:
        return None
    return facts.model.calibration.alerts(scored)


def sentences(facts: Facts) -> Iterator[str]:
    """What a reader wants to know first."""
    record = facts.record
    if record.status == "gated":
        found = f"found {figure(record.gate_found)}, the limit is {figure(record.gate_limit)}"
        gate = record.gate or ""
        kept = "the new model from use" if gate.startswith("train.") else "the rows from being published"
        yield f"The gate {short(gate)} kept {kept}: {found}."
    if record.status in ("gated", "failed", "skipped") and record.message:
        yield short(" ".join(record.message.split()), SENTENCE)
    if record.status == "running":
        yield "The run goes on." if record.is_alive else "The run has not said how it ended: its process is gone."
    if record.trains:
        if record.status == "succeeded":
            yield f"The model {short(record.model or '')} was trained on {short(record.source or '')}."
        return
    if record.rows_read is not None:
        yield _flagged(facts)
    if record.drift is not None:
        yield _drift(record)
    if record.p_values_moved:
        yield "Rows score higher than the held-out rows did, and not anomalies alone: the data may not be what it was."


def tiles(record: RunRecord) -> list[tuple[str, str]]:
    """Figures at the head of the page."""
    found = [("rows", record.rows_read), ("with a score", record.rows_scored), ("flagged", record.anomalies)]
    found += [("alerts", record.alerts)] if record.alerts is not None else []
    told = [(count(number), name) for name, number in found if number is not None]
    if record.anomalies is not None and record.rows_read:
        told.append((percent(record.anomalies / record.rows_read), "of the rows are flagged"))
    if record.drift is not None:
        moved = sum(one.moved is not None for one in record.drift)
        told.append((count(moved), "column has moved" if moved == 1 else "columns have moved"))
    return [*told, (f"{record.seconds:,.1f} s", "from start to end")] if record.seconds is not None else told


def _flagged(facts: Facts) -> str:
    record = facts.record
    if not record.rows_read:
        return "The run had no row."
    flagged = (
        "none is" if record.anomalies == 0 else "1 is" if record.anomalies == 1 else f"{count(record.anomalies)} are"
    )
    of = f"Of {rows(record.rows_read)} {flagged} flagged"
    alerts = expected(facts)
    if alerts is None:
        plain = record.expected_alerts
        return f"{of}{'' if plain is None else f'; {plain:,.1f} were to be expected were all of them normal'}."
    found = record.anomalies or 0
    if found > alerts.high:
        said = "that is more than chance explains: anomalies are among them, or the data has changed"
    elif found < alerts.low:
        said = "that is fewer than chance explains: the rows are more ordinary than the held-out ones"
    else:
        said = "chance explains as many, so look at the highest scores and not at the number"
    return f"{of}. Were all of them normal, {alerts.between} were to be expected: {said}."


def _drift(record: RunRecord) -> str:
    moved = [one for one in record.drift or () if one.moved]
    small = f" {FEW}" if record.drift_small else ""
    if not moved:
        return f"No column has moved since training.{small}"
    named = "; ".join(short(one.moved or "") for one in moved[:3])
    more = f" and {len(moved) - 3:,} more" if len(moved) > 3 else ""
    have = "column has" if len(record.drift or ()) == 1 else "columns have"
    return f"{len(moved):,} of {len(record.drift or ()):,} {have} moved since training: {named}{more}.{small}"

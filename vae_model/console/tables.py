"""Tables of what a person is shown: features, rows, runs, versions of a model."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from vae_model.errors import VaeAnomalyError
from vae_model.printable import printable

if TYPE_CHECKING:
    from vae_model.detector import Detector
    from vae_model.runs.record import RunRecord
    from vae_model.scoring.segments import Segments
    from vae_model.spark.sinks.summary import Summary


def version_row(detector: Detector | VaeAnomalyError) -> dict[str, Any]:
    """What a version says of itself, or why it cannot."""
    if isinstance(detector, VaeAnomalyError):
        return {"error": detector.problem}
    training, rule = detector.header["training"], detector.scorer.rule
    by_rate = f"false_alarm_rate {rule.false_alarm_rate:g}"
    if rule.expected_alerts:
        by_rate = "expected_alerts {:g} in {:,}".format(*rule.expected_alerts)
    if rule.by:
        by_rate += f" by {', '.join(rule.by)}"
    return {
        "model": detector.scorer.name,
        "rows": training["rows"] - training["trimmed"],
        "calibration_rows": training["calibration_rows"],
        "decision": by_rate if rule.threshold is None else f"threshold {rule.threshold:g}",
    }


def cell(value: object) -> str:
    """A value of a list as a person reads it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def _run(record: RunRecord) -> list[str]:
    """The cells of a run's line."""
    status = "running, but gone" if record.status == "running" and not record.is_alive else record.status
    started = f"{record.started:%Y-%m-%d %H:%M:%S}"
    numbers = ("" if number is None else f"{number:,}" for number in (record.rows_read, record.anomalies))
    seconds = f"{record.seconds:.1f}" if record.seconds else ""
    first = (started, record.run_id, record.command, status, *numbers)
    return [one or "" for one in (*first, record.model, record.source_version, record.slice, seconds)]


def table(headers: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> Table:
    """A table of any cells. Its left edge keeps what is folded within a cell from standing where a line begins."""
    made = Table(title=None if title is None else Text(printable(title)), title_justify="left", box=None)
    for header in headers:
        made.add_column(Text(printable(header)), overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def spec_table(detector: Detector) -> Table:
    """A line for each column: what it is to the model, and what was fitted."""
    spec = detector.spec
    rows = [(f.name, f.kind, f.family, said) for f, said in spec.described()]
    rows += [(name, "-", "-", f"not used: {reason}") for name, reason in spec.unused.items()]
    return table(("feature", "kind", "type", "fitted"), rows, "Features")


def segments_table(segments: Segments) -> Table:
    """A line for each segment: its values, how many held-out rows it has, what its scores are divided by."""
    rows = [
        (*("null" if value is None else value for value in own), f"{count:,}", f"{level:.4g}")
        for own, count, level in zip(segments.values, segments.rows_S, segments.level_S, strict=True)
    ]
    return table((*segments.by, "held-out rows", "level"), rows, "Segments")


def top_table(summary: Summary, full: bool) -> Table:
    """A line for each of the highest-scoring rows, with more reasons where there is room (``full``)."""
    rows = []
    for row in summary.top:
        reasons = "; ".join(
            f"{r.feature} {r.observed} ({r.expected}) {r.share:.0%}" for r in row.reasons[: 3 if full else 2]
        )
        rows.append((*row.key.values(), f"{row.score:,.2f}", "yes" if row.is_anomaly else "no", reasons))
    return table((*summary.top[0].key, "score", "flagged", "reasons: observed (expected), share of the score"), rows)


def runs_table(records: Iterable[RunRecord]) -> Table:
    """A line for each run."""
    columns = (
        "started (UTC)", "run", "command", "status", "rows", "anomalies", "model", "source version", "slice", "seconds",
    )  # fmt: skip
    return table(columns, map(_run, records))


def models_table(rows: Iterable[dict[str, Any]], title: str) -> Table:
    """A line for each version of a model."""
    names = ("number", "use", "model", "written", "rows", "decision", "file")
    heads = ("version", "in use", "model", "written (UTC)", "trained on", "decision of training", "file")
    return table(heads, [[cell(row.get(name)) for name in names] for row in rows], title)

"""What a person sees: log lines, training progress, the summary of a run, a model's description. Or JSON lines.

Names, values and words of others pass through ``printable`` here, at the one place where all of them are shown: in the
log's formatters, in ``Reporter.line`` and in ``_table``.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vae_model.errors import VaeAnomalyError
from vae_model.places import files
from vae_model.printable import printable

if TYPE_CHECKING:
    from vae_model.detector import Detector
    from vae_model.runs.record import RunRecord
    from vae_model.runs.versions import Version, Versions
    from vae_model.spark.sinks.summary import Summary
    from vae_model.training.loop import TrainingProgress

log = logging.getLogger(__name__)

PYSPARK_LOGS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
"""Where pyspark writes what an engine says of a query, as it is and to standard error. Our errors tell it."""
LOG_WIDTH = 150
"""Columns of a table in a log, where there is no terminal to ask."""


class LogFormat(StrEnum):
    """Format of the log's lines."""

    auto = "auto"
    plain = "plain"
    json = "json"


class _Lines(logging.Formatter):
    """A record is one line, whatever its message holds; a traceback stands below it, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).splitlines())


class _JsonLines(logging.Formatter):
    """A record is one JSON object in ASCII letters: its message is for people, its data are as they were."""

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage())
        fields = {"time": self.formatTime(record), "level": record.levelname, "message": message}
        text = json.dumps({**fields, **getattr(record, "data", {})}, default=str)
        return json.dumps(json.loads(text, parse_constant=str))  # NaN is no JSON: it is told as text


class _LogLines:
    """Progress as lines: each fifth of the training once, tasks every ``QUIET`` seconds."""

    QUIET = 10

    def __init__(self) -> None:
        self._started = self._spoke = time.monotonic()
        self._fifths = 0

    def step(self, step: TrainingProgress) -> None:
        """Training is at this step."""
        fifths = 5 * step.step // step.steps
        if fifths > self._fifths:
            self._fifths = fifths
            log.info(
                "Training: step %d of %d, loss %.3f, %.0f s left", step.step, step.steps, step.loss, step.seconds_left
            )

    def tasks(self, what: str, done: int, total: int) -> None:
        """The engine has done so many tasks."""
        now = time.monotonic()
        if now - self._spoke >= self.QUIET:
            self._spoke = now
            state = f"{done} of {total} tasks, " if total else ""
            log.info("%s: %s%.0f s so far", what, state, now - self._started)


class Display:
    """Progress as bars, one for each thing that is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._ids: dict[str, TaskID] = {}

    def step(self, step: TrainingProgress) -> None:
        """Training is at this step."""
        state = f"loss {step.loss:.3f}, {step.seconds_left:.0f} s left"
        self._draw("Training", step.step, step.steps, state)

    def tasks(self, what: str, done: int, total: int) -> None:
        """The engine has done so many tasks."""
        self._draw(what, done, total, f"{done} of {total} tasks" if total else "")

    def _draw(self, what: str, done: int, total: int, state: str) -> None:
        if what not in self._ids:
            self._ids[what] = self._bars.add_task(printable(what), total=None, state="")
        self._bars.update(self._ids[what], completed=done, total=total or None, state=state)


class Reporter:
    """Log lines go to stderr; what was asked for goes to stdout, and a run's record to a file too, if one is named."""

    def __init__(self, format_: LogFormat, result: str | None = None) -> None:
        self._result = result
        self._has_ended = False
        self.json = format_ is LogFormat.json
        self.rich = format_ is LogFormat.auto and sys.stderr.isatty()
        width = None if sys.stdout.isatty() else LOG_WIDTH
        self.out = Console(highlight=False, soft_wrap=width is not None, width=width)
        self.err = Console(stderr=True, highlight=False)
        handler: logging.Handler
        if self.rich:
            handler = RichHandler(console=self.err, show_path=False, show_time=False, markup=False)
            handler.setFormatter(_Lines("%(message)s"))
        else:
            handler = logging.StreamHandler()
            line = _Lines("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
            handler.setFormatter(_JsonLines() if self.json else line)
        root = logging.getLogger("vae_model")
        root.handlers[:], root.propagate = [handler], False
        root.setLevel(logging.INFO)
        for name in PYSPARK_LOGS:
            logging.getLogger(name).disabled = True

    def line(self, text: object = "") -> None:
        """One line to stdout, whatever the text holds."""
        self.out.print(Text(printable(text)))

    @contextmanager
    def progress(self) -> Iterator[Display | _LogLines]:
        """What to tell of training steps and of an engine's tasks: bars on a terminal, a line now and then in a log."""
        if not self.rich:
            yield _LogLines()
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.err, transient=True) as bars:
            yield Display(bars)

    def trained(self, detector: Detector) -> None:
        """The fitted spec and how training went."""
        if self.json:
            calibration = detector.calibration
            decision = {name: getattr(calibration, name) for name in ("cut", "resulting_rate", "finest_rate")}
            own = {"model": detector.scorer.name, **decision, **detector.header["training"]}
            log.info("Trained", extra={"data": own})
            return
        self.out.print(_spec_table(detector))
        summary = detector.header["training"]
        without = f" ({summary['trimmed']:,} far from most others left out)" if summary["trimmed"] else ""
        self.line(
            f"Trained on {_counted(summary['rows'] - summary['trimmed'], 'row')}{without} "
            f"in {_counted(summary['steps'], 'step')}: "
            f"{', '.join(map(_member, summary['members']))}."
        )
        self.line(f"Decision: {detector.calibration.describe()}.")
        self.line()

    @contextmanager
    def recording(self, command: str, run_id: str | None) -> Iterator[None]:
        """Around a run: where it ends before it has a record, what went wrong becomes one.

        Raises OutputError, before any work, where the file that is to have the record cannot be written.
        """
        if self._result is not None:
            files.check_writable(self._result)
        try:
            yield
        except VaeAnomalyError as error:
            if not self._has_ended:
                from vae_model.runs.record import RunRecord  # brings pyarrow, for which --help need not wait

                self.ended(RunRecord(run_id or "", "", command).ending("failed", str(error)), None)
            if self.json:  # the record has said it, and is to be the last line
                raise SystemExit(error.exit_code) from None
            raise

    def ended(self, record: RunRecord, summary: Summary | None) -> None:
        """What a run did, by its record, the top ten rows with their reasons, and SQL to look at the output."""
        self._has_ended = True
        if self._result is not None:
            files.put(self._result, (json.dumps(record.to_json(), indent=2, ensure_ascii=False) + "\n").encode())
        if self.json:
            if summary is not None:
                log.info("Scored", extra={"data": asdict(summary)})
            told = {name: value for name, value in record.to_json().items() if name != "message" or value}
            level = logging.ERROR if record.status == "failed" else logging.INFO
            log.log(level, "Run %s", record.status, extra={"data": told})
            return
        if record.status == "succeeded" and record.command != "train":
            self._scored(record, summary)

    def _scored(self, record: RunRecord, summary: Summary | None) -> None:
        if summary is not None:
            statuses = ", ".join(f"{count:,} {status}" for status, count in (record.statuses or {}).items())
            self.line(
                f"Scored {_counted(summary.rows, 'row')}: {_counted(summary.anomalies, 'anomaly', 'anomalies')} "
                f"({summary.rate:.3%}). Status: {statuses}."
            )
            self.line(f"Decision: {summary.decision}.")
            if not summary.anomalies:
                self.line(_why_none(summary))
            if summary.top:
                self.line()
                many = len(summary.top) > 1
                self.line(f"The {len(summary.top)} highest scores:" if many else "The highest score:")
                self.out.print(_top_table(summary, full=not sys.stdout.isatty()))
            self.line()
        self.line(f"Output: {record.output}")
        self.line(f"Run:    {record.run_id}")
        if summary is not None:
            self.line(f"SQL:    {summary.sql}")
            if printable(summary.sql) != summary.sql:
                self.line("        (escapes stand for letters that cannot be shown: it does not run as it stands)")

    def runs(self, records: Sequence[RunRecord], as_json: bool) -> None:
        """The records of runs: a table, or a line of JSON each."""
        if as_json:
            for record in records:
                sys.stdout.write(json.dumps(record.to_json()) + "\n")
            return
        if not records:
            self.line("No run yet.")
            return
        columns = (
            "started (UTC)",
            "run",
            "command",
            "status",
            "rows",
            "anomalies",
            "model",
            "source version",
            "slice",
            "seconds",
        )
        self.out.print(_table(columns, map(_run_cells, records)))
        for record in records:
            if record.message and record.status != "succeeded":
                self.line(f"{record.run_id}: {record.message.splitlines()[0]}")

    def model(self, detector: Detector) -> None:
        """All that a model file says of itself."""
        header, calibration = detector.header, detector.calibration
        self.line(f"Model {detector.scorer.name}, format version {header['format_version']}")
        self.line(f"SHA-256 {header['sha256']}")
        self.line()
        self.out.print(_spec_table(detector))
        for note in detector.warnings:
            self.line(f"Note: {note}")
        training = {key: value for key, value in header["training"].items() if key != "set_aside"}  # a note tells it
        for title, values in (("Training", training), ("Versions", header["versions"])):
            self.line(f"{title}: " + ", ".join(f"{key} {_shown(value)}" for key, value in values.items()))
        self.line(f"Decision: {calibration.describe()}")
        self.line("Config:")
        for line in json.dumps(header["config"], indent=2, ensure_ascii=False).split("\n"):
            self.line(line)

    def models(self, kept: Versions, found: list[tuple[Version, Detector | VaeAnomalyError]], as_json: bool) -> None:
        """The versions of a model, the newest first: which is in use, since when and why, and what each was made of."""
        current, previous = kept.current(), kept.previous()
        uses = {"current": current and current.version, "previous": previous and previous.version}
        rows = [
            {
                "use": next((use for use, used in uses.items() if used == version), None),
                "number": version.number,
                "file": version.file,
                "written": kept.written(version),
                **_version(detector),
            }
            for version, detector in reversed(found)
        ]
        if as_json:
            own = current.model_dump(exclude={"previous"}) if current else None
            document = {"folder": kept.folder, "current": own, "versions": rows}
            self.out.print(Text(json.dumps(document, indent=2, default=datetime.isoformat)), soft_wrap=True)
            return
        if not rows:
            self.line(
                f"No version of the model in {kept.folder} yet. `vae-anomaly train --config FILE` writes the first."
            )
            return
        names = ("number", "use", "model", "written", "rows", "decision", "file")
        told = [[_cell(row.get(name)) for name in names] for row in rows]
        heads = ("version", "in use", "model", "written (UTC)", "trained on", "decision of training", "file")
        self.out.print(_table(heads, told, f"Versions in {kept.folder}"))
        for row in rows:
            if "error" in row:
                self.line(f"Version {row['number']} cannot be used: {row['error']}")
        if current:
            self.line(f"Current: version {current.number}, since {_cell(current.since)} UTC: {current.by}.")
        else:
            self.line("None is in use: `vae-anomaly models --config FILE --promote VERSION` chooses one.")


def _version(detector: Detector | VaeAnomalyError) -> dict[str, Any]:
    """What a version says of itself, or why it cannot."""
    if isinstance(detector, VaeAnomalyError):
        return {"error": detector.problem}
    training, rule = detector.header["training"], detector.scorer.rule
    by_rate = f"false_alarm_rate {rule.false_alarm_rate:g}"
    return {
        "model": detector.scorer.name,
        "rows": training["rows"] - training["trimmed"],
        "calibration_rows": training["calibration_rows"],
        "decision": by_rate if rule.threshold is None else f"threshold {rule.threshold:g}",
    }


def _cell(value: object) -> str:
    """A value of a list as a person reads it."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def _run_cells(record: RunRecord) -> list[str]:
    status = "running, but gone" if record.status == "running" and not record.is_alive else record.status
    started = f"{record.started:%Y-%m-%d %H:%M:%S}"
    numbers = ("" if number is None else f"{number:,}" for number in (record.rows_read, record.anomalies))
    seconds = f"{record.seconds:.1f}" if record.seconds else ""
    cells = (
        started,
        record.run_id,
        record.command,
        status,
        *numbers,
        record.model,
        record.source_version,
        record.slice,
        seconds,
    )
    return [cell or "" for cell in cells]


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(headers: Iterable[str], rows: Iterable[Iterable[object]], title: str | None = None) -> Table:
    """A table of any cells. Its left edge keeps what is folded within a cell from standing where a line begins."""
    table = Table(title=title, title_justify="left", box=None)
    for header in headers:
        table.add_column(Text(printable(header)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def _spec_table(detector: Detector) -> Table:
    spec = detector.spec
    rows = [(f.name, f.kind, f.family, kind.describe(f)) for f, kind in zip(spec.features, spec.kinds, strict=True)]
    rows += [(name, "-", "-", f"not used: {reason}") for name, reason in spec.unused.items()]
    return _table(("feature", "kind", "type", "fitted"), rows, "Features")


def _why_none(summary: Summary) -> str:
    """Why no row is flagged, and what would flag one."""
    if not summary.top:
        return "No row is flagged: none has a score."
    return (
        f"No row is flagged: the highest score, {summary.top[0].score:,.6g}, is not above the cut of "
        f"{summary.cut:,.6g}. A decision.false_alarm_rate above {summary.resulting_rate:.3g}, or a lower "
        "decision.threshold, flags more; `score` needs no training for it."
    )


def _top_table(summary: Summary, full: bool) -> Table:
    rows = []
    for row in summary.top:
        reasons = "; ".join(
            f"{r.feature} {r.observed} ({r.expected}) {r.share:.0%}" for r in row.reasons[: 3 if full else 2]
        )
        rows.append((*row.key.values(), f"{row.score:,.2f}", "yes" if row.is_anomaly else "no", reasons))
    return _table((*summary.top[0].key, "score", "flagged", "reasons: observed (expected), share of the score"), rows)


def _member(member: dict[str, Any]) -> str:
    if member["kind"] == "codebook":
        return f"a codebook of {member['codes']}"
    return f"a VAE {member['hidden']} with {member['latent']} latent dimensions"

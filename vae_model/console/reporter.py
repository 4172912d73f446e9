"""What a person sees of a command: a model, what a run did or would do, lists of runs and versions. Or JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from vae_model.console import drift, evaluation, logs, progress, tables, what_if
from vae_model.console.logs import LogFormat
from vae_model.errors import NothingToScore, VaeAnomalyError
from vae_model.places import files
from vae_model.printable import printable
from vae_model.report import page

if TYPE_CHECKING:
    from vae_model.console.progress import Bars, LogLines
    from vae_model.detector import Detector
    from vae_model.evaluation.record import Evaluation
    from vae_model.evaluation.what_if import WhatIf
    from vae_model.runs.record import RunRecord, Status
    from vae_model.runs.versions import Version, Versions
    from vae_model.spark.sinks.summary import Summary

log = logging.getLogger(__name__)

LOG_WIDTH = 150
"""Columns of a table in a log, where there is no terminal to ask."""


class Reporter:
    """Log lines go to stderr; what was asked for goes to stdout, and a run's record to a file too, if one is named."""

    def __init__(self, format_: LogFormat, result: str | None = None, page: str | None = None) -> None:
        self._result, self._page = result, page
        self.tell: Callable[[RunRecord], str] = bare_page
        """What makes a page of a run's record: of no more than that, until an engine can look at its rows."""
        self._has_ended = False
        self.json = format_ is LogFormat.json
        self.rich = format_ is LogFormat.auto and sys.stderr.isatty()
        width = None if sys.stdout.isatty() else LOG_WIDTH
        # A command writes to its streams, in a notebook's process too: there rich would show each line in a cell.
        self.out = Console(highlight=False, soft_wrap=width is not None, width=width, force_jupyter=False)
        self.err = Console(stderr=True, highlight=False, force_jupyter=False)
        logs.set_up(format_, self.err if self.rich else None)

    def line(self, text: object = "") -> None:
        """One line to stdout, whatever the text holds."""
        self.out.print(Text(printable(text)))

    def progress(self) -> AbstractContextManager[Bars | LogLines]:
        """What to tell of training steps and of an engine's tasks."""
        return progress.shown(self.err if self.rich else None)

    def trained(self, detector: Detector) -> None:
        """The fitted spec and how training went."""
        if self.json:
            calibration = detector.calibration
            decision = {name: getattr(calibration, name) for name in ("cut", "resulting_rate", "finest_rate")}
            expected = {"expected": asdict(detector.alerts)} if detector.alerts else {}
            own = {"model": detector.scorer.name, **decision, **expected, **detector.header["training"]}
            log.info("Trained", extra={"data": own})
            return
        self.out.print(tables.spec_table(detector))
        summary = detector.header["training"]
        steps = summary["steps"] + sum(own["steps"] for own in summary.get("pictures", ()))
        without = f" ({summary['trimmed']:,} far from most others left out)" if summary["trimmed"] else ""
        self.line(
            f"Trained on {_counted(summary['rows'] - summary['trimmed'], 'row')}{without} "
            f"in {_counted(steps, 'step')}: "
            f"{', '.join(detector.members)}."
        )
        if windows := detector.scorer.windows:
            self.line(f"Windows: {printable(windows.sequence.describe())}.")
        self.line(f"Decision: {detector.calibration.describe()}.")
        if detector.alerts:
            self.line(f"Flagged: {detector.alerts.describe()}, which the source has.")
        self.line()

    @contextmanager
    def recording(self, command: str, run_id: str | None) -> Iterator[None]:
        """Around a run: where it ends before it has a record, what went wrong becomes one.

        Raises OutputError, before any work, where the file that is to have the record cannot be written.
        """
        if self._result is not None:
            files.check_writable(self._result)
        self.check_page()
        try:
            yield
        except VaeAnomalyError as error:
            if not self._has_ended:
                from vae_model.runs.record import RunRecord  # brings pyarrow, for which --help need not wait

                status: Status = "skipped" if isinstance(error, NothingToScore) else "failed"
                self.ended(RunRecord(run_id or "", "", command).ending(status, str(error)), None)
            if self.json:  # the record has said it, and is to be the last line
                raise SystemExit(error.exit_code) from None
            raise

    def ended(self, record: RunRecord, summary: Summary | None) -> None:
        """What a run did, by its record, the top ten rows with their reasons, and SQL to look at the output."""
        self._has_ended = True
        self._put_result(record.to_json())
        is_told = self._told_on_page(record)
        if self.json:
            if summary is not None:
                log.info("Scored", extra={"data": asdict(summary)})
            told = {name: value for name, value in record.to_json().items() if name != "message" or value}
            level = logging.ERROR if record.status == "failed" else logging.INFO
            log.log(level, "Run %s", record.status, extra={"data": told})
            return
        if record.status == "succeeded" and record.command != "train":
            self._scored(record, summary)
        elif record.status == "gated":
            for line in drift.lines(record):
                self.line(line)
        if is_told:
            self.line(f"Report: {self._page}")

    def check_page(self) -> None:
        """Raise OutputError or ConfigError, before any work, where the page cannot be made, or not be written."""
        if self._page is not None:
            page.check()
            files.check_writable(self._page)

    def put_page(self, html: str) -> None:
        """Write a page, and say so."""
        if self._page is not None:
            files.put(self._page, html.encode())
            self.line(f"Report: {self._page}")

    def _told_on_page(self, record: RunRecord) -> bool:
        """Whether there is a page of a run. What the run did is done: where its page fails, that is a warning."""
        if self._page is None:
            return False
        try:
            files.put(self._page, self.tell(record).encode())
        except Exception as error:
            log.warning("The report could not be written to %s: %s", self._page, error)
            return False
        return True

    def _put_result(self, document: dict[str, Any]) -> None:
        if self._result is not None:
            files.put(self._result, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode())

    def _scored(self, record: RunRecord, summary: Summary | None) -> None:
        if summary is not None:
            statuses = ", ".join(f"{count:,} {status}" for status, count in (record.statuses or {}).items())
            self.line(
                f"Scored {_counted(summary.rows, 'row')}: {_counted(summary.anomalies, 'anomaly', 'anomalies')} "
                f"({summary.rate:.3%}). Status: {statuses}."
            )
            self.line(f"Decision: {summary.decision}.")
            self.line(f"Flagged: {summary.expected.describe()}, found {summary.anomalies:,}.")
            if not summary.anomalies:
                self.line(_why_none(summary))
            for line in drift.lines(record):
                self.line(line)
            if summary.top:
                self.line()
                many = len(summary.top) > 1
                self.line(f"The {len(summary.top)} highest scores:" if many else "The highest score:")
                self.out.print(tables.top_table(summary, full=not sys.stdout.isatty()))
            self.line()
        self.line(f"Output: {record.output}")
        if record.alerts_output is not None:
            sql = f": {summary.alerts_sql}" if summary else ""
            self.line(f"Alerts: {record.alerts or 0:,} in {record.alerts_output}{sql}")
        self.line(f"Run:    {record.run_id}")
        if summary is not None:
            self.line(f"SQL:    {summary.sql}")
            if any(printable(sql) != sql for sql in (summary.sql, summary.alerts_sql or "")):
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
        self.out.print(tables.runs_table(records))
        for record in records:
            if record.message and record.status != "succeeded":
                self.line(f"{record.run_id}: {record.message.splitlines()[0]}")

    def evaluation(self, name: str, found: Evaluation, counted: WhatIf | None) -> None:
        """What a model finds, and, where it was counted, what other decisions would flag."""
        document = {"name": name, "command": "evaluate", "status": "succeeded", "evaluation": found.to_json()}
        document |= {"what_if": counted.to_json()} if counted else {}
        self._put_result(document)
        if self.json:
            log.info("Evaluated", extra={"data": document})
            return
        for part in evaluation.parts(found):
            if isinstance(part, str):
                self.line(part)
            else:
                self.out.print(part)
        if counted:
            self.line()
            self.what_if(counted)

    def what_if(self, found: WhatIf) -> None:
        """What other decisions would flag: a line for each, and one for each of the noisiest segments."""
        for line in what_if.introduction(found):
            self.line(line)
        self.line()
        self.out.print(what_if.cuts_table(found))
        for line in what_if.LEGEND:
            self.line(line)
        if found.segments:
            self.line()
            self.out.print(what_if.segments_table(found))
        for note in found.subject.notes:
            self.line(f"Note: {note}.")

    def model(self, detector: Detector) -> None:
        """All that a model file says of itself."""
        header, calibration = detector.header, detector.calibration
        self.line(f"Model {detector.scorer.name}, format version {header['format_version']}")
        self.line(f"SHA-256 {header['sha256']}")
        self.line()
        self.out.print(tables.spec_table(detector))
        if detector.scorer.segments:
            self.out.print(tables.segments_table(detector.scorer.segments))
        for note in detector.warnings:
            self.line(f"Note: {note}")
        told = ("set_aside", "curve")  # a note tells the one, a report the other
        training = {key: value for key, value in header["training"].items() if key not in told}
        for title, values in (("Training", training), ("Versions", header["versions"])):
            self.line(f"{title}: " + ", ".join(f"{key} {_shown(value)}" for key, value in values.items()))
        if windows := detector.scorer.windows:
            self.line(f"Windows: {printable(windows.sequence.describe())}")
        self.line(f"Decision: {calibration.describe()}")
        if detector.alerts:
            self.line(f"Flagged: {detector.alerts.describe()}, which the source of the training sample had")
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
                **tables.version_row(detector),
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
        self.out.print(tables.models_table(rows, f"Versions in {kept.folder}"))
        for row in rows:
            if "error" in row:
                self.line(f"Version {row['number']} cannot be used: {row['error']}")
        if current:
            self.line(f"Current: version {current.number}, since {tables.cell(current.since)} UTC: {current.by}.")
        else:
            self.line("None is in use: `vae-anomaly models --config FILE --promote VERSION` chooses one.")


def bare_page(record: RunRecord, command: str = "") -> str:
    """The page of a run that has ended before its rows could be looked at. ``command`` is what does it again."""
    from vae_model.report.facts import Facts

    why = "The run has not come to it."
    return page.page(Facts(record, lacks={"rows": why, "model": why}, command=command))


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _why_none(summary: Summary) -> str:
    """Why no row is flagged, and what would flag one."""
    if not summary.top:
        return "No row is flagged: none has a score."
    above = f"the highest score, {summary.top[0].score:,.6g}, is not above the cut of {summary.cut:,.6g}"
    if summary.is_by_segment:
        above = f"no score is above {summary.cut:,.6g} times the level of its segment"
    return (
        f"No row is flagged: {above}. A decision.false_alarm_rate above {summary.resulting_rate:.3g}, or a lower "
        "decision.threshold, flags more; `score` needs no training for it."
    )

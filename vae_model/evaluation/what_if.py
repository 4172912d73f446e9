"""What other decisions would flag: false-alarm rates, the score that each cuts at, alerts to expect and alerts counted.

To expect are the false alarms among as many normal rows, by the held-out ones (``Calibration``). What is counted beyond
them is what the table holds besides normal rows, or a table that is no longer like the sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, NamedTuple

from vae_model.decisions.calibration import Calibration

RATES = (0.1, *(float(f"{step}e-{power}") for power in range(2, 10) for step in (3, 1)))
"""The false-alarm rates to look at, where the held-out rows support them: 10 %, 3 %, 1 %, …"""
SHOWN = 20
"""Segments that are told one by one."""


class Cut(NamedTuple):
    """A decision that could be taken: a false-alarm rate, or the config's threshold, and what follows from it."""

    rate: float | None
    """As asked for; None of a threshold."""
    effective_rate: float
    """The share of normal rows that it flags, as expected from the held-out rows."""
    score: float
    """Rows that score above this are flagged; of a threshold, rows that score at least this."""
    is_configured: bool = False

    def flags(self, score: Any) -> Any:
        """Whether scores are flagged: an array's, or those of a column of an engine's."""
        return score >= self.score if self.rate is None else score > self.score

    @classmethod
    def of(cls, calibration: Calibration, is_configured: bool = False) -> Cut:
        """The decision that a calibration takes."""
        rate = calibration.false_alarm_rate if calibration.threshold is None else None
        return cls(rate, calibration.resulting_rate, calibration.cut, is_configured)


def ladder(calibration: Calibration) -> list[Cut]:
    """The decisions to look at, the rarest first: rates from the finest that the held-out rows support up to 10 %, and
    the configured decision. Of rates that flag the same rows one is taken, the configured one before others.
    """
    configured = Cut.of(calibration, is_configured=True)
    finest = calibration.finest_rate
    rates = [finest, *(rate for rate in RATES if rate > finest)]
    cuts = {configured.score: configured} if configured.rate is not None else {}
    for rate in rates:
        cut = Cut.of(replace(calibration, false_alarm_rate=rate, threshold=None))
        cuts.setdefault(cut.score, cut)
    found = [*cuts.values(), *([] if configured.rate is not None else [configured])]
    return sorted(found, key=lambda cut: (cut.effective_rate, -cut.score))


class Tally(NamedTuple):
    """Rows of a table or of a part of it: how many, how many of them have a score, and how many each cut flags."""

    rows: int
    scored: int
    alerts: tuple[int, ...]


class Tallies(NamedTuple):
    """What is counted of a table, and of its parts."""

    whole: Tally
    runs: Mapping[str, Tally]
    """By ``anomaly_run``; empty of rows that no run has written."""
    days: Mapping[str, Tally]
    """By date, in UTC; rows without a time are of none."""
    segments: Mapping[tuple[str | None, ...], Tally]
    """By the values of some columns; None is null."""


class Spread(NamedTuple):
    """Alerts of the days or of the runs of a table: to expect of one in the mean, in the median, and the most."""

    expected: float
    median: float
    most: int
    most_in: str


class Estimate(NamedTuple):
    """What a cut would flag."""

    cut: Cut
    expected: float
    alerts: int
    by_run: Spread | None
    """Where the table holds several runs."""
    by_day: Spread | None


class Segment(NamedTuple):
    """What the configured decision flags of the rows that have some values."""

    values: dict[str, str | None]
    rows: int
    expected: float
    alerts: int


@dataclass(frozen=True)
class Subject:
    """What was counted over."""

    model: str
    place: str
    is_output: bool
    """Whether the rows were scored already; else they were for this."""
    time: str | None
    """The column whose days are told."""
    by: tuple[str, ...]
    """The columns whose values make the segments."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WhatIf:
    """The decisions that could be taken, and what each would flag."""

    subject: Subject
    decision: str
    """The configured one, in words."""
    rows: int
    scored: int
    """Rows that have a score: the others are never flagged."""
    runs: int
    days: int
    estimates: list[Estimate]
    """The rarest first."""
    segments: list[Segment]
    """The noisiest first."""

    @classmethod
    def of(cls, subject: Subject, calibration: Calibration, cuts: Sequence[Cut], found: Tallies) -> WhatIf:
        """From what was counted of a ladder of cuts."""
        estimates = [
            Estimate(
                cut,
                found.whole.scored * cut.effective_rate,
                found.whole.alerts[i],
                _spread(found.runs, cut, i) if len(found.runs) > 1 else None,
                _spread(found.days, cut, i) if found.days else None,
            )
            for i, cut in enumerate(cuts)
        ]
        chosen = next(i for i, cut in enumerate(cuts) if cut.is_configured)
        segments = [
            Segment(
                dict(zip(subject.by, values, strict=True)),
                tally.rows,
                tally.scored * cuts[chosen].effective_rate,
                tally.alerts[chosen],
            )
            for values, tally in found.segments.items()
        ]
        segments.sort(key=lambda one: (-one.alerts, one.rows, [value or "" for value in one.values.values()]))
        whole, parts = found.whole, (len(found.runs), len(found.days))
        return cls(subject, calibration.describe(), whole.rows, whole.scored, *parts, estimates, segments)

    def shown(self) -> tuple[list[Segment], Segment | None]:
        """The noisiest segments, and the sum of the others where there are more."""
        first, rest = self.segments[:SHOWN], self.segments[SHOWN:]
        if not rest:
            return first, None
        sums = (sum(one.rows for one in rest), math.fsum(one.expected for one in rest), sum(one.alerts for one in rest))
        return first, Segment({}, *sums)

    def to_json(self) -> dict[str, Any]:
        """As values that JSON has."""
        rows = {"rows": self.rows, "rows_scored": self.scored, "runs": self.runs, "days": self.days}
        cuts = [_plain(one) for one in self.estimates]
        segments = [one._asdict() for one in self.segments]
        return {**asdict(self.subject), "decision": self.decision, **rows, "cuts": cuts, "segments": segments}


def _spread(parts: Mapping[str, Tally], cut: Cut, number: int) -> Spread:
    alerts = {name: tally.alerts[number] for name, tally in parts.items()}
    busiest = min(alerts, key=lambda name: (-alerts[name], name))
    scored = sum(tally.scored for tally in parts.values())
    expected = scored * cut.effective_rate / len(parts)
    return Spread(expected, float(median(alerts.values())), alerts[busiest], busiest)


def _plain(estimate: Estimate) -> dict[str, Any]:
    cut = estimate.cut
    return {
        "rate": cut.rate,
        "effective_rate": cut.effective_rate,
        "cut": cut.score if math.isfinite(cut.score) else None,
        "configured": cut.is_configured,
        "expected": estimate.expected,
        "alerts": estimate.alerts,
        "by_run": estimate.by_run and estimate.by_run._asdict(),
        "by_day": estimate.by_day and estimate.by_day._asdict(),
    }

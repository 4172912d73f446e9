"""Lines and tables of what other decisions would flag."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from vae_model.console.tables import table

if TYPE_CHECKING:
    from vae_model.evaluation.what_if import Cut, Segment, Spread, WhatIf


def introduction(found: WhatIf) -> Iterator[str]:
    """Over which rows it was counted, and the decision as it is."""
    subject = found.subject
    what = "the scored rows of" if subject.is_output else "the rows of"
    how = "" if subject.is_output else ", scored for this and not written"
    yield f"What if: counted over {what} {subject.place}{how}, by {subject.model}."
    parts = [f"{found.rows:,}", f"{found.scored:,} with a score"]
    parts += [f"{found.runs:,} runs"] if found.runs > 1 else []
    parts += [f"{found.days:,} day{'s' if found.days > 1 else ''} of {subject.time} (UTC)"] if found.days else []
    yield f"Rows: {', '.join(parts)}."
    yield f"Decision: {found.decision}."


LEGEND = (
    "*: the decision of the config. rate: a decision.false_alarm_rate. expected: alerts among as many normal rows.",
    "alerts: rows that would be flagged. median, most: over the days, or runs, that have rows.",
)
"""What the columns of the table are."""


def cuts_table(found: WhatIf) -> Table:
    """A line for each decision, the rarest first."""
    by_day, by_run = found.days > 0, found.runs > 1
    heads = ["", "rate", "score above", "expected", "alerts"]
    for one in [*(["a run"] if by_run else []), *(["a day"] if by_day else [])]:
        heads += [f"{one}: expected", "median", "most"]
    rows = []
    for estimate in found.estimates:
        cut = estimate.cut
        row = ["*" if cut.is_configured else "", _rate(cut), f"{cut.score:,.6g}", _amount(estimate.expected)]
        row += [f"{estimate.alerts:,}"]
        for spread in filter(None, (estimate.by_run, estimate.by_day)):
            row += _spread(spread)
        rows.append(row)
    return table(heads, rows)


def segments_table(found: WhatIf) -> Table:
    """A line for each of the noisiest segments, and one for the others."""
    shown, rest = found.shown()
    rows = [[*("(null)" if v is None else v for v in one.values.values()), *_counts(one)] for one in shown]
    if rest is not None:
        filling = [""] * (len(found.subject.by) - 1)
        rows.append([f"({len(found.segments) - len(shown):,} others)", *filling, *_counts(rest)])
    title = f"By {', '.join(found.subject.by)}, at the decision of the config"
    return table([*found.subject.by, "rows", "expected", "alerts", "times expected"], rows, title)


def _counts(one: Segment) -> list[str]:
    times = f"{one.alerts / one.expected:,.2f}" if one.expected else ""
    return [f"{one.rows:,}", _amount(one.expected), f"{one.alerts:,}", times]


def _spread(spread: Spread) -> list[str]:
    most = f"{spread.most:,} ({spread.most_in})" if spread.most else "0"
    return [_amount(spread.expected), f"{spread.median:,.6g}", most]


def _rate(cut: Cut) -> str:
    return f"threshold {cut.score:g}" if cut.rate is None else f"{100 * cut.rate:.3g} %"


def _amount(number: float) -> str:
    """An expected number of alerts: of small ones the first digits."""
    return f"{number:,.0f}" if number >= 100 else f"{number:,.3g}"

"""Sections that tell of the rows of a run: their scores, how many are flagged, when and where, and why."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from markupsafe import Markup

from vae_model.report import charts
from vae_model.report.blocks import (
    MOST,
    RUN_COLOUR,
    THEN_COLOUR,
    Block,
    Card,
    Cards,
    Chart,
    Pictures,
    Table,
    Text,
    lacking,
)
from vae_model.report.facts import Facts, Rows, Top, binned
from vae_model.report.verdict import expected
from vae_model.report.words import BRIEF, NAME, SENTENCE, counted, figure, one_in, percent, rows, short

KEYS, REASONS = 5, 5
"""Columns of a key and of segments, and reasons of a row, that are shown."""


def scores(facts: Facts) -> Iterator[Block]:
    """The run's scores beside the held-out ones."""
    record, model, found = facts.record, facts.model, facts.rows
    held_out = binned(model.calibration.scores) if model else {}
    run = dict(found.scores) if found else {}
    if run or held_out:
        legend = [(RUN_COLOUR, "the run's rows")] if run else []
        legend += [(THEN_COLOUR, "held-out normal rows, outlined")] if held_out else []
        cut = charts.on_axis(record.threshold)
        legend += [("cut", "the cut: beyond it rows are flagged")] if cut is not None else []
        yield Chart(charts.scores(run, held_out, cut), legend)
        if model and model.scorer.rule.by:
            yield Text("Scores are over the level of their segment, as the decision takes them.", "note")
    if run and held_out:
        yield Text(
            "Where the bars reach further right than the outline, rows are unlike any that were held out.", "note"
        )
    yield from lacking(facts, "rows")
    yield from lacking(facts, "replaced")
    yield from lacking(facts, "model")


def rates(facts: Facts) -> Iterator[Block]:
    """The rate that was asked for, the one to expect and the one found."""
    record, model = facts.record, facts.model
    knows = model is not None and "decision" not in facts.lacks
    found: list[charts.Rate] = []
    if model is not None and knows and model.calibration.threshold is None:
        found.append(charts.Rate("asked for", model.calibration.false_alarm_rate))
    if record.effective_rate is not None:
        alerts, scored = expected(facts), record.rows_scored or 0
        between = (alerts.low / scored, alerts.high / scored) if alerts else (None, None)
        found.append(charts.Rate("to be expected of normal rows", record.effective_rate, *between))
    legend = [(THEN_COLOUR, "asked for and expected; the line is chance's range")] if found else []
    if record.anomalies is not None and record.rows_scored:
        legend.insert(0, (RUN_COLOUR, "found"))
        found.append(charts.Rate("found in this run", record.anomalies / record.rows_scored, is_ours=True))
    if not found:
        yield Text("Rates are not known: the run has not come to scoring.", "lack")
        return
    yield Chart(charts.rates(found), legend)
    if record.finest_rate is not None:
        yield Text(f"The held-out rows support rates down to {one_in(record.finest_rate)}.", "note")
    yield from lacking(facts, "decision")


def time_and_segments(facts: Facts) -> Iterator[Block]:
    """Flagged rows by day, and by segment."""
    found = facts.rows
    if found is None:
        yield from lacking(facts, "rows")
        return
    if found.days:
        rate = facts.record.effective_rate
        legend = [(RUN_COLOUR, "flagged")]
        legend += [(THEN_COLOUR, "to be expected, were all rows normal")] if rate else []
        yield Chart(charts.over_time(found.days, rate), legend)
        _, width, _ = charts.together(found.days)
        bars = f"Each bar is {width} days. " if width > 1 else ""
        yield Text(f"{bars}Days are those of {short(found.time, NAME)}, in UTC.", "note")
        if undated := found.rows - sum(one.rows for one in found.days):
            have = "has" if undated == 1 else "have"
            yield Text(f"Not drawn: {rows(undated)} that {have} no day, or one far from those of the others.", "note")
    elif found.time is not None:
        yield Text(f"No row has a day in {short(found.time, NAME)}.", "lack")
    yield from lacking(facts, "time")
    yield from lacking(facts, "replaced")
    if found.segments:
        yield _segments(found)
        if len(found.by) > KEYS:
            yield Text(f"Segments are told by {counted(len(found.by) - KEYS, 'more column')}.", "note")
        if not found.are_all_segments:
            yield Text(f"The {len(found.segments)} segments with the most flagged rows are shown.", "note")
    else:
        yield Text("No segments: decision.by names no columns, and --by of `vae-anomaly report` neither.", "lack")


def _segments(found: Rows) -> Table:
    most = max((one.flagged for one in found.segments), default=0) or 1
    told: list[list[str | Markup]] = [
        [
            *("null" if value is None else short(value, BRIEF) for value in one.values[:KEYS]),
            f"{one.rows:,}", f"{one.flagged:,}", percent(one.flagged / one.rows), charts.bar(one.flagged / most),
        ]
        for one in found.segments
    ]  # fmt: skip
    heads = [short(name, NAME) for name in found.by[:KEYS]]
    return Table([*heads, "rows", "flagged", "share", ""], told, len(heads))


def top(facts: Facts) -> Iterator[Block]:
    """The worst rows, each with its reasons."""
    found, record = facts.rows, facts.record
    if found is None:
        yield from lacking(facts, "rows")
        return
    if not found.top:
        yield Text("No row has a score.", "lack")
        return
    shown = found.top[: record.alerts or None]
    if record.alerts:
        which = f". Its worst {len(shown)}" if len(shown) < record.alerts else ""
        yield Text(f"The alerts table has {rows(record.alerts)} of the run{which}, by rank:")
    elif record.alerts == 0:
        yield Text("The alerts table has no row of the run. The highest scores:")
    else:
        none = "" if any(one.is_flagged for one in shown) else "No row is flagged. "
        yield Text(f"{none}The highest scores:")
    yield Cards([_card(number, one) for number, one in enumerate(shown, 1)])
    yield Text("p is the share of held-out normal rows that score at least as high.", "note")
    yield from lacking(facts, "replaced")


def _card(rank: int, row: Top) -> Card:
    named = ", ".join(f"{short(name, BRIEF)} {short(value, BRIEF)}" for name, value in list(row.key.items())[:KEYS])
    named += f" and {len(row.key) - KEYS:,} more" if len(row.key) > KEYS else ""
    p_value = "" if row.p_value is None else f" · p {row.p_value:.2g}"
    blocks: list[Block] = [Text(short(row.sentence, SENTENCE))] if row.sentence else []
    for shown in row.pictures:
        name = short(shown.feature, NAME)
        told = ((shown.picture, f"{name}, as the model sees it"), (shown.heat, f"what is odd about {name}, in red"))
        blocks.append(Pictures([(_as_uri(jpeg), words) for jpeg, words in told]))
    if row.reasons:
        cells = [
            [
                short(one.feature, NAME),
                percent(one.share),
                charts.bar(one.share),
                short(one.observed, NAME),
                short(one.expected, NAME),
            ]
            for one in row.reasons[:REASONS]
        ]
        blocks.append(Table(["column", "share", "", "observed", "expected"], cells))
        if len(row.reasons) > REASONS:
            blocks.append(Text(f"and {counted(len(row.reasons) - REASONS, 'more column')}", "note"))
    else:
        blocks.append(Text("Its reasons are not known.", "lack"))
    return Card(
        f"{rank}. {named}", f"score {figure(row.score)}{p_value}{'' if row.is_flagged else ' · not flagged'}", blocks
    )


def _as_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def blamed(facts: Facts) -> Iterator[Block]:
    """Which columns the reasons name."""
    found = facts.rows
    if found is None:
        yield from lacking(facts, "rows")
        return
    if not found.blamed:
        yield Text("No flagged row has a reason.", "lack")
        yield from lacking(facts, "replaced")
        return
    total = sum(one.share for one in found.blamed) or 1.0
    most = max(one.share for one in found.blamed) or 1.0
    told = [
        [
            short(one.feature, NAME),
            f"{one.first:,}",
            f"{one.named:,}",
            percent(one.share / total),
            charts.bar(one.share / most),
        ]
        for one in found.blamed[:MOST]
    ]
    yield Table(["column", "first reason of", "named by", "share of the blame", ""], told)
    if len(found.blamed) > MOST:
        more = len(found.blamed) - MOST
        yield Text(f"{counted(more, 'more column')} {'is' if more == 1 else 'are'} blamed for less.", "note")
    yield from lacking(facts, "replaced")

"""Sections that tell of the model: how the run differs from its sample, and how it was trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from vae_model.drift.p_values import MOVED
from vae_model.drift.reference import Spread
from vae_model.features.fields import LARGEST
from vae_model.report import charts
from vae_model.report.blocks import (
    MOST,
    RUN_COLOUR,
    THEN_COLOUR,
    Block,
    Card,
    Cards,
    Chart,
    Listed,
    Pairs,
    Table,
    Text,
    lacking,
)  # fmt: skip
from vae_model.report.facts import Facts
from vae_model.report.verdict import FEW
from vae_model.report.words import CLAUSE, NAME, count, counted, figure, of_two, rows, short

PAIRS = 16
"""Columns whose values are drawn, those that moved most first."""
POINTS = 500
"""Points of a curve, at most."""
COLUMNS = 50
"""Columns that are listed."""


def drift(facts: Facts) -> Iterator[Block]:
    """What moved since training, column by column."""
    record = facts.record
    if record.drift is None:
        yield Text(f"Drift is not in the record of this run: {_why_no_drift(facts)}.", "lack")
        return
    were = "was" if record.drift_rows == 1 else "were"
    compared = f"{rows(record.drift_rows or 0)} of the run {were} held against the sample that the model learnt from."
    yield Text(f"{compared} {FEW}" if record.drift_small else compared)
    yield Text(
        "PSI, the population stability index, says how far the shares of a column's values are from those of the "
        "sample: up to 0.1 counts as no shift, more than 0.25 as a large one.", "note",
    )  # fmt: skip
    spreads: Mapping[str, Spread] = {}
    if facts.model is not None:
        spreads = {own.feature.name: own for own in facts.model.reference.columns}
    drawn = [one for one in record.drift[:PAIRS]
             if one.column in spreads and len(spreads[one.column].share_B) == len(one.shares)]  # fmt: skip
    if drawn:
        cards = [
            Card(
                short(one.column, NAME), f"PSI {one.psi:.3f}",
                [Chart(charts.pair(short(one.column, NAME), spreads[one.column].share_B.tolist(), one.shares)),
                 Text(short(one.moved, CLAUSE) if one.moved else "has not moved", "" if one.moved else "note")],
                "moved" if one.moved else "",
            )
            for one in drawn
        ]  # fmt: skip
        yield Chart(
            Markup(""),
            [(RUN_COLOUR, "the run"), (THEN_COLOUR, "the sample, outlined")],
        )
        yield Text(
            "Each bin is a range of numbers, or a value of a category. The last one is of missing values; of numbers "
            "the first is of those below all that training saw, and the last but one of those above.", "note",
        )  # fmt: skip
        yield Cards(cards)
    told = [
        [short(one.column, NAME), f"{one.psi:.3f}", of_two(one.missing_then, one.missing_now),
         of_two(one.new_then, one.new_now), "moved" if one.moved else ""]
        for one in record.drift[:COLUMNS]
    ]  # fmt: skip
    yield Table(["column", "PSI", "missing", "new, or outside the training range", ""], told)
    if len(record.drift) > COLUMNS:
        yield Text(f"{counted(len(record.drift) - COLUMNS, 'more column')} moved less.", "note")
    if record.p_value_distance is not None:
        yield Text(_in_general(record.p_value_distance, bool(record.p_values_moved)))
    yield from lacking(facts, "model")


def _why_no_drift(facts: Facts) -> str:
    """Why columns were not compared, as far as the record tells."""
    record = facts.record
    if record.trains:
        return "a run that only trains has no rows beside its sample"
    if record.status in ("running", "failed", "skipped") or (record.gate or "").startswith("train."):
        return "the run has not come to it"
    if record.rows_read == 0:
        return "it had no row to compare"
    if facts.config is not None and "config" not in facts.lacks and not facts.config.drift.rows:
        return "drift.rows is 0"
    return (
        "drift.rows was 0, there was no row, the rows could not be read for it, an earlier try had written them, or it "
        "was of a version that did not compare"
    )


def _in_general(distance: float, has_moved: bool) -> str:
    """Whether the bulk of the rows scores as the held-out ones do."""
    more = f"of 100 rows, at most {figure(float(f'{100 * distance:.2g}'))} more lie above a score than of 100 of those."
    if has_moved:
        return (
            f"In general the rows score higher than the held-out ones: {more} That is more than chance explains: the "
            "data may not be what it was."
        )
    told = f"More than {100 * MOVED:.0f} would be told."
    return f"In general the rows score no higher than the held-out ones: {more} {told}"


def training(facts: Facts) -> Iterator[Block]:
    """The sample, and what was trained on it."""
    if facts.model is None:
        yield from lacking(facts, "model")
        return
    training: Mapping[str, Any] = facts.model.header["training"]
    aside, steps = training.get("set_aside") or {}, training.get("steps")
    told = {
        "normal rows of the source": training.get("source_rows"),
        "rows trained on": training["rows"] - training["trimmed"],
        "rows left out, far from most others": training["trimmed"],
        "rows set aside for a cell that cannot be": aside.get("training", 0) + aside.get("held_out", 0),
        "held-out rows that calibrate it": training["calibration_rows"],
        "columns": len(facts.model.spec.columns),
        "steps": steps if type(steps) is int else None,
    }
    members = "; ".join(map(short, facts.model.members))
    windows = facts.model.scorer.windows
    pairs = [(name, count(number)) for name, number in told.items() if number is not None] + [("ensemble", members)]
    yield Pairs([*pairs, ("windows", short(windows.sequence.describe()))] if windows else pairs)
    if len(points := _curve(training)) > 1:
        yield Chart(charts.curve(points), [("line", "the loss, by steps of training: lower is better")])
    notes = facts.model.warnings[:MOST]
    if notes:
        yield Listed([short(note, CLAUSE) for note in notes])


def _curve(training: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Steps and losses, as a model file has them: nothing checks them when it is loaded, no score depends on them."""
    points = training.get("curve")
    if not isinstance(points, list) or not 1 < len(points) <= POINTS:
        return []
    told = [tuple(point) for point in points if isinstance(point, list) and len(point) == 2]
    are_numbers = all(type(one) in (int, float) and abs(one) < LARGEST for point in told for one in point)
    return told if are_numbers and len(told) == len(points) and told[-1][0] > 0 else []

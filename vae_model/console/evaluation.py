"""Lines and tables of what a model finds, beside what the usual detectors find."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from vae_model.console.tables import table

if TYPE_CHECKING:
    from vae_model.evaluation.metrics import Interval
    from vae_model.evaluation.record import Evaluation, Part

SHOWN = 20
"""Columns that are told one by one, those first in which the fewest errors are found."""


def parts(found: Evaluation) -> Iterator[str | Table]:
    """What is told of an evaluation, in order."""
    subject, rows = found.subject, found.rows
    is_planted = subject.label is None
    errors = "planted errors" if is_planted else "anomalous rows"
    kept = ", trained for this and not kept" if subject.trained_for_this else ""
    yield f"Evaluation of {subject.model} on {subject.place}{kept}."
    if is_planted:
        yield f"Rows: {rows['clean']:,} clean ones ({subject.held_out}); {rows['planted']:,} copies with an error each."
    else:
        by = f"by {subject.label} ({subject.held_out})"
        yield f"Rows: {rows['normal']:,} normal, {rows['anomalous']:,} anomalous {by}."
    yield f"The other detectors are fitted on {rows['fitted']:,} rows of the training sample."
    yield f"Decision: {found.decision}."
    yield ""
    yield detectors_table(found)
    yield "In brackets: the interval that 95 % of resamples lie in."
    if not is_planted:
        yield ""
        yield budgets_table(found)
    yield ""
    decided = found.decided
    yield f"At its own decision the model finds {_interval(decided.recall)} of the {errors}."
    if decided.first_reason is not None:
        yield f"Of those found {_percent(decided.first_reason)} have a planted column as their first reason."
    if decided.precision is not None:
        yield f"Of the rows that it flags {_interval(decided.precision)} are anomalous."
    yield f"It flags {100 * decided.false_alarms:.3g} % of the {'clean' if is_planted else 'normal'} rows."
    if decided.by_kind:
        yield ""
        yield kinds_table(found)
        yield ""
        yield columns_table(found)
    for note in subject.notes:
        yield f"Note: {note}."
    yield ""
    yield f"Verdict: {found.verdict}"


def detectors_table(found: Evaluation) -> Table:
    """A line for each detector: its figures, and how long it took."""
    heads = {"recall": f"recall at 1 in {round(1 / found.rate):,}", "auc_roc": "AUC-ROC", "auc_pr": "AUC-PR"}
    names = [name for name in heads if name in found.detectors[0].figures]
    rows = []
    for one in found.detectors:
        figures = [(_interval if name == "recall" else _area)(one.figures[name]) for name in names]
        seconds = ["" if own is None else f"{own:.2f}" for own in (one.fit_seconds, one.score_seconds)]
        rows.append([one.name, *figures, *seconds])
    return table(["detector", *(heads[name] for name in names), "fit s", "score s"], rows)


def budgets_table(found: Evaluation) -> Table:
    """A line for each detector: what is found where somebody looks at so many of the highest scores."""
    shares = [name.partition("_")[2] for name in found.detectors[0].figures if name.startswith("recall_")]
    heads = [f"{what} of {100 * float(share):g} %" for share in shares for what in ("recall", "precision")]
    rows = [
        [
            one.name,
            *(_percent(one.figures[f"{what}_{share}"].value) for share in shares for what in ("recall", "precision")),
        ]
        for one in found.detectors
    ]
    return table(["detector", *heads], rows, "Of the rows with the highest scores")


def kinds_table(found: Evaluation) -> Table:
    """A line for each kind of error: what each detector finds, at the same rate of false alarms, and the decision."""
    rows = [
        [part.name, f"{part.rows:,}", *(_percent(one.by_kind[part.name]) for one in found.detectors), *_decided(part)]
        for part in found.decided.by_kind
    ]
    heads = ["error", "rows", *(one.name for one in found.detectors), "its decision", "first reason"]
    return table(heads, rows)


def columns_table(found: Evaluation) -> Table:
    """A line for each column in which errors were planted."""
    shown = found.decided.by_column[:SHOWN]
    rows = [[part.name, f"{part.rows:,}", *_decided(part)] for part in shown]
    if rest := len(found.decided.by_column) - len(shown):
        rows.append([f"({rest:,} others, of which more is found)", "", "", ""])
    return table(["column", "rows", "its decision", "first reason"], rows)


def _decided(part: Part) -> list[str]:
    return [_percent(part.recall), "" if part.first_reason is None else _percent(part.first_reason)]


def _area(interval: Interval) -> str:
    return f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"


def _interval(interval: Interval) -> str:
    return f"{_percent(interval.value)} ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""The section that tells of an evaluation: what the model finds, beside the usual detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vae_model.report import charts
from vae_model.report.blocks import MOST, RUN_COLOUR, THEN_COLOUR, Block, Table, Text
from vae_model.report.evaluation import Figure
from vae_model.report.facts import Facts
from vae_model.report.words import CLAUSE, NAME, SENTENCE, one_in, percent, short


def evaluation(facts: Facts) -> Iterator[Block]:
    """What an evaluation says, where there is one."""
    found = facts.evaluation
    if found is None:
        yield Text(
            "No evaluation was given: `vae-anomaly evaluate --result FILE` writes one, --evaluation FILE takes it.",
            "lack",
        )
        return
    yield Text(short(found.verdict, SENTENCE))
    if facts.record.model and found.model != facts.record.model:
        yield Text(f"It is of another model, {short(found.model)}.", "lack")
    yield Text(f"On {short(found.place)}: {short(found.held_out, SENTENCE)}.", "note")
    is_planted = found.label is None
    main = "recall" if is_planted else "auc_pr"
    heads = {"recall": f"recall at {one_in(found.rate)}", "auc_roc": "AUC-ROC", "auc_pr": "AUC-PR"}
    names = [name for name in heads if any(getattr(one, name) for one in found.detectors)]
    told = []
    for number, one in enumerate(found.detectors[:MOST]):
        figures = {name: getattr(one, name) for name in names}
        value = figures[main].value if figures.get(main) else 0.0
        told.append([short(one.name), *(_interval(figures[name], name) for name in names),
                     charts.bar(value, RUN_COLOUR if number == 0 else THEN_COLOUR)])  # fmt: skip
    yield Table(["detector", *(heads[name] for name in names), ""], told)
    own = found.decided
    yield Text(
        f"At its own decision the model finds {percent(own.recall.value)} of the "
        f"{'planted errors' if is_planted else 'anomalous rows'} and flags {percent(own.false_alarms)} of the others."
    )
    if own.by_kind:
        told = [
            [short(one.name), f"{one.rows:,}", percent(one.recall), charts.bar(one.recall), percent(one.first_reason)]
            for one in own.by_kind[:MOST]
        ]
        yield Table(["planted error", "rows", "found", "", "first reason is the column"], told)
    if own.by_column:
        told = [[short(one.name, NAME), f"{one.rows:,}", percent(one.recall), charts.bar(one.recall)]
                for one in own.by_column[:MOST]]  # fmt: skip
        yield Table(["column, the worst found first", "rows", "found", ""], told)
    yield from (Text(f"{short(note, CLAUSE)}.", "note") for note in found.notes[:MOST])


def _interval(own: Figure | None, name: str) -> str:
    if own is None:
        return ""
    shown: Callable[[float], str] = percent if name == "recall" else "{:.3f}".format
    return f"{shown(own.value)} ({shown(own.low)} to {shown(own.high)})"

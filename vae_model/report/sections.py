"""The sections of the page, each from the facts of a run: what it tells, or why it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from vae_model.report import charts, on_evaluation, on_model, on_rows
from vae_model.report.blocks import MOST, Block, Code, Pairs, Section, Table, Text, lacking
from vae_model.report.facts import Facts
from vae_model.report.words import SENTENCE, figure, lines, percent, short, when


def sections(facts: Facts) -> list[Section]:
    """All sections, in order. None is a bare heading."""
    nothing = [Text("The run has not come to it.", "lack")]
    return [Section(anchor, title, list(tell(facts)) or nothing) for anchor, title, tell in SECTIONS]


def _what_ran(facts: Facts) -> Iterator[Block]:
    record = facts.record
    pairs = [
        ("run", record.run_id), ("config", record.name), ("command", record.command),
        ("started", when(record.started)), ("ended", when(record.ended) if record.ended else None),
        ("source", record.source), ("version of the source", record.source_version), ("rows of it", record.slice),
        ("model", record.model), ("output", record.output and f"{record.output} ({record.mode})"),
        ("alerts table", record.alerts_output), ("rejected rows", record.rejected), ("engine", record.engine),
        ("decision", facts.model.calibration.describe() if facts.model and "decision" not in facts.lacks else None),
    ]  # fmt: skip
    yield Pairs([(name, short(value, SENTENCE)) for name, value in pairs if value])
    if record.gate is not None:
        told = [record.gate, figure(record.gate_limit), figure(record.gate_found)]
        yield Table(["gate that closed", "limit", "found"], [[short(one) for one in told]])
    elif facts.config is not None and facts.config.gates.limits and record.status == "succeeded":
        yield Text(f"Gates that let it pass: {', '.join(facts.config.gates.limits)}.")
    if record.status in ("failed", "gated", "skipped") and record.message:
        yield Code(lines(record.message, 3000))
    if record.stages:
        told_stages = [
            [short(one.stage), f"{one.seconds:,.2f}", "" if one.rows is None else f"{one.rows:,}"]
            for one in record.stages[:MOST]
        ]
        yield Table(["stage", "seconds", "rows"], told_stages)


def _quality(facts: Facts) -> Iterator[Block]:
    statuses = facts.record.statuses
    if statuses is None:
        yield Text("Statuses are not in the record: the run has not published rows.", "lack")
        return
    total = sum(statuses.values())
    if not total:
        yield Text("There was no row.", "lack")
        return
    ordered = sorted(statuses.items(), key=lambda own: -own[1])[:MOST]
    told = [[short(name), f"{own:,}", percent(own / total), charts.bar(own / total)] for name, own in ordered]
    yield Table(["status", "rows", "share", ""], told)


def _again(facts: Facts) -> Iterator[Block]:
    record = facts.record
    if facts.command:
        yield Code(lines(facts.command, 2000))
    digests = [("config", record.config_digest), ("decision", record.decision_digest), ("model", record.model_digest)]
    pairs = [(f"digest of the {name}", short(value, 100)) for name, value in digests if value]
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    pairs += [("versions", short(versions, SENTENCE))] if versions else []
    if pairs:
        yield Pairs(pairs)
    yield from lacking(facts, "config")
    if facts.config is not None:
        values = facts.config.model_dump(mode="json", exclude_unset=True, by_alias=True)
        text = json.dumps(values, indent=2, ensure_ascii=False)
        yield Code(lines(text, 6000))


SECTIONS: list[tuple[str, str, Callable[[Facts], Iterator[Block]]]] = [
    ("run", "What ran", _what_ran),
    ("scores", "Scores, beside those of held-out rows", on_rows.scores),
    ("rates", "Asked for and found", on_rows.rates),
    ("time", "Flagged rows over time and by segment", on_rows.time_and_segments),
    ("alerts", "The top alerts", on_rows.top),
    ("reasons", "What the reasons blame", on_rows.blamed),
    ("drift", "Drift by column", on_model.drift),
    ("quality", "Data quality", _quality),
    ("evaluation", "Evaluation", on_evaluation.evaluation),
    ("training", "Training", on_model.training),
    ("again", "How to reproduce it", _again),
]
"""Anchor, heading, and what tells it."""

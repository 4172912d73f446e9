"""The record of an evaluation: all its figures, and the verdict on them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from vae_model.evaluation import verdict
from vae_model.evaluation.metrics import Interval


@dataclass(frozen=True)
class Subject:
    """What is evaluated, on what."""

    model: str
    place: str
    held_out: str
    """Which rows were looked at, in words."""
    trained_for_this: bool = False
    """Whether there was no model yet."""
    fit_seconds: float | None = None
    """Of the model, where it was trained for this."""
    seed: int = 0
    label: str | None = None
    notes: tuple[str, ...] = ()


class Found(NamedTuple):
    """What a detector finds. Intervals are those of the bootstrap at 95 %."""

    name: str
    figures: dict[str, Interval]
    """``auc_roc``, ``auc_pr``; ``recall`` of planted errors; of labels ``recall_…`` and ``precision_…`` at budgets."""
    ahead: Interval | None
    """By how much the model is ahead of it, in ``Evaluation.measure``; None of the model itself."""
    fit_seconds: float | None
    score_seconds: float
    by_kind: dict[str, float]
    """The share of planted errors of each kind that is found."""


class Part(NamedTuple):
    """What the model's own decision finds of the errors of a kind, or in a column."""

    name: str
    rows: int
    recall: float
    first_reason: float | None
    """Of those found, how many have a wrong column as their first reason; None where none is found."""


class Decided(NamedTuple):
    """What the model's own decision does: with planted errors, or by a label."""

    false_alarms: float
    """The share of clean, or normal, rows that are flagged."""
    recall: Interval
    precision: Interval | None
    """By a label alone: among planted errors it would say how many were planted."""
    first_reason: float | None
    by_kind: list[Part]
    by_column: list[Part]
    """The worst found first."""


@dataclass(frozen=True)
class Evaluation:
    """One record of all figures."""

    subject: Subject
    decision: str
    rate: float
    """The false-alarm rate at which detectors are compared on planted errors, as the clean rows have it."""
    measure: str
    """The figure that the verdict is about: ``recall`` of planted errors, ``auc_pr`` of labels."""
    rows: dict[str, int]
    """``fitted`` by the baselines, ``clean`` and ``planted``; or ``normal`` and ``anomalous``."""
    detectors: list[Found]
    """The model first."""
    decided: Decided

    @property
    def verdict(self) -> str:
        """In sentences."""
        names = {one.name: (one.figures[self.measure].value, one.ahead) for one in self.detectors}
        return verdict.sentences(names, self.rate if self.measure == "recall" else None)

    def to_json(self) -> dict[str, Any]:
        """As values that JSON has."""
        detectors = [
            {
                "name": one.name,
                **{name: interval._asdict() for name, interval in one.figures.items()},
                "ahead": one.ahead and one.ahead._asdict(),
                "fit_seconds": one.fit_seconds,
                "score_seconds": one.score_seconds,
                "by_kind": one.by_kind,
            }
            for one in self.detectors
        ]
        own = self.decided
        decided = {
            "false_alarms": own.false_alarms,
            "recall": own.recall._asdict(),
            "precision": own.precision and own.precision._asdict(),
            "first_reason": own.first_reason,
            "by_kind": [one._asdict() for one in own.by_kind],
            "by_column": [one._asdict() for one in own.by_column],
        }
        return {**asdict(self.subject), "verdict": self.verdict, "decision": self.decision, "rate": self.rate,
                "measure": self.measure, "rows": self.rows, "detectors": detectors, "decided": decided}  # fmt: skip

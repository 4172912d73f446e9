"""Planted errors: what a model finds of them, beside what the usual detectors find on the same rows.

All detectors are cut at the same rate of false alarms on the same clean held-out rows. What the model finds at its own
decision is told by kind of error and by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.decisions.calibration import Calibration
from vae_model.detector import Detector
from vae_model.errors import InputError
from vae_model.evaluation.contest import FITTED, Entry, Weights, check_enough, contest, flags, standings
from vae_model.evaluation.metrics import Interval, Ranking, cut_at, resamples
from vae_model.evaluation.planting import KINDS, Planted, plant, roomy
from vae_model.evaluation.record import Decided, Evaluation, Part, Subject

PLANTED = 300
"""Errors of each kind."""
CLEAN = 20_000
"""Held-out rows that are looked at, at most."""


def on_planted(detector: Detector, fitted_on: pa.Table, held_out: pa.Table, subject: Subject) -> Evaluation:
    """Plant errors of each kind in held-out rows, and count how many are found.

    ``fitted_on`` are the rows that the model was trained on, ``held_out`` clean ones: feature columns, and those of
    ``decision.by``. Raises InputError where the held-out rows are too few, or nothing can be planted in them.
    """
    check_enough(len(held_out), "clean")
    clean, fitted_on = held_out.slice(0, CLEAN), fitted_on.slice(0, FITTED)
    errors = plant(clean, fitted_on, detector.spec.trained, PLANTED, subject.seed)
    wrong = pa.concat_tables([one.rows for one in errors])
    if not len(wrong):
        raise InputError("No error can be planted: no column has two values.", hint="Evaluate by a label, --label.")
    entries = contest(detector, fitted_on, {"clean": roomy(clean), "wrong": wrong}, subject.seed, subject.fit_seconds)
    decision = detector.calibration
    asked = decision.false_alarm_rate if decision.threshold is None else decision.resulting_rate
    rate = Calibration(np.arange(len(clean), dtype=float), asked).resulting_rate
    kind_W = np.repeat(np.arange(len(errors)), [len(one.rows) for one in errors])
    is_wrong = np.arange(len(clean) + len(wrong)) >= len(clean)
    rankings = [Ranking.of(np.concatenate([one.scores["clean"], one.scores["wrong"]]), is_wrong) for one in entries]

    def figures(weights: Weights) -> list[dict[str, float]]:
        told = []
        for entry, ranking in zip(entries, rankings, strict=True):
            curve = ranking.curve(np.concatenate(weights))
            is_found = entry.scores["wrong"] > cut_at(entry.scores["clean"], weights[0], rate)
            recall = float(np.average(is_found, weights=weights[1]))
            told.append({"recall": recall, "auc_roc": curve.auc_roc, "auc_pr": curve.auc_pr})
        return told

    found = standings(entries, figures, (len(clean), len(wrong)), subject.seed, "recall")
    flat = np.ones(len(clean))
    for i, entry in enumerate(entries):
        is_found = entry.scores["wrong"] > cut_at(entry.scores["clean"], flat, rate)
        by_kind = {one.kind: float(is_found[kind_W == k].mean()) for k, one in enumerate(errors) if len(one.rows)}
        found[i] = found[i]._replace(by_kind=by_kind)
    rows = {"fitted": len(fitted_on), "clean": len(clean), "planted": len(wrong)}
    decided = _of_planted(detector, entries[0], errors, wrong, subject.seed)
    bare = [KINDS[one.kind].words for one in errors if not len(one.rows)]
    notes = (*subject.notes, *([f"The table has nothing to plant in: {'; '.join(bare)}"] if bare else []))
    subject = replace(subject, notes=notes)
    return Evaluation(subject, decision.describe(), rate, "recall", rows, found, decided)


def _of_planted(detector: Detector, entry: Entry, errors: Sequence[Planted], wrong: pa.Table, seed: int) -> Decided:
    """What the model's own decision finds, by kind and by column, and whether its first reason is right."""
    deciding = detector.config.decision
    named = detector.with_decision(deciding.model_copy(update={"reasons": max(deciding.reasons, 1)})).score(wrong)
    firsts = [own[0]["feature"] if own else None for own in named["anomaly_reasons"].to_pylist()]
    columns = [own for one in errors for own in one.columns]
    kinds = [one.kind for one in errors for _ in one.columns]
    is_found = flags(detector, entry.scores["wrong"])
    is_right = np.array([first in own for first, own in zip(firsts, columns, strict=True)])

    def part(name: str, mask: NDArray[np.bool_]) -> Part:
        hits = mask & is_found
        first = float(is_right[hits].mean()) if hits.any() else None
        return Part(name, int(mask.sum()), float(is_found[mask].mean()), first)

    by_kind = [part(one.kind, np.array([kind == one.kind for kind in kinds])) for one in errors if len(one.rows)]
    names = dict.fromkeys(name for own in columns for name in own)
    by_column = [part(name, np.array([name in own for own in columns])) for name in names]
    by_column.sort(key=lambda one: (one.recall, one.name))
    drawn = np.array([np.average(is_found, weights=own) for (own,) in resamples((len(wrong),), seed)])
    recall = Interval.of(float(is_found.mean()), drawn)
    false_alarms = float(flags(detector, entry.scores["clean"]).mean())
    first = part("all", np.ones(len(wrong), dtype=bool)).first_reason
    return Decided(false_alarms, recall, None, first, by_kind, by_column)

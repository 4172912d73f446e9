"""A label: how well a model's scores agree with it, beside those of the usual detectors on the same rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.detector import Detector
from vae_model.evaluation.contest import FITTED, Weights, check_enough, contest, flags, standings
from vae_model.evaluation.metrics import Interval, Ranking, resamples
from vae_model.evaluation.record import Decided, Evaluation, Subject

NORMAL, ANOMALOUS = 20_000, 5_000
"""Held-out rows of each class that are looked at, at most."""
BUDGETS = (0.001, 0.01, 0.05)
"""Shares of the table that somebody could look at."""
COMPARED = 30
"""Anomalous rows of fewer than which a bootstrap shows too little of what chance does to compare detectors by."""


def on_labels(
    detector: Detector,
    fitted_on: pa.Table,
    held_out: pa.Table,
    is_anomalous: NDArray[np.bool_],
    weights: NDArray[np.float64],
    subject: Subject,
) -> Evaluation:
    """Hold scores against a label.

    ``weights``: of how many rows of the table each held-out row stands for. Raises InputError where rows of either
    class are too few.
    """
    check_enough(int((~is_anomalous).sum()), "normal")
    fitted_on = fitted_on.slice(0, FITTED)
    entries = contest(detector, fitted_on, {"all": held_out}, subject.seed, subject.fit_seconds)
    rankings = [Ranking.of(one.scores["all"], is_anomalous) for one in entries]
    parts = [np.flatnonzero(~is_anomalous), np.flatnonzero(is_anomalous)]

    def weighed(drawn: Weights) -> NDArray[np.float64]:
        out = weights.copy()
        for part, own in zip(parts, drawn, strict=True):
            out[part] *= own
        return out

    def figures(drawn: Weights) -> list[dict[str, float]]:
        told = []
        for ranking in rankings:
            curve = ranking.curve(weighed(drawn))
            own = {"auc_roc": curve.auc_roc, "auc_pr": curve.auc_pr}
            for share in BUDGETS:
                own |= {f"recall_{share:g}": curve.recall(share), f"precision_{share:g}": curve.precision(share)}
            told.append(own)
        return told

    sizes = len(parts[0]), len(parts[1])
    found = standings(entries, figures, sizes, subject.seed, "auc_pr")
    if sizes[1] < COMPARED:
        found = [one._replace(ahead=None) for one in found]
        few = f"{sizes[1]:,} anomalous {'row is' if sizes[1] == 1 else 'rows are'} too few"
        note = f"{few} to say which detector is better: {COMPARED} would be enough"
        subject = replace(subject, notes=(*subject.notes, note))
    flagged = flags(detector, entries[0].scores["all"])

    def decided(drawn: Weights) -> tuple[float, float]:
        own = weighed(drawn)
        hits = float(own[flagged & is_anomalous].sum())
        return hits / float(own[is_anomalous].sum()), hits / max(float(own[flagged].sum()), 1e-300)

    value = decided([np.ones(size) for size in sizes])
    drawn = np.array([decided(one) for one in resamples(sizes, subject.seed)])
    recall, precision = (Interval.of(value[i], drawn[:, i]) for i in (0, 1))
    false_alarms = float(np.average(flagged[parts[0]], weights=weights[parts[0]]))
    own = Decided(false_alarms, recall, precision if flagged.any() else None, None, [], [])
    rows = {"fitted": len(fitted_on), "normal": sizes[0], "anomalous": sizes[1]}
    rate = detector.calibration.resulting_rate
    return Evaluation(subject, detector.calibration.describe(), rate, "auc_pr", rows, found, own)

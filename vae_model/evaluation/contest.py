"""The detectors that are held against each other: the model and the baselines, fitted and timed on the same rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.detector import Detector
from vae_model.errors import InputError
from vae_model.evaluation.baselines import BASELINES, Encoder
from vae_model.evaluation.metrics import Interval, resamples
from vae_model.evaluation.record import Found

OURS = "this model"
FITTED = 20_000
"""Rows that the baselines are fitted on, at most."""
FEWEST = 100
"""Held-out rows it takes at least: of fewer, chance is all there is to see."""

Weights = Sequence[NDArray[np.float64]]
"""How often each row counts, of two groups of rows."""


@dataclass(frozen=True)
class Entry:
    """A detector's scores of each table, and how long they took."""

    name: str
    scores: Mapping[str, NDArray[np.float64]]
    """By the name of the table; NaN of a row without a score."""
    fit_seconds: float | None
    """None of a model that was trained already."""
    score_seconds: float


def contest(
    detector: Detector, fitted_on: pa.Table, tables: Mapping[str, pa.Table], seed: int, fit_seconds: float | None
) -> list[Entry]:
    """Score each table by the model, and by each baseline, which is fitted for it. The model comes first."""
    started = time.perf_counter()
    ours = {name: ranked(detector, table) for name, table in tables.items()}
    entries = [Entry(OURS, ours, fit_seconds, time.perf_counter() - started)]
    encoder = Encoder(detector.spec)
    rows = encoder(fitted_on)
    encoded = {name: encoder(table) for name, table in tables.items()}
    for name, fit in BASELINES.items():
        started = time.perf_counter()
        score = fit(rows, seed, encoder.numbers)
        done = time.perf_counter()
        scores = {table: score(matrix) for table, matrix in encoded.items()}
        entries.append(Entry(name, scores, done - started, time.perf_counter() - done))
    return entries


def ranked(detector: Detector, table: pa.Table) -> NDArray[np.float64]:
    """The scores by which the model's decision ranks rows: over the levels of their segments, where it is by them."""
    scorer = detector.scorer
    scores: NDArray[np.float64] = detector.score(table)["anomaly_score"].to_numpy().astype(np.float64)
    if scorer.rule.by and scorer.segments:
        scores = scores / scorer.segments.levels_of(scorer.segments.codes_in(table))
    return scores


def flags(detector: Detector, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which scores the model's own decision flags."""
    return detector.calibration.decide(np.where(np.isnan(scores), -np.inf, scores))


def standings(
    entries: Sequence[Entry],
    figures: Callable[[Weights], list[dict[str, float]]],
    sizes: tuple[int, int],
    seed: int,
    measure: str,
) -> list[Found]:
    """The figures of each detector, with intervals over the same resamples."""
    values = figures([np.ones(size) for size in sizes])
    drawn = [figures(own) for own in resamples(sizes, seed)]

    def resampled(i: int, name: str) -> NDArray[np.float64]:
        return np.array([one[i][name] for one in drawn])

    found = []
    for i, entry in enumerate(entries):
        own = {name: Interval.of(value, resampled(i, name)) for name, value in values[i].items()}
        ahead = None
        if i:
            difference = resampled(0, measure) - resampled(i, measure)
            ahead = Interval.of(values[0][measure] - values[i][measure], difference)
        found.append(Found(entry.name, own, ahead, entry.fit_seconds, entry.score_seconds, {}))
    return found


def check_enough(rows: int, what: str, fewest: int = FEWEST) -> None:
    """Raise InputError where rows that the model was not trained on are too few to tell anything by."""
    if rows < fewest:
        raise InputError(
            "There are too few rows to evaluate on.",
            f"at least {fewest} {what} row{'s' if fewest > 1 else ''} that the model was not trained on",
            f"{rows:,}",
            "Give a larger table; or lower train.rows, or raise train.calibration, and train again.",
        )

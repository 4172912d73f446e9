"""The figures of `evaluate` against the benchmarks' own detectors: whether both rank them alike on the same rows.

    python tests/benchmarks/verdicts.py [--data FOLDER] [--seeds 0] [--tables NAME …]

Tables and rows are those of reasons.py. `evaluate` plants errors in the rows that were not trained on, and ranks the
model, Mahalanobis, Isolation Forest and kNN by the share found at 1 in 1,000. So do mixed.py's and quality.py's
detectors, with mixed.py's encoding (the 50 most frequent values of a category), on the same rows at the same rate. That
encoding has no column that says that a value is missing, or was never seen: figures are of the other kinds of errors,
and those of all kinds stand beside them. Two detectors are ranked alike if their order is the same, or their shares are
within 2 points of each other in either.
"""

from __future__ import annotations

import argparse
from itertools import combinations
from pathlib import Path

import mixed
import numpy as np
import pandas as pd
import pyarrow as pa
import reasons
from quality import METHODS

from vae_model import Config, Detector
from vae_model.evaluation.contest import FITTED, OURS
from vae_model.evaluation.metrics import cut_at
from vae_model.evaluation.on_planted import PLANTED, on_planted
from vae_model.evaluation.planting import plant, roomy
from vae_model.evaluation.record import Subject

PEERS, CLOSE = ("Mahalanobis", "Isolation Forest", "kNN"), 0.02
UNLIKE = ("missing", "unseen")
"""Kinds that mixed.py's encoding does not show."""


def by_hand(detector: Detector, train: pa.Table, clean: pa.Table, seed: int, rate: float) -> dict[str, pd.Series]:
    """The share of each kind that each detector finds, by the benchmarks' own."""
    errors = plant(clean, train.slice(0, FITTED), detector.spec.trained, PLANTED, seed)
    wrong = pa.concat_tables([one.rows for one in errors])
    kind = np.repeat([one.kind for one in errors], [len(one.rows) for one in errors])
    names = detector.spec.names
    fitted, clean, wrong = (table.select(names) for table in (roomy(train.slice(0, FITTED)), roomy(clean), wrong))
    scores = {OURS: [detector.score(table)["anomaly_score"].to_numpy() for table in (clean, wrong)]}
    frames = [table.to_pandas() for table in (fitted, clean, wrong)]
    (X, clean_X), (_, wrong_X) = (mixed.encode(frames[0], frame) for frame in frames[1:])
    for name in PEERS:
        peer = METHODS[name](seed)
        peer.fit(X)
        scores[name] = [peer.score(clean_X), peer.score(wrong_X)]
    found = {name: odd > cut_at(own, np.ones(len(own)), rate) for name, (own, odd) in scores.items()}
    return {name: pd.Series(own).groupby(kind).mean() for name, own in found.items()}


def swapped(one: dict[str, float], other: dict[str, float]) -> list[str]:
    """Pairs of detectors that are ranked otherwise."""
    pairs = []
    for first, second in combinations(other, 2):
        ahead = [found[first] - found[second] for found in (one, other)]
        if ahead[0] * ahead[1] < 0 and min(map(abs, ahead)) > CLOSE:
            pairs.append(f"{first} and {second}")
    return pairs


def main() -> None:
    """A line for each table, then how many are ranked alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", nargs="+")
    options = parser.parse_args()
    reasons.add(options.data)
    results = []
    for seed in options.seeds:
        for name in options.tables or list(reasons.TABLES):
            train, clean = (pa.Table.from_pandas(part, preserve_index=False) for part in reasons.drawn(name, seed))
            detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(train)
            found = on_planted(detector, train, clean, Subject(detector.scorer.name, name, "", seed=seed))
            told = {one.name: pd.Series(one.by_kind) for one in found.detectors}
            own = by_hand(detector, train, clean, seed, found.rate)
            told, own = (
                {one: figures[one].drop(list(UNLIKE), errors="ignore") for one in own} for figures in (told, own)
            )
            means = [{one: figures.mean() for one, figures in each.items()} for each in (told, own)]
            others = swapped(*means)
            results.append(not others)
            print(name, seed, *(f"{one} {means[0][one]:.3f} {means[1][one]:.3f}" for one in own), *others, sep="  ")
            print("   ", found.verdict, flush=True)
    print(pd.Series(results).sum(), "of", len(results), "ranked alike")


if __name__ == "__main__":
    main()

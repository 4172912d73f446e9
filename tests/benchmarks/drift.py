"""Drift: planted shifts that are found, and re-samples without one in which something is named.

    python tests/benchmarks/drift.py [--half dev|heldout] [--shifts 30] [--samples 100] [--seed 0]

A detector is trained on 10,000 rows of a table. A run is 20,000 rows drawn from its other rows, with replacement. In
some a shift is planted, one at a time:

- ``mean``: 0.5 standard deviations are added to a number
- ``scale``: a number is 1.5 times as far from its mean
- ``missing``: a tenth more of a column's values are missing
- ``new``: 2 % of a category's values are one that training has not seen
- ``relation``: a number that hangs together with others is shuffled; each column by itself looks as before

A shift is found where the column is named (of ``relation``: where the p-values are not uniform). Rules were chosen on
the tables of the half ``dev``; the other says what to believe.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
from calibration import different
from gross import numeric, sales
from mixed import flights, is_number, machines, orders, patients, weather

from vae_model import Config, Detector
from vae_model.drift.comparison import Comparison
from vae_model.drift.p_values import BINS, Uniformity

ROWS = 20_000
HALVES = {"dev": (numeric, orders, flights, machines), "heldout": (sales, patients, weather, different)}
KINDS = ("mean", "scale", "missing", "new", "relation")


def plant(table: pd.DataFrame, kind: str, draw) -> tuple[pd.DataFrame, str]:
    """The table with a shift, and the column that has it."""
    table = table.copy()
    numbers = [name for name in table if is_number(table[name]) and table[name].nunique() > 2]
    words = [name for name in table if table[name].map(type).eq(str).any()]
    if kind == "new" and not words:
        kind = "missing"
    name = str(draw.choice({"new": words, "missing": list(table)}.get(kind, numbers)))
    own = table[name]
    if kind == "mean":
        table[name] = own + 0.5 * own.std()
    elif kind == "scale":
        table[name] = own.mean() + 1.5 * (own - own.mean())
    elif kind == "missing":
        table[name] = own.astype(object if not is_number(own) else float).mask(draw.random(len(table)) < 0.1)
    elif kind == "new":
        table[name] = own.mask(draw.random(len(table)) < 0.02, "never seen")
    else:
        related = table[numbers].corr("spearman").abs().mask(np.eye(len(numbers), dtype=bool)).max()
        name = str(related.idxmax())
        table[name] = draw.permutation(table[name].to_numpy())
    return table, name


def held_against(detector: Detector, table: pd.DataFrame) -> tuple[Comparison, Uniformity | None]:
    """What is said of a run."""
    rows = pa.Table.from_pandas(table, preserve_index=False)
    p_values = detector.score(rows)["anomaly_p_value"].drop_null().to_numpy()
    counts = np.bincount(np.ceil(p_values * BINS - 1e-9).astype(int) - 1, minlength=BINS)
    return detector.drift(rows), Uniformity.of(counts, len(detector.calibration.scores))


def main() -> None:
    """Print what was found of each kind, and what was named where nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, default="heldout")
    parser.add_argument("--shifts", type=int, default=30)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = np.random.default_rng(arguments.seed)
    known = []
    for make in HALVES[arguments.half]:
        table = make(draw)
        table = table.iloc[draw.permutation(len(table))].reset_index(drop=True)
        config = Config.model_validate({"decision": {"reasons": 0}, "train": {"seed": arguments.seed}})
        half = min(ROWS, len(table)) // 2
        known.append((make.__name__, table[half:].reset_index(drop=True), Detector(config).fit(table[:half])))
    found, of, named, uneven = Counter(), Counter(), 0, 0
    for i in range(arguments.shifts):
        name, table, detector = known[i // len(KINDS) % len(known)]
        kind = KINDS[i % len(KINDS)]
        run, column = plant(table.sample(ROWS, replace=True, random_state=draw), kind, draw)
        compared, uniformity = held_against(detector, run)
        moved = [one.column for one in compared.moved]
        is_found = bool(uniformity and uniformity.has_moved) if kind == "relation" else column in moved
        found[kind], of[kind] = found[kind] + is_found, of[kind] + 1
        distance = uniformity.distance if uniformity else 0
        print(f"{name:10} {kind:9} {column:14} {'found' if is_found else 'MISSED'}  distance {distance:.3f}"
              f"  named {[one.moved for one in compared.moved]}", flush=True)  # fmt: skip
    for i in range(arguments.samples):
        name, table, detector = known[i % len(known)]
        compared, uniformity = held_against(detector, table.sample(ROWS, replace=True, random_state=draw))
        named, uneven = named + len(compared.moved), uneven + bool(uniformity and uniformity.has_moved)
        if i < 2 * len(known) or compared.moved:
            most = max(one.psi for one in compared.columns)
            print(f"{name:10} unshifted: psi {most:.4f}, distance {uniformity.distance if uniformity else 0:.3f}"
                  f" {[one.moved for one in compared.moved]}")  # fmt: skip
    print(
        f"\nfound {found.total()} of {of.total()}: " + ", ".join(f"{kind} {found[kind]}/{of[kind]}" for kind in KINDS)
    )
    print(f"of {arguments.samples} re-samples without a shift: {named} columns named, {uneven} with uneven p-values")


if __name__ == "__main__":
    main()

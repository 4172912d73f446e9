"""What ``quality.py`` has measured: its results files, their means, and paired comparisons over the sets.

Means are over sets and seeds, ``sd`` is the deviation of a set's AUC-ROC over seeds, averaged over the sets, and the
``realised`` columns are the share of normal rows flagged over the share asked for (1 is exact). A comparison is made of
each set's difference, averaged over the seeds that both have: the mean of the differences, how many sets are won and
lost (by more than 0.1 points), and the p-value of Wilcoxon's signed-rank test over the sets. Compared are

- each share of anomalies in the training rows with none: what they cost;
- the first method with each other one;
- the results with those of another file (``--against``): each row with its like, whatever its train section.

With ``--split FILE.json``, whose keys ``dev`` and ``heldout`` list sets, all of it is told for either list and for all
sets: a choice is worth something where it helps on the sets that it was not made on.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import wilcoxon

KEY = ["dataset", "method", "seed", "share", "largest", "missing", "train"]
FIELDS = [*KEY, "aucroc", "aucpr", "recall", "realised_5", "realised_1", "realised_01", "rows", "set_aside", "trimmed",
          "fit_s", "score_s"]  # fmt: skip
COMPARED = {"aucroc": "AUC-ROC", "aucpr": "AUC-PR", "recall": "recall"}
EVEN = 0.1
"""Points that a set's means may differ by and be called even."""
HALVES = ("dev", "heldout")

Row = dict[str, str]


def key(row: dict, without: Iterable[str] = ()) -> tuple[str, ...]:
    """What a row is of, as text, whether it is read from a file or still to be measured."""
    return tuple(f"{v:g}" if isinstance(v, float) else str(v) for v in (row[k] for k in KEY if k not in without))


def read(path: Path) -> list[Row]:
    """The rows of a results file."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def append(path: Path, row: dict) -> None:
    """One row more in a results file."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        named = dict(zip(KEY, key(row), strict=True))
        writer.writerow({k: round(v, 6) if isinstance(v, float) else v for k, v in {**row, **named}.items()})


def report(rows: list[Row], split: Path | None, against: Path | None) -> None:
    """The means, the comparisons, and the figures of each set."""
    names = {row["dataset"] for row in rows}
    halves = json.loads(split.read_text()) if split else {}
    parts = {half: names & set(halves[half]) for half in HALVES if split} | {"all": names}
    for part, own in parts.items():
        means([row for row in rows if row["dataset"] in own], f"{part}, {len(own)} sets")
    print(f"\n{'compared':66} {'of':8} {'sets':>4}" + "".join(f" {n:>8} won lost      p" for n in COMPARED.values()))
    for title, ours, theirs in comparisons(rows, read(against) if against else []):
        for part, own in parts.items():
            print(f"{title:66} {part:8} {compared(ours, theirs, own)}")
    side_by_side(rows)


def groups(rows: list[Row], *by: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows that agree in the columns ``by``, in the order they come."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[k] for k in by), []).append(row)
    return found


def mean(rows: list[Row], name: str, of: str | None = None) -> float:
    """Mean of a column, or of its quotient by another; NaN where nothing is measured."""
    values = [float(row[name]) / (float(row[of]) if of else 1) for row in rows if row[name]]
    return float(np.mean(values)) if values else np.nan


def means(rows: list[Row], title: str) -> None:
    """A line for each method and setting."""
    print(
        f"\n{title}\n{'method':20} {'share':>6} {'missing':>7} {'train':12} {'runs':>5} {'AUC-ROC':>8} {'AUC-PR':>7} "
        f"{'sd':>5} {'recall':>6} {'realised 5 %':>12} {'1 %':>5} {'0.1 %':>6} {'set aside %':>11} {'trimmed %':>9} "
        f"{'fit s':>6} {'score s':>7}"
    )
    for (method, share, missing, train), some in groups(rows, "method", "share", "missing", "train").items():
        of_set = [[float(row["aucroc"]) for row in own] for own in groups(some, "dataset").values()]
        spread = np.mean([np.std(v, ddof=1) if len(v) > 1 else np.nan for v in of_set])
        print(
            f"{method:20} {share:>6} {missing:>7} {train:12} {len(some):>5} {100 * mean(some, 'aucroc'):>8.2f} "
            f"{100 * mean(some, 'aucpr'):>7.2f} {100 * spread:>5.2f} {100 * mean(some, 'recall'):>6.1f} "
            f"{mean(some, 'realised_5') / 0.05:>12.2f} {mean(some, 'realised_1') / 0.01:>5.2f} "
            f"{mean(some, 'realised_01') / 0.001:>6.2f} {100 * mean(some, 'set_aside', 'rows'):>11.3f} "
            f"{100 * mean(some, 'trimmed', 'rows'):>9.2f} {mean(some, 'fit_s'):>6.2f} {mean(some, 'score_s'):>7.3f}"
        )


def comparisons(rows: list[Row], others: list[Row]) -> Iterator[tuple[str, list[Row], list[Row]]]:
    """Each comparison: its title, and the rows on either side."""
    by_method = groups(rows, "method")
    (first,), *rest = by_method
    for (method,), own in by_method.items():
        (clean_share,), *shares = groups(own, "share")
        for (share,) in shares:
            yield (
                f"{method}, share {share} - share {clean_share}",
                *([row for row in own if row["share"] == s] for s in (share, clean_share)),
            )
    for (share,), own in groups(rows, "share").items():
        for (method,) in rest:
            sides = ([row for row in own if row["method"] == m] for m in (first, method))
            yield f"{first} - {method}, share {share}", *sides
    same = {key(row, ["train"]) for row in rows}
    others = [row for row in others if key(row, ["train"]) in same]
    for (method, share, train), theirs in groups(others, "method", "share", "train").items():
        ours = [row for row in rows if (row["method"], row["share"]) == (method, share)]
        yield f"{method}, share {share} - {train or 'default'} of the other file", ours, theirs


def compared(ours: list[Row], theirs: list[Row], names: set[str]) -> str:
    """How many sets both have, and for each metric the mean difference, the sets won and lost, and the p-value."""
    by_run = {(row["dataset"], row["seed"]): row for row in theirs}
    pairs: dict[str, list[tuple[Row, Row]]] = {}
    for row in ours:
        other = by_run.get((row["dataset"], row["seed"]))
        if other is not None and row["dataset"] in names:
            pairs.setdefault(row["dataset"], []).append((row, other))
    cells = []
    for name in COMPARED:
        by_set = [
            [100 * (float(a[name]) - float(b[name])) for a, b in own if a[name] and b[name]] for own in pairs.values()
        ]
        differences = np.array([np.mean(own) for own in by_set if own])
        if not len(differences):
            cells.append(f" {'-':>8} {'-':>3} {'-':>4} {'-':>6}")
            continue
        p = wilcoxon(differences).pvalue if differences.any() else 1.0
        won, lost = (differences > EVEN).sum(), (differences < -EVEN).sum()
        cells.append(f" {differences.mean():>+8.2f} {won:>3} {lost:>4} {p:>6.3f}")
    return f"{len(pairs):>4}" + "".join(cells)


def side_by_side(rows: list[Row]) -> None:
    """AUC-ROC / AUC-PR of every set, a column for each method and share."""
    columns = groups(rows, "method", "share")
    print("\n| set | " + " | ".join(f"{method} ({share})" for method, share in columns) + " |")
    print("|---|" + "---|" * len(columns))
    for name in dict.fromkeys(row["dataset"] for row in rows):
        cells = []
        for some in columns.values():
            own = [row for row in some if row["dataset"] == name]
            cells.append(f"{100 * mean(own, 'aucroc'):.1f} / {100 * mean(own, 'aucpr'):.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |")

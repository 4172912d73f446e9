"""Detection quality of the default settings beside the usual detectors, on a folder of labelled tables.

    python tests/benchmarks/quality.py --data DIR --out FILE.csv [--seeds 0 1 2] [--sets NAME …] [--methods NAME …]
                                       [--setting clean|contaminated|trimmed|missing]

Each .npz holds ``X`` (rows, features) and ``y`` (0 normal, 1 anomaly). The one-class protocol, for each set and seed:
at most 10,000 rows, the class ratio kept; shuffled; the first half of the normal rows is the training set, all other
rows are the test set; both are standardised by the training set; AUC-ROC and AUC-PR (average precision) of the scores
on the test set. Labels are seen by nothing but the metrics. Rows are appended to FILE.csv as they come, and what is
there already is not run again.

The settings: ``contaminated`` adds anomalies to the training rows until they are a tenth of them, at most half of the
set's anomalies; ``reference`` is clean training judged on the same test rows, those anomalies left out; ``trimmed`` is
``contaminated`` with ``train.trim`` 0.2 (ours only); ``missing`` hides a fifth of the test cells at random (a detector
that takes no missing values gets the training mean instead).

The peers have their libraries' defaults: scikit-learn's Isolation Forest and LOF (novelty), PyOD's VAE and AutoEncoder
(needs ``pip install pyod``, for these two alone); kNN is the root mean square distance to the 5 nearest training rows;
Mahalanobis is on the columns, 1e-3 added to the variances.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from vae_model import Config, Detector

MAX_ROWS = 10_000
FIELDS = ["dataset", "method", "seed", "aucroc", "aucpr", "fit_s", "score_s", "setting"]
SHARE = 0.1
HIDDEN = 0.2


class Ours:
    """The public detector, default settings."""

    takes_missing = True

    def __init__(self, seed, **train):
        self.detector = Detector(Config.model_validate({"train": {"seed": seed, **train}}))

    def fit(self, X):
        """Train."""
        self.detector.fit(X)

    def score(self, X):
        """Higher is more anomalous."""
        return self.detector.score(X)["anomaly_score"].to_numpy()


class Peer:
    """A detector made of two functions: one fits, the other scores what was fitted."""

    takes_missing = False

    def __init__(self, fit, score):
        self._fit, self._score = fit, score

    def fit(self, X):
        """Train."""
        self.fitted = self._fit(X)

    def score(self, X):
        """Higher is more anomalous."""
        return np.asarray(self._score(self.fitted, X))


def mahalanobis(X):
    """Mean and inverse covariance."""
    return X.mean(axis=0), np.linalg.inv(np.cov(X.T) + 1e-3 * np.eye(X.shape[1]))


def pyod(name, seed):
    """A network of PyOD on one device, the CPU, with its defaults."""
    from importlib import import_module

    module = import_module({"VAE": "pyod.models.vae", "AutoEncoder": "pyod.models.auto_encoder"}[name])
    model = getattr(module, name)(random_state=seed, device="cpu", verbose=0)
    return Peer(model.fit, lambda fitted, X: fitted.decision_function(X))


METHODS = {
    "spark-vae-anomaly": Ours,
    "kNN": lambda seed: Peer(
        lambda X: NearestNeighbors(n_neighbors=5).fit(X),
        lambda near, X: np.sqrt((near.kneighbors(X)[0] ** 2).mean(axis=1)),
    ),
    "Mahalanobis": lambda seed: Peer(
        mahalanobis, lambda fit, X: np.einsum("ni,ij,nj->n", X - fit[0], fit[1], X - fit[0])
    ),
    "LOF": lambda seed: Peer(lambda X: LocalOutlierFactor(novelty=True).fit(X), lambda lof, X: -lof.score_samples(X)),
    "Isolation Forest": lambda seed: Peer(
        lambda X: IsolationForest(random_state=seed).fit(X), lambda forest, X: -forest.score_samples(X)
    ),
    "PyOD VAE": lambda seed: pyod("VAE", seed),
    "PyOD AutoEncoder": lambda seed: pyod("AutoEncoder", seed),
}


def split(X, y, seed):
    """Training rows, test rows and test labels of the protocol above, not yet standardised."""
    random = np.random.RandomState(seed)
    if len(y) > MAX_ROWS:
        keep, _ = train_test_split(np.arange(len(y)), train_size=MAX_ROWS, stratify=y, random_state=random)
        X, y = X[keep], y[keep]
    order = random.permutation(len(y))
    X, y = X[order], y[order]
    normal = np.flatnonzero(y == 0)
    train = normal[: round(0.5 * len(normal))]
    test = np.setdiff1d(np.arange(len(y)), train)
    return X[train], X[test], y[test]


def change(setting, X_train, X_test, y_test, seed):
    """The rows of a setting; the missing cells come later, after the standardisation."""
    if setting not in ("contaminated", "trimmed", "reference"):
        return X_train, X_test, y_test
    draw = np.random.default_rng(seed)
    anomalies = draw.permutation(np.flatnonzero(y_test == 1))
    moved = anomalies[: min(round(len(X_train) * SHARE / (1 - SHARE)), len(anomalies) // 2)]
    kept = np.setdiff1d(np.arange(len(y_test)), moved)
    if setting != "reference":
        X_train = draw.permutation(np.concatenate([X_train, X_test[moved]]))
    return X_train, X_test[kept], y_test[kept]


def load(path: Path, seed: int, setting: str = "clean"):
    """Standardised training rows and test rows, and the test labels."""
    with np.load(path, allow_pickle=False) as arrays:
        X, y = np.asarray(arrays["X"], dtype=np.float64), np.asarray(arrays["y"]).astype(int).ravel()
    X_train, X_test, y_test = change(setting, *split(X, y, seed), seed)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test), y_test


def measure(path: Path, method: str, seed: int, setting: str) -> dict:
    """One set, one seed, one detector."""
    X_train, X_test, y_test = load(path, seed, setting)
    detector = Ours(seed, trim=0.2) if setting == "trimmed" else METHODS[method](seed)
    if setting == "missing":
        hidden = np.random.default_rng(seed).random(X_test.shape) < HIDDEN
        X_test = np.where(hidden, np.nan if detector.takes_missing else 0.0, X_test)
    started = time.perf_counter()
    detector.fit(X_train)
    fitted = time.perf_counter()
    scores = detector.score(X_test)
    done = time.perf_counter()
    there = ~np.isnan(scores)  # a row with more than half of its cells missing is not scored
    return {
        "dataset": path.stem, "method": method, "seed": seed, "setting": setting,
        "aucroc": roc_auc_score(y_test[there], scores[there]),
        "aucpr": average_precision_score(y_test[there], scores[there]),
        "fit_s": fitted - started, "score_s": done - fitted,
    }  # fmt: skip


def read(out: Path) -> list[dict]:
    """The rows of a results file."""
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def append(out: Path, row: dict) -> None:
    """One row more in the results file."""
    new = not out.exists()
    with out.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()})


def table(rows: list[dict]) -> None:
    """Means over sets and seeds, and the deviation over seeds of a set's AUC-ROC, averaged over the sets."""
    print(
        f"\n{'setting':13} {'method':20} {'runs':>5} {'AUC-ROC':>8} {'AUC-PR':>7} {'sd':>5} {'fit s':>6} {'score s':>7}"
    )
    groups = defaultdict(list)
    for row in rows:
        groups[row["setting"], row["method"]].append(row)
    for (setting, method), some in groups.items():
        roc, pr, fit, score = (np.mean([float(r[k]) for r in some]) for k in ("aucroc", "aucpr", "fit_s", "score_s"))
        of_set = defaultdict(list)
        for row in some:
            of_set[row["dataset"]].append(float(row["aucroc"]))
        spread = np.mean([np.std(v, ddof=1) if len(v) > 1 else np.nan for v in of_set.values()])
        print(
            f"{setting:13} {method:20} {len(some):>5} {100 * roc:>8.2f} {100 * pr:>7.2f} {100 * spread:>5.2f} "
            f"{fit:>6.2f} {score:>7.3f}"
        )


def side_by_side(rows: list[dict]) -> None:
    """AUC-ROC / AUC-PR of every set, a column for each method."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    print("\n| set | " + " | ".join(methods) + " |\n|---|" + "---|" * len(methods))
    for name in dict.fromkeys(row["dataset"] for row in rows):
        cells = []
        for method in methods:
            own = [row for row in rows if (row["dataset"], row["method"]) == (name, method)]
            roc, pr = (100 * np.mean([float(row[k]) for row in own]) for k in ("aucroc", "aucpr"))
            cells.append(f"{roc:.1f} / {pr:.1f}")
        print(f"| {name} | " + " | ".join(cells) + " |")


def main() -> None:
    """Run what is not in the results file yet, then print the means and each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", help="only these sets")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["spark-vae-anomaly"])
    parser.add_argument(
        "--setting", choices=["clean", "contaminated", "reference", "trimmed", "missing"], default="clean"
    )
    arguments = parser.parse_args()
    paths = [p for p in sorted(arguments.data.glob("*.npz")) if not arguments.sets or p.stem in arguments.sets]
    if not paths:
        parser.error(f"no .npz file in {arguments.data}")
    key = ("dataset", "method", "seed", "setting")
    done = {tuple(row[k] for k in key) for row in read(arguments.out)}
    for path in paths:
        for method in arguments.methods:
            for seed in arguments.seeds:
                if (path.stem, method, str(seed), arguments.setting) not in done:
                    row = measure(path, method, seed, arguments.setting)
                    append(arguments.out, row)
                    print(
                        f"{path.stem:20} {method:20} seed {seed}  ROC {row['aucroc']:.4f}  PR {row['aucpr']:.4f}  "
                        f"fit {row['fit_s']:.1f} s"
                    )
    names, seeds = {p.stem for p in paths}, set(map(str, arguments.seeds))
    rows = [r for r in read(arguments.out) if r["dataset"] in names and r["seed"] in seeds]
    table(rows)
    side_by_side([row for row in rows if row["setting"] == arguments.setting])


if __name__ == "__main__":
    main()

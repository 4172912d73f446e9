"""Detection quality of the default settings on a folder of labelled tables, through the public Detector.

    python tests/benchmarks/quality.py --data DIR --out FILE.csv [--seeds 0 1 2] [--sets NAME …]

Each .npz holds ``X`` (rows, features) and ``y`` (0 normal, 1 anomaly). The one-class protocol, for each set and seed:
at most 10,000 rows, the class ratio kept; shuffled; the first half of the normal rows is the training set, all other
rows are the test set; both are standardised by the training set; AUC-ROC and AUC-PR (average precision) of the scores
on the test set. Labels are seen by nothing but the metrics. Rows are appended to FILE.csv as they come, and a set and
seed that is there already is not run again.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from vae_model import Config, Detector

MAX_ROWS = 10_000
FIELDS = ["dataset", "method", "seed", "aucroc", "aucpr", "fit_s", "score_s"]
METHOD = "spark-vae-anomaly"


def split(X, y, seed):
    """Training rows, test rows and test labels of the protocol above."""
    random = np.random.RandomState(seed)
    if len(y) > MAX_ROWS:
        keep, _ = train_test_split(np.arange(len(y)), train_size=MAX_ROWS, stratify=y, random_state=random)
        X, y = X[keep], y[keep]
    order = random.permutation(len(y))
    X, y = X[order], y[order]
    normal = np.flatnonzero(y == 0)
    train = normal[: round(0.5 * len(normal))]
    test = np.setdiff1d(np.arange(len(y)), train)
    scaler = StandardScaler().fit(X[train])
    return scaler.transform(X[train]), scaler.transform(X[test]), y[test]


def measure(path: Path, seed: int) -> dict:
    """One set, one seed."""
    with np.load(path, allow_pickle=False) as arrays:
        X, y = np.asarray(arrays["X"], dtype=np.float64), np.asarray(arrays["y"]).astype(int).ravel()
    X_train, X_test, y_test = split(X, y, seed)
    started = time.perf_counter()
    detector = Detector(Config.model_validate({"train": {"seed": seed}})).fit(X_train)
    fitted = time.perf_counter()
    scores = detector.score(X_test)["anomaly_score"].to_numpy()
    done = time.perf_counter()
    return {
        "dataset": path.stem, "method": METHOD, "seed": seed,
        "aucroc": roc_auc_score(y_test, scores), "aucpr": average_precision_score(y_test, scores),
        "fit_s": fitted - started, "score_s": done - fitted,
    }  # fmt: skip


def read(out: Path) -> list[dict]:
    """The rows of a results file."""
    if not out.exists():
        return []
    with out.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["method"] == METHOD]


def main() -> None:
    """Run what is not in the results file yet, then print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", help="only these sets")
    arguments = parser.parse_args()
    paths = [p for p in sorted(arguments.data.glob("*.npz")) if not arguments.sets or p.stem in arguments.sets]
    if not paths:
        parser.error(f"no .npz file in {arguments.data}")
    done = {(row["dataset"], int(row["seed"])) for row in read(arguments.out)}
    for path in paths:
        for seed in arguments.seeds:
            if (path.stem, seed) in done:
                continue
            row = {k: round(v, 6) if isinstance(v, float) else v for k, v in measure(path, seed).items()}
            new = not arguments.out.exists()
            with arguments.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS)
                if new:
                    writer.writeheader()
                writer.writerow(row)
            print(
                f"{path.stem:20} seed {seed}  ROC {row['aucroc']:.4f}  PR {row['aucpr']:.4f}  fit {row['fit_s']:.1f} s"
            )
    names = {p.stem for p in paths}
    rows = [r for r in read(arguments.out) if r["dataset"] in names and int(r["seed"]) in arguments.seeds]
    print(f"\n{'seed':>4} {'sets':>5} {'AUC-ROC':>8} {'AUC-PR':>7} {'fit s':>6} {'score s':>7}")
    for seed in [*arguments.seeds, None]:
        some = [r for r in rows if seed is None or int(r["seed"]) == seed]
        roc, pr, fit, score = (np.mean([float(r[k]) for r in some]) for k in ("aucroc", "aucpr", "fit_s", "score_s"))
        print(
            f"{'all' if seed is None else seed:>4} {len(some):>5} "
            f"{100 * roc:>8.2f} {100 * pr:>7.2f} {fit:>6.1f} {score:>7.2f}"
        )


if __name__ == "__main__":
    main()

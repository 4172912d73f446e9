"""Detection quality of the default settings beside the usual detectors, on a folder of labelled tables.

    python tests/benchmarks/quality.py --data DIR --out FILE.csv [--seeds 0 1 2] [--sets NAME …] [--methods NAME …]
                                       [--share 0 0.01 …] [--missing 0.2] [--train KEY=VALUE …] [--jobs N]
                                       [--split FILE.json] [--against FILE.csv]

Each .npz holds ``X`` (rows, features) and ``y`` (0 normal, 1 anomaly). The one-class protocol, for each set and seed:
at most 10,000 rows, the class ratio kept; shuffled; the first half of the normal rows is the training set, all other
rows are the test set; both are standardised by the training set; AUC-ROC and AUC-PR (average precision) of the scores
on the test set. Labels are seen by nothing but the metrics. Rows are appended to FILE.csv as they come, and what is
there already is not run again.

``--share`` adds anomalies to the training rows until they are that share of them, at most half of the set's anomalies
(not all have enough for a tenth). All shares of a run are judged on the same test rows, those that its largest share
leaves; the column ``largest`` says which, and only rows that agree in it are compared. ``--missing`` hides that share
of the test cells at random (a detector that takes no missing values gets the training mean instead). ``--train`` sets
keys of the config's train section, ours only.

Of ours the decision is measured too: ``recall`` is the share of the anomalies that are flagged at a false-alarm rate of
0.01; ``realised_5``, ``realised_1`` and ``realised_01`` are the shares of the normal test rows that are flagged at 5, 1
and 0.1 %; ``set_aside`` and ``trimmed`` are how many of the ``rows`` of the training sample were not learnt from.

``--jobs`` is how many processes work at a time, one thread each. ``results.py`` says what is printed, and what
``--split`` and ``--against`` are for.

The peers have their libraries' defaults: scikit-learn's Isolation Forest and LOF (novelty), PyOD's VAE and AutoEncoder
(needs ``pip install pyod``, for these two alone); kNN is the root mean square distance to the 5 nearest training rows;
Mahalanobis is on the columns, 1e-3 added to the variances.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import results
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler

from vae_model import Config, Detector
from vae_model.config.sections import Decision
from vae_model.config.text import override

MAX_ROWS = 10_000
HIDDEN = 0.2
"""Share of the test cells that ``ablation.py`` hides."""
RATES = {"realised_5": 0.05, "realised_1": 0.01, "realised_01": 0.001}


class Ours:
    """The public detector, default settings but for keys of the train section."""

    takes_missing = True

    def __init__(self, seed, **train):
        self.detector = Detector(Config.model_validate({"train": {"seed": seed, **train}}))

    def fit(self, X):
        """Train."""
        self.detector.fit(X)

    def score(self, X):
        """Higher is more anomalous."""
        return self.detector.score(X)["anomaly_score"].to_numpy()

    def decided(self, X, y) -> dict:
        """What is flagged of test rows at each rate, and how many training rows were not learnt from."""
        flagged = {}
        for rate in RATES.values():
            detector = self.detector.with_decision(Decision(false_alarm_rate=rate, reasons=1))
            flagged[rate] = detector.score(X)["is_anomaly"].eq(True).to_numpy()
        training = self.detector.header["training"]
        return {
            "recall": flagged[0.01][y == 1].mean(),
            **{name: flagged[rate][y == 0].mean() for name, rate in RATES.items()},
            "rows": training["rows"],
            "set_aside": training.get("set_aside", {}).get("training", 0),
            "trimmed": training["trimmed"],
        }


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

    def decided(self, X, y) -> dict:
        """Nothing: a peer has scores, and no decision to compare ours with."""
        return {}


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


def contaminated(X_train, X_test, y_test, share: float, largest: float, seed: int):
    """Training rows of which ``share`` are anomalies, and the test rows and labels that ``largest`` leaves."""
    draw = np.random.default_rng(seed)
    anomalies = draw.permutation(np.flatnonzero(y_test == 1))

    def moved(share):
        return anomalies[: min(round(len(X_train) * share / (1 - share)), len(anomalies) // 2)]

    kept = np.setdiff1d(np.arange(len(y_test)), moved(largest))
    if share:
        X_train = draw.permutation(np.concatenate([X_train, X_test[moved(share)]]))
    return X_train, X_test[kept], y_test[kept]


def load(path: Path, seed: int, share: float = 0, largest: float = 0):
    """Standardised training rows and test rows, and the test labels."""
    with np.load(path, allow_pickle=False) as arrays:
        X, y = np.asarray(arrays["X"], dtype=np.float64), np.asarray(arrays["y"]).astype(int).ravel()
    X_train, X_test, y_test = contaminated(*split(X, y, seed), share, largest, seed)
    scaler = StandardScaler().fit(X_train)
    return scaler.transform(X_train), scaler.transform(X_test), y_test


def measure(path: Path, setting: dict, train: dict) -> dict:
    """One set, one seed, one detector: the setting's row of the results."""
    seed = setting["seed"]
    X_train, X_test, y_test = load(path, seed, setting["share"], setting["largest"])
    detector = METHODS[setting["method"]](seed, **train)
    if setting["missing"]:
        hidden = np.random.default_rng(seed).random(X_test.shape) < setting["missing"]
        X_test = np.where(hidden, np.nan if detector.takes_missing else 0.0, X_test)
    started = time.perf_counter()
    detector.fit(X_train)
    fitted = time.perf_counter()
    scores = detector.score(X_test)
    done = time.perf_counter()
    there = ~np.isnan(scores)  # a row with more than half of its cells missing is not scored
    return {
        **setting,
        "aucroc": roc_auc_score(y_test[there], scores[there]),
        "aucpr": average_precision_score(y_test[there], scores[there]),
        "fit_s": fitted - started, "score_s": done - fitted,
        **detector.decided(X_test, y_test),
    }  # fmt: skip


def one_thread() -> None:
    """What each process does first; its linear algebra has read the environment by then."""
    import torch

    torch.set_num_threads(1)


def in_processes(jobs: int, function: Callable[..., dict], todo: list[tuple]) -> Iterator[dict]:
    """What the function gives of each tuple of arguments, as it comes."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with ProcessPoolExecutor(jobs, get_context("spawn"), one_thread) as pool:
        for future in as_completed([pool.submit(function, *one) for one in todo]):
            yield future.result()


def settings(arguments: argparse.Namespace, paths: list[Path]) -> Iterator[tuple[Path, dict, dict]]:
    """Each set, with the columns that say what a row of the results is of, and the keys of the train section."""
    train: dict = {}
    for setting in arguments.train:
        override(train, setting)
    for path, method, seed, share in product(paths, arguments.methods, arguments.seeds, sorted(arguments.share)):
        own = train if METHODS[method] is Ours else {}
        setting = {
            "dataset": path.stem, "method": method, "seed": seed, "share": share, "largest": max(arguments.share),
            "missing": arguments.missing, "train": " ".join(f"{key}={value}" for key, value in sorted(own.items())),
        }  # fmt: skip
        yield path, setting, own


def main() -> None:
    """Run what is not in the results file yet, then print the means, each set, and what is compared."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+", help="only these sets")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["spark-vae-anomaly"])
    parser.add_argument("--share", type=float, nargs="+", default=[0.0], help="of anomalies among the training rows")
    parser.add_argument("--missing", type=float, default=0.0, help="share of the test cells that are hidden")
    parser.add_argument("--train", nargs="+", default=[], metavar="KEY=VALUE", help="of the train section, ours only")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time, one thread each")
    parser.add_argument("--split", type=Path, help="JSON of named halves of the sets, reported each by itself")
    parser.add_argument("--against", type=Path, help="another results file, to be compared with")
    arguments = parser.parse_args()
    paths = [p for p in sorted(arguments.data.glob("*.npz")) if not arguments.sets or p.stem in arguments.sets]
    if not paths:
        parser.error(f"no .npz file in {arguments.data}")
    wanted = list(settings(arguments, paths))
    done = {results.key(row) for row in results.read(arguments.out)}
    todo = [one for one in wanted if results.key(one[1]) not in done]
    for row in in_processes(arguments.jobs, measure, todo):
        results.append(arguments.out, row)
        print(
            f"{row['dataset']:20} {row['method']:20} seed {row['seed']} share {row['share']:g}  "
            f"ROC {row['aucroc']:.4f}  PR {row['aucpr']:.4f}  fit {row['fit_s']:.1f} s",
            flush=True,
        )
    found = {results.key(row): row for row in results.read(arguments.out)}
    results.report([found[results.key(setting)] for _, setting, _ in wanted], arguments.split, arguments.against)


if __name__ == "__main__":
    main()

"""How small, long and wide a table may be by default, and what scoring a row costs against one small network.

    python tests/benchmarks/limits.py [--shapes 200x10 …]

First, fit and score on generated tables (correlated numbers, a tenth of the columns sparse, a hundredth constant), each
in a process of its own: seconds, the process's peak memory beside that of the table, the model file's size, AUC-ROC of
rows whose last tenth of columns was drawn from other rows. Then microseconds a row of the whole scorer, encoding and
p-values included, taking turns in one process: by default, with one 64-32-4-32-64 network, and the bare NumPy forward
pass and mean squared error of such a network.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from itertools import pairwise

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from vae_model import Config, Detector

SHAPES = ["200x10", "200x2000", "5000x10", "5000x200", "5000x2000", "20000x1000", "200000x100", "1000000x10"]


def generate(rows: int, columns: int, seed: int) -> np.ndarray:
    """Correlated numbers; the relations are the same for every seed."""
    loadings = np.random.default_rng(0).normal(size=(min(8, columns), columns))
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(rows, len(loadings))) @ loadings + 0.5 * draw.normal(size=(rows, columns))
    X[:, ::10] *= draw.random((rows, len(range(0, columns, 10)))) < 0.05
    X[:, 5::100] = 1.0
    return X


def measure(rows: int, columns: int) -> None:
    """One shape, in this process."""
    X = generate(rows, columns, 1)
    usual = generate(1000, columns, 2)
    odd = usual.copy()
    last = max(2, columns // 10)
    odd[:, -last:] = np.random.default_rng(3).permutation(odd[:, -last:])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    started = time.perf_counter()
    detector = Detector().fit(X)
    fitted = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    scores = [detector.score(part)["anomaly_score"].to_numpy() for part in (usual, odd)]
    auc = roc_auc_score(np.repeat([0, 1], 1000), np.concatenate(scores))
    size = len(detector.to_bytes()) / 1e6
    sizes = f"{rows:>9,} {columns:>7,} {X.nbytes / 1e6:>8.0f}"
    print(f"{sizes} {fitted:>7.1f} {after - before:>9.0f} {size:>8.2f} {100 * auc:>7.1f}")


def scoring_cost(rows: int = 65_536, columns: int = 32, repeats: int = 9) -> None:
    """Microseconds a row."""
    X = generate(20_000, columns, 1)[:, :columns]
    X[:, 5::100] += 0.1 * np.random.default_rng(4).normal(size=X[:, 5::100].shape)  # no constants
    table = pa.table({f"x{i}": np.ascontiguousarray(generate(rows, columns, 2)[:, i]) for i in range(columns)})
    arrays = [column.chunk(0) for column in table.columns]
    one = {"members": 1, "codes": 0, "hidden": [64, 32], "latent": 4}
    ways = {
        "default": Detector(Config.model_validate({"model": {"steps": 100}})).fit(X).scorer,
        "one network": Detector(Config.model_validate({"model": {"steps": 100, **one}})).fit(X).scorer,
    }
    draw = np.random.default_rng(0)
    widths = [columns, 64, 32, 4, 32, 64, columns]
    layers = [(draw.normal(size=(a, b)).astype(np.float32), np.zeros(b, np.float32)) for a, b in pairwise(widths)]
    x = draw.normal(size=(rows, columns)).astype(np.float32)

    def bare(_):
        for start in range(0, rows, 1024):
            h = block = x[start : start + 1024]
            for i, (weight, bias) in enumerate(layers):
                h = h @ weight + bias
                if i < len(layers) - 1:
                    np.maximum(h, 0, out=h)
            ((block - h) ** 2).mean(axis=1)

    calls = {**ways, "bare forward pass": bare}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            call(arrays)
            seconds[name].append(time.perf_counter() - started)
    cost = {name: 1e6 * statistics.median(values) / rows for name, values in seconds.items()}
    for name, value in cost.items():
        print(f"{name:20} {value:>6.2f} us a row   {value / cost['one network']:>5.2f} of the scorer with one network")


def main() -> None:
    """Each shape in a new process, then the cost of a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="*", default=SHAPES)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(*map(int, arguments.one.split("x")))
        return
    print(
        f"{'rows':>9} {'columns':>7} {'table MB':>8} {'fit s':>7} {'peak + MB':>9} {'file MB':>8} {'AUC-ROC':>7}",
        flush=True,
    )
    for shape in arguments.shapes:
        subprocess.run([sys.executable, __file__, "--one", shape], check=True)
    scoring_cost()


if __name__ == "__main__":
    main()

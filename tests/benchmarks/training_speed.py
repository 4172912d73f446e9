"""Training time against PyOD's VAE on the same rows and epochs, taking turns; and where a step's time goes.

    python tests/benchmarks/training_speed.py --data DIR [--sets NAME …] [--epochs 30] [--repeats 3]

Both learn from the same standardised training rows (those of ``quality.py``, seed 0), for the same number of passes
over them, each with its own batch size, one thread for both. Ours is the whole ``fit``:
encoding, two VAEs, a codebook, distances and calibration, its training rows four fifths of those given (PyOD's sees
all, and ours makes as many row visits). PyOD's VAE is its defaults (needs ``pip install pyod``). Times are medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from quality import load, pyod
from sklearn.metrics import roc_auc_score

from vae_model import Config, Detector
from vae_model.config.sections import Model


def ours(X, steps):
    """Our detector after so many steps."""
    return Detector(Config.model_validate({"model": {"steps": steps}})).fit(X)


def main() -> None:
    """Time both on every set, then profile one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["32_shuttle", "19_landsat", "5_campaign", "40_vowels"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'set':14} {'rows':>6} {'columns':>7} {'ours s':>7} {'PyOD s':>7} {'ratio':>6}  AUC-ROC (ours by default)")
    ratios = []
    for name in arguments.sets:
        X_train, X_test, y_test = load(arguments.data / f"{name}.npz", 0)
        steps = max(1, round(arguments.epochs * len(X_train) / min(Model().batch_size, 0.8 * len(X_train))))
        times: dict[str, list[float]] = {"ours": [], "PyOD": []}
        for _ in range(arguments.repeats):
            started = time.perf_counter()
            detector = ours(X_train, steps)
            times["ours"].append(time.perf_counter() - started)
            peer = pyod("VAE", 0)
            started = time.perf_counter()
            peer.fit(X_train)
            times["PyOD"].append(time.perf_counter() - started)
        own, other = (statistics.median(t) for t in times.values())
        ratios.append(other / own)
        by_default = Detector().fit(X_train)
        aucs = [
            100 * roc_auc_score(y_test, np.asarray(s))
            for s in (
                detector.score(X_test)["anomaly_score"],
                peer.score(X_test),
                by_default.score(X_test)["anomaly_score"],
            )
        ]
        rows, columns = X_train.shape
        print(
            f"{name:14} {rows:>6} {columns:>7} {own:>7.2f} {other:>7.2f} {other / own:>6.1f}  "
            f"ours {aucs[0]:.1f}, PyOD {aucs[1]:.1f} ({aucs[2]:.1f})",
            flush=True,
        )
    print(f"geometric mean of the ratios: {statistics.geometric_mean(ratios):.1f}")
    profile(load(arguments.data / f"{arguments.sets[0]}.npz", 0)[0])


def profile(X) -> None:
    """Where the time of a default fit goes, by torch's profiler: its largest operations."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as torch_profile

    with torch_profile(activities=[ProfilerActivity.CPU]) as profiler:
        Detector().fit(X)
    print(profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=40))


if __name__ == "__main__":
    main()

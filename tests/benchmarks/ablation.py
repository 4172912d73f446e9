"""What each ingredient of the score is worth: one switched off at a time, on three benchmarks.

    python tests/benchmarks/ablation.py --data DIR [--seeds 0 1] [--sets NAME …] [--only NAME …]

The columns: AUC-ROC and AUC-PR on the sets and protocol of ``quality.py``; AUC-ROC of the same models with a fifth of
the test cells hidden; and the mean recall, in per cent, of errors planted in the mixed tables of ``mixed.py``.
Differences under about 0.3 points of AUC-ROC, or 1 of recall, are noise at one seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
from mixed import as_trained, recall, trials
from quality import HIDDEN, load
from sklearn.metrics import average_precision_score, roc_auc_score

from vae_model import Config, Detector
from vae_model.networks import codebook, inputs
from vae_model.networks.dense import DenseVAE
from vae_model.scoring import ensemble, residuals
from vae_model.training import fit, loop


def settings(**model):
    """Another model configuration."""
    return {"model": model}


def no_tails(centred, missing, scale, start, power, buffers, normal=residuals._normal):
    """Every residual as it is: no column's tail is taken for heavier than a normal one."""
    return normal(centred, missing, scale, np.full_like(start, np.inf), power, buffers)


def no_covariance(covariance):
    """Columns by themselves."""
    count = len(covariance)
    return 1.0, np.zeros((count, 1)), np.zeros(1)


NO_VARIANCE = property(lambda self: np.ones_like(self.log_variance_V))
"""Residuals in the columns' own deviations instead of the decoder's."""


def twice_the_steps(*arguments, sizes=loop.sizes):
    """Whatever the number of rows asks for, twice."""
    hidden, latents, steps = sizes(*arguments)
    return hidden, latents, 2 * steps


def plainly(x, out=None):
    """Numbers as they are, clipped as the VAEs' inputs."""
    return np.clip(x, -inputs.INPUT_CLIP, inputs.INPUT_CLIP, out=out)


def self_measured(*arguments, fit=codebook.Codebook.fit):
    """The fine codebook's own residuals as its measure."""
    fine, _ = fit(*arguments)
    return fine, fine


def not_imputed(self, given, call=codebook.Codebook.__call__):
    """The codebook without what the VAEs expect."""
    return call(self, replace(given, imputed_BOW=None))


ABLATIONS: dict[str, tuple[dict, list[Callable]]] = {
    "default": ({}, []),
    "VAEs only": (settings(codes=0), []),
    "one VAE, no codebook": (settings(codes=0, members=1), []),
    "one VAE and the codebook": (settings(members=1), []),
    "a codebook of 32": (settings(codes=32), []),
    "a codebook of 512": (settings(codes=512), []),
    "codebook without symlogs": (
        {},
        [lambda: patch.object(codebook, "symlog", plainly), lambda: patch.object(inputs, "symlog", plainly)],
    ),
    "codebook measured by itself": ({}, [lambda: patch.object(codebook.Codebook, "fit", self_measured)]),
    "gaps not filled for the codebook": ({}, [lambda: patch.object(codebook.Codebook, "__call__", not_imputed)]),
    "few rows not cross-fitted": ({}, [lambda: patch.object(fit, "SMALL", 0)]),
    "four VAEs": (settings(members=4), []),
    "KL weight 1 (plain ELBO)": (settings(kl_weight=1.0), []),
    "no hidden inputs": ({}, [lambda: patch.object(loop, "HIDE", 0.0)]),
    "no tails": ({}, [lambda: patch.object(residuals, "_normal", no_tails)]),
    "no covariance": ({}, [lambda: patch.object(residuals, "_precision", no_covariance)]),
    "decoder variance not used": ({}, [lambda: patch.object(DenseVAE, "deviation_V", NO_VARIANCE)]),
    "twice the steps": ({}, [lambda: patch.object(loop, "sizes", twice_the_steps)]),
    "no landmarks": ({}, [lambda: patch.object(ensemble, "REMOTENESS", 0.0)]),
    "every row trusted": ({"train": {"trim": 0}}, []),
    "a twentieth left out": ({"train": {"trim": 0.05}}, []),
}


def one_class(config: Config, path: Path, seed: int) -> tuple[float, ...]:
    """AUC-ROC and AUC-PR of the score, AUC-ROC with hidden cells, AUC-ROC and AUC-PR of the reconstruction error."""
    X_train, X_test, y_test = load(path, seed)
    detector = Detector(config).fit(X_train)
    scored = detector.score(X_test)
    score, error = scored["anomaly_score"], scored["reconstruction_error"]
    hidden = np.random.default_rng(seed).random(X_test.shape) < HIDDEN
    masked = detector.score(np.where(hidden, np.nan, X_test))["anomaly_score"].to_numpy()
    there = ~np.isnan(masked)
    return (
        roc_auc_score(y_test, score), average_precision_score(y_test, score),
        roc_auc_score(y_test[there], masked[there]),
        roc_auc_score(y_test, error), average_precision_score(y_test, error),
    )  # fmt: skip


def mixed(config: Config, seed: int) -> float:
    """Mean recall over the mixed tables and their kinds of errors."""
    recalls = []
    for _, _, train, planted_errors in trials([seed]):
        detector = Detector(config).fit(train)
        for _, odd, planted in planted_errors:
            score = detector.score(as_trained(odd, train))["anomaly_score"]
            recalls.append(recall(score.to_numpy(), planted))
    return float(np.mean(recalls))


def run(changed: dict, patches: list[Callable], paths: list[Path], seeds: list[int]) -> tuple[float, ...]:
    """The means of ``one_class``, and of ``mixed``."""
    with ExitStack() as stack:
        for make in patches:
            stack.enter_context(make())
        configs = {
            seed: Config.model_validate({**changed, "train": {**changed.get("train", {}), "seed": seed}})
            for seed in seeds
        }
        aucs = np.mean([one_class(configs[seed], path, seed) for path in paths for seed in seeds], axis=0)
        return (*aucs, float(np.mean([mixed(configs[seed], seed) for seed in seeds])))


def main() -> None:
    """A line for each ablation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sets", nargs="+")
    parser.add_argument("--only", nargs="+", choices=ABLATIONS, default=list(ABLATIONS))
    arguments = parser.parse_args()
    paths = [p for p in sorted(arguments.data.glob("*.npz")) if not arguments.sets or p.stem in arguments.sets]
    print("| | AUC-ROC | AUC-PR | a fifth missing | mixed tables |\n|---|---|---|---|---|", flush=True)
    for name in arguments.only:
        roc, pr, missing, error_roc, error_pr, recalls = (
            100 * value for value in run(*ABLATIONS[name], paths, arguments.seeds)
        )
        print(f"| {name} | {roc:.2f} | {pr:.2f} | {missing:.2f} | {recalls:.1f} |", flush=True)
        if name == "default":
            print(f"| its reconstruction error as the score | {error_roc:.2f} | {error_pr:.2f} | | |", flush=True)


if __name__ == "__main__":
    main()

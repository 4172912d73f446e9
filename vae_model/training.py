"""The training loop, top to bottom: settings, data, network, optimiser, schedule, loop.

Shapes: N rows, B rows of a step, V varying numbers, C categories, I inputs, Z latent dimensions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_model.config import Model
from vae_model.errors import TrainingError
from vae_model.networks.dense import DenseVAE
from vae_model.networks.elbo import categorical_nll, gaussian_nll, kl_divergence
from vae_model.networks.forward import Layout

WINSOR = 10.0
"""Training targets stop at this many deviations: one wild row must not set the gradient. Scoring sees them whole."""
HIDE = 0.1
"""Up to twice this share of a training row's inputs is hidden, so that the network can do without a missing value."""
VALIDATION = 0.1
"""Share of the training rows that choose the best weights. The calibration rows must not: their scores would look
better than those of rows to come.
"""
EVALUATE_EVERY = 100
"""Steps between two looks at the validation rows."""


@dataclass(frozen=True)
class Progress:
    """Where training stands; handed to the caller now and then."""

    step: int
    steps: int
    loss: float
    validation_loss: float
    seconds_left: float


@dataclass(frozen=True)
class Trained:
    """The weights that did best on the validation rows, and how they were found."""

    arrays: dict[str, NDArray[np.float32]]
    summary: dict[str, Any]


def sizes(layout: Layout, rows: int, settings: Model) -> tuple[list[int], int, int]:
    """Hidden widths, latent dimensions and steps: as set, else by columns and rows.

    A category counts as the bits that tell its values apart. Up to 20,000 rows 1,000 steps do; then every row is seen
    about thirteen times, up to 5,000 steps.
    """
    bits = layout.varying + sum(math.log2(slots) for slots in layout.slots)
    width = min(256, max(64, 2 ** math.ceil(math.log2(max(bits, 1)))))
    hidden, latent = settings.hidden or [width, width], settings.latent or max(2, min(32, round(bits / 2)))
    return hidden, latent, settings.steps or min(5000, max(1000, rows // 20))


@contextmanager
def _one_thread() -> Iterator[None]:
    """A small network loses more to handing work between threads than it gains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def train(
    layout: Layout,
    x_NV: NDArray[np.float32],
    codes_NC: NDArray[np.int32],
    settings: Model,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train a DenseVAE on encoded rows (NaN and -1: missing). The same input and seed give the same weights.

    Raises TrainingError where the loss stops being finite.
    """
    # Settings and data
    hidden, latent, steps = sizes(layout, len(x_NV), settings)
    generator = torch.Generator().manual_seed(seed)
    draw = np.random.default_rng(seed)
    shuffled = draw.permutation(len(x_NV))
    validation, fitted = np.split(shuffled, [max(1, round(VALIDATION * len(x_NV)))])
    rows, batch_size = len(fitted), min(settings.batch_size, len(fitted))
    validation_inputs = torch.from_numpy(layout.input(x_NV[validation], codes_NC[validation]))
    validation_targets = _targets(x_NV[validation], codes_NC[validation])

    # Network, optimiser, schedule
    network = DenseVAE(layout, hidden, latent, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_rise_and_fall, steps=steps))
    warm_up = max(1, round(settings.warm_up * steps))

    # Loop
    best_loss, best_step, best_arrays, without_progress = math.inf, 0, network.arrays(), 0
    order, position = draw.permutation(fitted), 0
    started = time.monotonic()
    for step in range(1, steps + 1):
        if position + batch_size > rows:
            order, position = draw.permutation(fitted), 0
        index = order[position : position + batch_size]
        position += batch_size
        x_BV, codes_BC = x_NV[index], codes_NC[index]

        h_BI = torch.from_numpy(layout.input(*_hide(x_BV, codes_BC, draw)))
        mu_BZ, log_variance_BZ = network.encode(h_BI)
        noise_BZ = torch.randn(mu_BZ.shape, generator=generator)
        z_BZ = mu_BZ + torch.exp(0.5 * log_variance_BZ) * noise_BZ
        kl_weight = settings.kl_weight * min(1.0, step / warm_up)
        nll_B = _negative_log_likelihood(network, z_BZ, _targets(x_BV, codes_BC))
        loss = (nll_B + kl_weight * kl_divergence(mu_BZ, log_variance_BZ)).mean()

        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()

        if step % EVALUATE_EVERY and step != steps:
            continue
        with torch.no_grad():
            mu_NZ, _ = network.encode(validation_inputs)
            validation_loss = float(_negative_log_likelihood(network, mu_NZ, validation_targets).mean())
        if not math.isfinite(validation_loss):
            raise TrainingError(
                "Training diverged.", "a finite loss", f"{validation_loss} at step {step}", "Lower model.learning_rate."
            )
        if progress:
            left = (time.monotonic() - started) / step * (steps - step)
            progress(Progress(step, steps, float(loss.detach()), validation_loss, left))
        if step < warm_up and step != steps:
            continue
        if validation_loss < best_loss:
            best_loss, best_step, best_arrays, without_progress = validation_loss, step, network.arrays(), 0
        else:
            without_progress += 1
            if without_progress >= settings.patience:
                break
    summary = {"steps": step, "best_step": best_step, "validation_loss": best_loss, "hidden": hidden, "latent": latent}
    return Trained(best_arrays, summary)


def _rise_and_fall(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear rise over the first tenth, then half a cosine down to zero."""
    rise = max(1, round(0.1 * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))


def _hide(
    x_BV: NDArray[np.float32], codes_BC: NDArray[np.int32], draw: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Copies with some cells missing; each row draws its own share between 0 and 2 * HIDE."""
    hidden = draw.random((len(x_BV), x_BV.shape[1] + codes_BC.shape[1]), dtype=np.float32) < (
        2 * HIDE * draw.random((len(x_BV), 1), dtype=np.float32)
    )
    split = x_BV.shape[1]
    return np.where(hidden[:, :split], np.float32(np.nan), x_BV), np.where(hidden[:, split:], -1, codes_BC)


def _targets(x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]) -> tuple[Tensor, Tensor, Tensor]:
    """Winsorised numbers with 0 where missing, whether they are observed, and category codes."""
    observed = ~np.isnan(x_NV)
    x = np.where(observed, np.clip(x_NV, -WINSOR, WINSOR), 0)
    return torch.from_numpy(x), torch.from_numpy(observed.astype(np.float32)), torch.from_numpy(codes_NC).long()


def _negative_log_likelihood(network: DenseVAE, z_NZ: Tensor, targets: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """(N,) -log p(x|z), summed over the observed columns."""
    x_NV, observed_NV, codes_NC = targets
    mean_NV, log_variance_V, logits = network.decode(z_NZ)
    nll_N = gaussian_nll(x_NV, mean_NV, log_variance_V, observed_NV)
    for column, logits_NK in enumerate(logits):
        nll_N = nll_N + categorical_nll(logits_NK, codes_NC[:, column])
    return nll_N

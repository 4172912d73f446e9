"""The training loop, top to bottom: settings, data, networks, optimiser, loop, members.

Shapes: M dense VAEs, N rows, B rows of a step, V varying numbers, C categories, I inputs, Z latent dimensions.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vae_model.config.sections import Model
from vae_model.errors import TrainingError
from vae_model.networks.codebook import Codebook
from vae_model.networks.inputs import INPUT_CLIP, TableShape
from vae_model.training.dense import DenseVAEs
from vae_model.training.elbo import categorical_nll, gaussian_nll, kl_divergence

WINSOR = 10.0
"""Training targets stop at this many deviations: one wild row must not set the gradient. Scoring sees them whole."""
HIDE = 0.1
"""A row has up to twice this share of its inputs hidden, so that the network can do without a missing value."""
REPORT_EVERY = 50
"""Steps between two reports of the loss."""


Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands; handed to the caller now and then."""

    step: int
    steps: int
    loss: float
    seconds: float
    """Since the first step."""

    @property
    def seconds_left(self) -> float:
        """At the pace so far."""
        return self.seconds / self.step * (self.steps - self.step)


@dataclass(frozen=True)
class Trained:
    """The members of the ensemble, and how they came to be."""

    members: list[tuple[str, Arrays]]
    """Kind and arrays of each."""
    measures: list[tuple[str, Arrays]]
    """For each, what its residuals are measured by: itself, or a coarser codebook."""
    summary: dict[str, Any]


def sizes(shape: TableShape, rows: int, settings: Model) -> tuple[list[int], list[int], int]:
    """Hidden widths, latent dimensions of each VAE and optimiser steps: as set, else by columns and rows.

    A category counts as the bits that tell its values apart. The first VAE has half as many latent dimensions as
    there are columns, the second as many, and so on in turn: a narrow one finds what breaks the relations between
    columns, a wide one keeps to the rows it has seen. Up to 24,000 rows 300 steps do, and 100 under 500 rows; beyond,
    every row is seen about thirteen times, up to 2,000 steps. docs/quality.md has the measurements.
    """
    bits = shape.varying + sum(math.log2(slots) for slots in shape.slots)
    width = min(128, max(64, 2 ** math.ceil(math.log2(max(bits, 1)))))
    half = max(2, min(32, round(bits / 2)))
    latents = [settings.latent or (half if m % 2 == 0 else 2 * half) for m in range(settings.members)]
    steps = 100 if rows < 500 else min(2000, max(300, rows // 80))
    return settings.hidden or [width, width // 2], latents, settings.steps or steps


@contextmanager
def torch_on_one_thread() -> Iterator[None]:
    """A small network loses more to handing work between threads than it gains."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch_on_one_thread()
def train(
    shape: TableShape,
    x_NV: NDArray[np.float32],
    codes_NC: NDArray[np.int32],
    settings: Model,
    seed: int,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Trained:
    """Train the members on encoded rows (NaN and -1: missing). The same input and seed give the same weights.

    Raises TrainingError where the loss stops being finite.
    """
    # Settings and data
    hidden, latents, steps = sizes(shape, len(x_NV), settings)
    generator = torch.Generator().manual_seed(seed)
    x_all, codes_all = torch.from_numpy(x_NV), torch.from_numpy(codes_NC)
    rows, batch_size = len(x_NV), min(settings.batch_size, len(x_NV))

    # Networks, optimiser
    network = DenseVAEs(shape, hidden, latents, generator)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )

    # Loop
    order_N, position = torch.randperm(rows, generator=generator), 0
    curve: list[list[float]] = []
    started = time.monotonic()
    for step in range(1, steps + 1):
        if position + batch_size > rows:
            order_N, position = torch.randperm(rows, generator=generator), 0
        index_B = order_N[position : position + batch_size]
        position += batch_size
        x_BV, codes_BC = x_all[index_B], codes_all[index_B]

        hidden_share = 2 * HIDE * torch.rand(batch_size, 1, generator=generator)
        shown = torch.rand(batch_size, x_BV.shape[1] + codes_BC.shape[1], generator=generator) >= hidden_share
        mu_MBZ, log_variance_MBZ = network.encode(as_input(shape, x_BV, codes_BC, shown))
        noise_MBZ = torch.randn(mu_MBZ.shape, generator=generator)
        mean_MBV, log_variance_MBV, logits = network.decode(mu_MBZ + torch.exp(0.5 * log_variance_MBZ) * noise_MBZ)
        target_BV = x_BV.clamp(-WINSOR, WINSOR).nan_to_num(0.0)
        nll_MB = gaussian_nll(target_BV, mean_MBV, log_variance_MBV, ~x_BV.isnan())
        for column, logits_MBK in enumerate(logits):
            nll_MB = nll_MB + categorical_nll(logits_MBK, codes_BC[:, column].long())
        loss = (nll_MB + settings.kl_weight * kl_divergence(mu_MBZ, log_variance_MBZ)).mean(dim=1).sum()

        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * rise_and_fall(step - 1, steps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

        if step % REPORT_EVERY == 0 or step == steps:
            mean_loss = float(loss.detach()) / len(latents)
            if not math.isfinite(mean_loss):
                raise TrainingError(
                    "Training diverged.", "a finite loss", f"{mean_loss} at step {step}", "Lower model.learning_rate."
                )
            curve.append([step, mean_loss])
            if progress:
                progress(TrainingProgress(step, steps, mean_loss, time.monotonic() - started))

    # Members: the dense VAEs, and the codebook, which takes no steps
    members: list[tuple[str, Arrays]] = [("vae", network.arrays(m)) for m in range(len(latents))]
    measures = members.copy()
    reports: list[dict[str, Any]] = [{"kind": "vae", "hidden": hidden, "latent": latent} for latent in latents]
    if settings.codes:
        codebook, coarse = Codebook.fit(shape, x_NV, codes_NC, settings.codes, seed)
        members.append(("codebook", codebook.arrays()))
        measures.append(("codebook", coarse.arrays()))
        reports.append({"kind": "codebook", "codes": len(codebook.bias_K)})
    return Trained(members, measures, {"steps": steps, "loss": mean_loss, "curve": curve, "members": reports})


def rise_and_fall(step: int, steps: int) -> float:
    """Share of the peak learning rate: a linear rise over the first tenth, then half a cosine down to zero."""
    rise = max(1, round(0.1 * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))


def as_input(shape: TableShape, x_BV: Tensor, codes_BC: Tensor, shown: Tensor | None = None) -> Tensor:
    """(B, I) the networks' input: clipped numbers, 0 where missing; missing flags; one-hot categories.

    ``shown`` (B, V + C): which of the cells may be seen; all by default.
    """
    if shown is None:
        shown = torch.ones(len(x_BV), shape.varying + len(shape.slots), dtype=torch.bool)
    seen_BV = ~x_BV.isnan() & shown[:, : shape.varying]
    parts = [torch.where(seen_BV, x_BV.clamp(-INPUT_CLIP, INPUT_CLIP), 0.0), (~seen_BV).float()]
    if shape.slots:
        code_BC = torch.where(shown[:, shape.varying :], codes_BC, -1).long()
        slot_BC = torch.where(code_BC < 0, sum(shape.slots), code_BC + torch.tensor(shape.starts))
        one_hot = torch.zeros(len(x_BV), sum(shape.slots) + 1).scatter_(1, slot_BC, 1.0)
        parts.append(one_hot[:, :-1])  # the last one: missing
    return torch.cat(parts, dim=1)

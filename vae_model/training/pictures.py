"""Fit the VAEs of pictures and of their patches, top to bottom: a sample, groups, networks, residuals.

Shapes as in ``networks.pictures`` and ``networks.edges``; S rows of a training set, B of a step, Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import linear, relu

from vae_model.errors import TrainingError
from vae_model.networks.edges import EDGES, PictureShape, coarser, windows
from vae_model.networks.pictures import PictureVAE, cells_of, summary
from vae_model.training.dense import LOG_VARIANCE_FLOOR, POSTERIOR_BOUNDS
from vae_model.training.elbo import gaussian_nll, kl_divergence
from vae_model.training.loop import Arrays, rise_and_fall, torch_on_one_thread

FEWEST = 20
"""Pictures, below which nothing can be said of what is usual."""
MAX_PICTURES = 20_000
"""So many at most are looked at, drawn by the seed."""
MAX_WINDOWS, MAX_RESIDUALS = 20_000, 60_000
"""So many windows train the VAE of patches, and so many tell how its residuals vary."""
WHOLE_HIDDEN, WHOLE_LATENT, WHOLE_STEPS = 128, 32, 300
HIDDEN, LATENT, STEPS = 64, 16, 400
"""Widths and optimiser steps of the two kinds of VAE; docs/images.md has what others gave."""
BATCH, LEARNING_RATE, KL_WEIGHT = 256, 3e-3, 0.1
SHRINKAGE = 0.01
"""Share of the residuals' covariance that is replaced by its mean variance in all directions."""
GROUPS, GROUP_SIZE, GROUP_GAIN = (1, 2, 3, 4, 6, 8), 50, 0.1
"""Numbers of groups that are tried; pictures that each needs on average; nats that a number of a held-out window must
be likelier by to take more groups: there are several things in the pictures, not one that varies."""
FLAT = 1e-3
"""Numbers that vary less are not made to count more, pixels being from 0 to 1: half a step of their 256."""


@dataclass(frozen=True)
class FittedPictures:
    """A trained network as arrays, and how it came to be."""

    arrays: Arrays
    sizes: dict[str, Any]
    """Widths and numbers that ``PictureVAE.stored`` asks for."""
    summary: dict[str, Any]


@torch_on_one_thread()
def fit(shape: PictureShape, pixels_NHWC: NDArray[np.uint8], seed: int) -> FittedPictures:
    """Train on ordinary pictures, a few odd ones among them. The same pictures and seed give the same weights.

    Raises TrainingError where there are fewer than 20 pictures, or the loss stops being finite.
    """
    if len(pixels_NHWC) < FEWEST:
        raise TrainingError("Too few pictures.", f"at least {FEWEST} that can be read", f"{len(pixels_NHWC)}")
    draw = np.random.default_rng(seed)
    if len(pixels_NHWC) > MAX_PICTURES:
        pixels_NHWC = pixels_NHWC[np.sort(draw.choice(len(pixels_NHWC), MAX_PICTURES, replace=False))]
    cells_MRQN = cells_of(shape, pixels_NHWC)
    scales = [cells_MRQN] if len(shape.grids) == 1 else [cells_MRQN, coarser(cells_MRQN)]

    arrays, group_N = _groups(shape, scales, draw)
    groups = len(arrays["groups.middles"])
    losses = {}

    edges_ND = cells_MRQN[1 : 1 + EDGES].reshape(-1, cells_MRQN.shape[-1]).T
    edges_ND = edges_ND / (np.sqrt(np.square(edges_ND).sum(axis=1, keepdims=True)) + np.float32(1e-6))
    of_whole = _VAE(edges_ND, WHOLE_HIDDEN, WHOLE_LATENT, seed, flat=max(FLAT, float(edges_ND.std(axis=0).mean())))
    losses["whole"] = of_whole.fit(edges_ND, WHOLE_STEPS)
    arrays |= of_whole.arrays("whole")

    for scale, own_MRQN in enumerate(scales):
        name = f"patches{scale}"
        x_SK, group_S = _sample(shape, scale, own_MRQN, group_N, MAX_RESIDUALS, draw)
        of_patches = _VAE(x_SK[:MAX_WINDOWS], HIDDEN, LATENT, seed, FLAT)
        losses[name] = of_patches.fit(x_SK[:MAX_WINDOWS], STEPS)
        arrays |= of_patches.arrays(name)
        left_SK = of_patches.residuals(x_SK)
        white = [_whitening(left_SK[group_S == group]) for group in range(groups)]
        arrays[f"{name}.whitening"] = np.concatenate([matrix for matrix, _ in white]).astype(np.float32)
        arrays[f"{name}.shift"] = np.stack([shift for _, shift in white]).astype(np.float32)

    arrays["usual"] = np.zeros(1 + len(scales), np.float32)
    some = pixels_NHWC[:: -(-len(pixels_NHWC) // 500)]
    arrays["usual"] = PictureVAE.from_arrays(shape, arrays).statistics(some)[0].mean(axis=0).astype(np.float32)
    widths = {"whole_hidden": [WHOLE_HIDDEN], "whole_latent": WHOLE_LATENT, "hidden": [HIDDEN], "latent": LATENT}
    return FittedPictures(
        arrays,
        {**widths, "groups": groups},
        {"pictures": len(pixels_NHWC), "steps": WHOLE_STEPS + len(scales) * STEPS, "losses": losses},
    )


def _sample(
    shape: PictureShape,
    scale: int,
    cells_MRQN: NDArray[np.float32],
    group_N: NDArray[np.intp],
    most: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """(S, K) windows in random order, and the group (S,) of each one's picture."""
    down, across = shape.windows(scale)
    pictures = cells_MRQN.shape[-1]
    # Whole pictures are cut, some at a time: all windows of all pictures would not fit.
    take_N = draw.permutation(pictures)[: max(1, -(-4 * most // (down * across)))]
    each = -(-most // len(take_N))
    parts, groups = [], []
    for start in range(0, len(take_N), 64):
        own_N = take_N[start : start + 64]
        seen_KPN = windows(cells_MRQN[..., own_N], *shape.window(scale))
        places = np.stack([draw.permutation(down * across)[:each] for _ in own_N])
        parts.append(seen_KPN[:, places, np.arange(len(own_N))[:, None]].reshape(len(seen_KPN), -1).T)
        groups.append(np.repeat(group_N[own_N], places.shape[1]))
    order = draw.permutation(sum(map(len, parts)))[:most]
    return np.ascontiguousarray(np.concatenate(parts)[order]), np.concatenate(groups)[order]


def _whitening(left_SK: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """W (K, K) and m (K,) such that W x - m has mean 0 and no correlations."""
    middle_K = left_SK.mean(axis=0, dtype=np.float64)
    covariance = np.atleast_2d(np.cov((left_SK - middle_K).T))
    level = max(float(np.trace(covariance)) / len(covariance), FLAT**2)
    shrunken = (1 - SHRINKAGE) * covariance + SHRINKAGE * level * np.eye(len(covariance))
    matrix = np.linalg.inv(np.linalg.cholesky(shrunken))
    return matrix, matrix @ middle_K


def _groups(
    shape: PictureShape, scales: list[NDArray[np.float32]], draw: np.random.Generator
) -> tuple[Arrays, NDArray[np.intp]]:
    """Groups of pictures that are alike, and the group of each: the fewest than which no more are clearly better.

    Better is a larger likelihood of the windows of pictures held out (a quarter), each as of its group's Gaussian.
    """
    facts_NX = summary(scales[0])
    center_X, scale_X = facts_NX.mean(axis=0), np.maximum(facts_NX.std(axis=0), FLAT)
    x_NX = (facts_NX - center_X) / scale_X
    pictures = len(x_NX)
    own_K = shape.window_numbers(len(scales) - 1)
    is_held_N = np.zeros(pictures, bool)
    is_held_N[draw.permutation(pictures)[: pictures // 4]] = True

    window_SK, picture_S = _sample(
        shape, len(scales) - 1, scales[-1], np.arange(pictures), MAX_WINDOWS, np.random.default_rng(0)
    )
    tried: list[tuple[float, NDArray[np.float64], NDArray[np.intp]]] = []
    for groups in GROUPS:
        if groups > 1 and pictures < groups * GROUP_SIZE:
            break
        middle_GX, group_N = _k_means(x_NX, groups, draw)
        group_S, is_held_S = group_N[picture_S], is_held_N[picture_S]
        total = 0.0
        for group in range(groups):
            fitted_SK, held_SK = (window_SK[(group_S == group) & (is_held_S == held)] for held in (False, True))
            if len(fitted_SK) < 2 * own_K:
                total = math.inf
                break
            matrix, shift = _whitening(fitted_SK)
            total += 0.5 * np.square(held_SK @ matrix.T - shift).sum() - len(held_SK) * np.log(np.diag(matrix)).sum()
        tried.append((total / (is_held_S.sum() * own_K), middle_GX, group_N))
    best = min(loss for loss, _, _ in tried)
    _, middle_GX, group_N = next(one for one in tried if one[0] <= best + GROUP_GAIN)
    arrays = {"groups.center": center_X, "groups.scale": scale_X, "groups.middles": middle_GX}
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}, group_N


def _k_means(
    x_NX: NDArray[np.float64], groups: int, draw: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """(G, X) middles and (N,) groups: Lloyd's algorithm from the best of four k-means++ starts (Arthur and
    Vassilvitskii 2007).
    """
    starts: list[tuple[float, NDArray[np.float64], NDArray[np.intp]]] = []
    for _ in range(4):
        middle_GX = x_NX[draw.integers(len(x_NX), size=1)]
        while len(middle_GX) < groups:
            near_N = _squared(x_NX, middle_GX).min(axis=1) + 1e-12
            middle_GX = np.vstack([middle_GX, x_NX[draw.choice(len(x_NX), p=near_N / near_N.sum())]])
        for _ in range(20):
            group_N = _squared(x_NX, middle_GX).argmin(axis=1)
            middle_GX = np.stack(
                [x_NX[group_N == g].mean(axis=0) if (group_N == g).any() else middle_GX[g] for g in range(groups)]
            )
        squared_NG = _squared(x_NX, middle_GX)
        starts.append((float(squared_NG.min(axis=1).sum()), middle_GX, squared_NG.argmin(axis=1)))
    _, middle_GX, group_N = min(starts, key=lambda start: start[0])
    return middle_GX, group_N


def _squared(x_NX: NDArray[np.float64], middle_GX: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, G) squared distances."""
    return np.stack([np.square(x_NX - middle_X).sum(axis=1) for middle_X in middle_GX], axis=1)


class _TwoLayers(torch.nn.Module):
    """A hidden layer and a linear one, started as those of a table (``training.dense``)."""

    def __init__(self, widths: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        self.weights, self.biases = torch.nn.ParameterList(), torch.nn.ParameterList()
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            bound = math.sqrt(3 / inputs) * (0.3 if i else 1.0)
            start = bound * (2 * torch.rand(outputs, inputs, generator=generator) - 1)
            self.weights.append(torch.nn.Parameter(start))
            self.biases.append(torch.nn.Parameter(torch.zeros(outputs)))

    def forward(self, x_BK: Tensor) -> Tensor:
        """Through both."""
        return linear(relu(linear(x_BK, self.weights[0], self.biases[0])), self.weights[1], self.biases[1])

    def layers(self) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Weights (inputs x outputs) and biases."""
        return [
            (weight.detach().numpy().T.astype(np.float64), bias.detach().numpy().astype(np.float64))
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]


class _VAE(torch.nn.Module):
    """A VAE of vectors of one kind of number: one hidden layer a side, one output variance a number."""

    def __init__(self, x_SK: NDArray[np.float32], hidden: int, latent: int, seed: int, flat: float) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)
        self.center_K = torch.from_numpy(x_SK.mean(axis=0, dtype=np.float64).astype(np.float32))
        self.scale_K = torch.from_numpy(np.maximum(x_SK.std(axis=0, dtype=np.float64), flat).astype(np.float32))
        width = x_SK.shape[1]
        self.encoder = _TwoLayers([width, hidden, 2 * latent], self.generator)
        self.decoder = _TwoLayers([latent, hidden, width], self.generator)
        self.log_variance_K = torch.nn.Parameter(torch.zeros(width))

    def loss(self, x_BK: Tensor) -> Tensor:
        """The loss of some vectors: their mean negative evidence lower bound."""
        mean_BZ, log_variance_BZ = self.encoder(x_BK).chunk(2, dim=1)
        log_variance_BZ = log_variance_BZ.clamp(*POSTERIOR_BOUNDS)
        noise_BZ = torch.randn(mean_BZ.shape, generator=self.generator)
        out_BK = self.decoder(mean_BZ + torch.exp(0.5 * log_variance_BZ) * noise_BZ)
        log_variance_K = self.log_variance_K.clamp_min(LOG_VARIANCE_FLOOR)
        nll_B = gaussian_nll(x_BK, out_BK, log_variance_K, torch.ones(x_BK.shape[1]))
        return (nll_B + KL_WEIGHT * kl_divergence(mean_BZ, log_variance_BZ)).mean()

    def fit(self, x_SK: NDArray[np.float32], steps: int) -> float:
        """Train; the loss of the last step."""
        x_all = torch.from_numpy(np.ascontiguousarray(x_SK))
        optimiser = torch.optim.AdamW(self.parameters(), LEARNING_RATE, betas=(0.9, 0.99), weight_decay=1e-4)
        for step in range(steps):
            index_B = torch.randint(len(x_all), (min(BATCH, len(x_all)),), generator=self.generator)
            loss = self.loss((x_all[index_B] - self.center_K) / self.scale_K)
            for group in optimiser.param_groups:
                group["lr"] = LEARNING_RATE * rise_and_fall(step, steps)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        last = float(loss.detach())
        if not math.isfinite(last):
            raise TrainingError("Training on pictures diverged.", "a finite loss", f"{last}")
        return last

    @torch.no_grad()
    def residuals(self, x_SK: NDArray[np.float32]) -> NDArray[np.float32]:
        """(S, K) what is left of vectors when what the posterior mean decodes to is taken off."""
        x = (torch.from_numpy(x_SK) - self.center_K) / self.scale_K
        mean_SZ, _ = self.encoder(x).chunk(2, dim=1)
        return np.asarray(((x - self.decoder(mean_SZ)) * self.scale_K).numpy())

    def arrays(self, name: str) -> Arrays:
        """Weights (inputs x outputs) and biases of vectors as they are: their center and scale are taken into the first
        layer and the last. No log-variance of the posterior: scoring is from its mean.
        """
        center_K, scale_K = (own.numpy().astype(np.float64) for own in (self.center_K, self.scale_K))
        (into, into_bias), (mean, mean_bias) = self.encoder.layers()
        (out, out_bias), (last, last_bias) = self.decoder.layers()
        into = into / scale_K[:, None]
        latent = len(out)
        layers = {
            "encoder.0": (into, into_bias - center_K @ into),
            "encoder.1": (mean[:, :latent], mean_bias[:latent]),
            "decoder.0": (out, out_bias),
            "decoder.1": (last * scale_K, last_bias * scale_K + center_K),
        }
        return {
            f"{name}.{layer}.{part}": np.ascontiguousarray(array, np.float32)
            for layer, of_layer in layers.items()
            for part, array in zip(("weight", "bias"), of_layer, strict=True)
        }

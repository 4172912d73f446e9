"""The dense VAE in torch: an encoder to mean and log-variance, a decoder to column means and category logits.

Several VAEs, the members of an ensemble, are one module whose parameters have a leading axis: a step of all of them
costs the overhead of one. Shapes as in ``inputs``: M members, N rows, I inputs, O outputs, Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import relu

from vae_model.networks.inputs import TableShape

LOG_VARIANCE_FLOOR = 2 * math.log(0.02)
"""A column's decoder deviation never falls under 0.02 training deviations: a copied column must not swamp the rest."""
POSTERIOR_BOUNDS = (-8.0, 4.0)
"""Range of the posterior's log-variance, for stable exponentials."""


class DenseVAEs(nn.Module):
    """Each with its own number of latent dimensions between two mirrored multilayer perceptrons, and one output
    variance for each number.
    """

    used_MNZ: Tensor

    def __init__(
        self, shape: TableShape, hidden: Sequence[int], latents: Sequence[int], generator: torch.Generator
    ) -> None:
        super().__init__()
        self.shape, self.latents = shape, latents
        members, widest = len(latents), max(latents)
        self.encoder = _perceptrons(members, [shape.inputs, *hidden, 2 * widest], generator)
        self.decoder = _perceptrons(members, [widest, *reversed(hidden), shape.outputs], generator)
        self.log_variance_MNV = nn.Parameter(torch.zeros(members, 1, shape.varying))
        used = torch.arange(widest) < torch.tensor(list(latents))[:, None, None]
        self.register_buffer("used_MNZ", used.float())

    def encode(self, h_NI: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior means and log-variances, each (M, N, Z); those of the prior in dimensions a member has not."""
        mu, log_variance = torch.chunk(_run(self.encoder, h_NI), 2, dim=-1)
        return mu * self.used_MNZ, log_variance.clamp(*POSTERIOR_BOUNDS) * self.used_MNZ

    def decode(self, z_MNZ: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Means of the numbers (M, N, V), their log-variances (M, 1, V), and the logits of each category
        (M, N, K_c + 1).
        """
        out = _run(self.decoder, z_MNZ * self.used_MNZ)
        mean, *logits = torch.split(out, [self.shape.varying, *self.shape.slots], dim=-1)
        return mean, self.log_variance_MNV.clamp_min(LOG_VARIANCE_FLOOR), logits

    def arrays(self, member: int) -> dict[str, NDArray[np.float32]]:
        """The weights of a member that scoring needs, as ``networks.dense.DenseVAE.from_arrays`` takes them: inputs x
        outputs, no log-variance of the posterior (scoring is from its mean).
        """
        latent, out = self.latents[member], {}
        for side, layers in (("encoder", self.encoder), ("decoder", self.decoder)):
            for i, (weight, bias) in enumerate(zip(layers[::2], layers[1::2], strict=True)):
                last, first = side == "encoder" and 2 * i + 2 == len(layers), side == "decoder" and i == 0
                w, b = weight[member].detach().numpy(), bias[member, 0].detach().numpy()
                w, b = (w[:, :latent], b[:latent]) if last else (w[:latent] if first else w, b)
                out[f"{side}.{i}.weight"], out[f"{side}.{i}.bias"] = w.copy(order="C"), b.copy()
        out["log_variance"] = self.log_variance_MNV[member, 0].clamp_min(LOG_VARIANCE_FLOOR).detach().numpy().copy()
        return out


def _perceptrons(members: int, widths: Sequence[int], generator: torch.Generator) -> nn.ParameterList:
    """Weight and bias of each layer, uniform weights of variance 1 / fan-in (LeCun 1998), the last ones smaller: a calm
    start.
    """
    layers = nn.ParameterList()
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        bound = math.sqrt(3 / inputs) * (0.3 if i == len(widths) - 2 else 1.0)
        layers.append(nn.Parameter(bound * (2 * torch.rand(members, inputs, outputs, generator=generator) - 1)))
        layers.append(nn.Parameter(torch.zeros(members, 1, outputs)))
    return layers


def _run(layers: nn.ParameterList, h: Tensor) -> Tensor:
    """Through all layers. ``h`` is (N, inputs), the same for all members, or (M, N, inputs)."""
    h = h.expand(len(layers[0]), *h.shape[-2:])
    for i in range(0, len(layers), 2):
        h = torch.baddbmm(layers[i + 1], relu(h) if i else h, layers[i])
    return h

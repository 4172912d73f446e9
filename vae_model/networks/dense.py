"""The dense VAE in torch: an encoder to mean and log-variance, a decoder to column means and category logits.

Shapes as in ``forward``: N rows, I inputs, O outputs, Z latent dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import silu

from vae_model.networks.forward import Layout

LOG_VARIANCE_FLOOR = 2 * math.log(0.02)
"""A column's decoder deviation never falls under 0.02 training deviations: a copied column must not swamp the rest."""
POSTERIOR_BOUNDS = (-8.0, 4.0)
"""Range of the posterior's log-variance, for stable exponentials."""


class DenseVAE(nn.Module):
    """``latent`` dimensions between two mirrored multilayer perceptrons; one output variance for each number."""

    def __init__(self, layout: Layout, hidden: Sequence[int], latent: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layout, self.latent = layout, latent
        self.encoder = _perceptron([layout.inputs, *hidden, 2 * latent], generator)
        self.decoder = _perceptron([latent, *reversed(hidden), layout.outputs], generator)
        self.log_variance = nn.Parameter(torch.zeros(layout.varying))

    def encode(self, h_NI: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and log-variance, each (N, Z)."""
        mu_NZ, log_variance_NZ = torch.split(_run(self.encoder, h_NI), self.latent, dim=1)
        return mu_NZ, log_variance_NZ.clamp(*POSTERIOR_BOUNDS)

    def decode(self, z_NZ: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Means of the numbers (N, V), their log-variances (V,), and the logits of each category (N, K_c + 1)."""
        mean_NV, *logits = torch.split(_run(self.decoder, z_NZ), [self.layout.varying, *self.layout.slots], dim=1)
        return mean_NV, self.log_variance.clamp_min(LOG_VARIANCE_FLOOR), logits

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The weights that scoring needs, as ``Forward.from_arrays`` takes them: inputs x outputs, no log-variance
        of the posterior (scoring is from its mean).
        """
        out = {}
        for side, layers in (("encoder", self.encoder), ("decoder", self.decoder)):
            for i, layer in enumerate(layers):
                assert isinstance(layer, nn.Linear)  # noqa: S101 - for the type checker
                keep = self.latent if side == "encoder" and i == len(layers) - 1 else layer.out_features
                out[f"{side}.{i}.weight"] = layer.weight[:keep].T.detach().numpy().copy(order="C")
                out[f"{side}.{i}.bias"] = layer.bias[:keep].detach().numpy().copy()
        out["log_variance"] = self.log_variance.clamp_min(LOG_VARIANCE_FLOOR).detach().numpy().copy()
        return out


def _perceptron(widths: Sequence[int], generator: torch.Generator) -> nn.ModuleList:
    """Linear layers, uniform weights of variance 1 / fan-in (LeCun 1998), the last one smaller: a calm start."""
    layers = nn.ModuleList()
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        layer = nn.utils.skip_init(nn.Linear, inputs, outputs)  # type: ignore[no-untyped-call]
        bound = math.sqrt(3 / inputs) * (0.3 if i == len(widths) - 2 else 1.0)
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.zeros_(layer.bias)
        layers.append(layer)
    return layers


def _run(layers: nn.ModuleList, h: Tensor) -> Tensor:
    for i, layer in enumerate(layers):
        h = layer(h)
        if i < len(layers) - 1:
            h = silu(h)
    return h

"""A trained dense VAE as NumPy: the deterministic forward pass from the posterior mean.

Shapes as in ``layout``; Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.layout import Expected, Inputs, Layout

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Forward:
    """Encoder mean and decoder as weight matrices (inputs x outputs), ReLU between the layers."""

    layout: Layout
    encoder: tuple[Layer, ...]
    decoder: tuple[Layer, ...]
    log_variance_V: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a member's arrays: ``encoder.0.weight``, ``encoder.0.bias``, …, ``decoder.…``, ``log_variance``."""

        def stack(side: str) -> tuple[Layer, ...]:
            depth = sum(name.startswith(f"{side}.") for name in arrays) // 2
            return tuple((arrays[f"{side}.{i}.weight"], arrays[f"{side}.{i}.bias"]) for i in range(depth))

        return cls(layout, stack("encoder"), stack("decoder"), arrays["log_variance"])

    def residuals(self, inputs: Inputs, mean_NV: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, V) Pearson residuals of the numbers, in the decoder's standard deviations; NaN where missing."""
        residual_NV = np.subtract(inputs.x_NV, mean_NV)
        residual_NV *= np.exp(-0.5 * self.log_variance_V)
        return residual_NV

    def __call__(self, inputs: Inputs) -> Expected:
        """Decoder mean of the numbers (N, V), and the log-probabilities of each category's slots (N, K_c + 1)."""
        (weight, bias), *rest = self.encoder
        h = inputs.through(weight, self.layout)
        h += bias
        for weight, bias in (*rest, *self.decoder):
            if weight is not self.decoder[0][0]:  # the posterior mean goes into the decoder as it is
                np.maximum(h, 0, out=h)
            h = h @ weight
            h += bias
        log_probabilities = []
        first = self.layout.varying
        for slots in self.layout.slots:
            logits = h[:, first : first + slots]
            top = logits.max(axis=1, keepdims=True)
            log_probabilities.append(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
            first += slots
        return h[:, : self.layout.varying], log_probabilities

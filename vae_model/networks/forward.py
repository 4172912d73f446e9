"""The network as NumPy: what goes in, what comes out, and the deterministic forward pass from the posterior mean.

Shapes: N rows, V varying numeric columns, C categorical columns, K_c + 1 slots of category c (the last one is
shared by rare values), I inputs = 2 V + sum of slots, O outputs = V + sum of slots, Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 1024
"""Rows per forward pass. Blocks are padded to this size, so that a matrix product always has one shape and a row's
score does not depend on how many neighbours it was sent with."""
CLIP = 10.0
"""Inputs of the encoder stop at this many standard deviations: one wild value must not blur the other columns."""


@dataclass(frozen=True)
class Layout:
    """Where each column sits in the network's input and output."""

    varying: int
    """V"""
    slots: tuple[int, ...]
    """Slots per category, the shared one included."""

    @property
    def inputs(self) -> int:
        """Width of the input."""
        return 2 * self.varying + sum(self.slots)

    @property
    def outputs(self) -> int:
        """Width of the output."""
        return self.varying + sum(self.slots)

    def input(self, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]) -> NDArray[np.float32]:
        """(N, I): clipped numbers (0 where missing), a missing flag for each, one-hot categories (all 0: missing)."""
        h_NI = np.zeros((len(x_NV), self.inputs), dtype=np.float32)
        numbers = np.clip(x_NV, -CLIP, CLIP, out=h_NI[:, : self.varying])
        missing = np.isnan(numbers)
        if missing.any():
            numbers[missing] = 0
            h_NI[:, self.varying : 2 * self.varying] = missing
        start = 2 * self.varying
        rows = np.arange(len(x_NV))
        for category, slots in enumerate(self.slots):
            code = codes_NC[:, category]
            seen = code >= 0
            h_NI[rows[seen], start + code[seen]] = 1
            start += slots
        return h_NI


@dataclass(frozen=True)
class Forward:
    """Encoder mean and decoder as weight matrices (inputs x outputs), SiLU between the layers."""

    layout: Layout
    encoder: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    decoder: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
    log_variance_V: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Forward:
        """From a model file's arrays: ``encoder.0.weight``, ``encoder.0.bias``, …, ``decoder.…``, ``log_variance``."""

        def stack(side: str) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]:
            depth = sum(name.startswith(f"{side}.") for name in arrays) // 2
            return tuple((arrays[f"{side}.{i}.weight"], arrays[f"{side}.{i}.bias"]) for i in range(depth))

        return cls(layout, stack("encoder"), stack("decoder"), arrays["log_variance"])

    def __call__(
        self, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Decoder mean of the numbers (N, V), and the log-probabilities of each category's slots (N, K_c + 1)."""
        rows = len(x_NV)
        h = self.layout.input(x_NV, codes_NC)
        if rows < BLOCK:
            h = np.concatenate([h, np.zeros((BLOCK - rows, h.shape[1]), dtype=np.float32)])
        out_NO = _dense(_dense(h, self.encoder), self.decoder)[:rows]
        log_probabilities = []
        start = self.layout.varying
        for slots in self.layout.slots:
            logits = out_NO[:, start : start + slots]
            top = logits.max(axis=1, keepdims=True)
            log_probabilities.append(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))
            start += slots
        return out_NO[:, : self.layout.varying], log_probabilities


def _dense(
    h: NDArray[np.float32], layers: tuple[tuple[NDArray[np.float32], NDArray[np.float32]], ...]
) -> NDArray[np.float32]:
    for i, (weight, bias) in enumerate(layers):
        h = h @ weight
        h += bias
        if i < len(layers) - 1:
            e = np.negative(h)  # SiLU in place: h * sigmoid(h) = h / (1 + exp(-h)); 80 keeps exp within float32
            np.exp(np.minimum(e, 80, out=e), out=e)
            e += 1
            h /= e
    return h

"""A trained dense VAE as NumPy: the deterministic forward pass from the posterior mean.

Shapes as in ``inputs``; Z latent dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.inputs import Expected, FirstLayer, Inputs, TableShape
from vae_model.networks.products import multiply
from vae_model.networks.stored import Sizes, Stored

MAX_WEIGHT = 1e6
"""No weight or bias is larger. Those of trained networks are about 1."""
MAX_LOG_VARIANCE = 80.0
"""Deviations then are within 1e-17 and 1e17: their squares are 32-bit floats."""


@dataclass(frozen=True)
class DenseVAE:
    """Encoder mean and decoder as one perceptron, with its additions taken out of the loop.

    A layer's bias b is not added: max(h + b, 0) = max(h, -b) + b, and the b outside, which is the same for every row,
    goes through the next layer's weights into its bias. Only what is left at the end is added. The posterior mean goes
    into the decoder as it is, so that the two layers about it are one matrix, where that is no larger than the two.
    """

    kind: ClassVar[str] = "vae"
    needs_imputed: ClassVar[bool] = False

    shape: TableShape
    first: FirstLayer
    floors: tuple[NDArray[np.float32] | None, ...]
    """-b before each layer but the first, (units, 1); None where the posterior mean goes in."""
    weights: tuple[NDArray[np.float32], ...]
    """Of each layer but the first, outputs x inputs."""
    shift_O: NDArray[np.float32]
    log_variance_V: NDArray[np.float32]

    @classmethod
    def stored(cls, shape: TableShape, sizes: Sizes) -> Iterator[tuple[str, Stored]]:
        """The arrays that ``from_arrays`` takes, by the widths of the hidden layers and the latent dimensions."""
        widths = [shape.inputs, *sizes.counts("hidden"), sizes.count("latent")]
        mirrored = [*widths[:0:-1], shape.outputs]
        yield "log_variance", Stored((shape.varying,), -MAX_LOG_VARIANCE, MAX_LOG_VARIANCE)
        for side, of_side in (("encoder", widths), ("decoder", mirrored)):
            for i, (inputs, outputs) in enumerate(pairwise(of_side)):
                yield f"{side}.{i}.weight", Stored((inputs, outputs), -MAX_WEIGHT, MAX_WEIGHT)
                yield f"{side}.{i}.bias", Stored((outputs,), -MAX_WEIGHT, MAX_WEIGHT)

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # of weights that no training made: their rows then have no score
    def from_arrays(cls, shape: TableShape, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a member's arrays: ``encoder.0.weight``, ``encoder.0.bias``, …, ``decoder.…``, ``log_variance``."""
        encoder, decoder = (_stack(arrays, side) for side in ("encoder", "decoder"))
        *outer, (into, into_bias) = encoder
        (out_of, out_of_bias), *inner = decoder
        merged = into.size + out_of.size >= len(into) * out_of.shape[1]
        middle = [(into @ out_of, into_bias @ out_of + out_of_bias)] if merged else [encoder[-1], decoder[0]]
        layers = [*outer, *middle, *inner]
        seam = None if merged else len(encoder)

        floors: list[NDArray[np.float32] | None] = []
        weights, left_out = [], np.zeros(shape.inputs)
        for i, (weight, bias) in enumerate(layers):
            if i:
                floors.append(None if i == seam else -left_out.astype(np.float32)[:, None])
                weights.append(np.ascontiguousarray(weight.T, np.float32))
            left_out = left_out @ weight + bias
        first = FirstLayer.of(layers[0][0].astype(np.float32), shape)
        shift_O = left_out.astype(np.float32)
        return cls(shape, first, tuple(floors), tuple(weights), shift_O, arrays["log_variance"])

    @cached_property
    def deviation_V(self) -> NDArray[np.float32]:
        """The decoder's standard deviations."""
        return np.asarray(np.exp(0.5 * self.log_variance_V))

    def numbers(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, V, W) the numbers as encoded; NaN where missing."""
        return inputs.table.x_BVW

    def __call__(self, inputs: Inputs) -> Expected:
        """Decoder mean of the numbers, and the log-probabilities of each category's slots."""
        table, buffers = inputs.table, inputs.buffers
        size, _, rows = table.x_BVW.shape
        first_BHW = buffers.scratch(0, size, len(self.first.numbers_HV), rows)
        h = self.first(table.numbers_BVW, table.flags_BVW, table.codes_BCW, first_BHW, buffers)
        for i, (floor, weight) in enumerate(zip(self.floors, self.weights, strict=True), 1):
            if floor is not None:
                np.maximum(h, floor, out=h)
            name = "expected" if i == len(self.weights) else ("scratch", i % 2)
            h = multiply(weight, h, buffers(name, size, len(weight), rows))
        h += self.shift_O[:, None]
        for own in self.shape.categories:
            logits_BSW = h[:, own]
            logits_BSW -= logits_BSW.max(axis=1, keepdims=True)
            logits_BSW -= np.log(np.exp(logits_BSW).sum(axis=1, keepdims=True))
        return h


def _stack(arrays: Mapping[str, NDArray[Any]], side: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Weights and biases of the encoder or the decoder."""
    depth = sum(name.startswith(f"{side}.") for name in arrays) // 2
    return [
        (arrays[f"{side}.{i}.weight"].astype(np.float64), arrays[f"{side}.{i}.bias"].astype(np.float64))
        for i in range(depth)
    ]

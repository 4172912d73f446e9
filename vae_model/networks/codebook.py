"""A codebook: the autoencoder whose latent is one of K codes. Each code expects typical numbers and category shares.

Where a dense VAE bends to the rows between its training rows, a codebook does not: it knows only what it has seen, and
sees what the dense ones let pass. With equal variances in all codes it is a mixture model; it is fitted by hard EM,
which is k-means (Lloyd, "Least squares quantization in PCM", 1982) from the seeding of Arthur and Vassilvitskii
("k-means++", 2007), and used as VQ-VAE uses its codes (van den Oord, Vinyals and Kavukcuoglu, 2017): nearest first.

The squared distance of a row to a code, over the cells that are there, is sum_j w_j (x_j - m_kj)^2. Less the part all
codes share it is linear in the input, so that the encoder is one matrix. w_j is one over the variance within codes.

Shapes as in ``layout``; K codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.layout import Inputs, Layout

ROWS_PER_CODE = 8
"""At least so many training rows for each code, on average."""
MAX_ROWS = 20_000
"""A codebook is fitted on at most this many rows."""
COARSE = 16
"""Codes of the first fit, which finds how far rows scatter about a code in each column."""
ITERATIONS = 20
"""Of Lloyd's algorithm, each time. It has all but settled by then."""
CLIP = 6.0
"""Numbers stop here while the codes are found: a wild value must not get a code of its own."""
FLOOR = 0.05
"""A column's variance within codes counts as at least this share of the columns' mean."""


@dataclass(frozen=True)
class Codebook:
    """Codes with what each of them expects."""

    layout: Layout
    weight_IK: NDArray[np.float32]
    """Inputs to scores of the codes: the highest is the nearest."""
    bias_K: NDArray[np.float32]
    mean_KV: NDArray[np.float32]
    log_share_KS: NDArray[np.float32]
    """Log-probabilities of all categories' slots, side by side."""
    log_variance_V: NDArray[np.float32]

    @classmethod
    def from_arrays(cls, layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a member's arrays."""
        return cls(layout, *(arrays[name] for name in ("weight", "bias", "mean", "log_share", "log_variance")))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """For a model file."""
        return {name.rpartition("_")[0]: array for name, array in vars(self).items() if name != "layout"}

    def __call__(self, inputs: Inputs) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Expected numbers (N, V), and the log-probabilities of each category's slots (N, K_c + 1)."""
        score_NK = inputs.through(self.weight_IK, self.layout)
        score_NK += self.bias_K
        code_N = score_NK.argmax(axis=1)
        log_share_NS = self.log_share_KS[code_N]
        bounds = zip(self.layout.starts, self.layout.slots, strict=True)
        return self.mean_KV[code_N], [log_share_NS[:, start : start + slots] for start, slots in bounds]

    @classmethod
    def fit(
        cls, layout: Layout, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], size: int, seed: int
    ) -> Self:
        """At most ``size`` codes from encoded rows (NaN and -1: missing). The same input and seed give the same codes."""
        draw = np.random.default_rng(seed)
        if len(x_NV) > MAX_ROWS:
            chosen = np.sort(draw.choice(len(x_NV), MAX_ROWS, replace=False))
            x_NV, codes_NC = x_NV[chosen], codes_NC[chosen]
        target_NO, seen_NO = _one_hot(layout, x_NV, codes_NC)
        size = max(1, min(size, len(x_NV) // ROWS_PER_CODE))
        weight_O = np.ones(layout.outputs, dtype=np.float32)
        code_N, mean_KO = _lloyd(target_NO, seen_NO, weight_O, min(size, COARSE), draw)
        variance_O = _variance(layout, target_NO, seen_NO, mean_KO[code_N])
        weight_O = (1 / variance_O).astype(np.float32)
        code_N, mean_KO = _lloyd(target_NO, seen_NO, weight_O, size, draw)
        return cls._from_codes(layout, target_NO, seen_NO, weight_O, code_N, mean_KO)

    @classmethod
    def _from_codes(
        cls,
        layout: Layout,
        target_NO: NDArray[np.float32],
        seen_NO: NDArray[np.float32],
        weight_O: NDArray[np.float32],
        code_N: NDArray[np.intp],
        mean_KO: NDArray[np.float32],
    ) -> Self:
        varying = layout.varying
        cost_KO = weight_O * mean_KO**2  # of a cell that is 0; what is missing must cost nothing
        linear_KO = 2 * weight_O * mean_KO
        slots = []
        for start, count in zip(layout.starts, layout.slots, strict=True):
            own = slice(varying + start, varying + start + count)
            slots.append(linear_KO[:, own] - cost_KO[:, own].sum(axis=1, keepdims=True))
        weight_KI = np.concatenate([linear_KO[:, :varying], cost_KO[:, :varying], *slots], axis=1)

        # A code's shares are drawn towards the shares of the column by one row's worth: nothing is impossible.
        share_KO = np.ones_like(mean_KO)
        total_O, seen_O = (target_NO * seen_NO).sum(axis=0), seen_NO.sum(axis=0)
        count_KO = _sums(code_N, seen_NO, len(mean_KO))
        for start, count in zip(layout.starts, layout.slots, strict=True):
            own = slice(varying + start, varying + start + count)
            overall = (total_O[own] + 1 / count) / (seen_O[own] + 1)
            share_KO[:, own] = (mean_KO[:, own] * count_KO[:, own] + overall) / (count_KO[:, own] + 1)
        variance_O = _variance(layout, target_NO, seen_NO, mean_KO[code_N])
        return cls(
            layout,
            np.ascontiguousarray(weight_KI.T, dtype=np.float32),
            -cost_KO[:, :varying].sum(axis=1, dtype=np.float32),
            np.ascontiguousarray(mean_KO[:, :varying], dtype=np.float32),
            np.log(share_KO[:, varying:]).astype(np.float32),
            np.log(variance_O[:varying]).astype(np.float32),
        )


def _one_hot(
    layout: Layout, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Numbers and one-hot categories side by side, 0 where missing, and 1 for each that is not."""
    target = np.zeros((len(x_NV), layout.outputs), dtype=np.float32)
    seen = np.ones_like(target)
    missing = np.isnan(x_NV)
    target[:, : layout.varying] = np.where(missing, 0, np.clip(x_NV, -CLIP, CLIP))
    seen[:, : layout.varying] = ~missing
    for category, (start, slots) in enumerate(zip(layout.starts, layout.slots, strict=True)):
        first, code = layout.varying + start, codes_NC[:, category]
        rows = np.flatnonzero(code >= 0)
        target[rows, first + code[rows]] = 1
        seen[code < 0, first : first + slots] = 0
    return target, seen


def _lloyd(
    target_NO: NDArray[np.float32],
    seen_NO: NDArray[np.float32],
    weight_O: NDArray[np.float32],
    size: int,
    draw: np.random.Generator,
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The code of each row and the mean of each code."""
    complete = bool(seen_NO.all())
    scaled_NO = target_NO * weight_O
    own_N = (scaled_NO * target_NO).sum(axis=1)

    def distances(mean_KO: NDArray[np.float32]) -> NDArray[np.float32]:
        cost_KO = weight_O * mean_KO**2
        shared = cost_KO.sum(axis=1) if complete else seen_NO @ cost_KO.T
        return np.asarray(np.maximum(own_N[:, None] - 2 * scaled_NO @ mean_KO.T + shared, 0))

    first = int(draw.integers(len(target_NO)))
    chosen, nearest_N = [first], distances(target_NO[first : first + 1])[:, 0]
    while len(chosen) < size and nearest_N.sum() > 0:
        cumulated = np.cumsum(nearest_N, dtype=np.float64)
        row = int(np.searchsorted(cumulated, draw.random() * cumulated[-1], side="right"))
        chosen.append(min(row, len(target_NO) - 1))
        nearest_N = np.minimum(nearest_N, distances(target_NO[chosen[-1] : chosen[-1] + 1])[:, 0])
    mean_KO = target_NO[chosen]
    code_N = distances(mean_KO).argmin(axis=1)
    for _ in range(ITERATIONS):
        count_KO = _sums(code_N, seen_NO, len(mean_KO))
        total_KO = _sums(code_N, target_NO, len(mean_KO))
        mean_KO = np.where(count_KO > 0, total_KO / np.maximum(count_KO, 1), mean_KO)
        before, code_N = code_N, distances(mean_KO).argmin(axis=1)
        if np.array_equal(before, code_N):
            break
    return code_N, mean_KO


def _sums(code_N: NDArray[np.intp], values_NO: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(K, O) sums of the rows of each code."""
    order = np.argsort(code_N, kind="stable")
    out = np.zeros((size, values_NO.shape[1]), dtype=np.float32)
    codes, starts = np.unique(code_N[order], return_index=True)
    out[codes] = np.add.reduceat(values_NO[order], starts, axis=0)
    return out


def _variance(
    layout: Layout, target_NO: NDArray[np.float32], seen_NO: NDArray[np.float32], mean_NO: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(O,) variance within codes, not too small; the slots of a category have that of the category, its Gini impurity."""
    squared_O = (seen_NO * (target_NO - mean_NO) ** 2).sum(axis=0, dtype=np.float64)
    variance = squared_O / np.maximum(seen_NO.sum(axis=0, dtype=np.float64), 1)
    for start, slots in zip(layout.starts, layout.slots, strict=True):
        own = slice(layout.varying + start, layout.varying + start + slots)
        variance[own] = variance[own].sum()
    return np.asarray(np.maximum(variance, max(FLOOR * float(variance.mean()), 1e-4)))

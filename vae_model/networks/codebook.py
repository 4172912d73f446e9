"""A codebook: the autoencoder whose latent is one of K codes. Each code expects typical numbers and category shares.

Where a dense VAE bends to what lies between its training rows, a codebook knows only what it has seen, and so sees
what the dense ones let pass. As a model it is a mixture of K Gaussians of one covariance S. It is fitted by hard EM,
which is k-means in the coordinates in which S is the identity (Lloyd, "Least squares quantization in PCM", 1982), from
the seeding of Arthur and Vassilvitskii ("k-means++", 2007); it is used as VQ-VAE uses its codes (van den Oord, Vinyals
and Kavukcuoglu, 2017): the nearest one. Less the part that all codes share, the distance (x - m)' P (x - m), P = 1 / S,
is linear in x, so that the encoder is one matrix. What is missing is imputed: taken as what the dense VAEs expect it to
be. A codebook left to itself finds a code that fits what is there, and the less there is the better it fits.

Numbers are seen through ``symlog``: what is far out in one column is far, but does not outweigh all the others.

There are two of them. The coarse one, of few codes, tells how rows scatter about a typical one: S, and the measure of
the residuals (``scoring/residuals.py``). The fine one makes the expectations; its own residuals on the rows it was
fitted on would be too small, the smaller the fewer rows a code has.

Shapes as in ``inputs``; K codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks.inputs import Expected, FirstLayer, Inputs, TableShape, symlog
from vae_model.networks.products import multiply
from vae_model.networks.stored import Sizes, Stored

ROWS_PER_CODE = 4
"""At least so many training rows for each code, on average."""
COARSE = 64
"""Codes of the coarse codebook; twice as many rows are asked for each of its codes."""
FITTED_ROWS = 20_000
"""A codebook is fitted on at most this many rows."""
ITERATIONS = 10
"""Of Lloyd's algorithm, each time. It has all but settled by then."""
SHRINKAGE = 0.02
"""Added to the covariance within codes: this share of its mean variance, in every direction."""
LEAST_VARIANCE = 1e-6
"""No variance within codes is taken for less."""
MAX_COVARIANCE = 512
"""With more outputs than this, only the variances are taken."""
FITTED_COLUMNS = 256
"""So many columns are looked at at once."""
MAX_SYMLOG = 100.0
"""No code expects more of a number, and none holds anything for less likely than exp(-this)."""


@dataclass(frozen=True)
class Codebook:
    """Codes with what each of them expects."""

    kind: ClassVar[str] = "codebook"
    needs_imputed: ClassVar[bool] = True

    shape: TableShape
    weight_IK: NDArray[np.float32]
    """Inputs to scores of the codes: the highest is the nearest. Missing flags have no say."""
    bias_K: NDArray[np.float32]
    mean_KV: NDArray[np.float32]
    log_share_KS: NDArray[np.float32]
    """Log-probabilities of all categories' slots, side by side."""

    @classmethod
    def stored(cls, shape: TableShape, sizes: Sizes) -> Iterator[tuple[str, Stored]]:
        """The arrays that ``from_arrays`` takes, by the number of codes."""
        codes = sizes.count("codes")
        yield "weight", Stored((shape.inputs, codes))
        yield "bias", Stored((codes,))
        yield "mean", Stored((codes, shape.varying), -MAX_SYMLOG, MAX_SYMLOG)
        yield "log_share", Stored((codes, sum(shape.slots)), -MAX_SYMLOG, 1e-5)  # log 1, rounded

    @classmethod
    def from_arrays(cls, shape: TableShape, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a member's arrays."""
        return cls(shape, *(arrays[name] for name in ("weight", "bias", "mean", "log_share")))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """For a model file."""
        return {
            "weight": self.weight_IK, "bias": self.bias_K, "mean": self.mean_KV, "log_share": self.log_share_KS,
        }  # fmt: skip

    @cached_property
    def first(self) -> FirstLayer:
        """The encoder's only layer. The biases are the weights of one more number, which is always 1: to add them to
        all scores in a step of its own takes longer.
        """
        first = FirstLayer.of(self.weight_IK, self.shape)
        return replace(first, numbers_HV=np.concatenate([first.numbers_HV, self.bias_K[:, None]], axis=1))

    @cached_property
    def of_shares(self) -> list[NDArray[np.float32]]:
        """The encoder's weights of each category, (K, its slots), for probabilities in place of one slot."""
        return [np.ascontiguousarray(slots_SK[:-1].T) for slots_SK in self.first.slots_SH]

    @cached_property
    def expected_KO(self) -> NDArray[np.float32]:
        """What each code expects, as an output: numbers, then log-probabilities."""
        return np.concatenate([self.mean_KV, self.log_share_KS], axis=1)

    @cached_property
    def deviation_V(self) -> NDArray[np.float32]:
        """1 for each number: a codebook's residuals need no rescaling."""
        return np.ones(self.shape.varying, dtype=np.float32)

    def numbers(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, V, W) symlogs of the numbers; NaN where missing."""
        return inputs.table.symlog_BVW

    def __call__(self, inputs: Inputs) -> Expected:
        """Expected symlogs of the numbers, and the log-probabilities of each category's slots: those of the code that
        is nearest to the row.
        """
        table, buffers, imputed_BOW = inputs.table, inputs.buffers, inputs.imputed_BOW
        size, _, rows = table.x_BVW.shape
        codes = len(self.bias_K)
        score_BKW = buffers.scratch(0, size, codes, rows)
        self.first(self._seen(inputs), None, table.codes_BCW, score_BKW, buffers)
        for category, own in enumerate(self.shape.categories):
            gap_BW = table.codes_BCW[:, category] < 0
            if imputed_BOW is not None and gap_BW.any():
                share_BSW = np.where(gap_BW[:, None], imputed_BOW[:, own], 0)
                score_BKW += multiply(self.of_shares[category], share_BSW, buffers("of shares", *score_BKW.shape))

        # NumPy finds the highest, and copies what a code expects, much faster where a row's numbers lie side by side.
        turned_WK, code_BW = buffers.scratch(1, rows, codes), buffers("code", size, rows, dtype=np.intp)
        for score_KW, code_W in zip(score_BKW, code_BW, strict=True):
            np.copyto(turned_WK, score_KW.T)
            turned_WK.argmax(axis=1, out=code_W)
        turned_BWO = buffers.scratch(1, size, rows, self.shape.outputs)
        np.take(self.expected_KO, code_BW, axis=0, out=turned_BWO, mode="clip")  # the default mode makes a copy
        expected_BOW = buffers("expected", size, self.shape.outputs, rows)
        np.copyto(expected_BOW, turned_BWO.transpose(0, 2, 1))
        return expected_BOW

    def _seen(self, inputs: Inputs) -> NDArray[np.float32]:
        """(B, V + 1, W) symlogs of the numbers, or of what is imputed where they are missing, or 0; and ones."""
        table = inputs.table
        if table.missing_BVW is None:
            return table.symlog_and_ones
        seen = inputs.buffers("seen", *table.symlog_and_ones.shape)
        np.copyto(seen, table.symlog_and_ones)
        imputed_BVW = inputs.buffers("imputed", *table.x_BVW.shape)
        if inputs.imputed_BOW is None:
            imputed_BVW.fill(0)
        else:
            symlog(inputs.imputed_BOW[:, : self.shape.varying], out=imputed_BVW)
        np.copyto(seen[:, :-1], imputed_BVW, where=table.missing_BVW)
        return seen

    @classmethod
    def fit(
        cls, shape: TableShape, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32], size: int, seed: int
    ) -> tuple[Self, Self]:
        """A codebook of at most ``size`` codes and the coarse one that measures it, from encoded rows (NaN and -1:
        missing). The same input and seed give the same codes.
        """
        draw = np.random.default_rng(seed)
        if len(x_NV) > FITTED_ROWS:
            chosen = np.sort(draw.choice(len(x_NV), FITTED_ROWS, replace=False))
            x_NV, codes_NC = x_NV[chosen], codes_NC[chosen]
        target_NO, seen_NO = _one_hot(shape, x_NV, codes_NC)
        max_codes = max(1, min(size, len(x_NV) // ROWS_PER_CODE))

        code_N = _lloyd(target_NO, max(1, min(size, COARSE, len(x_NV) // (2 * ROWS_PER_CODE))), draw)
        mean_KO, count_KO = _means(code_N, target_NO, seen_NO)
        filled_NO = mean_KO[code_N]
        np.copyto(filled_NO, target_NO, where=seen_NO)
        precision = _precision(filled_NO, mean_KO, code_N)
        coarse = cls._of(shape, mean_KO, count_KO, precision)
        code_N = _lloyd(_times(filled_NO, _root(precision).astype(np.float32)), max_codes, draw)
        return cls._of(shape, *_means(code_N, target_NO, seen_NO), precision), coarse

    @classmethod
    def _of(
        cls,
        shape: TableShape,
        mean_KO: NDArray[np.float32],
        count_KO: NDArray[np.float32],
        precision: NDArray[np.float64],
    ) -> Self:
        """From the codes' means, the number of cells behind each, and P, or its diagonal where it has nothing else."""
        # Nearest: the highest 2 x'Pm - m'Pm. A code's shares are drawn towards the shares of the column by one row's
        # worth: nothing is impossible.
        pull_OK = precision[:, None] * mean_KO.T if precision.ndim == 1 else precision @ mean_KO.T
        flags_VK = np.zeros((shape.varying, len(mean_KO)))
        share_KO = mean_KO.copy()
        for start, slots in zip(shape.starts, shape.slots, strict=True):
            own = slice(shape.varying + start, shape.varying + start + slots)
            times_KS = mean_KO[:, own] * count_KO[:, own]
            overall_S = (times_KS.sum(axis=0) + 1 / slots) / (count_KO[:, own].sum(axis=0) + 1)
            share_KO[:, own] = (times_KS + overall_S) / (count_KO[:, own] + 1)
        arrays = {
            "weight": np.concatenate([2 * pull_OK[: shape.varying], flags_VK, 2 * pull_OK[shape.varying :]]),
            "bias": -(pull_OK * mean_KO.T).sum(axis=0),
            "mean": mean_KO[:, : shape.varying],
            "log_share": np.log(share_KO[:, shape.varying :]),
        }
        return cls.from_arrays(shape, {name: np.ascontiguousarray(a, dtype=np.float32) for name, a in arrays.items()})


def _one_hot(
    shape: TableShape, x_NV: NDArray[np.float32], codes_NC: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Symlogs and one-hot categories side by side, 0 where missing, and whether each is there."""
    target = np.zeros((len(x_NV), shape.outputs), dtype=np.float32)
    seen = np.ones(target.shape, dtype=np.bool_)
    numbers_NV = target[:, : shape.varying]
    np.logical_not(np.isnan(x_NV), out=seen[:, : shape.varying])
    symlog(x_NV, out=numbers_NV)
    np.copyto(numbers_NV, 0, where=~seen[:, : shape.varying])
    for category, (start, slots) in enumerate(zip(shape.starts, shape.slots, strict=True)):
        first, code = shape.varying + start, codes_NC[:, category]
        rows = np.flatnonzero(code >= 0)
        target[rows, first + code[rows]] = 1
        seen[code < 0, first : first + slots] = False
    return target, seen


def _lloyd(point_NO: NDArray[np.float32], size: int, draw: np.random.Generator) -> NDArray[np.intp]:
    """The code of each point: k-means from greedy k-means++ seeds."""
    blocks = (point_NO[start : start + 1024] for start in range(0, len(point_NO), 1024))
    own_N = np.concatenate([(block_NO**2).sum(axis=1) for block_NO in blocks])

    def distances(mean_KO: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(np.maximum(own_N[:, None] - 2 * point_NO @ mean_KO.T + (mean_KO**2).sum(axis=1), 0))

    chosen = [int(draw.integers(len(point_NO)))]
    nearest_N = distances(point_NO[chosen])[:, 0]
    tries = 2 + int(math.log(size))
    while len(chosen) < size and nearest_N.sum() > 0:
        cumulated = np.cumsum(nearest_N, dtype=np.float64)
        rows = np.searchsorted(cumulated, draw.random(tries) * cumulated[-1], side="right")
        rows = np.minimum(rows, len(point_NO) - 1)
        nearest_TN = np.minimum(distances(point_NO[rows]).T, nearest_N)
        best = int(nearest_TN.sum(axis=1).argmin())
        chosen.append(int(rows[best]))
        nearest_N = nearest_TN[best]
    mean_KO = point_NO[chosen]
    code_N = distances(mean_KO).argmin(axis=1)
    for _ in range(ITERATIONS):
        own_KO, count_KO = _means(code_N, point_NO, None, len(mean_KO))
        mean_KO = np.where(count_KO > 0, own_KO, mean_KO)
        before, code_N = code_N, distances(mean_KO).argmin(axis=1)
        if np.array_equal(before, code_N):
            break
    _, used = np.unique(code_N, return_inverse=True)  # a code that lost all its rows is none
    return np.asarray(used)


def _means(
    code_N: NDArray[np.intp], target_NO: NDArray[np.float32], seen_NO: NDArray[np.bool_] | None, size: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(K, O) mean of the cells of each code that are there (0 where none is), and their number. What is not there is 0
    in ``target_NO``; ``seen_NO`` is None where everything is there.
    """
    order = np.argsort(code_N, kind="stable")
    codes, starts, sizes = np.unique(code_N[order], return_index=True, return_counts=True)
    total = np.zeros((size or len(codes), target_NO.shape[1]), dtype=np.float32)
    count = np.zeros_like(total)
    count[codes] = sizes[:, None]
    for own in _column_blocks(target_NO):
        total[codes, own] = np.add.reduceat(target_NO[order, own], starts, axis=0)
        if seen_NO is not None:
            count[codes, own] = np.add.reduceat(seen_NO[order, own], starts, axis=0, dtype=np.float32)
    total /= np.maximum(count, 1)
    return total, count


def _column_blocks(table_NO: NDArray[Any]) -> Iterator[slice]:
    """A few columns of a table at a time: of a wide one, copies of all at once would be large."""
    return (slice(start, start + FITTED_COLUMNS) for start in range(0, table_NO.shape[1], FITTED_COLUMNS))


def _root(precision: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rows are multiplied by so that P becomes the identity."""
    return np.asarray(np.sqrt(precision) if precision.ndim == 1 else np.linalg.cholesky(precision))


def _times(rows_NO: NDArray[np.float32], matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows times a matrix, or the diagonal of one; then they are overwritten."""
    return np.multiply(rows_NO, matrix, out=rows_NO) if matrix.ndim == 1 else rows_NO @ matrix


def _precision(
    filled_NO: NDArray[np.float32], mean_KO: NDArray[np.float32], code_N: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(O, O) inverse of the shrunk covariance within codes, or its diagonal (O,) where only the variances are taken."""
    outputs = filled_NO.shape[1]
    if outputs > MAX_COVARIANCE:
        parts = ((filled_NO[:, own] - mean_KO[code_N, own]).astype(np.float64) for own in _column_blocks(filled_NO))
        variance = np.concatenate([(part**2).mean(axis=0) for part in parts])
        return np.asarray(1 / (variance + SHRINKAGE * variance.mean() + LEAST_VARIANCE))
    deviation = (filled_NO - mean_KO[code_N]).astype(np.float64)
    covariance = deviation.T @ deviation / len(deviation)
    ridge = SHRINKAGE * float(np.trace(covariance)) / outputs + LEAST_VARIANCE
    return np.asarray(np.linalg.inv(covariance + ridge * np.eye(outputs)))

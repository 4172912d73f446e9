"""Variational autoencoders of a picture and of its patches, as NumPy: how odd a picture is, and where.

Two statistics, and a third where the picture is large enough:

    global   log || e - d(e) ||^2            e: all edges of the picture, as a vector of length 1; d: the mean that its
                                             VAE decodes from the mean of the posterior
    local    log mean over the oddest 2 % of the windows of  1/K || W (x - d(x)) - m ||^2
                                             x: a window of 3 x 3 cells; d: as above, one VAE shared by all windows,
                                             which is to say, convolutional; W and m: what makes the residuals of
                                             ordinary windows white (their Mahalanobis distance)
    coarse   the same with cells of twice the size

Pictures of a column may show several things. Those that were alike in training (by mean and spread of each map) are a
group with its own W and m; a picture is measured by the group it is nearest to.

The logarithms are added as they are, the global one by half: nothing is divided by its spread, so that a statistic
which hardly varies among ordinary pictures counts no more than one that does. docs/images.md has the
measurements. The patches' distances are those of PaDiM (Defard et al. 2020), of a VAE's residuals (Kingma and Welling
2013) in place of a pretrained network's features.

Shapes: N pictures, H rows, W columns, C channels; M maps, R x Q cells (``edges``); T statistics; K numbers of a window,
P windows of a picture; G groups; B tiles of 320 columns (``tiles``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from vae_model.networks import tiles
from vae_model.networks.edges import EDGES, PictureShape, coarser, windows
from vae_model.networks.products import multiply, one_thread
from vae_model.networks.stored import Sizes, Stored

Array = NDArray[np.float32]

MAX_WEIGHT = 1e6
"""No weight or bias is larger. Those of trained networks are about 1."""
ODDEST = 0.02
"""Share of a picture's windows that its score is the mean of; one at least."""
GLOBAL_WEIGHT = 0.5
"""Of the global statistic; the local ones have 1 each."""
TINY = 1e-12
"""Distances below are as good as none."""
PIXELS, WINDOWS = 50_000, 16 * tiles.INNER
"""So many pixels are taken for cells at once, and so many windows measured, or one picture: each about 15 MB."""


@dataclass(frozen=True)
class Perceptron:
    """Encoder mean and decoder of a VAE; the decoder's last layer is left to the caller."""

    weights: tuple[Array, ...]
    """Outputs x inputs, of all layers but the last."""
    biases: tuple[Array, ...]
    """(outputs, 1)"""
    straight: int
    """The layer that gives the posterior mean: nothing is rectified there."""
    last: tuple[Array, Array]
    """Weight and bias of the last layer."""

    @classmethod
    def stored(cls, name: str, width: int, hidden: list[int], latent: int) -> Iterator[tuple[str, Stored]]:
        """The arrays of one, by its widths."""
        widths = [width, *hidden, latent]
        for side, of_side in (("encoder", widths), ("decoder", widths[::-1])):
            for i, (inputs, outputs) in enumerate(pairwise(of_side)):
                yield f"{name}.{side}.{i}.weight", Stored((inputs, outputs), -MAX_WEIGHT, MAX_WEIGHT)
                yield f"{name}.{side}.{i}.bias", Stored((outputs,), -MAX_WEIGHT, MAX_WEIGHT)

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From arrays as ``stored`` lists them."""
        depth = sum(key.startswith(f"{name}.encoder.") for key in arrays) // 2
        layers = [f"{name}.{side}.{i}" for side in ("encoder", "decoder") for i in range(depth)]
        weights = [np.ascontiguousarray(arrays[f"{layer}.weight"].T, np.float32) for layer in layers]
        biases = [np.asarray(arrays[f"{layer}.bias"], np.float32)[:, None] for layer in layers]
        return cls(tuple(weights[:-1]), tuple(biases[:-1]), depth - 1, (weights[-1], biases[-1]))

    def __call__(self, x_BKW: Array) -> Array:
        """What goes into the last layer."""
        h = x_BKW
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            h = multiply(weight, h, np.empty((len(h), len(weight), h.shape[2]), np.float32))
            h += bias
            if i != self.straight:
                np.maximum(h, 0, out=h)
        return h


@dataclass(frozen=True)
class Patches:
    """The windows of one scale, and what is usual of them."""

    network: Perceptron
    whitening_GKX: Array
    """For each group: a matrix for the K numbers of a window, beside one for what goes into the last layer."""
    shift_GK: Array

    @classmethod
    @np.errstate(over="ignore", invalid="ignore")  # of weights that no training made: their pictures have no score
    def from_arrays(cls, name: str, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From arrays as ``PictureVAE.stored`` lists them."""
        network = Perceptron.from_arrays(name, arrays)
        weight, bias = (array.astype(np.float64) for array in network.last)
        whitening = arrays[f"{name}.whitening"].astype(np.float64).reshape(-1, len(weight), len(weight))
        both = np.concatenate([whitening, -(whitening @ weight)], axis=2)
        shift = arrays[f"{name}.shift"] + (whitening @ bias)[..., 0]
        return cls(network, both.astype(np.float32), shift.astype(np.float32))

    def __call__(self, cells_MRQN: Array, high: int, wide: int, group: int) -> Array:
        """(N, P) squared Mahalanobis distances of the windows' residuals, over K; all pictures are of one group."""
        seen_KPN = windows(cells_MRQN, high, wide)
        numbers, count, pictures = seen_KPN.shape
        x_BKW = _as_tiles(seen_KPN.reshape(numbers, -1))
        out = np.empty(len(x_BKW) * tiles.INNER, np.float32)
        for tile, x_1KW in enumerate(np.split(x_BKW, len(x_BKW))):  # one by one: what one is made of stays in the cache
            both = np.concatenate([x_1KW, self.network(x_1KW)], axis=1)
            white = multiply(self.whitening_GKX[group], both, np.empty_like(x_1KW))
            white -= self.shift_GK[group, :, None]
            white *= white
            mean = white.sum(axis=1) / np.float32(numbers)
            out[tile * tiles.INNER :][: tiles.INNER] = mean[0, tiles.MARGIN : -tiles.MARGIN]
        return np.ascontiguousarray(out[: count * pictures].reshape(count, pictures).T)


@dataclass(frozen=True)
class PictureVAE:
    """What was learned of a column of pictures. Scores are per picture: neither their order nor their number matter."""

    kind: ClassVar[str] = "pictures"

    shape: PictureShape
    whole: Perceptron
    patches: tuple[Patches, ...]
    """Of each scale."""
    usual_T: Array
    """Mean of each statistic in training."""
    center_X: Array
    scale_X: Array
    """Of the means and spreads of all maps (X = 2 M) in training."""
    groups_GX: Array
    """Middles of the groups, standardised."""

    @classmethod
    def stored(cls, shape: PictureShape, sizes: Sizes) -> Iterator[tuple[str, Stored]]:
        """The arrays that ``from_arrays`` takes, by the widths of the networks and the number of groups."""
        groups, scales = sizes.count("groups"), len(shape.grids)
        yield "usual", Stored((1 + scales,), -100, 100)
        yield "groups.center", Stored((2 * shape.maps,), -1, 1)
        yield "groups.scale", Stored((2 * shape.maps,), 1e-7, 1)
        yield "groups.middles", Stored((groups, 2 * shape.maps), -1e8, 1e8)
        edges = EDGES * math.prod(shape.grids[0])
        yield from Perceptron.stored("whole", edges, sizes.counts("whole_hidden"), sizes.count("whole_latent"))
        for scale in range(scales):
            numbers, name = shape.window_numbers(scale), f"patches{scale}"
            yield from Perceptron.stored(name, numbers, sizes.counts("hidden"), sizes.count("latent"))
            yield f"{name}.whitening", Stored((groups * numbers, numbers), -MAX_WEIGHT, MAX_WEIGHT)
            yield f"{name}.shift", Stored((groups, numbers), -MAX_WEIGHT, MAX_WEIGHT)

    @classmethod
    def from_arrays(cls, shape: PictureShape, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From arrays as ``stored`` lists them."""
        return cls(
            shape,
            Perceptron.from_arrays("whole", arrays),
            tuple(Patches.from_arrays(f"patches{scale}", arrays) for scale in range(len(shape.grids))),
            arrays["usual"],
            arrays["groups.center"],
            arrays["groups.scale"],
            arrays["groups.middles"],
        )

    def statistics(self, pixels_NHWC: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
        """(N, T) how odd each picture is, larger is odder: global, local, coarse. And (N, 4) where its oddest window
        is, in pixels: first row and column, and those after the last.
        """
        found = [(self._global(cells), self._local(cells)) for cells in self._blocks(pixels_NHWC)]
        if not found:
            return np.empty((0, len(self.usual_T))), np.empty((0, 4), np.intp)
        whole_N = np.concatenate([whole for whole, _ in found])
        local = [np.concatenate(own) for own in zip(*(local for _, local in found), strict=True)]
        columns = [whole_N, *(_oddest(distance_NP) for distance_NP in local)]
        statistics_NT = np.log(np.maximum(np.stack(columns, axis=1, dtype=np.float64), TINY))
        where = [spans_P4[own.argmax(axis=1)] for spans_P4, own in zip(self._spans, local, strict=True)]
        beyond_NT = (statistics_NT - self.usual_T)[:, 1:]
        beyond_NT[:, [math.prod(self.shape.windows(scale)) == 1 for scale in range(len(local))]] = -np.inf
        scale_N = beyond_NT.argmax(axis=1)  # a scale of one window cannot say where
        return statistics_NT, np.stack(where)[scale_N, np.arange(len(scale_N))]

    def score(self, statistics_NT: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) one score for each picture, 0 where all statistics are as usual; larger is odder."""
        beyond_NT = statistics_NT - self.usual_T
        return np.asarray(GLOBAL_WEIGHT * beyond_NT[:, 0] + beyond_NT[:, 1:].sum(axis=1))

    def heat_map(self, pixels_NHWC: NDArray[np.uint8]) -> Array:
        """(N, H, W) how odd each pixel's surroundings are: the distances of the windows that see it, divided by that of
        a usual picture's oddest ones; the geometric mean of the scales. Above 1 few ordinary pictures reach.
        """
        heat_NHW = np.zeros(pixels_NHWC.shape[:3], np.float32)
        spreading = [[self.shape.spreading(scale, along) for along in (0, 1)] for scale in range(len(self.patches))]
        start = 0
        for cells in self._blocks(pixels_NHWC):
            for scale, distance_NP in enumerate(self._local(cells)):
                down, across = spreading[scale]
                distance_NPP = distance_NP.reshape(len(distance_NP), down.shape[1], across.shape[1])
                spread_NHW = np.matmul(np.matmul(down.astype(np.float64), distance_NPP), across.T.astype(np.float64))
                usual = np.log(np.maximum(spread_NHW, TINY)) - self.usual_T[1 + scale]
                heat_NHW[start : start + len(distance_NP)] += (usual / len(self.patches)).astype(np.float32)
            start += cells.shape[-1]
        return np.exp(heat_NHW, out=heat_NHW)

    def _blocks(self, pixels_NHWC: NDArray[np.uint8]) -> Iterator[Array]:
        """(M, R, Q, N) the cells of some pictures after the other."""
        if pixels_NHWC.shape[1:] != (self.shape.height, self.shape.width, self.shape.channels):
            raise ValueError(f"pictures of {self.shape}, not arrays of {pixels_NHWC.shape}")
        for start in range(0, len(pixels_NHWC), tiles.INNER):
            yield cells_of(self.shape, pixels_NHWC[start : start + tiles.INNER])

    @one_thread
    def _global(self, cells_MRQN: Array) -> Array:
        """(N,) squared length of what the VAE of whole pictures leaves of the edges."""
        edges_DN = cells_MRQN[1 : 1 + EDGES].reshape(-1, cells_MRQN.shape[-1])
        x_BDW = _as_tiles(edges_DN)
        x_BDW /= np.sqrt(np.square(x_BDW).sum(axis=1, keepdims=True)) + np.float32(1e-6)
        weight, bias = self.whole.last
        x_BDW -= multiply(weight, self.whole(x_BDW), np.empty_like(x_BDW))
        x_BDW -= bias
        return tiles.values(np.square(x_BDW, out=x_BDW).sum(axis=1), edges_DN.shape[1])

    @one_thread
    def _local(self, cells_MRQN: Array) -> list[Array]:
        """(N, P) at each scale: the distances of all windows."""
        group_N = self.group(cells_MRQN)
        found = []
        for scale, patches in enumerate(self.patches):
            if scale:
                cells_MRQN = coarser(cells_MRQN)
            window, (down, across) = self.shape.window(scale), self.shape.windows(scale)
            distance_NP = np.empty((len(group_N), down * across), np.float32)
            size = max(1, WINDOWS // (down * across))
            for group in np.unique(group_N):
                own_N = np.flatnonzero(group_N == group)
                for some_N in np.split(own_N, range(size, len(own_N), size)):
                    distance_NP[some_N] = patches(cells_MRQN[..., some_N], *window, group)
            found.append(distance_NP)
        return found

    def group(self, cells_MRQN: Array) -> NDArray[np.intp]:
        """(N,) which group each picture is nearest to."""
        if len(self.groups_GX) == 1:
            return np.zeros(cells_MRQN.shape[-1], np.intp)
        x_NX = (summary(cells_MRQN) - self.center_X) / self.scale_X
        return np.asarray(np.square(x_NX[:, None] - self.groups_GX.astype(np.float64)).sum(axis=2).argmin(axis=1))

    @cached_property
    def _spans(self) -> list[NDArray[np.intp]]:
        """(P, 4) of each scale: the first row and column of each window, and those after its last, in pixels."""
        found = []
        for scale in range(len(self.patches)):
            rows, columns = (
                [self.shape.span(scale, window, along) for window in range(count)]
                for along, count in enumerate(self.shape.windows(scale))
            )
            spans = [(top, left, bottom, right) for top, bottom in rows for left, right in columns]
            found.append(np.array(spans, np.intp))
        return found


def cells_of(shape: PictureShape, pixels_NHWC: NDArray[np.uint8]) -> Array:
    """(M, R, Q, N) the cells of pictures, in bounded memory beside the result."""
    size = max(1, PIXELS // (shape.height * shape.width))
    parts = [shape.cells(pixels_NHWC[start : start + size]) for start in range(0, len(pixels_NHWC), size)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)


def summary(cells_MRQN: Array) -> NDArray[np.float64]:
    """(N, 2 M) mean of each map of a picture, and its standard deviation over the cells."""
    cells_NMP = cells_MRQN.reshape(len(cells_MRQN), -1, cells_MRQN.shape[-1]).transpose(2, 0, 1).astype(np.float64)
    return np.concatenate([cells_NMP.mean(axis=2), cells_NMP.std(axis=2)], axis=1)


def _oddest(distance_NP: Array) -> Array:
    """(N,) mean of the largest distances of each picture."""
    count = max(1, math.ceil(ODDEST * distance_NP.shape[1]))
    top = np.sort(np.partition(distance_NP, -count, axis=1)[:, -count:], axis=1)
    return np.asarray(top.astype(np.float64).mean(axis=1))


def _as_tiles(columns_KN: Array) -> Array:
    """(B, K, W) columns of numbers as tiles, with zeros for the margins and for what the last tile lacks."""
    numbers, count = columns_KN.shape
    out_BKW = np.zeros((tiles.count(count), numbers, tiles.TILE), np.float32)
    for tile, own_KW in enumerate(out_BKW):
        part = columns_KN[:, tile * tiles.INNER : (tile + 1) * tiles.INNER]
        own_KW[:, tiles.MARGIN : tiles.MARGIN + part.shape[1]] = part
    return out_BKW

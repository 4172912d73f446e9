"""Scores of rows with pictures: the row as it is, and what is odd about its pictures, joined.

Networks of its own look at each column of pictures (``networks.pictures``); the ensemble scores the other columns, if
there are any. How odd a picture is, and the row's own score, are pieces of evidence, in nats (``scoring.evidence``):
e to the power of what they come to is the odds against an ordinary row.

Shapes: N rows, P columns of pictures, H x W x C pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.features import pixels
from vae_model.features.feature import Feature
from vae_model.features.fields import Fields
from vae_model.features.pixels import MOST_BRIGHT, Pixels
from vae_model.features.spec import typed
from vae_model.networks.edges import LARGEST, SMALLEST, PictureShape
from vae_model.networks.pictures import GLOBAL_WEIGHT, PictureVAE
from vae_model.networks.stored import Sizes, Stored, within
from vae_model.scoring.evidence import MOST, Evidence, joined

OF_ROW = 0.5
"""The weight of the other columns, where there are any; the pictures share the rest."""
LEAST = 1e-3
"""Nats. No picture is so ordinary that it is less: a score of nothing has no logarithm."""
MOST_PIXELS = 4_000_000
"""Bytes of pixels that are decoded at once, or one picture."""


@dataclass(frozen=True)
class Look:
    """How a column of pictures is looked at: what is known of it before anything is learnt."""

    feature: Feature
    shape: PictureShape
    full: float
    """Of a column of arrays, the number that means full brightness."""

    def pixels(self, array: pa.Array) -> Pixels:
        """Decode some rows of the column."""
        shape, own = self.shape, typed(array, self.feature.family)
        if self.feature.family == "array":
            return pixels.of_numbers(own, shape.height, shape.width, shape.channels, self.full)
        return pixels.decode(own, shape.height, shape.width, shape.channels)

    def pieces(self, array: pa.Array) -> Iterator[Pixels]:
        """Decode the column, a few rows after the other."""
        size = max(MOST_PIXELS // (self.shape.height * self.shape.width * self.shape.channels), 1)
        return (self.pixels(array.slice(start, size)) for start in range(0, len(array), size))


@dataclass(frozen=True)
class Oddness:
    """What was seen in the pictures of some rows."""

    score_NP: NDArray[np.float64]
    """How odd each picture is (``PictureVAE.score``); 0 where there is none."""
    whole_NP: NDArray[np.float64]
    """The part of it that is the picture's as a whole."""
    error_NP: NDArray[np.float64]
    """What the VAE of whole pictures leaves of it, over that of a usual one."""
    where_NP4: NDArray[np.intp]
    """The oddest window: first row and column, and those after the last; zeros where it is the whole picture."""
    missing_NP: NDArray[np.bool_]
    """Nulls."""
    unreadable_NP: NDArray[np.bool_]
    """Neither null nor a picture."""

    @property
    def unreadable_N(self) -> NDArray[np.bool_]:
        """(N,) whether any of the row's pictures cannot be read."""
        return np.asarray(self.unreadable_NP.any(axis=1))

    @property
    def gone_NP(self) -> NDArray[np.bool_]:
        """Where there is no picture to be looked at."""
        return self.missing_NP | self.unreadable_NP

    def missing_with(self, missing_N: NDArray[np.float64], others: int) -> NDArray[np.float64]:
        """(N,) the share of the row's features that is missing, of the pictures and so many other columns, of which
        ``missing_N`` is the share.
        """
        return np.asarray((others * missing_N + self.gone_NP.sum(axis=1)) / (others + self.gone_NP.shape[1]))

    def error_with(self, error_N: NDArray[np.float64], others_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N,) the mean error over the pictures and so many other columns, of which ``error_N`` is the mean."""
        total_N = np.where(others_N > 0, error_N * others_N, 0) + np.where(self.gone_NP, 0, self.error_NP).sum(axis=1)
        return np.asarray(total_N / np.maximum(others_N + (~self.gone_NP).sum(axis=1), 1))

    def take(self, rows: slice | NDArray[np.intp]) -> Oddness:
        """Some of the rows."""
        return Oddness(*(own[rows] for own in vars(self).values()))

    @classmethod
    def of(cls, several: Sequence[Oddness], axis: int = 0) -> Self:
        """The rows of several, one after the other; or the columns."""
        parts = zip(*(vars(one).values() for one in several), strict=True)
        return cls(*(np.concatenate(own, axis=axis) for own in parts))


@dataclass(frozen=True)
class Picture:
    """A column of pictures, and what is usual of it."""

    look: Look
    network: PictureVAE
    usual: Evidence
    """Of how odd a picture is."""
    gap: float
    """The evidence that there is no picture, in nats."""

    def __call__(self, array: pa.Array) -> Oddness:
        """Look at some rows of the column: P is 1."""
        found = [self._seen(own) for own in self.look.pieces(array)]
        return Oddness.of(found) if found else self._seen(self.look.pixels(array))

    def heat_map(self, array: pa.Array) -> NDArray[np.float32]:
        """(N, H, W) how odd each pixel's surroundings are (``PictureVAE.heat_map``); NaN where there is no picture."""
        parts = [self.heat(own) for own in self.look.pieces(array)]
        return np.concatenate(parts) if parts else np.empty((0, *self.look.shape.size), np.float32)

    def heat(self, own: Pixels) -> NDArray[np.float32]:
        """``heat_map`` of pictures that are decoded."""
        heat_NHW = np.full(own.pixels_NHWC.shape[:3], np.nan, np.float32)
        heat_NHW[own.readable_N] = self.network.heat_map(own.pixels_NHWC[own.readable_N])
        return heat_NHW

    def _seen(self, own: Pixels) -> Oddness:
        seen_N = np.flatnonzero(own.readable_N)
        statistic_NT, where_N4 = self.network.statistics(own.pixels_NHWC[seen_N])
        beyond_N = statistic_NT[:, 0] - self.network.usual_T[0]
        score_N1, whole_N1, error_N1 = (np.zeros((len(own.missing_N), 1)) for _ in range(3))
        where_N14 = np.zeros((len(own.missing_N), 1, 4), np.intp)
        score_N1[seen_N, 0], whole_N1[seen_N, 0] = self.network.score(statistic_NT), GLOBAL_WEIGHT * beyond_N
        with np.errstate(over="ignore"):  # of weights that no training made
            error_N1[seen_N, 0] = np.exp(beyond_N)
        is_part_N1 = (where_N4[:, 2:] - where_N4[:, :2] < self.look.shape.size).any(axis=1, keepdims=True)
        where_N14[seen_N, 0] = where_N4 * is_part_N1
        return Oddness(score_N1, whole_N1, error_N1, where_N14, own.missing_N[:, None], own.unreadable_N[:, None])


@dataclass(frozen=True)
class Judged:
    """Rows with pictures, and what made their scores."""

    oddness: Oddness
    score_N: NDArray[np.float64]
    evidence_NP: NDArray[np.float64]
    of_row_N: NDArray[np.float64]
    """The evidence of the other columns; 0 where there are none."""
    share_NP: NDArray[np.float64]
    """The share that each picture has in a row's odds; what is left is the other columns'."""

    @classmethod
    def of(cls, several: Sequence[Self]) -> Self:
        """The rows of several, one after the other."""
        oddness, *others = zip(*(vars(one).values() for one in several), strict=True)
        return cls(Oddness.of(oddness), *map(np.concatenate, others))

    def take(self, rows: NDArray[np.intp]) -> Self:
        """Some of the rows."""
        oddness, *others = vars(self).values()
        return type(self)(oddness.take(rows), *(own[rows] for own in others))


@dataclass(frozen=True)
class Pictures:
    """The columns of pictures of a model."""

    columns: tuple[Picture, ...]
    of_row: Evidence | None
    """Of the row's score by its other columns; None where there are none."""

    def __call__(self, arrays: Sequence[pa.Array]) -> Oddness:
        """Look at some rows, one array for each column."""
        return Oddness.of([own(array) for own, array in zip(self.columns, arrays, strict=True)], axis=1)

    @cached_property
    def weight_P(self) -> NDArray[np.float64]:
        """(P,) of each column."""
        return np.full(len(self.columns), (1 - OF_ROW if self.of_row else 1.0) / len(self.columns))

    def judge(self, oddness: Oddness, row_score_N: NDArray[np.float64]) -> Judged:
        """What the pictures of some rows, and their scores by the other columns, come to."""
        evidence_NP = np.concatenate(
            [own.usual(oddness.score_NP[:, p : p + 1]) for p, own in enumerate(self.columns)], axis=1
        )
        evidence_NP = np.where(oddness.gone_NP, [own.gap for own in self.columns], np.maximum(evidence_NP, LEAST))
        of_row_N = self.of_row(row_score_N[:, None])[:, 0] if self.of_row else np.zeros(len(row_score_N))
        weight_X = np.append(self.weight_P, OF_ROW) if self.of_row else self.weight_P
        pieces = [evidence_NP, of_row_N[:, None]] if self.of_row else [evidence_NP]
        score_N = joined(np.concatenate(pieces, axis=1), weight_X)
        # a score that no weight of training makes is told by the caller
        score_N[~np.isfinite(np.where(oddness.gone_NP, 0, oddness.score_NP)).all(axis=1)] = np.nan
        share_NP = self.weight_P * np.exp(evidence_NP - score_N[:, None])
        return Judged(oddness, score_N, evidence_NP, of_row_N, share_NP)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``from_arrays`` takes but the networks, for a model file."""
        out = {f"picture.row.{name}": one for name, one in self.of_row.arrays().items()} if self.of_row else {}
        for p, own in enumerate(self.columns):
            out |= {f"picture.{p}.usual.{name}": one for name, one in own.usual.arrays().items()}
        return out

    @classmethod
    def from_arrays(cls, stored: Sequence[StoredPicture], has_others: bool, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """From a model file's arrays."""
        columns = []
        for p, own in enumerate(stored):
            network = PictureVAE.from_arrays(own.look.shape, within(arrays, f"picture.{p}.network."))
            usual = Evidence.from_arrays(within(arrays, f"picture.{p}.usual."))
            columns.append(Picture(own.look, network, usual, own.gap))
        return cls(tuple(columns), Evidence.from_arrays(within(arrays, "picture.row.")) if has_others else None)


class StoredPicture(NamedTuple):
    """A column of pictures as a model file's header has it."""

    look: Look
    gap: float
    sizes: Sizes

    @classmethod
    def of(cls, own: Fields, feature: Feature) -> StoredPicture:
        """Raises ModelFileError where the header cannot be."""
        height, width = (own.count(side, SMALLEST, LARGEST) for side in ("height", "width"))
        channels, full = own.count("channels"), own.number("full", 1, MOST_BRIGHT)
        if channels not in (1, 3):
            raise own.wrong("channels", "1 or 3", channels)
        return cls(Look(feature, PictureShape(height, width, channels), full), own.number("gap", 0, MOST), own)

    @staticmethod
    def json_of(picture: Picture, sizes: Mapping[str, Any]) -> dict[str, Any]:
        """What ``of`` takes; ``sizes`` are what ``PictureVAE.stored`` asks for."""
        return {**asdict(picture.look.shape), "full": picture.look.full, "gap": picture.gap, **sizes}

    def arrays(self, p: int) -> Iterator[tuple[str, Stored]]:
        """The arrays that belong to it."""
        for name, one in PictureVAE.stored(self.look.shape, self.sizes):
            yield f"picture.{p}.network.{name}", one
        for name, one in Evidence.stored(1).items():
            yield f"picture.{p}.usual.{name}", one

"""Fit the columns of pictures of a sample, and what is usual of them by pictures held out.

Shapes: N rows, P columns of pictures.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.config.image import Image
from vae_model.errors import TrainingError
from vae_model.features.feature import Chosen, Feature
from vae_model.features.kinds import KINDS
from vae_model.features.pixels import full_scale
from vae_model.features.spec import combine
from vae_model.networks.edges import PictureShape
from vae_model.networks.pictures import PictureVAE
from vae_model.printable import printable
from vae_model.scoring.evidence import Evidence
from vae_model.scoring.pictures import Look, Oddness, Picture, Pictures, StoredPicture
from vae_model.training import tails

log = logging.getLogger(__name__)

FEWEST_CROSSED = 30
"""Pictures of a sample that is cut into folds."""
BYTES = 500_000_000
"""Of pixels that are trained on, at most: they are held at once."""


@dataclass(frozen=True)
class FittedColumns:
    """The columns of pictures, and how odd pictures are that they have not seen."""

    pictures: Pictures
    arrays: dict[str, NDArray[Any]]
    """Of the networks, for a model file."""
    sizes: Sequence[Mapping[str, Any]]
    looked: Sequence[tuple[int, int]]
    """Of each column, at how many training rows was looked, and how many of these have no picture."""
    summary: list[dict[str, Any]]

    @property
    def header(self) -> list[dict[str, Any]]:
        """For a model file's header."""
        return [StoredPicture.json_of(*own) for own in zip(self.pictures.columns, self.sizes, strict=True)]

    def usual(self, oddness: Oddness, row_score_N: NDArray[np.float64] | None) -> FittedColumns:
        """With what is usual by held-out rows; ``row_score_N`` are their scores by the other columns, if there are
        such. How odd it is that there is no picture, training rows tell too, by the rule of succession.
        """
        columns, told = [], []
        for p, own in enumerate(self.pictures.columns):
            is_gone_N = oddness.gone_NP[:, p]
            told.append({**self.summary[p], "held_out": int(np.count_nonzero(~is_gone_N))})
            usual = Evidence.fit(np.where(is_gone_N, np.nan, oddness.score_NP[:, p])[:, None])
            rows, gone = self.looked[p]
            gap = -math.log((gone + np.count_nonzero(is_gone_N) + 1) / (rows + len(is_gone_N) + 1))
            columns.append(replace(own, usual=usual, gap=gap))
        of_row = None if row_score_N is None else Evidence.fit(row_score_N[:, None])
        return replace(self, pictures=Pictures(tuple(columns), of_row), summary=told)


def fit(features: Sequence[Feature], rows: pa.Table, image: Image, seed: int) -> FittedColumns:
    """Fit every column of pictures on normal rows. What is usual is not known yet.

    Raises TrainingError where a column has too few pictures that can be read.
    """
    from vae_model.training import pictures  # with torch, which is the driver's: imported only here

    columns, sizes, looked, told = [], [], [], []
    arrays: dict[str, NDArray[Any]] = {}
    for p, feature in enumerate(features):
        array = combine(rows.column(feature.name))
        shape = PictureShape(image.height, image.width, image.channels)
        full = _full(feature, array)
        look = Look(feature, shape, full)
        try:
            there, count = _decoded(look, array, pictures.MAX_PICTURES, seed)
            log.info("Pictures: %s of %s to learn from", f"{len(there):,}", printable(feature.name))
            found = pictures.fit(shape, there, seed)
        except TrainingError as error:
            hint = f"Are the values of {feature.name!r} pictures? See docs/images.md. Or give a larger sample."
            problem = f"Column {feature.name!r}: {error.problem}"
            raise TrainingError(problem, error.expected, error.found, error.hint or hint) from error
        network = PictureVAE.from_arrays(shape, found.arrays)
        columns.append(Picture(look, network, Evidence.fit(np.zeros((0, 1))), 0.0))
        arrays |= {f"picture.{p}.network.{name}": own for name, own in found.arrays.items()}
        sizes.append(found.sizes)
        looked.append((count, count - len(there)))
        told.append({"column": feature.name, **found.summary})
    return FittedColumns(Pictures(tuple(columns), None), arrays, sizes, looked, told)


def check(chosen: Mapping[str, Chosen], rows: pa.Table) -> None:
    """Raise TrainingError where a sample that is to be cut into folds has too few pictures for each of them. A column
    without any is left out.
    """
    for name in (name for name, own in chosen.items() if KINDS[own.kind].is_picture):
        there = len(rows) - rows.column(name).null_count
        if 0 < there < FEWEST_CROSSED:
            raise TrainingError(
                f"Column {name!r}: Too few pictures.",
                f"at least {FEWEST_CROSSED} in a small sample, each fifth of which is judged by the others",
                f"{there} in {len(rows)} rows",
                "Give a larger sample, or leave the column out.",
            )


def _full(feature: Feature, array: pa.Array) -> float:
    """Of arrays the number that is full brightness. Raises TrainingError where they are no brightness."""
    if feature.family != "array":
        return 255.0
    try:
        return full_scale(array)
    except ValueError as error:
        raise TrainingError(
            f"Column {feature.name!r} holds numbers that are no brightness.",
            "numbers from 0 (black) to 1, 255 or another power of 2 less 1",
            str(error),
            "Scale them to 0 to 1. Numbers that are no picture are a vector: leave the column out of features.kinds.",
        ) from None


def _decoded(look: Look, array: pa.Array, most: int, seed: int) -> tuple[NDArray[np.uint8], int]:
    """(N, H, W, C) the pictures that can be read of at most so many rows, or as there is room for, drawn by the seed;
    and of how many rows they are.
    """
    shape = look.shape
    most = min(BYTES // (shape.height * shape.width * shape.channels), most)
    if len(array) > most:
        array = array.take(pa.array(np.sort(np.random.default_rng(seed).choice(len(array), most, replace=False))))
    parts = [own.pixels_NHWC[own.readable_N] for own in look.pieces(array)]
    return np.concatenate(parts), len(array)


def looked_at(fitted: FittedColumns, features: Sequence[Feature], rows: pa.Table) -> Oddness:
    """How odd the pictures of some rows are."""
    return fitted.pictures([combine(rows.column(feature.name)) for feature in features])


def apart(oddness: Oddness, share: float, least: int, wide: float) -> NDArray[np.bool_]:
    """(N,) which rows have a picture that stands apart from all others, by the limits of ``tails.end``: no bar for what
    is usual.
    """
    found_N = np.zeros(len(oddness.score_NP), dtype=bool)
    for score_N, is_gone_N in zip(oddness.score_NP.T, oddness.gone_NP.T, strict=True):
        size_N = np.where(is_gone_N, 0, np.exp(score_N / 2))  # a score is the logarithm of squared distances
        found_N |= size_N > tails.end(size_N, share, least, wide)
    return found_N

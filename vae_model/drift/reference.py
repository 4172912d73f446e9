"""The reference: how the values of each column are spread over its bins in the sample that a model learnt from.

It is a part of the model file, of a few dozen numbers a column whatever the size of the sample.

Shapes: D features, E edges and B bins of one of them; in the model file those of all stand one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.drift import bins
from vae_model.features.categories import SlotKind, singles
from vae_model.features.feature import Feature
from vae_model.features.fields import LARGEST, Fields
from vae_model.features.kinds import KINDS
from vae_model.features.spec import FeatureSpec, combine, typed
from vae_model.networks.stored import Stored

ROUNDING = 1e-6
"""The shares of a column's bins add up to 1 within this."""


class Spread(NamedTuple):
    """A column's values in the sample."""

    feature: Feature
    edges_E: NDArray[np.float64]
    share_B: NDArray[np.float64]
    """The share of the rows in each bin."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The sample, column by column."""

    features: tuple[Feature, ...]
    rows: int
    """Rows of the sample."""
    unseen_rows: int
    """Those by which it is known what share of values training has not seen."""
    edges_D: tuple[int, ...]
    """How many edges each feature has."""
    edges: NDArray[np.float64]
    shares: NDArray[np.float64]

    @classmethod
    def fit(
        cls, spec: FeatureSpec, training: pa.Table, sample: Sequence[pa.Table], held_out: pa.Table | None = None
    ) -> Self:
        """Bins by the values of the ``training`` rows, and how the rows of the whole sample are spread over them.
        ``held_out`` are those of the sample that were not trained on, if there are such.
        """
        rows, edges, shares = sum(map(len, sample)), [], []
        for feature in spec.features:
            edges_E = bins.edges_of(feature, combine(training.column(feature.name)))
            arrays = [combine(part.column(feature.name)) for part in sample]
            share_B = np.sum([bins.counts(feature, edges_E, array) for array in arrays], axis=0) / rows
            edges.append(edges_E)
            if isinstance(KINDS[feature.kind], SlotKind):
                unseen = _good(feature, arrays) if held_out is None else _unseen(feature, held_out)
                share_B = _with_unseen(share_B, unseen)
            shares.append(share_B)
        unseen_rows = rows if held_out is None else len(held_out)
        return cls(
            spec.features, rows, unseen_rows, tuple(map(len, edges)), np.concatenate(edges), np.concatenate(shares)
        )

    @cached_property
    def columns(self) -> list[Spread]:
        """Each column by itself."""
        widths = [bins.width(feature, edges) for feature, edges in zip(self.features, self.edges_D, strict=True)]
        parts = (np.split(flat, np.cumsum(lengths)[:-1]) for flat, lengths in
                 ((self.edges, self.edges_D), (self.shares, widths)))  # fmt: skip
        return [Spread(*own) for own in zip(self.features, *parts, strict=True)]

    def counts(self, table: pa.Table) -> list[NDArray[np.int64]]:
        """Of each column, (B,) how many rows of a table fall into each bin. Raises SchemaError naming the column."""
        return [
            bins.counts(feature, edges_E, combine(table.column(feature.name))) for feature, edges_E, _ in self.columns
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; edges and shares are arrays of the model file."""
        return {"rows": self.rows, "unseen_rows": self.unseen_rows, "edges": list(self.edges_D)}

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        return {"drift.edges": self.edges, "drift.shares": self.shares}

    @classmethod
    def from_json(cls, own: Fields, spec: FeatureSpec) -> Self:
        """From what ``to_json`` gave, without its arrays. Raises ModelFileError where it cannot have given that."""
        edges = own.sequence("edges")
        if len(edges) != len(spec.features):
            raise own.wrong("edges", f"{len(spec.features)} numbers, one for each feature", edges)
        for feature, number in zip(spec.features, edges, strict=True):
            most = 0 if isinstance(KINDS[feature.kind], SlotKind) else bins.MOST_EDGES
            if type(number) is not int or not 0 <= number <= most:
                raise own.wrong("edges", f"numbers from 0 to {most}", edges)
        rows, unseen_rows = own.count("rows"), own.count("unseen_rows")
        if unseen_rows > rows:
            raise own.wrong("unseen_rows", f"at most {rows}, the rows", unseen_rows)
        return cls(spec.features, rows, unseen_rows, tuple(edges), np.empty(0), np.empty(0))

    def with_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """With its arrays of a model file."""
        return replace(self, edges=arrays["drift.edges"], shares=arrays["drift.shares"])

    def stored(self) -> dict[str, Stored]:
        """The arrays that belong to it in a model file."""
        widths = (bins.width(feature, edges) for feature, edges in zip(self.features, self.edges_D, strict=True))
        return {
            "drift.edges": Stored((sum(self.edges_D),), -LARGEST, LARGEST, "float64"),
            "drift.shares": Stored((sum(widths),), 0, 1, "float64"),
        }

    def fault(self) -> str:
        """What is wrong with the arrays; empty where each column's edges rise and its shares add up."""
        for feature, edges_E, share_B in self.columns:
            if (edges_E[1:] <= edges_E[:-1]).any():
                return f"edges of {feature.name!r} that do not rise"
            if abs(share_B.sum() - 1) > ROUNDING:
                return f"shares of {feature.name!r} that add up to {share_B.sum():.6g}"
        return ""


def _unseen(feature: Feature, held_out: pa.Table) -> float:
    """The share of held-out rows whose value training has not seen."""
    count_B = bins.counts(feature, np.empty(0), combine(held_out.column(feature.name)))
    return float(count_B[-2] / max(count_B.sum(), 1))


def _good(feature: Feature, arrays: Sequence[pa.Array]) -> float:
    """The share of rows to come whose value no row of a sample has, all of which were trained on: the share of values
    that occur once (Good, "The population frequencies of species", 1953).
    """
    values = pa.concat_arrays([typed(array, feature.family) for array in arrays])
    return singles(values) / len(values)


def _with_unseen(share_B: NDArray[np.float64], unseen: float) -> NDArray[np.float64]:
    """A category's shares over its bins, with another share of values that training has not seen: the known ones have
    the rest of what is not missing.
    """
    known_B = share_B[:-2] + 0.0
    known_B[-1] += share_B[-2]
    unseen = min(unseen, 1 - share_B[-1])
    known_B *= (1 - share_B[-1] - unseen) / max(known_B.sum(), 1e-300)
    return np.append(known_B, [unseen, share_B[-1]])

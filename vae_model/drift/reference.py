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
from vae_model.features.units import UnitsKind
from vae_model.networks.stored import Stored

ROUNDING = 1e-6
"""The shares of a column's bins add up to 1 within this."""


class Spread(NamedTuple):
    """A column's values in the sample."""

    feature: Feature
    edges_E: NDArray[np.float64]
    share_B: NDArray[np.float64]
    """The share of the rows in each bin."""
    unseen_rows: int
    """Rows by which it is known what share of values training has not seen."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The sample, column by column."""

    features: tuple[Feature, ...]
    rows: int
    """Rows of the sample."""
    unseen_rows_D: tuple[int, ...]
    """Of each feature, those by which it is known what share of values training has not seen."""
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
        rows, unseen_rows, edges, shares = sum(map(len, sample)), [], [], []
        for feature in spec.columns:
            own = combine(training.column(feature.name))
            edges_E = bins.edges_of(feature, own)
            counts = [bins.counts(feature, edges_E, combine(part.column(feature.name))) for part in sample]
            share_B, known_by = np.sum(counts, axis=0) / rows, rows
            if isinstance(KINDS[feature.kind], SlotKind):
                unseen, known_by = _unseen(feature, own, held_out)
                share_B = _with_unseen(share_B, unseen)
            unseen_rows.append(known_by)
            edges.append(edges_E)
            shares.append(share_B)
        lengths = tuple(map(len, edges))
        return cls(spec.columns, rows, tuple(unseen_rows), lengths, np.concatenate(edges), np.concatenate(shares))

    @cached_property
    def columns(self) -> list[Spread]:
        """Each column by itself."""
        widths = [bins.width(feature, edges) for feature, edges in zip(self.features, self.edges_D, strict=True)]
        parts = (np.split(flat, np.cumsum(lengths)[:-1]) for flat, lengths in
                 ((self.edges, self.edges_D), (self.shares, widths)))  # fmt: skip
        return [Spread(*own) for own in zip(self.features, *parts, self.unseen_rows_D, strict=True)]

    def counts(self, table: pa.Table) -> list[NDArray[np.int64]]:
        """Of each column, (B,) how many rows of a table fall into each bin. Raises SchemaError naming the column."""
        return [bins.counts(own.feature, own.edges_E, combine(table.column(own.feature.name))) for own in self.columns]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; edges and shares are arrays of the model file."""
        return {"rows": self.rows, "unseen_rows": list(self.unseen_rows_D), "edges": list(self.edges_D)}

    @property
    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """For a model file."""
        return {"drift.edges": self.edges, "drift.shares": self.shares}

    @classmethod
    def from_json(cls, own: Fields, spec: FeatureSpec) -> Self:
        """From what ``to_json`` gave, without its arrays. Raises ModelFileError where it cannot have given that."""
        rows, edges, unseen_rows = own.count("rows"), own.sequence("edges"), own.sequence("unseen_rows")
        if len(edges) != len(spec.columns):
            raise own.wrong("edges", f"{len(spec.columns)} numbers, one for each feature", edges)
        for feature, number in zip(spec.columns, edges, strict=True):
            most = bins.MOST_EDGES if isinstance(KINDS[feature.kind], UnitsKind) else 0
            if type(number) is not int or not 0 <= number <= most:
                raise own.wrong("edges", f"numbers from 0 to {most}", edges)
        if len(unseen_rows) != len(edges) or not all(type(one) is int and 0 < one <= rows for one in unseen_rows):
            raise own.wrong("unseen_rows", f"{len(edges)} numbers from 1 to {rows}", unseen_rows)
        return cls(spec.columns, rows, tuple(unseen_rows), tuple(edges), np.empty(0), np.empty(0))

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
        for feature, edges_E, share_B, _ in self.columns:
            if (edges_E[1:] <= edges_E[:-1]).any():
                return f"edges of {feature.name!r} that do not rise"
            if abs(share_B.sum() - 1) > ROUNDING:
                return f"shares of {feature.name!r} that add up to {share_B.sum():.6g}"
        return ""


def _unseen(feature: Feature, training: pa.Array, held_out: pa.Table | None) -> tuple[float, int]:
    """The share of rows to come whose value the feature does not know, and the number of rows by which this is known.

    It is the share of the training rows' values that occur once (Good, "The population frequencies of species", 1953);
    where the feature does not know all of these, the share of the held-out rows whose value it does not know.
    """
    no_edges = np.empty(0)
    if held_out is not None and bins.counts(feature, no_edges, training)[-2]:
        count_B = bins.counts(feature, no_edges, combine(held_out.column(feature.name)))
        return float(count_B[-2] / count_B.sum()), len(held_out)
    return singles(typed(training, feature.family)) / len(training), len(training)


def _with_unseen(share_B: NDArray[np.float64], unseen: float) -> NDArray[np.float64]:
    """A category's shares over its bins, with another share of values that training has not seen: the known ones have
    the rest of what is not missing.
    """
    known_B = share_B[:-2] + 0.0
    known_B[-1] += share_B[-2]
    unseen = min(unseen, 1 - share_B[-1])
    known_B *= (1 - share_B[-1] - unseen) / max(known_B.sum(), 1e-300)
    return np.append(known_B, [unseen, share_B[-1]])

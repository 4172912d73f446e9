"""The fitted feature spec: how each source column becomes columns of the model's matrix.

Shapes: N rows, F numeric columns of the matrix ("units"), C categorical columns. A feature is a source column; its kind
says whether it has units, and how many, or is a category.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.errors import SchemaError, TrainingError
from vae_model.features.batch import Batch
from vae_model.features.categories import MAX_VOCABULARY, SlotKind
from vae_model.features.families import FAMILIES
from vae_model.features.feature import Chosen, Feature, Kind
from vae_model.features.fields import Fields
from vae_model.features.kinds import KINDS
from vae_model.features.stored import features_of
from vae_model.features.units import UnitsKind, standardise

T = TypeVar("T")

LIMIT = float(np.finfo(np.float32).max) ** 0.25
"""Standardised values stop here: a square of a square still fits a 32-bit float."""


@dataclass(frozen=True)
class FeatureSpec:
    """All features in model order, and the columns that could not be used, with the reason."""

    features: tuple[Feature, ...]
    """Those that have units or are categories."""
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    pictures: tuple[Feature, ...] = ()
    """Columns of pictures: networks of their own look at them (``scoring.pictures``)."""

    @classmethod
    def fit(cls, table: pa.Table, chosen: Mapping[str, Chosen]) -> Self:
        """Fit every chosen column on the training rows.

        Columns that are all null are left out and reported. Raises SchemaError where a column cannot be encoded, and
        TrainingError where nothing is left to learn from.
        """
        features, unused, notes = [], {}, []
        for name, (kind, family) in chosen.items():
            array = typed(combine(table.column(name)), family)
            if array.null_count == len(array):
                unused[name] = "all null in the training rows"
                continue
            fit = naming(KINDS[kind].fit, Feature(name, kind, family), array)
            notes += [f"{name}: {note}" for note in fit.notes]
            if fit.feature is None:
                unused[name] = fit.unusable
            else:
                features.append(fit.feature)
        _check_vocabulary(features)
        pictures = tuple(feature for feature in features if KINDS[feature.kind].is_picture)
        features = [feature for feature in features if feature not in pictures]
        if pictures and all(feature.is_constant for feature in features):  # they tell nothing beside the pictures
            unused |= {feature.name: "constant in the training rows" for feature in features}
            features = []
        if not pictures and all(feature.is_constant for feature in features):
            raise TrainingError(
                "There is nothing to learn: every feature is constant or null in the training rows.",
                found=f"features {', '.join(chosen)}",
                hint="Check the normal predicate and the included columns.",
            )
        return cls(tuple(features), unused, tuple(notes), pictures)

    @property
    def columns(self) -> tuple[Feature, ...]:
        """All features: first those that ``encode`` takes, then the pictures."""
        return (*self.features, *self.pictures)

    @property
    def names(self) -> list[str]:
        """The source columns, in the order of ``columns``."""
        return [f.name for f in self.columns]

    @property
    def trained(self) -> dict[str, Chosen]:
        """What each column was taken for in training, to hold another table's schema against."""
        return {f.name: Chosen(f.kind, f.family) for f in self.columns}

    def described(self) -> list[tuple[Feature, str]]:
        """Each of ``columns``, and what was fitted on it in words."""
        return [(feature, KINDS[feature.kind].describe(feature)) for feature in self.columns]

    @cached_property
    def kinds(self) -> list[Kind]:
        """The kind of each feature."""
        return [KINDS[f.kind] for f in self.features]

    @cached_property
    def numeric(self) -> list[Feature]:
        """The features with units in ``x_NF``."""
        return [feature for _, feature, _, _ in self._with_units]

    @cached_property
    def categorical(self) -> list[Feature]:
        """The features with a column in ``codes_NC``."""
        return [feature for _, feature, _ in self._with_slots]

    @cached_property
    def _with_units(self) -> list[tuple[int, Feature, UnitsKind, slice]]:
        """Of each feature that has units: its index, itself, its kind, and where its units are."""
        found, start = [], 0
        for index, (feature, kind) in enumerate(zip(self.features, self.kinds, strict=True)):
            if isinstance(kind, UnitsKind):
                stop = start + len(feature.center)
                found.append((index, feature, kind, slice(start, stop)))
                start = stop
        return found

    @cached_property
    def _with_slots(self) -> list[tuple[int, Feature, SlotKind]]:
        """Of each feature that is a category: its index, itself, and its kind."""
        both = enumerate(zip(self.features, self.kinds, strict=True))
        return [(index, feature, kind) for index, (feature, kind) in both if isinstance(kind, SlotKind)]

    @cached_property
    def center_F(self) -> NDArray[np.float64]:
        """Training means of the units."""
        return np.array([c for f in self.numeric for c in f.center])

    @cached_property
    def scale_F(self) -> NDArray[np.float64]:
        """Training standard deviations of the units; 0 for a constant."""
        return np.array([s for f in self.numeric for s in f.scale])

    @cached_property
    def feature_of_unit(self) -> NDArray[np.intp]:
        """For each residual (units first, then categories), the index of its feature in ``features``."""
        of_units = [index for index, feature, _, _ in self._with_units for _ in feature.center]
        return np.array(of_units + [index for index, _, _ in self._with_slots], dtype=np.intp)

    @cached_property
    def share_R(self) -> NDArray[np.float32]:
        """Of each residual, its share of its feature: a feature of several units counts once."""
        of_unit = self.feature_of_unit
        return np.asarray(1 / np.bincount(of_unit)[of_unit], dtype=np.float32)

    @cached_property
    def residuals(self) -> list[slice]:
        """Of each feature, where its residuals are: those of units come first, then those of categories."""
        found = {index: own for index, _, _, own in self._with_units}
        after = len(self.center_F)
        found |= {index: slice(after + c, after + c + 1) for c, (index, _, _) in enumerate(self._with_slots)}
        return [found[index] for index in range(len(self.features))]

    @cached_property
    def gap_rank_D(self) -> NDArray[np.intp]:
        """Of each feature, how many others were missing in fewer training rows; of equals, the first ranks first."""
        order_D = np.argsort([feature.missing for feature in self.features], kind="stable")
        return np.argsort(order_D, kind="stable")

    def encode(self, arrays: Sequence[pa.Array]) -> Batch:
        """Encode one Arrow array a column, in the order of ``names``; pictures, which come last, are not looked at.
        Raises an error naming the column.
        """
        rows = len(arrays[0])
        x_NF = np.empty((rows, len(self.center_F)), dtype=np.float32)
        codes_NC = np.empty((rows, len(self._with_slots)), dtype=np.int32)
        unseen_NC = np.zeros((rows, len(self._with_slots)), dtype=bool)
        missing_N = np.zeros(rows)
        non_finite_N = np.zeros(rows, dtype=bool)
        least_N = np.full(rows, len(self.features))  # the smallest rank of the row's gaps
        for c, (index, feature, slot_kind) in enumerate(self._with_slots):
            array = typed(arrays[index], feature.family)
            codes_N, unseen_NC[:, c] = naming(slot_kind.encode, feature, array)
            codes_NC[:, c] = codes_N
            is_null_N: NDArray[np.bool_] = codes_N < 0
            self._note_gaps(index, is_null_N, least_N)
            missing_N += is_null_N
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all measure is clipped below
            for index, feature, kind, own in self._with_units:
                array = typed(arrays[index], feature.family)
                standardise(feature, naming(kind.encode, feature, array), x_NF[:, own])
        if not -LIMIT <= x_NF.min(initial=0) <= x_NF.max(initial=0) <= LIMIT:  # nor where anything is missing
            for index, feature, kind, own in self._with_units:
                if np.abs(x_NF[:, own]).max(initial=0) <= LIMIT:
                    continue
                infinite_NU = np.isinf(kind.encode(feature, typed(arrays[index], feature.family)))
                non_finite_N |= infinite_NU.any(axis=1)
                x_NU = np.where(infinite_NU, np.nan, x_NF[:, own])
                has_gap_N, is_missing_N = _of_units(np.isnan(x_NU))
                self._note_gaps(index, has_gap_N, least_N)
                missing_N += is_missing_N
                x_NF[:, own] = np.clip(x_NU, -LIMIT, LIMIT)
        gap_N = np.append(np.argsort(self.gap_rank_D), -1)[least_N]
        return Batch(x_NF, codes_NC, unseen_NC, missing_N / max(len(self.features), 1), non_finite_N, gap_N)

    def standardised(self, arrays: Sequence[pa.Array], units: NDArray[np.intp]) -> NDArray[np.float64]:
        """(N, V) some varying numeric units of one Arrow array a feature, standardised, in double precision; NaN where
        missing or infinite.
        """
        x_NV, wanted = np.empty((len(arrays[0]), len(units))), {unit: v for v, unit in enumerate(units.tolist())}
        for index, feature, kind, own in self._with_units:
            places = [(unit - own.start, wanted[unit]) for unit in range(own.start, own.stop) if unit in wanted]
            if places:
                with np.errstate(over="ignore", invalid="ignore"):
                    raw_NU = naming(kind.encode, feature, typed(arrays[index], feature.family)) - feature.center_U
                    for u, v in places:
                        np.divide(raw_NU[:, u], feature.scale[u], out=x_NV[:, v])
        x_NV[~np.isfinite(x_NV)] = np.nan
        return x_NV

    def _note_gaps(self, index: int, has_gap_N: NDArray[np.bool_], least_N: NDArray[np.intp]) -> None:
        """Write a feature's rank to ``least_N`` where it has a gap and no rarer one is known."""
        own = np.flatnonzero(has_gap_N)
        least_N[own] = np.minimum(least_N[own], self.gap_rank_D[index])

    def encode_table(self, table: pa.Table) -> Batch:
        """Encode the feature columns of a table."""
        return self.encode([combine(table.column(name)) for name in self.names])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "features": [f.to_json() for f in self.features],
            "unused": dict(self.unused),
            "notes": list(self.notes),
            **({"pictures": [f.to_json() for f in self.pictures]} if self.pictures else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what ``to_json`` gave. Raises ModelFileError where it cannot have given that."""
        own = Fields(values, "spec")
        features, pictures = features_of(own)
        return cls(features, own.named_texts("unused"), own.texts("notes"), pictures)


def _check_vocabulary(features: Sequence[Feature]) -> None:
    """Raise TrainingError where the values of all categories are more than a model file has room for."""
    sizes = {feature.name: sum(len(value.encode()) for value in feature.values) for feature in features}
    if (total := sum(sizes.values())) > MAX_VOCABULARY:
        largest = max(sizes, key=lambda name: sizes[name])
        raise TrainingError(
            "The categories have too many different values, or too long ones.",
            f"at most {MAX_VOCABULARY:,} bytes in all",
            f"{total:,} bytes, {sizes[largest]:,} of them in column {largest!r}",
            f"Leave out of the model what only identifies a row: features: {{exclude: [{largest}]}}.",
        )


def combine(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one Arrow array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _of_units(missing_NU: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether any unit of a feature is missing, and whether all are."""
    if missing_NU.shape[1] == 1:  # most are: a row of one is looked at for far longer than it takes
        return missing_NU[:, 0], missing_NU[:, 0]
    return np.asarray(missing_NU.any(axis=1)), np.asarray(missing_NU.all(axis=1))


def typed(array: pa.Array, family: str) -> pa.Array:
    """The array without its dictionary, and with a type where it had none."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return pa.nulls(len(array), FAMILIES[family].type) if pa.types.is_null(array.type) else array


def naming(function: Callable[[Feature, pa.Array], T], feature: Feature, array: pa.Array) -> T:
    """Call a kind's function; an Arrow error in it comes back as one that names the column."""
    try:
        return function(feature, array)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise SchemaError(
            f"Column {feature.name!r} could not be encoded as {feature.kind}.", feature.family, str(error)
        ) from error

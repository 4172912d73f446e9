"""The fitted feature spec: how each source column becomes columns of the model's matrix, and back into words.

Shapes: N rows, F numeric columns of the matrix ("units"), C categorical columns. A feature is a source column; a
number has one unit, a date four, a timestamp six, an array one an element. Booleans are categories of two values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vae_model.errors import SchemaError, TrainingError
from vae_model.features import categories, numbers, times
from vae_model.features.batch import Batch

LIMIT = float(np.finfo(np.float32).max) ** 0.25
"""Standardised values stop here: a square of a square still fits a 32-bit float."""


@dataclass(frozen=True)
class Feature:
    """One source column, fitted."""

    name: str
    kind: str
    family: str
    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    slots: int = 0
    gini: float = 0.0

    @property
    def is_category(self) -> bool:
        """Whether the column is a category to the network."""
        return self.kind in ("categorical", "boolean")

    @cached_property
    def value_set(self) -> pa.Array:
        """The values seen in training, as Arrow."""
        return pa.array(self.values, pa.string())

    def matrix(self, array: pa.Array) -> NDArray[np.float64]:
        """The column's units before standardisation, (N, units)."""
        if self.kind == "datetime":
            return times.matrix(array)
        if self.kind == "vector":
            return numbers.vectors(array, len(self.center) or numbers.width_of(array), self.name)
        return numbers.matrix(array)

    @cached_property
    def center_U(self) -> NDArray[np.float64]:
        """Training means of the units."""
        return np.array(self.center)

    @cached_property
    def scale_U(self) -> NDArray[np.float64]:
        """Training standard deviations of the units; 0 for a constant."""
        return np.array(self.scale)

    def standardise(self, raw_NU: NDArray[np.float64], out_NU: NDArray[np.float32]) -> None:
        """Units less their center, in units of their scale, into ``out_NU``. A constant unit (scale 0) becomes 0 where
        equal to its constant, else 1: whole numbers are compared exactly, others as closely as a trip through float32
        leaves them.
        """
        x_NU = raw_NU - self.center_U
        if all(self.scale):
            np.divide(x_NU, self.scale_U, out=out_NU, casting="same_kind")
            return
        for unit, (center, scale) in enumerate(zip(self.center, self.scale, strict=True)):
            if scale:
                x_NU[:, unit] /= scale
            else:
                observed = ~np.isnan(raw_NU[:, unit])
                tolerance = 0 if center == round(center) else 1e-7 * abs(center)
                x_NU[observed, unit] = np.abs(x_NU[observed, unit]) > tolerance
        out_NU[:] = x_NU

    def describe(self) -> str:
        """One line a person can check."""
        if self.is_category:
            pooled = len(self.values) - self.slots
            shown = ", ".join(self.values[:6]) + (", …" if len(self.values) > 6 else "")
            return f"{len(self.values)} values ({shown})" + (f", {pooled} rare ones pooled" if pooled else "")
        if self.kind == "vector":
            return f"{len(self.center)} numbers"
        if self.kind == "datetime":
            return ", ".join(times.PARTS[self.family == "date" :]) + " (UTC)"
        return f"constant {self.center[0]:.6g}" if not self.scale[0] else f"{self.center[0]:.6g} ± {self.scale[0]:.6g}"


@dataclass(frozen=True)
class FeatureSpec:
    """All features in model order, and the columns that could not be used, with the reason."""

    features: tuple[Feature, ...]
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def fit(cls, table: pa.Table, chosen: Mapping[str, tuple[str, str]]) -> Self:
        """Fit every chosen column (name -> (kind, family)) on the training rows.

        Columns that are all null are left out and reported. Raises TrainingError where nothing is left.
        """
        features, unused, notes = [], {}, []
        for name, (kind, group) in chosen.items():
            feature = Feature(name, kind, group)
            array = _plain(combine(table.column(name)), group)
            if array.null_count == len(array):
                unused[name] = "all null in the training rows"
            elif feature.is_category:
                values, slots, gini, distinct = categories.vocabulary(array)
                features.append(Feature(name, kind, group, values=tuple(values), slots=slots, gini=gini))
                if distinct > 1000:
                    notes.append(f"{name}: {distinct:,} distinct values; the {slots} most frequent are told apart")
                if distinct == 1:
                    notes.append(f"{name}: constant ({values[0]!r}) in the training rows")
            else:
                raw = feature.matrix(array)
                if np.isinf(raw).any():
                    notes.append(f"{name}: {int(np.isinf(raw).any(axis=1).sum()):,} infinite values taken as missing")
                if not np.isfinite(raw).any():
                    unused[name] = "no finite value in the training rows"
                    continue
                fitted = [numbers.location_scale(raw[:, unit]) for unit in range(raw.shape[1])]
                center, scale = zip(*fitted, strict=True)
                if not any(scale):
                    notes.append(f"{name}: constant in the training rows")
                features.append(Feature(name, kind, group, center=center, scale=scale))
        if all(f.gini == 0 if f.is_category else not any(f.scale) for f in features):
            raise TrainingError(
                "There is nothing to learn: every feature is constant or null in the training rows.",
                found=f"features {', '.join(chosen)}",
                hint="Check the normal predicate and the included columns.",
            )
        return cls(tuple(features), unused, tuple(notes))

    @property
    def names(self) -> list[str]:
        """The source columns, in the order ``encode`` takes them."""
        return [f.name for f in self.features]

    @property
    def trained(self) -> dict[str, tuple[str, str]]:
        """Name -> (kind, family), to hold another table's schema against."""
        return {f.name: (f.kind, f.family) for f in self.features}

    @cached_property
    def numeric(self) -> list[Feature]:
        """The features with units in ``x_NF``."""
        return [f for f in self.features if not f.is_category]

    @cached_property
    def categorical(self) -> list[Feature]:
        """The features with a column in ``codes_NC``."""
        return [f for f in self.features if f.is_category]

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
        index = {f.name: i for i, f in enumerate(self.features)}
        of_units = [index[f.name] for f in self.numeric for _ in f.center]
        return np.array(of_units + [index[f.name] for f in self.categorical], dtype=np.intp)

    @cached_property
    def share_R(self) -> NDArray[np.float32]:
        """Of each residual, its share of its feature: a feature of several units counts once."""
        of_unit = self.feature_of_unit
        return np.asarray(1 / np.bincount(of_unit)[of_unit], dtype=np.float32)

    @cached_property
    def units(self) -> list[slice]:
        """Of each feature, its residuals: units first, then categories."""
        of_unit = self.feature_of_unit
        first = {int(index): start for start, index in reversed(list(enumerate(of_unit)))}
        counts = np.bincount(of_unit, minlength=len(self.features))
        return [slice(first[index], first[index] + int(count)) for index, count in enumerate(counts)]

    def encode(self, arrays: Sequence[pa.Array]) -> Batch:
        """Encode one Arrow array a feature, in the order of ``names``. Raises an error naming the column."""
        rows = len(arrays[0])
        x_NF = np.empty((rows, len(self.center_F)), dtype=np.float32)
        codes_NC = np.empty((rows, len(self.categorical)), dtype=np.int32)
        unseen_NC = np.zeros((rows, len(self.categorical)), dtype=bool)
        missing_N = np.zeros(rows)
        non_finite_N = np.zeros(rows, dtype=bool)
        category = 0
        with np.errstate(over="ignore", invalid="ignore"):  # what is beyond all measure is clipped below
            for feature, unit, given in zip(self.features, self.units, arrays, strict=True):
                array = _plain(given, feature.family)
                if feature.is_category:
                    slot, unseen = _naming(feature, categories.codes, array, feature.value_set, feature.slots)
                    codes_NC[:, category], unseen_NC[:, category] = slot, unseen
                    missing_N += slot < 0
                    category += 1
                else:
                    feature.standardise(_naming(feature, feature.matrix, array), x_NF[:, unit])
        if not -LIMIT <= x_NF.min(initial=0) <= x_NF.max(initial=0) <= LIMIT:  # nor where anything is missing
            for feature, unit, given in zip(self.features, self.units, arrays, strict=True):
                if feature.is_category or np.abs(x_NF[:, unit]).max(initial=0) <= LIMIT:
                    continue
                infinite_NU = np.isinf(feature.matrix(_plain(given, feature.family)))
                non_finite_N |= infinite_NU.any(axis=1)
                x_NU = np.where(infinite_NU, np.nan, x_NF[:, unit])
                missing_N += np.isnan(x_NU).all(axis=1)
                x_NF[:, unit] = np.clip(x_NU, -LIMIT, LIMIT)
        return Batch(x_NF, codes_NC, unseen_NC, missing_N / len(self.features), non_finite_N)

    def encode_table(self, table: pa.Table) -> Batch:
        """Encode the feature columns of a table."""
        return self.encode([combine(table.column(name)) for name in self.names])

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"features": [asdict(f) for f in self.features], "unused": dict(self.unused), "notes": list(self.notes)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """From what ``to_json`` gave."""
        known: Any = Feature
        lists = [{k: tuple(v) if isinstance(v, list) else v for k, v in f.items()} for f in values["features"]]
        features = tuple(known(**fields) for fields in lists)
        return cls(features, dict(values["unused"]), tuple(values["notes"]))


def combine(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one Arrow array."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


_TYPE_OF_FAMILY = {
    "integer": pa.int64(),
    "float": pa.float64(),
    "decimal": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "array": pa.list_(pa.float64()),
    "null": pa.null(),
}


def _plain(array: pa.Array, family: str) -> pa.Array:
    """The array without its dictionary, and with a type where it had none."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return pa.nulls(len(array), _TYPE_OF_FAMILY[family]) if pa.types.is_null(array.type) else array


def _naming(feature: Feature, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; an Arrow error in it comes back as one that names the column."""
    try:
        return function(*arguments)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise SchemaError(
            f"Column {feature.name!r} could not be encoded as {feature.kind}.", feature.family, str(error)
        ) from error

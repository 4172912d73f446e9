"""What a feature is, and what is asked of a kind of feature.

A feature is a source column that the model sees. What was fitted on it is data (``Feature``); how that was fitted, what
it encodes to and how it is put into words, its kind knows (``Kind``). To add a kind, write a class in a file of its own
and list it in ``kinds.KINDS``: the config, the checks of tables, encoding, reasons and descriptions all ask that list.

Shapes: N rows, U units of one feature.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MISSING = "missing"
"""What is observed of a value that is not there, in words."""


def is_missing(value: Any) -> bool:
    """Whether a value of a column is a null or a NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


class Chosen(NamedTuple):
    """What a column is taken for."""

    kind: str
    """The name of its kind."""
    family: str
    """The family of its type, where it was chosen."""


@dataclass(frozen=True)
class Feature:
    """A source column and what was fitted on it: data alone, as it stands in the model file."""

    name: str
    """The column."""
    kind: str
    """The name of its kind."""
    family: str
    """The family of its type in training."""
    center: tuple[float, ...] = ()
    """Training mean of each unit; empty for a category."""
    scale: tuple[float, ...] = ()
    """Training standard deviation of each unit, 0 where it was constant; empty for a category."""
    values: tuple[str, ...] = ()
    """The values of a category that occurred in training, most frequent first."""
    slots: int = 0
    """How many of the values, from the first, have a slot of their own."""
    gini: float = 0.0
    """Gini impurity of a category in training, 0 where it was constant."""
    missing: float = 0.0
    """Share of the training rows in which the value, or a part of it, was missing or infinite."""
    low: tuple[float, ...] = ()
    """Smallest finite training value of each unit: nothing below it is expected."""
    high: tuple[float, ...] = ()
    """Largest finite training value of each unit."""
    decimals: int | None = None
    """How many decimals the column's numbers have; None where they are not rounded, and of what is no number."""
    offset: tuple[str, ...] = ()
    """Of each unit, a number in decimal digits that is taken off all values, exactly, before anything else, ``center``
    included; empty where floats tell the values apart."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values; without an offset or decimals where there are none, as in most models."""
        optional = {"offset": self.offset or None, "decimals": self.decimals}
        return {name: value for name, value in asdict(self).items() if optional.get(name, value) is not None}

    @property
    def is_constant(self) -> bool:
        """Whether the column never varied in training."""
        return not self.gini and not any(self.scale)

    def offset_of(self, unit: int) -> Decimal | None:
        """``offset`` of a unit as a number; None where there is none."""
        return Decimal(self.offset[unit]) if self.offset else None

    @cached_property
    def center_U(self) -> NDArray[np.float64]:
        """``center`` as an array."""
        return np.array(self.center)

    @cached_property
    def scale_U(self) -> NDArray[np.float64]:
        """``scale`` as an array."""
        return np.array(self.scale)

    @cached_property
    def value_set(self) -> pa.Array:
        """``values`` as Arrow."""
        return pa.array(self.values, pa.string())


class Fit(NamedTuple):
    """What came of fitting a kind to a column."""

    feature: Feature | None
    """None where nothing can be learnt from the column."""
    notes: Sequence[str] = ()
    """What a person should know of the column, without its name."""
    unusable: str = ""
    """Why nothing can be learnt from it."""


class Expectation(NamedTuple):
    """What the model expects of one value of a column."""

    value_U: Sequence[float]
    """Of each unit its value before standardisation; of a category the number of its likeliest other slot."""
    low_U: Sequence[float]
    """Where the interval begins that holds a unit at ``training.hiding.LEVEL``, before standardisation."""
    high_U: Sequence[float]
    """Where it ends."""
    parts_U: Sequence[float]
    """Each unit's part of the row's score: the one with the largest part deviates most."""


class Words(NamedTuple):
    """A value of a column and what was expected of it, in words."""

    observed: str
    """``MISSING`` of a null or a NaN."""
    expected: str


class Kind(ABC):
    """A kind of feature.

    A kind extends ``units.UnitsKind`` if it gives a column numeric units, or ``categories.SlotKind`` if it gives it a
    category's slot; these two say what ``encode`` returns. Kinds hold no state: what was fitted is in the feature.
    """

    name: ClassVar[str]
    """Its name in the config and in the model file."""
    families: ClassVar[tuple[str, ...]]
    """The families of columns it can be made from."""
    default_of: ClassVar[tuple[str, ...]] = ()
    """The families whose columns are of this kind unless the config says otherwise."""
    interchangeable: ClassVar[bool] = False
    """Whether a column of one family in training may be of another of ``families`` when rows are scored."""
    is_picture: ClassVar[bool] = False
    """Whether it has neither units nor a slot, and networks of its own."""

    @abstractmethod
    def fit(self, bare: Feature, array: pa.Array) -> Fit:
        """Fit on the training rows of a column, at least one of them not null; ``bare`` has only name, kind and family.

        Arrow's errors, ValueError and TypeError come to the user as a SchemaError that names the column.
        """

    @abstractmethod
    def encode(self, feature: Feature, array: pa.Array) -> Any:
        """Encode rows of the column. Runs once a batch on every worker: no loop over rows. Errors as in ``fit``."""

    @abstractmethod
    def describe(self, feature: Feature) -> str:
        """What was fitted, in one line that a person can check."""

    @abstractmethod
    def words(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> Words:
        """Observed and expected in words, as a reason why a row was flagged; ``value`` is what the column holds."""

    def interval(self, feature: Feature, value: pa.Scalar, expected: Expectation) -> str:
        """The range that is expected, "3 to 22", of a value that lies outside; empty of what is no number."""
        return ""

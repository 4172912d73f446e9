"""Planted errors: copies of a table's rows with one error each, of the kinds that tables really have.

Each value stays one that its column could hold: of a column of whole numbers a thousandth is rounded. What would leave
a value as it was is not an error, and is not planted.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as pat
from numpy.typing import NDArray

from vae_model.features.feature import Chosen, is_missing
from vae_model.features.floats import as_float64
from vae_model.features.spec import combine

TAIL = 0.01
"""A far quantile has this share of the column beyond it."""
CLOSE = 50
"""At most so many values of a category are tried in the place of another."""
EXPECTED = 10.0
"""Two values contradict each other where they never occur together, and would so often if each fell as it likes: hardly
one of ten thousand pairs is kept apart by chance alone."""
TRIES = 4
"""Rows that are tried for each that is to have an error: not every row can have one of every kind."""

Change = dict[str, Any]
"""Wrong values by column; empty where a row cannot have an error of the kind."""


class Planted(NamedTuple):
    """Rows with an error of one kind each."""

    kind: str
    rows: pa.Table
    right: NDArray[np.intp]
    """Which row of the table each is, but for its error."""
    columns: list[tuple[str, ...]]
    """The columns of each row that are wrong: one, or two that are swapped."""


def plant(rows: pa.Table, reference: pa.Table, trained: Mapping[str, Chosen], count: int, seed: int) -> list[Planted]:
    """Plant up to ``count`` errors of each kind, those of a kind in different rows.

    ``reference`` are the rows that say what is usual, ``trained`` what each column was taken for: no other column has
    an error. Kinds come without rows where the table has nothing to plant them in.
    """
    rows = roomy(rows)
    usual = Usual(roomy(reference.select(list(trained))), dict(trained))
    return [_planted(rows, usual, kind, count, seed) for kind in KINDS]


def roomy(table: pa.Table) -> pa.Table:
    """The same values in types that have room for larger ones, and without dictionaries."""
    fields = [field.with_type(_roomy(field.type)) for field in table.schema]
    return table.cast(pa.schema(fields)) if fields != list(table.schema) else table


def _roomy(type_: pa.DataType) -> pa.DataType:
    if pat.is_dictionary(type_):
        return _roomy(type_.value_type)
    if pat.is_integer(type_) and type_ != pa.uint64():
        return pa.int64()
    if pat.is_decimal128(type_):
        return pa.decimal128(38, type_.scale)
    return pa.float64() if pat.is_floating(type_) else type_


def _planted(rows: pa.Table, usual: Usual, kind: str, count: int, seed: int) -> Planted:
    draw = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    tried = draw.permutation(len(rows))[: TRIES * count]
    changes: list[tuple[int, Change]] = []
    names = KINDS[kind].columns(usual)
    for index, row in zip(tried.tolist(), rows.take(tried).to_pylist(), strict=True):
        there = [name for name in names if not is_missing(row[name])]
        wrong = KINDS[kind].change(usual, row, draw.permutation(there).tolist(), draw) if there else {}
        held = {name: _as_held(value, rows.schema.field(name).type) for name, value in wrong.items()}
        if held and all(held[name] != row[name] for name in held):
            changes.append((index, held))
        if len(changes) == count:
            break
    right = np.array([index for index, _ in changes], dtype=np.intp)
    return Planted(kind, _changed(rows.take(right), [own for _, own in changes]), right, [tuple(c) for _, c in changes])


def _changed(rows: pa.Table, changes: list[Change]) -> pa.Table:
    rest = np.arange(len(rows))
    for place, column in enumerate(rows.schema):
        mask = np.array([column.name in own for own in changes], dtype=bool)
        if mask.any():
            values = pa.array([own[column.name] for own in changes if column.name in own], column.type)
            both = pa.concat_arrays([combine(rows.column(place)), values])
            rows = rows.set_column(place, column, both.take(np.where(mask, len(mask) - 1 + mask.cumsum(), rest)))
    return rows


def _as_held(value: Any, type_: pa.DataType) -> Any:
    """A number as its column would hold it; the nearest that it can hold, where it is too large."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return value
    if pat.is_integer(type_):
        limits = np.iinfo(type_.to_pandas_dtype())
        return min(max(round(value), int(limits.min)), int(limits.max))
    if pat.is_decimal(type_):
        largest = 10 ** (type_.precision - type_.scale) - 1
        return round(Decimal(min(max(value, -largest), largest)), type_.scale)
    return value


@dataclass(frozen=True)
class Usual:
    """What is usual in a table: quantiles of its numbers, values of its categories and which of them go together."""

    table: pa.Table
    trained: dict[str, Chosen]
    _together: dict[tuple[str, str], Counter[tuple[Any, Any]]] = field(default_factory=dict, repr=False)

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float, float]]:
        """Of each number that varies, the quantiles ``TAIL``, a half and 1 - ``TAIL``."""
        found = {}
        for name, (kind, family) in self.trained.items():
            if kind != "numeric" or family == "boolean":
                continue
            values = as_float64(combine(self.table.column(name)))
            values = values[np.isfinite(values)]
            if len(values) and values.min() < values.max():
                low, half, high = np.quantile(values, [TAIL, 0.5, 1 - TAIL]).tolist()
                found[name] = low, half, high
        return found

    @cached_property
    def values(self) -> dict[str, Counter[Any]]:
        """Of each category that varies, how often each value occurs."""
        kinds = "categorical", "boolean"
        names = (name for name, (kind, _) in self.trained.items() if kind in kinds)
        counted = {name: Counter(self.table.column(name).drop_null().to_pylist()) for name in names}
        return {name: values for name, values in counted.items() if len(values) > 1}

    @cached_property
    def whole(self) -> list[str]:
        """The columns that always have a value."""
        return [name for name in self.trained if not any(map(is_missing, self.table.column(name).to_pylist()))]

    @cached_property
    def varied(self) -> list[str]:
        """The columns that have several values."""
        return [name for name in self.trained if len(set(map(repr, self.table.column(name).to_pylist()))) > 1]

    @cached_property
    def stale(self) -> Mapping[str, Any]:
        """Of each column that varies the first value it has: one that it may get stuck at."""
        lists = {name: self.table.column(name).to_pylist() for name in self.varied}
        return {name: next(value for value in own if not is_missing(value)) for name, own in lists.items()}

    def value_of(self, name: str, draw: np.random.Generator) -> Any:
        """A column's value in any row."""
        return self.table.column(name)[int(draw.integers(len(self.table)))].as_py()

    def never_with(self, name: str, other: str, value: Any) -> list[Any]:
        """Values of one category that would be expected beside a value of another, and never are."""
        if (name, other) not in self._together:
            pairs = zip(*(self.table.column(one).to_pylist() for one in (name, other)), strict=True)
            self._together[name, other] = Counter(pairs)
        together = self._together[name, other]
        often = self.values[other][value] / len(self.table)
        common = self.values[name].most_common(CLOSE)
        return [one for one, count in common if count * often >= EXPECTED and not together[one, value]]


def _number(
    wrong: Callable[[float, tuple[float, float, float], np.random.Generator], float],
) -> Callable[[Usual, Change, list[str], np.random.Generator], Change]:
    """A change of one number, by its value and its column's quantiles."""
    return lambda usual, row, names, draw: {names[0]: wrong(float(row[names[0]]), usual.bounds[names[0]], draw)}


def _far(value: float, bounds: tuple[float, float, float], draw: np.random.Generator) -> float:
    low, _, high = bounds
    distance = 6 * max(high - low, 1e-3) * (0.3 + draw.random())
    return high + distance if draw.random() < 0.5 else low - distance


def _swapped(usual: Usual, row: Change, names: list[str], draw: np.random.Generator) -> Change:
    if len(names) == 1:
        return {}
    one, other = names[:2]
    return {one: float(row[other]), other: float(row[one])}


def _contradicting(usual: Usual, row: Change, names: list[str], draw: np.random.Generator) -> Change:
    for name in names:
        for other in names:
            if name != other and (never := usual.never_with(name, other, row[other])):
                return {name: never[int(draw.integers(len(never)))]}
    return {}


def _unseen(usual: Usual, row: Change, names: list[str], draw: np.random.Generator) -> Change:
    known, name = usual.values[names[0]], names[0]
    if isinstance(row[name], str):
        new = f"{row[name][:20]}{draw.integers(10, 100)}"
        return {} if new in known else {name: new}
    return {name: max(known) + int(draw.integers(1, 100))}


def _other(usual: Usual, row: Change, names: list[str], draw: np.random.Generator) -> Change:
    value = usual.value_of(names[0], draw)
    return {} if is_missing(value) else {names[0]: value}


class Kind(NamedTuple):
    """A kind of error."""

    words: str
    columns: Callable[[Usual], list[str]]
    """The columns that can have it."""
    change: Callable[[Usual, Change, list[str], np.random.Generator], Change]
    """How a row gets it, by those of the columns in which it has a value, in any order."""


def _numbers(usual: Usual) -> list[str]:
    return list(usual.bounds)


def _texts(usual: Usual) -> list[str]:
    return [name for name in usual.values if usual.trained[name].family != "boolean"]


KINDS = {
    "tail": Kind("a number far beyond its column's middle 98 %", _numbers, _number(_far)),
    "quantile": Kind(
        f"a number at its column's {TAIL:.0%} or {1 - TAIL:.0%} quantile, the farther one",
        _numbers,
        _number(lambda value, bounds, _: bounds[0] if value > bounds[1] else bounds[2]),
    ),
    "sign": Kind("a number's sign", _numbers, _number(lambda value, *_: -value)),
    "x10": Kind("a number times 10", _numbers, _number(lambda value, *_: 10 * value)),
    "x1000": Kind("a number times 1,000", _numbers, _number(lambda value, *_: 1000 * value)),
    "/1000": Kind("a number over 1,000", _numbers, _number(lambda value, *_: value / 1000)),
    "swapped": Kind("two numbers in each other's place", _numbers, _swapped),
    "contradiction": Kind(
        "a category that never occurs with another of the row's", lambda usual: list(usual.values), _contradicting
    ),
    "unseen": Kind("a category that never occurs", _texts, _unseen),
    "missing": Kind(
        "no value where there always is one", lambda usual: usual.whole, lambda _, row, names, draw: {names[0]: None}
    ),
    "shuffled": Kind("another row's value", lambda usual: usual.varied, _other),
    "stale": Kind(
        "the one value that a column is stuck at",
        lambda usual: usual.varied,
        lambda usual, row, names, draw: {names[0]: usual.stale[names[0]]},
    ),
}
"""The kinds of errors that are planted."""

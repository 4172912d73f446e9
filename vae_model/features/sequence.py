"""Rows that come one after the other: which columns say so, and where a row's window begins and ends.

A table of sequences holds series, one for each value of the columns ``by``, each in the order of the column ``order``.
The window of a row is the row and the ``length - 1`` rows before it of the same series. Nothing is looked at across a
break: where a series begins, where more than ``max_gap`` lies between two rows, or where a row is left out.

Shapes: N rows in the order of their series, U numbers that say when a row is.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.errors import SchemaError, listed, nearest
from vae_model.features import times
from vae_model.features.families import FAMILIES, family
from vae_model.features.fields import Fields
from vae_model.features.floats import as_float64

if TYPE_CHECKING:
    from vae_model.features.schema import Column

MAX_LENGTH = 1000
"""Rows of a window."""
BY = ("string", "integer", "boolean", "date")
"""Families of columns that series can be by."""
TIMES = ("timestamp", "date")
NUMBERS = ("integer", "float", "decimal")
ORDERS = (*TIMES, *NUMBERS)
"""Families of columns that rows can be in the order of."""
SECOND = 1_000_000
"""Microseconds, in which times are counted."""
UNITS = {"d": 86_400 * SECOND, "h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND}


@dataclass(frozen=True)
class Sequence:
    """How rows follow each other."""

    by: tuple[str, ...]
    """The columns whose values tell the series apart; none where all rows are of one."""
    order: str
    """The column in whose order the rows of a series are."""
    family: str
    """The family of its type."""
    length: int
    """Rows of a window, the row itself included."""
    max_gap: float | None = None
    """A larger difference between two rows is a break: microseconds, or as the column's numbers. None: none is."""

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that say where a row stands."""
        return (*self.by, self.order)

    @property
    def units(self) -> int:
        """How many numbers say when a row is, U."""
        return {"timestamp": 6, "date": 4}.get(self.family, 0)

    def describe(self) -> str:
        """What a window is, in words."""
        by = f" of the same {', '.join(self.by)}" if self.by else ""
        gap = self.max_gap
        if gap is not None and self.family in TIMES:
            unit, size = next((unit, size) for unit, size in UNITS.items() if gap >= size or size == SECOND)
            told = f", without a gap of more than {gap / size:g} {unit}"
        else:
            told = "" if gap is None else f", without a gap of more than {gap:g}"
        return f"a row and the {self.length - 1} before it{by}, in the order of {self.order}{told}"

    def moment(self, order: pa.Array) -> NDArray[np.float64]:
        """(N, U) where on the circles of day, week and year each row is; nothing of a column that is no time."""
        if not self.units:
            return np.empty((len(order), 0))
        found: NDArray[np.float64] = np.nan_to_num(times.matrix(self.typed(order)))
        return found[:, -self.units :]  # a date has no time of day

    def is_break(self, order: pa.Array, is_other_N: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,) whether no window goes on from the row before: ``is_other_N`` says where another series begins or a row
        is left out. A row without a value in the column of the order stands for itself.
        """
        order = self.typed(order)
        tick_N = ticks(order)
        missing_N = order.is_null().to_numpy(zero_copy_only=False) | np.isnan(tick_N)
        found_N = is_other_N | missing_N
        found_N[1:] |= missing_N[:-1]
        if self.max_gap is not None and len(order) > 1:
            step_N = (tick_N[1:] - tick_N[:-1]).astype(np.float64)
            slack_N = np.full(len(step_N), 1e-9 * self.max_gap)
            if tick_N.dtype == np.float64:  # a step of 0.1 is not to the last bit what is between 0.2 and 0.3
                slack_N += 4 * np.spacing(np.abs(tick_N[1:]))
            with np.errstate(invalid="ignore"):  # of what is missing
                found_N[1:] |= ~(step_N <= self.max_gap + slack_N)
        found_N[:1] = True
        return np.asarray(found_N)

    def typed(self, order: pa.Array) -> pa.Array:
        """The column of the order: with a type where it has none because all its rows are null; times in microseconds.

        Raises SchemaError where times are beyond what microseconds can count.
        """
        if pa.types.is_null(order.type):
            order = pa.nulls(len(order), FAMILIES[self.family].type)
        if family(order.type) not in TIMES:
            return order
        finer = getattr(order.type, "unit", "") == "ns"  # only these lose something: a fraction of a microsecond
        try:
            return order.cast(pa.timestamp("us", tz=getattr(order.type, "tz", None)), safe=not finer)
        except pa.ArrowException as error:
            raise SchemaError(
                f"Column {self.order!r} cannot be the order of the rows.", "times of the years 1 to 9999", str(error)
            ) from error

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        gap = {} if self.max_gap is None else {"max_gap": self.max_gap}
        return {"by": list(self.by), "order": self.order, "family": self.family, "length": self.length, **gap}

    @classmethod
    def from_json(cls, own: Fields) -> Self:
        """From what ``to_json`` gave. Raises ModelFileError where it cannot have given that."""
        gap = own.number("max_gap", 0) if "max_gap" in own.values else None
        order, by = own.text("order"), own.texts("by")
        if len({*by, order}) <= len(by):
            raise own.wrong("by", "columns, each once, and not the one of the order", list(by))
        return cls(by, order, own.one_of("family", ORDERS), own.count("length", 2, MAX_LENGTH), gap)


def ticks(order: pa.Array) -> NDArray[np.float64] | NDArray[np.int64]:
    """(N,) the values of an order as numbers: of times, in microseconds. What is missing is 0, or NaN of a float."""
    if pa.types.is_timestamp(order.type):
        found: NDArray[np.int64] = order.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
        return found
    if pa.types.is_integer(order.type) and order.type != pa.uint64():
        return np.asarray(order.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
    return as_float64(order)


def window_of(before_N: NDArray[np.bool_], length: int) -> NDArray[np.intp]:
    """(N,) of how many rows each row's window is made of, at most ``length``, by where the breaks are."""
    place_N = np.arange(len(before_N))
    begin_N = np.maximum.accumulate(np.where(before_N, place_N, 0))
    return np.minimum(place_N - begin_N + 1, length)


def _alike(family: str) -> tuple[str, ...]:
    """The families that an order may be of, which was of one in training; all where it is not known yet."""
    if not family:
        return ORDERS
    return (family,) if family in TIMES else NUMBERS


def check_columns(columns: Listed[Column], sequence: Sequence) -> None:
    """Check that a table has the columns of a sequence. Raises SchemaError naming each that does not fit."""
    found = {column.name: column for column in columns}
    problems = []
    for name in sequence.names:
        one = found.get(name)
        known = BY if name != sequence.order else _alike(sequence.family)
        if one is None:
            hint = nearest(name, found) or f"the table has {', '.join(list(found)[:12])}"
            problems.append(f"column {name!r} is not in the table; {hint}")
        elif one.family not in (*known, "null"):  # a column of nulls alone has no type: it fits
            wanted = " or ".join([", ".join(known[:-1]), known[-1]] if len(known) > 1 else known)
            what = "the order of the rows" if name == sequence.order else "what tells the series apart"
            problems.append(f"column {name!r} cannot be {what}: expected {wanted}, found {one.type}")
    if problems:
        raise SchemaError(listed("The table does not fit features.sequence:", problems))


PLACE = "\x00place"
"""A column beside the others of a sample: where each row stands. Rows that follow each other differ by 1, and others by
more; how many times ``SERIES`` goes into it says which series a row is of. No table has a column of this name: a null
character is refused by every engine's parser."""
SERIES = 2**40
"""Places of a series: more than any has rows."""


def arrange(
    table: pa.Table, sequence: Sequence, key: Listed[str] = (), begin: int = 0
) -> tuple[pa.Table, NDArray[np.intp]]:
    """The rows of a table in the order of their series, with the column ``PLACE``, and where each of them was. Series
    are counted from ``begin`` on.

    Rows that the order holds for equal stand in the order of ``key``, where the table has it, and then of all their
    values that can be compared; so it is no matter in which order they came.
    """
    names = [*sequence.names, *(name for name in key if name in table.column_names and name not in sequence.names)]
    columns = {name: column for name in names if (column := _sortable(table, name)) is not None}
    row_N, is_same_N = _sorted(columns)
    if is_same_N.any():
        others = {name: column for name in table.column_names
                  if name not in columns and (column := _sortable(table, name)) is not None}  # fmt: skip
        row_N, _ = _sorted(columns | others)
    is_other_N = np.zeros(len(table), dtype=bool)
    for name in sequence.by:
        is_other_N |= ~_repeats(columns[name], row_N)
    is_other_N[:1] = False
    place_N = places(begin + np.cumsum(is_other_N), np.arange(len(table)))
    return table.take(pa.array(row_N)).append_column(PLACE, pa.array(place_N)), row_N


def _sortable(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    """A column as one that Arrow sorts; None of one whose values are in no order."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_float16(column.type):
        column = column.cast(pa.float32())
    if pa.types.is_null(column.type):
        column = column.cast(pa.int8())
    return column if family(column.type) not in (None, "array") else None


def _sorted(columns: Mapping[str, pa.ChunkedArray]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The order of rows by some columns, and which of them in it is equal to the one before."""
    table = pa.table({f"c{i}": column for i, column in enumerate(columns.values())})
    names = table.column_names
    row_N = pc.sort_indices(table, [(name, "ascending") for name in names]).to_numpy()
    is_same_N = np.logical_and.reduce([_repeats(column, row_N) for column in table.columns])
    return row_N.astype(np.intp), is_same_N


def _repeats(column: pa.ChunkedArray, row_N: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(N,) which values of a column, in an order, are equal to the one before; nulls are equal."""
    codes = column.combine_chunks().dictionary_encode("encode").take(pa.array(row_N)).indices.to_numpy()
    found_N = np.zeros(len(codes), dtype=bool)
    found_N[1:] = codes[1:] == codes[:-1]
    return found_N


def places(series_N: NDArray[np.integer], number_N: NDArray[np.integer]) -> NDArray[np.int64]:
    """(N,) the ``PLACE`` of rows, by the number of their series and a number that grows by 1 along it."""
    return np.asarray(series_N * SERIES + number_N, dtype=np.int64)


def follows(place_N: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether each row is the one after the row before it, by their places."""
    found_N = np.zeros(len(place_N), dtype=bool)
    found_N[1:] = np.diff(place_N) == 1
    return found_N


STRETCH, SHORTEST = 20, 500
"""A sample is made of stretches of so many windows, and of so many rows at least: in each the first window may be there
only to be looked back at."""
FEW = 20
"""With fewer stretches than this the end of each is held out; else whole ones are."""


def stretch(length: int) -> int:
    """Rows of a stretch, of windows of ``length`` rows."""
    return max(STRETCH * length, SHORTEST)


def held_out(stretch_N: NDArray[np.integer], share: float) -> NDArray[np.bool_]:
    """(N,) which rows are held out of training: a share of the stretches, drawn by chance; of few stretches the end of
    each. Rows are in the order of their series.
    """
    stretches, stretch_N = np.unique(stretch_N, return_inverse=True)
    count = len(stretches)
    if count < FEW:
        length = np.bincount(stretch_N)
        order_N = np.argsort(stretch_N, kind="stable")  # in their order within each
        nth_N = np.empty(len(stretch_N), dtype=np.intp)
        begin = np.cumsum(length) - length
        nth_N[order_N] = np.arange(len(stretch_N)) - begin[stretch_N[order_N]]
        return np.asarray(nth_N >= (1 - share) * length[stretch_N])
    is_held_out_S = np.random.default_rng(count).permutation(count) < max(round(share * count), 1)
    return np.asarray(is_held_out_S[stretch_N])


def stretches_of(place_N: NDArray[np.int64], length: int) -> NDArray[np.intp]:
    """(N,) the stretch of each row, cut from series in their order."""
    series_N = np.cumsum(~follows(place_N)) - 1
    nth_N = np.arange(len(place_N)) - np.searchsorted(series_N, series_N)
    begins_N = nth_N % stretch(length) == 0
    return np.asarray(np.cumsum(begins_N) - 1)

"""The segments that a model knows, by the values of some columns: which one a row is in, and what its score is measured
by.

A decision by segments compares a score with those of held-out rows after each is divided by the level of its segment
(``decisions.segments``). The levels stand in the model file: they are the same numbers on every worker.

Shapes: N rows, H held-out rows, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from vae_model.decisions.segments import HIGHEST_LEVEL, LOWEST_LEVEL, SMALL
from vae_model.errors import SchemaError, TrainingError, listed, nearest
from vae_model.features.categories import MAX_BYTES, shortened
from vae_model.features.fields import Fields
from vae_model.features.spec import combine
from vae_model.networks.stored import Stored

if TYPE_CHECKING:
    from vae_model.features.schema import Column

ROWS_EACH = 100
"""There are at least so many sampled rows for each segment, on average."""
FAMILIES = ("string", "integer", "boolean", "date", "null")
"""Of columns that segments can be by. A float would make a segment of every row."""
SHOWN = 5
"""Small segments that are named."""

Values = tuple[str | None, ...]
"""The values of a segment, one a column, as text; None for a missing one, which is a value like any other."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a table, and what held-out rows say of them."""

    by: tuple[str, ...]
    """The columns."""
    values: tuple[Values, ...]
    level_S: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), repr=False)
    """(S,) what a score is divided by; empty in training, until there are held-out scores."""
    held_out_H: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32), repr=False)
    """(H,) the segment of each held-out row, in the order of their scores; empty in training as well."""

    @classmethod
    def of(cls, parts: Sequence[pa.Table], by: Sequence[str]) -> Self:
        """The segments of a sample, in several parts. Raises TrainingError where they are too many, SchemaError where a
        value is too long to be one.
        """
        rows = sum(map(len, parts))
        columns = [pa.concat_arrays([_text(combine(part.column(name))) for part in parts]) for name in by]
        for name, column in zip(by, columns, strict=True):
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            if longest > MAX_BYTES:
                raise SchemaError(
                    f"Column {name!r} of decision.by holds text that is too long for a segment.",
                    f"values of at most {MAX_BYTES:,} bytes",
                    f"a value of {longest:,} bytes or more",
                )
        numbers = list(map(str, range(len(by))))
        distinct = pa.table(columns, names=numbers).group_by(numbers).aggregate([])
        values = list(zip(*(distinct.column(number).to_pylist() for number in numbers), strict=True))
        if len(values) * ROWS_EACH > rows:
            raise TrainingError(
                f"decision.by ({', '.join(by)}) makes too many segments.",
                f"at most {rows // ROWS_EACH:,}, one for each {ROWS_EACH} of the {rows:,} rows of the sample",
                f"{len(values):,}",
                "Choose a column with fewer values, raise train.rows, or leave decision.by out.",
            )
        return cls(tuple(by), tuple(sorted(values, key=lambda own: [(value is None, value or "") for value in own])))

    def codes(self, arrays: Sequence[pa.Array]) -> NDArray[np.intp]:
        """(N,) the segment of each row, by one array for each column; -1 where there was none such in training."""
        columns, segment_of = self._known
        code_N = np.zeros(len(arrays[0]), dtype=np.intp)
        for array, (known, pairs) in zip(arrays, columns, strict=True):
            own_N = pc.index_in(_text(array), value_set=known, skip_nulls=False).fill_null(-1)
            pair_N = _pair(code_N, own_N.to_numpy(zero_copy_only=False), len(known))
            place_N = np.minimum(np.searchsorted(pairs, pair_N), len(pairs) - 1)
            code_N = np.where(pairs[place_N] == pair_N, place_N, -1)
        return np.asarray(np.append(segment_of, -1)[code_N])

    def codes_in(self, table: pa.Table) -> NDArray[np.intp]:
        """(N,) the segment of each row of a table."""
        return self.codes([combine(table.column(name)) for name in self.by])

    def levels_of(self, segment_N: NDArray[np.integer]) -> NDArray[np.float64]:
        """(N,) what each row's score is divided by: 1, which is the whole's level, for segments that are not known."""
        return np.asarray(np.append(self.level_S, 1.0)[segment_N])

    @cached_property
    def rows_S(self) -> NDArray[np.intp]:
        """(S,) held-out rows of each segment."""
        return np.bincount(self.held_out_H, minlength=len(self.values))

    @cached_property
    def _known(self) -> tuple[list[tuple[pa.Array, NDArray[np.intp]]], NDArray[np.intp]]:
        """Of each column its values, and the pairs, as numbers, of what the columns before it say and one of them; and
        the segment at each place of the last column's pairs.
        """
        columns = []
        code_S = np.zeros(len(self.values), dtype=np.intp)
        for own_S in zip(*self.values, strict=True):
            known = {value: i for i, value in enumerate(dict.fromkeys(own_S))}
            pair_S = _pair(code_S, np.array([known[value] for value in own_S]), len(known))
            pairs, code_S = np.unique(pair_S, return_inverse=True)
            columns.append((pa.array(list(known), pa.string()), pairs))
        return columns, np.argsort(code_S)

    def describe(self) -> str:
        """What scores are divided by, in words."""
        low, high = self.level_S.min(), self.level_S.max()
        return f"the level of their segment ({', '.join(self.by)}: {len(self.values):,}, from {low:.3g} to {high:.3g})"

    def note(self) -> str:
        """Which segments have few held-out rows, in words; empty where none has."""
        small = np.flatnonzero(self.rows_S < SMALL).tolist()
        if not small:
            return ""
        small.sort(key=lambda segment: (-self.rows_S[segment], segment))
        named = [f"{'/'.join(map(_shown, self.values[one]))} {self.rows_S[one]}" for one in small[:SHOWN]]
        have, are = ("has", "is") if len(small) == 1 else ("have", "are")
        return (
            f"decision.by: {len(small):,} of {len(self.values):,} segments {have} fewer than {SMALL} held-out rows, "
            f"and {are} decided on more as the whole is: {', '.join(named)}{', …' if len(small) > SHOWN else ''}"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values, column by column; levels and held-out rows are arrays of the model file."""
        columns = zip(*self.values, strict=True)
        return {"by": list(self.by), "values": [list(own_S) for own_S in columns]}

    @classmethod
    def from_json(cls, own: Fields) -> Self:
        """From what ``to_json`` gave. Raises ModelFileError where it cannot have given that."""
        by, columns = own.texts("by"), own.sequence("values")
        if not by or len(set(by)) < len(by):
            raise own.wrong("by", "columns, each once", list(by))
        if len(columns) != len(by):
            raise own.wrong("values", f"{len(by)} lists, one for each column", columns)
        for index, own_S in enumerate(columns):
            place = Fields({"values": own_S}, f"{own.place}.values.{index}")
            if len(place.sequence("values")) != len(columns[0]) or not own_S:
                raise own.wrong("values", "lists of the same length, not empty", columns)
            Fields({"texts": [value for value in own_S if value is not None]}, place.place).texts("texts")
        values = tuple(zip(*columns, strict=True))
        if len(set(values)) < len(values):
            raise own.wrong("values", "each segment once", "one twice")
        return cls(by, values)

    def stored(self, held_out: int) -> dict[str, Stored]:
        """The arrays that belong to the segments in a model file, of so many held-out rows."""
        segments = len(self.values)
        return {
            "calibration_segments": Stored((held_out,), 0, segments - 1, dtype="int32"),
            "calibration_levels": Stored((segments,), LOWEST_LEVEL, HIGHEST_LEVEL, dtype="float64"),
        }


def check_columns(columns: Sequence[Column], by: Sequence[str]) -> None:
    """Check that a table has the columns that segments are by. Raises SchemaError naming each that does not fit."""
    families = {column.name: column for column in columns}
    problems = []
    for name in by:
        found = families.get(name)
        if found is None:
            hint = nearest(name, families) or f"the table has {', '.join(list(families)[:12])}"
            problems.append(f"column {name!r} is not in the table; {hint}")
        elif found.family not in FAMILIES:
            problems.append(f"column {name!r}: expected {', '.join(FAMILIES[:-2])} or date, found {found.type}")
    if problems:
        raise SchemaError(listed("The table does not fit decision.by:", problems))


def _pair(first: NDArray[Any], second: NDArray[Any], seconds: int) -> NDArray[np.intp]:
    """Pairs of numbers as numbers: negative where the first is -1, and no other's where the second is."""
    return np.asarray(first * (seconds + 1) + second + 1, dtype=np.intp)


def _text(array: pa.Array) -> pa.Array:
    """A column as strings."""
    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    return plain.cast(pa.string()) if plain.type != pa.string() else plain


def _shown(value: str | None) -> str:
    return "null" if value is None else shortened(value)

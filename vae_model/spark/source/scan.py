"""CSV files read row by row on the driver, to tell where an engine met what it could not read: file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

from vae_model.places.listing import DataFile, Listing
from vae_model.spark.source.dialect import BOOLEAN, Dialect

_FITS: tuple[tuple[str, Callable[[str], object]], ...] = (
    (r"tinyint|smallint|int|integer|bigint|long|short|byte", int),
    (r"float|double|real|decimal.*|numeric.*", float),
    (r"date", date.fromisoformat),
    (r"timestamp.*", datetime.fromisoformat),
)


@dataclass(frozen=True)
class Scan:
    """The files of a source, to look through them."""

    listing: Listing
    dialect: Dialect
    has_header: bool
    names: Mapping[DataFile, Sequence[str]]
    """The columns of each file."""
    null: str
    """What is written for null, beside nothing at all."""

    def odd_row(self) -> str:
        """The first row with another number of values than its file's first row: its file and line. Empty for none."""
        with closing(self._rows()) as rows:
            for file, line, row in rows:
                if len(row) != len(self.names[file]):
                    return f"{len(row)} values instead of {len(self.names[file])} in {file.inside}, line {line}"
        return ""

    def unfit(self, name: str, type_: str) -> str:
        """Where the first value of a column stands that does not fit a type. Empty where that cannot be told."""
        fits = next((fits for rule, fits in _FITS if re.fullmatch(rule, type_.lower())), _is_boolean)
        with closing(self._rows()) as rows:
            for file, line, row in rows:
                own = self.names[file]
                value = row[own.index(name)] if name in own and len(row) == len(own) else ""
                try:
                    if value not in ("", self.null):
                        fits(value.strip())
                except ValueError:
                    return f"the first in {file.inside}, line {line}"
        return ""

    def _rows(self) -> Generator[tuple[DataFile, int, list[str]], None, None]:
        """Each row with its file and the number of its last line."""
        for file in self.names:
            with self.listing.opened(file) as opened:
                rows = self.dialect.rows(opened)
                if self.has_header:
                    next(rows, None)
                yield from ((file, line, row) for line, row in rows)


def _is_boolean(value: str) -> None:
    if not re.fullmatch(BOOLEAN, value):
        raise ValueError(value)

"""Rows that come one after the other, as a config says it."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from vae_model.config.section import Section, as_text
from vae_model.errors import ConfigError

if TYPE_CHECKING:
    from vae_model.features.schema import Column
    from vae_model.features.sequence import Sequence as Fitted

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""What a length of time may be given in."""


class Sequence(Section):
    """Rows that come one after the other: a row is scored with the rows before it of the same series."""

    by: list[str] = Field(default_factory=list)
    """Columns whose values tell the series apart, such as [station]. All rows are of one series by default."""
    order: str
    """The column in whose order the rows of a series are: a time, a date or a number."""
    length: Annotated[int, Field(ge=2, le=1000)] = 24
    """Rows of a window: the row, and so many less one before it. A row with fewer before it in an unbroken series has
    no score (anomaly_status: short_window)."""
    max_gap: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[smhd]?$"), BeforeValidator(as_text)] | None = None
    """Where more lies between two rows, the series is broken, and a window begins anew: 90s, 15m, 3h or 2d of a time, a
    number of a column of numbers. By default it never is."""

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [*self.by, self.order]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns named twice: {', '.join(twice)}")
        if self.max_gap is not None and not float(self.max_gap.rstrip("smhd")):
            raise ValueError("max_gap must be more than 0: no row would have another before it")
        return self

    def of(self, columns: Listed[Column]) -> Fitted:
        """What the config says, of a table with these columns. Raises SchemaError where they do not fit, ConfigError
        where ``max_gap`` is not of the kind of the order.
        """
        from vae_model.features import sequence  # brings pyarrow, which `vae-anomaly --help` need not wait for

        family = {column.name: column.family for column in columns}.get(self.order)
        known = family if family in sequence.ORDERS else ""
        sequence.check_columns(columns, sequence.Sequence(tuple(self.by), self.order, str(known), self.length))
        return self.fitted(str(known))

    def fitted(self, family: str) -> Fitted:
        """What the config says, of a table whose order is a column of a family. Raises ConfigError as ``of``."""
        from vae_model.features.sequence import Sequence

        return Sequence(tuple(self.by), self.order, family, self.length, self._gap(family))

    def _gap(self, family: str) -> float | None:
        """The largest gap, of times in microseconds."""
        from vae_model.features.sequence import SECOND, TIMES

        if self.max_gap is None:
            return None
        unit = self.max_gap[-1] if self.max_gap[-1] in SECONDS else ""
        if (family in TIMES) != bool(unit):
            raise ConfigError(
                f"features.sequence.max_gap does not go with the column {self.order!r}.",
                "90s, 15m, 3h or 2d" if family in TIMES else "a number, as the column's",
                self.max_gap,
            )
        return float(self.max_gap[:-1]) * SECONDS[unit] * SECOND if unit else float(self.max_gap)

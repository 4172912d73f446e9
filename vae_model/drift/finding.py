"""What a comparison says of one column, as it stands in the record of a run."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ColumnDrift:
    """A column of a run beside the same one of the training sample. Shares are of all rows; "then" is the sample."""

    column: str
    psi: float
    """The population stability index over the column's bins, missing values among them."""
    missing_then: float
    missing_now: float
    new_then: float
    """The share of values outside the training range or, of a category, of values that training has not seen."""
    new_now: float
    moved: str | None = None
    """What moved, in words; None where nothing did by more than chance would have it."""
    shares: list[float] = field(default_factory=list)
    """The share of the rows in each bin: those of the model's reference, in the same order."""

    @property
    def missing_increase(self) -> float:
        """By how much the share missing rose; negative where it fell."""
        return self.missing_now - self.missing_then

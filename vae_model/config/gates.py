"""What a run is held against, and when its rows are not published."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from vae_model.config.section import Count, Section
from vae_model.config.tables import Place

Rate = Annotated[float, Field(gt=0, le=1)]


class Drift(Section):
    """How a run's rows are held against those that the model learnt from, column by column."""

    rows: Annotated[int, Field(ge=0, le=2**30)] = 50_000
    """So many rows of a run are compared, drawn by a hash of their key as a training sample is; all of them, where they
    are no more. The source is read for it once more. 0: none are, and nothing is known of drift."""


class Rejected(Place):
    """Where the rows go that a gate keeps from the output, scored, in the place of those of the gated run before."""

    format: Literal["delta", "parquet"] = "delta"
    """Format of that table."""


class Gates(Section):
    """Limits that a run must keep to. Where it does not, its rows are not published: the output stays as it is, and the
    exit code is 3. By default there are none.
    """

    max_anomaly_rate: Rate | None = None
    """The largest share of the run's rows that may be flagged."""
    max_unscored: Rate | None = None
    """The largest share of the run's rows that may be without a score."""
    max_drift: Annotated[float, Field(gt=0)] | None = None
    """The largest population stability index that a column may have against the training sample. Up to 0.1 counts as no
    shift, more than 0.25 as a large one. What few rows have by chance does not count."""
    max_missing_increase: Rate | None = None
    """By how much the share missing of a column may be larger than in the training sample: 0.1 is ten points. What few
    rows have by chance does not count."""
    min_rows: Count | None = None
    """The fewest rows that a run may have."""
    keep_rejected: Rejected | None = None
    """Where the rows of a gated run go. By default they are not kept."""

    @model_validator(mode="after")
    def _rows_are_kept_by_a_gate(self) -> Self:
        if self.keep_rejected is not None and not self.limits:
            raise ValueError("'keep_rejected' goes with a gate, of which none is set")
        return self

    @property
    def limits(self) -> dict[str, float]:
        """The gates that are set."""
        names = [name for name in type(self).model_fields if name != "keep_rejected"]
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def needs_drift(self) -> list[str]:
        """The gates that are set which need the columns compared."""
        return [name for name in ("max_drift", "max_missing_increase") if name in self.limits]

    @property
    def needs_scores(self) -> bool:
        """Whether a gate is set that only scored rows can answer."""
        return bool({"max_anomaly_rate", "max_unscored"} & self.limits.keys())

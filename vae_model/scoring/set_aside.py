"""Rows of the sample that training set aside as not normal: how many, and the worst cells among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from vae_model.features.fields import Fields

WORST = 5
"""Cells that are shown."""


@dataclass(frozen=True)
class SetAside:
    """Rows that neither standardisation nor training nor calibration has seen. They are scored like any other."""

    training: int = 0
    held_out: int = 0
    worst: tuple[tuple[str, str, str], ...] = ()
    """Of the worst cells: column, what was observed, what was expected."""

    @classmethod
    def of(cls, training: Mapping[str, Any]) -> Self:
        """From the part of a model file's header that is about training; none where that does not speak of them.

        Raises ModelFileError, naming the field, where training could not have written it.
        """
        if training.get("set_aside") is None:
            return cls()
        own = Fields(training, "training").inner("set_aside")
        cells = [Fields(cell, f"{own.place}.worst.{i}") for i, cell in enumerate(own.sequence("worst")[:WORST])]
        return cls(
            own.count("training", 0),
            own.count("held_out", 0),
            tuple((cell.text("feature"), cell.text("observed"), cell.text("expected")) for cell in cells),
        )

    def describe(self) -> str:
        """In words; empty where no row was set aside."""
        rows = self.training + self.held_out
        if not rows:
            return ""
        were = "row of the sample was" if rows == 1 else "rows of the sample were"
        text = f"{rows:,} {were} set aside as not normal: kept out of training and calibration, and still scored"
        if not self.worst:
            return text
        cells = "; ".join(f"{feature} {observed} (expected {expected})" for feature, observed, expected in self.worst)
        return f"{text}; the worst: {cells}"

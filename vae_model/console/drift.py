"""What a run differs in from the rows that its model learnt from, in lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_model.runs.record import RunRecord

SHOWN = 5
"""Columns that moved and are told; the record has all."""


def lines(record: RunRecord) -> Iterator[str]:
    """The columns that moved, most first, and whether the rows hang together as they did."""
    if record.drift is None or record.drift_rows is None:
        return
    moved = [one.moved for one in record.drift if one.moved is not None]
    few = ""
    if record.drift_small:
        few = f" {record.drift_rows:,} rows were compared; they, or those of the training sample, are too few to tell "
        few += "any but a large shift from chance."
    if not moved:
        yield f"Drift: none of {len(record.drift):,} columns has moved since training.{few}"
    else:
        yield f"Drift: {len(moved):,} of {len(record.drift):,} columns have moved since training.{few}"
        for one in moved[:SHOWN]:
            yield f"  {one}"
        if len(moved) > SHOWN:
            yield f"  and {len(moved) - SHOWN:,} more, in the record"
    if record.p_values_moved:
        yield (
            "Drift: rows score higher than the held-out rows did, not anomalies alone: the distance of their "
            f"p-values from even ones is {record.p_value_distance:.2f}."
            + ("" if moved else " Columns may not hang together as they did.")
        )

"""Gates: whether a run keeps to the limits of its config. Pure: on what was counted."""

from __future__ import annotations

from typing import NamedTuple

from vae_model.config.gates import Gates
from vae_model.drift.comparison import Comparison


class Closed(NamedTuple):
    """A gate that said no."""

    gate: str
    """A key of ``gates``."""
    limit: float
    found: float
    words: str
    """What was found, in words."""


class Counts(NamedTuple):
    """Counts of scored rows."""

    rows: int
    scored: int
    """Rows that have a score."""
    anomalies: int


def before_scoring(gates: Gates, rows: int | None, compared: Comparison | None) -> Closed | None:
    """The first gate that is closed by what is known before rows are scored; None where none is."""
    if gates.min_rows is not None and rows is not None and rows < gates.min_rows:
        return Closed("min_rows", gates.min_rows, rows, f"{rows:,} {'row' if rows == 1 else 'rows'}")
    if compared is None:
        return None
    worst = compared.drifted
    if gates.max_drift is not None and worst is not None and worst.psi > gates.max_drift:
        said = f" ({worst.moved})" if worst.moved else f" of {worst.column}"
        return Closed("max_drift", gates.max_drift, worst.psi, f"{worst.psi:.3g}{said}")
    worst = compared.missing
    limit = gates.max_missing_increase
    if limit is not None and worst is not None and worst.missing_increase > limit:
        said = f"{worst.column}: {worst.missing_then:.3%} missing in training, {worst.missing_now:.3%} now"
        return Closed("max_missing_increase", limit, worst.missing_increase, said)
    return None


def after_scoring(gates: Gates, counts: Counts) -> Closed | None:
    """The first gate that is closed by scored rows; None where none is."""
    unscored = counts.rows - counts.scored
    for gate, number, what in (
        ("max_anomaly_rate", counts.anomalies, "are flagged"), ("max_unscored", unscored, "have no score"),
    ):  # fmt: skip
        limit = gates.limits.get(gate)
        if limit is not None and number > limit * counts.rows:
            share = number / counts.rows
            return Closed(gate, limit, share, f"{share:.3%}: {number:,} of {counts.rows:,} rows {what}")
    return None

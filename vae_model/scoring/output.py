"""The columns that a scored table gains."""

from __future__ import annotations

import pyarrow as pa

from vae_model.scoring import reasons

OUTPUT = pa.schema(
    [
        ("reconstruction_error", pa.float64()),
        ("anomaly_score", pa.float64()),
        ("anomaly_p_value", pa.float64()),
        ("is_anomaly", pa.bool_()),
        ("anomaly_reasons", reasons.TYPE),
        ("anomaly_status", pa.string()),
        ("anomaly_model", pa.string()),
        ("anomaly_run", pa.string()),
    ]
)
"""All of them, in order."""

SCORED = pa.schema(list(OUTPUT)[:-1])
"""Those that rows gain outside a job, which are of no run."""
COMPUTED = pa.schema(list(OUTPUT)[:-2])
"""Those that differ from row to row; model and run are constants, added without a trip through Python."""
EXPLAINED = pa.schema([*COMPUTED, ("reason", pa.string())])
"""What explaining a row gives: the same columns, with reasons whether it is flagged or not, and a sentence."""
STATUSES = (
    "ok", "unseen_segment", "unseen_category", "non_finite", "too_many_missing", "short_window", "unreadable_image",
)  # fmt: skip
"""What ``anomaly_status`` may say; where several hold, the last of them."""
MEANINGS = {
    "reconstruction_error": "mean squared residual over the observed columns, in training standard deviations",
    "anomaly_score": "larger is more anomalous; about 1 for a normal row; comparable across rows of one model",
    "anomaly_p_value": "share of held-out normal rows that score at least as high, (1 + k) / (1 + n)",
    "is_anomaly": "the decision: p-value at most decision.false_alarm_rate, or score at least decision.threshold",
    "anomaly_reasons": "the columns without which a flagged row would be ordinary, most first; expected is what the "
    "VAEs expect that do not see the column. A value gone missing where it never was can be one: observed missing",
    "anomaly_status": "ok, unseen_segment (of decision.by), unseen_category (scored as rare), non_finite (an infinity, "
    "taken as missing), too_many_missing (not scored), short_window (of rows in order: not scored), unreadable_image "
    "(scored by the other columns, if there are any)",
    "anomaly_model": "name and digest of the model that scored the row",
    "anomaly_run": "id of the run that wrote the row: a row of the runs table",
}
"""What each of them says, in the README's words; where tables can say it, theirs do. Without quotes and backslashes."""

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

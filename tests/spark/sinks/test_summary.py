"""What a run did, read back from its rows."""

from vae_model.config.sections import Output
from vae_model.scoring.scorer import OUTPUT
from vae_model.spark.sinks.summary import Reason, summarise

SCORED = [
    "double(id) AS reconstruction_error", "double(id) AS anomaly_score", "0.5D AS anomaly_p_value",
    "id > 7 AS is_anomaly",
    "array(named_struct('feature', 'f', 'share', 1D, 'observed', 'o', 'expected', 'e')) AS anomaly_reasons",
    "'ok' AS anomaly_status", "'m' AS anomaly_model",
]  # fmt: skip
"""The output columns of ten rows, of which the last two are flagged."""


def test_keys_may_be_called_anything(engine):
    """Columns named like those of the summary's own queries are shown with their own values."""
    assert [text.rpartition(" ")[2] for text in SCORED] == OUTPUT.names
    keys = ["__score", "__p", "__reasons", "s", "n", "a"]
    frame = engine.range(10).selectExpr(*(f"concat('{name}', id) AS {name}" for name in keys), *SCORED)
    found = summarise(frame, Output(path="/nowhere", format="delta"), keys)
    assert (found.rows, found.anomalies, found.statuses) == (10, 2, {"ok": 10})
    assert [one.key for one in found.top] == [{name: f"{name}{i}" for name in keys} for i in (9, 8)]
    assert [(one.score, one.p_value) for one in found.top] == [(9.0, 0.5), (8.0, 0.5)]
    assert found.top[0].reasons == [Reason("f", 1.0, "o", "e")]

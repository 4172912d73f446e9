"""What a run did, read back from its rows."""

import pytest
from pyspark.sql import functions as F

from vae_model.config.tables import Output
from vae_model.scoring.output import OUTPUT
from vae_model.spark import score
from vae_model.spark.sinks.summary import summarise
from vae_model.spark.sinks.top_rows import Reason

SCORED = [
    "double(id) AS reconstruction_error", "double(id) AS anomaly_score", "0.5D AS anomaly_p_value",
    "id > 7 AS is_anomaly",
    "array(named_struct('feature', 'f', 'share', 1D, 'observed', 'o', 'expected', 'e')) AS anomaly_reasons",
    "'ok' AS anomaly_status", "'m' AS anomaly_model", "'r' AS anomaly_run",
]  # fmt: skip
"""The output columns of ten rows, of which the last two are flagged."""
NOWHERE = Output(path="/nowhere", format="delta")


def test_keys_may_be_called_anything(engine, detector):
    """Columns named like those of the summary's own queries are shown with their own values."""
    assert [text.rpartition(" ")[2] for text in SCORED] == OUTPUT.names
    keys = ["__score", "__p", "__reasons", "s", "n", "a"]
    frame = engine.range(10).selectExpr(*(f"concat('{name}', id) AS {name}" for name in keys), *SCORED)
    found = summarise(frame, NOWHERE, keys, detector.scorer)
    assert (found.rows, found.scored, found.anomalies, found.statuses) == (10, 10, 2, {"ok": 10})
    assert [one.key for one in found.top] == [{name: f"{name}{i}" for name in keys} for i in reversed(range(10))]
    assert [(one.score, one.p_value, one.is_anomaly) for one in found.top[1:3]] == [(8.0, 0.5, True), (7.0, 0.5, False)]
    assert found.top[0].reasons == [Reason("f", 1.0, "o", "e")]


@pytest.mark.parametrize("prefix", ["", "vae_"])
def test_the_highest_rows_have_their_reasons_flagged_or_not(frame, detector, rows, prefix):
    """The ten highest scores of all rows, the flagged ones first; the reasons of the others, which workers do not make,
    are those that a scorer that flags them gives.
    """
    scored = score(frame.where("id < 200"), detector, prefix)
    top = summarise(scored, Output(path="/nowhere", format="delta", prefix=prefix), ["id"], detector.scorer).top
    expected = detector.score(rows[:200])
    order = expected["anomaly_score"].sort_values(ascending=False).index[:10]
    assert [row.key for row in top] == [{"id": i} for i in order]
    flags = [row.is_anomaly for row in top]
    assert flags == expected["is_anomaly"][order].tolist()
    assert flags == sorted(flags, reverse=True) and 0 < sum(flags) < 10
    free = detector.with_decision(detector.config.decision.model_copy(update={"false_alarm_rate": 0.9}))
    reasons = free.score(rows[:200])["anomaly_reasons"]
    for row in top:
        told = reasons[row.key["id"]]
        assert [(one.feature, one.observed) for one in row.reasons] == [(r["feature"], r["observed"]) for r in told]
        assert [one.share for one in row.reasons] == pytest.approx([r["share"] for r in told], rel=1e-6)


@pytest.mark.parametrize(("unscored", "shown"), [(3, 7), (10, 0)])
def test_rows_without_a_score_are_not_among_the_highest(engine, detector, unscored, shown):
    """Rows that could not be scored are counted, and none of them is a top row."""
    scored = dict(zip(OUTPUT.names, SCORED, strict=True))
    for name in OUTPUT.names[:4]:
        scored[name] = scored[name].replace(f" AS {name}", "").join([f"if(id < {unscored}, null, ", f") AS {name}"])
    found = summarise(engine.range(10).selectExpr("id", *scored.values()), NOWHERE, ["id"], detector.scorer)
    assert (found.rows, found.scored) == (10, 10 - unscored)
    assert [row.key["id"] for row in found.top] == [9, 8, 7, 6, 5, 4, 3][:shown]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [
        lambda scored: scored.drop("a"),
        lambda scored: scored.withColumn("a", F.col("a").cast("string")),
        lambda scored: scored.withColumn("count", F.col("count") + 50),
    ],
    ids=["missing", "of another type", "of another value"],
)
def test_a_row_that_does_not_give_its_score_any_more_has_no_reasons(frame, detector, changed):
    """Where the output does not hold a column as it was scored, rows that are not flagged are shown without reasons,
    and the flagged ones with those that the workers made.
    """
    scored = changed(score(frame.where("id < 200"), detector))
    top = summarise(scored, NOWHERE, ["id"], detector.scorer).top
    assert len(top) == 10 and {row.is_anomaly for row in top} == {True, False}
    assert all(bool(row.reasons) == row.is_anomaly for row in top)

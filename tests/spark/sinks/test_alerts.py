"""The alerts table held against the source, the output, the runs and what is there, before any work."""

import pytest

from tests.spark.jobs.test_jobs import job
from vae_model.errors import InputError, OutputError, SchemaError
from vae_model.spark.sinks.alerts import check_alerts

BAD = {
    "the output": ({"path": "{}/scored"}, {}, "alerts is the same place as output"),
    "within the output": ({"path": "{}/scored/alerts"}, {}, "alerts is the same place as output"),
    "the source": ({"path": "{}/source"}, {}, "alerts is the same place as source"),
    "within the source": ({"path": "{}/source/../source/day"}, {}, "alerts is the same place as source"),
    "the runs": ({"path": "{}/scored_runs"}, {}, "alerts is the same place as runs"),
    "runs of its own": ({"path": "{}/runs/a"}, {"runs": {"path": "{}/runs"}}, "alerts is the same place as runs"),
    "no merge": (
        {"format": "parquet"}, {"mode": "merge"},
        "alerts: output.mode merge cannot be had here.", "Change output.mode, alerts.format or engine",
    ),
    "a slice that it does not know": (
        {}, {"mode": "replace_where", "where": "flag"}, "a predicate over id alone", "'flag'", "Add the columns",
    ),
    "no folders": (
        {"format": "parquet"}, {"mode": "replace_where", "where": "id < 3"}, "replaced by its folders", "alerts.format",
    ),
    "folders that it does not know": (
        {"format": "parquet"}, {"mode": "replace_where", "where": "id < 3", "partition_by": ["flag"]},
        "columns of key in output.partition_by: id", "found: flag",
    ),
    "something else there": ({"format": "parquet", "path": "{}/there"}, {}, "holds something else", "delta"),
    "other columns there": ({"path": "{}/there"}, {"mode": "append"}, "'rank' (bigint) is not in the output"),
    "no such schema": ({"table": "nowhere.alerts", "path": None}, {}, "no place to be in"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told(engine, frame, tmp_path, case):
    """With exit code 2, and what could be."""
    engine.range(3).write.format("delta").save(str(tmp_path / "there"))
    own, more, *words = BAD[case]
    own = {"path": "{}/alerts", **own}
    own = {key: value and value.format(tmp_path) for key, value in own.items()}
    runs = {key: {"path": value["path"].format(tmp_path)} for key, value in more.items() if key == "runs"}
    output = {"path": str(tmp_path / "scored"), **{key: value for key, value in more.items() if key != "runs"}}
    config = job(str(tmp_path / "source"), tmp_path, output=output, alerts=own, **runs)
    with pytest.raises(OutputError) as caught:
        check_alerts(engine, config, frame, config.output.where, anew=False)
    assert caught.value.exit_code == InputError.code
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "alerts").exists()


@pytest.mark.parametrize("name", ["rank", "Reason", "anomaly_run"])
def test_a_key_cannot_be_called_as_what_an_alert_says(engine, frame, tmp_path, name):
    """In any case of its letters."""
    config = job("elsewhere", tmp_path, key=["id", name], alerts={"path": str(tmp_path / "alerts")})
    with pytest.raises(SchemaError, match=f"named like those of an alert: {name}"):
        check_alerts(engine, config, frame.withColumnRenamed("count", name), None, anew=False)


@pytest.mark.parametrize(
    ("own", "output"),
    [
        ({}, {"mode": "replace_where", "where": "id < 3 OR id IS NULL"}),
        ({"format": "parquet"}, {"mode": "replace_where", "where": "id < 3", "partition_by": ["id"]}),
        ({}, {"mode": "replace_where", "where": "id < 3", "partition_by": ["flag"]}),
        ({"format": "parquet"}, {"mode": "append", "partition_by": ["flag"]}),
        ({}, {"mode": "merge"}),
    ],
)
def test_what_can_be_passes(engine, frame, tmp_path, own, output):
    """Each mode, where the key answers for what it needs."""
    config = job(
        "elsewhere", tmp_path, output={"path": str(tmp_path / "scored"), **output},
        alerts={"path": str(tmp_path / "alerts"), **own},
    )  # fmt: skip
    check_alerts(engine, config, frame, config.output.where, anew=False)


def test_a_key_without_an_order_is_told(engine, frame, tmp_path):
    """Ranks go by the key where scores are the same."""
    config = job("elsewhere", tmp_path, key=["m"], alerts={"path": str(tmp_path / "alerts")})
    with pytest.raises(SchemaError, match="cannot be ordered by the key's column m"):
        check_alerts(engine, config, frame.selectExpr("map(id, 1) AS m", "*"), None, anew=False)

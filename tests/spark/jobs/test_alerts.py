"""The alerts of a run, on each engine: which rows, in which mode, and what becomes of them when a run is killed."""

import logging

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyspark.sql import functions as F

from vae_model import Config, Detector
from vae_model.config.load import parse_config
from vae_model.errors import NothingToScore
from vae_model.spark import frames, score
from vae_model.spark.jobs import alerts
from vae_model.spark.jobs.run import run
from vae_model.spark.sinks.alerts import ALERT, query
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.thorough

KEY, DAYS = ["day", "id"], ("2026-01-01", "2026-01-02")
FEATURES = {"include": ["a", "b"]}


@pytest.fixture(scope="module")
def detector():
    """Of two columns, trained in an instant: p-values of 100 rows."""
    random = np.random.default_rng(0)
    values = {"name": "small", "key": KEY, "features": FEATURES, "model": {"steps": 10}}
    days, ids = ["2025-12-31"] * 100, np.arange(100)
    rows = pd.DataFrame({"day": days, "id": ids, "a": random.normal(size=100), "b": random.normal(size=100)})
    return Detector(Config.model_validate(values)).fit(rows)


class Job:
    """A source of days, a run for each of them, and the alerts."""

    def __init__(self, spark, folder, detector):
        self.spark, self.folder = spark, folder
        detector.save(f"{folder}/m.vae")

    def put(self, wild, rows=20):
        """Days of so many rows; those named are wild, the more the later in the list."""
        ids = np.arange(rows * len(DAYS))
        a = np.zeros(len(ids))
        a[list(wild)] = 20 + np.arange(len(wild))
        days = np.repeat(DAYS, rows)
        frame = pd.DataFrame({"day": days, "id": ids, "a": a, "b": 0.1 * (ids % 7)})
        frame.to_parquet(f"{self.folder}/source.parquet", index=False)

    def config(self, day=None, mode="replace", format_="delta", alerts=None, place="path", key=KEY, **more):
        """A job for one day, or all."""
        name = self.folder.name.lower()
        sliced = {"partition_by": ["day"]} if (mode, format_) == ("replace_where", "parquet") else {}

        def at(what):
            return {"path": f"{self.folder}/{what}"} if place == "path" else {"table": f"{what}_{name}"}

        return parse_config({
            "name": "small", "key": key, "features": FEATURES, "model": {"path": f"{self.folder}/m.vae"},
            "source": {"path": f"{self.folder}/source.parquet", "where": day and f"day = '{day}'"},
            "output": {**at("out"), "format": format_, "mode": mode, **sliced, **more.pop("output", {})},
            "alerts": {**at("alerts"), "format": format_, **(alerts or {})}, **more,
        })  # fmt: skip

    def run(self, run_id, day=None, *more, **settings):
        """Score a day as a run; its record."""
        return run(self.spark, self.config(day, *more, **settings), run_id, train=False)


@pytest.fixture
def job(engine, tmp_path, detector):
    """A job in the test's folder, four rows of two days wild."""
    made = Job(engine, tmp_path, detector)
    made.put([3, 5, 21, 22])
    return made


def told(job, config):
    """All alerts, each with its columns, by run and rank."""
    rows = frames.to_arrow(read_output(job.spark, config.alerts_output)).to_pylist()
    return sorted(rows, key=lambda row: (row["anomaly_run"], row["rank"]))


def names(rows):
    """Of alerts or scored rows, run, key and score; a day that is a folder's name is a date to some engines."""
    return sorted((row["anomaly_run"], str(row["day"]), row["id"], row["anomaly_score"]) for row in rows)


def flagged(job, config):
    """The flagged rows of the output."""
    return frames.to_arrow(read_output(job.spark, config.output).where("is_anomaly")).to_pylist()


def killed(job, monkeypatch, *arguments, **settings):
    """A run that ends when its rows are there and its alerts are not."""
    with monkeypatch.context() as patch:
        patch.setattr(alerts, "flat", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            job.run(*arguments, **settings)


@pytest.mark.slow
def test_each_flagged_row_is_an_alert(job, detector):
    """By default: one flat row with its key, the worst first, and why: in the words of the scored table, and in the
    sentence that the detector has for the row without an engine.
    """
    config, record = job.config(), job.run("a run")
    source = pd.read_parquet(f"{job.folder}/source.parquet")
    said = detector.scorer.explain([pa.array(source[name]) for name in detector.scorer.names]).field("reason")
    found, rows = told(job, config), {row["id"]: row for row in flagged(job, config)}
    assert [row["id"] for row in found] == [22, 21, 5, 3] and [row["rank"] for row in found] == [1, 2, 3, 4]
    assert list(found[0]) == [*KEY, *ALERT.names]
    assert (record.alerts, record.alerts_output) == (4, config.alerts.path)
    assert [(stage.stage, stage.rows) for stage in record.stages] == [("drift", 40), ("scoring", 40), ("alerts", 4)]
    for row in found:
        scored, first = rows[row["id"]], rows[row["id"]]["anomaly_reasons"][0]
        same = ("anomaly_score", "anomaly_p_value", "anomaly_model", "anomaly_run", "day")
        assert [row[name] for name in same] == [scored[name] for name in same]
        assert row["top_feature"] == first["feature"]
        assert all(row[name] == first[name] for name in ("observed", "expected", "share"))
        assert row["top_feature"] == "a" and row["observed"] in row["reason"] and "row is ordinary." in row["reason"]
        assert row["reason"] == said[row["id"]].as_py()


@pytest.mark.slow
def test_every_engine_gives_the_same_alerts(job, on_sail, tmp_path):
    """Whichever has scored, chosen and explained."""
    job.run("a run", alerts={"budget": 3})
    found = told(job, job.config())

    def again(session):
        job.spark = session
        job.run("a run", alerts={"budget": 3, "path": f"{tmp_path}/sail"}, output={"path": f"{tmp_path}/scored"})
        return told(job, job.config(alerts={"path": f"{tmp_path}/sail"}))

    expected = on_sail(again)
    assert len(expected) == 3
    for row, other in zip(found, expected, strict=True):
        assert row == {**other, **{name: pytest.approx(other[name], rel=1e-6) for name in ("anomaly_score", "share")}}


@pytest.mark.slow
@pytest.mark.parametrize("budget", [1, 2, 4, 100])
def test_a_budget_is_exact(job, budget):
    """So many of the flagged rows, the worst; all of them where there are not so many."""
    assert job.run("a run", alerts={"budget": budget}).alerts == min(budget, 4)
    assert [row["id"] for row in told(job, job.config())] == [22, 21, 5, 3][:budget]


def test_ties_go_by_the_key(job):
    """Of rows with the same score those whose key comes first: which they are is no matter of chance."""
    job.put([])
    config = job.config(decision={"threshold": -1e9}, alerts={"budget": 3})
    table = pd.read_parquet(f"{job.folder}/source.parquet").assign(b=0.0)
    table.sample(frac=1, random_state=1).to_parquet(f"{job.folder}/source.parquet", index=False)
    run(job.spark, config, "a run", train=False)
    assert [(row["day"], row["id"], row["rank"]) for row in told(job, config)] == [
        (DAYS[0], i, i + 1) for i in range(3)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "ids"), [(0.3, [3, 5, 21, 22]), (0.01, [])])
def test_a_false_discovery_rate_counts_p_values(job, caplog, rate, ids):
    """Of 40 rows four have the finest p-value of 100 held-out rows, 1/101: alerts from q = 40 / 4 / 101 on, flagged
    or not: no row is. Where the p-values are too coarse a warning says what it would take.
    """
    decided = {"threshold": 1e9}
    with caplog.at_level(logging.WARNING, "vae_model"):
        job.run("a run", alerts={"fdr": rate}, decision=decided)
    found, config = told(job, job.config()), job.config()
    assert sorted(row["id"] for row in found) == ids
    assert flagged(job, config) == [] and all(row["top_feature"] == "a" and row["reason"] for row in found)
    told_so = "It would take 40 rows that have it; or 999 held-out rows" in caplog.text
    assert told_so == (not ids), caplog.text


PATHS = [
    ("replace", "delta", "path", {}), ("replace", "parquet", "path", {}), ("append", "delta", "path", {}),
    ("append", "parquet", "path", {}), ("replace_where", "delta", "path", {}), ("replace_where", "parquet", "path", {}),
    ("merge", "delta", "path", {}),
]  # fmt: skip
OTHERS = [
    ("replace", "delta", "table", {}), ("replace", "parquet", "table", {}), ("append", "delta", "table", {}),
    ("append", "parquet", "table", {}), ("replace_where", "delta", "table", {}), ("merge", "delta", "table", {}),
    ("replace", "delta", "path", {"format": "parquet"}), ("append", "parquet", "path", {"format": "delta"}),
    ("replace_where", "parquet", "path", {"format": "delta"}),
]  # fmt: skip
WAYS = [*PATHS, *OTHERS]


@pytest.mark.soak_on("spark", "connect")
@pytest.mark.slow
@pytest.mark.parametrize(("mode", "format_", "place", "own"), WAYS)
def test_alerts_are_those_of_the_rows_that_are_there(job, mode, format_, place, own):
    """Days one after another, again with other values, by the same id and by another, and without any alert: after each
    run the alerts are the flagged rows of the output, each of the run that wrote it.
    """
    config = job.config(DAYS[0], mode, format_, own, place)
    for run_id, day, wild in [
        ("one", DAYS[0], [3, 5, 21]), ("two", DAYS[1], [3, 21, 22]), ("one", DAYS[0], [4, 5]), ("one", DAYS[0], [4, 5]),
        ("three", DAYS[0], [6]), ("four", DAYS[1], []), ("two", DAYS[1], [33]),
    ]:  # fmt: skip
        job.put(wild)
        job.run(run_id, day, mode, format_, own, place)
        found = told(job, config)
        assert names(found) == names(flagged(job, config))
        assert [row["rank"] for row in found if row["anomaly_run"] == run_id] == [*range(1, 1 + sum(
            row["anomaly_run"] == run_id for row in found))]  # fmt: skip
    assert any(row["id"] == 33 for row in found)


@pytest.mark.slow
def test_an_alert_of_a_row_that_is_gone_is_gone(job):
    """Of a merge that removes what the source has no more."""
    removing = {"delete_missing": True}
    job.run("one", None, "merge", output=removing)
    table = pd.read_parquet(f"{job.folder}/source.parquet")
    table[table["id"] != 22].to_parquet(f"{job.folder}/source.parquet", index=False)
    job.run("two", None, "merge", output=removing)
    assert [row["id"] for row in told(job, job.config())] == [21, 5, 3]


def test_alerts_of_a_prefixed_output(job):
    """Its columns are found, and the alerts have none of the prefix."""
    job.run("a run", None, "merge", output={"prefix": "vae_"})
    assert list(told(job, job.config())[0]) == [*KEY, *ALERT.names]


@pytest.mark.slow
def test_the_query_that_is_told_gives_the_alerts_of_the_run(job):
    """The worst first."""
    for run_id, day in (("it's", DAYS[0]), ("other", DAYS[1])):
        job.run(run_id, day, "append")
    found = job.spark.sql(query(job.config().alerts_output, "it's")).collect()
    assert [row["id"] for row in found] == [5, 3]


# --- A run that is killed between its rows and its alerts


@pytest.mark.slow
@pytest.mark.soak_on("connect")
@pytest.mark.parametrize(
    ("mode", "format_"), [("append", "delta"), ("merge", "delta"), ("append", "parquet"), ("replace", "delta")]
)
def test_a_killed_runs_alerts_are_made_up_by_the_next(job, monkeypatch, mode, format_):
    """Whatever its id, and also where it comes to nothing to score."""
    killed(job, monkeypatch, "one", DAYS[0], mode, format_)
    with pytest.raises(NothingToScore):
        job.run("none", "2027-01-01", mode, format_)
    assert [row["id"] for row in told(job, job.config(format_=format_))] == [5, 3]
    killed(job, monkeypatch, "two", DAYS[1], mode, format_)
    job.put([3, 5, 21, 22, 23])
    job.run("three", DAYS[1], mode, format_)
    config = job.config(DAYS[0], mode, format_)
    assert names(told(job, config)) == names(flagged(job, config))


@pytest.mark.slow
@pytest.mark.soak_on("connect")
@pytest.mark.parametrize(("mode", "format_"), [("replace", "delta"), ("replace_where", "parquet")])
def test_a_killed_run_that_is_done_again_writes_its_alerts(job, monkeypatch, mode, format_):
    """By its id."""
    killed(job, monkeypatch, "one", DAYS[0], mode, format_)
    assert job.run("one", DAYS[0], mode, format_).alerts == 2
    config = job.config(DAYS[0], mode, format_)
    assert names(told(job, config)) == names(flagged(job, config))


@pytest.mark.slow
@pytest.mark.soak_on("connect")
@pytest.mark.parametrize("mode", ["append", "replace_where"])
def test_a_run_that_was_to_write_no_alerts_lacks_none(job, caplog, mode):
    """Alerts that a config asks for from now on are those of its runs from now on, and no run was cut off."""
    without = job.config(DAYS[0], mode).model_copy(update={"alerts": None})
    run(job.spark, without, "one", train=False)
    job.run("two", DAYS[1], mode)
    assert [row["id"] for row in told(job, job.config())] == [22, 21] and "cut off" not in caplog.text


@pytest.mark.slow
@pytest.mark.soak_on("connect")
def test_a_slice_whose_alerts_are_lacking_is_told(job, monkeypatch, caplog):
    """The next run does not know which it was."""
    killed(job, monkeypatch, "one", DAYS[0], "replace_where")
    job.run("two", DAYS[1], "replace_where")
    assert "The run one was cut off before its alerts were written" in caplog.text
    assert [row["id"] for row in told(job, job.config())] == [22, 21]


@pytest.mark.soak_on("connect")
def test_a_run_that_is_done_already_makes_up_its_alerts(job, monkeypatch):
    """Its rows are there, and what is new since then is not its own."""
    source = {"path": f"{job.folder}/source.parquet", "incremental": {"column": "id"}}
    killed(job, monkeypatch, "one", None, "append", source=source)
    record = job.run("one", None, "append", source=source)
    assert (record.alerts, record.rows_read) == (4, 40)
    assert [row["id"] for row in told(job, job.config())] == [22, 21, 5, 3]


@pytest.mark.slow
@pytest.mark.soak_on("connect")
def test_another_model_leaves_the_reasons_as_they_are(job, monkeypatch, detector):
    """What made the scores is not there any more: the alerts have the reasons of the scored rows."""
    killed(job, monkeypatch, "one", DAYS[0], "append")
    before = {row["id"]: row["anomaly_reasons"][0] for row in flagged(job, job.config())}
    other = Detector(Config.model_validate({**detector.config.model_dump(), "name": "another"}))
    random = np.random.default_rng(5)
    rows = pd.DataFrame({"day": "d", "id": np.arange(100), "a": random.normal(size=100), "b": random.normal(size=100)})
    other.fit(rows).save(f"{job.folder}/m.vae")
    job.run("two", DAYS[1], "append")
    found = [row for row in told(job, job.config()) if row["anomaly_run"] == "one"]
    assert [row["expected"] for row in found] == [before[row["id"]]["expected"] for row in found]
    assert {row["anomaly_model"].split("@")[0] for row in found} == {"small"}


@pytest.mark.parametrize("change", ["cast(a AS string)", "a + 1", "CAST(NULL AS double)"])
def test_columns_that_do_not_give_the_score_any_more_are_not_explained(engine, detector, change):
    """Of another type or with other values, the row has the reasons that the scored table has."""
    rows = engine.createDataFrame([("d", 1, 30.0, 0.1)], "day string, id bigint, a double, b double")
    scored = score(rows, detector, "x_").withColumn("x_anomaly_run", F.lit("r"))
    spoiled = scored.withColumn("a", F.expr(change))
    reasoned, reasons, said = alerts._explained(spoiled, "x_", detector)
    (row,) = frames.to_arrow(reasoned.select(reasons.alias("now"), said.alias("said"), "x_anomaly_reasons")).to_pylist()
    assert row["now"] == row["x_anomaly_reasons"] and row["now"][0]["feature"] == "a"
    assert row["said"].startswith("a ") and "ordinary" not in row["said"]


@pytest.mark.soak_on("connect")
def test_a_run_that_another_replaced_has_no_alerts(job, monkeypatch):
    """Between its rows and its alerts another run's came: those alerts are there, and stay."""
    real, calls = alerts.written, []

    def late(spark, output, run_id, columns):
        calls.append(run_id)
        if calls == ["slow"]:
            job.run("quick", DAYS[1])
        return real(spark, output, run_id, columns)

    monkeypatch.setattr(alerts, "written", late)
    assert job.run("slow", DAYS[0], runs="none").alerts == 0
    assert {(row["anomaly_run"], row["id"]) for row in told(job, job.config())} == {("quick", 21), ("quick", 22)}

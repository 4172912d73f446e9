"""The report on every engine: what the page tells is what the output holds of the run."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from pyspark.sql import functions as F

from tests.report.conftest import Page
from tests.spark.jobs.test_jobs import job
from vae_model import Detector
from vae_model.errors import ConfigError, GateClosed, JobError, SchemaError
from vae_model.report.facts import HIGHEST, LOWEST, PER_DECADE, binned
from vae_model.runs.ledger import Folder
from vae_model.spark import frames, report, run
from vae_model.spark.jobs.portrait import LETTERS, Parts, portrait
from vae_model.spark.jobs.report import find
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.slow


@pytest.fixture
def scored(engine, tmp_path, path, detector):
    """The config of a run that went well, and its record."""
    config = job(path, tmp_path)
    detector.save(config.model.path)
    return config, run(engine, config, "first", train=False)


def test_the_rows_are_counted_by_the_engine(engine, scored, rows):
    """Scores by their size, days, segments, reasons and the worst rows: as pandas has them."""
    config, record = scored
    detector, frame = Detector.load(config.model.path), read_output(engine, config.output)
    day = next(one for one in frames.columns(frame) if one.name == "Day")
    found = portrait(frame, "there", "", detector, Parts(["id"], day, ["colour"]))
    table = detector.score(rows).assign(id=rows["id"], day=rows["Day"], colour=rows["colour"])
    flagged = table[table["is_anomaly"].eq(True)]
    assert found.rows == len(rows) and dict(found.scores) == binned(table["anomaly_score"].to_numpy())
    assert {one.day: (one.rows, one.flagged) for one in found.days if one.flagged} == {
        own: (int((table["day"] == own).sum()), len(part)) for own, part in flagged.groupby("day")
    }
    assert sum(one.rows for one in found.days) == len(rows)
    assert {one.values[0]: one.flagged for one in found.segments if one.values[0]} == {
        colour: int((flagged["colour"] == colour).sum()) for colour in ("red", "green", "blue")
    }
    reasons = [own for why in flagged["anomaly_reasons"] for own in why]
    assert {one.feature: one.named for one in found.blamed} == {
        name: sum(own["feature"] == name for own in reasons) for name in {own["feature"] for own in reasons}
    }
    assert sum(one.first for one in found.blamed) == len(flagged) == record.anomalies
    worst = table.sort_values(["anomaly_p_value", "anomaly_score"], ascending=[True, False])["id"].astype(str)
    assert [one.key["id"] for one in found.top] == worst.tolist()[: len(found.top)]
    assert all(one.sentence and one.reasons[0].feature in one.sentence for one in found.top)


def test_days_that_are_none_cost_no_section(engine, scored, rows):
    """No day, one that Python has no room for, one that stands for never: the rows are counted all the same."""
    config, _ = scored
    frame = read_output(engine, config.output)
    far = F.date_add(F.lit(date(9999, 12, 31)), 1000)
    odd = (
        F.when(F.col("id") % 100 == 0, F.lit(None).cast("date"))
        .when(F.col("id") % 100 == 1, far)
        .when(F.col("id") % 100 == 2, F.lit(date(9999, 12, 31)))
        .when(F.col("id") % 100 == 3, F.lit("0001-01-01").cast("date"))
        .otherwise(F.col("Day"))
    )
    frame = frame.withColumn("odd", odd)
    (day,) = (one for one in frames.columns(frame) if one.name == "odd")
    found = portrait(frame, "there", "", None, Parts(["id"], day, []))
    left = rows[(rows["id"] % 100 > 3) & rows["Day"].notna()]
    assert sum(one.rows for one in found.days) == len(left) < found.rows == len(rows)
    assert {one.day for one in found.days} == set(left["Day"])
    assert found.top and found.blamed and found.scores
    none = portrait(frame.withColumn("odd", F.lit(None).cast("date")), "there", "", None, Parts(["id"], day, []))
    assert none.days == () and none.rows == len(rows)


def test_a_key_of_bytes_is_told_in_hexadecimal(engine, scored):
    """So much of it as is shown; the other sections are there."""
    config, _ = scored
    frame = read_output(engine, config.output).withColumn("raw", F.unhex(F.lit("FF00" * 500)))
    found = portrait(frame, "there", "", None, Parts(["raw", "id"], None, []))
    assert {one.key["raw"] for one in found.top} == {("FF00" * 500)[:LETTERS]}


def test_scores_of_no_size_are_in_the_outermost_bins(engine, scored):
    """Nothing and less at the one end, more than can be at the other; a row without a score is in none."""
    config, _ = scored
    values = [0.0, -1.0, 1e-300, 1.0, 1e300, float("inf"), None]
    score = F.element_at(F.array(*map(F.lit, values)).cast("array<double>"), (F.col("id") % 7 + 1).cast("int"))
    frame = read_output(engine, config.output).where(F.col("id") < 70).withColumn("anomaly_score", score)
    found = portrait(frame, "there", "", None, Parts(["id"], None, []))
    assert found.rows == 70
    assert dict(found.scores) == {LOWEST * PER_DECADE: 30, 0: 10, HIGHEST * PER_DECADE: 20}


def test_the_page_of_the_latest_run(engine, scored):
    """By default of the run that scored last: nothing is lacking but an evaluation, and days where two columns tell
    times.
    """
    config, _ = scored
    html = report(engine, config, time="at", by=["colour"])
    text = Page(html).by_section
    assert html.count('class="lack"') == 1 and "No evaluation was given" in text["evaluation"]
    assert "colour" in text["time"] and "Days are those of at" in text["time"]
    assert "No days are told: at, Day are times" in Page(report(engine, config, "first")).by_section["time"]
    assert len(html.encode()) < 200_000


def test_rows_and_model_that_are_gone(engine, tmp_path, scored, rows):
    """Another run has replaced both: the page tells what the record has, and why there is no more."""
    config, _ = scored
    Detector(config).fit(rows.drop(columns="count")).save(config.model.path)
    run(engine, config.model_copy(update={"features": config.features}), "second", train=False)
    text = Page(report(engine, config, "first")).by_section
    assert "later runs have replaced them" in text["alerts"] and "has been replaced since" in text["training"]
    assert "1,200 rows of the run were held against the sample" in text["drift"]
    assert "later runs" not in Page(report(engine, config)).text


@pytest.mark.parametrize("keeps", [True, False])
def test_a_gated_run_has_a_page(engine, tmp_path, path, detector, keeps):
    """It says which gate closed and by how much; where the rejected rows are kept, it shows them."""
    gates = {"max_anomaly_rate": 0.001}
    gates |= {"keep_rejected": {"path": str(tmp_path / "rejected"), "format": "parquet"}} if keeps else {}
    config = job(path, tmp_path, gates=gates)
    detector.save(config.model.path)
    with pytest.raises(GateClosed):
        run(engine, config, "shut", train=False)
    text = Page(report(engine, config)).by_section
    assert "stopped by a gate" in text["head"] and "the limit is 0.001" in text["head"]
    assert ("gates.keep_rejected says where to" in text["alerts"]) is not keeps
    assert ("expected about" in text["alerts"]) is keeps
    if keeps:  # by --set, which a later report is not given
        other = config.model_copy(update={"gates": config.gates.model_copy(update={"keep_rejected": None})})
        alerts = Page(report(engine, other)).by_section["alerts"]
        assert f"were kept in {tmp_path / 'rejected'}, which is not gates.keep_rejected of the config" in alerts


def test_a_model_that_was_not_accepted_has_scored_nothing(engine, scored):
    """That is what the page says of its rows, and not that they were not kept."""
    config, record = scored
    shut = replace(record, run_id="worse", drift=None).ending("gated", "The new model is worse.")
    Folder(config.output.path + "_runs").put(replace(shut, gate="train.accept_if.max_score_loss"))
    text = Page(report(engine, config, "worse")).by_section
    assert "The run has scored no rows" in text["alerts"] and "the run has not come to it" in text["drift"]


def test_rows_that_later_runs_have_replaced_are_told(engine, scored):
    """So many, in each section that counts rows, beside why there are no days."""
    config, record = scored
    Folder(config.output.path + "_runs").put(replace(record, rows_read=record.rows_read + 9))
    text = Page(report(engine, config)).by_section
    told = "Later runs have replaced 9 of the run's rows"
    assert {anchor for anchor, own in text.items() if told in own} == {"scores", "time", "alerts", "reasons"}
    assert "No days are told: at, Day are times; --time chooses one." in text["time"]


def test_a_failed_run_has_a_page(engine, scored):
    """Its message is there."""
    config, record = scored
    failed = replace(record, run_id="broken").ending("failed", str(JobError("The disk is full.", found="no room")))
    Folder(config.output.path + "_runs").put(failed)
    text = Page(report(engine, config, "broken")).by_section
    assert "The disk is full. found: no room" in text["head"] and "has published no rows" in text["scores"]


def test_what_is_asked_for_and_not_there(engine, scored, tmp_path):
    """A run that is not in the table, no table, none that is kept, a column that is none."""
    config, _ = scored
    with pytest.raises(ConfigError, match="The run frist is not in") as error:
        find(engine, config, "frist")
    assert "did you mean 'first'?" in str(error.value)
    with pytest.raises(ConfigError, match="--run is no id that a run can have") as error:
        find(engine, config, "a\udcff")
    assert r"a\udcff" in str(error.value)
    other = config.model_copy(update={"output": config.output.model_copy(update={"path": str(tmp_path / "new")})})
    with pytest.raises(ConfigError, match="There is no run yet"):
        report(engine, other)
    with pytest.raises(ConfigError, match="keeps no record of runs"):
        find(
            engine, type(config).model_validate({**config.model_dump(mode="json", by_alias=True), "runs": "none"}), None
        )
    with pytest.raises(SchemaError, match="--by names 'colur'"):
        report(engine, config, by=["colur"])


def test_scores_of_nothing_and_beyond_all_measure(engine, tmp_path, path, detector, rows):
    """Null scores are in no bin."""
    config = job(path, tmp_path, decision={"false_alarm_rate": 0.02, "max_missing": 0.01})
    detector.save(config.model.path)
    record = run(engine, config, "gaps", train=False)
    frame = read_output(engine, config.output)
    found = portrait(frame, "there", "", None, Parts(["id"], None, []))
    assert sum(found.scores.values()) == record.rows_scored < len(rows)
    assert found.days == found.segments == () and all(one.sentence is None for one in found.top)
    assert np.isfinite([one.score for one in found.top]).all()

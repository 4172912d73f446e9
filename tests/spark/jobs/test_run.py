"""A run from Python on every engine: its record, its id, and what is said of the same run again."""

from dataclasses import replace
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from tests.places.test_marks import other
from tests.spark.jobs.test_jobs import job
from vae_model.config.tables import Source
from vae_model.errors import ConfigError, JobError, NothingToScore, OutputError, SourceError
from vae_model.places import marks
from vae_model.runs.ledger import Folder
from vae_model.runs.record import SCHEMA, RunRecord
from vae_model.spark import run
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import from_arrow, to_arrow
from vae_model.spark.jobs.run import run_training
from vae_model.spark.sinks.reading import read_output
from vae_model.spark.sinks.runs_table import ledger
from vae_model.spark.source.version import source_version

pytestmark = pytest.mark.thorough


@pytest.fixture
def configured(path, tmp_path, detector):
    """A job with its model; some of its keys changed."""
    detector.save(str(tmp_path / "models" / "mixed.vae"))

    def make(where="id < 300", output=None, **changes):
        own = {"path": str(tmp_path / "scored"), "format": "delta", **(output or {})}
        return job(path, tmp_path, source={"path": path, "where": where}, output=own, **changes)

    return make


def go(engine, config, run_id=None):
    """Score as a run."""
    return run(engine, config, run_id, train=False)


def content(engine, config):
    """All of the output's rows, by id."""
    return to_arrow(read_output(engine, config.output)).sort_by("id").to_pylist()


def test_a_run_gives_its_record(engine, configured, detector):
    """What was scored, when, by which model, from which version of the source: returned, and kept in the runs table;
    every row says that it is this run's.
    """
    settings = configured()
    record = go(engine, settings)
    assert (record.status, record.command, record.mode, record.slice) == ("succeeded", "score", "replace", "id < 300")
    assert (record.rows_read, record.rows_scored, record.statuses) == (300, 300, {"ok": 300})
    assert record.model == detector.scorer.name and record.model_digest == detector.header["sha256"]
    assert record.source_version.startswith("files:") and record.output == settings.output.path
    assert record.threshold == detector.calibration.cut and 0 < record.effective_rate < 0.1
    assert [(stage.stage, stage.rows) for stage in record.stages] == [("drift", 300), ("scoring", 300)]
    assert record.started < record.ended <= datetime.now(UTC) and record.versions["pyarrow"]
    rows = content(engine, settings)
    assert {row["anomaly_run"] for row in rows} == {record.run_id}
    assert record.anomalies == sum(row["is_anomaly"] for row in rows)
    assert Folder(settings.output.path + "_runs").records() == [record]


@pytest.mark.slow
def test_the_same_run_has_the_same_id(engine, configured, path, tmp_path):
    """However it is done; another slice, decision, mode, model or state of the source is another run."""
    first = go(engine, configured()).run_id
    assert go(engine, configured(runs={"path": str(tmp_path / "other")})).run_id == first
    assert len(Folder(str(tmp_path / "scored_runs")).records()) == 1
    others = [
        configured("id < 301"),
        configured(decision={"false_alarm_rate": 0.05}),
        configured(output={"mode": "append"}),
        configured(output={"prefix": "x_", "path": str(tmp_path / "x")}),
    ]
    found = [go(engine, one).run_id for one in others]
    pq.write_table(pq.read_table(f"{path}/part1.parquet").slice(1), f"{path}/part1.parquet")
    found.append(go(engine, configured()).run_id)
    assert len({first, *found}) == 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("output", "where"),
    [
        ({"mode": "replace"}, "id < 300"),
        ({"mode": "append"}, "id < 300"),
        ({"mode": "replace_where"}, "flag"),
        ({"mode": "merge"}, "id < 300"),
        ({"format": "parquet", "mode": "append"}, "id < 300"),
        ({"format": "parquet", "mode": "replace_where", "partition_by": ["flag"]}, "flag"),
    ],
)
def test_three_times_the_same_is_once(engine, configured, output, where):
    """The same run again leaves the same rows, whatever else was written between."""
    settings, more = configured(where, output), configured("id >= 900" if where != "flag" else "NOT flag", output)
    go(engine, more) if output["mode"] != "replace" else None
    go(engine, settings)
    before = content(engine, settings)
    for _ in range(2):
        go(engine, settings)
        assert content(engine, settings) == before
    assert len({row["id"] for row in before}) == len(before) > 200


def test_nothing_to_score_is_a_skipped_run(engine, configured):
    """With a record, under an id of its own; the output is as it was, and a later run of the kind may go well."""
    before = go(engine, configured())
    with pytest.raises(NothingToScore):
        go(engine, configured("id < 0"))
    with pytest.raises(NothingToScore):
        go(engine, configured("id < 0"), "the scheduler's")
    found = Folder(before.output + "_runs").records()
    assert [record.status for record in found] == ["skipped", "skipped", "succeeded"]
    assert found[0].run_id == "the scheduler's" and "no row to score" in found[0].message
    assert [record.slice for record in found[:2]] == ["id < 0", "id < 0"]


def test_a_failed_run_says_why(engine, configured, monkeypatch):
    """What fails once work has begun leaves a record; the same run may be tried again."""
    from vae_model.spark.sinks import sink

    def fail(*_):
        raise JobError("It broke.")

    with monkeypatch.context() as patch:
        patch.setattr(sink, "write", fail)
        with pytest.raises(JobError, match="It broke"):
            go(engine, configured())
    runs = Folder(configured().output.path + "_runs")
    (failed,) = runs.records()
    assert (failed.status, failed.message) == ("failed", "It broke.")
    assert go(engine, configured()).run_id == failed.run_id
    assert [record.status for record in runs.records()] == ["succeeded"]


def test_what_is_refused_before_any_work_leaves_nothing(engine, configured, tmp_path):
    """A predicate of a column that is not there: no output, and no record."""
    for settings in (configured("idd < 3"), configured(output={"mode": "replace_where", "where": "idd < 3"})):
        with pytest.raises(SourceError, match="idd < 3"):
            go(engine, settings)
    assert sorted(entry.name for entry in tmp_path.iterdir() if "scored" in entry.name) == []


def test_an_id_of_another_config_is_refused(engine, configured):
    """Exit code 2, and the output is as it was."""
    go(engine, configured(), "a")
    before = content(engine, configured())
    with pytest.raises(ConfigError, match="with another config") as caught:
        go(engine, configured("id < 10"), "a")
    assert caught.value.exit_code == 2
    assert content(engine, configured()) == before


def test_a_run_that_goes_on_is_not_run_twice(engine, configured, caplog):
    """Exit code 4 while its process is there; once it is gone, the run is taken over."""
    runs = Folder(configured().output.path + "_runs")
    runs.put(RunRecord("a", "mixed", "score"))
    with pytest.raises(JobError, match="is going on already") as caught:
        go(engine, configured(), "a")
    assert caught.value.exit_code == 4 and runs.find("a").status == "running"
    runs.put(RunRecord("a", "mixed", "score", process=other(marks.new(), pid="999999999")))
    assert go(engine, configured(), "a").status == "succeeded"
    assert "taken over" in caplog.text


@pytest.mark.slow
def test_runs_may_be_kept_in_a_table_or_not_at_all(engine, configured, tmp_path):
    """By name each state is a row, and the last of a run counts; with ``runs: none`` there is a record all the same."""
    name = f"runs_{tmp_path.name.lower()}"
    for where in ("id < 300", "id < 200", "id < 300"):
        last = go(engine, configured(where, runs={"table": name}))
    found = ledger(engine, configured(runs={"table": name}))
    assert [record.status for record in found.records()] == ["succeeded"] * 2
    assert found.find(last.run_id) == last
    assert found.find("another") is None
    assert go(engine, configured(runs="none")).rows_read == 300
    assert not (tmp_path / "scored_runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_a_table_that_an_earlier_version_made_takes_records(engine, configured, tmp_path, format_):
    """It gets the columns that have become part of a record since; where the engine cannot add some (Parquet on Sail),
    they are left out.
    """
    name = f"runs_{tmp_path.name.lower()}"
    before = engine.createDataFrame([RunRecord("before", "mixed", "score").to_row()], from_arrow(SCHEMA))
    before.drop("alerts_output", "drift", "drift_rows").write.format(format_).saveAsTable(name)
    alerts = {"path": str(tmp_path / "alerts"), "format": format_}
    settings = configured(runs={"table": name}, alerts=alerts, output={"format": format_})
    record = go(engine, settings)
    found = {one.run_id: one for one in ledger(engine, settings).records()}
    assert found.keys() == {"before", record.run_id} and record.alerts_output and record.drift
    less = replace(record, alerts_output=None, drift=None, drift_rows=None)
    is_added = format_ == "delta" or engine_of(engine).name != "Sail"
    assert found[record.run_id] == (record if is_added else less)


BAD = {
    "outside": ({"mode": "replace_where", "where": "id < 100"}, "lie outside the slice", "id 1"),
    "not partitioned by": (
        {"format": "parquet", "mode": "replace_where", "partition_by": ["flag"]}, "does not match output.partition_by",
    ),
    "no partitions": ({"format": "parquet", "mode": "replace_where"}, "replaced by its folders", "partition_by"),
    "no such column": ({"format": "parquet", "mode": "append", "partition_by": ["x"]}, "no column of the source"),
    "of floats": ({"format": "parquet", "mode": "append", "partition_by": ["a"]}, "cannot be partitioned by", "double"),
    "no merge": ({"format": "parquet", "mode": "merge"}, "output.mode merge cannot be had here", "append"),
    "partitioned otherwise": (
        {"mode": "append", "format": "parquet", "partition_by": ["flag"]}, "partitioned otherwise", "by nothing",
    ),
    "other format": ({"format": "parquet", "path": "THERE"}, "holds something else", "delta"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD)
def test_an_order_that_cannot_be_kept_is_refused(engine, configured, tmp_path, case):
    """Exit code 2 before anything is written, with what can be had."""
    there = {"format": "delta" if case == "other format" else "parquet", "path": str(tmp_path / "there")}
    go(engine, configured(output=there, runs="none"))
    order, *words = BAD[case]
    place = there["path"] if "path" in order or case == "partitioned otherwise" else str(tmp_path / "scored")
    with pytest.raises(OutputError) as caught:
        go(engine, configured(output={**order, "path": place}, runs="none"))
    assert caught.value.exit_code == 2
    for word in words:
        assert word in str(caught.value)
    assert len(content(engine, configured(output=there))) == 300
    assert not (tmp_path / "scored").exists()


def test_keys_that_stand_twice_are_shown(engine, configured, path):
    """A merge would take one of them at random: refused, with some of them and how often they stand there."""
    pq.write_table(pq.read_table(f"{path}/part0.parquet").slice(0, 3), f"{path}/part2.parquet")
    with pytest.raises(OutputError, match="a key stands more than once") as caught:
        go(engine, configured(output={"mode": "merge"}))
    assert "id 0 (2 times); id 1 (2 times); id 2 (2 times)" in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.slow
def test_an_empty_slice_is_emptied_where_that_is_allowed(engine, configured):
    """By default nothing to score is an error; with ``allow_empty`` the slice is emptied, and only that."""
    go(engine, configured("flag", {"mode": "replace_where"}))
    go(engine, configured("NOT flag AND id < 300", {"mode": "replace_where", "where": "NOT flag"}))
    gone = {"mode": "replace_where", "where": "flag"}
    with pytest.raises(NothingToScore):
        go(engine, configured("flag AND id < 0", gone))
    assert any(row["flag"] for row in content(engine, configured()))
    record = go(engine, configured("flag AND id < 0", {**gone, "allow_empty": True}))
    assert (record.status, record.rows_read, record.anomalies) == ("succeeded", 0, 0)
    left = content(engine, configured())
    assert left and not any(row["flag"] for row in left)


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_without_records_a_runs_own_rows_are_safe_from_another_config(engine, configured, format_):
    """Two tasks that share an id, and no runs table: the second is refused, and the first one's rows stay."""
    output = {"mode": "append", "format": format_}
    go(engine, configured("id < 100", output, runs="none"), "shared")
    with pytest.raises(ConfigError, match=r"The run shared has written to .* before, with another config"):
        go(engine, configured("id >= 100 AND id < 150", output, runs="none"), "shared")
    assert [row["id"] for row in content(engine, configured(output=output))] == [*range(100)]


@pytest.mark.slow
def test_training_and_scoring_may_share_an_id(engine, configured, tmp_path):
    """Each has a record of its own, and neither is in the way of the other, whatever the config."""
    settings = configured(
        train={"normal": "id >= 20", "rows": 500}, model={"path": str(tmp_path / "m.vae"), "steps": 20}
    )
    run_training(engine, settings, "today")
    go(engine, settings, "today")
    run_training(engine, settings, "today")
    records = Folder(settings.output.path + "_runs").records()
    assert {(record.run_id, record.command, record.status) for record in records} == {
        ("today", "train", "succeeded"), ("today", "score", "succeeded")
    }  # fmt: skip


@pytest.mark.slow
def test_a_merge_looks_at_an_output_that_others_wrote(engine, configured):
    """A key that appends have written twice is told before any work; after a merge nobody looks again."""
    for run_id in ("one", "two"):
        go(engine, configured("id < 5", {"mode": "append"}), run_id)
    merging = configured("id < 9", {"mode": "merge"})
    with pytest.raises(
        OutputError, match=r"has a key more than once[^\n]*\n  expected: each id once\n  found: id 0 \(2 times\)"
    ):
        go(engine, merging)
    go(engine, configured("id < 5"))
    assert go(engine, merging).rows_read == 9
    assert [row["id"] for row in content(engine, merging)] == [*range(9)]


def test_a_table_read_as_it_was_at_a_time_has_that_as_its_version(engine, tmp_path):
    """What is read is not the newest version."""
    engine.range(3).write.format("delta").save(str(tmp_path / "t"))
    source = {"path": str(tmp_path / "t"), "format": "delta", "options": {"timestampAsOf": "2100-01-01"}}
    assert source_version(engine, Source.model_validate(source), None) == "delta@2100-01-01"
    assert source_version(engine, Source.model_validate({**source, "options": {}}), None) == "delta:0"

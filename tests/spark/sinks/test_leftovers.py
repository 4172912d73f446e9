"""What killed and failed runs leave of Delta tables that were to be, and of staged tables."""

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from tests.places.test_marks import other
from tests.spark.sinks.orders import write
from vae_model.config.tables import Output
from vae_model.errors import OutputError
from vae_model.places import files, identifiers, marks
from vae_model.spark import frames
from vae_model.spark.sinks import first_commit
from vae_model.spark.sinks.delta import Delta
from vae_model.spark.sinks.reading import existing

ELSEWHERE = {"space": "00000000", "began": "20200101t000000"}
"""A run of another machine, long ago."""


@pytest.fixture
def delta(tmp_path):
    """A Delta output where nothing is yet."""
    return Output(path=str(tmp_path / "out"), format="delta")


def failing(engine, rows=400_000):
    """Rows of which a late one fails on a worker."""

    @F.udf("long")
    def fail(i):
        if i == rows - 1:
            raise ValueError("this row fails")
        return i

    return engine.range(0, rows, 1, 2).select(fail("id").alias("id"))


@pytest.mark.slow
def test_a_failed_first_write_leaves_no_delta_folder(engine, delta, tmp_path, monkeypatch):
    """Data files without a log would be taken for Parquet, and the next run refused."""
    monkeypatch.setattr(first_commit, "LINGER", 1.0)
    with pytest.raises(frames.ENGINE_ERRORS, match="this row fails"):
        write(failing(engine), delta)
    assert list(tmp_path.iterdir()) == []
    assert write(engine.range(10), delta).count() == 10
    assert not list((tmp_path / "out").glob("_vae*"))


def test_a_failed_write_into_a_table_removes_nothing(engine, delta, tmp_path):
    """In a table that has a log, a file that no commit names may be another writer's."""
    write(engine.range(10), delta)
    (tmp_path / "out" / "part-0-of-another.parquet").touch()
    with pytest.raises(frames.ENGINE_ERRORS, match="this row fails"):
        write(failing(engine), delta)
    assert (tmp_path / "out" / "part-0-of-another.parquet").exists()
    assert write(engine.range(20), delta).count() == 20


@pytest.mark.parametrize("live", [False, True])
def test_what_a_killed_first_run_left_is_removed_but_not_a_live_ones(delta, tmp_path, live):
    """A dead run's data files go before the folder is looked at; a live one's stay, and the job is to try again."""
    mark = marks.new() if live else other(marks.new(), pid="999999999")
    for name in ("part-00000-a.snappy.parquet", f"{first_commit.WRITING}{mark}"):
        files.put(f"{delta.path}/{name}", b"x")
    if live:
        with pytest.raises(OutputError, match="Another job writes the first rows") as caught:
            Delta().mend(delta.path)
        assert caught.value.exit_code == 4
        assert len(list((tmp_path / "out").iterdir())) == 2
    else:
        Delta().mend(delta.path)
        assert list(tmp_path.iterdir()) == []


def test_files_of_nobody_are_left_alone(delta, tmp_path):
    """A Parquet folder that no run of ours says it writes to is not touched."""
    files.put(f"{delta.path}/part-0.parquet", b"x")
    Delta().mend(delta.path)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["part-0.parquet"]


def test_staged_tables_of_dead_runs_are_dropped(engine, tmp_path):
    """A long dead run's goes once another has written the same table; a live one's, an earlier version's, and those of
    other tables stay.
    """
    output = Output(table=f"scored_{tmp_path.name.lower()}", format="parquet")
    dead, live = (f"{output.table}_staged_{mark}" for mark in (other(marks.new(), **ELSEWHERE), marks.new()))
    kept = {live, f"{output.table}_staged_0123abcd", f"{output.table}x_staged_{other(marks.new(), **ELSEWHERE)}"}
    for name in (dead, *kept):
        engine.range(1).write.format("parquet").saveAsTable(identifiers.table(name))
    assert write(engine.range(10), output).count() == 10
    found = {row["tableName"] for row in engine.sql("SHOW TABLES").collect() if output.table in row["tableName"]}
    assert found == {output.table, *kept}


@pytest.mark.slow
def test_of_two_first_writes_one_that_fails_leaves_the_others_files(tmp_path, monkeypatch):
    """The second finds the first one's files there, and is as little a table yet."""
    monkeypatch.setattr(first_commit, "LINGER", 0.3)
    out = tmp_path / "out"
    second = first_commit.writing(str(out))
    with pytest.raises(ZeroDivisionError), first_commit.writing(str(out)):
        (out / "part-0.parquet").touch()
        second.__enter__()
        (out / "part-1.parquet").touch()
        raise ZeroDivisionError
    assert (out / "part-1.parquet").exists()
    second.__exit__(None, None, None)
    assert not list(out.glob("_vae*"))


@pytest.mark.parametrize("mode", ["replace", "append", "replace_where", "merge"])
def test_a_log_without_a_commit_is_no_table_yet(engine, delta, mode):
    """Another run has made the log's folder and has not committed: there is nothing to read, and all modes write."""
    Path(delta.path, "_delta_log").mkdir(parents=True)
    assert existing(engine, delta) is None
    assert write(engine.range(10), delta.model_copy(update={"mode": mode})).count() == 10

"""Streams: a Delta table scored as it grows, each row once, whatever becomes of the process."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pytest

from tests.conftest import clean_environment
from tests.reliability.readings import configured, days, pumps, stored, trained
from tests.test_cli import cli  # noqa: F401 - a fixture
from vae_model import Detector
from vae_model.runs.ledger import Folder
from vae_model.spark import frames

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model, and a config of a stream from a Delta table in it."""
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "pumps.vae")
    settings = configured(f"{tmp_path}/pumps.vae", "", {"path": f"{tmp_path}/out", "mode": "append"}, engine="auto")
    settings["source"] = {"path": f"{tmp_path}/readings", "format": "delta"}
    (tmp_path / "stream.yaml").write_text(json.dumps(settings))
    return tmp_path


@pytest.fixture
def classic(_classic, monkeypatch):
    """Classic Spark, as the session that is there."""
    monkeypatch.delenv("SPARK_CONNECT_MODE_ENABLED", raising=False)
    return _classic


@pytest.fixture
def readings(classic, place):
    """Adds the readings of days to the table, a commit a day; four are there."""

    def add(*some):
        for day in some:
            rows = classic.read.parquet(stored(place / f"{day}.parquet", pumps(day)))
            rows.write.format("delta").mode("append").save(f"{place}/readings")

    add(*days(4))
    return add


def ids(spark, place):
    """The ids of the scored rows, sorted."""
    return sorted(row.id for row in spark.read.format("delta").load(f"{place}/out").select("id").collect())


def given(number):
    """The ids of so many days."""
    return sorted(i for day in days(number) for i in pumps(day).column("id").to_pylist())


@pytest.mark.classic
def test_each_row_is_scored_once_as_the_table_grows(classic, place, readings, cli):  # noqa: F811
    """By the scores of the detector; each batch is a run with a record, and where nothing is new there is none."""
    stream = ["score", "--config", "stream.yaml", "--stream"]
    code, out, err = cli(*stream)
    assert code == 0, err
    assert "Scored 160 rows" in out
    assert ids(classic, place) == given(4)
    readings(*days(6)[4:])
    code, out, err = cli(*stream, "--set", "source.options.maxFilesPerTrigger='1'")
    assert code == 0, err
    assert ids(classic, place) == given(6)
    records = Folder(f"{place}/out_runs").records()
    assert [record.rows_read for record in records] == [40, 40, 160]
    assert len({record.run_id for record in records}) == 3
    scored = classic.read.format("delta").load(f"{place}/out").select("id", "anomaly_score")
    found = frames.to_arrow(scored).sort_by("id")
    ours = Detector.load(f"{place}/pumps.vae").score(pa.concat_tables(map(pumps, days(6))).sort_by("id"))
    assert found.column("anomaly_score").to_pylist() == pytest.approx(
        ours.column("anomaly_score").to_pylist(), rel=1e-9
    )
    code, _, err = cli(*stream)
    assert code == 99
    assert "nothing new in" in err


@pytest.mark.classic
def test_a_batch_that_failed_is_done_again(classic, place, readings, cli, monkeypatch):  # noqa: F811
    """Whether its rows were written by then or not; its error is told as that of any run."""
    from vae_model.errors import JobError
    from vae_model.spark.jobs import run as module

    whole = module.score_prepared

    def fails_after(*arguments):
        whole(*arguments)
        raise JobError("The disk is full.")

    monkeypatch.setattr(module, "score_prepared", fails_after)
    code, _, err = cli("score", "--config", "stream.yaml", "--stream")
    assert code == 1
    assert err.splitlines()[-1] == "Error: The disk is full."
    assert ids(classic, place) == given(4)
    monkeypatch.setattr(module, "score_prepared", whole)
    code, _, err = cli("score", "--config", "stream.yaml", "--stream")
    assert code == 0, err
    assert ids(classic, place) == given(4)


@pytest.mark.classic
def test_rows_that_changed_are_told(classic, place, readings, cli):  # noqa: F811
    """A stream reads a table that grows: the message has the two ways on."""
    assert cli("score", "--config", "stream.yaml", "--stream")[0] == 0
    classic.sql(f"DELETE FROM delta.`{place}/readings` WHERE id = 3")  # noqa: S608 - a folder of pytest's
    code, _, err = cli("score", "--config", "stream.yaml", "--stream")
    assert code == 2
    assert "were changed or deleted, and a stream reads a table that grows" in err
    assert "skipChangeCommits" in err and "by: version" in err
    assert ids(classic, place) == given(4)


@pytest.mark.classic
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "after", [pytest.param(n, marks=pytest.mark.heavy if n == 1 else pytest.mark.soak) for n in range(3)]
)
def test_a_stream_that_is_killed_neither_loses_nor_doubles_a_row(classic, place, readings, after):
    """Killed when so many batches are written, and started again, a commit of the table each."""
    (place / "job.py").write_text(
        textwrap.dedent("""
        import sys
        from vae_model.cli import main
        main(["score", "--config", "stream.yaml", "--stream", "--trigger", "1 second",
              "--set", "source.options.maxFilesPerTrigger='1'", "--set", "engine=spark"])
        """)
    )

    def started():
        with (place / "said").open("w") as said:
            return subprocess.Popen(
                [sys.executable, "job.py"], env=clean_environment(), start_new_session=True,
                stdout=subprocess.DEVNULL, stderr=said,
            )  # fmt: skip

    def until(condition):
        end = time.monotonic() + 500
        while not condition():
            assert time.monotonic() < end, (place / "said").read_text()
            time.sleep(0.02)

    job = started()
    try:
        until(lambda: len(list(Path("out/_delta_log").glob("*.json"))) >= after + 1)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    job = started()
    try:
        until(lambda: len(ids(classic, place)) >= len(given(4)))
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert ids(classic, place) == given(4)


def test_another_engine_says_what_to_do(place, cli, no_session):  # noqa: F811
    """On Sail nothing is read or written: incremental is the way."""
    code, _, err = cli("score", "--config", "stream.yaml", "--stream", "--set", "engine=sail")
    assert code == 2
    assert "Sail has no streams that score." in err
    assert "source.incremental: {by: version}" in err
    assert not (place / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stream", "--trigger", "now"], '--trigger says when a stream looks for rows.'),
        (["--stream", "--full"], "A stream reads what is new"),
        (["--stream", "--run-id", "a"], "A stream reads what is new"),
        (["--trigger", "1 minute"], "--trigger is of a stream."),
        (["--stream", "--set", "source.format=parquet"], "A stream is read from a Delta table."),
        (["--stream", "--set", "output.mode=replace"], "A stream adds to a Delta table."),
        (["--stream", "--set", "output={table: scored, mode: append}"], "Where the stream keeps how far it has read"),
        (["--stream", "--set", "source.incremental.by=version"], "source.incremental does not go with --stream"),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_told(place, cli, no_session, options, message):  # noqa: F811
    """Before an engine starts."""
    code, _, err = cli("score", "--config", "stream.yaml", *options)
    assert code == 2
    assert message in err


def test_where_the_checkpoint_is_makes_no_other_run():
    """It is no part of what a run does."""
    from vae_model.config.load import parse_config

    text = {"source": {"path": "a", "format": "delta"}}
    other = parse_config({"source": {**text["source"], "checkpoint_path": "b"}})
    assert other.digest == parse_config(text).digest

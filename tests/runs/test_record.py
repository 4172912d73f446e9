"""The record of a run: as a row of a table and as JSON it is what it was."""

import json
import re
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.places.test_marks import other
from vae_model.drift.finding import ColumnDrift
from vae_model.places import marks
from vae_model.printable import printable
from vae_model.runs.record import SCHEMA, SILENT, RunRecord, Stage

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
TIME = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
COUNT = st.integers(0, 2**62)
NUMBER = st.floats(allow_nan=False)
STAGE = st.builds(Stage, TEXT, NUMBER, st.none() | COUNT, st.none() | NUMBER)
DRIFT = st.builds(ColumnDrift, TEXT, *[NUMBER] * 5, st.none() | TEXT, st.lists(NUMBER, max_size=3))
RECORD = st.builds(
    RunRecord, run_id=TEXT, name=TEXT, command=TEXT, message=st.none() | TEXT, started=TIME, heartbeat=TIME,
    ended=st.none() | TIME, slice=st.none() | TEXT, statuses=st.none() | st.dictionaries(TEXT, COUNT),
    rows_read=st.none() | COUNT, threshold=st.none() | NUMBER, stages=st.lists(STAGE, max_size=3),
    drift=st.none() | st.lists(DRIFT, max_size=3), gate=st.none() | TEXT, p_values_moved=st.none() | st.booleans(),
    versions=st.dictionaries(TEXT, TEXT, max_size=3), status=st.sampled_from(["running", "skipped", "gated", "failed"]),
)  # fmt: skip


@pytest.mark.slow
@given(RECORD)
def test_a_row_of_a_table_gives_the_record_back(record):
    """Whatever it holds, as lists of pairs or as dictionaries; columns of a later version are passed over."""
    (row,) = record.to_arrow().to_pylist()
    assert RunRecord.from_row(row) == record
    (row,) = record.to_arrow().to_pylist(maps_as_pydicts="strict")
    assert RunRecord.from_row({**row, "of_a_later_version": 1}) == record


def test_a_row_has_exactly_the_types_of_the_table():
    """Spark takes no whole number in a column of fractions, and a map only as a dict."""
    record = RunRecord("a", "b", "run", threshold=5, stages=[Stage("score", 1, 10, 10)], statuses={"ok": 10})
    row = dict(zip(SCHEMA.names, record.to_row(), strict=True))
    found = (row["threshold"], row["stages"][0]["seconds"], row["stages"][0]["rows_per_second"])
    assert [type(value) for value in found] == [float] * 3
    assert row["statuses"] == {"ok": 10} and row["ended"] is None and row["started"] == record.started


@given(RECORD)
def test_json_says_all_of_it(record):
    """Each field stands under its name, times with their offset."""
    told = json.loads(json.dumps(record.to_json()))
    assert list(told) == [one.name for one in fields(RunRecord)] == SCHEMA.names
    assert datetime.fromisoformat(told["started"]) == record.started
    assert told["statuses"] == record.statuses


def test_a_time_without_a_zone_is_utc():
    """As an engine gives it whose session is in UTC."""
    record = RunRecord("a", "m", "run")
    (row,) = record.to_arrow().to_pylist()
    assert RunRecord.from_row({**row, "started": row["started"].replace(tzinfo=None)}).started == record.started


@pytest.mark.parametrize("lacking", ["run_id", "name", "command", "status", "started", "heartbeat", "process"])
def test_a_row_of_something_else_is_no_record(lacking):
    """What each record has, a row of another table may lack."""
    (row,) = RunRecord("a", "m", "run").to_arrow().to_pylist()
    for value in ({}, {lacking: None}):
        with pytest.raises(ValueError, match="is missing"):
            RunRecord.from_row({name: one for name, one in row.items() if name != lacking} | value)


@pytest.mark.parametrize(
    ("process", "quiet", "status", "alive"),
    [
        ({}, 10 * SILENT, "running", True),  # this very process: how long it was silent does not count
        ({"pid": "999999999"}, 0, "running", False),
        ({"space": "00000000"}, SILENT / 2, "running", True),
        ({"space": "00000000"}, SILENT * 2, "running", False),
        ({}, 0, "succeeded", False),
    ],
)
def test_a_run_is_alive_as_long_as_its_process(process, quiet, status, alive):
    """Of this machine the process is looked at, of another's the time since it last said that it is alive."""
    heartbeat = datetime.now(UTC) - timedelta(seconds=quiet)
    record = RunRecord("a", "m", "run", status=status, heartbeat=heartbeat, process=other(marks.new(), **process))
    assert record.is_alive == alive


def test_an_ended_run_says_how_long_it_took():
    """From start to end; of one that goes on that is not known."""
    record = RunRecord("a", "m", "run")
    assert record.seconds is None
    record = replace(record, started=record.started - timedelta(seconds=5)).ending("failed", "why")
    assert (record.status, record.message) == ("failed", "why")
    assert 5 <= record.seconds < 60


def test_the_table_has_a_type_for_each_field():
    """Numbers, times, maps and lists are not written as text."""
    texts = {field.name for field in SCHEMA if pa.types.is_string(field.type)}
    assert texts.isdisjoint({"started", "ended", "heartbeat", "rows_read", "threshold", "statuses", "stages"})


def test_a_notebook_shows_the_record():
    """What is known of a run, and no line for what is not; a failed one with its message."""
    record = RunRecord("a run", "m", "run", rows_read=1200, rows_scored=1199, anomalies=3, expected_alerts=1.2,
                       output="scored", mode="replace", drift=[ColumnDrift("flow", *[0.5] * 5, "flow: moved")],
                       stages=[Stage("scoring", 1.5)])  # fmt: skip
    html = record.ending("succeeded")._repr_html_()
    assert "1,200, 1,199 with a score" in html and "3 (0.250%); 1.2 expected if all were normal" in html
    assert "1 of 1 columns have moved since training: flow: moved" in html and "scoring 1.5 s" in html
    assert "message" not in html and "gate" not in html and "None" not in html
    gated = replace(record, gate="gates.max_drift", gate_limit=0.25, gate_found=0.5).ending("gated", "Too far.")
    assert "gates.max_drift: found 0.5, the limit is 0.25" in gated._repr_html_() and "Too far." in gated._repr_html_()


@pytest.mark.slow
@given(RECORD)
def test_a_notebook_shows_any_record(record):
    """Whatever it holds, as text: no element but the table's."""
    html = record._repr_html_()
    assert set(re.findall(r"<(\w+)", html)) <= {"table", "tr", "th", "td"} and html == printable(html)


def test_no_credentials_are_shown_in_a_notebook():
    """What a message may repeat of an address stays out."""
    html = RunRecord("a run", "m", "run").ending("failed", "no s3://key:secret@bucket/x there")._repr_html_()
    assert "secret" not in html and "bucket/x" in html

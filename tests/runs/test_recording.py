"""A run's record while the run goes on: begun, taken over, refused, ended."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.places.test_marks import other
from vae_model.errors import ConfigError, JobError, OutputError
from vae_model.places import marks
from vae_model.runs.ledger import Folder
from vae_model.runs.record import RunRecord
from vae_model.runs.recording import Recording

GONE = {"pid": "999999999"}


@pytest.fixture
def ledger(tmp_path):
    """A folder of records."""
    return Folder(str(tmp_path / "runs"))


def before(ledger, status, config="one", **process):
    """A run of another process."""
    record = RunRecord("a", "m", "run", process=other(marks.new(), **process), config_digest=config)
    ledger.put(record if status == "running" else record.ending(status, "why"))


def recording(ledger, config="one"):
    """A run of this process with the same id."""
    return Recording(RunRecord("a", "m", "run", config_digest=config), ledger)


def test_a_run_is_recorded_from_start_to_end(ledger):
    """Running while it goes on; then how it ended, and what became known of it."""
    run = recording(ledger)
    run.begin()
    assert ledger.find("a").is_alive
    run.note(rows_read=7)
    run.end("succeeded")
    found = ledger.find("a")
    assert (found.status, found.rows_read) == ("succeeded", 7)
    assert found == run.record


def test_a_run_whose_process_is_gone_is_taken_over(ledger, caplog):
    """With a warning that says which process, on which machine, since when."""
    before(ledger, "running", **GONE)
    recording(ledger).begin()
    assert "taken over" in caplog.text and "process 999999999 on " in caplog.text
    assert ledger.find("a").is_alive


def test_a_run_that_goes_on_is_not_begun_twice(ledger):
    """Exit code 4, and its record is as it was."""
    before(ledger, "running")
    there = ledger.find("a")
    with pytest.raises(JobError, match="is going on already") as caught:
        recording(ledger).begin()
    assert caught.value.exit_code == 4
    assert ledger.find("a") == there


def test_a_run_of_another_machine_is_given_time(ledger):
    """Its process cannot be looked at from here: a fresh heartbeat says that it is there."""
    before(ledger, "running", space="00000000")
    with pytest.raises(JobError, match="is going on already"):
        recording(ledger).begin()


@pytest.mark.parametrize("status", ["succeeded", "skipped", "failed", "gated"])
def test_an_id_used_with_another_config(ledger, status):
    """Refused where the run went well, exit code 2: what it wrote would be replaced by something else. What came to
    nothing may be tried with a mended config.
    """
    before(ledger, status)
    recording(ledger).begin()  # with the same config: again
    before(ledger, status)
    if status != "succeeded":
        recording(ledger, "another").begin()
        return
    with pytest.raises(ConfigError, match="with another config") as caught:
        recording(ledger, "another").begin()
    assert caught.value.exit_code == 2
    assert ledger.find("a").status == "succeeded"


def test_a_run_says_that_it_is_alive(ledger):
    """Again and again while it goes on, and never after its end."""
    ledger.beats = 0.05
    run = recording(ledger)
    run.begin()
    first = ledger.find("a").heartbeat
    deadline = time.monotonic() + 10
    while ledger.find("a").heartbeat == first and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ledger.find("a").heartbeat > first
    run.end("succeeded")
    time.sleep(0.2)
    assert ledger.find("a").status == "succeeded"


@pytest.mark.parametrize("process", ["", "x", "1_2", "../../etc", "20260101t000000_00000000_x_0000"])
def test_a_process_that_makes_no_sense_is_told(ledger, process):
    """Whoever may write to the folder could have written it: an error that names the file, no crash."""
    ledger.put(RunRecord("a", "m", "run", process=process))
    with pytest.raises(OutputError, match="is no record of a run"):
        recording(ledger).begin()


def test_a_process_with_a_number_that_none_has_is_gone(ledger):
    """A forged one keeps no run from beginning."""
    before(ledger, "running", pid="9" * 40)
    recording(ledger).begin()
    assert ledger.find("a").is_alive


def test_a_record_that_cannot_be_written_at_the_end_fails_nothing(ledger, caplog, monkeypatch):
    """What the run did is done: a warning."""
    run = recording(ledger)
    run.begin()

    def fail(_):
        raise OSError("full")

    monkeypatch.setattr(ledger, "put", fail)
    assert run.end("succeeded").status == "succeeded"
    assert "could not be written" in caplog.text


def test_without_a_ledger_a_run_has_a_record_all_the_same():
    """``runs: none``: nothing is written, the record is what it would be."""
    run = recording(None)
    run.begin()
    run.note(rows_read=1)
    assert run.end("failed", "why").message == "why"
    assert datetime.now(UTC) - run.record.ended < timedelta(minutes=1)

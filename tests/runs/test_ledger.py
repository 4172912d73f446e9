"""Records of runs in a folder: found again by any id, and what is no record is told, not obeyed."""

import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.errors import OutputError
from vae_model.runs.identity import file_name
from vae_model.runs.ledger import Folder
from vae_model.runs.record import SCHEMA, RunRecord

IDS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20), unique=True, min_size=1, max_size=4)


@pytest.fixture
def ledger(tmp_path):
    """A folder that is not there yet."""
    return Folder(str(tmp_path / "a folder" / "runs"))


def test_an_empty_ledger_has_no_run(ledger):
    """Where there is no folder there is no record, and looking makes none."""
    ledger.check()
    assert ledger.find("a") is None and ledger.records() == []
    assert not Path(str(ledger)).exists()


@pytest.mark.slow
@given(IDS)
def test_a_run_is_found_by_any_id(tmp_path_factory, ids):
    """Whatever letters it has; the last state of a run counts, and the latest start is first."""
    ledger = Folder(str(tmp_path_factory.mktemp("runs")))
    records = [RunRecord(run_id, "m", "run") for run_id in ids]
    records = [RunRecord(r.run_id, "m", "run", started=r.started + timedelta(hours=i)) for i, r in enumerate(records)]
    for record in records:
        ledger.put(record)
        ledger.put(record.ending("succeeded"))
    assert [ledger.find(run_id).status for run_id in ids] == ["succeeded"] * len(ids)
    assert [record.run_id for record in ledger.records()] == ids[::-1]
    assert ds.dataset(str(ledger)).to_table().schema.equals(SCHEMA)


def test_other_files_of_the_folder_are_no_records(ledger):
    """What a reader or a person has put beside them is not read."""
    ledger.put(RunRecord("a", "m", "run"))
    for name in ("_SUCCESS", "notes.txt", ".hidden.parquet", "part-0.parquet"):
        Path(str(ledger), name).write_bytes(b"x")
    assert [record.run_id for record in ledger.records()] == ["a"]


def written(table):
    """The bytes of a table in Parquet."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


RECORD = RunRecord("a", "m", "run").to_arrow()


@pytest.mark.parametrize(
    "data",
    [
        b"", b"PAR1", b"by hand", written(RECORD)[:-20], written(RECORD.drop_columns("process")),
        written(pa.table({"run_id": ["a"]})),
        written(RECORD.set_column(SCHEMA.get_field_index("started"), "started", pa.array(["soon"]))),
        written(RECORD.set_column(SCHEMA.get_field_index("process"), "process", pa.array(["x"]))),
        written(RECORD.set_column(SCHEMA.get_field_index("process"), "process", pa.array([7]))),
        written(RECORD.set_column(SCHEMA.get_field_index("status"), "status", pa.array(["done"]))),
        written(RECORD.set_column(SCHEMA.get_field_index("stages"), "stages", pa.array([["x"]]))),
        written(RECORD.set_column(SCHEMA.get_field_index("versions"), "versions", pa.array(["x"]))),
    ],
)  # fmt: skip
def test_a_file_that_is_no_record_is_told(ledger, data):
    """Cut short, of other columns or types: an error that names the file, exit code 2."""
    ledger.put(RunRecord("a", "m", "run"))
    Path(str(ledger), f"{file_name('a')}.parquet").write_bytes(data)
    for read in (lambda: ledger.find("a"), ledger.records):
        with pytest.raises(OutputError, match=rf"{file_name('a')}\.parquet is no record of a run") as caught:
            read()
        assert caught.value.exit_code == 2


def test_a_record_of_another_run_under_a_runs_name_is_told(ledger):
    """A copied file does not speak for the run whose name it has."""
    ledger.put(RunRecord("b", "m", "run"))
    Path(str(ledger), f"{file_name('b')}.parquet").rename(Path(str(ledger), f"{file_name('a')}.parquet"))
    with pytest.raises(OutputError, match="is no record of a run"):
        ledger.find("a")


@pytest.mark.parametrize("what", ["delta", "csv", "file"])
def test_a_place_that_holds_something_else_is_refused(ledger, what):
    """A Delta table, other files, or a file where the folder should be: told before any work."""
    folder = Path(str(ledger))
    if what == "file":
        folder.parent.mkdir(parents=True)
        folder.write_text("x")
    else:
        (folder / "_delta_log").mkdir(parents=True) if what == "delta" else folder.mkdir(parents=True)
        (folder / ("_delta_log/0.json" if what == "delta" else "a.csv")).write_text("x")
    with pytest.raises(OutputError, match=r"runs table|cannot be written"):
        ledger.check()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="links as POSIX has them")
def test_two_runs_write_at_once(ledger):
    """Each has a file of its own: neither's record is lost."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.put(RunRecord(f"run {i}", "m", "run")), range(40)))
    assert {record.run_id for record in ledger.records()} == {f"run {i}" for i in range(40)}

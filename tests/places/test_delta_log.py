"""The log of a Delta table, read as files."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vae_model.places import delta_log, files

ABOUT = {"id": "t", "schemaString": json.dumps({"type": "struct", "fields": []}), "partitionColumns": ["day"]}


@pytest.fixture
def table(tmp_path):
    """A table of thirteen commits, of which only the first says what it is, and a checkpoint after the eleventh."""
    log = tmp_path / "_delta_log"
    log.mkdir()
    for version in range(13):
        actions = [{"commitInfo": {"operation": "WRITE"}}, {"add": {"path": f"{version}.parquet"}}]
        actions += [{"metaData": {**ABOUT, "configuration": {"a": "b"}}}] if version == 0 else []
        (log / f"{version:020d}.json").write_text("\n".join(map(json.dumps, actions)))
    about = {**ABOUT, "configuration": [("a", "b")]}
    type_ = pa.struct([
        ("id", pa.string()), ("schemaString", pa.string()), ("partitionColumns", pa.list_(pa.string())),
        ("configuration", pa.map_(pa.string(), pa.string())),
    ])  # fmt: skip
    whole = pa.table({"metaData": pa.array([None, about], type_), "add": pa.array([None, None], pa.int8())})
    for part, rows in ((1, whole.slice(0, 1)), (2, whole.slice(1))):
        pq.write_table(rows, log / f"{10:020d}.checkpoint.{part:010d}.{2:010d}.parquet")
    return tmp_path


@pytest.mark.parametrize("cleaned", [0, 10])
def test_a_table_is_known_by_its_newest_checkpoint(table, monkeypatch, cleaned):
    """Whether or not the commits before it are there: those after it are read, and no others."""
    for version in range(cleaned):
        (table / "_delta_log" / f"{version:020d}.json").unlink()
    read, real = [], files.get
    monkeypatch.setattr(files, "get", lambda path: read.append(path) or real(path))
    found = delta_log.metadata(str(table))
    assert (found.id, found.partition_by, found.configuration) == ("t", ["day"], {"a": "b"})
    assert len(read) <= 5
    assert delta_log.versions(str(table)) == [*range(cleaned, 13)]


def test_an_earlier_version_is_known_by_its_own_commits(table):
    """A checkpoint that came later says nothing of it."""
    assert delta_log.metadata(str(table), 9).id == "t"
    (table / "_delta_log" / f"{0:020d}.json").unlink()
    with pytest.raises(FileNotFoundError):
        delta_log.metadata(str(table), 9)


def test_a_commit_that_was_cleaned_up_is_no_change_in_silence(table):
    """What happened since a version is told whole, or not at all."""
    assert [file.path for file in delta_log.changes(str(table), 7, 9).added] == ["8.parquet", "9.parquet"]
    (table / "_delta_log" / f"{8:020d}.json").unlink()
    with pytest.raises(FileNotFoundError):
        delta_log.changes(str(table), 7, 9)

"""What the output columns mean stands on the columns of a Delta table that is made, and changes no other."""

import json
from pathlib import Path

import pytest

from tests.spark.sinks.days import OLD, ONE, by, found, frame_of, output_at, save
from vae_model.scoring.output import MEANINGS, OUTPUT
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.sinks import delta
from vae_model.spark.sinks.reading import location

NEW = [(1, ONE, 10.0), (2, ONE, 20.0)]
WHERE = "day = DATE '2026-01-01'"
MODES = ["append", *(pytest.param(mode, marks=pytest.mark.thorough) for mode in ("replace_where", "merge"))]


def told(folder):
    """For each time that a table's log says what its columns are: the comments."""
    logs = sorted(Path(folder, "_delta_log").glob("*.json"))
    actions = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    schemas = [json.loads(action["metaData"]["schemaString"]) for action in actions if "metaData" in action]
    return [{f["name"]: f["metadata"]["comment"] for f in one["fields"] if f["metadata"]} for one in schemas]


def meanings(engine):
    """The comments that tables of an engine have."""
    return MEANINGS if engine_of(engine).can.metadata else {}


def test_every_output_column_has_a_meaning():
    """The texts are of the output columns, in order, and no engine has to escape anything in them."""
    assert list(MEANINGS) == OUTPUT.names
    assert [text for text in MEANINGS.values() if not text.isprintable() or {*"'\\$\"`"} & {*text}] == []


@pytest.mark.parametrize("mode", [*MODES, pytest.param("replace", marks=pytest.mark.thorough)])
def test_a_new_table_says_what_its_columns_mean(engine, tmp_path, mode):
    """Under the output's prefix, those of the source without; said once, however often the run is run again."""
    output = output_at(tmp_path, "path", "delta", mode, prefix="vae_")
    for _ in range(2):
        save(engine, frame_of(engine, NEW), output, "new", where=WHERE)
    said = told(output.path)
    assert said[0] == {f"vae_{name}": text for name, text in meanings(engine).items()}
    assert said[1:] in ([], said[:1])  # once more the same, where the table is made anew
    assert found(engine, output) == by("new", NEW)


def test_a_table_by_name_says_it_too(engine, tmp_path):
    """In its log, and to whoever describes it."""
    output = output_at(tmp_path, "table", "delta", "append")
    try:
        save(engine, frame_of(engine, NEW), output, "new")
        assert told(location(engine, output)) == [meanings(engine)]
        described = {row["col_name"]: row["comment"] for row in engine.sql(f"DESCRIBE TABLE {output.table}").collect()}
    finally:
        engine.sql(f"DROP TABLE IF EXISTS {output.table}")
    assert {name: text for name, text in described.items() if name in MEANINGS and text} == meanings(engine)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_older", [True, False])
def test_a_table_that_is_there_keeps_its_columns_as_they_are(engine, tmp_path, mode, is_older, monkeypatch):
    """An older one stays without comments, a newer one keeps them; the rows of a later run are there, once, and no
    commit says anew what the columns are.
    """
    output = output_at(tmp_path, "path", "delta", mode)
    with monkeypatch.context() as patch:
        if is_older:
            patch.setattr(delta, "commented", lambda frame, prefix: frame)
        save(engine, frame_of(engine, OLD), output, "old", where=WHERE)
    for _ in range(2):
        save(engine, frame_of(engine, NEW), output, "new", where=WHERE)
    assert told(output.path) == [{} if is_older else meanings(engine)]
    kept = OLD if mode == "append" else OLD[2:]
    assert sorted(map(str, found(engine, output))) == sorted(map(str, [*by("new", NEW), *by("old", kept)]))

"""What goes into an output beside its rows."""

import json
from pathlib import Path

import pytest

from tests.spark.sinks.orders import write
from vae_model.config.tables import Output
from vae_model.spark.frames import to_arrow
from vae_model.spark.sinks.writing import RUN

WIDENED = {"delta.typeChanges": [{"fromType": "integer", "toType": "long"}]}
MARKED = {
    "id": {"delta.identity.start": 1, "delta.identity.step": 1, "delta.identity.allowExplicitInsert": False},
    "wide": WIDENED,
    "made": {"delta.generationExpression": "wide + 1"},
    "given": {"CURRENT_DEFAULT": "7"},
    "short": {"__CHAR_VARCHAR_TYPE_STRING": "varchar(5)"},
    "part": {"comment": "a part"},
    "part.x": WIDENED,
    "many.x": WIDENED,
}
"""What a Delta table's fields carry (https://github.com/delta-io/delta/blob/master/PROTOCOL.md, "Column Metadata",
"Type Widening", "Identity Columns", "Generated Columns", "Default Columns")."""
FEATURES = ["typeWidening", "identityColumns", "generatedColumns", "allowColumnDefaults"]


def first_commit(folder):
    """The actions of a Delta table's first commit."""
    log = next(iter(sorted(Path(folder, "_delta_log").glob("*.json"))))
    return log, [json.loads(line) for line in log.read_text().splitlines()]


def mark(folder):
    """Let the fields of a Delta table carry ``MARKED``, and the table have the features that they belong to."""
    log, actions = first_commit(folder)
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7,
                                  "readerFeatures": FEATURES[:1], "writerFeatures": FEATURES}  # fmt: skip
        if "metaData" in action:
            schema = json.loads(action["metaData"]["schemaString"])
            for field in schema["fields"]:
                inner = field["type"].get("elementType", field["type"]) if isinstance(field["type"], dict) else {}
                for one in [field, *inner.get("fields", [])]:
                    own = field["name"] if one is field else f"{field['name']}.{one['name']}"
                    one["metadata"].update(MARKED.get(own, {}))
            action["metaData"]["schemaString"] = json.dumps(schema)
            action["metaData"]["configuration"]["delta.enableTypeWidening"] = "true"
    log.write_text("".join(json.dumps(action) + "\n" for action in actions))
    for checksum in log.parent.glob("*.crc"):
        checksum.unlink()
    for checksum in log.parent.glob(".*.crc"):
        checksum.unlink()


@pytest.mark.parametrize("format_", ["delta", "parquet"])
def test_what_the_sources_fields_carry_stays_with_the_source(engine, tmp_path, format_):
    """Rows of a Delta table that widened, numbered, computed and filled in its columns become an output that claims
    none of it, on each engine, whose values are the same and which the engine can read.
    """
    if engine.version.startswith("3."):
        pytest.skip("Delta 3.3 does not open a table of these features")
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    engine.range(20).selectExpr(
        "id", "id AS wide", "id + 1 AS made", "id AS given", "'ab' AS short",
        "named_struct('x', id, 'y', 'k') AS part", "array(named_struct('x', id)) AS many",
        "map('k', named_struct('x', id)) AS named", "CAST('NaN' AS DOUBLE) AS n",
    ).write.format("delta").save(source)  # fmt: skip
    before = to_arrow(engine.read.format("delta").load(source))
    mark(source)
    frame = engine.read.format("delta").load(source)
    found = write(frame, Output.model_validate({"path": target, "format": format_})).drop(RUN)
    assert found.dtypes == frame.dtypes
    after = to_arrow(found).sort_by("id").to_pylist()
    assert [str(row) for row in after] == [str(row) for row in before.sort_by("id").to_pylist()]
    if format_ == "delta":
        (schema,) = [a["metaData"]["schemaString"] for a in first_commit(target)[1] if "metaData" in a]
        assert not {key for own in MARKED.values() for key in own if key != "comment" and key in schema}

"""A label parts rows in two, or says why it cannot."""

import pandas as pd
import pytest

from vae_model.errors import SchemaError
from vae_model.spark.jobs.labels import MOST, labelled


@pytest.fixture
def table(engine, tmp_path):
    """Rows with labels of every kind."""
    rows = 200
    kind = ["fault", "wear", "normal", "normal"] * (rows // 4)
    frame = pd.DataFrame(
        {
            "id": range(rows),
            "number": [1, 0, 0, 0] * (rows // 4),
            "real": [1.0, 0.0, 0.0, 0.0] * (rows // 4),
            "flag": [True, False, False, False] * (rows // 4),
            "word": ["True", "false", "FALSE", "false"] * (rows // 4),
            "kind": kind,
            "same": 0,
            "gaps": [None, 0.0, 1.0, 1.0] * (rows // 4),
            "when": pd.Timestamp("2024-01-01"),
        }
    )
    frame.to_parquet(tmp_path / "labels.parquet", index=False, coerce_timestamps="us")
    return engine.read.parquet(str(tmp_path / "labels.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label", "value", "remainder"),
    [
        ("number", None, {0}), ("real", None, {0}), ("flag", None, {0}), ("word", None, {0}),
        ("number", "0", {1, 2, 3}), ("real", "0", {1, 2, 3}), ("flag", "FALSE", {1, 2, 3}), ("kind", "wear", {1}),
    ],
)  # fmt: skip
def test_rows_are_parted(table, label, value, remainder):
    """By 1 or true, or by a value that is named, however it is written."""
    normal, anomalous = ([row["id"] for row in part.collect()] for part in labelled(table, label, value))
    assert {one % 4 for one in anomalous} == remainder and len(normal) + len(anomalous) == 200
    assert not set(normal) & set(anomalous)


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("numbr", None, ["no column", "did you mean 'number'?"]),
        ("when", None, ["--label cannot take the column 'when'"]),
        ("gaps", None, ["has nulls", "50 rows without"]),
        ("same", None, ["has one class: no row is anomalous"]),
        ("number", "2", ["has one class: no row is anomalous", "rows with '2'"]),
        ("same", "0", ["has one class: no row is normal"]),
        ("kind", None, ["does not say which", "'fault', 'normal', 'wear'", "--anomalous VALUE"]),
        ("id", "7", ["too many values", f"at most {MOST}"]),
    ],
)
def test_what_is_no_label_is_told(table, label, value, words):
    """With what was found and what to do."""
    with pytest.raises(SchemaError) as caught:
        labelled(table, label, value)
    for word in words:
        assert word in str(caught.value)

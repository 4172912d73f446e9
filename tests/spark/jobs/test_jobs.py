"""The two jobs on every engine: source to model, source to sink, and the summary of what was written."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.spark.conftest import SMALL
from tests.spark.jobs.scoring import run_score
from vae_model import Detector
from vae_model.config.load import parse_config
from vae_model.errors import NothingToScore, SchemaError, SourceError, TrainingError, VaeAnomalyError
from vae_model.spark import frames, train
from vae_model.spark.jobs.train import run_train
from vae_model.spark.sinks.reading import read_output


def job(path, tmp_path, **changes):
    """A complete config over the mixed table."""
    values = {
        "name": "mixed",
        "source": {"path": path},
        "key": ["id"],
        "features": {"exclude": ["note"]},
        "train": {"normal": "id >= 20", "rows": 1000},
        "model": {"path": str(tmp_path / "models" / "mixed.vae"), **SMALL},
        "decision": {"false_alarm_rate": 0.02},
        "output": {"path": str(tmp_path / "scored"), "format": "delta"},
    }
    return parse_config({**values, **changes})


@pytest.fixture
def planted(rows, tmp_path):
    """The table with one wild value in row 7, as a Parquet folder."""
    folder = tmp_path / "planted"
    folder.mkdir()
    changed = rows.copy()
    changed.loc[7, "count"] = 5000
    for i, part in enumerate(np.array_split(np.arange(len(rows)), 3)):
        changed.iloc[part].to_parquet(folder / f"part{i}.parquet", index=False, coerce_timestamps="us")
    return str(folder)


def test_train_then_score_finds_the_planted_row(engine, planted, tmp_path):
    """A model trained on a sample of the normal rows puts the planted row first, and the summary says why."""
    config = job(planted, tmp_path)
    detector = run_train(engine, config)
    summary = run_score(engine, config, Detector.load(config.model.path))
    assert (summary.rows, summary.statuses) == (1200, {"ok": 1200})
    assert summary.anomalies == read_output(engine, config.output).where("is_anomaly").count() > 0
    first = summary.top[0]
    assert first.key == {"id": 7}
    assert (first.reasons[0].feature, first.reasons[0].observed) == ("count", "5000")
    assert [a.score for a in summary.top] == sorted((a.score for a in summary.top), reverse=True)
    assert detector.header["training"]["rows"] + detector.header["training"]["calibration_rows"] <= 1000


@pytest.mark.slow
def test_every_engine_trains_the_same_model(engine, on_sail, path):
    """The same config and table give the same bytes, whichever engine drew the sample, and each time."""
    config = job(path, Path("unused")).model_copy(update={"source": None, "output": None})
    data = train(engine.read.parquet(path), config).to_bytes()
    assert on_sail(lambda session: train(session.read.parquet(path).repartition(3), config).to_bytes()) == data


def test_appending_counts_only_this_run(engine, path, detector, tmp_path):
    """The summary of a run that appends is of its own rows, not of those that were there."""
    for where, rows in (("id < 700", 700), ("id >= 700", 500)):
        config = job(path, tmp_path, source={"path": path, "where": where}, output={
            "path": str(tmp_path / "scored"), "format": "delta", "mode": "append"})  # fmt: skip
        assert run_score(engine, config, detector, where).rows == rows


def test_the_decision_of_the_config_wins_and_leaves_the_model_its_name(engine, path, detector, tmp_path):
    """A changed false-alarm rate flags other rows, as the model whose file there is."""
    strict = run_score(engine, job(path, tmp_path), detector)
    config = job(path, tmp_path, decision={"false_alarm_rate": 0.2}, output={
        "path": str(tmp_path / "other"), "format": "delta"})  # fmt: skip
    loose = run_score(engine, config, detector)
    assert loose.anomalies > 2 * strict.anomalies
    names = frames.to_arrow(read_output(engine, config.output).select("anomaly_model").distinct())
    assert names.column(0).to_pylist() == [detector.scorer.name]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"train": {"normal": "id < 5"}}, TrainingError, ["at least 20 rows that match 'id < 5'", "found: 5 rows"]),
        ({"train": {"normal": "id < 1"}}, TrainingError, ["found: 1 row\n"]),
        ({"train": {"normal": "idd < 5"}}, SourceError, ["train.normal", "'idd < 5'"]),
        ({"key": ["idd"]}, SchemaError, ["column 'idd' is not in the table; did you mean 'id'?"]),
        ({"features": {"include": ["a", "colr"]}}, SchemaError, ["column 'colr' is not in the table"]),
        ({"features": {"exclude": ["note"], "kinds": {"at": "numeric"}}}, SchemaError, ["'at' cannot be numeric"]),
    ],
)
def test_a_table_that_cannot_be_trained_on_says_why(engine, path, tmp_path, changes, error, words):
    """Bad predicates, keys, features and kinds are errors before any training, and no model is written."""
    with pytest.raises(error) as caught:
        run_train(engine, job(path, tmp_path, **changes))
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "models").exists()


@pytest.mark.slow
def test_unsupported_types_are_named_with_how_to_exclude_them(engine, tmp_path):
    """Maps and structs are refused by name, with the line that leaves them out; excluded, they pass through."""
    import pyarrow.parquet as pq

    table = pa.table({
        "a": np.arange(100.0), "b": np.arange(100.0)[::-1].copy(),
        "tags": pa.array([[("k", 1)]] * 100, pa.map_(pa.string(), pa.int64())),
        "nested": pa.array([{"x": 1}] * 100),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "nested.parquet")
    source = {"path": str(tmp_path / "nested.parquet")}
    with pytest.raises(SchemaError) as caught:
        run_train(engine, job("", tmp_path, source=source, key=[], features={}, train={}))
    assert "column 'tags' has type map<" in str(caught.value)
    assert "column 'nested' has type struct<" in str(caught.value)
    assert "features: {exclude: [nested]}" in str(caught.value)
    config = job("", tmp_path, source=source, key=[], features={"exclude": ["tags", "nested"]}, train={})
    summary = run_score(engine, config, run_train(engine, config))
    assert summary.rows == 100
    assert read_output(engine, config.output).where("nested.x = 1").count() == 100


def test_nothing_to_score_is_an_error_and_the_output_stays(engine, path, detector, tmp_path):
    """A source with no row to score leaves the previous output as it was."""
    config = job(path, tmp_path)
    before = run_score(engine, config, detector)
    with pytest.raises(NothingToScore, match="no row to score"):
        run_score(engine, job(path, tmp_path, source={"path": path, "where": "id < 0"}), detector)
    assert read_output(engine, config.output).count() == before.rows


@pytest.mark.slow
def test_a_failure_on_a_worker_becomes_one_message(engine, path, detector, tmp_path):
    """A row that cannot be scored ends the job with the worker's own message, not with a page of Java."""
    import pandas as pd

    bad = pd.read_parquet(path)
    bad["vector"] = [v if i != 900 else v[:2] for i, v in enumerate(bad["vector"])]
    bad.to_parquet(tmp_path / "bad.parquet", index=False, coerce_timestamps="us")
    config = job(str(tmp_path / "bad.parquet"), tmp_path)
    with pytest.raises(VaeAnomalyError) as caught:
        run_score(engine, config, detector)
    text = str(caught.value)
    assert text.startswith("Column 'vector' holds arrays of different lengths.")
    assert "arrays of 3 numbers" in text
    assert "\tat org." not in text and len(text) < 600

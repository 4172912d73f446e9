"""What a model finds in a source, on every engine."""

import numpy as np
import pandas as pd
import pytest

from tests.spark.jobs.test_jobs import job
from vae_model import Detector
from vae_model.errors import ConfigError, InputError, NothingToScore, SchemaError
from vae_model.evaluation import baselines
from vae_model.spark import evaluate
from vae_model.spark.jobs import evaluate as module
from vae_model.spark.jobs.train import run_train

pytestmark = pytest.mark.slow

pytest.importorskip("sklearn", reason="an extra that not every environment has")
ROWS = {"rows": 700, "normal": None}


@pytest.fixture
def labelled_path(rows, tmp_path):
    """The table with a label: a few rows have a count that no other has."""
    odd = rows.index % 60 == 7
    table = rows.assign(count=rows["count"] + 500 * odd, is_bad=odd.astype(int), why=np.where(odd, "count", "none"))
    folder = tmp_path / "labelled"
    folder.mkdir()
    table.to_parquet(folder / "part.parquet", index=False, coerce_timestamps="us")
    return str(folder)


def test_errors_are_planted_in_rows_that_no_model_has_seen(engine, path, tmp_path, monkeypatch):
    """Where there is no model one is trained for it, the one that `train` would write; nothing is written."""
    looked_at = []
    own = module.on_planted
    monkeypatch.setattr(module, "on_planted", lambda *given: looked_at.append(given) or own(*given))
    before = sorted(tmp_path.rglob("*"))
    config = job(path, tmp_path, train=ROWS)
    found, detector = evaluate(engine, config)
    assert sorted(tmp_path.rglob("*")) == before
    assert found.subject.trained_for_this and found.subject.held_out == "rows that are not in the training sample"
    assert found.detectors[0].by_kind["tail"] > 0.9 and found.verdict.startswith("On this table")
    assert run_train(engine, config).to_bytes() == detector.to_bytes()
    _, trained, clean, _ = looked_at[0]
    ids = [set(map(str, part.column("a").to_pylist())) - {"nan", "None"} for part in (trained, clean)]
    assert not ids[0] & ids[1] and len(clean) == 500
    again, _ = evaluate(engine, config)
    assert not again.subject.trained_for_this and again.detectors[0].fit_seconds is None
    assert again.decided == found.decided


def test_a_table_without_other_rows_gives_its_held_out_ones(engine, path, tmp_path):
    """Which is told, as is a model that no job has trained."""
    config = job(path, tmp_path, train={"normal": None, "rows": 5000})
    found, detector = evaluate(engine, config)
    assert "by which the model is calibrated" in found.subject.held_out and len(found.subject.notes) == 1
    other, _ = evaluate(engine, config, model=Detector(config).fit(pd.read_parquet(path)))
    assert "not trained by a job" in other.subject.notes[0]
    (tmp_path / "later").mkdir()
    pd.read_parquet(path)[100:].to_parquet(tmp_path / "later" / "part.parquet", coerce_timestamps="us")
    grown, _ = evaluate(engine, job(str(tmp_path / "later"), tmp_path), model=detector)
    assert "The table had 1,200 normal rows when" in grown.subject.notes[0]


def test_rows_are_told_from_those_of_training_whatever_decides_now(engine, path, tmp_path):
    """Without a key a row is known by the columns of training: those of the segments of then, and those not used."""
    source = pd.read_parquet(path).drop(columns="id").assign(nothing=np.nan)
    (tmp_path / "bare").mkdir()
    source.to_parquet(tmp_path / "bare" / "part.parquet", index=False, coerce_timestamps="us")
    bare = {"key": [], "train": ROWS, "features": {"exclude": ["note", "colour"]}}
    detector = run_train(engine, job(str(tmp_path / "bare"), tmp_path, **bare, decision={"by": ["colour"]}))
    assert "nothing" in detector.spec.unused
    found, _ = evaluate(engine, job(str(tmp_path / "bare"), tmp_path, **bare))
    assert found.subject.held_out == "rows that are not in the training sample" and "trained on" not in str(
        found.subject.notes
    )
    assert found.rows["clean"] == 500


def test_a_part_of_the_table_is_looked_at_and_all_of_it_trained_on(engine, path, tmp_path):
    """`source.where` says what is scored: the model is the one that `train` would write."""
    config = job(path, tmp_path, source={"path": path, "where": "id > 500"}, train={"normal": None, "rows": 5000})
    found, detector = evaluate(engine, config)
    assert run_train(engine, config).to_bytes() == detector.to_bytes()
    assert 100 <= found.rows["clean"] < 300 and "trained on" not in str(found.subject.notes)


def test_a_label_is_never_a_feature(engine, labelled_path, tmp_path):
    """Whatever the config says of it: the model does not see it, and still finds what it says."""
    config = job(labelled_path, tmp_path, train=ROWS, features={"exclude": ["note", "why"]})
    found, detector = evaluate(engine, config, label="is_bad")
    assert "is_bad" not in detector.spec.names and "count" in detector.spec.names
    assert found.detectors[0].figures["auc_roc"].value > 0.95 and found.subject.label == "is_bad"
    other, _ = evaluate(engine, config, label="is_bad", anomalous="1", model=detector)
    assert other.detectors[0].figures == found.detectors[0].figures
    included = {"include": ["a", "count", "is_bad"], "kinds": {"is_bad": "categorical"}}
    found, detector = evaluate(engine, job(labelled_path, tmp_path, features=included), label="is_bad")
    assert detector.spec.names == ["a", "count"]


def test_a_model_that_sees_the_label_is_refused(engine, labelled_path, tmp_path):
    """It would find what it was told."""
    config = job(labelled_path, tmp_path, features={"include": ["a", "count", "is_bad"]})
    table = pd.read_parquet(labelled_path)
    seeing = Detector(config).fit(table)
    with pytest.raises(SchemaError, match="'is_bad' is a column that the model sees"):
        evaluate(engine, config, label="is_bad", model=seeing)


@pytest.mark.parametrize(
    ("changes", "options", "error", "words"),
    [
        ({"source": None}, {}, ConfigError, "lacks 'source'"),
        ({"train": {"normal": "id < 499"}}, {}, InputError, "training sample is too small"),
        ({"train": {"calibration": 0.02}}, {}, InputError, "too few rows to evaluate on"),
        ({"features": {"include": ["nothing"]}}, {}, SchemaError, "'nothing' is not in the table"),
        ({}, {"label": "colur"}, SchemaError, "did you mean 'colour'"),
        ({}, {"label": "colour"}, SchemaError, "has nulls"),
        ({"decision": {"by": ["flag"]}}, {"label": "flag"}, SchemaError, "found: decision.by"),
    ],
)
def test_what_will_not_do_is_told_before_any_training(
    engine, path, tmp_path, monkeypatch, changes, options, error, words
):
    """As bad input."""
    monkeypatch.setattr(module, "fit_sample", None)
    with pytest.raises(error, match=words) as caught:
        evaluate(engine, job(path, tmp_path, **changes), **options)
    assert caught.value.exit_code == 2


def test_no_row_is_nothing_to_evaluate(engine, path, tmp_path):
    """As it is nothing to score."""
    with pytest.raises(NothingToScore):
        evaluate(engine, job(path, tmp_path, source={"path": path, "where": "id < 0"}))


def test_a_library_that_lacks_is_told_first(engine, path, tmp_path, monkeypatch):
    """Before the source is opened."""
    monkeypatch.setattr(baselines, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"spark-vae-anomaly\[evaluate\]"):
        evaluate(engine, job("nowhere", tmp_path))

"""MLflow: runs, models in its registry, and scores by them; with a store in a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import clean_environment
from tests.test_cli import CONFIG, cli, pumps  # noqa: F401 - a fixture
from vae_model import Detector
from vae_model.config.load import parse_config

pytestmark = [pytest.mark.platforms, pytest.mark.filterwarnings("ignore")]  # what MLflow warns of is its own

TRACKED = CONFIG.replace("pumps.vae", "models/") + "tracking: {{mlflow: {{experiment: readings}}}}\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """MLflow's store of this module's runs, and a folder with a table and a config."""
    place = tmp_path_factory.mktemp("mlflow")
    pumps().to_parquet(place / "pumps.parquet", index=False)
    (place / "pumps.yaml").write_text(TRACKED.format(tmp=place))
    return place


@pytest.fixture
def place(store, monkeypatch, no_session):
    """The folder, with MLflow's variables as a user sets them."""
    monkeypatch.chdir(store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    return store


@pytest.fixture
def client(place):
    """MLflow's client."""
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def last(client):
    """The latest run of the experiment."""
    experiment = client.get_experiment_by_name("readings").experiment_id
    return client.search_runs([experiment], order_by=["attributes.start_time DESC"])[0]


def test_a_run_is_there_with_all_that_is_known_of_it(place, cli, client):  # noqa: F811
    """Parameters, losses by step, counts, the record, the report, and the model as a version with the alias."""
    code, out, err = cli("run", "--config", place / "pumps.yaml", "--run-id", "first")
    assert code == 0, err
    assert "Scored 600 rows" in out and "registered" not in out
    run = last(client)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.normal"] == "pressure < 100"
    assert run.data.params["model.steps"] == "60"
    assert run.data.metrics["rows_read"] == 600
    assert run.data.metrics["anomalies"] == pd.read_parquet(place / "scored")["is_anomaly"].sum()
    losses = client.get_metric_history(run.info.run_id, "loss")
    assert losses[-1].step == 60
    assert run.data.tags["vae_anomaly.run_id"] == "first"
    names = {own.path for own in client.list_artifacts(run.info.run_id)}
    assert {"record.json", "report.html"} <= names
    version = client.get_model_version_by_alias("pumps", "champion")
    assert str(version.version) == "1"
    (model,) = (place / "models").glob("*.vae")
    assert version.tags["vae_anomaly.model"] == Detector.load(str(model)).scorer.name


def test_no_pickle_is_written_and_none_is_read(place):
    """All that MLflow keeps of a model is text and our own model file; that file alone is taken of what it keeps."""
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts("models:/pumps@champion", dst_path=str(place / "kept")))
    kept = [file for file in folder.rglob("*") if file.is_file()]
    assert {file.suffix for file in kept} <= {".vae", ".py", ".yaml", ".yml", ".txt", ".html", ".css", ".typed", ""}
    assert "python_model.pkl" not in (folder / "MLmodel").read_text()
    (own,) = (place / "models").glob("*.vae")
    assert Detector.load("models:/pumps@champion").to_bytes() == own.read_bytes()
    assert Detector.load("models:/pumps/1").to_bytes() == own.read_bytes()


def test_it_is_scored_by(place, cli):  # noqa: F811
    """`model.path: models:/pumps@champion` gives the scores of the model file; a name that is not there is told."""
    config = ["--config", place / "pumps.yaml", "--set", f"output.path={place}/by_alias"]
    code, _, err = cli("score", *config, "--set", "model.path=models:/pumps@champion")
    assert code == 0, err
    scores = [pd.read_parquet(place / name).set_index("id")["anomaly_score"] for name in ("scored", "by_alias")]
    pd.testing.assert_series_equal(*(own.sort_index() for own in scores))
    code, _, err = cli("score", *config, "--set", "model.path=models:/pumps@nobody")
    assert code == 2
    assert "Model file models:/pumps@nobody does not exist." in err
    code, _, err = cli("train", *config, "--set", "model.path=models:/pumps@champion")
    assert code == 2
    assert "model.path is in MLflow's registry, which is read and not written to." in err


def test_mlflow_scores_by_it(place, engine):
    """As a pyfunc, and as a UDF of MLflow's own on Sail and on classic Spark: the library's scores."""
    import mlflow

    rows = pd.read_parquet(place / "pumps.parquet")
    ours = Detector.load("models:/pumps@champion").score(rows)["anomaly_score"].to_numpy()
    model = mlflow.pyfunc.load_model("models:/pumps@champion")
    np.testing.assert_array_equal(model.predict(rows)["anomaly_score"].to_numpy(), ours)
    score = mlflow.pyfunc.spark_udf(
        engine, "models:/pumps@champion", result_type="anomaly_score double, is_anomaly boolean", env_manager="local"
    )
    names = model.metadata.get_input_schema().input_names()
    frame = engine.createDataFrame(rows)
    scored = frame.select("id", score(*(frame[name].cast("double") if name in ("flow", "pressure") else frame[name]
                                        for name in names)).alias("own")).select("id", "own.anomaly_score")  # fmt: skip
    found = scored.toPandas().sort_values("id")["anomaly_score"].to_numpy()
    np.testing.assert_allclose(found, ours, rtol=1e-9)


def test_a_version_that_is_refused_gets_no_alias(place, cli, client):  # noqa: F811
    """A closed gate ends MLflow's run as failed, with the message, and the version in use stays the one it was."""
    limit = ["--set", "train.accept_if.max_share_flagged=0.0001", "--set", "train.seed=5"]
    code, _, err = cli("train", "--config", place / "pumps.yaml", *limit, "--set", "decision.false_alarm_rate=0.2")
    assert code == 3, err
    run = last(client)
    assert run.info.status == "FAILED"
    assert run.data.tags["vae_anomaly.status"] == "gated"
    assert run.data.tags["vae_anomaly.gate"] == "train.accept_if.max_share_flagged"
    assert str(client.get_model_version_by_alias("pumps", "champion").version) == "1"


def test_a_second_training_moves_the_alias(place, cli, client):  # noqa: F811
    """And the first version is still there."""
    code, _, err = cli("train", "--config", place / "pumps.yaml", "--set", "train.seed=3")
    assert code == 0, err
    assert str(client.get_model_version_by_alias("pumps", "champion").version) == "2"
    assert Detector.load("models:/pumps/1").to_bytes() != Detector.load("models:/pumps@champion").to_bytes()


def test_a_job_that_fails_is_failed_there_too(place, cli, client):  # noqa: F811
    """With the message a person gets."""
    code, _, _ = cli("score", "--config", place / "pumps.yaml", "--set", "source.where=no_such = 1")
    assert code == 2
    run = last(client)
    assert run.info.status == "FAILED"
    assert "no_such" in run.data.tags["vae_anomaly.message"]


def test_where_mlflow_is_not_there_nothing_is_done(place):
    """One message within seconds, before any work, and what a scheduler may try again."""
    there = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}

    def job(command, *options):
        arguments = [sys.executable, "-m", "vae_model.cli", command, "--config", "pumps.yaml", *options]
        return subprocess.run(arguments, env=clean_environment(**there), capture_output=True, text=True, check=False)

    ended = job("run", "--set", "output.path=none")
    assert ended.returncode == 4
    assert "MLflow cannot be told of this run, of the experiment 'readings'." in ended.stderr
    assert "MLFLOW_TRACKING_URI says where MLflow is, now http://127.0.0.1:9" in ended.stderr
    assert not (place / "none").exists()
    ended = job("score", "--set", "model.path=models:/pumps@champion")
    assert ended.returncode == 4
    assert "MLFLOW_TRACKING_URI" in ended.stderr


def test_the_environment_is_as_it_was(place, cli):  # noqa: F811
    """What makes MLflow give up sooner is taken back, and nobody's own run of MLflow is ended."""
    import mlflow

    mlflow.set_experiment("mine")
    with mlflow.start_run() as own:
        before = dict(os.environ)
        code, _, err = cli("train", "--config", place / "pumps.yaml")
        assert code == 0, err
        assert mlflow.active_run().info.run_id == own.info.run_id
        assert dict(os.environ) == before


def test_the_place_of_runs_is_no_part_of_a_model(place):
    """Neither of its bytes nor of a run's id: the same training gives the same model with tracking and without."""
    text = {"name": "pumps", "source": {"path": "x"}, "model": {"path": "m"}}
    tracked = parse_config({**text, "tracking": {"mlflow": {"experiment": "a"}}})
    assert tracked.digest == parse_config(text).digest
    (own,) = json.loads(json.dumps([tracked.tracking.model_dump()]))
    assert own == {"mlflow": {"experiment": "a", "model": None, "alias": "champion"}, "openlineage": None}

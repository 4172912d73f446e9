"""Training into a folder of versions, on every engine: what is added, what is taken into use, what scores."""

import pytest

from tests.spark.jobs.scoring import run_score
from tests.spark.jobs.test_jobs import job
from vae_model import Detector
from vae_model.errors import ConfigError, GateClosed, ModelFileError, OutputError
from vae_model.runs.versions import CURRENT, Versions
from vae_model.spark import frames
from vae_model.spark.jobs.train import run_train
from vae_model.spark.jobs.validate import validate
from vae_model.spark.sinks.reading import read_output

pytestmark = pytest.mark.slow


@pytest.fixture
def training(path, tmp_path):
    """A job whose model is a folder of versions; more of its sections as they are given."""
    folder = f"{tmp_path}/models/"

    def make(steps=60, version="current", keep=10, **changes):
        model = {"path": folder, "steps": steps, "version": version, "keep": keep}
        return job(path, tmp_path, model=model, **changes)

    return make


def test_each_training_adds_a_version_and_what_scores_is_the_current_one(engine, training, tmp_path):
    """Two models are two versions, the same one again is none; the output names the one whose file there is."""
    first, second = (run_train(engine, training(steps)) for steps in (40, 60))
    kept = Versions(str(tmp_path / "models"))
    assert [version.number for version in kept.listed()] == [1, 2]
    assert run_train(engine, training(60)).to_bytes() == second.to_bytes()
    assert len(kept.listed()) == 2 and kept.current().number == 2
    for wanted, expected in (("current", second), (1, first)):
        config = training(version=wanted, decision={"false_alarm_rate": 0.1})
        run_score(engine, config, Detector.load(config.model.path, config.model.version))
        names = frames.to_arrow(read_output(engine, config.output).select("anomaly_model").distinct())
        assert names.column(0).to_pylist() == [expected.scorer.name]
        digits = expected.scorer.name.partition("@")[2]
        assert Detector.load(config.model.path, digits).to_bytes() == expected.to_bytes()


def test_a_worse_version_is_listed_but_not_used(on_sail, training, tmp_path):
    """A candidate that the held-out rows speak against is there to look at; the current version stays."""
    kept = Versions(str(tmp_path / "models"))

    def train(*arguments, **changes):
        return on_sail(lambda spark: run_train(spark, training(*arguments, **changes)))

    limits = {"normal": "id >= 20", "accept_if": {"max_score_loss": 0.05}}
    train(200, train=limits)
    with pytest.raises(GateClosed, match=r"000002-\w+\.vae is not taken into use: mixed@\w+ stays. On \d+ ") as no:
        train(1, train=limits)
    assert (no.value.gate, no.value.limit) == ("train.accept_if.max_score_loss", 0.05) and no.value.number > 0.05
    assert len(kept.listed()) == 2 and kept.current().number == 1
    train(1, train={"normal": "id >= 20"})
    assert kept.current().number == 2
    with pytest.raises(GateClosed, match=r"it flags \d\.\d+% of them, the current version"):
        train(70, train={"normal": "id >= 20", "accept_if": {"max_share_flagged": 0.0001}})
    assert kept.current().number == 2
    train(200, train=limits)
    assert kept.current().number == 1 and "nats a value" in kept.current().by


def test_a_current_version_that_cannot_be_used_is_no_measure(on_sail, training, tmp_path, caplog):
    """Where it was damaged, or is of an older format, the next version is taken into use: nothing else could score."""
    kept = Versions(str(tmp_path / "models"))
    on_sail(lambda spark: run_train(spark, training(40)))
    (tmp_path / "models" / kept.current().file).write_bytes(b"")
    limits = {"normal": "id >= 20", "accept_if": {"max_score_loss": 0}}
    on_sail(lambda spark: run_train(spark, training(50, train=limits)))
    assert kept.current().number == 2
    assert "cannot be used, and is no measure" in caplog.text


def test_a_damaged_current_file_stops_before_training(on_sail, training, tmp_path):
    """Nothing is trained and nothing added while nobody can say which version is in use."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / CURRENT).write_text("{")
    with pytest.raises(ModelFileError, match="does not say which version is in use"):
        on_sail(lambda spark: run_train(spark, training()))
    assert Versions(str(tmp_path / "models")).listed() == []


def test_older_versions_are_removed(on_sail, training, tmp_path):
    """``model.keep`` versions are left, and the pinned one."""
    for steps in (10, 11):
        on_sail(lambda spark, steps=steps: run_train(spark, training(steps, keep=2)))
    for steps in (12, 13, 14):
        on_sail(lambda spark, steps=steps: run_train(spark, training(steps, keep=2, version=1)))
    assert [version.number for version in Versions(str(tmp_path / "models")).listed()] == [1, 4, 5]


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"version": 7}, ConfigError, "model.path is one file"),
        ({"path": "{source}/../taken/"}, OutputError, "cannot be written"),
    ],
)
def test_what_cannot_hold_a_version_stops_before_training(on_sail, path, tmp_path, changes, error, words):
    """A version of one file, and a folder's path where a file is."""
    (tmp_path / "taken").write_bytes(b"")
    changes = {key: value.format(source=path) if key == "path" else value for key, value in changes.items()}
    config = job(path, tmp_path, model={"path": str(tmp_path / "m.vae"), **changes})
    with pytest.raises(error, match=words):
        on_sail(lambda spark: run_train(spark, config))


def test_validate_says_which_version_would_score(on_sail, training, tmp_path):
    """No version yet, the current one, a pinned one, or that the pinned one is not there."""

    def lines(**changes):
        return "\n".join(on_sail(lambda spark: list(validate(spark, training(**changes)))))

    assert f"model   none yet at {tmp_path}/models/" in lines()
    assert not (tmp_path / "models").exists()
    first, second = (on_sail(lambda spark, s=steps: run_train(spark, training(s))) for steps in (10, 11))
    assert f"model   ok: {second.scorer.name}" in lines()
    assert f"model   ok: {first.scorer.name}" in lines(version=1)
    with pytest.raises(ModelFileError, match="no version 3"):
        lines(version=3)

"""The detector as an estimator of Spark ML: the scores of the library, in pipelines, saved and loaded."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.ml import Pipeline, PipelineModel

from tests.reliability.readings import days, pumps
from vae_model.config.load import parse_config
from vae_model.errors import ConfigError, ModelFileError, SchemaError
from vae_model.platforms.spark_ml import VAEAnomalyDetector, VAEAnomalyModel
from vae_model.spark import score, train
from vae_model.spark.frames import to_arrow

pytestmark = pytest.mark.slow

SETTINGS = {
    "name": "pumps", "key": ["id"], "features": {"include": ["flow", "pressure"]},
    "model": {"steps": 40, "hidden": [8], "codes": 8, "members": 1}, "decision": {"false_alarm_rate": 0.05},
}  # fmt: skip


@pytest.fixture
def frame(engine, tmp_path):
    """Readings of six days."""
    pq.write_table(pa.concat_tables(map(pumps, days(6))), tmp_path / "pumps.parquet")
    return engine.read.parquet(str(tmp_path / "pumps.parquet"))


def scores(scored, prefix=""):
    """The scores of a frame, in the order of the ids."""
    return to_arrow(scored.select("id", prefix + "anomaly_score")).sort_by("id").column(1).to_numpy()


def test_it_scores_as_the_library_does(frame):
    """The same model bytes, columns and scores; alone and as a stage of a pipeline, with a prefix."""
    model = VAEAnomalyDetector(**SETTINGS).fit(frame)
    detector = train(frame, parse_config(SETTINGS))
    assert model.detector.to_bytes() == detector.to_bytes()
    np.testing.assert_array_equal(scores(model.transform(frame)), scores(score(frame, detector)))
    fitted = Pipeline(stages=[VAEAnomalyDetector(prefix="x_", **SETTINGS)]).fit(frame)
    piped = fitted.transform(frame)
    added = score(frame, detector).columns[len(frame.columns) :]
    assert piped.columns == [*frame.columns, *("x_" + name for name in added)]
    np.testing.assert_array_equal(scores(piped, "x_"), scores(score(frame, detector)))


def test_parameters_are_the_configs(frame):
    """They are checked as the config is, copied with others in their place, and an unknown one is told."""
    model = VAEAnomalyDetector(**SETTINGS).setParams(name="other").fit(frame)
    assert model.detector.scorer.name.startswith("other@")
    other = model.copy({model.decision: {"threshold": 1e9}})
    assert other.transform(frame).where("is_anomaly").count() == 0 < model.transform(frame).where("is_anomaly").count()
    with pytest.raises(ConfigError, match="There is no parameter dicision"):
        VAEAnomalyDetector(dicision={})
    with pytest.raises(ConfigError, match=r"train\.rows"):
        VAEAnomalyDetector(train={"rows": 3}).fit(frame)
    with pytest.raises(TypeError, match="a section of the config is a dictionary"):
        VAEAnomalyDetector(train=3)
    with pytest.raises(ConfigError, match="This model is empty"):
        VAEAnomalyModel().transform(frame)
    with pytest.raises(SchemaError, match="pressure"):
        model.transform(frame.drop("pressure"))


@pytest.mark.parametrize("engine", [pytest.param(name, marks=marks) for name, marks in (
    ("spark", [pytest.mark.classic]), ("connect", [pytest.mark.classic, pytest.mark.connect]),
)], indirect=True)  # fmt: skip
def test_what_is_saved_is_loaded(frame, tmp_path):
    """Estimator, model, pipeline: parameters as JSON, the model file's bytes beside them; altered bytes are refused."""
    estimator = VAEAnomalyDetector(**SETTINGS)
    model = estimator.fit(frame)
    model.save(str(tmp_path / "model"))
    loaded = VAEAnomalyModel.load(str(tmp_path / "model"))
    assert loaded.detector.to_bytes() == model.detector.to_bytes()
    assert loaded.config() == model.config()
    np.testing.assert_array_equal(scores(loaded.transform(frame)), scores(model.transform(frame)))
    estimator.save(str(tmp_path / "estimator"))
    assert VAEAnomalyDetector.load(str(tmp_path / "estimator")).config() == estimator.config()
    Pipeline(stages=[estimator]).fit(frame).save(str(tmp_path / "pipeline"))
    piped = PipelineModel.load(str(tmp_path / "pipeline"))
    np.testing.assert_array_equal(scores(piped.transform(frame)), scores(model.transform(frame)))
    altered = model.copy()
    altered._data = model._data[:-1] + bytes([model._data[-1] ^ 1])
    altered.save(str(tmp_path / "altered"))
    with pytest.raises(ModelFileError):
        VAEAnomalyModel.load(str(tmp_path / "altered"))

"""Spark ML: the detector as an estimator, and the trained one as a transformer, for pipelines.

``VAEAnomalyDetector(key=["id"], decision={"false_alarm_rate": 0.01}).fit(frame).transform(frame)``. Parameters are
sections of the config, by its names (docs/config.md), checked as the config is. On classic Spark and Spark Connect both
can be saved and loaded, alone or in a ``Pipeline``; on Sail they fit and transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pyspark.ml import Estimator, Model
from pyspark.ml.param import Param, Params, TypeConverters
from pyspark.ml.util import DefaultParamsReadable, DefaultParamsReader, DefaultParamsWritable, DefaultParamsWriter

from vae_model.config.load import parse_config
from vae_model.detector import Detector
from vae_model.errors import ConfigError
from vae_model.spark import score, train

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from vae_model.config.config import Config

SECTIONS = ("features", "train", "model", "decision")
"""Of the config: what it says of places, runs and alerts is no matter of a pipeline."""


def _section(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"a section of the config is a dictionary, not {value!r}")
    return dict(value)


class _Settings(Params):
    """The parameters that both have."""

    name = Param(Params._dummy(), "name", "appears in anomaly_model", TypeConverters.toString)
    key = Param(Params._dummy(), "key", "columns that identify a row", TypeConverters.toListString)
    prefix = Param(Params._dummy(), "prefix", "put before the name of each added column", TypeConverters.toString)
    features = Param(Params._dummy(), "features", "section features of the config", _section)
    train = Param(Params._dummy(), "train", "section train of the config", _section)
    model = Param(Params._dummy(), "model", "section model of the config", _section)
    decision = Param(Params._dummy(), "decision", "section decision of the config", _section)

    def _take(self, values: Mapping[str, Any]) -> None:
        """Take what is given by name. Raises ConfigError for what is no parameter."""
        known = [param.name for param in self.params]
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(f"There is no parameter {unknown[0]}.", f"one of {', '.join(known)}", unknown[0])
        self._set(**{name: value for name, value in values.items() if value is not None})

    def config(self) -> Config:
        """The parameters as a config. Raises ConfigError where they are none."""
        own = {name: self.getOrDefault(name) for name in ("name", "key", *SECTIONS) if self.isSet(name)}
        return parse_config(own)

    def _prefix(self) -> str:
        return str(self.getOrDefault("prefix")) if self.isSet("prefix") else ""


class VAEAnomalyDetector(Estimator["VAEAnomalyModel"], _Settings, DefaultParamsReadable, DefaultParamsWritable):
    """Trains on a hash sample of the normal rows of a DataFrame (``train.normal``), as `vae-anomaly train` does."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__()
        self._take(parameters)

    def setParams(self, **parameters: Any) -> VAEAnomalyDetector:
        """Set parameters by name."""
        self._take(parameters)
        return self

    def _fit(self, dataset: DataFrame) -> VAEAnomalyModel:
        """Train. Raises what ``vae_model.spark.train`` raises."""
        trained = VAEAnomalyModel(train(dataset, self.config()).to_bytes())
        self._copyValues(trained)
        return trained


class VAEAnomalyModel(Model, _Settings, DefaultParamsReadable, DefaultParamsWritable):
    """A trained detector: ``transform`` adds the output columns as `vae-anomaly score` does but ``anomaly_run``."""

    def __init__(self, data: bytes | None = None) -> None:
        super().__init__()
        self._data = data

    @property
    def detector(self) -> Detector:
        """The detector, for all that has no DataFrame. Its decision is that of the parameters."""
        if self._data is None:
            hint = "VAEAnomalyDetector(…).fit(frame), or VAEAnomalyModel.load(path)."
            raise ConfigError("This model is empty.", hint=hint)
        detector = Detector.from_bytes(self._data)
        return detector.with_decision(self.config().decision) if self.isSet("decision") else detector

    def _transform(self, dataset: DataFrame) -> DataFrame:
        """Score. Raises SchemaError where a column is missing, retyped or taken."""
        return score(dataset, self.detector, self._prefix())

    def write(self) -> DefaultParamsWriter:
        """What saves the parameters, and beside them the model file's bytes: nothing is pickled."""
        return _Writer(self)

    @classmethod
    def read(cls) -> DefaultParamsReader[VAEAnomalyModel]:
        """What loads them."""
        return _Reader(cls)


class _Writer(DefaultParamsWriter):
    def saveImpl(self, path: str) -> None:
        super().saveImpl(path)
        rows = self.sparkSession.createDataFrame([(bytearray(self.instance._data or b""),)], "model binary")
        rows.coalesce(1).write.parquet(f"{path}/model")


class _Reader(DefaultParamsReader[VAEAnomalyModel]):
    def load(self, path: str) -> VAEAnomalyModel:
        found: VAEAnomalyModel = super().load(path)
        (row,) = self.sparkSession.read.parquet(f"{path}/model").collect()
        found._data = bytes(row["model"])
        _ = found.detector  # a file that was altered is told here
        return found

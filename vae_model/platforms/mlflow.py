"""MLflow: a run for each of ours, with parameters, metrics, record and report; models in its registry, and from there.

Where MLflow is, its own variables say: MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI. A model is there as a pyfunc whose
code is a file of this package and whose weights are our own model file: no pickle is written, and of what is read back
only the model file is taken (https://mlflow.org/docs/latest/ml/model/models-from-code/).
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from warnings import catch_warnings, simplefilter

import mlflow
from fsspec.spec import AbstractFileSystem
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.protos.databricks_pb2 import (
    INTERNAL_ERROR,
    INVALID_PARAMETER_VALUE,
    RESOURCE_DOES_NOT_EXIST,
    TEMPORARILY_UNAVAILABLE,
    ErrorCode,
)
from mlflow.tracking import MlflowClient
from mlflow.types.schema import Array, ColSpec, DataType, Schema

import vae_model
from vae_model.errors import StorageError

if TYPE_CHECKING:
    from vae_model.config.config import Config
    from vae_model.config.tracking import MLflow
    from vae_model.detector import Detector
    from vae_model.features.schema import Column
    from vae_model.runs.record import RunRecord

PACKAGE = Path(vae_model.__file__).parent
CODE = PACKAGE / "platforms" / "mlflow_model.py"
"""What MLflow runs of a model."""
FILE = "model.vae"
"""The model file among a model's artifacts."""
PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "fsspec",
    "threadpoolctl",
    "tenacity",
)
"""What the package needs to load a model and to score by it."""
AT_ONCE = 100
"""Parameters that MLflow takes at a time."""
LONGEST = 500
"""Letters of a parameter that every store of MLflow's takes."""
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Where the environment has no others: MLflow alone would ask a server that is not there for minutes."""
BUSY = [ErrorCode.Name(code) for code in (INTERNAL_ERROR, TEMPORARILY_UNAVAILABLE)]
MISSING = [ErrorCode.Name(code) for code in (RESOURCE_DOES_NOT_EXIST, INVALID_PARAMETER_VALUE)]
"""What MLflow says where there is no model, no version or no alias of a name."""
STATES = {"succeeded": "FINISHED", "skipped": "FINISHED", "gated": "FAILED", "failed": "FAILED"}
TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("integer", "float", "decimal"), DataType.double),
    "boolean": DataType.boolean,
    **dict.fromkeys(("string", "null"), DataType.string),
    **dict.fromkeys(("date", "timestamp"), DataType.datetime),
    "binary": DataType.binary,
    "array": Array(DataType.double),
}
"""MLflow's types of the families of columns. Whole numbers are doubles: MLflow refuses a long that may be missing."""


class MLflowRun:
    """Tells MLflow of a run."""

    name = "MLflow"

    def __init__(self, settings: MLflow, config: Config) -> None:
        self._settings, self._config = settings, config
        self._registered = settings.model or config.name
        self._run_id = ""
        self._version: Any = None

    def began(self, record: RunRecord) -> None:
        """Make a run of the experiment. Raises StorageError where MLflow cannot be reached, or refuses."""
        try:
            with _patient():
                self._client = MlflowClient()
                run = self._client.create_run(
                    _experiment(self._client, self._settings.experiment),
                    run_name=f"{record.name} {record.command}",
                    tags={"vae_anomaly.command": record.command, "vae_anomaly.version": vae_model.__version__},
                )
        except MlflowException as error:
            raise StorageError(
                f"MLflow cannot be told of this run, of the experiment {self._settings.experiment!r}.",
                found=str(error).partition("\n")[0],
                hint=f"MLFLOW_TRACKING_URI says where MLflow is, now {mlflow.get_tracking_uri()}. Without `tracking` "
                "in the config the run goes without it.",
                transient=getattr(error, "error_code", "") in BUSY,
            ) from None
        self._run_id = run.info.run_id
        own = self._config.model_dump(mode="json", exclude={"tracking": True}, exclude_none=True)
        params = [Param(key, value) for key, value in _flat(own)]
        for begin in range(0, len(params), AT_ONCE):
            self._client.log_batch(self._run_id, params=params[begin : begin + AT_ONCE])

    def reads(self, columns: Sequence[Column]) -> None:
        """Nothing: the config says what is read."""

    def trained(self, detector: Detector) -> None:
        """Log how training went, and make the model a new version of the registered one."""
        training = detector.header["training"]
        curve = [Metric("loss", loss, 0, int(step)) for step, loss in training.get("curve", ())]
        counts = ("rows", "trimmed", "calibration_rows", "steps")
        numbers = {f"training_{name}": training[name] for name in counts if name in training}
        self._client.log_batch(self._run_id, metrics=[*curve, *_metrics(numbers)])
        # What MLflow says to stdout is no part of what a job prints there.
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr), _patient(), catch_warnings():
            simplefilter("ignore")  # of an example, which our signature does without
            file = Path(folder) / FILE
            file.write_bytes(detector.to_bytes())
            with mlflow.start_run(run_id=self._run_id, nested=True):
                logged = mlflow.pyfunc.log_model(
                    name="model",
                    python_model=str(CODE),
                    artifacts={"model": str(file)},
                    code_paths=[str(PACKAGE)],
                    signature=signature(detector),
                    pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
                )
            self._version = mlflow.register_model(
                logged.model_uri, self._registered, tags={"vae_anomaly.model": detector.scorer.name}
            )

    def scores_by(self, detector: Detector) -> None:
        """Nothing: the record names the model."""

    def adopted(self, detector: Detector) -> None:
        """Give the new version the alias of the one in use."""
        if self._version is not None:
            self._client.set_registered_model_alias(self._registered, self._settings.alias, self._version.version)

    def ended(self, record: RunRecord, page: Callable[[], str | None]) -> None:
        """Log what came of the run, its record and its report."""
        with _patient():
            told = record.to_json()
            numbers = {name: value for name, value in told.items() if isinstance(value, (int, float, bool))}
            numbers |= {f"rows_{status}": count for status, count in (record.statuses or {}).items()}
            numbers |= {f"seconds_{stage.stage}": stage.seconds for stage in record.stages}
            texts = ("run_id", "status", "message", "model", "source_version", "slice", "output", "gate", "rejected")
            tags = [RunTag(f"vae_anomaly.{name}", str(told[name])[:5000]) for name in texts if told[name]]
            self._client.log_batch(self._run_id, metrics=_metrics(numbers), tags=tags)
            self._client.log_text(self._run_id, json.dumps(told, indent=2, ensure_ascii=False), "record.json")
            if (html := page()) is not None:
                self._client.log_text(self._run_id, html, "report.html")
            state = "KILLED" if record.message == "interrupted" else STATES[record.status]
            self._client.set_terminated(self._run_id, state)


class Registry(AbstractFileSystem):
    """Reads the model files of MLflow's registry by ``models:/name@alias`` or ``models:/name/version``."""

    protocol: ClassVar[str] = "models"
    cachable: ClassVar[bool] = False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("models:").strip("/")

    def isdir(self, path: str) -> bool:
        """False: a model there is one file to us."""
        return False

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """What is known of a model file before it is read: nothing, not even whether it is there."""
        return {"name": path, "size": None, "type": "file"}

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """The bytes of a model file. Raises FileNotFoundError where there is no such model, or it is none of ours."""
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr), _patient():
            try:
                found = mlflow.artifacts.download_artifacts(f"models:/{path}/artifacts/{FILE}", dst_path=folder)
            except (MlflowException, OSError) as error:
                if getattr(error, "error_code", "") in MISSING or isinstance(error, FileNotFoundError):
                    raise FileNotFoundError(path) from error
                raise
            return Path(found).read_bytes()[start:end]


def signature(detector: Detector) -> ModelSignature:
    """What a model takes and gives, as MLflow has it: each feature as a column that may be missing."""
    by = [name for name in detector.scorer.rule.by if name not in detector.spec.trained]
    columns = [(name, TYPES[own.family]) for name, own in detector.spec.trained.items()]
    outputs = ["reconstruction_error", "anomaly_score", "anomaly_p_value"]
    return ModelSignature(
        # Of columns that only say which segment a row is in the model does not know the types.
        inputs=None if by else Schema([ColSpec(type_, name, required=False) for name, type_ in columns]),
        outputs=Schema(
            [*(ColSpec(DataType.double, name) for name in outputs), ColSpec(DataType.boolean, "is_anomaly"),
             *(ColSpec(DataType.string, name) for name in ("anomaly_status", "anomaly_model"))]
        ),
    )  # fmt: skip


def _experiment(client: MlflowClient, name: str) -> str:
    if found := client.get_experiment_by_name(name):
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:
        if found := client.get_experiment_by_name(name):  # another run has made it just now
            return str(found.experiment_id)
        raise


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys with their sections before them, and values as text that MLflow takes."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif (text := str(value))[:LONGEST] == text:
            yield prefix + key, text
        else:
            yield prefix + key, text[: LONGEST - 1] + "…"


def _metrics(numbers: Mapping[str, Any]) -> list[Metric]:
    return [Metric(name, float(value), 0, 0) for name, value in numbers.items()]


@contextmanager
def _patient() -> Iterator[None]:
    added = {name: value for name, value in PATIENCE.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]

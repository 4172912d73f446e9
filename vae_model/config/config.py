"""The config file as frozen values: its sections, and what must hold between them."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import BeforeValidator, Field, model_validator

from vae_model.config.gates import Drift, Gates
from vae_model.config.section import Section
from vae_model.config.sections import Decision, Features, Model, Train
from vae_model.config.tables import Alerts, Output, Place, Runs, Source
from vae_model.config.tracking import Tracking
from vae_model.errors import ConfigError
from vae_model.places import identifiers


def _none_is_no_place(value: Any) -> Any:
    return None if value == "none" else value


NOT_IDENTITY: Any = {
    **dict.fromkeys(("engine", "runs", "drift", "gates", "tracking"), True),
    "source": {"partitions", "checkpoint_path"},
    "model": {"keep"},
    "train": {"accept_if"},
}
"""What a config says of how a run is done, and not of what it does: the same run may be done otherwise."""


class TrainJob(NamedTuple):
    """What a config must say to train."""

    source: Source
    model_path: str


class ScoreJob(NamedTuple):
    """What a config must say to score."""

    source: Source
    output: Output


class Config(Section):
    """One job: what to read, what normal is, where the model and the scored rows go."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)] = "model"
    """Name of the model; it appears in the output column anomaly_model."""
    engine: Literal["auto", "sail", "spark", "connect"] = "auto"
    """auto: the Spark session that is there, else SPARK_REMOTE, else the embedded engine (sail)."""
    source: Source | None = None
    """The table to train on and to score."""
    key: list[str] = Field(default_factory=list)
    """Columns that identify a row: carried through, never a feature."""
    features: Features = Features()
    """Which columns the model sees."""
    train: Train = Train()
    """The sample the model learns from."""
    model: Model = Model()
    """The model file and the network."""
    decision: Decision = Decision()
    """When a row is an anomaly."""
    output: Output | None = None
    """Where the scored rows go."""
    alerts: Alerts | None = None
    """Where the rows to look at go, a flat row each, and which of a run's rows they are. None by default."""
    drift: Drift = Drift()
    """How a run's rows are held against those that the model learnt from."""
    gates: Gates = Gates()
    """Limits beyond which a run's rows are not published."""
    runs: Annotated[Runs | None, BeforeValidator(_none_is_no_place)] = None
    """Where the record of each run goes. By default beside the output, as `<output>_runs`; `runs: none` keeps none."""
    tracking: Tracking = Tracking()
    """Who else is told of each run: MLflow, OpenLineage."""

    @model_validator(mode="after")
    def _keys_are_no_features(self) -> Self:
        both = sorted(set(self.key) & (set(self.features.include or ()) | set(self.features.kinds)))
        if both:
            raise ValueError(f"key columns cannot be features: {', '.join(both)}")
        return self

    @model_validator(mode="after")
    def _modes_have_what_they_need(self) -> Self:
        source, output = self.source, self.output
        if output is None:
            return self
        if output.mode == "merge" and not self.key:
            raise ValueError("output.mode merge needs 'key', the columns that identify a row")
        if output.mode == "replace_where" and (output.where or (source and source.where)) is None:
            raise ValueError("output.mode replace_where needs output.where, or source.where")
        if source and source.incremental and output.mode not in ("append", "merge"):
            raise ValueError(f"source.incremental goes with output.mode append or merge, and not with {output.mode}")
        if source and source.incremental and source.incremental.column and output.delete_missing:
            raise ValueError(
                "output.delete_missing needs source.incremental: {by: version}: no column says what is gone"
            )
        if source and source.incremental and source.incremental.lag and output.mode == "append" and not self.key:
            raise ValueError(
                "source.incremental.lag with output.mode append needs 'key', by which scored rows are known"
            )
        return self

    @model_validator(mode="after")
    def _series_can_be_followed(self) -> Self:
        if self.features.sequence and self.reads_late_rows:
            raise ValueError(
                "features.sequence goes with source.incremental: {column: …}, and not with by: version or lag: rows "
                "that come late change the windows of those after them, which are scored by then"
            )
        return self

    @model_validator(mode="after")
    def _key_once(self) -> Self:
        if twice := sorted({name for name in self.key if self.key.count(name) > 1}):
            raise ValueError(f"columns named twice in 'key': {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _alerts_have_what_they_need(self) -> Self:
        if self.alerts is not None and self.output is None:
            raise ValueError("alerts needs 'output', among whose rows they are")
        if self.alerts is not None and not self.key:
            raise ValueError("alerts needs 'key', the columns that say which row an alert is about")
        return self

    @model_validator(mode="after")
    def _gates_have_what_they_need(self) -> Self:
        if self.gates.needs_drift and not self.drift.rows:
            raise ValueError(f"gates.{self.gates.needs_drift[0]} needs drift.rows above 0: nothing is compared")
        return self

    @property
    def reads_late_rows(self) -> bool:
        """Whether what is new in the source may come before rows that were read."""
        how = self.source.incremental if self.source else None
        return how is not None and (how.by is not None or how.lag is not None)

    @property
    def rejected_output(self) -> Output | None:
        """Where the rows of a gated run go, as an output; None where they are not kept."""
        kept = self.gates.keep_rejected
        if kept is None or self.output is None:
            return None
        return Output(path=kept.path, table=kept.table, format=kept.format, prefix=self.output.prefix, allow_empty=True)

    @property
    def alerts_output(self) -> Output | None:
        """The alerts table as an output, written as that of the scored rows is; None where there is none. A Parquet
        folder whose slices are replaced is partitioned as the scored rows are.
        """
        if self.alerts is None or self.output is None:
            return None
        own, output = self.alerts, self.output
        is_sliced = own.format == "parquet" and output.mode == "replace_where"
        return Output(
            path=own.path,
            table=own.table,
            format=own.format,
            mode=output.mode,
            where=output.where,
            partition_by=output.partition_by if is_sliced else [],
            allow_empty=True,
        )

    @property
    def runs_place(self) -> Runs | None:
        """Where records of runs go; None where there is no such table."""
        if self.runs is not None or "runs" in self.model_fields_set or self.output is None:
            return self.runs
        if self.output.path is not None:
            return Runs(path=self.output.path.rstrip("/") + "_runs")
        *outer, last = identifiers.parts(self.output.table or "")
        return Runs(table=".".join(map(identifiers.quote, [*outer, last + "_runs"])))

    @model_validator(mode="after")
    def _the_model_has_a_place_of_its_own(self) -> Self:
        """Written to the source it would be the end of the rows, and in the output's folder it would go with it."""
        places: list[tuple[str, Place | None]] = [
            ("source.path", self.source),
            ("output.path", self.output),
            ("alerts.path", self.alerts),
            ("gates.keep_rejected.path", self.gates.keep_rejected),
        ]
        for key, place in places:
            if place is None or place.path is None or self.model.path is None:
                continue
            from vae_model.places import files  # brings fsspec, which `vae-anomaly --help` need not wait for

            taken, own = files.canonical(place.path), files.canonical(self.model.path)
            if own == taken or own.startswith(taken + "/"):
                raise ValueError(f"model.path must not lie at or within {key}")
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of what a run does, 64 hexadecimal digits, whatever is said of how it is done."""
        text = json.dumps(self.model_dump(mode="json", exclude=NOT_IDENTITY), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def for_reading(self) -> Source:
        """The source. Raises ConfigError where the config names none."""
        if self.source is None:
            raise self._lacks("source")
        return self.source

    def for_model(self) -> str:
        """Where the model is. Raises ConfigError where the config does not say."""
        if self.model.path is None:
            raise self._lacks("model.path")
        return self.model.path

    def for_training(self) -> TrainJob:
        """What training needs. Raises ConfigError naming all that is lacking, or where the model cannot be written."""
        if self.source is None or self.model.path is None:
            raise self._lacks("source", "model.path")
        if self.model.path.startswith("models:/"):
            raise ConfigError(
                "model.path is in MLflow's registry, which is read and not written to.",
                "a file (models/weather.vae) or a folder of versions (models/weather/) to train to",
                self.model.path,
                "With tracking: {mlflow: {experiment: …}} what is trained is registered in MLflow too.",
            )
        return TrainJob(self.source, self.model.path)

    def for_scoring(self) -> ScoreJob:
        """What scoring with a given model needs. Raises ConfigError naming all that is lacking."""
        if self.source is None or self.output is None:
            raise self._lacks("source", "output")
        return ScoreJob(self.source, self.output)

    def for_run(self) -> tuple[TrainJob, ScoreJob]:
        """What a run from source to model file to output needs. Raises ConfigError naming all that is lacking."""
        if self.source is None or self.model.path is None or self.output is None:
            raise self._lacks("source", "model.path", "output")
        return TrainJob(self.source, self.model.path), self.for_scoring()

    def _lacks(self, *paths: str) -> ConfigError:
        """The error that names those of some dotted keys that are not set."""
        values = {"source": self.source, "model.path": self.model.path, "output": self.output}
        missing = [path for path in paths if values[path] is None]
        return ConfigError(
            "The config lacks " + " and ".join(f"'{path}'" for path in missing) + ".",
            hint=f"Add {'it' if len(missing) == 1 else 'them'}. `vae-anomaly init` writes a complete example.",
        )

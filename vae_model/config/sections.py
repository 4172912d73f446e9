"""The config file as frozen values: every key, its default and its meaning stand here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vae_model.errors import ConfigError
from vae_model.places import credentials, identifiers

Share = Annotated[float, Field(gt=0, lt=1)]


class Holds(Enum):
    """What a string is to whoever reads it, where a value that is put into it must not change what it says."""

    SQL = auto()
    PATH = auto()
    TABLE = auto()


def _without_credentials(name: str) -> str:
    if credentials.within(name):
        raise ValueError(f"credentials do not belong here. {credentials.HINT}")
    return name


def _known_kind(name: Any) -> Any:
    from vae_model.features.kinds import KINDS  # brings pyarrow, which `vae-anomaly --help` need not wait for

    if isinstance(name, str) and name in KINDS:
        return name
    *others, last = map(repr, KINDS)
    raise PydanticCustomError("kind", "Input should be {expected}", {"expected": f"{', '.join(others)} or {last}"})


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _none_is_no_place(value: Any) -> Any:
    return None if value == "none" else value


TypeName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_(),<>: ]*$")]
"""The name of a type of Spark's, such as ``decimal(10,2)`` or ``array<double>``."""
KindName = Annotated[str, BeforeValidator(_known_kind)]
"""The name of a kind of feature."""
Name = Annotated[str, Field(min_length=1), AfterValidator(_without_credentials)]
"""A path or a table's name."""
PathName = Annotated[Name, Holds.PATH]
TableName = Annotated[Name, Holds.TABLE]
Predicate = Annotated[str, Holds.SQL]
"""A SQL condition over the columns of a table."""


class Section(BaseModel):
    """A group of keys: frozen, unknown keys refused, the line under each field is its documentation."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # pydantic's own text would show what may be a password
        serialize_by_alias=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_default(cls, values: Any) -> Any:
        """A key with nothing after it (`features:`) is as good as left out."""
        if not isinstance(values, Mapping):
            return values
        return {key: value for key, value in values.items() if value is not None or key not in cls.known_keys()}

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys of the section, as a config has them."""
        return [field.alias or name for name, field in cls.model_fields.items()]


class Place(Section):
    """A path or a table name: exactly one of the two."""

    path: PathName | None = None
    """Folder or file."""
    table: TableName | None = None
    """Name of the table: table, schema.table or catalog.schema.table; a part with a dot in it stands in backticks."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.table is None):
            raise ValueError("give either 'path' or 'table', one of the two")
        if self.table is not None:
            identifiers.parts(self.table)
        return self

    def __str__(self) -> str:
        return self.path or self.table or ""


Format = Literal["parquet", "delta", "orc", "csv", "json"]
"""A format of source files."""


class Incremental(Section):
    """What is new in a source: by the versions of a Delta table, or by a column that grows."""

    by: Literal["version"] | None = None
    """version: the rows of the commits to a Delta table since the last run."""
    column: str | None = None
    """Or a column of times or numbers: rows whose value is larger than any that was scored."""
    lag: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[smhd]?$"), BeforeValidator(_as_text)] | None = None
    """How late a row may come: so far below the largest value of `column` rows are looked for again, and those that
    were scored passed over. 90s, 15m, 1h or 2d of a time, a number of a column of numbers."""
    on_model_change: Literal["refuse", "rescore", "continue"] = "refuse"
    """Where the model is another than that of the last run: an error; everything scored anew; or only what is new."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.by is None) == (self.column is None):
            raise ValueError("give either 'by: version' or 'column', one of the two")
        if self.lag is not None and self.column is None:
            raise ValueError("'lag' goes with 'column'")
        return self


class Source(Place):
    """The table to train on and to score: its path, or its name, one of the two."""

    format: Format = "parquet"
    """Format of the files at `path`; a table knows its own."""
    options: dict[str, str] = Field(default_factory=dict)
    """Options of Spark's reader. Of CSV, separator, header and types are found out where they are not given here: {sep:
    ";", header: "true", nullValue: N/A, inferSchema: "false"}."""
    types: dict[str, TypeName] = Field(default_factory=dict, alias="schema")
    """Columns to read as a type of Spark's, such as {zip: string, price: "decimal(10,2)"}; the others are as found."""
    where: Predicate | None = None
    """SQL predicate: the rows to score. All rows by default."""
    partitions: PositiveInt | None = None
    """Spread the rows to score over so many tasks, by a shuffle. By default they are scored as they lie."""
    incremental: Incremental | None = None
    """Score only what is new since the last run that succeeded. All rows by default."""

    @field_validator("options", mode="before")
    @classmethod
    def _no_credentials(cls, options: Any) -> Any:
        """Refuse what looks like a credential, without its value."""
        if isinstance(options, Mapping):
            found = [str(name) for name, value in options.items() if credentials.is_secret(str(name))
                     or credentials.within(str(value))]  # fmt: skip
            if found:
                raise ValueError(f"credentials do not belong here: {', '.join(found)}. {credentials.HINT}")
        return options


class Features(Section):
    """Which columns the model sees, and as what. By default every column but the key, its kind inferred."""

    include: list[str] | None = Field(default=None, min_length=1)
    """The columns to use; all but the key when left out."""
    exclude: list[str] = Field(default_factory=list)
    """Columns to leave out of the model. They still pass through to the output."""
    kinds: dict[str, KindName] = Field(default_factory=dict)
    """Kinds set by hand: numeric, boolean, categorical, datetime or vector. For example {origin: categorical}."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        both = sorted(set(self.include or ()) & set(self.exclude))
        if both:
            raise ValueError(f"columns both included and excluded: {', '.join(both)}")
        idle = sorted(set(self.kinds) & set(self.exclude))
        if self.include is not None:
            idle += sorted(set(self.kinds) - set(self.include) - set(idle))
        if idle:
            raise ValueError(f"kinds are set for columns that are not features: {', '.join(idle)}")
        return self


class Train(Section):
    """The sample the model learns from."""

    normal: Predicate | None = None
    """SQL predicate for rows known to be normal. All rows by default."""
    rows: Annotated[int, Field(ge=100)] = 200_000
    """At most this many rows are brought to the driver, training and calibration together."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the sample, the initial weights and the batches."""
    calibration: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of the sample held out of training, to turn scores into p-values. Under 500 rows, each serves for both."""
    trim: Literal["auto"] | Annotated[float, Field(ge=0, le=0.5)] = "auto"
    """auto: gross errors of the sample are set aside, and rows far from most others are left out of training, as many
    as stand out. A number leaves out up to this share of the training rows instead, those farthest from most others. 0
    trusts every row: gross errors are kept too."""


class Model(Section):
    """The model file and the network's settings. Sizes left out follow from the number of columns."""

    path: PathName | None = None
    """The model file, one file, conventionally ending in .vae."""
    hidden: list[PositiveInt] | None = Field(default=None, min_length=1)
    """Widths of the encoder's hidden layers; the decoder mirrors them."""
    latent: PositiveInt | None = None
    """Number of latent dimensions, the same in every VAE."""
    members: Annotated[int, Field(ge=1, le=32)] = 2
    """Dense VAEs in the ensemble, trained together."""
    codes: Annotated[int, Field(ge=0, le=4096)] = 128
    """Codes of the codebook in the ensemble; fewer where rows are few. 0 for no codebook."""
    kl_weight: Annotated[float, Field(gt=0, le=10)] = 0.1
    """Weight of the KL term (1 is the plain ELBO)."""
    steps: PositiveInt | None = None
    """Optimiser steps; by default 300, fewer under 500 rows and more from 24,000 on."""
    batch_size: Annotated[int, Field(ge=8)] = 1024
    """Rows per step."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 4e-2
    """Peak of the learning-rate schedule."""


class Decision(Section):
    """When a row is called an anomaly: by a rate of false alarms, or by a fixed score, one of the two."""

    false_alarm_rate: Share = 0.001
    """Share of normal rows that may be flagged: a row is flagged when its p-value is at most this."""
    threshold: float | None = None
    """A fixed score instead: a row is flagged when its anomaly_score is at least this."""
    reasons: PositiveInt = 5
    """How many columns anomaly_reasons names at most. Reasons are given for flagged rows."""
    max_missing: Share = 0.5
    """A row with a larger share of its features missing is not scored (anomaly_status: too_many_missing)."""

    @model_serializer(mode="wrap")
    def _dump_one_rule(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = dump(self)
        values.pop("threshold" if self.threshold is None else "false_alarm_rate", None)
        return values

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if {"false_alarm_rate", "threshold"} <= self.model_fields_set and self.threshold is not None:
            raise ValueError("give either 'false_alarm_rate' or 'threshold', one of the two")
        return self


class Output(Place):
    """Where the scored rows go: a path, or the name of a table, one of the two."""

    format: Literal["delta", "parquet"] = "delta"
    """Format of the output."""
    mode: Literal["replace", "append", "replace_where", "merge"] = "replace"
    """replace: the output is this run's rows. append: they are added, in the place of those that the same run has added
    before. replace_where: they take the place of the rows that match `where`. merge: rows with the same key are
    updated, others added."""
    where: Predicate | None = None
    """SQL predicate over columns of the source: the rows of the output that a run with `replace_where` replaces. By
    default `source.where`."""
    partition_by: list[str] = Field(default_factory=list)
    """Columns that the output is partitioned by. `replace_where` on Parquet needs them."""
    allow_empty: bool = False
    """A run without rows empties what it would replace. By default it is an error that nothing is there to score."""
    delete_missing: bool = False
    """With `merge`: rows of the output whose key is gone from the source are removed."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_]*$")] = ""
    """Put before the name of each added column."""

    @model_validator(mode="after")
    def _keys_go_with_the_mode(self) -> Self:
        if self.where is not None and self.mode != "replace_where":
            raise ValueError(f"'where' goes with mode: replace_where, and not with {self.mode}")
        if self.delete_missing and self.mode != "merge":
            raise ValueError(f"'delete_missing' goes with mode: merge, and not with {self.mode}")
        return self


class Runs(Place):
    """The table of runs, a row each: what was scored, when, by which model, from which version of the source."""


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
    runs: Annotated[Runs | None, BeforeValidator(_none_is_no_place)] = None
    """Where the record of each run goes. By default beside the output, as `<output>_runs`; `runs: none` keeps none."""

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
        for key, place in (("source.path", self.source), ("output.path", self.output)):
            if place is None or place.path is None or self.model.path is None:
                continue
            from vae_model.places import files  # brings fsspec, which `vae-anomaly --help` need not wait for

            taken, own = files.canonical(place.path), files.canonical(self.model.path)
            if own == taken or own.startswith(taken + "/"):
                raise ValueError(f"model.path must not lie at or within {key}")
        return self

    def for_reading(self) -> Source:
        """The source. Raises ConfigError where the config names none."""
        if self.source is None:
            raise self._lacks("source")
        return self.source

    def for_training(self) -> TrainJob:
        """What training needs. Raises ConfigError naming all that is lacking."""
        if self.source is None or self.model.path is None:
            raise self._lacks("source", "model.path")
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
        return self.for_training(), self.for_scoring()

    def _lacks(self, *paths: str) -> ConfigError:
        """The error that names those of some dotted keys that are not set."""
        values = {"source": self.source, "model.path": self.model.path, "output": self.output}
        missing = [path for path in paths if values[path] is None]
        return ConfigError(
            "The config lacks " + " and ".join(f"'{path}'" for path in missing) + ".",
            hint=f"Add {'it' if len(missing) == 1 else 'them'}. `vae-anomaly init` writes a complete example.",
        )

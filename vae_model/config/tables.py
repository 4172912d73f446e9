"""Where rows are read from and written to: the source, the output, the table of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from vae_model.config.section import Count, PathName, Predicate, Section, Share, TableName, TypeName, as_text
from vae_model.places import credentials, identifiers


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


Format = Literal["parquet", "delta", "orc", "csv", "json", "binaryFile"]
"""A format of source files."""


class Incremental(Section):
    """What is new in a source: by the versions of a Delta table, or by a column that grows."""

    by: Literal["version"] | None = None
    """version: the rows of the commits to a Delta table since the last run."""
    column: str | None = None
    """Or a column of times or numbers: rows whose value is larger than any that was scored."""
    lag: Annotated[str, Field(pattern=r"^\d+(\.\d+)?[smhd]?$"), BeforeValidator(as_text)] | None = None
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
    """Format of the files at `path`; a table knows its own. `binaryFile`: a row a file, such as a folder of pictures,
    with the columns path, modificationTime, length and content."""
    options: dict[str, str] = Field(default_factory=dict)
    """Options of Spark's reader. Of CSV, separator, header and types are found out where they are not given here: {sep:
    ";", header: "true", nullValue: N/A, inferSchema: "false"}."""
    types: dict[str, TypeName] = Field(default_factory=dict, alias="schema")
    """Columns to read as a type of Spark's, such as {zip: string, price: "decimal(10,2)"}; the others are as found."""
    where: Predicate | None = None
    """SQL predicate: the rows to score. All rows by default."""
    partitions: Count | None = None
    """Spread the rows to score over so many tasks, by a shuffle. By default they are scored as they lie."""
    incremental: Incremental | None = None
    """Score only what is new since the last run that succeeded. All rows by default."""
    checkpoint_path: PathName | None = None
    """Where `score --stream` keeps how far the source was read. By default beside the output, as
    `<output.path>_checkpoint`; a table has no such place."""

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
    """Columns that the output is partitioned by when it is made. `replace_where` on Parquet needs them."""
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


class Alerts(Place):
    """The rows of each run to look at, one flat row an alert with its key, its rank and its reason. They are written as
    the output is, by `output.mode`. By default every flagged row is an alert.
    """

    format: Literal["delta", "parquet"] = "delta"
    """Format of the alerts table."""
    budget: Count | None = None
    """Of each run, so many of the flagged rows: those of the lowest p-values, and of equals of the highest scores."""
    fdr: Share | None = None
    """Or by a false-discovery rate: as many of a run's scored rows, flagged or not, as Benjamini and Hochberg's
    procedure takes by their p-values. At most this share of them are expected to be normal rows."""

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.budget is not None and self.fdr is not None:
            raise ValueError("give either 'budget' or 'fdr', one of the two")
        return self


class Runs(Place):
    """The table of runs, a row each: what was scored, when, by which model, from which version of the source."""

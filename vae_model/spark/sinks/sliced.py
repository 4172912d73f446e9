"""Slices of a Parquet folder: its partitions, and which files a run's take the place of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DateType, IntegralType, StringType, StructField, StructType

from vae_model.config.tables import Output
from vae_model.errors import OutputError
from vae_model.places import files, marks, staging
from vae_model.places.listing import NULL_PARTITION, partition_of
from vae_model.runs.identity import file_name
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, column, free_name, reason
from vae_model.spark.sinks.writing import Writing

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

Values = tuple[str | None, ...]
"""Of a partition: what stands in the names of its folders."""
NAMED = (StringType, IntegralType, DateType, BooleanType)
"""Types whose values can be the names of folders, and be read back from them on every engine."""


def check(frame: DataFrame, output: Output) -> None:
    """Raise OutputError where the columns cannot be partitioned by, the slice is not one of partitions, or the folder
    is partitioned otherwise.
    """
    types = {field.name: field.dataType for field in frame.schema.fields}
    for name in output.partition_by:
        is_odd = re.search(r"^[_.]|[=/]", name) or not (name.isascii() or engine_of(frame.sparkSession).can.any_path)
        if is_odd or not isinstance(types[name], NAMED):
            raise OutputError(
                f"A Parquet output cannot be partitioned by the column {name!r}.",
                "text, whole numbers, dates or booleans, and a name without = and / that does not begin with _ or . "
                "(on Sail, of ASCII letters alone)",
                types[name].simpleString(),
                "Partition by another column, or use output.format: delta.",
            )
    for name in output.partition_by:  # it would be a folder's name, which some readers take for null
        if isinstance(frame.schema[name].dataType, StringType) and not frame.where(column(name) == "").isEmpty():
            raise OutputError(
                f"A Parquet output cannot be partitioned by the column {name!r}.", "text or null", "an empty text",
                "Make it null or a word in a view, or use output.format: delta.",
            )  # fmt: skip
    _check_layout(output)
    if output.mode == "replace_where":
        _check_slice(output)


def _check_layout(output: Output) -> None:
    """A folder that is there must be partitioned by the same columns, unless it is replaced whole."""
    if output.mode == "replace" or files.present_format(output.path or "") is None:
        return
    at = staging.folder(output.path or "")
    for name in filter(staging.is_data, staging.contents(at)[0]):
        found = list(partition_of(name))
        if found != output.partition_by:
            raise OutputError(
                f"The output {output} is partitioned otherwise.",
                f"by {', '.join(output.partition_by) or 'nothing'} (output.partition_by)",
                f"by {', '.join(found) or 'nothing'}, as {name} is",
                "Set output.partition_by to what is there, or write the output anew with mode: replace.",
            )


def _check_slice(output: Output) -> None:
    """The slice's predicate must be one of the partition columns alone: whole folders are replaced."""
    if not output.partition_by:
        raise OutputError(
            "A slice of a Parquet output is replaced by its folders.",
            "output.partition_by: the columns of the slice",
            "no output.partition_by",
            "Set it, or use output.format: delta.",
        )


def check_predicate(frame: DataFrame, output: Output, predicate: str) -> None:
    """Raise OutputError where a slice's predicate needs more than the partition columns."""
    if found := needs_more(frame, output.partition_by, predicate):
        raise OutputError(
            "The slice of a Parquet output does not match output.partition_by.",
            f"a predicate over {', '.join(output.partition_by)} alone",
            found,
            "Partition by the columns of the slice, or use output.format: delta.",
        )


def needs_more(frame: DataFrame, names: Iterable[str], predicate: str) -> str:
    """What an engine says of a predicate that some columns alone do not answer; nothing where they do."""
    try:
        # A frame of its own: a filter after a select would find the other columns too.
        alone = frame.sparkSession.createDataFrame([], StructType([frame.schema[name] for name in names]))
        _ = alone.where(F.expr(predicate)).select(F.lit(1)).schema
    except ENGINE_ERRORS as error:
        return f"{predicate!r}: {reason(error)}"
    return ""


def as_folders(frame: DataFrame, partition_by: list[str]) -> DataFrame:
    """Rows whose partition columns are text, as their folders are to be called. Sail would take a null for a value."""
    within = set(partition_by)
    return frame.select(*(_as_folder(name) if name in within else column(name) for name in frame.columns))


def _as_folder(name: str) -> Column:
    return F.coalesce(column(name).cast("string"), F.lit(NULL_PARTITION)).alias(name)


def replaced(frame: DataFrame, writing: Writing, at: staging.Folder, staged: str) -> Callable[[str], bool]:
    """Which files of a folder a run's take the place of, by their paths in it."""
    if writing.mode == "replace":
        return lambda name: name != staging.STAMP  # what other writers leave beside their rows goes with them
    if writing.mode == "append":
        own = re.compile(rf"(?:.*/)?{marks.MARK}-{file_name(writing.stamp.run)}-[^/]*")
        return lambda name: bool(own.fullmatch(name))
    inside = [*staging.contents(at)[0], *(str(file).removeprefix(f"{staged}/") for file in at.fs.find(staged))]
    known = _in_slice(frame, writing, filter(staging.is_data, inside))

    def is_in_slice(file: str) -> bool:
        if not staging.is_data(file):
            return False
        values = _values(file, writing.output.partition_by)
        if values not in known:  # another run's, which came meanwhile
            known.update(_in_slice(frame, writing, [file]))
        return known[values]

    return is_in_slice


def _values(file: str, names: Iterable[str]) -> Values:
    found = partition_of(file)
    return tuple(found.get(name) for name in names)


def _in_slice(frame: DataFrame, writing: Writing, names: Iterable[str]) -> dict[Values, bool]:
    """Of the partitions of some files, by their values, whether they are in the slice; the engine says so."""
    columns = writing.output.partition_by
    partitions = sorted({_values(name, columns) for name in names}, key=str)
    if not partitions:
        return {}
    schema = StructType([StructField(name, StringType()) for name in columns])
    typed = [column(name).cast(frame.schema[name].dataType).alias(name) for name in columns]
    given = frame.sparkSession.createDataFrame([(*values,) for values in partitions], schema)
    number = free_name(columns, "__number")
    spans = given.select(*typed, *(column(name).alias(f"{number}{i}") for i, name in enumerate(columns)))
    matching = spans.where(F.expr(f"({writing.where}\n) IS TRUE"))
    found = {tuple(row) for row in matching.select(*(f"{number}{i}" for i in range(len(columns)))).collect()}
    return {values: values in found for values in partitions}

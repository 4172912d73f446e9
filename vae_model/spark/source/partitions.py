"""Columns that stand in the names of a table's folders, as Hive lays tables out: ``year=2023/part.parquet``.

A name is text. Which type a column of names has is decided here, much as Spark does it, and is the same on each engine
(https://spark.apache.org/docs/latest/sql-data-sources-parquet.html#partition-discovery): whole numbers, fractions,
dates, or else text. Where a number's type would not keep all digits it stays text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from vae_model.config.tables import Source
from vae_model.errors import SchemaError, SourceError
from vae_model.places.files import for_engine
from vae_model.places.listing import NULL_PARTITION, DataFile, Listing
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DIGITS = 15
"""So many a double keeps."""
MAX_FOLDERS = 100
"""Folders that are read one by one, where an engine forgets their names."""
Load = Callable[[Sequence[str], Sequence[str], Mapping[str, str]], "DataFrame"]
"""Reads some paths; beside the files' own columns, these from the folders' names, as text; with these options more."""


def _is_double(value: str) -> bool:
    return bool(re.fullmatch(r"-?(\d+\.\d*|\.\d+|\d+)", value)) and sum(map(str.isdigit, value)) <= DIGITS


def _is_date(value: str) -> bool:
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", value)) and bool(date.fromisoformat(value))
    except ValueError:
        return False


_RULES: tuple[tuple[Callable[[str], object], str], ...] = (
    (lambda value: re.fullmatch(r"-?\d{1,10}", value) and abs(int(value)) < 2**31, "int"),
    (lambda value: re.fullmatch(r"-?\d{1,19}", value) and abs(int(value)) < 2**63, "bigint"),
    (_is_double, "double"),
    (_is_date, "date"),
)
"""What all names must be for a type; the first that fits is taken."""


def _has_other_folders(files: Sequence[DataFile]) -> bool:
    """Whether files lie in folders that stand for no value: not every engine looks into these by itself."""
    return any("=" not in step for file in files for step in posixpath.dirname(file.inside).split("/") if step)


def check(source: Source, listing: Listing) -> None:
    """Raise SourceError where some files lie in such folders and others do not, or in others."""
    names = {tuple(file.partition): file for file in listing.files} if listing.partition_columns else {}
    if len(names) > 1:
        one, other = list(names.values())[:2]
        raise SourceError(
            f"The files of {source} lie in folders of different columns.",
            f"the columns of {posixpath.dirname(one.inside) or 'the folder itself'} for all, as for {one.inside}",
            other.inside,
            "Move the others elsewhere, or name those of one kind by a pattern.",
        )


def types(listing: Listing) -> dict[str, str]:
    """Each such column's type, in Spark's words."""
    values: dict[str, set[str]] = {name: set() for name in listing.partition_columns}
    for file in listing.files:
        for name, value in file.partition.items():
            values[name] |= set() if value is None else {value}
    return {name: _type(sorted(found)) for name, found in values.items()}


def _type(values: Sequence[str]) -> str:
    return next((type_ for fits, type_ in _RULES if values and all(map(fits, values))), "string")


def typed(frame: DataFrame, listing: Listing) -> DataFrame:
    """A DataFrame whose columns from the folders' names have their types, and nulls where Hive means them."""
    wanted = types(listing)
    if not wanted:
        return frame
    found = dict(frame.dtypes)
    nulls = {name for file in listing.files for name, value in file.partition.items() if value is None}

    def one(name: str) -> Column:
        if name not in wanted or (found[name] == wanted[name] and name not in nulls):
            return column(name)
        # As text first: where the engine has taken the folder of nulls for a value, nothing else can hold it.
        text = column(name).cast("string")
        return F.when(text != NULL_PARTITION, text).cast(wanted[name]).alias(name)

    return frame.select(*map(one, frame.columns))


def load(spark: SparkSession, source: Source, listing: Listing, files: Sequence[DataFile], read: Load) -> DataFrame:
    """Some files of a table, with the text of their folders' names as columns."""
    literal = engine_of(spark).literal
    folders, urls = listing.partition_columns, [literal(listing.url(file)) for file in files]
    root = for_engine(listing.root) if listing.is_pattern else literal(for_engine(listing.root))
    if len(listing.files) == 1 and not folders:
        return read(urls, (), {})
    if len(files) == len(listing.files) and not _has_other_folders(files):
        return read([root], folders, {})
    if not folders:
        return read(urls, (), {})
    if engine_of(spark).can.base_path:
        return read(urls, folders, {"basePath": root})
    by_folder: dict[str, list[int]] = {}
    for i, file in enumerate(files):
        by_folder.setdefault(posixpath.dirname(file.inside), []).append(i)
    if len(by_folder) > MAX_FOLDERS:
        raise SchemaError(
            f"The files of {source} differ in their columns, in too many folders for this engine.",
            f"at most {MAX_FOLDERS} folders, or the same columns everywhere",
            f"{len(by_folder)} folders",
            "Bring the files into one schema, or use engine: spark.",
        )
    frames = []
    for those in by_folder.values():
        names = files[those[0]].partition.items()
        own = read([urls[i] for i in those], (), {})
        frames.append(own.select("*", *(F.lit(value).cast("string").alias(name) for name, value in names)))
    return reduce(lambda one, other: one.unionByName(other), frames)

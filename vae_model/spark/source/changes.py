"""The rows that the commits to a Delta table have added or changed since a version of it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    IntegralType,
    MapType,
    StringType,
    StructField,
    StructType,
)

from vae_model.errors import EngineError
from vae_model.places import files
from vae_model.places.delta_log import File, Metadata
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, column, free_name, reason

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)

FEED = "delta.enableChangeDataFeed"
_PHYSICAL = "delta.columnMapping.physicalName"
_WIDENED = "delta.typeChanges"
_PLAIN = (StringType, IntegralType, DateType, BooleanType, DecimalType)
"""Types whose values stand in the log, as partitions, in one way."""


class Feed(NamedTuple):
    """What the change data feed of a table says."""

    rows: DataFrame
    """The rows as they are now."""
    gone: DataFrame
    """The rows that are no more."""
    updated: int
    deleted: int


def feed(spark: SparkSession, folder: str, after: int, last: int, key: list[str]) -> Feed | None:
    """By the change data feed; None where it was not on all the time. Without a key only inserted rows are told."""
    reader = spark.read.format("delta").option("readChangeFeed", "true")
    try:
        told = reader.option("startingVersion", after + 1).option("endingVersion", last).load(files.for_engine(folder))
        counted = dict(map(tuple, told.groupBy("_change_type").count().collect()))
    except ENGINE_ERRORS as error:
        log.debug("No change data feed of %s: %s", folder, reason(error))
        return None
    names = [name for name in told.columns if name not in ("_change_type", "_commit_version", "_commit_timestamp")]
    is_gone = F.col("_change_type") == "delete"
    told = told.where("_change_type <> 'update_preimage'")
    if key:  # the last change of a key counts; rows of one key and one commit are told as they are
        rank = free_name(told.columns, "__rank")
        latest = Window.partitionBy(*map(column, key)).orderBy(F.col("_commit_version").desc(), is_gone)
        told = told.withColumn(rank, F.rank().over(latest)).where(column(rank) == 1)
    plain = [column(name) for name in names]
    updated, deleted = counted.get("update_postimage", 0), counted.get("delete", 0)
    return Feed(told.where(~is_gone).select(*plain), told.where(is_gone).select(*plain), updated, deleted)


def read(spark: SparkSession, folder: str, found: Sequence[File], about: Metadata) -> DataFrame:
    """The rows of some files of a table: by the files, or by the engine where only that can read them as they are.

    Raises EngineError where this engine cannot.
    """
    schema = StructType.fromJson(about.schema)
    within = [field for field in schema.fields if field.name in about.partition_by]
    has_vectors = any(file.vector for file in found)
    if found and (
        has_vectors or _WIDENED in json.dumps(about.schema) or not all(isinstance(f.dataType, _PLAIN) for f in within)
    ):
        return _by_engine(spark, folder, found, schema)
    groups: dict[str, list[str]] = {}
    for file in found:
        groups.setdefault(json.dumps(file.partition, sort_keys=True), []).append(place(folder, file))
    parts = [_part(spark, paths, json.loads(text), schema, about) for text, paths in groups.items()]
    plain = StructType([StructField(field.name, field.dataType) for field in schema.fields])
    return reduce(lambda one, other: one.union(other), parts) if parts else spark.createDataFrame([], plain)


def place(folder: str, file: File) -> str:
    """Where a file lies."""
    return file.path if re.match(r"[\w+.-]+:/", file.path) else f"{folder}/{file.path}"


def _part(
    spark: SparkSession, paths: list[str], values: dict[str, str | None], schema: StructType, about: Metadata
) -> DataFrame:
    """The rows of files of one partition. In the files columns may have names of their own, and those are missing that
    the table got later.
    """
    physical = {field.name: (field.metadata or {}).get(_PHYSICAL, field.name) for field in schema.fields}
    inside = StructType([field for field in schema.fields if field.name not in about.partition_by])
    literal = engine_of(spark).literal
    rows = spark.read.schema(_physical(inside)).parquet(*(literal(files.for_engine(path)) for path in paths))
    given = [
        (F.lit(values.get(own) or None) if field.name in about.partition_by else column(own))
        .cast(field.dataType)  # by position: the fields of a struct may have names of their own too
        .alias(field.name)
        for field in schema.fields
        for own in (physical[field.name],)
    ]
    return rows.select(*given)


def _physical(type_: DataType) -> DataType:
    """A type as the files have it, by what the log says of its columns; all may be null."""
    if isinstance(type_, StructType):
        names = [(field.metadata or {}).get(_PHYSICAL, field.name) for field in type_.fields]
        return StructType(
            [StructField(name, _physical(field.dataType)) for name, field in zip(names, type_.fields, strict=True)]
        )
    if isinstance(type_, ArrayType):
        return ArrayType(_physical(type_.elementType))
    if isinstance(type_, MapType):
        return MapType(_physical(type_.keyType), _physical(type_.valueType))
    return type_


def _by_engine(spark: SparkSession, folder: str, found: Sequence[File], schema: StructType) -> DataFrame:
    """By the engine's own reading of the versions that have the files."""
    if not engine_of(spark).can.history:
        raise EngineError(
            f"{engine_of(spark).name} cannot tell the new rows of {folder}.",
            "files that hold rows as they are",
            "deletion vectors, widened columns, or partitions by other types than text, whole numbers and dates",
            "Use source.incremental: {column: …}, or engine: spark.",
        )
    parts = []
    for version in sorted({file.seen for file in found}):
        names = [file.path.rpartition("/")[2] for file in found if file.seen == version]
        whole = spark.read.format("delta").option("versionAsOf", version).load(files.for_engine(folder))
        rows = whole.where(F.col("_metadata.file_name").isin(*names))
        there = {*whole.columns}
        parts.append(rows.select(*(
            (column(f.name) if f.name in there else F.lit(None)).cast(f.dataType).alias(f.name) for f in schema.fields
        )))  # fmt: skip
    return reduce(lambda one, other: one.union(other), parts)

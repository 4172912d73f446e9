"""Parquet sources: what the files' footers know is read first, so that every engine gives the same columns and values.

A folder whose files agree, and have only types that the engine reads as they are, is left to the engine. Else it is
given a schema, or the files of one schema at a time, which are put together by the columns' names. What it cannot read
in any way is copied first (``rewriting``).
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import reduce
from typing import TYPE_CHECKING, get_args

import pyarrow as pa
import pyarrow.types as pat
from pyspark.sql import functions as F
from pyspark.sql.types import LongType, NullType, StringType, StructType

from vae_model.config.tables import Format, Source
from vae_model.config.text import quoted
from vae_model.errors import SchemaError, SourceError
from vae_model.places.files import exists, format_of_name
from vae_model.places.identifiers import quote
from vae_model.places.listing import DataFile, Listing
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import column, from_arrow
from vae_model.spark.source import partitions
from vae_model.spark.source.arrow_types import in_words, widest
from vae_model.spark.source.footers import Field, Way, fields, finer_than_microseconds, ways
from vae_model.spark.source.names import check_names
from vae_model.spark.source.rewriting import rewritten
from vae_model.spark.source.told import tell

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

AT_ONCE = 16
"""Footers that are read at a time."""
FOOTERS, SOME = 5000, 1000
"""Of a table of more files than the first, the footers of about as many as the second are read, evenly spread, and all
of them only where those differ."""
MAX_GROUPS = 100
"""Different schemas among the files of one table, at most."""

DEFAULTS = {"datetimeRebaseMode": "CORRECTED", "int96RebaseMode": "CORRECTED"}
"""Options of Spark's reader, where the config has no others. Spark 3 would refuse days before 1582 of files that do not
say which calendar they are in: today's, for Spark 2, whose was another, does say so."""

Groups = Mapping[tuple[Field, ...], Sequence[DataFile]]
"""The files of each schema."""


def read(spark: SparkSession, source: Source, listing: Listing) -> DataFrame:
    """The files as a DataFrame. Raises SourceError where a file cannot be read, SchemaError where a column cannot."""
    if not listing.is_pattern and exists(f"{listing.root.rstrip('/')}/_delta_log"):
        raise SourceError(
            f"The parquet source at {source} is a Delta table.",
            found="a folder _delta_log: files that the table no longer has would be read too",
            hint="Set source.format: delta.",
        )
    groups = _groups(spark, source, listing)
    types = _types(source, listing, groups)
    names = [*types, *listing.partition_columns]
    frames = []
    for own, files in groups.items():
        frame = _read_group(spark, source, listing, own, files)
        frame = partitions.typed(frame, listing)
        frames.append(_as_one(frame, names, types if len(groups) > 1 else _of_nulls(own)))
        _tell_losses(spark, source, listing, own, files[0])
    if len(groups) > 1:
        tell(spark, logging.INFO, "The files of %s differ; they are put together by their columns' names: %s",
             source, _differences(groups, types))  # fmt: skip
    return reduce(lambda one, other: one.unionByName(other), frames)


def _groups(spark: SparkSession, source: Source, listing: Listing) -> Groups:
    """Which files have which columns."""
    files = [file for file in listing.files if file.size]
    for file in listing.files:
        if not file.size:
            tell(spark, logging.WARNING, "%s: %s is empty, not even Parquet, and is passed over", source, file.inside)
    if not files:
        raise SourceError(f"The parquet source at {source} cannot be opened.", found="only files without a byte")
    some = files[:: len(files) // SOME] if len(files) > FOOTERS else files
    groups = _footers(source, listing, some)
    if len(groups) == 1:
        return dict.fromkeys(groups, files)
    if len(some) < len(files):
        groups = _footers(source, listing, files)
    if len(groups) > MAX_GROUPS:
        raise SchemaError(
            f"The files of {source} are of too many kinds to be one table.",
            f"at most {MAX_GROUPS} different schemas",
            f"{len(groups)} in {len(files)} files",
            "Bring them into one schema, or name those of one by a pattern: source.path: folder/part-*.parquet.",
        )
    return groups


def _footers(source: Source, listing: Listing, files: Sequence[DataFile]) -> Groups:
    def read_one(file: DataFile) -> tuple[Field, ...]:
        try:
            with listing.opened(file) as opened:
                return fields(opened)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(source, listing, file, error) from None

    groups: dict[tuple[Field, ...], list[DataFile]] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for file, own in zip(files, pool.map(read_one, files), strict=True):
            groups.setdefault(own, []).append(file)
    return groups


def _unreadable(source: Source, listing: Listing, file: DataFile, error: Exception) -> SourceError:
    """The error for a file that is no Parquet, or broken."""
    there = format_of_name(file.inside)
    hint = f"It looks like {there}: check source.format." if there in get_args(Format) else ""
    if len(listing.files) > 1:
        hint += (
            " Move the file elsewhere, or write it again; or name the others by a pattern, such as "
            f"source.path: {posixpath.join(str(source), '*.parquet')}."
        )
    return SourceError(
        f"The parquet source at {source} cannot be opened: {file.inside} is no Parquet file that can be read.",
        "Parquet files, and beside them only names that begin with _ or a dot",
        str(error).partition("\n")[0][:300],
        hint.strip() or "Write it again, or check source.format.",
    )


def _types(source: Source, listing: Listing, groups: Groups) -> dict[str, DataType]:
    """Each column's type in the table, in the order of the first file that has it. Raises SchemaError."""
    found: dict[str, list[tuple[Field, DataFile]]] = {}
    for own, files in groups.items():
        check_names([field.name for field in own])
        for field in own:
            found.setdefault(field.name, []).append((field, files[0]))
    check_names(list(found))
    folders = {name.lower() for name in listing.partition_columns}
    if twice := [name for name in found if name.lower() in folders]:
        raise SchemaError(
            f"Columns of {source} are in the files, and in the names of the folders too: {', '.join(twice)}.",
            hint="Leave them out of the one or the other; or read the files without the folders, by a pattern.",
        )
    types = {}
    for name, those in found.items():
        for field, _ in those:
            if field.plain is None:
                raise SchemaError(
                    f"Column {name!r} of {source} has a type that no engine reads.",
                    "a decimal of at most 38 digits",
                    in_words(field.type),
                    "Write it with fewer digits, as a double or as text; or leave it out of the files.",
                )
        real = [field.plain for field, _ in those if not pat.is_null(field.type)] or [those[0][0].plain]
        type_ = widest(real)
        if type_ is None and name not in source.types:
            one, other = those[0], next(pair for pair in those if pair[0].plain != those[0][0].plain)
            raise SchemaError(
                f"Column {name!r} has types in the files of {source} that no one type holds.",
                f"one type, or numbers of several; {in_words(one[0].type)} in {one[1].inside}",
                f"{in_words(other[0].type)} in {other[1].inside}",
                f"Bring them into one type; source.schema: {{{quoted(name)}: string}} reads them all as text.",
            )
        types[name] = _spark_type(type_ or pa.string())
    return types


def _read_group(
    spark: SparkSession, source: Source, listing: Listing, own: Sequence[Field], files: Sequence[DataFile]
) -> DataFrame:
    """Files of one schema, each column in its plain type."""
    engine = engine_of(spark)
    how = dict(zip(own, ways(own, engine.can.arrow_types), strict=True))
    variants = [field.name for field in own if field.is_variant]
    if variants and not engine.can.variant:
        raise SchemaError(
            f"{engine.name} reads no VARIANT from Parquet: {', '.join(variants)} of {source}.",
            hint="Set engine: spark; or write the column as text, or as a Delta table.",
        )
    # Spark would make numbers of what stands in folders' names, even of what they do not hold.
    has_text = "string" in partitions.types(listing).values() and not engine.can.arrow_types and not variants
    needs_schema = has_text or any(way >= Way.by_schema for way in how.values())
    if Way.copied in how.values() or (needs_schema and Way.unnamed in how.values()):
        return _read_copies(spark, source, listing, how, files)

    def load(paths: Sequence[str], folders: Sequence[str], options: Mapping[str, str]) -> DataFrame:
        reader = spark.read.format("parquet").options(**{**DEFAULTS, **source.options, **options})
        if needs_schema:
            reader = reader.schema(_schema(how, folders, engine.can.arrow_types))
        return reader.load(paths[0] if len(paths) == 1 else list(paths))

    frame = partitions.load(spark, source, listing, files, load)
    return frame.select(*(_converted(field, way) for field, way in how.items()),
                        *map(column, listing.partition_columns))  # fmt: skip


def _tell_losses(spark: SparkSession, source: Source, listing: Listing, own: Sequence[Field], file: DataFile) -> None:
    """Log which timestamps lose digits."""
    if any(pat.is_timestamp(field.type) and field.type.unit == "ns" for field in own):
        # What cannot be learnt of it is not told: the note is not worth an error.
        with suppress(pa.ArrowException, OSError), listing.opened(file) as opened:
            for name in finer_than_microseconds(opened, own):
                tell(spark, logging.WARNING, "%s: %s holds nanoseconds, and is read in microseconds", source, name)


def _of_nulls(own: Sequence[Field]) -> dict[str, DataType]:
    """The types of columns without a value: some engines have none for them."""
    return {field.name: _spark_type(pa.int32()) for field in own if pat.is_null(field.type)}


def _schema(how: Mapping[Field, Way], folders: Sequence[str], follows_arrow: bool) -> StructType:
    """The schema to read files by: plain types, and text for what stands in the folders' names."""
    schema = StructType()
    for field, way in how.items():
        is_void = follows_arrow and pat.is_null(field.type)
        type_ = LongType() if way is Way.converted else NullType() if is_void else _spark_type(field.plain)
        schema.add(field.name, type_)
    for name in folders:
        schema.add(name, StringType())
    return schema


def _spark_type(type_: pa.DataType) -> DataType:
    return from_arrow(pa.schema([("x", type_)]))[0].dataType


def _read_copies(
    spark: SparkSession, source: Source, listing: Listing, how: Mapping[Field, Way], files: Sequence[DataFile]
) -> DataFrame:
    """Files of one schema that the engine cannot read, by way of copies that it can."""
    odd = ", ".join(f"{f.name} ({in_words(f.type)})" for f, way in how.items() if way is Way.copied)
    odd = odd or ", ".join(f"{f.name} ({in_words(f.type)})" for f, way in how.items() if way is not Way.native)
    if not (is_ours(spark) or engine_of(spark).workers_run_this_python(spark)):  # it may not see this machine's files
        raise SchemaError(
            f"{source} has columns of types that {engine_of(spark).name} cannot read.",
            found=odd,
            hint="Write the files with other types: numbers as double, times of day and categories as text.",
        )
    tell(spark, logging.INFO, "%s cannot read %s of %s, which is copied in other types for it: %.1f MB",
         engine_of(spark).name, odd, source, sum(file.size for file in files) / 1e6)  # fmt: skip
    try:
        folder = rewritten(spark, listing, list(how), files)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{source} has columns of types that {engine_of(spark).name} cannot read, and could not be copied.",
            "room for a copy in the folder for temporary files (TMPDIR)",
            f"{odd}; {str(error).partition(chr(10))[0][:300]}",
        ) from None
    return spark.read.options(**DEFAULTS).parquet(folder)


def _converted(field: Field, way: Way) -> Column:
    """A column as a file has it, in its plain type."""
    if way is not Way.converted:
        return column(field.name)
    micros = f"({quote(field.name)} div 1000)"  # towards zero, as Arrow and Sail do
    if field.type.tz:
        return F.expr(f"timestamp_micros({micros})").alias(field.name)
    day = 86_400_000_000
    return F.expr(
        f"timestamp_ntz'1970-01-01 00:00:00' + make_dt_interval(cast({micros} div {day} as int), 0, 0, "
        f"cast(cast({micros} % {day} as decimal(18, 6)) / 1000000 as decimal(18, 6)))"
    ).alias(field.name)


def _as_one(frame: DataFrame, names: Sequence[str], types: Mapping[str, DataType]) -> DataFrame:
    """A group's columns as those of the table: in their order and type, null where the group has none."""
    own = {field.name: field.dataType for field in frame.schema}

    def one(name: str) -> Column:
        if name not in own:
            return F.lit(None).cast(types[name]).alias(name)
        wanted = types.get(name, own[name])
        return column(name) if own[name] == wanted else column(name).cast(wanted).alias(name)

    return frame.select(*map(one, names))


def _differences(groups: Groups, types: Mapping[str, DataType]) -> str:
    """In which columns the files differ."""
    told = []
    total = sum(map(len, groups.values()))
    for name, type_ in types.items():
        having = sum(len(files) for own, files in groups.items() if any(field.name == name for field in own))
        kinds = dict.fromkeys(in_words(field.type) for own in groups for field in own if field.name == name)
        if having < total:
            told.append(f"{name} is in {having} of {total} files, null in the others")
        if len(kinds) > 1:
            told.append(f"{name} is {' or '.join(kinds)}, read as {type_.simpleString()}")
    return "; ".join(told) or "in the order of their columns"

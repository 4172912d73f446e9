"""CSV sources: every file's first bytes are looked at here, and every engine is told the same of them.

All columns are read as text; a row with another number of values than the header is an error; and what type a column
has is decided by all of its values, not by the first thousand (``inference``): one pass over the files, once a session.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructType

from vae_model.config.tables import Source
from vae_model.errors import EngineError, SchemaError, SourceError
from vae_model.places.listing import DataFile, Listing
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import column
from vae_model.spark.source import dialect as dialects
from vae_model.spark.source import inference, partitions
from vae_model.spark.source.dialect import Dialect
from vae_model.spark.source.scan import Scan
from vae_model.spark.source.told import tell

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

AT_ONCE = 16
"""Files that are looked at at a time."""
ENDINGS = ("csv", "tsv", "psv", "tab", "txt", "dat", "data", "")
"""What the names of such files end in, before that of their compression."""
PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "a zip archive", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd"}
"""How files begin that are no text, for all their names."""
DEFAULTS = {"mode": "FAILFAST", "multiLine": "true", "quote": '"', "escape": '"'}
"""Options of Spark's reader, where the config has no others: RFC 4180, and no row altered or dropped in silence."""


@dataclass(frozen=True)
class Group:
    """Files that have the same columns in the same order."""

    names: tuple[str, ...]
    files: tuple[DataFile, ...]


def read(spark: SparkSession, source: Source, listing: Listing) -> DataFrame:
    """The files as a DataFrame. Raises SourceError or SchemaError where they cannot be read as they are meant."""
    _check_endings(source, listing)
    dialect, has_header, groups = _look(spark, source, listing)
    options = {name: value for name, value in options_of(source).items() if name.lower() not in ("sep", "delimiter")}
    options |= {"sep": dialect.separator, "header": str(has_header).lower(), "inferSchema": "false"}
    if not any(group.names for group in groups):
        raise SourceError(f"The csv source at {source} cannot be opened.", found="no row at all")
    frames = [_read_group(spark, source, listing, options, group) for group in groups]
    frame = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), frames)
    null = next((value for name, value in source.options.items() if name.lower() == "nullvalue"), "")
    if null:  # Sail has no such option for text
        frame = frame.select(*(F.when(column(n) != null, column(n)).alias(n) for n in frame.columns))
    names = {file: group.names for group in groups for file in group.files}
    found = Scan(listing, dialect, has_header, names, null)
    return partitions.typed(inference.typed(source, listing, frame, found), listing)


def options_of(source: Source) -> dict[str, str]:
    """The reader's options: those of the config, and ``DEFAULTS`` where it has no others."""
    given = {name.lower() for name in source.options}
    return {name: value for name, value in DEFAULTS.items() if name.lower() not in given} | source.options


def _check_endings(source: Source, listing: Listing) -> None:
    """Raise SourceError where a file among others is, by its name, of another kind: its lines would be rows."""
    for file in listing.files if len(listing.files) > 1 else ():
        name = re.sub(r"\.(gz|bz2|xz|zst|snappy|deflate|lz4)$", "", posixpath.basename(file.inside).lower())
        if not name.startswith("part-") and name.rpartition(".")[2 if "." in name else 1] not in ENDINGS:
            raise SourceError(
                f"A file among the data of {source} is, by its name, no CSV: {file.inside}.",
                f"names that end in {', '.join(f'.{end}' for end in ENDINGS if end)}, or begin with _ or a dot",
                file.inside,
                "Move it elsewhere, or name the others by a pattern, "
                f"such as source.path: {posixpath.join(str(source), '*.csv')}.",
            )


def _look(spark: SparkSession, source: Source, listing: Listing) -> tuple[Dialect, bool, list[Group]]:
    """The dialect of the files, whether they have headers, and which files have which columns."""
    given = {name.lower(): value for name, value in source.options.items()}
    dialect = dialects.of_options(source.options)
    files = [file for file in listing.files if file.size]
    if not files:
        raise SourceError(f"The csv source at {source} cannot be opened.", found="only files without a byte")

    def head_of(file: DataFile) -> bytes:
        with listing.opened(file) as opened:
            return dialects.first_bytes(opened)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        heads = dict(zip(files, pool.map(head_of, files), strict=True))
    _check_encoding(spark, source, heads, given.get("encoding", given.get("charset")))
    first, head = next(iter(heads.items()))
    if not {"sep", "delimiter"} & given.keys():
        by_name = {"tsv": "\t", "tab": "\t", "psv": "|"}.get(first.inside.lower().rpartition(".")[2], ",")
        dialect = replace(dialect, separator=dialects.separator_of(head, dialect, by_name))
        if dialect.separator != ",":
            tell(spark, logging.INFO, "%s: values are separated by %r", source, dialect.separator)
    looks_named = dialects.has_header(head, dialect)
    has_header = given.get("header", str(looks_named)).lower() == "true"
    if not has_header and "header" not in given:
        tell(spark, logging.WARNING, "%s: the first row names no columns; they are called _c0, _c1, … "
             '(source.options: {header: "true"} takes it for names)', source)  # fmt: skip
    elif has_header and not looks_named:
        tell(spark, logging.WARNING, "%s: the first row is taken for names, as source.options says, but looks like "
             "data", source)  # fmt: skip
    groups: dict[tuple[str, ...], list[DataFile]] = {}
    for file, own in heads.items():
        groups.setdefault(_names(source, file, dialects.first_row(own, dialect), has_header), []).append(file)
    found = [Group(names, tuple(those)) for names, those in groups.items()]
    _tell_differences(spark, source, found, has_header)
    return dialect, has_header, found


def _check_encoding(spark: SparkSession, source: Source, heads: Mapping[DataFile, bytes], given: str | None) -> None:
    """Raise SourceError where letters would be read wrongly, EngineError where the engine knows UTF-8 only."""
    is_utf8 = given is None or given.lower().replace("-", "") == "utf8"
    if not is_utf8 and not engine_of(spark).can.encodings:
        raise EngineError(
            f"{engine_of(spark).name} reads CSV in UTF-8 only: {source}.",
            found=f"source.options: {{encoding: {given}}}",
            hint="Use engine: spark, or convert the files: iconv -f … -t UTF-8.",
        )
    for file, head in heads.items():
        if packed := next((what for mark, what in PACKED.items() if head.startswith(mark)), ""):
            raise SourceError(
                f"A file of {source} is {packed}, which its name does not say: {file.inside}.",
                "text, or gzip in a file whose name ends in .gz",
                packed,
                "Unpack it, or name it by what it is.",
            )
    for file, head in heads.items() if is_utf8 else ():
        encoding = dialects.encoding_of(head)
        if encoding != "UTF-8":
            raise SourceError(
                f"A file of {source} is not in UTF-8: {file.inside}.",
                "UTF-8, or source.options: {encoding: …}",
                f"what may be {encoding}",
                f"Set source.options: {{encoding: {encoding}}} with engine: spark, or convert the file to UTF-8.",
            )


def _names(source: Source, file: DataFile, first: Sequence[str], has_header: bool) -> tuple[str, ...]:
    """The names of a file's columns. A column without a name is called by its number, as Spark does."""
    names = [name if has_header and name else f"_c{i}" for i, name in enumerate(first)]
    twins = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if twins:
        raise SchemaError(
            f"The header of {file.inside} in {source} has a name twice (Spark folds case).",
            "a name of its own for each column",
            ", ".join(twins[:12]),
            'Rename them in the file; or name none: source.options: {header: "false"}, without the header\'s line.',
        )
    return tuple(names)


def _tell_differences(spark: SparkSession, source: Source, groups: Sequence[Group], has_header: bool) -> None:
    if len(groups) == 1:
        return
    one, other = groups[:2]
    if not has_header:
        raise SourceError(
            f"The files of {source} have different numbers of columns, and no names to tell which.",
            f"{len(one.names)} columns, as in {one.files[0].inside}",
            f"{len(other.names)} in {other.files[0].inside}",
            "Add a header to each file.",
        )
    every = dict.fromkeys(name for group in groups for name in group.names)
    total = sum(len(group.files) for group in groups)
    lacking = {name: sum(len(g.files) for g in groups if name in g.names) for name in every}
    told = [f"{name} is in {n} of {total} files, null in the others" for name, n in lacking.items() if n < total]
    tell(spark, logging.WARNING, "%s: the files' columns differ and are matched by name: %s", source,
         "; ".join(told) or "they stand in another order")  # fmt: skip


def _read_group(
    spark: SparkSession, source: Source, listing: Listing, options: Mapping[str, str], group: Group
) -> DataFrame:
    """Files of one header, all columns as text."""

    def load(paths: Sequence[str], folders: Sequence[str], more: Mapping[str, str]) -> DataFrame:
        schema = StructType()
        for name in (*group.names, *folders):
            schema.add(name, StringType())
        reader = spark.read.format("csv").options(**options, **more).schema(schema)
        return reader.load(paths[0] if len(paths) == 1 else list(paths))

    return partitions.load(spark, source, listing, group.files, load)

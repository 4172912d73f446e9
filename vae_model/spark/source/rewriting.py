"""Parquet files copied into types that every engine reads, for the engines that run on this machine.

The copies lie in a temporary folder until the session ends, and are used again as long as the files are the same.
"""

from __future__ import annotations

import posixpath
import shutil
import weakref
from collections.abc import Hashable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from vae_model.places.listing import DataFile, Listing
from vae_model.spark.source.footers import Field

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BATCH = 1 << 16
"""Rows that are converted at a time."""
_copies: weakref.WeakKeyDictionary[SparkSession, dict[Hashable, str]] = weakref.WeakKeyDictionary()


def rewritten(spark: SparkSession, listing: Listing, own: Sequence[Field], files: Sequence[DataFile]) -> str:
    """A folder with copies of some files of one schema, in plain types, laid out as they are.

    Raises what Arrow raises, and OSError: where the disk is full, for example.
    """
    kept = _copies.setdefault(spark, {})
    name = (listing.root, tuple(files))
    if name not in kept:
        folder = mkdtemp(prefix="vae-anomaly-source-")
        weakref.finalize(spark, shutil.rmtree, folder, ignore_errors=True)  # at the end of the process at the latest
        for number, file in enumerate(files):
            # The folders' names stay where they are columns. A number keeps apart what has one name in two folders.
            inside = posixpath.dirname(file.inside) if listing.partition_columns else ""
            _copy(listing, own, file, Path(folder, inside, f"{number}.parquet"))
        kept[name] = folder
    return kept[name]


def _copy(listing: Listing, own: Sequence[Field], file: DataFile, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(field.name, field.plain) for field in own])
    with (
        listing.opened(file) as source,
        pq.ParquetFile(source) as reader,
        pq.ParquetWriter(target, schema, store_schema=False) as writer,
    ):
        for batch in reader.iter_batches(BATCH):
            arrays = [_cast(array, type_) for array, type_ in zip(batch.columns, schema.types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.cast(type_, safe=False)  # of a timestamp's nanoseconds the last three digits go

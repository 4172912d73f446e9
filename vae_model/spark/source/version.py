"""Which version of its rows a source is read at: of a Delta table its number, of files a digest of what is there."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from vae_model.config.tables import Source
from vae_model.errors import InputError
from vae_model.places import delta_log, files, identifiers
from vae_model.places.listing import Listing, data_files
from vae_model.runs.identity import digest
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, table_place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

PINNED = "versionAsOf"
"""The reader's option that reads a Delta table as it was at a version."""


def source_version(spark: SparkSession, source: Source, listing: Listing | None) -> str | None:
    """``delta:17``, ``files:`` and 16 digits, or None where it cannot be told: of a view, say.

    ``listing`` has the files at the source's path.
    """
    with suppress(InputError, OSError, *ENGINE_ERRORS):
        folder, format_ = place(spark, source)
        if format_ == "delta":
            asked = _asked(source)
            if "timestampasof" in asked:
                return f"delta@{asked['timestampasof']}"
            return f"delta:{asked.get('versionasof') or _newest(spark, source, folder)}"
        found = data_files(folder) if source.table and folder else listing
        if found:
            told = [[file.inside, file.size, file.changed] for file in found.files]
            return f"files:{digest(told)[:16]}"
    log.debug("The version of %s cannot be told", source)
    return None


def pinned(source: Source, version: str | None) -> Source:
    """The source, to be read at a version, where it is a Delta table at a path; others are read as they are."""
    number = re.fullmatch(r"delta:(\d+)", version or "")
    if number is None or source.path is None or _asked(source):
        return source
    return source.model_copy(update={"options": {**source.options, PINNED: number[1]}})


def place(spark: SparkSession, source: Source) -> tuple[str, str]:
    """Where the rows lie, and in which format."""
    return table_place(spark, source.table) if source.table is not None else (source.path or "", source.format)


def _asked(source: Source) -> dict[str, str]:
    """The version, or the time, at which a config asks for a Delta table."""
    lowered = {name.lower(): value for name, value in source.options.items()}
    return {name: lowered[name] for name in ("versionasof", "timestampasof") if name in lowered}


def _newest(spark: SparkSession, source: Source, folder: str) -> int:
    """The newest version of a Delta table."""
    if not engine_of(spark).can.history:
        return delta_log.versions(folder.rstrip("/"))[-1]
    path = identifiers.quote(files.for_engine(folder))
    name = identifiers.table(source.table) if source.table else f"delta.{path}"
    return int(spark.sql(f"DESCRIBE HISTORY {name} LIMIT 1").select("version").collect()[0][0])

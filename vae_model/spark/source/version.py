"""Which version of its rows a source is read at: of a Delta table its number, of files a digest of what is there."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from vae_model.config.tables import Source
from vae_model.errors import InputError
from vae_model.places import files, identifiers
from vae_model.places.listing import data_files
from vae_model.runs.identity import digest
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.frames import ENGINE_ERRORS, table_place

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

PINNED = "versionAsOf"
"""The reader's option that reads a Delta table as it was at a version."""


def source_version(spark: SparkSession, source: Source) -> str | None:
    """``delta:17``, ``files:`` and 16 digits, or None where it cannot be told: of a view, say."""
    with suppress(InputError, OSError, *ENGINE_ERRORS):
        folder, format_ = place(spark, source)
        asked = {name.lower(): value for name, value in source.options.items()}
        if format_ == "delta" and "timestampasof" in asked:
            return f"delta@{asked['timestampasof']}"
        if format_ == "delta":
            return f"delta:{_delta_version(spark, source, folder)}"
        found = data_files(folder) if folder else None
        if found:
            told = [[file.inside, file.size, file.changed] for file in found.files]
            return f"files:{digest(told)[:16]}"
    log.debug("The version of %s cannot be told", source)
    return None


def pinned(source: Source, version: str | None) -> Source:
    """The source, to be read at a version, where it is a Delta table at a path; others are read as they are."""
    number = re.fullmatch(r"delta:(\d+)", version or "")
    if number is None or source.path is None or {"versionasof", "timestampasof"} & {*map(str.lower, source.options)}:
        return source
    return source.model_copy(update={"options": {**source.options, PINNED: number[1]}})


def place(spark: SparkSession, source: Source) -> tuple[str, str]:
    """Where the rows lie, and in which format."""
    return table_place(spark, source.table) if source.table is not None else (source.path or "", source.format)


def _delta_version(spark: SparkSession, source: Source, folder: str) -> int:
    """The newest version of a Delta table, or the one that the config asks for."""
    asked = {name.lower(): value for name, value in source.options.items()}
    if "versionasof" in asked:
        return int(asked["versionasof"])
    if engine_of(spark).can.history:
        name = (
            identifiers.table(source.table) if source.table else f"delta.{identifiers.quote(files.for_engine(folder))}"
        )
        history = spark.sql(f"DESCRIBE HISTORY {name} LIMIT 1").select("version").collect()
        return int(history[0][0])
    return int(files.names_in(f"{folder.rstrip('/')}/_delta_log", r"\d{20}\.json")[-1].partition(".")[0])

"""`vae-anomaly init`: a commented starter config, written by looking at a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae_model.config.advice import advise
from vae_model.config.config import Config
from vae_model.config.load import parse_config
from vae_model.config.starter import FILE, starter_text
from vae_model.errors import SourceError
from vae_model.places import files
from vae_model.scoring.output import OUTPUT
from vae_model.spark import frames
from vae_model.spark.jobs.look import LOOK, look
from vae_model.spark.source.table import open_source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def named_source(source: str, format_: str | None, engine: str) -> Config:
    """The config of a source named on the command line: a path if it looks like one or exists, else a table."""
    is_path = "/" in source or FILE.search(source) or files.present_format(source)
    if not is_path:
        return parse_config({"engine": engine, "source": {"table": source}}, "The command line")
    by_name = files.format_of_name(source) if FILE.search(source) else "parquet"  # of a pattern, say
    found = format_ or files.present_format(source) or by_name
    return parse_config({"engine": engine, "source": {"path": source, "format": found}}, "The command line")


def starter_config(spark: SparkSession, place: Config) -> str:
    """The text of a starter config for the source of ``place``."""
    source = place.for_reading()
    frame = open_source(spark, source)
    try:
        counted = look(frame)
    except frames.READ_ERRORS as error:
        raise SourceError(
            "The table cannot be read.", found=frames.reason(error), transient=frames.is_transient(error)
        ) from error
    rows = counted[0].rows
    if not rows:
        raise SourceError("There is no row to look at.", found=f"{source} is empty")
    seen = f"its first {LOOK:,} rows" if rows == LOOK else f"its {rows:,} row{'' if rows == 1 else 's'}"
    return starter_text(source, place.engine, seen, advise(counted, OUTPUT.names), OUTPUT.names)

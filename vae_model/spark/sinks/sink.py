"""The sink: where scored rows go, held against the config before any work, and written so that a failed job leaves the
previous output readable.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Protocol

from vae_model.config.sections import Output, Place, Source
from vae_model.errors import InputError, OutputError, StorageError
from vae_model.places import files, identifiers
from vae_model.scoring.scorer import OUTPUT
from vae_model.spark.engines.lookup import engine_of
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import from_arrow
from vae_model.spark.sinks.delta import Delta
from vae_model.spark.sinks.metadata import without_metadata
from vae_model.spark.sinks.parquet import Parquet
from vae_model.spark.sinks.reading import Rows, existing
from vae_model.spark.sinks.types import check_types

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


class Sink(Protocol):
    """A format that scored rows are written in."""

    @property
    def modes(self) -> Mapping[str, tuple[str, ...]]:
        """The modes it has, and for each what the engine must be able to do (names of ``Capabilities``)."""

    def write(self, frame: DataFrame, output: Output) -> AbstractContextManager[Rows]:
        """Write a DataFrame. Within the block its rows can be read back as they were written."""

    def mend(self, path: str) -> None:
        """Put right what a run that was killed has left at a path, before anything looks at it."""


_ODD = re.compile(r"[^A-Za-z0-9/_.+&=,;:!@$'()-]")
"""Letters that Sail writes otherwise than they are; each was tried."""
SINKS: dict[str, Sink] = {"delta": Delta(), "parquet": Parquet()}
"""By ``output.format``."""


def check_output(spark: SparkSession, source: Source, output: Output, frame: DataFrame) -> None:
    """Before any work: the output is not the source, is of the format that is there, can be written, can hold the
    columns of ``frame``, the source, and (append) has them with the output columns after them. Raises OutputError.
    """
    check_mode(spark, output)
    if _same_place(spark, source, output):
        raise OutputError(
            "The output is the same place as the source, or one lies within the other.",
            "two places",
            f"source {source}, output {output}",
            "Change output.",
        )
    if output.table is not None:
        _check_schema(spark, output.table)
    if output.path is not None:
        _check_letters(spark, output, output.path)
        try:
            _check_folder(output, output.path)
        except InputError as error:
            # Delta needs nothing of this machine, and another's engine may have rights that this process has not.
            if output.format != "delta" or is_ours(spark) or files.protocol(output.path) == "file":
                raise
            log.warning("The output could not be looked at before the job: %s", str(error).replace("\n ", ""))
    check_types(frame, output)
    there_now = existing(spark, output) if output.mode == "append" else None
    if there_now is None:
        return
    old = [(f.name, f.dataType.simpleString()) for f in there_now.schema]
    new = [(f.name, f.dataType.simpleString()) for f in frame.schema]
    new += [(output.prefix + f.name, f.dataType.simpleString()) for f in from_arrow(OUTPUT)]
    if old != new:
        differs = [f"{name}: {type_}" for name, type_ in set(old) ^ set(new)] or ["their order"]
        raise OutputError(
            f"Rows cannot be appended to {output}: its columns differ.",
            "the source's columns and the output columns, in order",
            f"differing: {', '.join(sorted(differs))}",
            "Use mode: replace, or another output.",
        )


def mend(output: Output) -> None:
    """Put right what a job that was killed has left at an output, before anything looks at it.

    What cannot be reached is left: the checks that come after say so.
    """
    if output.path is not None:
        with suppress(InputError):
            SINKS[output.format].mend(output.path)


def check_mode(spark: SparkSession, output: Output) -> None:
    """Raise OutputError where the format has no such mode, or the engine cannot do what the mode needs."""
    modes = SINKS[output.format].modes
    if modes.get(output.mode) == ():  # any engine will do: none is asked
        return
    engine = engine_of(spark)
    lacking = {mode: [need for need in needs if not getattr(engine.can, need)] for mode, needs in modes.items()}
    if lacking.get(output.mode) == []:
        return
    allowed = [mode for mode, needs in lacking.items() if not needs]
    cannot = ", ".join(lacking.get(output.mode, ())).replace("_", " ")
    found = f"{engine.name} cannot do: {cannot}" if cannot else "no such mode"
    raise OutputError(
        f"output.mode {output.mode} cannot be had here.",
        f"for {output.format} on {engine.name}: {' or '.join(allowed)}",
        found,
        "Change output.mode, output.format or engine.",
    )


def _check_letters(spark: SparkSession, output: Output, path: str) -> None:
    """Raise OutputError where the engine would write a Delta table elsewhere: Sail takes the URL's escapes of a space,
    a letter beyond ASCII and the like for the name of the folder.
    """
    odd = _ODD.search(files.canonical(path).partition("://")[2]) if output.format == "delta" else None
    if odd and not engine_of(spark).can.any_path:
        raise OutputError(
            f"{engine_of(spark).name} cannot write Delta at {path}.",
            "a whole path of letters from a to z, digits and / _ . - + & = , ; : ! @ $ ' ( )",
            f"{odd[0]!r} in {files.canonical(path)}",
            "Choose another place, or output.format: parquet, or engine: spark.",
        )


def _check_folder(output: Output, path: str) -> None:
    """Raise OutputError where something of another format lies, or nothing can be written."""
    try:
        there = files.present_format(path)
    except StorageError as error:
        raise error.as_kind(OutputError, f"The output {path} cannot be written.") from None
    if there not in (None, output.format):
        raise OutputError(
            f"The output {path} holds something else.",
            f"{output.format}, or nothing",
            there,
            "Set output.format to what is there, or choose another output.path.",
        )
    files.check_writable(path, folder=True)


def _check_schema(spark: SparkSession, table: str) -> None:
    """Raise OutputError where the schema that a table should be in does not exist."""
    schema = identifiers.schema(table)
    if schema and not spark.catalog.databaseExists(schema):
        raise OutputError(
            f"The output table {table} has no place to be in.",
            f"the schema {schema}",
            "no such schema",
            f"CREATE SCHEMA {schema}, or check the name.",
        )


def _same_place(spark: SparkSession, source: Place, output: Place) -> bool:
    if source.table and output.table:
        return _qualified(spark, source.table) == _qualified(spark, output.table)
    if source.table or output.table:
        return False
    one, other = (files.canonical(place.path or "") for place in (source, output))
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _qualified(spark: SparkSession, table: str) -> list[str]:
    """The parts of a table's name with those it leaves out; Spark folds case."""
    parts = identifiers.parts(table)
    outer = [spark.catalog.currentCatalog(), spark.catalog.currentDatabase()] if len(parts) < 3 else []
    return [part.lower() for part in [*outer, *parts][-3:]]


def write(frame: DataFrame, output: Output) -> AbstractContextManager[Rows]:
    """Write the scored rows. Until all of them are scored, a reader finds the previous output.

    When the block begins they are written. Within it, what this run wrote can be read back.
    """
    return SINKS[output.format].write(without_metadata(frame, output.format), output)

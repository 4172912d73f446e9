"""The runs table as a table by name, where files are the engine's own: rows are added, the last of a run counts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from vae_model.config.config import Config
from vae_model.errors import InputError
from vae_model.places import files, identifiers
from vae_model.runs.ledger import Folder, Ledger, no_record
from vae_model.runs.record import SCHEMA, RunRecord
from vae_model.spark.engines.own import is_ours
from vae_model.spark.frames import ENGINE_ERRORS, from_arrow, to_arrow
from vae_model.spark.sinks.columns import aligned

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

log = logging.getLogger(__name__)


class RunsTable:
    """Records in a table of the engine's catalog."""

    beats: float | None = None
    """None: every heartbeat would be a commit."""

    def __init__(self, spark: SparkSession, name: str, format_: str) -> None:
        self._spark, self._table, self._format = spark, identifiers.table(name), format_

    def find(self, run_id: str, trains: bool = False) -> RunRecord | None:
        """The record of a run that scores, or only ``trains``; None where there is none."""
        rows = self._rows()
        found = [] if rows is None else self._latest(rows.where(F.col("run_id") == F.lit(run_id)))
        return next((record for record in found if record.trains == trains), None)

    def records(self) -> list[RunRecord]:
        """The records of all runs, the latest start first."""
        rows = self._rows()
        return [] if rows is None else self._latest(rows)

    def put(self, record: RunRecord) -> None:
        """Add a row with the state of a run. A table that an earlier version made gets the columns that it lacks, where
        the engine can add some. Raises what the engine raises.
        """
        frame, there = self._spark.createDataFrame([record.to_row()], from_arrow(SCHEMA)), self._rows()
        if there is not None:
            frame = aligned(frame, self._widened(there.schema, frame.schema))
        write = frame.write.format(self._format).mode("append")
        (write.option("mergeSchema", "true") if self._format == "delta" else write).saveAsTable(self._table)

    def _widened(self, there: StructType, now: StructType) -> StructType:
        """The table's columns and those that it lacks: a Delta table takes them by being written to."""
        lacking = [field for field in now.fields if field.name not in there.names]
        if lacking and self._format != "delta":
            columns = ", ".join(f"{identifiers.quote(f.name)} {f.dataType.simpleString()}" for f in lacking)
            try:
                self._spark.sql(f"ALTER TABLE {self._table} ADD COLUMNS ({columns})")
            except ENGINE_ERRORS:  # Sail cannot: what the table has columns for is recorded
                return there
        return StructType([*there.fields, *lacking])

    def _rows(self) -> DataFrame | None:
        return self._spark.table(self._table) if self._spark.catalog.tableExists(self._table) else None

    def _latest(self, rows: DataFrame) -> list[RunRecord]:
        """The last state of each run, the latest start first. Raises OutputError for rows of something else."""
        try:
            states = [RunRecord.from_row(row) for row in to_arrow(rows).to_pylist()]
        except (ValueError, TypeError) as error:
            raise no_record(self._table, str(error)) from None
        states.sort(key=lambda record: record.heartbeat)
        last = {(record.run_id, record.trains): record for record in states}
        return sorted(last.values(), key=lambda record: record.started, reverse=True)


def ledger(spark: SparkSession, config: Config) -> Ledger | None:
    """Where a config's runs are recorded; None where they are not.

    Beside an output that the engine alone reaches, and where the config names no place, there is no record: a warning.
    """
    place = config.runs_place
    if place is None:
        return None
    if place.table is not None:
        return RunsTable(spark, place.table, config.output.format if config.output else "delta")
    folder = Folder(place.path or "")
    try:
        folder.check()
        return folder
    except InputError as error:
        if config.runs is not None or is_ours(spark) or files.protocol(place.path or "") == "file":
            raise
        log.warning("This run will have no record (runs: {table: …} would): %s", str(error).replace("\n ", ""))
        return None

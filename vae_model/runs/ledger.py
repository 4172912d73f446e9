"""The runs table as a folder of Parquet files, one a run: each is replaced whole, so that no two runs are in the way of
each other, and any engine reads the folder as one table.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from vae_model.errors import OutputError, StorageError
from vae_model.places import files
from vae_model.runs.identity import file_name
from vae_model.runs.record import RunRecord

_AT_ONCE = 16
"""Files that are read at a time."""


class Ledger(Protocol):
    """Where records of runs are kept."""

    beats: float | None
    """Seconds after which a run that goes on says so; None where that is too dear."""

    def find(self, run_id: str, trains: bool = False) -> RunRecord | None:
        """The record of a run that scores, or only ``trains``; None where there is none."""

    def records(self) -> list[RunRecord]:
        """All records, the latest start first."""

    def put(self, record: RunRecord) -> None:
        """Write the record of a run in the place of an earlier one of the same id."""


class Folder:
    """Records in a folder, which needs no engine."""

    beats: float | None = 30.0

    def __init__(self, path: str) -> None:
        self._path = path.rstrip("/")

    def __str__(self) -> str:
        return self._path

    def check(self) -> None:
        """Raise OutputError where records cannot be written, or the folder holds something else."""
        try:
            there = files.present_format(self._path)
        except StorageError as error:
            raise error.as_kind(OutputError, f"The runs table {self._path} cannot be written.") from None
        if there not in (None, "parquet"):
            raise OutputError(
                f"The runs table {self._path} holds something else.", "Parquet files of this job's, or nothing", there,
                "Set runs: {path: …} to another folder, or runs: none.",
            )  # fmt: skip
        files.check_writable(self._path, folder=True)

    def find(self, run_id: str, trains: bool = False) -> RunRecord | None:
        """The record of a run that scores, or only ``trains``; None where there is none. Raises OutputError where it
        cannot be read.
        """
        name = _file(run_id, trains)
        try:
            found = next(self._rows(name), None)
        except FileNotFoundError:
            return None
        if found is not None and (found.run_id, found.trains) != (run_id, trains):
            raise no_record(f"{self._path}/{name}", f"the run {found.run_id}")
        return found

    def records(self) -> list[RunRecord]:
        """All records, the latest start first; none where there is no folder."""
        try:
            names = files.names_in(self._path, r"(train-)?[0-9a-f]{16}\.parquet")
        except FileNotFoundError:
            return []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = [record for rows in pool.map(lambda name: list(self._rows(name)), names) for record in rows]
        return sorted(found, key=lambda record: record.started, reverse=True)

    def put(self, record: RunRecord) -> None:
        """Write the record of a run, whole, in the place of an earlier one. Raises OSError or StorageError."""
        buffer = io.BytesIO()
        pq.write_table(record.to_arrow(), buffer)
        files.put(f"{self._path}/{_file(record.run_id, record.trains)}", buffer.getvalue())

    def _rows(self, name: str) -> Iterator[RunRecord]:
        path = f"{self._path}/{name}"
        try:
            rows = pq.read_table(io.BytesIO(files.get(path))).to_pylist()
            yield from map(RunRecord.from_row, rows)
        except (pa.ArrowException, ValueError, TypeError, KeyError) as error:
            raise no_record(path, str(error)) from None


def _file(run_id: str, trains: bool) -> str:
    return f"{'train-' if trains else ''}{file_name(run_id)}.parquet"


def no_record(place: str, found: str) -> OutputError:
    """The error of a file or a table that does not hold what this package has written there."""
    hint = "Remove it, or set runs: to another place."
    return OutputError(f"{place} is no record of a run.", "a record as this job writes it", found, hint)

"""Writers of DataFrames: the sizes of files and row groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameWriter

FILE_CELLS = 1 << 26
"""Values in one output file at most, some hundred MB: one huge partition does not become one huge file."""
ROW_GROUP_CELLS = 1 << 23
"""Values in one row group, some tens of MB. Sail holds a few while it writes: at a million rows each, its own choice,
forty columns take a gigabyte more, and the pages for it more time than the rows."""


def writer(frame: DataFrame, format_: str) -> DataFrameWriter:
    """A writer of a DataFrame whose files and row groups are of a sensible size."""
    columns = len(frame.columns)
    sized = frame.write.format(format_).option("maxRecordsPerFile", rows_per_file(columns))
    return sized.option("max_row_group_size", max(10_000, ROW_GROUP_CELLS // columns))  # Sail's; others let it be


def rows_per_file(columns: int) -> int:
    """The most rows one output file should hold."""
    return max(100_000, FILE_CELLS // columns)

"""How the rows to score are spread over tasks.

By default no row is moved: a shuffle costs more than it gives, but where cores would stand idle.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from vae_model.spark import classic

log = logging.getLogger(__name__)

WORTH_A_SHUFFLE = 16 << 20
"""Bytes of a source below which idle cores are not worth a shuffle: such a table is scored in seconds."""
TASK_BYTES = 64 << 20
"""Many small partitions are put together up to about this size: a task and a file for each would be waste."""
TASKS_A_CORE = 4
"""At least so many: neighbours are not of one size, and a core that has drawn small ones takes the next."""
FILE_CELLS = 1 << 26
"""Values in one output file at most, some hundred MB: one huge partition does not become one huge file."""
ROW_GROUP_CELLS = 1 << 23
"""Values in one row group, some tens of MB. Sail holds a few while it writes: at a million rows each, its own choice,
forty columns take a gigabyte more, and the pages for it more time than the rows."""


def spread(frame: Any, partitions: int | None) -> Any:
    """``frame`` in as many partitions as asked for; else as it comes, but for two cases.

    Both on classic Spark only, which tells the layout of a table without running a job:

    - fewer partitions than cores, and not small: repartitioned to one a core, by a shuffle (``repartition``);
    - many more partitions than its size makes sensible: neighbours are put together, without a shuffle (``coalesce``).
    """
    if partitions is not None:
        log.info("Partitions: %d, as source.partitions asks (a shuffle)", partitions)
        return frame.repartition(partitions)
    layout = classic.layout(frame) if classic.is_classic(frame.sparkSession) else None
    if layout is None:
        return frame
    if 0 < layout.partitions < layout.cores and layout.size >= WORTH_A_SHUFFLE:
        log.info(
            "Partitions: %d for %d cores: the rows are shuffled into %d, or some cores would do nothing",
            layout.partitions, layout.cores, layout.cores,
        )  # fmt: skip
        return frame.repartition(layout.cores)
    sensible = max(TASKS_A_CORE * layout.cores, math.ceil(layout.size / TASK_BYTES))
    if layout.partitions > 2 * sensible:
        log.info(
            "Partitions: %d, of %.1f MB together: put together into %d, without a shuffle",
            layout.partitions, layout.size / 1e6, sensible,
        )  # fmt: skip
        return frame.coalesce(sensible)
    return frame


def writer(frame: Any, format_: str) -> Any:
    """A writer of a DataFrame whose files and row groups are of a sensible size."""
    columns = len(frame.columns)
    sized = frame.write.format(format_).option("maxRecordsPerFile", rows_per_file(columns))
    return sized.option("max_row_group_size", max(10_000, ROW_GROUP_CELLS // columns))  # Sail's; others let it be


def rows_per_file(columns: int) -> int:
    """The most rows one output file should hold."""
    return max(100_000, FILE_CELLS // columns)

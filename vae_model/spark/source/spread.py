"""How the rows to score are spread over tasks.

By default no row is moved: a shuffle costs more than it gives, but where cores would stand idle.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from vae_model.spark.engines.lookup import engine_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

WORTH_A_SHUFFLE = 16 << 20
"""Bytes of a source below which idle cores are not worth a shuffle: such a table is scored in seconds."""
TASK_BYTES = 64 << 20
"""Many small partitions are put together up to about this size: a task and a file for each would be waste."""
TASKS_A_CORE = 4
"""At least so many: neighbours are not of one size, and a core that has drawn small ones takes the next."""


def spread(frame: DataFrame, partitions: int | None) -> DataFrame:
    """``frame`` in as many partitions as asked for; else as it comes, but for two cases.

    Both only where the engine tells how a table lies without running a job (classic Spark):

    - fewer partitions than cores, and not small: repartitioned to one a core, by a shuffle (``repartition``);
    - many more partitions than its size makes sensible: neighbours are put together, without a shuffle (``coalesce``).
    """
    if partitions is not None:
        log.info("Partitions: %d, as source.partitions asks (a shuffle)", partitions)
        return frame.repartition(partitions)
    now = engine_of(frame.sparkSession).partitioning(frame)
    if now is None:
        return frame
    if 0 < now.partitions < now.cores and now.size >= WORTH_A_SHUFFLE:
        log.info(
            "Partitions: %d for %d cores: the rows are shuffled into %d, or some cores would do nothing",
            now.partitions, now.cores, now.cores,
        )  # fmt: skip
        return frame.repartition(now.cores)
    sensible = max(TASKS_A_CORE * now.cores, math.ceil(now.size / TASK_BYTES))
    if now.partitions > 2 * sensible:
        log.info(
            "Partitions: %d, of %.1f MB together: put together into %d, without a shuffle",
            now.partitions, now.size / 1e6, sensible,
        )  # fmt: skip
        return frame.coalesce(sensible)
    return frame

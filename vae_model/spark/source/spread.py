"""How the rows to score are spread over tasks.

By default no row is moved: a shuffle costs more than it gives, but where cores would stand idle.
"""

from __future__ import annotations

import logging
import math
from typing import Any

from vae_model.spark.engines import jvm

log = logging.getLogger(__name__)

WORTH_A_SHUFFLE = 16 << 20
"""Bytes of a source below which idle cores are not worth a shuffle: such a table is scored in seconds."""
TASK_BYTES = 64 << 20
"""Many small partitions are put together up to about this size: a task and a file for each would be waste."""
TASKS_A_CORE = 4
"""At least so many: neighbours are not of one size, and a core that has drawn small ones takes the next."""


def spread(frame: Any, partitions: int | None) -> Any:
    """``frame`` in as many partitions as asked for; else as it comes, but for two cases.

    Both on classic Spark only, which tells the layout of a table without running a job:

    - fewer partitions than cores, and not small: repartitioned to one a core, by a shuffle (``repartition``);
    - many more partitions than its size makes sensible: neighbours are put together, without a shuffle (``coalesce``).
    """
    if partitions is not None:
        log.info("Partitions: %d, as source.partitions asks (a shuffle)", partitions)
        return frame.repartition(partitions)
    layout = jvm.layout(frame) if jvm.is_classic(frame.sparkSession) else None
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

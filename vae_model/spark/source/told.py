"""Log lines about a source, once a session: a job opens its source several times."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

_told: weakref.WeakKeyDictionary[SparkSession, set[str]] = weakref.WeakKeyDictionary()


def tell(spark: SparkSession, level: int, message: str, *values: object) -> None:
    """Log a message, unless this session's log has it."""
    said, line = _told.setdefault(spark, set()), message % values
    if line not in said:
        said.add(line)
        log.log(level, message, *values)

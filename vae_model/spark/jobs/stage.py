"""What the log says of a job's stages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import MappingProxyType

log = logging.getLogger(__name__)


def log_stage(
    stage: str, rows: int, started: float, ended: float | None = None, more: Mapping[str, int] = MappingProxyType({})
) -> None:
    """One line on a stage that is over: rows, seconds, rows a second, and whatever else was measured."""
    seconds = (ended or time.monotonic()) - started
    measured = {"rows": rows, "seconds": round(seconds, 2), "rows_per_second": round(rows / max(seconds, 1e-9)), **more}
    text = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in measured.items())
    log.info("Stage %s: %s", stage, text, extra={"data": {"stage": stage, **measured}})

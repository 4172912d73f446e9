"""What the log says of a job's stages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from types import MappingProxyType

from vae_model.runs.record import Stage

log = logging.getLogger(__name__)


def log_stage(
    stage: str,
    rows: int | None,
    started: float,
    ended: float | None = None,
    more: Mapping[str, int] = MappingProxyType({}),
) -> Stage:
    """One line on a stage that is over: rows, if they were counted, seconds, and whatever else was measured."""
    seconds = (ended or time.monotonic()) - started
    measured: dict[str, float] = {"seconds": round(seconds, 2)}
    if rows is not None:
        measured = {"rows": rows, **measured, "rows_per_second": round(rows / max(seconds, 1e-9))}
    measured |= more
    text = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in measured.items())
    log.info("Stage %s: %s", stage, text, extra={"data": {"stage": stage, **measured}})
    return Stage(stage, measured["seconds"], rows, measured.get("rows_per_second"))

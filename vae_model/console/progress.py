"""How far a job is: bars on a terminal, lines in a log."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from vae_model.printable import printable

if TYPE_CHECKING:
    from vae_model.training.loop import TrainingProgress

log = logging.getLogger(__name__)


class LogLines:
    """Progress as lines: each fifth of the training once, tasks every ``QUIET`` seconds."""

    QUIET = 10

    def __init__(self) -> None:
        self._started = self._spoke = time.monotonic()
        self._fifths = 0

    def step(self, step: TrainingProgress) -> None:
        """Training is at this step."""
        fifths = 5 * step.step // step.steps
        if fifths > self._fifths:
            self._fifths = fifths
            log.info(
                "Training: step %d of %d, loss %.3f, %.0f s left", step.step, step.steps, step.loss, step.seconds_left
            )

    def tasks(self, what: str, done: int, total: int) -> None:
        """The engine has done so many tasks."""
        now = time.monotonic()
        if now - self._spoke >= self.QUIET:
            self._spoke = now
            state = f"{done} of {total} tasks, " if total else ""
            log.info("%s: %s%.0f s so far", what, state, now - self._started)


class Bars:
    """Progress as bars, one for each thing that is done."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._ids: dict[str, TaskID] = {}

    def step(self, step: TrainingProgress) -> None:
        """Training is at this step."""
        state = f"loss {step.loss:.3f}, {step.seconds_left:.0f} s left"
        self._draw("Training", step.step, step.steps, state)

    def tasks(self, what: str, done: int, total: int) -> None:
        """The engine has done so many tasks."""
        self._draw(what, done, total, f"{done} of {total} tasks" if total else "")

    def _draw(self, what: str, done: int, total: int, state: str) -> None:
        if what not in self._ids:
            self._ids[what] = self._bars.add_task(printable(what), total=None, state="")
        self._bars.update(self._ids[what], completed=done, total=total or None, state=state)


@contextmanager
def shown(terminal: Console | None) -> Iterator[Bars | LogLines]:
    """What to tell of training steps and of an engine's tasks: bars on a terminal, a line now and then in a log."""
    if terminal is None:
        yield LogLines()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=terminal, transient=True) as bars:
        yield Bars(bars)

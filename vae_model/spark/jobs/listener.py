"""Who is told of a run while it goes on, and what came of it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vae_model.detector import Detector
    from vae_model.runs.record import RunRecord
    from vae_model.spark.sinks.summary import Summary
    from vae_model.training.loop import TrainingProgress


class Display(Protocol):
    """What shows how far a job is."""

    def step(self, step: TrainingProgress) -> None:
        """Told of training steps."""

    def tasks(self, what: str, done: int, total: int) -> None:
        """Told of the engine's tasks."""


class Listener(Protocol):
    """Who is told of a run while it goes on, and what came of it."""

    def progress(self) -> AbstractContextManager[Display]:
        """Around each part of the run that takes long."""

    def trained(self, detector: Detector) -> None:
        """A model has been trained."""

    def ended(self, record: RunRecord, summary: Summary | None) -> None:
        """The run is over, well or not."""


class Nothing:
    """A display that shows nothing."""

    def step(self, step: TrainingProgress) -> None:
        """Pass over a training step."""

    def tasks(self, what: str, done: int, total: int) -> None:
        """Pass over the engine's tasks."""


class Nobody:
    """A listener that does nothing."""

    def progress(self) -> AbstractContextManager[Display]:
        """Show nothing."""
        return nullcontext(Nothing())

    def trained(self, detector: Detector) -> None:
        """Say nothing."""

    def ended(self, record: RunRecord, summary: Summary | None) -> None:
        """Say nothing."""

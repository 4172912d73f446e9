"""Who else is told of runs: the platforms that ``tracking`` of the config names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from vae_model.config.config import Config
    from vae_model.detector import Detector
    from vae_model.features.schema import Column
    from vae_model.runs.record import RunRecord

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """A platform that is told of a run."""

    name: str

    def began(self, record: RunRecord) -> None:
        """A run begins. Raises VaeAnomalyError where the platform cannot be told: no work has been done yet."""

    def reads(self, columns: Sequence[Column]) -> None:
        """The columns of the rows that are to be scored or trained on are known."""

    def trained(self, detector: Detector) -> None:
        """A model has been trained, and may not be in use yet."""

    def scores_by(self, detector: Detector) -> None:
        """The rows are going to be scored by this model, trained just now or before."""

    def adopted(self, detector: Detector) -> None:
        """The model that was trained is in use now."""

    def ended(self, record: RunRecord, page: Callable[[], str | None]) -> None:
        """The run is over, well or not. ``page`` makes its report, or None where none can be made."""


class Trackers:
    """All that a config names. Once the run has begun they cannot stop it: what one cannot be told is a warning."""

    def __init__(self, config: Config) -> None:
        """Raises ModuleNotFoundError where a platform's library is not installed."""
        self._own: list[Tracker] = []
        if config.tracking.mlflow:
            from vae_model.platforms.mlflow import MLflowRun

            self._own.append(MLflowRun(config.tracking.mlflow, config))
        if config.tracking.openlineage:
            from vae_model.platforms.openlineage import Lineage

            self._own.append(Lineage(config.tracking.openlineage, config))

    def began(self, record: RunRecord) -> None:
        """A run begins. Raises what a platform raises that cannot be told of it."""
        for tracker in self._own:
            tracker.began(record)

    def reads(self, columns: Callable[[], Iterable[Column]]) -> None:
        """The rows to score or to train on are known; their columns are asked for where somebody is told."""
        if self._own:
            self._tell("reads", list(columns()))

    def trained(self, detector: Detector) -> None:
        """A model has been trained."""
        self._tell("trained", detector)

    def scores_by(self, detector: Detector) -> None:
        """The rows are going to be scored by this model."""
        self._tell("scores_by", detector)

    def adopted(self, detector: Detector) -> None:
        """It is in use now."""
        self._tell("adopted", detector)

    def ended(self, record: RunRecord, page: Callable[[], str | None]) -> None:
        """The run is over."""
        self._tell("ended", record, page)

    def _tell(self, what: str, *about: Any) -> None:
        for tracker in self._own:
            try:
                getattr(tracker, what)(*about)
            except Exception as error:  # whatever a platform's library raises: the run goes on without it
                log.warning("%s could not be told all of this run: %s", tracker.name, error)
                log.debug("How telling it failed", exc_info=True)

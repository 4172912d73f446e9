"""A run's record while the run goes on: written when it begins, kept alive, and ended whatever happens."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from vae_model.errors import ConfigError, JobError
from vae_model.places import marks
from vae_model.runs.identity import derived_id
from vae_model.runs.ledger import Ledger
from vae_model.runs.record import RunRecord, Status

log = logging.getLogger(__name__)


class Recording:
    """Keeps a run's record, in a ledger where there is one."""

    def __init__(self, record: RunRecord, ledger: Ledger | None) -> None:
        self.record = record
        self._ledger = ledger
        self.has_begun = False
        self._done: RunRecord | None = None
        """What a run of the same id has done before that went well: its rows are there."""
        self._over = threading.Event()
        self._heart: threading.Thread | None = None

    def note(self, **changes: Any) -> None:
        """Something more is known of the run."""
        self.record = replace(self.record, **changes)

    def begin(self) -> None:
        """Write the record of a run that has an id now, as running.

        A run of the same id whose process is gone is taken over, with a warning. Raises JobError, ``transient``, where
        it goes on, and ConfigError where it went well with another config.
        """
        ledger = self._ledger
        if ledger is not None:
            before = ledger.find(self.record.run_id, self.record.trains)
            if before is not None:
                self._check(before)
                self._done = before if before.status == "succeeded" else None
            ledger.put(self.record)
        self.has_begun = True
        if ledger is not None and ledger.beats is not None:
            self._heart = threading.Thread(target=self._beat, args=(ledger, ledger.beats), daemon=True)
            self._heart.start()

    def end(self, status: Status, message: str | None = None, recorded: bool = True) -> RunRecord:
        """The record of the run, which is over; ``recorded``: in the ledger too, unless the run has not begun and there
        is a record of one of its id that goes on, or went well.
        """
        self._over.set()
        if self._heart is not None:
            self._heart.join()
        self.record = self.record.ending(status, message)
        if self._done is not None and status != "succeeded":
            self._put_back(self._done)
        if recorded and self._ledger is not None:
            try:
                before = None if self.has_begun else self._ledger.find(self.record.run_id, self.record.trains)
                if before is None or not (before.is_alive or before.status == "succeeded"):
                    self._ledger.put(self.record)
            except Exception as error:  # what the run did is done
                log.warning("The record of the run %s could not be written: %s", self.record.run_id, error)
        return self.record

    @property
    def id_if_refused(self) -> str:
        """The id under which a run is recorded that comes to nothing: one of its own where an earlier try went well.

        The rows of that try stay.
        """
        if self._done is None:
            return self.record.run_id
        return derived_id(self.record.name, [self.record.run_id, self.record.started.isoformat()])

    def _put_back(self, done: RunRecord) -> None:
        """The record of the earlier try, in the place of this one's, which is of another id from now on."""
        self.record = replace(self.record, run_id=self.id_if_refused)
        log.info("The run %s went well before: its record stays; this try is %s", done.run_id, self.record.run_id)
        try:
            if self._ledger is not None:
                self._ledger.put(replace(done, heartbeat=self.record.heartbeat))
        except Exception as error:  # what the run did is done
            log.warning("The record of the run %s could not be written: %s", done.run_id, error)

    def _check(self, before: RunRecord) -> None:
        where = (
            f"process {marks.process_id(before.process)} on {before.host}, since {before.started:%Y-%m-%d %H:%M:%S} UTC"
        )
        if before.is_alive:
            raise JobError(
                f"The run {before.run_id} is going on already.", "one at a time", where,
                "Wait for it, or give this run another --run-id.", transient=True,
            )  # fmt: skip
        if before.status == "running":
            log.warning("The run %s was found running, but it is gone (%s): taken over", before.run_id, where)
        elif before.status == "succeeded" and before.config_digest != self.record.config_digest:
            raise ConfigError(
                f"The run {before.run_id} went well before, with another config.",
                f"the config of then (digest {str(before.config_digest)[:12]})",
                f"digest {str(self.record.config_digest)[:12]}",
                "Give another --run-id, or the config as it was.",
            )

    def _beat(self, ledger: Ledger, seconds: float) -> None:
        while not self._over.wait(seconds):
            try:
                ledger.put(replace(self.record, heartbeat=datetime.now(UTC)))
            except Exception as error:  # the next one may arrive
                log.debug("The run's heartbeat was not written: %s", error)

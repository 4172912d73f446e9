"""Writing again where another run's commit came between."""

from __future__ import annotations

import logging

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from vae_model.config.tables import Output
from vae_model.errors import JobError, OvertakenError
from vae_model.spark import frames

log = logging.getLogger(__name__)

TRIES = 5
"""How often rows are written, where each time another run's commit comes between."""
WAIT = 20.0
"""Seconds between two tries at most; they are drawn at random, more each time."""


def tries(output: Output) -> Retrying:
    """The attempts to write to an output: one, or more where others write to it too."""

    def say(state: RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0
        log.warning(
            "Another run wrote to %s while this one did: try %d of %d, in %.0f s",
            output, state.attempt_number + 1, TRIES, wait,
        )  # fmt: skip

    return Retrying(
        retry=retry_if_exception(_is_conflict),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=1, max=WAIT),
        before_sleep=say,
        reraise=True,
    )


def _is_conflict(error: BaseException) -> bool:
    if isinstance(error, JobError):
        return error.transient and not isinstance(error, OvertakenError)
    return isinstance(error, frames.ENGINE_ERRORS) and frames.is_conflict(error)

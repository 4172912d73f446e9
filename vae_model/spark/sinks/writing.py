"""What a run writes, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from vae_model.config.tables import Output
from vae_model.errors import ConfigError
from vae_model.runs.stamp import Stamp

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RUN = "anomaly_run"
"""The column that says which run wrote a row."""


@dataclass(frozen=True)
class Writing:
    """The order of a run to a sink."""

    output: Output
    stamp: Stamp
    """What the run leaves in the output; its ``run`` is in the column ``anomaly_run`` of every row."""
    where: str | None = None
    """The predicate of the rows that ``replace_where`` replaces, or among which ``delete_missing`` looks."""
    anew: bool = False
    """The whole output is replaced, whatever its mode."""
    gone: DataFrame | None = None
    """Keys of rows that are gone from the source, to be removed by ``merge``."""
    keys: DataFrame | None = None
    """The keys of the rows, where they can be had without scoring them."""
    after: str | None = None
    """Of an increment: the run whose stamp it goes on from; empty where it is the first. None: it goes on from none."""

    gate: Callable[[DataFrame], None] | None = None
    """Is shown the scored rows before they are published, and raises GateClosed where they are not to be."""

    @property
    def mode(self) -> str:
        """The mode that counts."""
        return "replace" if self.anew else self.output.mode

    @property
    def run_column(self) -> str:
        """The name of ``anomaly_run`` in the output."""
        return self.output.prefix + RUN


def check_config(before: Stamp | None, writing: Writing) -> None:
    """Raise ConfigError where a run that was to take the place of its own rows has written them by another config: they
    are others, which would be lost.
    """
    now = writing.stamp
    if before is None or before.run != now.run or None in (before.config, now.config) or before.config == now.config:
        return
    raise ConfigError(
        f"The run {now.run} has written to {writing.output} before, with another config.",
        f"the config of then (digest {str(before.config)[:12]})",
        f"digest {str(now.config)[:12]}",
        "Give another --run-id, such as the scheduler's with the task or the slice added, or the config as it was.",
    )


class Mode(NamedTuple):
    """A mode of a format: what an engine must be able to do for it, and what a run may rely on."""

    needs: tuple[str, ...]
    """Names of ``Capabilities``."""
    promise: str


class Sink(Protocol):
    """A format that scored rows are written in."""

    def modes(self, output: Output) -> Mapping[str, Mode]:
        """The modes that it has for a path, or for a table by name."""

    def check(self, frame: DataFrame, output: Output) -> None:
        """Raise OutputError, before any work, where the rows of ``frame`` cannot be written in the output's mode."""

    def write(self, frame: DataFrame, writing: Writing) -> None:
        """Write the rows. Until all of them are scored, a reader finds the previous output."""

    def staged(self, frame: DataFrame, writing: Writing) -> AbstractContextManager[DataFrame]:
        """The rows to write: scored by now, and shown to the order's gate, where it has one and ``write`` does not do
        that itself. Raises what the gate raises.
        """

    def stamp(self, spark: SparkSession, output: Output) -> Stamp | None:
        """What the last run left in the output; None where there is none, or no run of this job's wrote it."""

    def undo(self, spark: SparkSession, output: Output) -> None:
        """Remove the rows of increments that have lost, and were killed before they did so themselves."""

    def mend(self, path: str) -> None:
        """Put right what a run that was killed has left at a path, before anything looks at it."""

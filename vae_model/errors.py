"""Every error the package raises on purpose, and what a scheduler is told of it.

    VaeAnomalyError          anything below
    ├── InputError           something given is not usable; nothing was written (exit code 2)
    │   ├── ConfigError      the config file, one of its keys, or a ``--set``
    │   ├── SourceError      a table cannot be opened or read, or a predicate does not fit it
    │   ├── SchemaError      a column is missing, retyped, unsupported, or clashes with an output column
    │   ├── TrainingError    the rows that were given cannot be trained on
    │   ├── ModelFileError   a model file is missing, truncated, altered, or of a newer format
    │   ├── OutputError      the output cannot be written where, or as, the config says
    │   ├── StorageError     a bucket or file system is missing, denied, or does not answer
    │   └── EngineError      the engine that was asked for cannot be had here
    ├── JobError             the job failed while it ran; the message says what became of the output (exit code 1)
    │   └── OvertakenError   another run wrote the increment that this one was to write (exit code 4)
    ├── GateClosed           a limit that the config sets was passed; what was in use stays in use (exit code 3)
    └── NothingToScore       there is no row to score; the output is as it was (exit code 99)

The exit codes of the command line:

    0    done
    1    the job failed, or something that nobody expected
    2    the config, the input or the model is not usable; nothing was written
    3    a gate said no: rows were not published, or a new version of the model was not taken into use
    4    try again: the engine, the storage or a server did not answer, another job wrote at the same time, workers were
         lost. Any of the errors above, with ``transient`` set
    99   nothing to score (what Airflow's BashOperator takes for "skip")
    130  interrupted

A message says what is wrong, what was expected, what was found, and what to do. Whatever names, values and words of
others it tells, it shows: only the lines of the layout are lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self, TypeVar

from vae_model.printable import printable

_LISTED = "\n(?=  - )"
TRY_AGAIN = 4
"""Exit code of what may go well the next time, with nothing changed."""


class VaeAnomalyError(Exception):
    """The root of every error raised on purpose.

    ``transient`` says whether the same job may succeed when it is run again with nothing changed. The parts travel as
    positional arguments, so that an error survives pickling from a worker to the driver.
    """

    code = 1
    """The exit code of this kind of error, where it is not transient."""

    def __init__(
        self, problem: str, expected: str = "", found: str = "", hint: str = "", transient: bool = False
    ) -> None:
        super().__init__(problem, expected, found, hint, transient)
        self.problem, self.expected, self.found, self.hint = problem, expected, found, hint
        self.transient = transient

    @property
    def exit_code(self) -> int:
        """What the command line ends with."""
        return TRY_AGAIN if self.transient else self.code

    def __str__(self) -> str:
        parts = [("expected", self.expected), ("found", self.found), ("to do", self.hint)]
        lines = [*re.split(_LISTED, self.problem), *(f"  {label}: {text}" for label, text in parts if text)]
        return "\n".join(map(printable, lines))

    def as_kind(self, kind: type[Other], problem: str) -> Other:
        """The same finding as an error of another kind, about something else: a model, an output."""
        return kind(problem, self.expected, self.found, self.hint, self.transient)


Other = TypeVar("Other", bound=VaeAnomalyError)


class InputError(VaeAnomalyError):
    """Something that was given (config, table, model, output) is not usable. Nothing was written."""

    code = 2


class ConfigError(InputError):
    """The config file, one of its keys, or a ``--set`` is not usable."""


class SourceError(InputError):
    """A source table cannot be opened or read, or a predicate does not fit it."""


class SchemaError(InputError):
    """A column is missing, retyped, of an unsupported type, or clashes with an output column."""


class TrainingError(InputError):
    """The training rows are too few, or hold nothing a model can learn from."""


class ModelFileError(InputError):
    """A model file is missing, truncated, altered, or of a newer format."""


class OutputError(InputError):
    """The output cannot be written where, or in the format, the config says. Nothing was written."""


class StorageError(InputError):
    """A bucket or a file system is missing, denied, without credentials, or does not answer."""


class EngineError(InputError):
    """The engine that was asked for cannot be had here."""


class JobError(VaeAnomalyError):
    """The job failed while it ran. The message says what became of the output."""


class OvertakenError(JobError):
    """Another run has read the same rows of the source into the output meanwhile. To try again is to begin anew."""


class GateClosed(VaeAnomalyError):  # noqa: N818 - it is no fault
    """A limit that the config sets was passed. What was in use stays in use."""

    code = 3
    gate: str | None = None
    """The config's key of the limit."""
    limit: float | None = None
    number: float | None = None
    """What was found where the limit is; None where nothing could be."""

    def at(self, gate: str, limit: float, number: float | None) -> Self:
        """The same, with the limit that was passed."""
        self.gate, self.limit, self.number = gate, limit, number
        return self


class NothingToScore(VaeAnomalyError):  # noqa: N818 - it is no fault
    """There is no row to score. The output is as it was."""

    code = 99


def listed(title: str, problems: Iterable[str]) -> str:
    """Several problems as the text of one: a line each, under a title."""
    return "\n".join(printable(line) for line in (title, *(f"  - {problem}" for problem in problems)))


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the known name closest to ``name``, or an empty string."""
    known = list(known)
    lowered = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""

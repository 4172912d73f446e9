"""Every error the package raises on purpose.

    VaeAnomalyError          anything below; the command line's exit code is its ``exit_code``
    └── InputError           something given is not usable; nothing was written (exit code 2)
        ├── ConfigError      the config file, one of its keys, or a ``--set``
        ├── SourceError      a table cannot be opened, is empty, or a predicate does not fit it
        ├── SchemaError      a column is missing, retyped, unsupported, or clashes with an output column
        ├── TrainingError    the rows that were given cannot be trained on
        ├── ModelFileError   a model file is missing, truncated, altered, or of a newer format
        ├── OutputError      the output cannot be written where, or as, the config says
        ├── StorageError     a bucket or file system is missing, denied, or does not answer
        └── EngineError      the engine that was asked for cannot be had here

A message says what is wrong, what was expected, what was found, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class VaeAnomalyError(Exception):
    """The root of every error raised on purpose.

    The parts travel as positional arguments, so an error survives pickling from a worker to the driver.
    """

    exit_code = 1

    def __init__(self, problem: str, expected: str = "", found: str = "", hint: str = "") -> None:
        super().__init__(problem, expected, found, hint)
        self.problem, self.expected, self.found, self.hint = problem, expected, found, hint

    def __str__(self) -> str:
        parts = [("expected", self.expected), ("found", self.found), ("to do", self.hint)]
        return "\n".join([self.problem, *(f"  {label}: {text}" for label, text in parts if text)])


class InputError(VaeAnomalyError):
    """Something that was given (config, table, model, output) is not usable. Nothing was written."""

    exit_code = 2


class ConfigError(InputError):
    """The config file, one of its keys, or a ``--set`` is not usable."""


class SourceError(InputError):
    """A source table cannot be opened, is empty, or a predicate does not fit it."""


class SchemaError(InputError):
    """A column is missing, retyped, of an unsupported type, or clashes with an output column."""


class TrainingError(InputError):
    """The training rows are too few, or hold nothing a model can learn from."""


class ModelFileError(InputError):
    """A model file is missing, truncated, altered, or of a newer format."""


class OutputError(InputError):
    """The output cannot be written where, or in the format, the config says."""


class StorageError(InputError):
    """A bucket or a file system is missing, denied, without credentials, or does not answer."""


class EngineError(InputError):
    """The engine that was asked for cannot be had here."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the known name closest to ``name``, or an empty string."""
    known = list(known)
    lowered = {k.lower(): k for k in known}
    close = get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]!r}?" if close else ""

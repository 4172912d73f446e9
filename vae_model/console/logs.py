"""The log's lines: for people, or JSON. A record is one line, whatever its message holds."""

from __future__ import annotations

import json
import logging
from enum import StrEnum
from typing import Any

from rich.console import Console
from rich.logging import RichHandler

from vae_model.printable import printable

PYSPARK_LOGS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
"""Where pyspark writes what an engine says of a query, as it is and to standard error. Our errors tell it."""


class LogFormat(StrEnum):
    """Format of the log's lines."""

    auto = "auto"
    plain = "plain"
    json = "json"


class _Lines(logging.Formatter):
    """A record is one line, whatever its message holds; a traceback stands below it, indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(f"  {printable(line)}" for line in super().formatException(ei).splitlines())


class _JsonLines(logging.Formatter):
    """A record is one JSON object in ASCII letters: its message is for people, its data are as they were."""

    def format(self, record: logging.LogRecord) -> str:
        message = printable(record.getMessage())
        fields = {"time": self.formatTime(record), "level": record.levelname, "message": message}
        text = json.dumps({**fields, **getattr(record, "data", {})}, default=str)
        return json.dumps(json.loads(text, parse_constant=str))  # NaN is no JSON: it is told as text


def set_up(format_: LogFormat, terminal: Console | None) -> None:
    """Have the package log to standard error in a format: on a terminal, where one is given, in its colours."""
    handler: logging.Handler
    if terminal is not None:
        handler = RichHandler(console=terminal, show_path=False, show_time=False, markup=False)
        handler.setFormatter(_Lines("%(message)s"))
    else:
        handler = logging.StreamHandler()
        line = _Lines("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        handler.setFormatter(_JsonLines() if format_ is LogFormat.json else line)
    root = logging.getLogger("vae_model")
    root.handlers[:], root.propagate = [handler], False
    root.setLevel(logging.INFO)
    for name in PYSPARK_LOGS:
        logging.getLogger(name).disabled = True

"""Views over the tables of a config, as SQL: what dashboards ask of them, written once for each dialect.

They are text, made of the config alone. Nothing of a name is ever SQL: identifiers are quoted, and paths are literals.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from vae_model.config.config import Config
from vae_model.config.tables import Output, Runs
from vae_model.errors import ConfigError
from vae_model.places import files, identifiers

HEAD = """\
-- Views over the scored tables of a config, in the SQL of {name}: made by `vae-anomaly views`.
-- They hold no rows: make them once, in the schema of your choice.
"""


class View(NamedTuple):
    """A view's name, what it tells, and its query; or why there is none."""

    name: str
    about: str
    query: str


class Dialect(ABC):
    """How an engine writes what the views need."""

    name: ClassVar[str]
    first: ClassVar[int]
    """The number of the first entry of a list, as ``each_reason`` gives it."""

    @abstractmethod
    def quote(self, name: str) -> str:
        """A name as an identifier."""

    @abstractmethod
    def files(self, format_: str, path: str, folders: int) -> str:
        """A table of files, as a query names it; they lie so many folders deep."""

    @abstractmethod
    def each_reason(self, table: str, reasons: str, flag: str) -> str:
        """A query of the columns ``place`` and ``reason``: each reason of each flagged row."""

    def place(self, place: Output | Runs, format_: str) -> str:
        """A table of a config, as a query names it."""
        if place.table is not None:
            return ".".join(map(self.quote, identifiers.parts(place.table)))
        path = files.for_engine(place.path or "")  # a view is asked from anywhere
        partitions = place.partition_by if isinstance(place, Output) else []
        return self.files(format_, path, len(partitions))


class Spark(Dialect):
    """Spark SQL, Databricks and Sail."""

    name = "spark"
    first = 0

    def quote(self, name: str) -> str:
        """In backticks."""
        return identifiers.quote(name)

    def files(self, format_: str, path: str, folders: int) -> str:
        """By format and path."""
        return f"{format_}.{self.quote(path)}"

    def each_reason(self, table: str, reasons: str, flag: str) -> str:
        """By a generator."""
        return f"SELECT posexplode({reasons}) AS (place, reason) FROM {table} WHERE {flag}"


class DuckDB(Dialect):
    """DuckDB, with its extension for Delta."""

    name = "duckdb"
    first = 1

    def quote(self, name: str) -> str:
        """In double quotes."""
        return '"' + name.replace('"', '""') + '"'

    def files(self, format_: str, path: str, folders: int) -> str:
        """By a function."""
        quoted = path.rstrip("/").replace("'", "''")
        if format_ == "delta":
            return f"delta_scan('{quoted}')"
        plain = re.sub(r"[*?\[]", r"[\g<0>]", quoted)  # of the path itself nothing is a pattern
        names, has_folders = f"{plain}{'/*=*' * folders}/*.parquet", str(folders > 0).lower()
        return f"read_parquet('{names}', hive_partitioning = {has_folders}, union_by_name = true)"

    def each_reason(self, table: str, reasons: str, flag: str) -> str:
        """By two lists that are taken apart side by side."""
        columns = f"generate_subscripts({reasons}, 1) AS place, unnest({reasons}) AS reason"
        return f"SELECT {columns} FROM {table} WHERE {flag}"


DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Spark(), DuckDB())}


def sql(config: Config, dialect: str) -> str:
    """The views over the tables of a config. Raises ConfigError where it names no output, or for an unknown dialect."""
    if config.output is None:
        raise ConfigError("There is nothing to make views of: the config has no output.", "output: {path: …}", "none")
    if dialect not in DIALECTS:
        raise ConfigError(f"There is no dialect {dialect}.", f"one of {', '.join(DIALECTS)}", dialect)
    own = DIALECTS[dialect]
    parts = [HEAD.format(name=own.name)]
    for view in _views(config, config.output, own):
        query = f"CREATE OR REPLACE VIEW {own.quote(view.name)} AS\n{view.query};\n" if view.query else ""
        parts.append(f"-- {view.name}: {view.about}\n{query}")
    return "\n".join(parts)


def _views(config: Config, output: Output, own: Dialect) -> Iterator[View]:
    place, runs = config.runs_place, None
    if place is not None:
        runs = _latest(own.place(place, output.format)) if place.table is not None else own.place(place, "parquet")
    rows = own.place(output, output.format)
    kept = config.alerts_output
    alerts = own.place(kept, kept.format) if kept else None
    flag, score, reasons = (
        own.quote(output.prefix + name) for name in ("is_anomaly", "anomaly_score", "anomaly_reasons")
    )
    yield _runs(runs)
    yield from _alerts(alerts, runs)
    yield View("reasons_by_column", "how often each column is blamed for a flagged row, and for how much of the scores",
               _reasons(own, rows, reasons, flag))  # fmt: skip
    if config.decision.by:
        yield View("rate_by_segment", "how many rows of each segment are flagged",
                   _rates(own, rows, config.decision.by, flag, score))  # fmt: skip
    else:
        yield View("rate_by_segment", "left out, for decision.by names no columns", "")


def _latest(runs: str) -> str:
    """A table of runs by name has a row for each state of a run: the latest of each."""
    state = "row_number() OVER (PARTITION BY run_id, command ORDER BY heartbeat DESC)"
    return f"(SELECT * FROM (SELECT *, {state} AS state FROM {runs}) AS states WHERE state = 1)"


def _runs(runs: str | None) -> View:
    if runs is None:
        return View("runs", "left out, for the config keeps no record of runs", "")
    return View(
        "runs",
        "what each run did, and how many rows it flagged",
        f"""\
SELECT run_id, name, command, status, message, started, ended, model, source_version, slice, mode,
       rows_read, rows_scored, anomalies, anomalies / nullif(rows_scored, 0) AS anomaly_rate, effective_rate, alerts,
       largest_drift, gate
FROM {runs} AS runs""",
    )


def _alerts(alerts: str | None, runs: str | None) -> Iterator[View]:
    names = {
        "alerts_latest": "the alerts of the latest run that scored",
        "alerts_by_day": "alerts by the day of their run",
    }
    if alerts is None or runs is None:
        lacking = "alerts table" if alerts is None else "record of runs"
        yield from (View(name, f"left out, for the config keeps no {lacking}", "") for name in names)
        return
    yield View(
        "alerts_latest",
        names["alerts_latest"],
        f"""\
SELECT * FROM {alerts}
WHERE anomaly_run =
      (SELECT max_by(run_id, started) FROM {runs} AS runs WHERE status = 'succeeded' AND command <> 'train')""",
    )
    yield View(
        "alerts_by_day",
        names["alerts_by_day"],
        f"""\
SELECT CAST(r.started AS DATE) AS day, count(*) AS alerts, count(DISTINCT a.anomaly_run) AS runs,
       max(a.anomaly_score) AS highest_score
FROM {alerts} AS a JOIN {runs} AS r ON r.run_id = a.anomaly_run AND r.command <> 'train'
GROUP BY CAST(r.started AS DATE)""",
    )


def _reasons(own: Dialect, rows: str, reasons: str, flag: str) -> str:
    return f"""\
SELECT reason.feature AS feature, count(*) AS named, sum(CASE WHEN place = {own.first} THEN 1 ELSE 0 END) AS first,
       sum(reason.share) AS share
FROM ({own.each_reason(rows, reasons, flag)}) AS reasons
GROUP BY reason.feature"""


def _rates(own: Dialect, rows: str, by: Sequence[str], flag: str, score: str) -> str:
    names = ", ".join(map(own.quote, by))
    return f"""\
SELECT {names}, count(*) AS rows, sum(CASE WHEN {flag} THEN 1 ELSE 0 END) AS flagged,
       sum(CASE WHEN {flag} THEN 1 ELSE 0 END) / nullif(count({score}), 0) AS rate,
       count(*) - count({score}) AS unscored
FROM {rows}
GROUP BY {names}"""

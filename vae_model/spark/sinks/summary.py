"""What a run did, read back from what it wrote."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyspark.sql import functions as F

from vae_model.config.tables import Output
from vae_model.decisions.calibration import Alerts
from vae_model.drift.p_values import BINS, Uniformity
from vae_model.places.identifiers import quote
from vae_model.printable import as_html, html_table
from vae_model.scoring.scorer import Scorer
from vae_model.spark.frames import column
from vae_model.spark.sinks.reading import in_sql
from vae_model.spark.sinks.top_rows import TopRow, top_rows

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Summary:
    """Counts of a scored table, how it was decided, and its highest-scoring rows, flagged or not."""

    rows: int
    scored: int
    """Rows that have a score."""
    anomalies: int
    statuses: dict[str, int]
    decision: str
    """The rule in words, with what follows from it in figures (``Calibration``)."""
    cut: float
    resulting_rate: float
    finest_rate: float
    expected: Alerts
    """Of the rows that have a score."""
    is_by_segment: bool
    """Whether the cut is times the level of a row's segment."""
    top: list[TopRow]
    output: str
    sql: str
    alerts_sql: str | None = None
    """A query over the alerts table, where there is one."""
    p_values: Uniformity | None = None
    """Whether the p-values are those of rows like the held-out ones; None where no row has one."""

    @property
    def rate(self) -> float:
        """Share of the rows that are flagged."""
        return self.anomalies / self.rows if self.rows else 0.0

    def _repr_html_(self) -> str:
        """As a notebook shows it: counts, the decision, and a line for each of the highest-scoring rows."""
        statuses = ", ".join(f"{count:,} {status}" for status, count in self.statuses.items())
        told = [
            ("rows", f"{self.rows:,}: {statuses}"),
            ("flagged", f"{self.anomalies:,} ({self.rate:.3%}); {self.expected.describe()}"),
            ("decision", self.decision),
            ("output", self.output),
            ("SQL", self.sql),
            *([("SQL of the alerts", self.alerts_sql)] if self.alerts_sql else []),
        ]
        if not self.top:
            return html_table(told)
        heads = [*self.top[0].key, "score", "flagged", "reasons: observed (expected), share of the score"]
        rows = (
            [*row.key.values(), f"{row.score:,.2f}", "yes" if row.is_anomaly else "no", _why(row)] for row in self.top
        )
        return f"{html_table(told)}<p>{as_html('The highest scores:')}</p>{html_table(rows, heads)}"


def summarise(frame: DataFrame, output: Output, key: list[str], scorer: Scorer) -> Summary:
    """Count rows that ``scorer`` has scored and fetch the highest; ``key`` are the columns that name a row."""
    names = ("is_anomaly", "anomaly_status", "anomaly_score", "anomaly_p_value")
    flag, status, score, p_value = (column(output.prefix + name) for name in names)
    place = F.ceil(p_value * F.lit(float(BINS)) - F.lit(1e-9)).cast("int")
    counts = frame.groupBy(status, place).agg(F.count(F.lit(1)), F.sum(F.when(flag, 1).otherwise(0)), F.count(score))
    counted = [(row[0], row[1], *map(int, row[2:])) for row in counts.collect()]
    calibration, scored = scorer.calibration, sum(own for *_, own in counted)
    statuses, count_B = Counter[str](), np.zeros(BINS, np.int64)
    for name, place_, rows, _, own in counted:
        statuses[name] += rows
        if place_ is not None:
            count_B[place_ - 1] += own
    return Summary(
        rows=statuses.total(),
        scored=scored,
        anomalies=sum(flagged for *_, flagged, _ in counted),
        statuses=dict(sorted(statuses.items())),
        decision=calibration.describe(),
        cut=calibration.cut,
        resulting_rate=calibration.resulting_rate,
        finest_rate=calibration.finest_rate,
        expected=calibration.alerts(scored),
        is_by_segment=bool(scorer.rule.by),
        top=top_rows(frame, output.prefix, key, scorer),
        output=str(output),
        sql=_sql(output, key),
        p_values=Uniformity.of(count_B, len(calibration.scores)),
    )


def _why(row: TopRow) -> str:
    return "; ".join(f"{one.feature} {one.observed} ({one.expected}) {one.share:.0%}" for one in row.reasons[:3])


def _sql(output: Output, key: list[str]) -> str:
    """A query over the output, for Spark SQL."""
    score, flag, reasons = (f"{output.prefix}{name}" for name in ("anomaly_score", "is_anomaly", "anomaly_reasons"))
    shown = ", ".join([*map(quote, key), score, reasons])
    return f"SELECT {shown} FROM {in_sql(output)} WHERE {flag} ORDER BY {score} DESC"  # noqa: S608 - shown, not run

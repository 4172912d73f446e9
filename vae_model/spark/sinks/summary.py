"""What a run did, read back from what it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F

from vae_model.config.sections import Output
from vae_model.places.identifiers import quote, table
from vae_model.spark.frames import column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

TOP = 10


@dataclass(frozen=True)
class Reason:
    """One entry of anomaly_reasons."""

    feature: str
    share: float
    observed: str
    expected: str


@dataclass(frozen=True)
class Anomaly:
    """A flagged row: its key, score, p-value and reasons."""

    key: dict[str, Any]
    score: float
    p_value: float
    reasons: list[Reason]


@dataclass(frozen=True)
class Summary:
    """Counts of a scored table and its highest-scoring flagged rows."""

    rows: int
    anomalies: int
    statuses: dict[str, int]
    top: list[Anomaly]
    output: str
    sql: str

    @property
    def rate(self) -> float:
        """Share of the rows that are flagged."""
        return self.anomalies / self.rows if self.rows else 0.0


def summarise(frame: DataFrame, output: Output, key: list[str]) -> Summary:
    """Count scored rows and fetch the highest; ``key`` are the columns that name a row."""
    prefix = output.prefix
    flag, score, status = (column(prefix + name) for name in ("is_anomaly", "anomaly_score", "anomaly_status"))
    counts = frame.groupBy(status).agg(F.count(F.lit(1)), F.sum(F.when(flag, 1).otherwise(0)))
    counted = [(row[0], int(row[1]), int(row[2])) for row in counts.collect()]
    shown = key or [name for name in frame.columns[:3] if not name.startswith(prefix + "anomaly")]
    top = (
        frame.where(flag)
        .orderBy(score.desc(), *(column(name) for name in key))
        .limit(TOP)
        .select(*map(column, shown), score, *(column(prefix + name) for name in ("anomaly_p_value", "anomaly_reasons")))
    )
    anomalies = [
        Anomaly(
            dict(zip(shown, row, strict=False)),
            score,
            p_value,
            [Reason(r["feature"], r["share"], r["observed"], r["expected"]) for r in reasons],
        )
        for row in top.collect()
        for score, p_value, reasons in [row[-3:]]
    ]
    return Summary(
        rows=sum(n for _, n, _ in counted),
        anomalies=sum(a for _, _, a in counted),
        statuses=dict(sorted((s, n) for s, n, _ in counted)),
        top=anomalies,
        output=str(output),
        sql=_sql(output, key),
    )


def _sql(output: Output, key: list[str]) -> str:
    """A query over the output, for Spark SQL."""
    place = table(output.table) if output.table else f"{output.format}.{quote(output.path or '')}"
    shown = ", ".join(
        [*(quote(name) for name in key), f"{output.prefix}anomaly_score", f"{output.prefix}anomaly_reasons"]
    )
    return f"SELECT {shown} FROM {place} WHERE {output.prefix}is_anomaly ORDER BY {output.prefix}anomaly_score DESC"  # noqa: S608 - shown to the user, not run

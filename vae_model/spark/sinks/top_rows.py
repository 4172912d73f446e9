"""The highest-scoring rows of a scored table, flagged or not, each with the reasons of its score."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark.sql import functions as F

from vae_model.features import schema
from vae_model.features.spec import combine
from vae_model.scoring.scorer import Scorer
from vae_model.spark.frames import column, to_arrow

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

log = logging.getLogger(__name__)

TOP = 10
SAME = 1e-6
"""How far apart two engines' scores of a row may be, relative: a row that scores otherwise here is not what it was."""


@dataclass(frozen=True)
class Reason:
    """One entry of anomaly_reasons."""

    feature: str
    share: float
    observed: str
    expected: str


@dataclass(frozen=True)
class TopRow:
    """A high-scoring row: its key, score, p-value, decision and reasons."""

    key: dict[str, Any]
    score: float
    p_value: float
    is_anomaly: bool
    reasons: list[Reason]


def top_rows(frame: DataFrame, prefix: str, key: Sequence[str], scorer: Scorer) -> list[TopRow]:
    """The ``TOP`` highest-scoring rows of a table that ``scorer`` has scored; rows without a score are none of them.

    The workers have made reasons for the flagged ones. Those of the others are made here.
    """
    shown = shown_columns(frame, prefix, key)
    names = ("anomaly_score", "anomaly_p_value", "is_anomaly", "anomaly_reasons")
    score, p_value, flag, reasons = (column(prefix + name) for name in names)
    highest = frame.where(score.isNotNull()).orderBy(score.desc(), *map(column, key)).limit(TOP)
    found = highest.select(*map(column, shown), score, p_value, flag, reasons).collect()
    rows = [
        TopRow(dict(zip(shown, row, strict=False)), one_score, one_p, is_flagged, _reasons(why))
        for row in found
        for one_score, one_p, is_flagged, why in [row[-4:]]
    ]
    unflagged = [row.score for row in rows if not row.is_anomaly]
    if not unflagged:
        return rows
    explained = _explained(frame.where(~flag & (score >= F.lit(min(unflagged)))), score, scorer)
    return [row if row.is_anomaly else replace(row, reasons=explained.get(row.score, [])) for row in rows]


def shown_columns(frame: DataFrame, prefix: str, key: Sequence[str]) -> list[str]:
    """The columns that name a row: those of the key, or the first ones that the source has."""
    return list(key) or [name for name in frame.columns[:3] if not name.startswith(prefix + "anomaly")]


def explained(features: pa.Table, written: Sequence[float], scorer: Scorer) -> list[dict[str, Any] | None]:
    """What the model says of some rows; None of one that does not give its score any more. Raises whatever comes of a
    table that does not hold the columns as they were. Of a row that is scored by its window a few rows say nothing.
    """
    if scorer.windows:
        return [None] * len(written)
    schema.check_fits_model(schema.arrow_columns(features.schema), scorer.spec.trained)
    scored = scorer.explain([combine(features.column(name)) for name in scorer.names]).to_pylist()
    return [
        now if now["anomaly_score"] is not None and math.isclose(before, now["anomaly_score"], rel_tol=SAME) else None
        for before, now in zip(written, scored, strict=True)
    ]


def _explained(frame: DataFrame, score: Column, scorer: Scorer) -> dict[float, list[Reason]]:
    """The reasons of the highest scores of a scored table, by score, made from its feature columns.

    None of a score that the columns, as the output holds them, do not give any more, and none of one that rows have for
    different reasons. The rows are written by now: whatever goes wrong here is no reason to fail.
    """
    try:
        wanted = [*map(column, scorer.names), score]
        highest = frame.orderBy(score.desc()).limit(TOP)
        table = to_arrow(highest.select(*(one.alias(str(number)) for number, one in enumerate(wanted))))
        written = table.column(len(scorer.names)).to_pylist()
        features = table.select(range(len(scorer.names))).rename_columns(scorer.names)
        scored = explained(features, written, scorer)
    except Exception:
        log.debug("How explaining rows that are not flagged failed", exc_info=True)
        return {}
    found: dict[float, list[Reason]] = {}
    for before, now in zip(written, scored, strict=True):
        reasons = _reasons(now["anomaly_reasons"]) if now else []
        found[before] = reasons if found.get(before, reasons) == reasons else []
    return found


def _reasons(entries: Iterable[Any]) -> list[Reason]:
    return [Reason(*(entry[field.name] for field in fields(Reason))) for entry in entries]

"""A run's rows in a bounded number of figures: counted by the engine, and the worst of them brought here."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pyspark.sql import functions as F

from vae_model.detector import Detector
from vae_model.features.schema import Column
from vae_model.features.spec import combine
from vae_model.report.facts import (
    DAYS,
    HIGHEST,
    LOWEST,
    PER_DECADE,
    SEGMENTS,
    TOP,
    Blamed,
    Day,
    Reason,
    Rows,
    Segment,
    Shown,
    Top,
)  # fmt: skip
from vae_model.report.heat import drawn
from vae_model.spark.frames import column, columns, to_arrow
from vae_model.spark.jobs.tally import day_of, over_levels
from vae_model.spark.sinks.alerts import worst_first
from vae_model.spark.sinks.top_rows import explained, shown_columns

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

log = logging.getLogger(__name__)

BLAMED = 1000
"""Columns that reasons blame and are brought here at most."""
EPOCH = date(1970, 1, 1)
FIRST, LAST = ((one - EPOCH).days for one in (date.min, date.max))
"""Days that Python knows. An engine has others."""
PICTURES = 8
"""Rows whose pictures are shown."""
LETTERS = 200
"""Letters of a key or of a segment's value that are brought here."""


class Parts(NamedTuple):
    """The columns that part the rows, and those that name one."""

    key: Sequence[str]
    time: Column | None
    by: Sequence[str]


def portrait(frame: DataFrame, place: str, prefix: str, detector: Detector | None, parts: Parts) -> Rows:
    """Count the rows that a run has scored, and bring the worst of them. Raises ``frames.READ_ERRORS``."""
    flagged = F.coalesce(column(prefix + "is_anomaly"), F.lit(False))
    counts = [F.count(F.lit(1)).alias("rows"), F.count(F.when(flagged, 1)).alias("flagged")]
    bins, segments = _scores(frame, prefix, detector), []
    if parts.by:
        names = [f"s{i}" for i in range(len(parts.by))]
        values = zip(_texts(frame, parts.by), names, strict=True)
        grouped = frame.groupBy(*(value.alias(own) for value, own in values)).agg(*counts)
        order = [F.col("flagged").desc(), F.col("rows").desc(), *(F.col(name).asc_nulls_first() for name in names)]
        worst = grouped.orderBy(*order).limit(SEGMENTS + 1)
        short = (F.substring(F.col(name), 1, LETTERS).alias(name) for name in names)
        segments = to_arrow(worst.select(*short, "rows", "flagged")).to_pylist()
    return Rows(
        place,
        sum(bins.values()),
        {place: own for place, own in bins.items() if place is not None},
        _top(frame, prefix, detector, parts.key),
        _blamed(frame.where(flagged), prefix),
        parts.time.name if parts.time else None,
        _days(frame, parts.time, counts) if parts.time else (),
        tuple(parts.by),
        tuple(
            Segment(tuple(own[f"s{i}"] for i in range(len(parts.by))), own["rows"], own["flagged"])
            for own in segments[:SEGMENTS]
        ),
        len(segments) <= SEGMENTS,
    )


def _days(frame: DataFrame, time: Column, counts: Sequence[SparkColumn]) -> tuple[Day, ...]:
    """The rows of each day, but for days that are far from the one that half of the rows come before: what is written
    for "never" is one, such as 9999-12-31.
    """
    by_day = frame.groupBy(day_of(time).alias("day")).agg(*counts).where(F.col("day").between(FIRST, LAST))
    found = to_arrow(by_day.orderBy(F.col("day").desc()).limit(DAYS)).to_pylist()[::-1]
    half, middle = sum(own["rows"] for own in found) / 2, 0
    for own in found:
        middle, half = own["day"], half - own["rows"]
        if half <= 0:
            break
    near = (own for own in found if abs(own["day"] - middle) <= DAYS // 2)
    return tuple(Day(EPOCH + timedelta(days=own["day"]), own["rows"], own["flagged"]) for own in near)


def _scores(frame: DataFrame, prefix: str, detector: Detector | None) -> dict[int | None, int]:
    """How many scores are in each bin of ``report.facts.bin_of``, and how many rows have none."""
    score = column(prefix + "anomaly_score")
    if detector is not None:
        frame, score = over_levels(frame, score, detector.scorer)
    low, high = (float(power * PER_DECADE) for power in (LOWEST, HIGHEST))
    place = F.log10(F.when(score > 0, score)) * F.lit(float(PER_DECADE))
    bounded = F.when(score > 0, F.greatest(F.lit(low), F.least(place, F.lit(high)))).when(score <= 0, F.lit(low))
    bins = frame.groupBy(F.floor(bounded).cast("int").alias("bin")).agg(F.count(F.lit(1)).alias("rows"))
    return {own["bin"]: own["rows"] for own in to_arrow(bins).to_pylist()}


def _blamed(flagged: DataFrame, prefix: str) -> tuple[Blamed, ...]:
    """The columns that the reasons of flagged rows name."""
    reasons = flagged.select(F.posexplode(column(prefix + "anomaly_reasons")).alias("place", "reason"))
    feature, share = F.col("reason").getField("feature"), F.col("reason").getField("share")
    counts = [F.count(F.when(F.col("place") == 0, 1)).alias("first"), F.count(F.lit(1)).alias("named"),
              F.sum(share).alias("share")]  # fmt: skip
    found = reasons.groupBy(feature.alias("feature")).agg(*counts)
    rows = to_arrow(found.orderBy(F.col("share").desc(), F.col("feature")).limit(BLAMED)).to_pylist()
    return tuple(Blamed(own["feature"], own["first"], own["named"], own["share"]) for own in rows)


def _top(frame: DataFrame, prefix: str, detector: Detector | None, key: Sequence[str]) -> tuple[Top, ...]:
    """The worst rows, in the order of alerts, each with its reasons: those of the table, and of rows that were not
    flagged the model's.
    """
    own = ("anomaly_score", "anomaly_p_value", "is_anomaly", "anomaly_reasons")
    shown = shown_columns(frame, prefix, key)
    features = [name for name in detector.scorer.names if name in frame.columns] if detector else []
    wanted: list[SparkColumn] = [
        *(F.substring(value, 1, LETTERS) for value in _texts(frame, shown)),
        *(column(prefix + name) for name in own),
    ]
    wanted += map(column, features)
    worst = (
        frame.where(column(prefix + "anomaly_score").isNotNull()).orderBy(*worst_first(prefix, list(key))).limit(TOP)
    )
    table = to_arrow(worst.select(*(one.alias(f"c{number}") for number, one in enumerate(wanted))))
    start = len(shown)
    of_model = table.select(range(start + len(own), len(wanted))).rename_columns(features)
    said = _said(of_model, table.column(start).to_pylist(), detector)
    told = []
    for place, row in enumerate(table.select(range(start + len(own))).to_pylist()):
        *names, score, p_value, is_flagged, reasons = row.values()
        why = said[place]
        reasons = reasons or (why["anomaly_reasons"] if why else [])
        told.append(Top(
            {name: "null" if value is None else value for name, value in zip(shown, names, strict=True)},
            score, p_value, bool(is_flagged),
            tuple(Reason(*(one[name] for name in Reason._fields)) for one in reasons or []),
            why["reason"] if why else None,
            _shown(of_model, place, reasons or [], detector) if place < PICTURES else (),
        ))  # fmt: skip
    return tuple(told)


def _shown(
    features: pa.Table, row: int, reasons: Sequence[Mapping[str, Any]], detector: Detector | None
) -> tuple[Shown, ...]:
    """The picture that is blamed most of a row, if one is."""
    known = detector.scorer.pictures.columns if detector is not None and detector.scorer.pictures else ()
    by_name = {own.look.feature.name: own for own in known}
    name = next((one["feature"] for one in reasons if one["feature"] in by_name), None)
    if name is None:
        return ()
    try:
        seen = by_name[name].look.pixels(combine(features.column(name).slice(row, 1)))
        if not seen.readable_N[0]:
            return ()
        return (Shown(name, *drawn(seen.pixels_NHWC[0], by_name[name].heat(seen)[0])),)
    except Exception:  # whatever it is: the row is told of without
        log.warning("The picture of a row could not be shown", exc_info=True)
        return ()


def _texts(frame: DataFrame, names: Sequence[str]) -> list[SparkColumn]:
    """Columns as text: what Python has no room for, such as a year beyond 9999, has letters. Bytes are hexadecimal."""
    types = {one.name: one.type for one in columns(frame)}
    return [F.hex(column(name)) if types[name] == "binary" else column(name).cast("string") for name in names]


def _said(
    features: pa.Table, written: Sequence[float], detector: Detector | None
) -> Sequence[Mapping[str, Any] | None]:
    """What the model says of some rows; nothing where the table does not hold its columns as they were."""
    if detector is not None and written:
        try:
            return explained(features, written, detector.scorer)
        except Exception:  # whatever it is: the rows have reasons of their own
            log.debug("How explaining the worst rows failed", exc_info=True)
    return [None] * len(written)

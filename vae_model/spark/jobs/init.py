"""`vae-anomaly init`: a commented starter config, written by looking at a table."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from vae_model.config.load import parse_config
from vae_model.config.sections import Config, Source
from vae_model.errors import SourceError
from vae_model.features.families import FAMILIES
from vae_model.features.kinds import KINDS, default_kind
from vae_model.features.schema import Column
from vae_model.features.spec import combine
from vae_model.places import files
from vae_model.spark import frames
from vae_model.spark.source.table import open_source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOOK = 20_000
"""At most this many rows are looked at."""
ID_SHARE = 0.9
"""A string or whole-number column with more distinct values than this share of its rows identifies rows."""
MANY = 1000
"""A string column with more distinct values than this is no category a model can learn."""


@dataclass(frozen=True)
class _Look:
    """What was seen of one column."""

    column: Column
    rows: int
    present: int
    distinct: int

    @property
    def is_nested(self) -> bool:
        """Whether a value holds several others: such a column is not counted, and neither a key nor a category."""
        return self.column.family is not None and FAMILIES[self.column.family].is_nested

    @property
    def looks_like_id(self) -> bool:
        """Whether the column seems to name rows."""
        name = re.search(r"(^|_)(id|uuid|guid|key)$", self.column.name.lower())
        many = self.distinct > ID_SHARE * max(self.present, 1) and self.present > 20
        return self.column.family in ("string", "integer") and (many or (bool(name) and self.distinct > 20))


def named_source(source: str, format_: str | None, engine: str) -> Config:
    """The config of a source named on the command line: a path if it looks like one or exists, else a table."""
    is_path = "/" in source or re.search(r"\.(parquet|csv|json|orc)$", source) or files.present_format(source)
    if not is_path:
        return parse_config({"engine": engine, "source": {"table": source}}, "The command line")
    found = format_ or files.present_format(source) or "parquet"
    values: dict[str, Any] = {"path": source, "format": found}
    if found == "csv":
        values["options"] = {"header": "true", "inferSchema": "true"}
    return parse_config({"engine": engine, "source": values}, "The command line")


def starter_config(spark: SparkSession, place: Config) -> str:
    """The text of a starter config for the source of ``place``."""
    source = place.for_reading()
    frame = open_source(spark, source)
    looks = _look(frame)
    if not looks[0].rows:
        raise SourceError("There is no row to look at.", found=f"{source} is empty")
    excluded: dict[str, str] = {}
    key: list[str] = []
    kept: list[_Look] = []
    for look in looks:
        reason = _reason_to_exclude(look)
        if reason is None:
            kept.append(look)
        elif look.looks_like_id and not key:
            key.append(look.column.name)
        else:
            excluded[look.column.name] = reason
    return _text(source, place.engine, key, excluded, kept, {look.column.name: look for look in looks})


def _look(frame: DataFrame) -> list[_Look]:
    """Count present and distinct values of each column over the first rows."""
    found = frames.columns(frame)
    known = [column.name for column in found if column.family is not None]
    try:
        first = frames.to_arrow(frame.select(*(frames.column(name) for name in known)).limit(LOOK))
        rows = len(first) if known else frame.limit(LOOK).count()
    except frames.ENGINE_ERRORS as error:
        raise SourceError(
            "The table cannot be read.", found=frames.reason(error), transient=frames.is_transient(error)
        ) from error
    looks = []
    for column in found:
        uncounted = _Look(column, rows, rows, rows)
        if column.family is None or uncounted.is_nested:
            looks.append(uncounted)
            continue
        values = combine(first.column(known.index(column.name)))
        looks.append(_Look(column, rows, rows - values.null_count, pc.count_distinct(values).as_py()))
    return looks


def _reason_to_exclude(look: _Look) -> str | None:
    if look.column.family is None:
        return f"type {look.column.type} cannot be a feature"
    if look.present == 0:
        return "all null"
    if look.looks_like_id:
        return f"looks like an identifier: {look.distinct:,} distinct values in {look.present:,} rows"
    if look.distinct <= 1 and not look.is_nested:
        return "constant"
    if look.column.family == "string" and look.distinct > MANY:
        return f"{look.distinct:,} distinct strings: too many for a category"
    return None


def _text(
    source: Source, engine: str, key: list[str], excluded: dict[str, str], kept: list[_Look], looks: dict[str, _Look]
) -> str:
    place = f"table: {_quoted(source.table)}" if source.table else f"path: {_quoted(source.path)}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", (source.table or source.path or "").rstrip("/").rpartition("/")[2])
    name = (re.sub(r"\.(parquet|csv|json|orc)$", "", name).strip("_.-") or "model")[:100]
    lines = [
        f"# Anomaly scoring of {source}, written by `vae-anomaly init` after a look at its first {LOOK:,} rows.",
        "# Read, edit, then: vae-anomaly run --config FILE",
        "",
        f"name: {name}  # appears in the output column anomaly_model",
        f"engine: {engine}  # auto | sail | spark | connect",
        "",
        "source:",
        f"  {place}",
        *([] if source.table else [f"  format: {source.format}"]),
        *([f"  options: {json.dumps(source.options)}"] if source.options else []),
        "  # where: a SQL predicate, to score only some rows",
        "",
        "# Columns that identify a row: carried through, never a feature.",
        f"key: [{', '.join(map(_quoted, key))}]" + (f"  # {_reason_to_exclude(looks[key[0]])}" if key else ""),
        "",
        "features:",
        "  exclude:  # these still pass through to the output" if excluded else "  exclude: []",
        *(f"    - {_quoted(column)}  # {reason}" for column, reason in excluded.items()),
        f"  # The kinds found; change one ({', '.join(KINDS)}), or exclude the column.",
        "  kinds:" if kept else "  kinds: {}",
        *(
            f"    {_quoted(look.column.name)}: {default_kind(look.column.family or '')}  # {_note(look)}"
            for look in kept
        ),
        "",
        "train:",
        "  # normal: a SQL predicate for rows known to be normal; all rows when left out",
        "  rows: 200000  # at most this many are brought to the driver",
        "  seed: 0",
        "",
        "model:",
        f"  path: models/{name}.vae",
        "",
        "decision:",
        "  false_alarm_rate: 0.001  # share of normal rows that may be flagged",
        "",
        "output:",
        f"  path: scored/{name}",
        "  format: delta  # delta | parquet",
        "  mode: replace  # replace | append",
        "",
    ]
    return "\n".join(lines)


def _note(look: _Look) -> str:
    if look.is_nested:
        return look.column.type
    missing = 1 - look.present / look.rows
    return (
        f"{look.column.type}, {look.distinct:,} distinct values"
        + (f", {missing:.1%} missing" if missing else "")
        + (", perhaps a category?" if look.column.family == "integer" and look.distinct <= 20 else "")
    )


def _quoted(text: str | None) -> str:
    """A name as YAML, in quotes where it needs them. JSON strings are YAML strings."""
    text = text or ""
    plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) and text.lower() not in ("null", "true", "false", "yes", "no")
    return text if plain else json.dumps(text, ensure_ascii=False)

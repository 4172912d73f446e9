"""The text of a commented starter config."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from vae_model.config.advice import Advice
from vae_model.config.tables import Source
from vae_model.config.template import escaped
from vae_model.config.text import entry, quoted
from vae_model.features.kinds import KINDS
from vae_model.printable import printable

FILE = re.compile(r"\.(parquet|parq|csv|tsv|psv|txt|json|jsonl|ndjson|orc)(\.(gz|bz2|zst|snappy))?$", re.IGNORECASE)
"""How the name of a file of rows ends."""


def starter_text(source: Source, engine: str, seen: str, advice: Sequence[Advice], output: Sequence[str]) -> str:
    """A config for a source: what was made of its columns, and all that a first run needs.

    ``seen`` says what was looked at, ``output`` names the columns that scoring adds.
    """
    name = FILE.sub("", (source.table or source.path or "").rstrip("/").rpartition("/")[2])
    name = (re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-") or "model")[:100]
    key = _key(advice)
    excluded = [one for one in advice if one.kind is None and one is not key]
    kept = [one for one in advice if one.kind is not None]
    lines = [
        f"# Anomaly scoring of {printable(source)}, written by `vae-anomaly init` after a look at {seen}.",
        "# Read, edit, then: vae-anomaly run --config FILE",
        "",
        f"name: {name}  # appears in the output column anomaly_model",
        f"engine: {engine}  # auto | sail | spark | connect",
        "",
        *_source(source, advice),
        "",
        "# Columns that identify a row: carried through, never a feature.",
        f"key: [{_name(key)}]  # {printable(key.reason)}" if key else "key: []",
        "",
        "features:",
        "  exclude:  # these still pass through to the output" if excluded else "  exclude: []",
        *(f"    - {_name(one)}  # {printable(one.reason)}" for one in excluded),
        f"  # The kinds found; change one ({', '.join(KINDS)}), or exclude the column.",
        "  kinds:" if kept else "  kinds: {}",
        *(entry(one.counted.column.name, f"{one.kind}  # {printable(one.reason)}", "    ") for one in kept),
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
        "  # or how many alerts are welcome: expected_alerts: {alerts: 20, rows: 1000000}",
        "  # by: [a column whose values are segments, in each of which the share is to hold]",
        "",
        "output:",
        f"  path: scored/{name}",
        "  format: delta  # delta | parquet",
        "  mode: replace  # replace | append | replace_where | merge",
        *_prefix([one.counted.column.name for one in advice], output),
        "",
    ]
    return "\n".join(lines)


def _source(source: Source, advice: Sequence[Advice]) -> list[str]:
    """The place, and for CSV, which has no types of its own, the type that each column was read as."""
    if source.table:
        return ["source:", entry("table", quoted(escaped(source.table)), "  "), *_where()]
    has_types = source.format != "csv"
    options = {
        name: escaped(value) for name, value in source.options.items() if has_types or name.lower() != "inferschema"
    }
    columns = [] if has_types else [one.counted.column for one in advice]
    return [
        "source:",
        entry("path", quoted(escaped(source.path or "")), "  "),
        f"  format: {source.format}",
        *([f"  options: {json.dumps(options)}"] if options else []),
        *(["  schema:  # the types found; change one to read its column as another"] if columns else []),
        *(entry(column.name, quoted(column.type), "    ") for column in columns),
        *_where(),
    ]


def _where() -> list[str]:
    return ["  # where: a SQL predicate, to score only some rows"]


def _key(advice: Sequence[Advice]) -> Advice | None:
    """The column that identifies a row: one that is named so before one that is not."""
    candidates = [one for one in advice if one.is_key]
    return next((one for one in candidates if one.counted.is_named_id), next(iter(candidates), None))


def _prefix(names: Sequence[str], output: Sequence[str]) -> list[str]:
    """The prefix of the output's columns, where the table has columns that are named like them."""
    taken = {name.lower() for name in names}
    clash = [name for name in output if name.lower() in taken]
    if not clash:
        return []
    prefix, tries = "vae_", 1
    while any((prefix + name).lower() in taken for name in output):
        tries += 1
        prefix = f"vae{tries}_"
    return [f"  prefix: {prefix}  # the table has columns named like the output's: {', '.join(clash)}"]


def _name(one: Advice) -> str:
    return quoted(escaped(one.counted.column.name))

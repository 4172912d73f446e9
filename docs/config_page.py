"""Write docs/config.md from the config's own classes, and the lines under their fields.

    python docs/config_page.py

A test holds the page against what this gives.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vae_model.config.config import Config

PAGE = Path(__file__).with_name("config.md")
OPENING = """\
# The config file

This page is written by `python docs/config_page.py` from the code that checks the config. To change it, change the
line under a field in `vae_model/config/`, and run that again.

A config is one YAML file for one job. [conf/weather.yaml](../conf/weather.yaml) is a whole one with comments;
`vae-anomaly init --source PATH --output FILE` writes one for a table of yours, and `vae-anomaly validate --config FILE`
checks one without writing or training anything.

- Training needs `source` and `model.path`; scoring needs `source`, `model.path` and `output`. All other keys may be
  left out; where the tables below show no default, the key is then not set.
- An unknown key is an error that names the nearest known one. All errors of a file are reported at once.
- A key with nothing after it counts as left out.
- `--set dotted.key=value` overrides one key, and may be repeated: `--set train.rows=50000`. The value is YAML.
- Environment variables do so too: `VAE_ANOMALY__TRAIN__ROWS=50000`, two underscores before each key, the keys of
  sections in any case. `--set` has the last word.
- `{{ name }}` in a value, in the file or in what is set over it, is filled by `--param name=value`: see
  [Parameters](#parameters).
- Relative paths start at the working directory. [Object storage](operating.md#object-storage) has the other kinds.
- Credentials do not belong in a config, and are refused.
"""
PARAMETERS = """\
## Parameters

One file serves every day: `--param ds=2026-01-01 --param carrier=UA` fills

```yaml
source:
  path: data/weather
  where: "day = {{ ds }} AND carrier = {{ carrier }}"
output:
  path: "scored/{{ ds }}"
```

- A value is a date (`2026-01-31`), a timestamp (`2026-01-31T06:00:00`, also with `Z` or an offset such as `+02:00`;
  without one it is in the session's time zone), a number (`20`, `-1.5e3`; not `007`), or else a text.
  `--param name:text=20` says which of `date`, `timestamp`, `number` and `text` it is. In Python,
  `load_config(path, parameters={"ds": day})` takes dates, datetimes, numbers and strings; a string is a text.
- In a SQL predicate a value is put in as a literal, `day = DATE '2026-01-01'`, and so never becomes SQL. It brings its
  own quotes: `'{{ ds }}'`, within quotes, is an error.
- In a path or a table's name a value is a name: letters, digits, spaces, and any of `- _ : + = ,`, in a path the dot
  too. It leads neither up nor down, nor to several files. Where it is all of the value, or a path begins with
  `{{ root }}/`, it may be any path.
- Anywhere else it is put in as it is given; a number stays one where the key takes a number: `rows: "{{ rows }}"`.
- A value of YAML that begins with `{{` stands in quotes. `{{{{` stands for `{{`. Keys of the file are not filled.
- A name that is not given, one that is given and not used, and one that is named like a credential are errors.
"""
EXAMPLES = {
    "": "name: weather\nengine: auto\nkey: [origin, time_hour]",
    "source": "source:\n  path: data/weather.csv\n  format: csv\n  schema: {zip: string}\n  where: month = 12",
    "features": "features:\n  exclude: [comment]\n  kinds: {origin: categorical}",
    "train": "train:\n  normal: wind_speed < 100\n  rows: 100000\n  trim: 0.2\n  accept_if: {max_score_loss: 0.1}",
    "model": "model:\n  path: models/weather.vae",
    "decision": "decision:\n  expected_alerts: {alerts: 20, rows: 1000000}\n  by: [carrier]\n  reasons: 3",
    "alerts": "key: [origin, time_hour]\noutput:\n  table: monitoring.weather_scored\n"
    "alerts:\n  table: monitoring.weather_alerts\n  budget: 200",
    "drift": "drift:\n  rows: 100000",
    "gates": "gates:\n  max_anomaly_rate: 0.01\n  max_unscored: 0.05\n  max_drift: 0.25\n  max_missing_increase: 0.1\n"
    "  min_rows: 1000\n  keep_rejected: {path: rejected/weather}",
    "tracking": "tracking:\n  mlflow: {experiment: weather}\n  openlineage: {namespace: plant}",
    "runs": "runs:\n  table: monitoring.runs",
    "output": "output:\n  table: monitoring.weather_scored\n  format: delta\n  mode: append\n  prefix: vae_",
}
"""A few lines of YAML for each section."""


def page() -> str:
    """The whole page."""
    schema = Config.model_json_schema()
    fields = schema["properties"]
    sections = {key: _section(field, schema) for key, field in fields.items()}
    plain = {key: field for key, field in fields.items() if sections[key] is None}
    parts = [OPENING, _part("Top of the file", schema["description"], EXAMPLES[""], _rows("", plain, schema))]
    for key, section in sections.items():
        if section is not None:
            rows = _rows(f"{key}.", section["properties"], schema)
            parts.append(_part(f"`{key}`", section["description"], EXAMPLES[key], rows))
    parts.append(PARAMETERS)
    return "\n".join(parts)


def _part(title: str, text: str, example: str, rows: list[str]) -> str:
    """A heading, what a section is for, an example, and a table of its keys."""
    table = ["| key | value | default | meaning |", "|---|---|---|---|", *rows]
    return "\n".join([f"## {title}", "", " ".join(text.split()), "", "```yaml", example, "```", "", *table, ""])


def _section(field: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the section that a key holds; None for a key with a plain value."""
    for option in (field, *field.get("anyOf", ()), *field.get("allOf", ())):
        if "$ref" in option:
            found: dict[str, Any] = schema["$defs"][option["$ref"].rpartition("/")[2]]
            return found
    return None


def _rows(prefix: str, fields: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """A line of the table for each key; those of a section within a section stand among them by their dotted names."""
    rows = []
    for name, field in fields.items():
        section = _section(field, schema)
        if section is not None:
            rows += _rows(f"{prefix}{name}.", section["properties"], schema)
            continue
        cells = [f"`{prefix}{name}`", _value(field), _default(field), " ".join(field["description"].split())]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return rows


def _default(field: dict[str, Any]) -> str:
    """The default as YAML; nothing where a key is not set by default."""
    empty = {"array": [], "object": {}}.get(field.get("type", ""))
    default = field.get("default", empty)  # a key that has to be given has none
    if default is None:
        return ""
    return f"`{default}`" if default and isinstance(default, str) else f"`{json.dumps(default, ensure_ascii=False)}`"


def _value(field: dict[str, Any], many: bool = False) -> str:
    """What a key takes, in plain words."""
    if "anyOf" in field:
        return " or ".join(_value(option, many) for option in field["anyOf"] if option.get("type") != "null")
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ("any of " if many else "") + ", ".join(f"`{value}`" for value in field["enum"])
    kind = field["type"]
    if kind == "array":
        return f"list of {_value(field['items'], many=True)}"
    if kind == "object":
        return f"mapping of names to {_value(field['additionalProperties'], many=True)}"
    if kind == "boolean":
        return "`true` or `false`"
    plural = "s" if many else ""
    if kind == "string":
        pattern = f" that match{'' if many else 'es'} `{field['pattern']}`" if "pattern" in field else ""
        length = f", at most {field['maxLength']} characters" if "maxLength" in field else ""
        return f"string{plural}{pattern}{length}"
    return {"integer": "whole number", "number": "number"}[kind] + plural + _range(field)


def _range(field: dict[str, Any]) -> str:
    """The bounds of a number, in words."""
    if field["type"] == "integer":  # whole numbers: below 10 is at most 9
        field = dict(field)
        for bound, other, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            if bound in field:
                field[other] = field.pop(bound) + step
    if "minimum" in field and "maximum" in field:
        return f" from {field['minimum']:,} to {field['maximum']:,}"
    words = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
    bounds = [f"{word} {field[bound]:,}" for bound, word in words.items() if bound in field]
    return f" {' and '.join(bounds)}" if bounds else ""


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: it writes docs/config.md")
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Wrote {PAGE}")

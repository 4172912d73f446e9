"""Which columns of a table are features, and whether a table fits a fitted spec. Knows columns by name and family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.types as pat

from vae_model.errors import SchemaError, nearest

KIND_OF_FAMILY = {
    "integer": "numeric",
    "float": "numeric",
    "decimal": "numeric",
    "boolean": "boolean",
    "string": "categorical",
    "date": "datetime",
    "timestamp": "datetime",
    "array": "vector",
    "null": "categorical",
}
"""The kind a column gets when the config does not set one. A column of nulls alone has no type; it fits any."""

FAMILIES_OF_KIND = {
    "numeric": ("integer", "float", "decimal", "boolean"),
    "boolean": ("boolean",),
    "categorical": ("string", "integer", "boolean"),
    "datetime": ("date", "timestamp"),
    "vector": ("array",),
}
"""The column types a kind can be made from."""


class Column(NamedTuple):
    """A column of any table."""

    name: str
    family: str | None
    """The group of types that encode alike; None where no feature can be made of it."""
    type: str
    """The type in the words of the table's engine, for messages."""


def arrow_columns(schema: pa.Schema) -> list[Column]:
    """The columns of an Arrow schema."""
    return [Column(field.name, family(field.type), str(field.type)) for field in schema]


def family(type_: pa.DataType) -> str | None:
    """The family of an Arrow type, or None for a type no feature can be made from."""
    if pat.is_dictionary(type_):
        return family(type_.value_type)
    if pat.is_null(type_):
        return "null"
    tests = {
        "boolean": pat.is_boolean,
        "integer": pat.is_integer,
        "float": pat.is_floating,
        "decimal": pat.is_decimal,
        "string": lambda t: pat.is_string(t) or pat.is_large_string(t) or pat.is_string_view(t),
        "date": pat.is_date,
        "timestamp": pat.is_timestamp,
    }
    for name, test in tests.items():
        if test(type_):
            return name
    is_list = pat.is_list(type_) or pat.is_large_list(type_) or pat.is_fixed_size_list(type_)
    if is_list and family(type_.value_type) in ("integer", "float", "decimal"):
        return "array"
    return None


def select(
    columns: Sequence[Column],
    key: Sequence[str],
    include: Sequence[str] | None,
    exclude: Sequence[str],
    kinds: Mapping[str, str],
) -> dict[str, tuple[str, str]]:
    """The feature columns of a table: name -> (kind, family), in table order.

    Raises SchemaError naming every column that is missing, named twice, of an unsupported type, or of a type that
    does not fit the kind set for it.
    """
    names = _distinct_names(columns)
    wanted = dict.fromkeys([*key, *(include or ()), *exclude, *kinds])
    problems = [_missing(name, names) for name in wanted if name not in names]
    chosen = {}
    for name, group, type_ in columns:
        if name in key or name in exclude or (include is not None and name not in include):
            continue
        if group is None:
            problems.append(
                f"column {name!r} has type {type_}, which no feature can be made from "
                f"(to leave it out of the model: features: {{exclude: [{name}]}})"
            )
            continue
        kind = kinds.get(name, KIND_OF_FAMILY[group])
        if group != "null" and group not in FAMILIES_OF_KIND[kind]:
            fits = " or ".join(FAMILIES_OF_KIND[kind])
            problems.append(f"column {name!r} cannot be {kind}: expected {fits}, found {type_}")
            continue
        chosen[name] = (kind, group)
    if problems:
        raise SchemaError("\n".join(["The table does not fit the config:", *(f"  - {line}" for line in problems)]))
    if not chosen:
        raise SchemaError("No column is left to be a feature.", found=f"columns {', '.join(names)}")
    return chosen


def check(columns: Sequence[Column], trained: Mapping[str, tuple[str, str]], key: Sequence[str] = ()) -> None:
    """Hold a table to be scored against the model: every feature and key column there, of a type it was trained on.

    ``trained`` is name -> (kind, family). Raises SchemaError naming every column that does not fit.
    """
    names = _distinct_names(columns)
    problems = [_missing(name, names) for name in [*key, *trained] if name not in names]
    numbers = FAMILIES_OF_KIND["numeric"]
    for name, group, type_ in columns:
        if name not in trained:
            continue
        kind, expected = trained[name]
        if group not in (expected, "null") and not (kind == "numeric" and group in numbers):
            problems.append(f"column {name!r}: expected {expected} ({kind} when the model was trained), found {type_}")
    if problems:
        raise SchemaError("\n".join(["The table does not fit the model:", *(f"  - {line}" for line in problems)]))


def _distinct_names(columns: Sequence[Column]) -> list[str]:
    names = [column.name for column in columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SchemaError(f"Columns named twice: {', '.join(twice)}.", hint="Rename one of each.")
    return names


def _missing(name: str, names: Sequence[str]) -> str:
    hint = nearest(name, names) or f"the table has {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
    return f"column {name!r} is not in the table; {hint}"

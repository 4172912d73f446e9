"""Which columns of a table are features, and whether a table to be scored fits a model. Reads no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from vae_model.errors import SchemaError, listed, nearest
from vae_model.features.families import family
from vae_model.features.feature import Chosen
from vae_model.features.kinds import KINDS, default_kind


class Column(NamedTuple):
    """A column of any table."""

    name: str
    family: str | None
    """The family of its type; None where no feature can be made of it."""
    type: str
    """The type in the words of the table's engine, for messages."""


def arrow_columns(schema: pa.Schema) -> list[Column]:
    """The columns of an Arrow schema."""
    return [Column(field.name, family(field.type), str(field.type)) for field in schema]


def select(
    columns: Sequence[Column],
    key: Sequence[str],
    include: Sequence[str] | None,
    exclude: Sequence[str],
    kinds: Mapping[str, str],
) -> dict[str, Chosen]:
    """The feature columns of a table, by name, in table order. ``kinds`` are those that the config sets.

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
        if group is None and kinds.get(name) == "image":
            problems.append(
                f"column {name!r} has type {type_}: a picture is a file (binary), or a flat array of height x width "
                "x channels numbers, row by row"
            )
            continue
        if group is None:
            problems.append(
                f"column {name!r} has type {type_}, which no feature can be made from "
                f"(to leave it out of the model: features: {{exclude: [{name}]}})"
            )
            continue
        kind = kinds.get(name) or default_kind(group)
        if kind is None:
            problems.append(
                f"column {name!r} has type {type_}: of pictures, say so by features: {{kinds: {{{name}: image}}, "
                f"image: {{height: 64, width: 64}}}}; leave out what else it is: features: {{exclude: [{name}]}}"
            )
            continue
        families = KINDS[kind].families
        if group not in (*families, "null"):  # a column of nulls alone has no type: it fits any kind
            problems.append(f"column {name!r} cannot be {kind}: expected {' or '.join(families)}, found {type_}")
            continue
        chosen[name] = Chosen(kind, group)
    if problems:
        raise SchemaError(listed("The table does not fit the config:", problems))
    if not chosen:
        raise SchemaError("No column is left to be a feature.", found=f"columns {', '.join(names)}")
    return chosen


def has_picture_files(taken: Mapping[str, Chosen]) -> bool:
    """Whether columns are taken for files of pictures, which Pillow decodes."""
    return Chosen("image", "binary") in taken.values()


def check_fits_model(columns: Sequence[Column], trained: Mapping[str, Chosen], key: Sequence[str] = ()) -> None:
    """Check that a table can be scored: every feature and key column is there, and of a type that fits training.

    ``trained`` is what each feature column was taken for. Raises SchemaError naming every column that does not fit.
    """
    names = _distinct_names(columns)
    problems = [_missing(name, names) for name in [*key, *trained] if name not in names]
    for name, group, type_ in columns:
        if name not in trained:
            continue
        kind, expected = trained[name]
        others = KINDS[kind].families if KINDS[kind].interchangeable else ()
        if group not in (expected, "null", *others):
            problems.append(f"column {name!r}: expected {expected} ({kind} when the model was trained), found {type_}")
    if problems:
        raise SchemaError(listed("The table does not fit the model:", problems))


def _distinct_names(columns: Sequence[Column]) -> list[str]:
    names = [column.name for column in columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise SchemaError(f"Columns named twice: {', '.join(twice)}.", hint="Rename one of each.")
    return names


def _missing(name: str, names: Sequence[str]) -> str:
    hint = nearest(name, names) or f"the table has {', '.join(names[:12])}{', …' if len(names) > 12 else ''}"
    return f"column {name!r} is not in the table; {hint}"

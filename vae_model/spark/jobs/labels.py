"""A label: a column that says which rows of a table are known to be anomalous."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from vae_model.errors import SchemaError, SourceError, nearest
from vae_model.features.categories import shortened
from vae_model.spark import frames

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

MOST = 100
"""Values that a label may have."""
SHOWN = 8
YES, NO = ("1", "true"), ("0", "false")
"""What says anomalous, and normal, where no value is named."""
FAMILIES = ("boolean", "integer", "float", "decimal", "string")


class Labelled(NamedTuple):
    """The rows of a table by their label."""

    normal: DataFrame
    anomalous: DataFrame


def labelled(frame: DataFrame, label: str, anomalous: str | None) -> Labelled:
    """Part the rows by a label. ``anomalous`` is the value that says so; by default 1 or true.

    Raises SchemaError where the column is not there, or is no label: it has nulls, one class, or too many values.
    """
    family = _family(frame, label)
    text = frames.column(label).cast("string")
    try:
        counted = frame.groupBy(text.alias("value")).agg(F.count(F.lit(1)).alias("rows")).limit(MOST + 1).collect()
    except frames.READ_ERRORS as error:
        raise SourceError(
            f"The label {label!r} cannot be read.",
            found=frames.reason(error),
            transient=frames.is_transient(error),
        ) from error
    rows = {row["value"]: int(row["rows"]) for row in counted}
    if nulls := rows.pop(None, 0) + (rows.pop("NaN", 0) if family == "float" else 0):
        raise SchemaError(
            f"The label {label!r} has nulls.",
            "a value in each row",
            f"{nulls:,} row{'s' if nulls > 1 else ''} without",
            "Leave them out by source.where, or give them a value.",
        )
    shown = ", ".join(repr(shortened(value)) for value in sorted(rows)[:SHOWN]) + (", …" if len(rows) > SHOWN else "")
    if len(rows) > MOST:
        raise SchemaError(f"The label {label!r} has too many values.", f"at most {MOST}", shown, "Is it a label?")
    known = (*YES, *NO) if anomalous is None else rows
    if not all(_is_one_of(value, known) for value in rows):
        raise SchemaError(
            f"The label {label!r} does not say which of its values is anomalous.",
            "0 and 1, or true and false",
            shown,
            "Name the value: --anomalous VALUE.",
        )
    odd = [value for value in rows if _is_one_of(value, YES if anomalous is None else (anomalous,))]
    if not 0 < len(odd) < len(rows):
        raise SchemaError(
            f"The label {label!r} has one class: no row is {'normal' if odd else 'anomalous'}.",
            "rows of both classes" if anomalous is None else f"rows with {anomalous!r}, and others",
            shown,
            "Evaluate without --label: then errors are planted.",
        )
    is_odd = text.isin(*odd)
    return Labelled(frame.where(~is_odd), frame.where(is_odd))


def _family(frame: DataFrame, label: str) -> str | None:
    """The family of a label's type."""
    columns = {one.name: one for one in frames.columns(frame)}
    if label not in columns:
        known = [name for name, one in columns.items() if one.family in FAMILIES]
        hint = nearest(label, columns) or f"Such columns are {', '.join(known[:12])}."
        raise SchemaError(f"--label names {label!r}, which is no column.", hint=hint)
    if columns[label].family not in FAMILIES:
        raise SchemaError(f"--label cannot take the column {label!r}.", "0 and 1, true and false, or text",
                          columns[label].type, "Choose another column.")  # fmt: skip
    return columns[label].family


def _is_one_of(value: str, wanted: Iterable[str]) -> bool:
    """Whether a value is one of some: 1 is 1.0, and TRUE is true."""
    return _plain(value) in map(_plain, wanted)


def _plain(text: str) -> str | float:
    if text.lower() in ("true", "false"):
        return text.lower()
    with suppress(ValueError):
        if (number := float(text)) == number:  # "nan" is a text like any other
            return number
    return text

"""Which columns part a table: the time that tells days, and those whose values make segments."""

from __future__ import annotations

from collections.abc import Sequence

from vae_model.errors import SchemaError, nearest
from vae_model.features.schema import Column

TIMES = ("date", "timestamp")
VALUES = ("boolean", "integer", "decimal", "string", "date")
"""Families of columns whose values make segments: of the others hardly two rows have the same."""


def day_column(columns: Sequence[Column], asked: str | None, own: Sequence[str]) -> tuple[str | None, list[str]]:
    """The column whose days are told, and what there is to say of it."""
    if asked is not None:
        check_part(columns, asked, "--time", TIMES)
        return asked, []
    found = [one.name for one in columns if one.name in own and one.family in TIMES]
    if len(found) > 1:
        return None, [f"No days are told: {', '.join(found)} are times; --time chooses one"]
    return (found[0] if found else None), []


def check_part(columns: Sequence[Column], name: str, option: str, families: Sequence[str]) -> None:
    """Raise SchemaError where a column that an option names is not there, or of no use to it."""
    found = {one.name: one for one in columns}
    if name not in found:
        known = [one for one in found if found[one].family in families]
        hint = nearest(name, found) or f"Such columns are {', '.join(known[:12])}."
        raise SchemaError(f"{option} names {name!r}, which is no column.", hint=hint)
    if found[name].family not in families:
        raise SchemaError(
            f"{option} cannot take the column {name!r}.", f"{', '.join(families[:-1])} or {families[-1]}",
            found[name].type, "Choose another column.",
        )  # fmt: skip

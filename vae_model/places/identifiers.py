"""Names of columns and tables as quoted SQL identifiers, whatever their letters: nothing of a name is ever SQL."""

from __future__ import annotations

import re


def quote(name: str) -> str:
    """One name as one quoted identifier."""
    return "`" + name.replace("`", "``") + "`"


def parts(table: str) -> list[str]:
    """The parts of a table's name: catalog, schema, table. A part that has a dot in it stands in backticks.

    Raises ValueError where a part is empty or a backtick is not closed.
    """
    if not re.fullmatch(r"(`(?:[^`]|``)+`|[^.`]+)(\.(`(?:[^`]|``)+`|[^.`]+))*", table):
        raise ValueError(f"{table!r} is no table name: table, schema.table or catalog.schema.table")
    found = re.findall(r"`(?:[^`]|``)+`|[^.`]+", table)
    return [part[1:-1].replace("``", "`") if part.startswith("`") else part for part in found]


def table(name: str, suffix: str = "") -> str:
    """A table's name, each part quoted; with a suffix, the name of a table beside it."""
    *outer, last = parts(name)
    return ".".join(map(quote, [*outer, last + suffix]))


def schema(name: str) -> str:
    """The quoted schema that a table's name says it is in; empty where it says none."""
    return ".".join(map(quote, parts(name)[:-1]))

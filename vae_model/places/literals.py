"""Values as SQL literals, whatever their letters: nothing of a value is ever SQL. And what of a SQL text is no SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime

_ENCLOSED = re.compile(
    r"""(?<!\w)[rR]\s*(?:'[^']*(?:'|\Z)|"[^"]*(?:"|\Z))"""
    r"""|'(?:[^'\\]|\\.)*(?:'|\\?\Z)|"(?:[^"\\]|\\.)*(?:"|\\?\Z)"""
    r"""|`[^`]*(?:`|\Z)|--(?:\\\n|[^\r\n])*|/\*""",
    re.DOTALL,
)
"""A raw string, a string, a quoted identifier, a comment to the end of its line, or the start of another comment, as
Spark and Sail read them. What is not closed goes on to the end."""
_BRACKET = re.compile(r"/\*|\*/")
_OBEYED = re.compile(r"['\\$]")
"""What a parser may act on within a string: its quote, an escape, and the ``${name}`` of a variable."""


def text(value: str) -> str:
    """A text as a literal that each engine reads as it was, whatever its settings.

    Engines and settings disagree on quotes and backslashes in a string (``'O''Brien'`` is ``OBrien`` to Sail and to
    Spark 3.5), so a text that has any is written by its bytes.
    """
    if value.isprintable() and not _OBEYED.search(value):
        return f"'{value}'"
    return f"CAST(X'{value.encode().hex()}' AS STRING)"


def day(value: date) -> str:
    """A date as a literal."""
    return f"DATE '{value.isoformat()}'"


def timestamp(value: datetime) -> str:
    """A timestamp as a literal; without an offset it is in the session's time zone."""
    return f"TIMESTAMP '{value.isoformat(sep=' ')}'"


def enclosed(sql: str) -> Iterator[tuple[int, int]]:
    """Where a SQL text has strings, quoted identifiers and comments: start and end of each."""
    end = 0
    while found := _ENCLOSED.search(sql, end):
        end = _comment_end(sql, found.end()) if found[0] == "/*" else found.end()
        yield found.start(), end


def _comment_end(sql: str, start: int) -> int:
    """Where a bracketed comment ends, those within it counted."""
    depth = 1
    for bracket in _BRACKET.finditer(sql, start):
        depth += 1 if bracket[0] == "/*" else -1
        if not depth:
            return bracket.end()
    return len(sql)

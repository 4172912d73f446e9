"""Text from outside (names, values, paths, an engine's words) as it may be shown: never obeyed by what shows it."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable
from itertools import chain, repeat

_OBEYED = {"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"}
"""Unicode's categories of what is acted on, not drawn: control characters and escape sequences, line breaks, marks that
turn the direction of writing or take no room, halves of surrogate pairs, and what is no character, which YAML refuses
(https://www.unicode.org/reports/tr44/#GC_Values_Table)."""


def printable(text: object) -> str:
    r"""A text on one line. What a terminal, a log or a YAML comment would act on becomes an escape, such as ``\n``.

    Letters of any script stay as they are, and so does what this function has made: a text may pass through it twice.
    """
    text = str(text)
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(letter) if unicodedata.category(letter) in _OBEYED else letter for letter in text)


def quoted(text: object) -> str:
    """A text in quotes, as it may be shown among words: in double ones where it has single ones."""
    mark = '"' if "'" in str(text) else "'"
    return f"{mark}{printable(text)}{mark}"


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def as_html(text: object, most: int = 300) -> str:
    """A text as a notebook may show it: one line of text whatever it holds, its end cut off where it is long."""
    shown = printable(str(text)[: most + 1])
    return html.escape(shown if len(shown) <= most else f"{shown[: most - 1]}…")


def html_table(rows: Iterable[Iterable[object]], head: Iterable[object] = ()) -> str:
    """A table of texts for a notebook, in the notebook's own colours. Without ``head`` the first cell of a line names
    the others.
    """
    heads, style = list(head), ' style="text-align:left;vertical-align:top"'
    lines = [f"<tr>{''.join(f'<th{style}>{as_html(cell)}</th>' for cell in heads)}</tr>"] if heads else []
    for row in rows:
        kinds = chain([] if heads else ["th"], repeat("td"))
        told = (f"<{kind}{style}>{as_html(cell)}</{kind}>" for kind, cell in zip(kinds, row, strict=False))
        lines.append(f"<tr>{''.join(told)}</tr>")
    return f"<table>{''.join(lines)}</table>"

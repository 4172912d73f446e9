"""A text with ``{{ name }}`` in it, taken apart. A name is all that may stand there: nothing is evaluated.

And the way back: a text that is to be read as it is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from vae_model.config.parameters import NAME

_MARK = re.compile(r"\{\{\{\{|\{\{(.*?)\}\}|\{\{", re.DOTALL)
_STATEMENT = re.compile(
    r"\{%[-+]?\s*(?:if|elif|else|endif|for|endfor|set|endset|block|endblock|macro|call|filter|include|import|from|raw)\b"
)
"""A statement of Jinja's. Another ``{%`` is left alone: it may be part of a pattern (``LIKE '%{%'``)."""
LITERAL = "{{{{ stands for {{"


class Slot(NamedTuple):
    """Where a parameter's value goes."""

    name: str


def escaped(text: str) -> str:
    """A text as a template that ``pieces`` reads as it was."""
    return text.replace("{{", "{{{{")


def check_no_statement(text: str) -> None:
    """Refuse a statement of a template language. Raises ValueError."""
    if _STATEMENT.search(text):
        raise ValueError("{% … %} is not understood: {{ name }} is filled by --param, and nothing is evaluated")


def pieces(text: str) -> list[str | Slot]:
    """The text between the slots, and the slots, in order. Raises ValueError where something else is in a slot."""
    found: list[str | Slot] = []
    end = 0
    for mark in _MARK.finditer(text):
        found += [text[end : mark.start()], _slot(mark)]
        end = mark.end()
    return [piece for piece in (*found, text[end:]) if piece != ""]


def _slot(mark: re.Match[str]) -> str | Slot:
    if mark[0] == "{{{{":
        return "{{"
    if mark[1] is None:
        raise ValueError(f"{{{{ is not closed by }}}} ({LITERAL})")
    name = mark[1].strip()
    if not NAME.fullmatch(name):
        raise ValueError(
            f"{mark[0]!r} is not understood: a name alone may stand in {{{{ }}}} (letters, digits, underscores), and "
            f"nothing is evaluated ({LITERAL})"
        )
    return Slot(name)

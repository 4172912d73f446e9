"""What a section of the page is made of. How each kind of block looks, ``page.html`` says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from vae_model.report.facts import Facts
from vae_model.report.words import SENTENCE, short

RUN_COLOUR, THEN_COLOUR = "run", "then"
MOST = 12
"""Lines of a table, where nothing else is said."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar = "text"
    text: str
    tone: str = ""
    """``lack``: it says why something is not told. ``note``: small print."""


@dataclass(frozen=True)
class Listed:
    """Lines of a list."""

    kind: ClassVar = "listed"
    lines: Sequence[str]


@dataclass(frozen=True)
class Chart:
    """A drawing with what its colours mean."""

    kind: ClassVar = "chart"
    svg: Markup
    legend: Sequence[tuple[str, str]] = ()
    """Class of the colour, and the words."""


@dataclass(frozen=True)
class Table:
    """A table: text in its cells, or a bar."""

    kind: ClassVar = "table"
    head: Sequence[str]
    rows: Sequence[Sequence[str | Markup]]
    left: int = 1
    """So many columns, from the first, hold words; the others numbers."""


@dataclass(frozen=True)
class Pairs:
    """Names and their values."""

    kind: ClassVar = "pairs"
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Cards:
    """Small blocks side by side."""

    kind: ClassVar = "cards"
    cards: Sequence[Card]


@dataclass(frozen=True)
class Card:
    """One of them: a title, what is beside it, and blocks."""

    title: str
    beside: str
    blocks: Sequence[Block]
    tone: str = ""


@dataclass(frozen=True)
class Code:
    """Text as it stands in a file."""

    kind: ClassVar = "code"
    text: str


@dataclass(frozen=True)
class Pictures:
    """Pictures side by side."""

    kind: ClassVar = "pictures"
    pictures: Sequence[tuple[str, str]]
    """Each as a data URI, and what it shows in words."""


Block = Text | Listed | Chart | Table | Pairs | Cards | Code | Pictures


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)


def lacking(facts: Facts, what: str) -> Iterator[Text]:
    """Why something is not told, where it is not."""
    if what in facts.lacks:
        yield Text(short(facts.lacks[what], SENTENCE), "lack")

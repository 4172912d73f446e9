"""Numbers, shares and texts as the page has them."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import escape

from vae_model.drift import words
from vae_model.places import credentials
from vae_model.printable import printable

BRIEF, NAME, VALUE, CLAUSE, SENTENCE = 40, 60, 90, 250, 500
"""Letters of a part of a key, of a column's name, of a value, of a short sentence and of a long one, at most."""
BYTES = 1.5
"""Bytes that a letter of such a text may take on the page, on the average: a quotation mark takes five."""
SPACE = "\N{NO-BREAK SPACE}"


def short(text: object, most: int = VALUE) -> str:
    """A text from outside as it may be shown, on one line, without credentials; its end is cut off where it is long."""
    own = credentials.redact(str(text))
    shown = printable(own[: 2 * most])
    fits = _fitting(shown, most)
    return shown if fits == len(shown) and len(own) <= 2 * most else f"{shown[: min(fits, most - 1)]}…"


def lines(text: str, most: int) -> str:
    """A text of several lines, each as it may be shown, without credentials."""
    text = credentials.redact(text)
    shown = "\n".join(map(printable, text[:most].split("\n")))
    fits = _fitting(shown, most)
    return shown if fits == len(shown) and len(text) <= most else f"{shown[:fits]}\n…"


def _fitting(shown: str, most: int) -> int:
    """So many letters of a text are no more than ``most``, and no more bytes on the page than these may take."""
    room = BYTES * most
    for place, letter in enumerate(shown[:most]):
        room -= len(escape(letter).encode())
        if room < 0:
            return place
    return min(len(shown), most)


def count(number: int | None) -> str:
    """A number of rows."""
    return "not known" if number is None else f"{number:,}"


def counted(number: int, what: str) -> str:
    """A number of something, with the word for one of it."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def rows(number: int) -> str:
    """A number of rows, with the word."""
    return counted(number, "row")


def percent(share: float | None) -> str:
    """A share, not parted from its sign."""
    return "not known" if share is None else words.percent(share).replace(" ", SPACE)


def figure(number: float | None) -> str:
    """Any number."""
    if number is None:
        return "not known"
    if 1000 <= abs(number) < 1e12:
        return f"{number:,.0f}"
    return f"{number:.4g}" if abs(number) < 1000 else f"{number:.3g}"


def one_in(rate: float | None) -> str:
    """A small share as people say it."""
    return f"1 in {round(1 / rate):,}" if rate and 1e-15 < rate <= 0.5 else percent(rate)


def when(moment: datetime | None) -> str:
    """A time, to the second, in UTC."""
    return "not known" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def of_two(then: float, now: float) -> str:
    """A share in the sample, and in the run."""
    return f"{percent(then)}{SPACE}→ {percent(now)}"

"""Numbers, shares and texts as the page has them."""

from __future__ import annotations

from datetime import UTC, datetime

from vae_model.places import credentials
from vae_model.printable import printable

NAME, VALUE, SENTENCE, TEXT = 60, 90, 600, 16_000
"""Letters of a column's name, of a value, of a sentence and of a text of several lines, at most."""


def short(text: object, most: int = VALUE) -> str:
    """A text from outside as it may be shown, on one line, without credentials; its end is cut off where it is long."""
    own = credentials.redact(str(text))
    shown = printable(own[: 2 * most])
    return shown if len(shown) <= most and len(own) <= 2 * most else f"{shown[: most - 1]}…"


def lines(text: str, most: int = TEXT) -> str:
    """A text of several lines, each as it may be shown, without credentials."""
    text = credentials.redact(text)
    shown = "\n".join(map(printable, text[:most].split("\n")))[:most]
    return shown if len(text) <= most else f"{shown}\n…"


def count(number: int | None) -> str:
    """A number of rows."""
    return "not known" if number is None else f"{number:,}"


def rows(number: int) -> str:
    """A number of rows, with the word."""
    return f"{number:,} row{'' if number == 1 else 's'}"


def percent(share: float | None) -> str:
    """A share, with as many digits as tell it from none and from all."""
    if share is None:
        return "not known"
    if share == 0:
        return "0 %"
    if 0.99 < share < 1:
        return f"{100 - float(f'{100 * (1 - share):.2g}'):.12g} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"


def figure(number: float | None) -> str:
    """Any number."""
    if number is None:
        return "not known"
    if 1000 <= abs(number) < 1e12:
        return f"{number:,.0f}"
    return f"{number:.4g}" if abs(number) < 1000 else f"{number:.3g}"


def one_in(rate: float | None) -> str:
    """A small share as people say it."""
    return f"1 in {round(1 / rate):,}" if rate and rate <= 0.5 else percent(rate)


def when(moment: datetime | None) -> str:
    """A time, to the second, in UTC."""
    return "not known" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def of_two(then: float, now: float) -> str:
    """A share in the sample, and in the run."""
    return f"{percent(then)} → {percent(now)}"

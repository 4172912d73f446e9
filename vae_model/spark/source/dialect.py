"""What a text file of separated values says of itself in its first bytes: encoding, separator, header, names.

RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180) is what most of them follow, with another separator or none at all.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

LOOK = 1 << 16
"""Bytes that are looked at."""
LONGEST_HEADER = 1 << 24
"""A first line longer than this is none."""
SEPARATORS = ",;\t|"
WHOLE = "-?(0|[1-9][0-9]{0,17})|[+](0|[1-9][0-9]{0,8})"
"""A whole number. Digits with leading zeros, more than 18 of them, or many after a plus are a code. All these rules are
the same to Python, and to Arrow on the workers."""
_DIGITS = "(0|[1-9][0-9]{0,14})"
_EXPONENT = "[eE]([+]?([0-9]{1,2}|[12][0-9]{2}|30[0-7])|-[0-9]{1,3})"
FRACTION = (
    f"[+-]?({_DIGITS}?[.][0-9]+|{_DIGITS}[.])({_EXPONENT})?|[+-]?{_DIGITS}{_EXPONENT}|[+-]?(NaN|nan|Infinity|Inf|inf)"
)
"""A number that a double keeps at least 15 digits of before the point."""
DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
TIME = DATE + "[T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,6})?)?"
ZONED = DATE + "[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([.][0-9]{1,6})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
"""With seconds: not every engine reads an instant without them."""
BOOLEAN = r"true|false|True|False|TRUE|FALSE"


@dataclass(frozen=True)
class Dialect:
    """How the values of a file are separated and quoted."""

    separator: str = ","
    quote: str = '"'
    escape: str = '"'
    comment: str = ""
    encoding: str = "utf-8-sig"

    def rows(self, file: Any) -> Iterator[tuple[int, list[str]]]:
        """The rows of a file that is open for reading bytes, each with the number of its last line; lines without a
        letter are none.
        """
        # Bytes that are no text are no concern of who only counts values.
        with io.TextIOWrapper(file, encoding=self.encoding, errors="replace", newline="") as text:
            lines = (line for line in text if not self.comment or not line.startswith(self.comment))
            reader = csv.reader(
                lines,
                delimiter=self.separator,
                quotechar=self.quote or None,
                quoting=csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
                doublequote=self.escape == self.quote,
                escapechar=None if self.escape in ("", self.quote) else self.escape,
            )
            yield from ((reader.line_num, row) for row in reader if row)


def encoding_of(head: bytes) -> str:
    """The encoding of some first bytes: UTF-8, UTF-16 by its mark, or else a Western one of a byte a letter."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "UTF-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "ISO-8859-1"
    return "UTF-8"


def first_bytes(file: Any) -> bytes:
    """The first bytes of a file, with at least its first line."""
    head = bytes(file.read(LOOK))
    while b"\n" not in head and len(head) < LONGEST_HEADER:
        more = file.read(LOOK)
        if not more:
            break
        head += more
    return head


def separator_of(head: bytes, dialect: Dialect, default: str = ",") -> str:
    """The separator by which the first rows have equally many values, more than one: the standard library's guess first
    (``csv.Sniffer``), then the usual ones.
    """
    text = head.decode(dialect.encoding, "replace")
    guess = default
    with suppress(csv.Error):
        guess = str(csv.Sniffer().sniff(text, SEPARATORS).delimiter)
    candidates: list[str] = [default, guess, *SEPARATORS]
    for separator in dict.fromkeys(candidates):
        widths = {len(row) for row in _sample(head, replace(dialect, separator=separator))}
        if len(widths) == 1 and widths != {1}:
            return separator
    return default


def _sample(head: bytes, dialect: Dialect) -> list[list[str]]:
    """The rows that stand whole in the first bytes, at most a thousand."""
    cut = len(head) >= LOOK
    rows = [row for _, row in islice(dialect.rows(io.BytesIO(head)), 1000)]
    return rows[:-1] if cut and len(rows) > 1 else rows


def has_header(head: bytes, dialect: Dialect) -> bool:
    """Whether the first row names columns: no value of it is a number or a date. Where all rows are text, no two of its
    values are the same, and none comes again in its column. A column without a name is none the less one.
    """
    first, *others = _sample(head, dialect) or [[]]
    if any(map(is_typed, first)) or not any(first):
        return False
    if any(is_typed(value) for row in others for value in row):
        return True
    comes_again = any(one == other for row in others for one, other in zip(first, row, strict=False))
    return len(set(first)) == len(first) and not comes_again


def is_typed(value: str) -> bool:
    """Whether a value is written as a number, a truth value, a date or a time."""
    return any(re.fullmatch(rule, value.strip()) for rule in (WHOLE, FRACTION, ZONED, TIME, DATE, BOOLEAN))


def of_options(options: Mapping[str, str]) -> Dialect:
    """The dialect that a reader's options name; what they leave open is RFC 4180's."""
    given = {name.lower(): value for name, value in options.items()}
    encoding = given.get("encoding", given.get("charset", "utf-8"))
    return Dialect(
        separator=given.get("sep", given.get("delimiter", ",")).replace("\\t", "\t"),
        quote=given.get("quote", '"'),
        escape=given.get("escape", '"'),
        comment=given.get("comment", ""),
        encoding="utf-8-sig" if encoding.lower().replace("-", "") == "utf8" else encoding,
    )


def first_row(head: bytes, dialect: Dialect) -> list[str]:
    """The values of the first row; none where there is no row."""
    return next((row for _, row in dialect.rows(io.BytesIO(head))), [])

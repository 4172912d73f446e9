"""Text from outside, as it may be shown."""

import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.printable import html_table, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, näme, 温度", "plain, näme, 温度"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\n12:00:00 ERROR forged", "a\\n12:00:00 ERROR forged"),
        ("gro\u202eßer", "gro\\u202eßer"),
        ("half \ud800", "half \\ud800"),
        ("no character \ufffe", "no character \\ufffe"),
    ],
)
def test_what_would_be_obeyed_is_shown_as_an_escape(text, shown):
    """Escape sequences, line breaks and marks of direction are written out; letters are left alone."""
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_what_is_shown_is_one_line_of_letters(text):
    """Whatever comes in, one line of drawn characters goes out."""
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cn", "Cs", "Zl", "Zp") for letter in shown)
    assert printable(shown) == shown


@given(st.text(st.characters(), max_size=400))
def test_what_a_notebook_shows_is_text_alone(text):
    """Whatever a cell of a table holds: no element but the table's own, and one line, cut off where it is long."""
    parts = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attributes: parts.append((tag, dict(attributes).keys()))
    reader.handle_data = parts.append
    reader.feed(html_table([[text, text]], ["a", text]))
    reader.close()
    tags = [part for part in parts if not isinstance(part, str)]
    assert tags == [
        ("table", set()),
        ("tr", set()),
        *([("th", {"style"})] * 2),
        ("tr", set()),
        *([("td", {"style"})] * 2),
    ]
    assert all(len(part) <= 300 for part in parts if isinstance(part, str))

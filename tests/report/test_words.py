"""Numbers and texts as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from vae_model.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "not known"),
        (0, "0\N{NO-BREAK SPACE}%"),
        (0.0004, "0.04\N{NO-BREAK SPACE}%"),
        (0.0996, "10\N{NO-BREAK SPACE}%"),
        (0.5, "50\N{NO-BREAK SPACE}%"),
        (0.9996, "99.96\N{NO-BREAK SPACE}%"),
        (1, "100\N{NO-BREAK SPACE}%"),
    ],
)
def test_a_share_is_told_from_none_and_from_all(share, text):
    """Only nothing is 0 %, and only all of it 100 %; no line ends between a number and its sign."""
    assert words.percent(share) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "not known"),
        (0.0012345, "0.001234"),
        (15.1262, "15.13"),
        (100_000, "100,000"),
        (-12_345.6, "-12,346"),
        (1e15, "1e+15"),
    ],
)
def test_no_number_of_rows_has_an_exponent(number, text):
    """A limit of 100,000 rows is not 1e+05."""
    assert words.figure(number) == text


@given(st.text() | st.text("\"'<&👩数\u202e", max_size=400), st.integers(10, 300))
def test_no_text_takes_more_than_its_room(text, most):
    """Neither in letters nor, whatever the letters are, in bytes on the page; and what has room is whole."""
    own = words.short(text, most)
    assert len(own) <= most and len(escape(own.removesuffix("…")).encode()) <= words.BYTES * most
    several = words.lines(text, most).removesuffix("\n…")
    assert len(several) <= most and len(escape(several).encode()) <= words.BYTES * most
    if text.isascii() and text.isalnum():
        assert own == (text if len(text) <= most else f"{text[: most - 1]}…")


@pytest.mark.parametrize("rate", [5e-324, 1e-300, 0.0, None])
def test_a_rate_of_next_to_nothing_is_told(rate):
    """There is no number of rows of which it is one."""
    assert "1 in" not in words.one_in(rate)

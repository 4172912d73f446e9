"""Names as YAML text, and back."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vae_model.config.text import KEY, entry, parse, quoted
from vae_model.printable import printable

ANY = st.text(st.characters())


@given(ANY, ANY)
@example("\x85\u2028\ufeff\ufffe\x7f\x00\ud800\U000e0001", "\ufffe")  # JSON leaves these to YAML, which does not
@example("\U0001f600", "")  # JSON in ASCII writes two halves, which YAML does not join
def test_a_quoted_name_is_read_as_it_was(name, comment):
    """Whatever a name holds, it is one line of YAML, comment and all, that is read as the name."""
    text = f"name: {quoted(name)}  # {printable(comment)}"
    assert len(text.splitlines()) == 1
    assert parse(text, "The text") == {"name": name}


@pytest.mark.parametrize("word", ["no", "Null", "y", "OFF", "1", "1e5", "2024-01-01", "~", "", "\u017f", "a\n"])
def test_what_a_reader_of_yaml_takes_for_something_else_is_in_quotes(word):
    """A name that is a number, a date, or a word of YAML 1.1 or 1.2 is quoted; a plain word is not."""
    assert quoted(word).startswith('"')
    assert quoted("flow_2") == "flow_2"


@pytest.mark.parametrize("length", [1, KEY - 2, KEY - 1, 10_000])
def test_a_key_of_any_length_is_read_as_it_was(length):
    """YAML has keys of 1,024 letters at most before a colon: a longer one takes the long form."""
    name = "ü" * length
    lines = [
        "kinds:",
        entry("a", "numeric", "  "),
        entry(name, "categorical  # a note", "  "),
        entry("b", "time", "  "),
    ]
    assert parse("\n".join(lines), "The text") == {"kinds": {"a": "numeric", name: "categorical", "b": "time"}}

"""Texts with slots for parameters, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.config.template import Slot, check_no_statement, escaped, pieces


@given(st.text(st.sampled_from("{}% a")))
def test_an_escaped_text_is_read_as_it_was(text):
    """Whatever braces a text has, escaped it has no slot and means the text."""
    assert "".join(pieces(escaped(text))) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a {{ ds }} b", ["a ", Slot("ds"), " b"]),
        ("{{ds}}{{  a_1\n}}", [Slot("ds"), Slot("a_1")]),
        ("LIKE '%{%' OR '}}' {d} {# no #}", ["LIKE '%{%' OR '}}' {d} {# no #}"]),
        ("{{{{ ds }}", ["{{", " ds }}"]),
        ("", []),
    ],
)
def test_slots_and_what_stands_between(text, parts):
    """A name in two braces is a slot; everything else is left as it is."""
    assert pieces(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "{{ ds | upper }}",
        "{{ ds + 1 }}",
        "{{ a.b }}",
        "{{ 'x' }}",
        "{{ 1a }}",
        "{{ }}",
        "{{ d-s }}",
        "{{ ds",
        "{{{ ds }}}",
    ],
)
def test_nothing_is_evaluated(text):
    """What is no name is an error that says how a literal brace is written."""
    with pytest.raises(ValueError, match="stands for"):
        pieces(text)


@pytest.mark.parametrize("text", ["{% if a %}b{% endif %}", "{%- for x in y -%}"])
def test_a_statement_is_refused(text):
    """A statement of a template language would stand there unread."""
    with pytest.raises(ValueError, match="nothing is evaluated"):
        check_no_statement(text)

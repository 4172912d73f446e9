"""Numbers as people read them."""

import pytest

from vae_model.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "not known"),
        (0, "0 %"),
        (0.0004, "0.04 %"),
        (0.0996, "10 %"),
        (0.5, "50 %"),
        (0.9996, "99.96 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_told_from_none_and_from_all(share, text):
    """Only nothing is 0 %, and only all of it 100 %."""
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

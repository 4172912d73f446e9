"""What makes a run the same run as another."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.errors import ConfigError
from vae_model.runs.identity import LONGEST, checked_id, derived_id, digest, file_name

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES))
def test_the_order_of_keys_is_no_part_of_a_digest(values):
    """A config says the same in any order."""
    assert digest(values) == digest(dict(reversed(values.items())))
    assert re.fullmatch("[0-9a-f]{64}", digest(values))


@given(st.lists(st.none() | st.text(max_size=5), max_size=4), st.lists(st.none() | st.text(max_size=5), max_size=4))
def test_other_parts_are_another_run(one, other):
    """Two parts are not the same as one that holds both, and nothing is not an empty text."""
    assert (derived_id("m", one) == derived_id("m", other)) == (one == other)


@given(st.text(st.characters(codec="utf-8")))
def test_any_id_gives_the_name_of_a_file(run_id):
    """Letters and digits alone, whatever the id."""
    assert re.fullmatch("[0-9a-f]{16}", file_name(run_id))


@pytest.mark.parametrize(
    "run_id",
    # Airflow's, Dagster's, Databricks', and letters that SQL and file systems take for their own
    [
        "scheduled__2026-01-01T00:00:00+00:00",
        "8f1c2b7e-6d1c-4f1b",
        "123456",
        "it's a `run`; -- \\",
        "../up/übung",
        "é" * LONGEST,
    ],
)
def test_a_schedulers_id_is_taken_as_it_is(run_id):
    """Whatever letters it has, if they can be shown."""
    assert checked_id(run_id) == run_id


@pytest.mark.parametrize("run_id", ["", "  ", " a", "a\n", "a\x1b[2J", "a\u202eb", "x" * (LONGEST + 1), "\ud800"])
def test_an_id_that_cannot_be_shown_is_refused(run_id):
    """Empty, too long, spaces at an end, control letters: exit code 2, and the message shows it as it can be shown."""
    with pytest.raises(ConfigError, match="run's id is not usable") as caught:
        checked_id(run_id)
    assert caught.value.exit_code == 2
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 600

"""What a run leaves in its output, and what is made of what others have left there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.runs.stamp import CONTRACT, Stamp

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
STAMP = st.builds(
    Stamp, TEXT, st.lists(TEXT, max_size=3), st.none() | TEXT, st.none() | st.dictionaries(TEXT, st.integers()),
    st.none() | TEXT, st.none() | TEXT, st.booleans(), st.integers(1, 9),
)  # fmt: skip


@given(STAMP)
def test_a_stamp_is_read_back(stamp):
    """On one line, as text and as bytes."""
    text = stamp.to_text()
    assert "\n" not in text and text.isascii()
    assert Stamp.of(text) == Stamp.of(text.encode()) == stamp


def forged(**values):
    """A stamp with other values."""
    return json.dumps({"vae_anomaly": {"run": "a", "key": [], "contract": CONTRACT, **values}})


@pytest.mark.parametrize(
    "text",
    [
        None, "", b"\xff\xfe", "null", "[]", "1", '"vae_anomaly"', '{"vae_anomaly": null}', '{"vae_anomaly": []}',
        '{"vae_anomaly": {}}', '{"another": {"run": "a"}}', "[" * 100_000, "by hand", forged(run=1), forged(run=None),
        forged(key="id"), forged(key=[1]), forged(key=None), forged(model=1), forged(position=[1]),
        forged(position="x"), forged(alerts=1), forged(alerts=None),
        forged(contract="2"), forged(contract=True), forged(contract=None),
        forged(of_a_later_version=1), forged(__class__="x"),
    ],
)  # fmt: skip
def test_what_is_no_stamp_is_passed_over(text):
    """Other writers' metadata, half a stamp and a forged one are as good as none; nothing is raised."""
    assert Stamp.of(text) is None


@pytest.mark.slow
@given(st.text() | st.binary())
def test_any_text_is_a_stamp_or_none(text):
    """Whatever stands in a table's log."""
    assert Stamp.of(text) is None

"""The reference: a bounded part of the model file, which says of the sample what is true of it."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.drift.tables import fitted, table
from vae_model.drift.reference import Reference
from vae_model.errors import ModelFileError
from vae_model.features import categories
from vae_model.features.fields import Fields

SPEC, REFERENCE = fitted(table())


def read(values):
    """A reference from JSON."""
    return Reference.from_json(Fields(values, "drift"), SPEC)


def test_it_comes_back_from_json_and_arrays():
    """As it was, and its arrays are of the shapes that it says."""
    again = read(json.loads(json.dumps(REFERENCE.to_json())))
    for name, stored in again.stored().items():
        array = REFERENCE.arrays[name]
        assert (array.shape, array.dtype) == (stored.shape, stored.dtype)
        assert stored.low <= array.min() <= array.max() <= stored.high
    again = again.with_arrays(REFERENCE.arrays)
    assert not again.fault() and again.rows == REFERENCE.rows
    for one, other in zip(again.columns, REFERENCE.columns, strict=True):
        assert one.feature == other.feature
        np.testing.assert_array_equal(one.share_B, other.share_B)


def test_its_size_does_not_grow_with_the_rows():
    """A larger sample of the same table takes the same room."""
    _, larger = fitted(table(20_000))
    assert len(larger.shares) <= len(REFERENCE.shares) + 3  # a count that was not seen


def test_shares_are_those_of_the_sample():
    """Of a category the shares of its values, of a number tenths, each with what is missing."""
    rows = table()
    spreads = {own.feature.name: own for own in REFERENCE.columns}
    colours = rows["colour"].to_pylist()
    shares = [colours.count(name) / len(rows) for name in ("red", "green", "blue", None)]
    assert spreads["colour"].share_B[[0, 1, 2, -1]].tolist() == pytest.approx(shares)
    assert spreads["number"].share_B[-1] == rows["number"].null_count / len(rows)


@pytest.mark.parametrize("most", [10_000, 500], ids=["all are known", "most are forgotten"])
def test_how_many_values_are_to_come(most, monkeypatch):
    """Values that a model does not know: held-out rows had some, and a column may have more than it remembers."""
    monkeypatch.setattr(categories, "MAX_VALUES", most)
    draw = np.random.default_rng(0)
    codes = [f"c{i}" for i in draw.integers(0, 2000, 6000)]
    rows, later = table(6000).append_column("code", [codes[:6000]]), draw.integers(0, 2000, 50_000)
    training, held_out = rows.slice(0, 4000), rows.slice(4000)
    spec, _ = fitted(training)
    reference = Reference.fit(spec, training, [training, held_out], held_out)
    known = set(spec.features[-1].value_set.to_pylist())
    expected = np.mean([f"c{i}" not in known for i in later])
    assert reference.columns[-1].share_B[-2] == pytest.approx(expected, abs=0.02)
    assert reference.unseen_rows_D[-1] == (4000 if most > 2000 else 2000)


def test_values_that_occur_once_say_how_many_are_to_come():
    """Of a column of codes that hardly repeat, most values of a run are expected to be new."""
    draw = np.random.default_rng(0)
    rows = table().append_column("code", [[f"c{i}" for i in draw.integers(0, 100_000, 4000)]])
    _, reference = fitted(rows)
    assert reference.columns[-1].share_B[-2] > 0.9
    assert REFERENCE.columns[2].share_B[-2] == 0


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0}, {"rows": 1.5}, {"unseen_rows": [0] * 6}, {"unseen_rows": [4001] * 6},
        {"edges": []}, {"edges": [2] * 5}, {"edges": [2] * 7}, {"edges": None},
        {"edges": [2, 2, 1, 0, 2, 2]}, {"edges": [21, 2, 0, 0, 2, 2]}, {"edges": [True, 2, 0, 0, 2, 2]},
        {"edges": [-1, 2, 0, 0, 2, 2]}, {"edges": [2**60, 2, 0, 0, 2, 2]}, {"edges": ["2", 2, 0, 0, 2, 2]},
    ],
)  # fmt: skip
def test_a_forged_one_is_refused(change):
    """Other numbers of edges than training could have made, and none that make arrays of any size."""
    with pytest.raises(ModelFileError, match=r"^drift\.(rows|unseen_rows|edges) of the model cannot be\."):
        read(REFERENCE.to_json() | change)


def test_arrays_that_do_not_agree_are_at_fault():
    """Edges that fall, and shares that are more than all, each with the column's name."""
    edges, shares = REFERENCE.edges.copy(), REFERENCE.shares.copy()
    edges[1], shares[0] = edges[2], 0.5
    assert replace(REFERENCE, edges=edges).fault() == "edges of 'number' that do not rise"
    assert replace(REFERENCE, shares=shares).fault().startswith("shares of 'number' that add up to 1.")

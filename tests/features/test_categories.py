"""Categories as slot numbers."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model.errors import SchemaError
from vae_model.features import categories
from vae_model.features.categories import MAX_BYTES, MAX_SLOTS, MIN_COUNT, SHOWN, Categories, codes, vocabulary
from vae_model.features.feature import Expectation, Feature


def test_values_are_ordered_by_frequency_then_name():
    """The most frequent value has slot 0; ties go by the value."""
    array = pa.array(["b"] * 7 + ["c"] * 9 + ["a"] * 7)
    values, slots, gini, distinct = vocabulary(array)
    assert (values, slots, distinct) == (["c", "a", "b"], 3, 3)
    assert gini == pytest.approx(1 - (9**2 + 7**2 + 7**2) / 23**2)


def test_rare_values_share_a_slot_and_are_not_unseen():
    """A value seen fewer than five times has no slot of its own, but it was seen."""
    array = pa.array(["a"] * 20 + ["b"] * MIN_COUNT + ["r"] * (MIN_COUNT - 1) + ["q"])
    values, slots, _, _ = vocabulary(array)
    assert (values, slots) == (["a", "b", "r", "q"], 2)
    slot, unseen = codes(pa.array(["a", "b", "r", "q", "new", None]), pa.array(values), slots)
    assert slot.tolist() == [0, 1, 2, 2, 2, -1]
    assert unseen.tolist() == [False, False, False, False, True, False]
    assert slot.dtype == np.int32


def test_where_all_values_are_rare_the_most_frequent_have_slots():
    """A small table still has slots: those of the values that occur most."""
    values, slots, _, _ = vocabulary(pa.array(["a", "a", "b", "b", "c"]))
    assert (values, slots) == (["a", "b", "c"], 2)


def test_many_values_share_what_slots_there_are():
    """However many frequent values there are, no more than the limit have a slot of their own."""
    count = MAX_SLOTS + 30
    array = pa.array([f"v{i:04}" for i in range(count) for _ in range(MIN_COUNT)])
    values, slots, _, distinct = vocabulary(array)
    assert (len(values), slots, distinct) == (count, MAX_SLOTS, count)
    slot, unseen = codes(array, pa.array(values), slots)
    assert slot.max() == MAX_SLOTS
    assert not unseen.any()


def test_only_so_many_values_are_remembered(monkeypatch):
    """Beyond the limit the rarest values are forgotten, and the distinct count still tells of them."""
    monkeypatch.setattr(categories, "MAX_VALUES", 3)
    values, slots, _, distinct = vocabulary(pa.array(["a"] * 9 + ["b"] * 8 + ["c", "d", "e"]))
    assert (values, slots, distinct) == (["a", "b", "c"], 2, 5)


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(), pa.large_string(), pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)  # fmt: skip
def test_string_layouts_are_one_kind_of_category(type_):
    """Large, viewed and dictionary-encoded strings give the values and codes of plain ones."""
    plain = pa.array(["a", "b", "a", None, "a", "b"])
    array = plain.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else plain.cast(type_)
    assert vocabulary(array) == vocabulary(plain)
    slot, unseen = codes(array, pa.array(["a"]), 1)
    assert slot.tolist() == [0, 1, 0, -1, 0, 1]
    assert unseen.tolist() == [False, True, False, False, False, True]


@pytest.mark.parametrize(
    ("array", "expected"),
    [(pa.array([3, 3, None, 12]), ["3", "12"]), (pa.array([True, True, False, None]), ["true", "false"])],
    ids=["integers", "booleans"],
)
def test_integers_and_booleans_are_categories_by_their_text(array, expected):
    """Integers and booleans taken as categories go by the words they are written in."""
    assert vocabulary(array)[0] == expected


def test_the_empty_string_and_spaces_are_values():
    """An empty string is a value, not a missing one; case and spaces count."""
    values, _, _, distinct = vocabulary(pa.array(["", "", " ", "a", "A"]))
    assert (values, distinct) == (["", " ", "A", "a"], 4)


def test_one_value_has_no_impurity():
    """A constant category has Gini impurity 0."""
    assert vocabulary(pa.array(["x"] * 10 + [None])) == (["x"], 1, 0.0, 1)


@settings(max_examples=40)
@given(st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=60).filter(any))
def test_every_trained_value_is_seen_again(values):
    """Whatever was in training: no value of it is unseen, and only nulls are missing."""
    array = pa.array(values, pa.string())
    known, slots, gini, distinct = vocabulary(array)
    slot, unseen = codes(array, pa.array(known, pa.string()), slots)
    assert not unseen.any()
    assert ((slot < 0) == [value is None for value in values]).all()
    assert slot.max(initial=-1) <= slots <= distinct == len(set(values) - {None})
    assert 0 <= gini < 1


def test_long_text_is_no_category():
    """A column with a value that is too long is refused by name, with what to do; an unseen one that long is not."""
    fits = pa.array(["x" * MAX_BYTES, "ä" * (MAX_BYTES // 2)] * 10)
    feature = Categories().fit(Feature("s", "categorical", "string"), fits).feature
    with pytest.raises(SchemaError) as caught:
        Categories().fit(Feature("s", "categorical", "string"), pa.array(["a", "ä" * 501]))
    assert str(caught.value) == (
        "Column 's' holds text that is too long for a category.\n"
        "  expected: values of at most 1,000 bytes\n  found: a value of 1,002 bytes or more\n"
        "  to do: Leave it out of the model: features: {exclude: [s]}."
    )
    long = pa.array(["y" * 2_000_000])
    slot, unseen = Categories().encode(feature, long)
    assert unseen.all() and slot.tolist() == [feature.slots]
    first = np.zeros(1)
    observed, expected = Categories().words(feature, long[0], Expectation(first, first, first, first))
    assert (observed, expected[-1], len(expected)) == ("y" * (SHOWN - 1) + "…", "…", SHOWN)
    assert len(Categories().describe(feature)) < 500

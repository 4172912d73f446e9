"""Names of columns, read as a person reads them."""

import pytest

from vae_model.config.advice import Counted, advise, earlier_scores, is_like_label, words
from vae_model.features.schema import Column
from vae_model.scoring.output import OUTPUT


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("isFraud", ["is", "fraud"]),
        ("is_fraud", ["is", "fraud"]),
        ("Is Fraud?", ["is", "fraud"]),
        ("default.payment.next.month", ["default", "payment", "next", "month"]),
        ("storeID", ["store", "id"]),
        ("HTTPCode2", ["http", "code2"]),
        ("größe", ["größe"]),
        ("", []),
    ],
)
def test_a_name_has_words(name, found):
    """Case, underscores, dots and spaces part the words of a name."""
    assert words(name) == found


@pytest.mark.parametrize(("name", "is_label"), [("y", True), ("Class", True), ("yield", False), ("classify", False)])
def test_a_label_is_a_word_not_a_part_of_one(name, is_label):
    """A name is like a label's where a whole word of it is."""
    assert is_like_label(name) == is_label


@pytest.mark.parametrize(("rarer", "is_left_out"), [(1, True), (20, True), (21, False), (50, False)])
def test_a_word_of_a_label_among_others_counts_where_it_is_rare(rarer, is_left_out):
    """A column of two values whose name has a label's word among others is left out where one of them is rare."""
    column = Column("target_reached_early", "boolean", "boolean")
    (advice,) = advise([Counted(column, rows=100, present=100, distinct=2, rarer=rarer)], OUTPUT.names)
    assert (advice.kind is None) == is_left_out


def test_a_word_of_the_outputs_alone_is_no_earlier_score():
    """One column with a prefix before an output's name is the table's own; three are an earlier run's."""
    assert earlier_scores(["max_anomaly_score", "x"], OUTPUT.names) == {}
    three = [f"old_{name}" for name in OUTPUT.names[:3]]
    assert list(earlier_scores([*three, "x"], OUTPUT.names)) == three

"""Culprits: the columns without which a row would be ordinary."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_model import Config, Detector
from vae_model.features.batch import Batch
from vae_model.scoring import masking
from vae_model.scoring.masking import hide

NAMES = [f"n{i}" for i in range(6)]


def rows(count, seed):
    """Six numbers that hang together, a category that follows from one of them, and a column with gaps."""
    draw = np.random.default_rng(seed)
    hidden = draw.normal(size=(count, 2))
    values = hidden @ np.array([[1, 1, 0, 0, 1, 0.5], [0, 0.5, 1, 1, -1, 1]]) + 0.1 * draw.normal(size=(count, 6))
    columns = dict(zip(NAMES, values.T, strict=True))
    return pa.table(
        {
            **columns,
            "sign": np.where(hidden[:, 0] > 0, "plus", "minus"),
            "often": pa.array(draw.normal(size=count), mask=draw.random(count) < 0.2),
        }
    )


@pytest.fixture(scope="module")
def detector():
    """Trained on such rows, to flag one in a hundred."""
    return Detector(Config.model_validate({"decision": {"false_alarm_rate": 0.01}})).fit(rows(3000, 0))


def explained(detector, table, column):
    """A column of what is computed of each row, flagged or not."""
    arrays = [table.column(name).combine_chunks() for name in detector.scorer.names]
    return detector.scorer.explain(arrays).field(column).to_pylist()


def reasons(detector, table):
    """The reasons of each row, flagged or not."""
    return explained(detector, table, "anomaly_reasons")


def changed(table, row, **values):
    """The table with other values in a row."""
    for name, value in values.items():
        column = table.column(name).to_pylist()
        column[row] = value
        table = table.set_column(table.column_names.index(name), name, pa.array(column, table.schema.field(name).type))
    return table


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_number_that_breaks_a_relation_is_named_first(detector, name):
    """In an ordinary row, a value that is common in its column and wrong beside the others is the first reason, and
    what is expected is near what was there: nearer than to what stands there now.
    """
    table = rows(200, 1)
    named, nearer = 0, 0
    for row in range(20):
        was = table[name][row].as_py()
        wrong = was + (2.5 if was < 0 else -2.5)
        first = reasons(detector, changed(table.slice(row, 1), 0, **{name: wrong}))[0][0]
        named += first["feature"] == name
        nearer += first["feature"] == name and abs(float(first["expected"]) - was) < 0.5
    assert named >= 18 and nearer >= 17


@pytest.mark.slow
def test_two_values_that_were_swapped_are_both_named(detector):
    """Where each has the other's value and they differ, both are among the first three in most rows."""
    table, both = rows(300, 2), 0
    pairs = [row for row in range(300) if abs(table["n0"][row].as_py() - table["n2"][row].as_py()) > 2][:30]
    for row in pairs:
        one = table.slice(row, 1)
        (found,) = reasons(detector, changed(one, 0, n0=one["n2"][0].as_py(), n2=one["n0"][0].as_py()))
        both += {"n0", "n2"} <= {reason["feature"] for reason in found[:3]}
    assert both >= 0.8 * len(pairs)


def test_a_value_gone_missing_is_the_reason(detector):
    """A gap in a column that never had one is named first; one in a column that often has is not named."""
    table = changed(rows(5, 3), 0, n3=None, often=None)
    (first, *others), *_ = reasons(detector, table)
    assert first["feature"] == "n3" and first["observed"] == "missing"
    assert abs(float(first["expected"])) < 5
    assert "often" not in {reason["feature"] for reason in others}


@pytest.mark.slow
@settings(max_examples=30)
@given(st.data())
def test_the_reasons_of_a_row_do_not_depend_on_its_neighbours(detector, data):
    """Any rows, wrong or right, have the same reasons alone as among others, to the last bit; their shares are in order
    and add up to at most the whole.
    """
    table = rows(12, 4)
    for _ in range(data.draw(st.integers(1, 6))):
        name = data.draw(st.sampled_from(NAMES))
        value = data.draw(st.none() | st.floats(-1e6, 1e6))
        table = changed(table, data.draw(st.integers(0, 11)), **{name: value})
    together = reasons(detector, table)
    row = data.draw(st.integers(0, 11))
    assert reasons(detector, table.slice(row, 1)) == [together[row]]
    shares = [[reason["share"] for reason in one] for one in together]
    assert all(own == sorted(own, reverse=True) and min(own) >= 0 and sum(own) <= 1 + 1e-9 for own in shares)
    assert all(len({reason["feature"] for reason in one}) == len(one) <= 5 for one in together)


def test_the_shares_of_any_row_add_up_to_at_most_its_score(detector):
    """Of ordinary rows too, some of which score higher without any column: what explains nothing stands beside no
    other reason.
    """
    for found in reasons(detector, rows(400, 7)):
        shares = [reason["share"] for reason in found]
        assert sum(shares) <= 1 + 1e-9 and (len(shares) == 1 or min(shares) > 0)


def test_trials_in_one_go_find_what_trials_one_by_one_find(detector, monkeypatch):
    """However many rows are looked at together: how many trials are made at once decides nothing."""
    table = rows(300, 5)
    monkeypatch.setattr(masking, "AT_ONCE", 0)
    few = reasons(detector, table)
    monkeypatch.setattr(masking, "AT_ONCE", 1 << 30)
    assert reasons(detector, table) == few


@pytest.mark.slow
def test_what_is_expected_of_the_only_culprit_does_not_hang_on_how_many_reasons_are_asked_for(detector):
    """Where the row is ordinary without it: another column that is named beside it is not hidden for it."""
    table, ordinary = rows(300, 8), 0
    one = detector.with_decision(detector.config.decision.model_copy(update={"reasons": 1}))
    for row in range(30):
        wrong = changed(table.slice(row, 1), 0, n4=table["n4"][row].as_py() + 3)
        (first, *_), (alone,) = reasons(detector, wrong)[0], reasons(one, wrong)[0]
        assert first["feature"] == alone["feature"]
        if explained(one, wrong, "reason")[0].endswith("; without it the row is ordinary."):
            assert first["expected"] == alone["expected"]
            ordinary += 1
    assert ordinary >= 20


@pytest.mark.slow
def test_a_range_holds_the_true_value_as_often_as_it_says():
    """It is told of a column that is wrong alone, and holds what was there in nine of ten rows; of several that are
    wrong together, and leave nothing that tells what they were, there is none.
    """
    draw = np.random.default_rng(0)
    a = draw.normal(100, 10, 4000)
    table = pa.table({"a": a, "b": a + draw.normal(0, 0.2, 4000)} | {f"n{i}": draw.normal(size=4000) for i in range(3)})
    detector = Detector(Config.model_validate({})).fit(table.slice(0, 3700))
    held = []
    for row in range(3700, 4000):
        both = changed(table.slice(row, 1), 0, a=400.0, b=-300.0)
        alone = changed(table.slice(row, 1), 0, b=table["b"][row].as_py() + 60)
        two, one = explained(detector, pa.concat_tables([both, alone]), "reason")
        assert "(" not in two
        found = re.search(r"b \S+, expected about \S+ \((\S+) to (\S+)\)", one)
        held += [float(found[1]) <= table["b"][row].as_py() <= float(found[2])] if found else []
    assert len(held) > 250 and np.mean(held) == pytest.approx(0.9, abs=0.06)


def test_many_rows_are_explained_a_few_at_a_time(detector, monkeypatch):
    """However few rows are looked at together, the reasons are the same."""
    table = rows(300, 5)
    whole = reasons(detector, table)
    monkeypatch.setattr(masking, "TRIED_CELLS", 500)
    assert reasons(detector, table) == whole


def test_what_is_hidden_is_missing_but_no_gap(detector):
    """Of the hidden columns nothing is left, a hidden gap does not count, and the rows themselves stay as they are."""
    spec = detector.spec
    table = changed(rows(3, 6), 0, n1=None)
    before = spec.encode_table(table)
    hidden = np.zeros((3, len(spec.features)), dtype=bool)
    hidden[:, [spec.names.index("n1"), spec.names.index("sign")]] = True
    after = hide(spec, before, hidden)
    assert np.isnan(after.x_NF[:, spec.residuals[spec.names.index("n1")]]).all() and (after.codes_NC == -1).all()
    assert before.gap_N[0] == spec.names.index("n1") and after.gap_N[0] == -1
    again = spec.encode_table(table)
    assert all(
        np.array_equal(one, other, equal_nan=True)
        for one, other in zip(vars(before).values(), vars(again).values(), strict=True)
    )
    assert isinstance(after, Batch)


@pytest.mark.slow
@pytest.mark.parametrize("others", [0, 1, 3])
def test_two_that_are_wrong_alike_are_both_named(others):
    """Of two columns that follow each other each looks right beside the other, and hiding one alone explains nothing:
    both are named, with the same share, whatever else the table has.
    """
    draw = np.random.default_rng(0)
    celsius = draw.normal(15, 5, 3000)
    table = pa.table(
        {"celsius": celsius, "fahrenheit": 1.8 * celsius + 32 + draw.normal(0, 0.05, 3000)}
        | {f"n{i}": draw.normal(size=3000) for i in range(others)}
    )
    detector = Detector(Config.model_validate({})).fit(table.slice(0, 2800))
    named = 0
    for row in range(2800, 2840):
        wrong = changed(table.slice(row, 1), 0, celsius=70.0, fahrenheit=158.0)
        found, said = reasons(detector, wrong)[0], explained(detector, wrong, "reason")[0]
        both = {reason["feature"]: reason["share"] for reason in found[:2]}
        is_true = "without it " not in said and len(set(both.values())) == 1 and sum(both.values()) > 0.5
        named += both.keys() == {"celsius", "fahrenheit"} and is_true
    assert named >= 36


def test_no_range_is_told_beside_a_gap_that_hardly_ever_is(detector):
    """Ranges were learnt from rows with their other columns there; a gap that rows often have is among those rows."""
    row = rows(1, 9)
    often, never = (changed(row, 0, n0=40.0, **{name: None}) for name in ("often", "n4"))
    assert "n0 40, expected about" in explained(detector, often, "reason")[0]
    assert "(" in explained(detector, often, "reason")[0] and "(" not in explained(detector, never, "reason")[0]

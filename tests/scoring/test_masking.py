"""Culprits: the columns without which a row would be ordinary."""

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


def reasons(detector, table):
    """The reasons of each row, flagged or not."""
    arrays = [table.column(name).combine_chunks() for name in detector.scorer.names]
    return detector.scorer.explain(arrays).field("anomaly_reasons").to_pylist()


def changed(table, row, **values):
    """The table with other values in a row."""
    for name, value in values.items():
        column = table.column(name).to_pylist()
        column[row] = value
        table = table.set_column(table.column_names.index(name), name, pa.array(column, table.schema.field(name).type))
    return table


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
    assert first["feature"] == "n3" and first["observed"] == "missing" and float(first["expected"]) is not None
    assert "often" not in {reason["feature"] for reason in others}


@settings(deadline=None, max_examples=30)
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

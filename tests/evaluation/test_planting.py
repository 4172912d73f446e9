"""Planted errors: each row has one error of its kind, in the columns that are said, and nowhere else."""

from collections import Counter
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.spark.conftest import mixed_rows
from vae_model import Config
from vae_model.detector import choose
from vae_model.evaluation.planting import KINDS, plant, roomy
from vae_model.features import schema
from vae_model.features.feature import is_missing

pytestmark = pytest.mark.slow


def table(rows=500, seed=0):
    """A mixed table with two categories that go together, small whole numbers, decimals, and an array."""
    frame = mixed_rows(rows, seed).drop(columns=["id", "note"])
    draw = np.random.default_rng(seed)
    frame["unit"] = np.array(["kg", "box", "litre"])[draw.integers(0, 3, rows)]
    frame["goods"] = frame["unit"].map({"kg": "salt", "box": "tea", "litre": "oil"})
    found = pa.Table.from_pandas(frame, preserve_index=False)
    small = pa.array(draw.integers(1, 100, rows), pa.int8())
    price = pa.array([Decimal(int(n)) / 100 for n in draw.integers(100, 99_999, rows)], pa.decimal128(5, 2))
    return found.append_column("small", small).append_column("price", price)


def planted(rows=None, count=40, seed=0):
    """Errors of each kind in the table."""
    rows = rows or table()
    return plant(rows, rows, choose(schema.arrow_columns(rows.schema), Config()), count, seed)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_row_differs_in_the_named_columns_alone(seed):
    """Of every kind, to the last digit; and in each of them."""
    rows = table(seed=seed)
    for one in planted(rows, seed=seed):
        right, wrong = roomy(rows).take(one.right).to_pylist(), one.rows.to_pylist()
        assert len(wrong) == len(one.columns) == 40, one.kind
        for was, now, columns in zip(right, wrong, one.columns, strict=True):
            same = {name for name in was if was[name] == now[name] or (is_missing(was[name]) and is_missing(now[name]))}
            assert set(was) - same == set(columns), one.kind
            assert len(columns) == (2 if one.kind == "swapped" else 1)


def test_a_seed_gives_the_same_errors_and_another_gives_others():
    """In the same rows, with the same values."""
    first, again, other = planted(), planted(), planted(seed=1)
    assert all(one.rows.equals(two.rows) and one.columns == two.columns for one, two in zip(first, again, strict=True))
    assert not any(one.rows.equals(two.rows) for one, two in zip(first, other, strict=True))


def of_kind(kind):
    """What was and what is planted, of one kind's rows."""
    rows = table()
    (one,) = (one for one in planted(rows) if one.kind == kind)
    right = roomy(rows).take(one.right).to_pylist()
    for was, now, columns in zip(right, one.rows.to_pylist(), one.columns, strict=True):
        yield rows, columns[0], was, now


@pytest.mark.parametrize(("kind", "factor"), [("x10", 10), ("x1000", 1000), ("/1000", 0.001), ("sign", -1)])
def test_a_unit_is_mistaken(kind, factor):
    """As near as the column can hold it: whole numbers are rounded, small ones have room."""
    for _, name, was, now in of_kind(kind):
        step = {"count": 0.5, "small": 0.5, "price": 0.005}.get(name, 1e-9 * abs(float(was[name])))
        assert float(now[name]) == pytest.approx(factor * float(was[name]), abs=step * 1.01)


def test_a_tail_is_beyond_all_that_the_column_has():
    """On either side."""
    sides = Counter()
    for rows, name, _, now in of_kind("tail"):
        values = [value for value in rows.column(name).to_pylist() if not is_missing(value)]
        assert not min(values) <= now[name] <= max(values)
        sides[now[name] > max(values)] += 1
    assert min(sides.values()) > 5 and len(sides) == 2


def test_a_contradiction_never_occurs_in_the_table():
    """Its parts do, each by itself."""
    for rows, name, _, now in of_kind("contradiction"):
        other = {"unit": "goods", "goods": "unit"}[name]
        pairs = set(zip(rows.column(name).to_pylist(), rows.column(other).to_pylist(), strict=True))
        assert (now[name], now[other]) not in pairs and now[name] in {one for one, _ in pairs}


def test_a_value_is_unseen_missing_or_taken_from_elsewhere():
    """As the kind says."""
    for rows, name, _, now in of_kind("unseen"):
        assert now[name] not in rows.column(name).to_pylist()
    for rows, name, _, now in of_kind("missing"):
        assert now[name] is None and rows.column(name).null_count == 0
    stuck = {}
    for _, name, _, now in of_kind("stale"):
        assert stuck.setdefault(name, now[name]) == now[name]
    for rows, name, _, now in of_kind("shuffled"):
        assert now[name] in roomy(rows).column(name).to_pylist()
    for _, name, was, now in of_kind("swapped"):
        (other,) = (one for one in was if one != name and str(was[one]) != str(now[one]))
        assert float(now[name]) == pytest.approx(float(was[other]), abs=0.51)


@pytest.mark.parametrize(
    ("columns", "kinds"),
    [
        ({"a": np.arange(50.0)}, {"tail", "quantile", "sign", "x10", "x1000", "/1000", "missing", "shuffled", "stale"}),
        ({"word": ["a", "b"] * 25}, {"unseen", "missing", "shuffled", "stale"}),
        ({"flag": [True, False] * 25}, {"missing", "shuffled", "stale"}),
        ({"constant": [1] * 50}, {"missing"}),
        ({"code": pd.Categorical(["x", None] * 25)}, set()),
        ({"huge": [2**62, -(2**62)] * 25}, set(KINDS) - {"swapped", "contradiction", "unseen"}),
    ],
)
def test_what_a_table_cannot_have_is_not_planted(columns, kinds):
    """A kind that nothing can be planted of comes without rows."""
    found = planted(pa.Table.from_pandas(pd.DataFrame(columns), preserve_index=False), count=5)
    assert [one.kind for one in found] == list(KINDS)
    assert {one.kind for one in found if len(one.rows)} == kinds

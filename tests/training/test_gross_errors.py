"""Gross errors of a sample: found in columns of every kind and set aside, while what is merely rare stays."""

import numpy as np
import pyarrow as pa
import pytest

from vae_model import Config, Detector
from vae_model.detector import choose
from vae_model.features import schema
from vae_model.training.gross_errors import find, screen

pytestmark = pytest.mark.slow


def table(rows=2000, seed=0):
    """Numbers, whole numbers, categories, times and arrays, some of them often missing."""
    draw = np.random.default_rng(seed)
    load = draw.normal(50, 10, rows)
    return pa.table(
        {
            "load": load,
            "power": 2 * load + draw.normal(0, 2, rows),
            "count": draw.poisson(4, rows),
            "city": draw.choice(["Lyon", "Nice", "Turin", "Milan"], rows),
            "open": draw.random(rows) < 0.5,
            "gap": pa.array(draw.normal(size=rows), mask=draw.random(rows) < 0.1),
            "at": pa.array(np.datetime64("2023-01-01", "us") + draw.integers(0, 365 * 86_400 * 10**6, rows)),
            "spectrum": pa.array(list(draw.normal([1, 2, 3], [0.1, 0.2, 0.3], (rows, 3)))),
        }
    )


def changed(rows, cells):
    """A table with cells of row number, column and value changed."""
    values = rows.to_pylist()
    for row, name, value in cells:
        values[row][name] = value
    return pa.Table.from_pylist(values, schema=rows.schema)


def chosen(rows):
    """All columns, as the kinds they are by default."""
    return choose(schema.arrow_columns(rows.schema), Config())


WILD = {
    "a number": ("load", 5000.0, "5000"),
    "a negative number": ("power", -1e9, "-1e+09"),
    "a whole number": ("count", 9999, "9999"),
    "a category": ("city", "??", "??"),
    "a missing number": ("load", None, "missing"),
    "a missing category": ("city", None, "missing"),
    "a missing flag": ("open", None, "missing"),
    "an infinity": ("load", float("inf"), "inf"),
    "an element of an array": ("spectrum", [1.0, 900.0, 3.0], "[1]: 900"),
}


@pytest.mark.parametrize("name", WILD)
def test_a_wild_cell_is_found_and_named(name):
    """Whatever its kind, the row of the cell is set aside, no other is, and the column is shown with what it holds."""
    column, value, observed = WILD[name]
    rows = changed(table(), [(700, column, value)])
    is_gross, worst = find(rows, chosen(rows))
    np.testing.assert_array_equal(np.flatnonzero(is_gross), [700])
    assert [(error.feature, error.observed) for error in worst] == [(column, observed)]


def test_a_clean_table_loses_no_row():
    """Of twenty samples without errors, none or one loses a row."""
    lost = [find(rows, chosen(rows))[0].sum() for rows in (table(seed=seed) for seed in range(20))]
    assert sum(lost) <= 1


def test_what_is_rare_stays():
    """A rare category beside others that are rare, and gaps that are no single ones, belong to the table."""
    draw = np.random.default_rng(0)
    names = np.char.add("C", draw.zipf(1.5, 2000).clip(max=800).astype(str))
    gaps = pa.array(draw.normal(size=2000), mask=draw.random(2000) < 0.02)
    rows = table().append_column("code", pa.array(names)).append_column("often", gaps)
    assert not find(rows, chosen(rows))[0].any()


def test_the_worst_come_first():
    """Of many errors five are shown, the farthest out first."""
    rows = changed(table(), [(100 * i, "load", 1000.0 * 2**i) for i in range(1, 8)])
    is_gross, worst = find(rows, chosen(rows))
    assert is_gross.sum() == 7
    assert [error.observed for error in worst] == ["128000", "64000", "32000", "16000", "8000"]
    assert all(error.feature == "load" and 40 < float(error.expected) < 60 for error in worst)


def test_of_many_wild_rows_the_farthest_go():
    """At most a twentieth of the rows is set aside for numbers, those farthest out; not none."""
    rows = table(400)
    cells = [(10 * i + j, name, 1e6) for j, name in enumerate(["load", "power", "gap"]) for i in range(8)]
    rows = changed(rows, [*cells, (399, "load", 1e12)])
    is_gross, worst = find(rows, chosen(rows))
    assert is_gross.sum() == 20
    assert is_gross[399]
    assert worst[0].observed == "1e+12"


@pytest.mark.parametrize("what", ["flags", "gaps", "words"])
def test_what_is_rare_in_many_rows_stays_and_hides_no_wild_cell(what):
    """Flags that are seldom set, columns that seldom have a gap, and a value that some rows have are no errors; a wild
    number beside them still is.
    """
    draw = np.random.default_rng(0)
    rows = table()
    for i in range(20):
        is_rare = draw.random(2000) < (0.005 if what == "flags" else 0.001)
        column = {
            "flags": pa.array(is_rare),
            "gaps": pa.array(draw.normal(size=2000), mask=is_rare),
            "words": pa.array(np.where(draw.random(2000) < 0.01, "refund", draw.choice(["sale", "order"], 2000))),
        }[what]
        rows = rows.append_column(f"{what}{i}", column)
    assert not find(rows, chosen(rows))[0].any()
    is_gross, _ = find(wild := changed(rows, [(7, "load", 1e5)]), chosen(wild))
    np.testing.assert_array_equal(np.flatnonzero(is_gross), [7])


def test_a_constant_with_one_other_value_is_found():
    """The only row in which a column is not what it always is."""
    rows = changed(table().append_column("same", pa.array(np.full(2000, 5.0))), [(7, "same", 1e6)])
    is_gross, worst = find(rows, chosen(rows))
    np.testing.assert_array_equal(np.flatnonzero(is_gross), [7])
    assert worst[0].observed == "1000000"
    assert float(worst[0].expected) == pytest.approx(5, rel=1e-4)


def test_both_parts_of_a_sample_are_screened():
    """Rows to train on and rows held out lose their errors, and both are counted."""
    training = changed(table(800), [(3, "load", 1e7)])
    held_out = changed(table(200, 1), [(5, "load", -1e7), (6, "city", "Lion")])
    screened = screen(training, held_out, chosen(training))
    assert screened.rows == (1, 2)
    assert len(screened.training) == 799
    assert screened.held_out.equals(held_out.filter(pa.array(~np.isin(np.arange(200), [5, 6]))))


@pytest.mark.parametrize("rows", [300, 3000])
def test_training_without_a_clean_sample_finds_its_errors(rows):
    """Five wild cells in the rows that are trained on are flagged, rank first and name their column."""
    cells = [(7, "load", 5e4), (70, "count", 4000), (140, "power", -1e6), (210, "city", "?"), (280, "load", None)]
    sample = changed(table(rows), cells)
    detector = Detector(Config()).fit(sample)
    scored = detector.score(sample).to_pylist()
    wild = [row for row, _, _ in cells]
    assert all(scored[row]["is_anomaly"] for row in wild)
    assert [scored[row]["anomaly_reasons"][0]["feature"] for row in wild[:4]] == [name for _, name, _ in cells[:4]]
    rest = max(row["anomaly_score"] for i, row in enumerate(scored) if i not in wild)
    assert all(scored[row]["anomaly_score"] > rest for row in wild)
    assert sum(detector.header["training"]["set_aside"][part] for part in ("training", "held_out")) >= 5


def test_a_trusted_sample_is_left_as_it_is():
    """train.trim: 0 trains and calibrates on every row."""
    sample = changed(table(600), [(7, "load", 5e4)])
    trusted = Detector(Config.model_validate({"train": {"trim": 0}, "model": {"steps": 50}})).fit(sample)
    summary = trusted.header["training"]
    assert summary["set_aside"] == {"training": 0, "held_out": 0, "worst": []}
    assert summary["rows"] + summary["calibration_rows"] == 600


@pytest.mark.parametrize("gaps", [[2] * 200, [row % 3 for row in range(200)]])
def test_arrays_that_all_have_a_gap_can_be_learnt(gaps):
    """An element that is missing in every row, or another one in each, makes a model that can be read again, and wild
    elements beside it are set aside and named.
    """
    arrays = np.random.default_rng(0).normal(size=(200, 3)).tolist()
    for array, gap in zip(arrays, gaps, strict=True):
        array[gap] = None
    arrays[1][0] = 900.0
    detector = Detector(Config(model={"steps": 5})).fit(pa.table({"v": pa.array(arrays)}))
    assert "the worst: v [0]: 900 " in "; ".join(Detector.from_bytes(detector.to_bytes()).warnings)


def test_held_out_rows_may_be_of_other_types():
    """Rows given to calibrate by may have their columns in another order, of other widths, with a dictionary or more
    of them: what scoring takes, training does.
    """
    rows, held_out = table(100, 1), table(60, 2)
    others = pa.table(
        {
            "more": pa.nulls(60),
            "city": held_out["city"].dictionary_encode(),
            "at": held_out["at"].cast(pa.timestamp("ns")),
            "load": held_out["load"].cast(pa.float32()),
            "count": held_out["count"].cast(pa.float64()),
            "gap": pa.nulls(60),
            **{name: held_out[name] for name in ("power", "open", "spectrum")},
        }
    )
    detector = Detector(Config(model={"steps": 5})).fit(rows, others)
    assert len(detector.calibration.scores) == len(detector.score(others))

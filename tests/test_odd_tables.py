"""Tables that are hard to learn from: by the default settings, what breaks them ranks above what does not."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vae_model import Config, Detector

pytestmark = pytest.mark.slow
FACTORS = 3
LOADINGS = np.random.default_rng(0).normal(size=(FACTORS, 100))


def related(draw, rows, columns):
    """Numbers that hang together: few factors, a little noise."""
    return draw.normal(size=(rows, FACTORS)) @ LOADINGS[:, :columns] + 0.3 * draw.normal(size=(rows, columns))


def plain(draw, rows):
    """Nothing odd."""
    return pd.DataFrame(related(draw, rows, 8)).add_prefix("x")


def heavy_tails(draw, rows):
    """A column that is often wild beside calm ones."""
    return plain(draw, rows).assign(wild=draw.standard_t(1.5, rows))


def duplicates(draw, rows):
    """Every row ten times."""
    return plain(np.random.default_rng(9), 200).iloc[draw.integers(0, 200, rows)].reset_index(drop=True)


def constants(draw, rows):
    """Columns that never change, or for one row in a thousand."""
    return plain(draw, rows).assign(same=5.0, rare=(np.arange(rows) % 1000 == 0).astype(float), word="a")


def few_values(draw, rows):
    """Numbers of few values."""
    return plain(draw, rows).round().assign(flag=draw.integers(0, 2, rows), grade=draw.integers(0, 5, rows))


def copies(draw, rows):
    """Columns that copy each other."""
    table = plain(draw, rows)
    return table.assign(**{f"copy{i}": table["x0"] * (i + 1) for i in range(5)})


def sparse(draw, rows):
    """A hundred columns, half of them zero but for one cell in fifty."""
    wide = related(draw, rows, 100)
    wide[:, 50:] *= draw.random((rows, 50)) < 0.02
    return pd.DataFrame(wide).add_prefix("x")


def many_categories(draw, rows):
    """A category of thousands of values, most of them rare, one that it decides, and one that is unique to the row."""
    code = draw.zipf(1.3, rows).clip(max=5000)
    return plain(draw, rows).assign(
        code=np.char.add("c", code.astype(str)),
        family=np.char.add("f", (code % 4).astype(str)),
        ticket=np.char.add("t", draw.integers(0, 10**9, rows).astype(str)),
    )


TABLES = [plain, heavy_tails, duplicates, constants, few_values, copies, sparse, many_categories]


@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("rows", [200, 2000])
def test_rows_that_break_the_relations_outrank_the_others(make, rows):
    """Related numbers drawn from other rows, by default settings, on 200 rows and on 2,000: AUC-ROC of 0.8 at least."""
    train, test = make(np.random.default_rng(1), rows), make(np.random.default_rng(2), 400)
    odd = test.copy()
    for i in range(1, 5):  # x1 to x4 each from another row: every column by itself as before
        odd[f"x{i}"] = np.roll(test[f"x{i}"], 17 * i)
    scores = [Detector().fit(train).score(frame)["anomaly_score"].to_numpy() for frame in (test, odd)]
    assert (scores[1][:, None] > scores[0]).mean() > 0.8


@pytest.mark.parametrize("make", TABLES, ids=lambda make: make.__name__)
def test_a_value_from_elsewhere_ranks_first(make):
    """A number ten times farther out than any other outranks 400 rows that have none."""
    train, test = make(np.random.default_rng(1), 2000), make(np.random.default_rng(2), 400)
    test = test.astype({"x0": float})
    test.loc[7, "x0"] = 10 * train["x0"].abs().max()
    assert Detector().fit(train).score(test)["anomaly_score"].idxmax() == 7


def wild_table(column, type_=None):
    """A column of numbers of an odd size beside plain ones."""
    draw = np.random.default_rng(1)
    return pa.table(
        {"odd": pa.array(column, type_), "x": draw.normal(size=len(column)), "c": ["a", "b"] * (len(column) // 2)}
    )


def steps(rows, seed=1):
    """Whole numbers about 500."""
    return np.random.default_rng(seed).normal(500, 50, rows).round().astype(int).tolist()


WILD = {
    "one 1e200": (lambda rows: pa.array([1e200, *np.random.default_rng(1).normal(size=rows - 1)]), 30.0),
    "one 1.8e308": (lambda rows: pa.array([1.797e308, *np.random.default_rng(1).normal(size=rows - 1)]), -30.0),
    "1e-170": (lambda rows: pa.array(np.random.default_rng(1).normal(size=rows) * 1e-170), 30e-170),
    "denormal": (lambda rows: pa.array(np.array(steps(rows)) * 5e-324), 3000 * 5e-324),
    "600 decades": (lambda rows: pa.array(10 ** np.random.default_rng(1).uniform(-300, 300, rows)), 1.7e308),
    "int64": (lambda rows: pa.array([2**63 - 3000 + step for step in steps(rows)], pa.int64()), 2**63 - 1),
    "int64 and one 0": (
        lambda rows: pa.array([0] + [2**62 + step for step in steps(rows - 1)], pa.int64()),
        2**62 + 2000,
    ),
    "uint64": (lambda rows: pa.array([2**64 - 3000 + step for step in steps(rows)], pa.uint64()), 2**64 - 1),
    "decimal": (
        lambda rows: pa.array([Decimal(10**30 + step) for step in steps(rows)], pa.decimal128(38, 2)),
        Decimal(10**30 - 999),
    ),
}
"""Columns of numbers that are hard on floats, and a value that is far out in each."""


@pytest.mark.parametrize("case", WILD)
def test_a_value_far_out_ranks_first_whatever_the_size_of_the_numbers(case):
    """A column of numbers of any size is scored by what differs in it: a value from elsewhere ranks first, and not all
    others alike.
    """
    make, far = WILD[case]
    table = wild_table(make(1000))
    tested = table.slice(1, 300)
    with_far = pa.concat_arrays(
        [pa.array([far], table.schema.field(0).type), tested.column(0).combine_chunks().slice(1)]
    )
    detector = Detector(Config.model_validate({"model": {"steps": 60}})).fit(table)
    scores = detector.score(tested.set_column(0, "odd", with_far))["anomaly_score"].to_numpy()
    assert np.isfinite(scores).all()
    assert scores.argmax() == 0
    assert len(np.unique(scores)) > 250
    assert "odd" not in " ".join(note for note in detector.warnings if "set aside" not in note)


def test_the_reasons_of_large_numbers_keep_the_digits_that_differ():
    """Observed and expected of a whole number near 2**62 and of a decimal near 1e30 are told apart."""
    rows = 600
    table = pa.table({
        "id": pa.array([2**62 + step for step in steps(rows)]),
        "amount": pa.array([Decimal(10**27) + step for step in steps(rows, 2)], pa.decimal128(38, 2)),
        "x": np.random.default_rng(1).normal(size=rows),
    })  # fmt: skip
    settings = {"model": {"steps": 60}, "decision": {"false_alarm_rate": 0.9, "reasons": 3}}
    detector = Detector(Config.model_validate(settings)).fit(table)
    amounts = pa.array([Decimal(10**27) + 500, Decimal(10**27) - 8000], pa.decimal128(38, 2))
    odd = pa.table({"id": [2**62 + 9000, 2**62 + 500], "amount": amounts, "x": [0.0, 0.0]})
    first, second = (row[0] for row in detector.score(odd)["anomaly_reasons"].to_pylist())
    assert (first["feature"], first["observed"]) == ("id", str(2**62 + 9000))
    assert abs(int(first["expected"]) - 2**62 - 500) < 1000
    assert second["feature"] == "amount"
    assert abs(Decimal(second["observed"]) - (10**27 - 8000)) < 100
    assert abs(Decimal(second["expected"]) - (10**27 + 500)) < 1000
    assert detector.spec.kinds[0].describe(detector.spec.features[0]).startswith("46116860184273")

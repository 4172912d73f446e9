"""Tables that are hard to learn from: by the default settings, what breaks them ranks above what does not."""

import numpy as np
import pandas as pd
import pytest

from vae_model import Detector

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

"""Where a tail ends: what stands apart is found whatever the tail's weight, and nothing of the tail itself is."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.training import tails

DRAWS = {
    "normal": lambda draw, n: draw.normal(size=n),
    "uniform": lambda draw, n: draw.random(n),
    "exponential": lambda draw, n: draw.exponential(size=n),
    "lognormal": lambda draw, n: draw.lognormal(0, 1, n),
    "Pareto of index 3": lambda draw, n: draw.pareto(3, n),
    "Student's t of 3": lambda draw, n: draw.standard_t(3, n),
    "counts": lambda draw, n: draw.poisson(0.1, n),
    "mostly zero": lambda draw, n: np.where(draw.random(n) < 0.9, 0, draw.lognormal(0, 1, n)),
    "rare ones": lambda draw, n: draw.random(n) < 0.01,
    "two clusters": lambda draw, n: draw.normal(size=n) + 30 * (draw.random(n) < 0.05),
}


def sizes(values):
    """Distances from the median."""
    return np.abs(values - np.median(values))


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
@pytest.mark.parametrize("rows", [300, 2000, 20_000])
def test_a_tail_of_any_weight_stays_whole(name, rows):
    """Of twenty samples of a distribution, hardly any loses a value."""
    draw = np.random.default_rng(0)
    samples = [sizes(DRAWS[name](draw, rows).astype(float)) for _ in range(20)]
    assert np.mean([(sample > tails.end(sample)).mean() for sample in samples]) < (0.001 if rows > 300 else 0.006)
    assert np.mean([(sample > tails.end(sample)).any() for sample in samples]) <= 0.2


@pytest.mark.parametrize(
    ("name", "rows"),
    [(name, rows) for name in ("normal", "uniform") for rows in (300, 2000, 20_000)] + [("counts", 20_000)],
)
@pytest.mark.parametrize("many", [1, 5, 10])
def test_what_is_far_beyond_a_light_tail_stands_apart(name, rows, many):
    """Values of 25 to 10,000 deviations are found, all of them and no others, however many there are."""
    draw = np.random.default_rng(many)
    values = DRAWS[name](draw, rows).astype(float)
    wild = draw.choice(rows, many, replace=False)
    values[wild] = 25 * values.std() * 400 ** draw.random(many)
    sample = sizes(values)
    np.testing.assert_array_equal(np.flatnonzero(sample > tails.end(sample)), np.sort(wild))


def test_one_in_a_hundred_is_found_more_is_not():
    """A group of more than about one value in a hundred is a part of the table."""
    values = np.random.default_rng(0).normal(size=2000)
    values[:20] = 100
    assert (sizes(values) > tails.end(sizes(values))).sum() == 20
    values[:40] = 100
    assert tails.end(sizes(values)) == math.inf


@given(st.lists(st.floats(0, 1e30), max_size=60))
def test_any_sizes_have_an_end(values):
    """Whatever the sizes, the end is a number, and below it is nearly all that is not zero."""
    sample = np.array(values)
    end = tails.end(sample)
    assert end > 0
    assert (sample > end).sum() <= tails.MAX_FEW


@given(st.floats(1e-20, 1e20))
def test_the_unit_does_not_matter(factor):
    """Sizes in another unit have the same values apart."""
    values = np.random.default_rng(3).normal(size=500)
    values[7] = 60
    sample = sizes(values)
    np.testing.assert_array_equal(np.flatnonzero(factor * sample > tails.end(factor * sample)), [7])

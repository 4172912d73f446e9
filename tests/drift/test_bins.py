"""Bins: every row has its place, wherever it stands, and what training never saw has one of its own."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.drift.tables import fitted, table
from vae_model.drift import bins
from vae_model.features.feature import Feature
from vae_model.features.kinds import KINDS
from vae_model.features.numbers import Numbers

NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.none()
BARE = Feature("x", Numbers.name, "float")
FINITE = st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=60)


@given(FINITE, st.lists(NUMBER, max_size=40), st.integers(0, 40))
def test_counts_add_up(training, run, cut):
    """Each row is in one bin; a table in two parts, in any order, has the counts of both; training lies within."""
    edges = bins.edges_of(BARE, pa.array(training))
    assert (np.diff(edges) > 0).all() and 2 <= len(edges) <= bins.MOST_EDGES
    rows = pa.array(run, pa.float64())
    whole = bins.counts(BARE, edges, rows)
    assert whole.sum() == len(run) and len(whole) == bins.width(BARE, len(edges))
    parts = [bins.counts(BARE, edges, part) for part in (rows[cut:], rows[:cut])]
    assert (parts[0] + parts[1] == whole).all()
    assert whole[-1] == sum(value is None or not np.isfinite(value) for value in run)
    own = bins.counts(BARE, edges, pa.array(training))
    assert own[0] == own[-2] == own[-1] == 0


@given(FINITE)
def test_what_lies_beyond_training_is_outside(training):
    """The next float below the least value and the one above the largest are in bins of their own."""
    edges = bins.edges_of(BARE, pa.array(training))
    beyond = np.array([np.nextafter(min(training), -np.inf), np.nextafter(max(training), np.inf)])
    counts = bins.counts(BARE, edges, pa.array(beyond))
    assert (counts[0], counts[-2], counts.sum()) == (1, 1, 2)


def test_numbers_fall_into_tenths():
    """Of values that hardly repeat, each bin has a tenth."""
    values = pa.array(np.random.default_rng(0).exponential(size=5000))
    counts = bins.counts(BARE, bins.edges_of(BARE, values), values)
    assert counts[1:-2].tolist() == pytest.approx([500] * 10, abs=1) and not counts[[0, -2, -1]].any()


@pytest.mark.parametrize("zeros", [0.3, 0.9, 0.99])
def test_a_value_of_many_rows_has_a_bin_of_its_own(zeros):
    """Most hours have no rain: the others are told apart by how much it rained."""
    draw = np.random.default_rng(0)
    values = np.where(draw.random(5000) < zeros, 0.0, draw.exponential(size=5000))
    edges = bins.edges_of(BARE, pa.array(values))
    counts = bins.counts(BARE, edges, pa.array(values))
    assert counts[1] == (values == 0).sum() and len(edges) == bins.PARTS + 1
    assert counts[2:-2].tolist() == pytest.approx([(values > 0).sum() / 9] * 9, abs=1.1)
    either = np.concatenate([-values, values])
    edges = bins.edges_of(BARE, pa.array(either))
    assert bins.counts(BARE, edges, pa.array(either)).max() == (either == 0).sum()


def test_counts_that_rise_by_a_half_fall_into_other_bins():
    """Bounds lie between whole numbers, not on them."""
    values = np.random.default_rng(0).poisson(3, 4000).astype(float)
    edges = bins.edges_of(BARE, pa.array(values))
    before, after = (bins.counts(BARE, edges, pa.array(own)) for own in (values, values + 0.6))
    assert np.abs(before - after).max() > 300


def test_a_category_has_bins_for_rare_and_unseen_values():
    """The most frequent values have one each; others, unseen ones and missing ones follow."""
    words = [f"w{i}" for i in range(30) for _ in range(40 - i)]
    feature = KINDS["categorical"].fit(Feature("c", "categorical", "string"), pa.array(words)).feature
    counts = bins.counts(feature, np.empty(0), pa.array(["w0", "w0", "w25", "new", None]))
    assert len(counts) == bins.VALUES + 3 == bins.width(feature, 0)
    assert (counts[0], *counts[-3:]) == (2, 1, 1, 1)


def test_times_are_only_there_or_not():
    """Another day is no drift, and neither is another hour; a missing one counts."""
    spec, reference = fitted(table())
    (place,) = [i for i, feature in enumerate(spec.features) if feature.name == "at"]
    later = table().set_column(4, "at", pa.array([None, *[10**10] * 3999], pa.timestamp("s")))
    assert reference.counts(later)[place].tolist() == [0, 3999, 0, 1]

"""Alerts by a false-discovery rate: by counts it is what the procedure says row by row, in whole numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vae_model.decisions import fdr

RATE = st.integers(1, 999).map(lambda n: Fraction(n, 1000))
HELD_OUT = st.integers(1, 300)


def row_by_row(ranks, held_out, rate):
    """The largest rank of a discovery, by the definition: p of the k-th row is at most q k / m."""
    ordered = sorted(ranks)
    found = [rank for k, rank in enumerate(ordered, 1) if Fraction(rank, 1 + held_out) <= rate * k / len(ordered)]
    return found[-1] if found else None


def counted(ranks, held_out):
    """Distinct p-values, in any order, and how many rows have each."""
    values, counts = np.unique(np.asarray(ranks, dtype=np.int64), return_counts=True)
    return values[::-1] / (1 + held_out), counts[::-1]


@given(st.data(), HELD_OUT, RATE)
def test_counting_finds_what_the_procedure_does(data, held_out, rate):
    """Also where a p-value is the bound itself, which neither has as a float."""
    ranks = data.draw(st.lists(st.integers(1, 1 + held_out) | st.integers(1, 3), max_size=60))
    expected, found = row_by_row(ranks, held_out, rate), fdr.cutoff(*counted(ranks, held_out), float(rate))
    assert found == (None if expected is None else expected / (1 + held_out))


@given(st.integers(0, 50), st.integers(1, 5000), HELD_OUT, RATE)
def test_what_it_would_take_is_no_more_and_no_less_than_that(at_finest, others, held_out, rate):
    """Where the rows that have the finest p-value are no discovery: with what is told of either they are, and with one
    less they are none.
    """
    rows = at_finest + others

    def is_found(at_finest, held_out, rows):
        return Fraction(1, 1 + held_out) <= rate * at_finest / rows

    found = fdr.need(rows, at_finest, 1 / (1 + held_out), float(rate))
    if found is None:
        assert is_found(1, held_out, rows)
        return
    few = max(at_finest, 1)
    assert is_found(found.at_finest, held_out, rows) and not is_found(found.at_finest - 1, held_out, rows)
    assert is_found(few, found.held_out, rows) and not is_found(few, found.held_out - 1, rows)
    assert found.rows == 0 or is_found(few, held_out, found.rows)
    assert not is_found(few, held_out, found.rows + 1)


def test_normal_rows_are_alerts_in_a_small_share():
    """Of 2,000 rows, 100 of them wild, over 300 draws: the mean share of normal ones among the alerts is at most q."""
    random, rate, held_out, shares = np.random.default_rng(0), 0.1, 5000, []
    for _ in range(300):
        ranks = np.concatenate([random.integers(1, held_out + 2, 1900), np.ones(100, dtype=int)])
        cut = fdr.cutoff(*counted(ranks, held_out), rate)
        normal, wild = (np.count_nonzero(part / (1 + held_out) <= cut) for part in (ranks[:1900], ranks[1900:]))
        shares.append(normal / (normal + wild))
    assert 0.5 * rate < np.mean(shares) < 1.1 * rate


@pytest.mark.parametrize("counts", [[], [5]])
def test_none_is_found_among_none_or_all_ordinary(counts):
    """No row, and rows whose p-value is 1."""
    assert fdr.cutoff(np.ones(len(counts)), np.array(counts, dtype=np.int64), 0.5) is None
    assert not math.isnan(fdr.need(5, 0, 0.2, 0.5).rows)

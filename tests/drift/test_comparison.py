"""A run held against the sample: what moved is named, most first, and what is chance is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.drift.tables import compared, fitted, table, with_column
from vae_model.drift import chance
from vae_model.drift.comparison import Comparison

_, REFERENCE = fitted(table())


def moved(rows):
    """The columns that are named, and what is said of them."""
    return {one.column: one.moved for one in compared(REFERENCE, rows).moved}


def test_other_rows_of_the_same_kind_have_not_moved():
    """Nothing is named in fifty tables that differ by chance, of few rows and of many."""
    for seed in range(1, 26):
        for rows in (100, 3000):
            assert moved(table(rows, seed)) == {}


@given(st.integers(1, 50), st.integers(0, 10**6))
@settings(max_examples=30)
def test_the_index_is_of_the_shares_alone(times, seed):
    """The sample itself, each row several times over and in any order, is at no distance from itself."""
    counts = [times * count for count in REFERENCE.counts(table())]
    found = Comparison.of(REFERENCE, counts)
    assert all(0 <= one.psi < 0.01 for one in found.columns) and not found.moved
    shuffled = REFERENCE.counts(table().take(np.random.default_rng(seed).permutation(4000)))
    assert all((one == other).all() for one, other in zip(shuffled, REFERENCE.counts(table()), strict=True))


@given(st.lists(st.integers(0, 10**6), min_size=6, max_size=6))
def test_the_index_is_never_negative(numbers):
    """Whatever the counts, of every column at least zero, and a number."""
    counts = REFERENCE.counts(table(50, 1))
    counts[2] = np.array([*numbers[:-1], numbers[-1] + 1])
    rows = [count if i == 2 else np.full_like(count, 1) for i, count in enumerate(counts)]
    found = Comparison.of(REFERENCE, rows)
    assert all(one.psi >= 0 and np.isfinite(one.psi) for one in found.columns)
    assert found.drift >= 0 and (found.missing is None or found.missing.missing_increase > 0)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("number", lambda a: [None if v is None else v + 0.5 for v in a], "number: rows from "),
        ("number", lambda a: [None if v is None else 1.5 * v for v in a], "number: outside the training range "),
        ("number", lambda a: [v if i % 10 else None for i, v in enumerate(a)], "number: missing 10.1 % -> 18.8 %"),
        ("count", lambda a: [v if i % 100 else None for i, v in enumerate(a)], "count: missing 0 % -> 1 %"),
        ("colour", lambda a: [v if i % 50 else "pink" for i, v in enumerate(a)],
         "colour: values that training has not seen 0 % -> 2 %"),
        ("colour", lambda a: ["blue" if v == "red" else v for v in a], "colour: rows with 'red': "),
        ("flag", lambda a: [True] * len(a), "flag: rows with 'false': "),
        ("at", lambda a: [v if i % 10 else None for i, v in enumerate(a)], "at: missing 0 % -> 10 %"),
        ("vector", lambda a: [[2 * x for x in v] for v in a], "vector: outside the training range"),
    ],
)  # fmt: skip
def test_a_shift_is_named(name, change, said):
    """The column that was shifted, no other, and what is the matter with it."""
    rows = table(4000, 7)
    found = moved(with_column(rows, name, change(rows[name].to_pylist())))
    assert list(found) == [name]
    assert found[name].startswith(said)


def test_what_moved_most_comes_first():
    """By the index; columns that have not moved come after all that have."""
    rows = table(4000, 7)
    rows = with_column(rows, "count", [value + 5 for value in rows["count"].to_pylist()])
    rows = with_column(rows, "flag", [True if i % 4 == 0 else v for i, v in enumerate(rows["flag"].to_pylist())])
    found = compared(REFERENCE, rows)
    assert [one.column for one in found.moved] == ["count", "flag"] == [one.column for one in found.columns[:2]]
    assert found.drift == found.columns[0].psi > found.columns[1].psi


def test_few_rows_are_said_to_be_few():
    """A hundred rows say little; four thousand are enough."""
    assert compared(REFERENCE, table(100, 1)).is_small
    assert not compared(REFERENCE, table(4000, 1)).is_small


def test_a_gate_is_not_closed_by_chance():
    """Of few rows neither index nor share missing counts, unless it is beyond chance."""
    rows = with_column(table(20, 3), "count", [None, None, *[3] * 18])
    found = compared(REFERENCE, rows).missing
    assert found.column == "count" and found.missing_increase == pytest.approx(0.1)  # never missing in 4,000 rows
    assert compared(REFERENCE, table(20, 3)).drift == 0


@given(st.integers(2, 40), st.integers(1, 10**9), st.integers(1, 10**9), st.integers(2, 100))
def test_bounds_of_chance_fall_with_the_rows(bins, one, other, times):
    """More rows on either side tell smaller differences from chance."""
    assert chance.of_psi(bins, times * one, other) < chance.of_psi(bins, one, other)
    assert chance.of_distance(one, times * other) < chance.of_distance(one, other)
    assert chance.of_shares(0.1, 0.1, times * one, times * other) < chance.of_shares(0.1, 0.1, one, other)


def test_bounds_are_passed_about_as_rarely_as_they_say():
    """Of 20,000 pairs of samples of the same shares, hardly any is beyond the bound of one in 10,000."""
    draw, share = np.random.default_rng(0), np.full(10, 0.1)
    one, other = (draw.multinomial(rows, share, 20_000) / rows for rows in (2000, 500))
    psi = ((one - other) * np.log((one + 1e-9) / (other + 1e-9))).sum(axis=1)
    assert (psi > chance.of_psi(10, 2000, 500)).sum() < 10
    assert (psi > 0.5 * chance.of_psi(10, 2000, 500)).sum() > 100
    rises = np.abs(one[:, 0] - other[:, 0])
    assert (rises > [chance.of_shares(a, b, 2000, 500) for a, b in zip(one[:, 0], other[:, 0], strict=True)]).sum() < 10

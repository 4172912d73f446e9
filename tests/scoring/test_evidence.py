"""Evidence: tails of statistics, and what several pieces come to."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vae_model.scoring.evidence import MOST, Evidence, joined

RNG = np.random.default_rng(0)
DRAWN = {
    "normal": np.abs(RNG.normal(size=5000)),
    "heavy": RNG.standard_t(3, size=5000) ** 2,
    "rounded": RNG.poisson(1.5, size=5000).astype(float),
}


@pytest.mark.parametrize("name", DRAWN)
def test_evidence_is_the_share_of_rows_that_are_as_odd(name):
    """The power of e to minus the evidence is about the share of other rows whose statistic is at least as large."""
    own_N = DRAWN[name]
    found = Evidence.fit(own_N[:4000, None])
    for share in (0.5, 0.1, 0.01):
        value = np.quantile(own_N[4000:], 1 - share)
        true = max((own_N[4000:] >= value).mean(), 1e-3)
        assert np.exp(-found(np.array([[value]]))[0, 0]) == pytest.approx(true, rel=0.7)


def test_a_tail_goes_on_beyond_all_rows():
    """Far out there is more evidence than rows could give, and ever more of it, up to a bound."""
    found = Evidence.fit(DRAWN["normal"][:, None])
    near, far, farthest = found(np.array([[4.0], [8.0], [1e30]]))[:, 0]
    assert np.log(5000) - 2 < near < far < farthest <= MOST


def test_what_never_happened_is_odd_and_no_proof():
    """Of a statistic that is 0 in all of n rows, the first other value is as rare as the rows are many."""
    found = Evidence.fit(np.zeros((1000, 1)))
    assert found(np.array([[0.0]]))[0, 0] == 0
    assert found(np.array([[1.0]]))[0, 0] == pytest.approx(2 * np.log(1000), rel=0.4)


@example([0.0, 3e-309], [1.0, 5e-324])
@settings(max_examples=60)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.lists(st.floats(0, 1e9), min_size=2, max_size=20))
def test_more_is_never_less_odd(sample, values):
    """Evidence rises with the statistic, is never negative and always finite, whatever the rows were."""
    evidence = Evidence.fit(np.array(sample)[:, None])(np.sort(values)[:, None])[:, 0]
    assert (np.diff(evidence) >= -1e-9).all()
    assert (evidence >= 0).all()
    assert np.isfinite(evidence).all()


def test_what_is_missing_is_no_evidence():
    """Neither where the statistic is missing, nor of one that no normal row had."""
    found = Evidence.fit(np.array([[np.nan, 1.0], [np.nan, 2.0]]))
    assert found(np.array([[7.0, np.nan]])).tolist() == [[0, 0]]


@settings(max_examples=60)
@given(st.lists(st.floats(0, MOST), min_size=2, max_size=9), st.integers(0, 8))
def test_one_strong_piece_is_not_drowned(pieces, which):
    """What they come to is at least the strongest less the log of its weight, and never more than the strongest."""
    evidence = np.array([pieces])
    weight_J = np.full(len(pieces), 1 / len(pieces))
    total = joined(evidence, weight_J)[0]
    assert max(pieces) - np.log(len(pieces)) - 1e-9 <= total <= max(pieces) + 1e-9
    higher = evidence.copy()
    higher[0, which % len(pieces)] += 1
    assert joined(higher, weight_J)[0] >= total

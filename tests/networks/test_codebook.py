"""The codebook: nearest codes, what they expect, missing values, few rows."""

from dataclasses import replace

import numpy as np
import pytest

from vae_model.networks import tiles
from vae_model.networks.codebook import COARSE, MAX_COVARIANCE, ROWS_PER_CODE, Codebook
from vae_model.networks.inputs import Inputs, TableShape, symlog

SHAPE = TableShape(3, (3, 2))


def clustered(rows=600, seed=0):
    """Three tight clusters; each has its own value of the first category."""
    draw = np.random.default_rng(seed)
    cluster = draw.integers(0, 3, rows)
    centers = np.array([[-2, 0, 1], [0, 2, -1], [2, -2, 0]])
    x_NV = (centers[cluster] + 0.1 * draw.normal(size=(rows, 3))).astype(np.float32)
    codes_NC = np.stack([cluster, draw.integers(0, 2, rows)], axis=1).astype(np.int32)
    return x_NV, codes_NC, cluster


def fit(size=8, seed=0, **changes):
    """A codebook of the clustered rows, the fine one."""
    x_NV, codes_NC, _ = clustered(**changes)
    return Codebook.fit(SHAPE, x_NV, codes_NC, size, seed)[0]


def expected(book, inputs, rows):
    """What a codebook expects: symlogs of the numbers, and log-probabilities of each category's slots."""
    expected_NO = tiles.to_rows(book(inputs), rows)
    return expected_NO[:, : book.shape.varying], [expected_NO[:, own] for own in book.shape.categories]


def residuals(book, x_NV, codes_NC):
    """What a codebook did not expect of the numbers."""
    inputs = Inputs.of(x_NV, codes_NC)
    return tiles.to_rows(book.numbers(inputs), len(x_NV)) - expected(book, inputs, len(x_NV))[0]


def test_a_row_is_expected_as_its_cluster():
    """The nearest code expects the cluster's numbers and its category."""
    x_NV, codes_NC, cluster = clustered(seed=1)
    book = fit()
    _, (log_p, _) = expected(book, Inputs.of(x_NV, codes_NC), len(x_NV))
    assert np.abs(residuals(book, x_NV, codes_NC)).max() < 0.4
    np.testing.assert_array_equal(log_p.argmax(axis=1), cluster)
    assert np.exp(log_p[np.arange(len(cluster)), cluster]).min() > 0.9


def test_shares_add_up_and_nothing_is_impossible():
    """The slots of a category have probabilities that add up to one, and none is zero."""
    book = fit()
    shares = np.exp(book.log_share_KS)
    np.testing.assert_allclose([shares[:, :3].sum(axis=1), shares[:, 3:].sum(axis=1)], 1, rtol=1e-5)
    assert shares.min() > 0


@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_a_missing_number_does_not_change_the_code(hidden):
    """With one number of three missing, a row is still expected as its cluster."""
    x_NV, codes_NC, _ = clustered(seed=2)
    book = fit()
    gaps = x_NV.copy()
    gaps[:, hidden] = np.nan
    left = residuals(book, gaps, codes_NC)
    others = [column for column in range(3) if column != hidden]
    assert np.abs(left[:, others]).max() < 0.5
    assert np.isnan(left[:, hidden]).all()


def test_a_missing_category_says_nothing():
    """Without its categories a row is placed by its numbers."""
    x_NV, codes_NC, _ = clustered(seed=2)
    assert np.abs(residuals(fit(), x_NV, np.full_like(codes_NC, -1))).max() < 0.5


def test_rows_with_gaps_can_be_fitted_on():
    """Missing cells in training have no say in what a code expects."""
    x_NV, codes_NC, _ = clustered()
    draw = np.random.default_rng(3)
    x_NV[draw.random(x_NV.shape) < 0.2] = np.nan
    codes_NC[draw.random(codes_NC.shape) < 0.2] = -1
    book, _ = Codebook.fit(SHAPE, x_NV, codes_NC, 6, 0)
    whole, codes, cluster = clustered(seed=4)
    _, (log_p, _) = expected(book, Inputs.of(whole, codes), len(whole))
    assert np.abs(residuals(book, whole, codes)).mean() < 0.1
    assert (log_p.argmax(axis=1) == cluster).mean() > 0.98


@pytest.mark.parametrize(("rows", "codes"), [(3, 1), (5, 1), (40, 10), (600, 8)])
def test_few_rows_have_few_codes(rows, codes):
    """There is a code for every four rows at most."""
    assert ROWS_PER_CODE == 4
    size = 8 if rows == 600 else 4096
    assert len(fit(size, rows=rows).bias_K) <= codes


def test_the_coarse_codebook_leaves_more_of_its_rows_unexplained():
    """Its rows scatter about its codes as new rows do; the fine codes lie closer to the rows they were fitted on."""
    draw = np.random.default_rng(6)
    x_NV, new_NV = draw.normal(size=(2, 2000, 3)).astype(np.float32)
    none = np.empty((2000, 0), dtype=np.int32)
    fine, coarse = Codebook.fit(TableShape(3, ()), x_NV, none, 500, 0)
    assert len(coarse.bias_K) == COARSE and len(fine.bias_K) > 400
    own, new = (np.square(residuals(fine, x, none)).mean() for x in (x_NV, new_NV))
    coarse_own, coarse_new = (np.square(residuals(coarse, x, none)).mean() for x in (x_NV, new_NV))
    assert own / new < 0.6
    assert coarse_own / coarse_new > 0.75


def test_a_wild_number_is_far_but_not_beyond_measure():
    """A residual grows with the logarithm of the number, and with the number near zero."""
    x_NV = np.array([[-1e9, -1, -0.01, 0, 0.01, 1, 1e9]], dtype=np.float32)
    bent = symlog(x_NV)
    np.testing.assert_array_equal(bent, -bent[:, ::-1])
    np.testing.assert_allclose(bent[0, 3:], [0, np.log1p(0.01), np.log(2), np.log(1e9)], rtol=1e-5)
    assert np.isnan(symlog(np.array([np.nan], dtype=np.float32))).all()


def test_equal_rows_share_one_code():
    """Rows without differences make one code, not several."""
    x_NV, codes_NC = np.ones((100, 3), dtype=np.float32), np.zeros((100, 2), dtype=np.int32)
    for book in Codebook.fit(SHAPE, x_NV, codes_NC, 8, 0):
        assert len(book.bias_K) == 1
        np.testing.assert_allclose(book.mean_KV, np.full((1, 3), np.log(2)), rtol=1e-6)


def test_the_same_seed_gives_the_same_codes():
    """The codes follow from the rows and the seed."""
    first, again, other = fit(seed=1), fit(seed=1), fit(seed=2)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    assert not np.array_equal(other.mean_KV, first.mean_KV)


def test_very_wide_tables_have_codes():
    """Beyond the width at which covariances are taken, the variances alone do."""
    draw = np.random.default_rng(0)
    columns = MAX_COVARIANCE + 1
    x_NV = draw.normal(size=(200, columns)).astype(np.float32)
    none = np.empty((200, 0), dtype=np.int32)
    book, _ = Codebook.fit(TableShape(columns, ()), x_NV, none, 4, 0)
    left = residuals(book, x_NV, none)
    assert np.isfinite(left).all()
    assert (left**2).mean() < (symlog(x_NV) ** 2).mean()


def test_arrays_round_trip():
    """A codebook taken to arrays and back expects the same."""
    book = fit()
    x_NV, codes_NC, _ = clustered(seed=5)
    inputs, again = Inputs.of(x_NV, codes_NC), Codebook.from_arrays(SHAPE, book.arrays())
    np.testing.assert_array_equal(*(expected(one, inputs, len(x_NV))[0] for one in (book, again)))


def test_what_is_missing_is_what_others_expect():
    """A row with nothing but one number is placed by what is imputed for its gaps, be they numbers or categories."""
    x_NV, codes_NC, cluster = clustered(seed=6)
    book = fit()
    gaps = np.full_like(x_NV, np.nan)
    gaps[:, 0] = 0.0  # lies between all clusters
    shares = [np.eye(3, dtype=np.float32)[cluster], np.full((len(x_NV), 2), 0.5, dtype=np.float32)]
    bare = Inputs.of(gaps, np.full_like(codes_NC, -1))
    for numbers, slots in ((x_NV, [np.zeros_like(share) for share in shares]), (np.zeros_like(x_NV), shares)):
        imputed_BOW = tiles.of_rows(np.concatenate([numbers, *slots], axis=1))
        _, (log_p, _) = expected(book, replace(bare, imputed_BOW=imputed_BOW), len(x_NV))
        assert (log_p.argmax(axis=1) == cluster).mean() > 0.95

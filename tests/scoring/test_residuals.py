"""From residuals to one distance: tails, covariance, missing values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf

from vae_model.scoring.residuals import MAX_DIRECTIONS, MAX_POWER, MIN_SHRINKAGE, NAMES, ResidualDistance


def residuals(rows=2000, columns=4, seed=0):
    """Correlated normal residuals, each column with its own mean and spread."""
    draw = np.random.default_rng(seed)
    mixing = np.eye(columns) + 0.4 * np.random.default_rng(99).normal(size=(columns, columns))
    return (draw.normal(size=(rows, columns)) @ mixing) * 0.3 + np.linspace(-0.2, 0.2, columns)


def none_constant(array):
    """No column is constant."""
    return np.zeros(array.shape[1], dtype=bool)


def fit(array):
    """A distance of columns that all vary."""
    return ResidualDistance.fit(array, none_constant(array))


def plain(tail_start=2.0, tail_power=0.4, precision=1.0):
    """A distance over one column, of which everything is known."""
    one = np.ones((1, 1))
    return ResidualDistance(
        np.zeros(1), np.ones(1), np.array([tail_start]), np.array([tail_power]), np.full(1, precision), one, np.zeros(1)
    )


def precision(distance):
    """P, put together from its parts."""
    u = distance.direction_RD.astype(float)
    return np.diag(distance.plain_R.astype(float)) + (u * distance.excess_D) @ u.T


def bend(z, start, power):
    """The tail by its formula: g = t (|z| / t)^k beyond t."""
    return np.where(np.abs(z) > start, np.sign(z) * start * (np.abs(z) / start) ** power, z)


@pytest.fixture(scope="module")
def distance():
    """Fitted on correlated residuals."""
    return fit(residuals())


def test_center_and_scale_are_mean_and_deviation(distance):
    """For residuals without wild rows, columns are centred on their mean and scaled by their deviation."""
    np.testing.assert_allclose(distance.center_R, residuals().mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(distance.scale_R, residuals().std(axis=0), rtol=1e-5)


def test_a_few_wild_rows_do_not_widen_the_measure(distance):
    """A thousandth of the rows at a million leaves center and scale nearly where they were."""
    wild = residuals()
    wild[:2] = 1e6
    again = fit(wild)
    np.testing.assert_allclose(again.scale_R, distance.scale_R, rtol=0.3)
    np.testing.assert_allclose(again.center_R, distance.center_R, atol=0.05)


def test_without_a_tail_it_is_the_mahalanobis_distance(distance):
    """Rows within the tails' starts have the squared Mahalanobis distance, computed another way."""
    rows = residuals(seed=1)
    z_NR = (rows - distance.center_R) / distance.scale_R
    core = (np.abs(z_NR) <= distance.tail_start_R).all(axis=1)
    assert 0.8 < core.mean() < 1
    covariance = np.linalg.inv(precision(distance))
    direct = [z @ np.linalg.solve(covariance, z) for z in z_NR[core]]
    np.testing.assert_allclose(distance.parts(rows[core]).sum(axis=1), direct, rtol=1e-4)


def test_with_a_tail_it_is_the_mahalanobis_distance_of_the_bent_residuals(distance):
    """Rows in the tails have the distance of t (z / t)^k."""
    rows = residuals(seed=1) * 8
    g_NR = bend((rows - distance.center_R) / distance.scale_R, distance.tail_start_R, distance.tail_power_R)
    np.testing.assert_allclose(
        distance.parts(rows).sum(axis=1), np.einsum("ni,ij,nj->n", g_NR, precision(distance), g_NR), rtol=1e-4
    )


def test_a_normal_row_scores_about_one(distance):
    """The mean over columns of the parts is 1 on average for rows like those of training."""
    assert distance.parts(residuals(seed=2)).mean() == pytest.approx(1, abs=0.15)


def test_the_tail_starts_at_the_98_percent_quantile():
    """Two in a hundred training residuals are beyond the start of their column's tail."""
    rows = residuals()
    distance = fit(rows)
    beyond = np.abs((rows - distance.center_R) / distance.scale_R) > distance.tail_start_R
    np.testing.assert_allclose(beyond.mean(axis=0), 0.02, atol=0.0006)


@settings(max_examples=100)
@given(
    st.floats(0.01, 10), st.floats(0.001, MAX_POWER),
    st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from([1.0, -1.0]),
)  # fmt: skip
def test_farther_out_is_never_less(start, power, a, b, sign):
    """A larger residual never scores lower, on either side, and both sides weigh the same."""
    near, far = sorted([a, b])
    distance = plain(start, power)
    parts = distance.parts(np.array([[sign * near], [sign * far], [-sign * far]]))[:, 0]
    assert parts[0] <= parts[1] * (1 + 1e-9)
    assert parts[1] == parts[2]


@settings(max_examples=50)
@given(st.floats(0.01, 10), st.floats(0.001, MAX_POWER))
def test_the_tail_joins_at_its_start(start, power):
    """There is no jump at t: just inside, at and just outside score alike."""
    around = np.array([[start * (1 - 1e-9)], [start], [start * (1 + 1e-9)]])
    np.testing.assert_allclose(plain(start, power).parts(around)[:, 0], start**2, rtol=1e-7)


def test_heavier_tails_weigh_the_same_excess_less():
    """Sixty deviations count less in a column that is often wild than in one that never is."""
    draw = np.random.default_rng(0)
    rows = np.stack([draw.normal(size=5000), draw.standard_t(1.5, size=5000)], axis=1)
    distance = fit(rows)
    assert distance.tail_power_R[1] < 0.7 * distance.tail_power_R[0]
    wild = distance.center_R + 60 * distance.scale_R * np.eye(2)
    scores = distance.parts(wild).sum(axis=1)
    assert scores[1] < 0.5 * scores[0]


def test_no_tail_is_lighter_than_exponential():
    """Bounded residuals do not make the power of their tail exceed that of an exponential one."""
    distance = fit(np.random.default_rng(0).uniform(-1, 1, (2000, 2)))
    np.testing.assert_allclose(distance.tail_power_R, [MAX_POWER, MAX_POWER])


def test_what_one_row_in_a_thousand_has_is_not_beyond_measure():
    """The wildest of n training residuals counts as the wildest of n normal deviates; a wilder one counts for more."""
    rows = residuals(4000)
    rows[::1000, 2] = 30.0  # in a column that is otherwise quiet
    rows[:, 2] = np.where(rows[:, 2] == 30, 30, 0.01 * rows[:, 2])
    found = fit(rows)
    g = bend((30 - found.center_R[2]) / found.scale_R[2], found.tail_start_R[2], found.tail_power_R[2])
    wilder = bend((90 - found.center_R[2]) / found.scale_R[2], found.tail_start_R[2], found.tail_power_R[2])
    np.testing.assert_allclose(g, np.sqrt(2 * np.log(4001)), rtol=1e-3)
    assert wilder > 1.1 * g


@pytest.mark.parametrize(("rows", "columns"), [(60, 5), (200, 10), (400, 30)])
def test_covariance_is_ledoit_wolf(rows, columns):
    """The precision is the inverse of scikit-learn's Ledoit-Wolf covariance of the bent residuals."""
    array = np.random.default_rng(3).normal(size=(rows, columns))
    array[:, 1] += array[:, 0]
    distance = fit(array)
    g_NR = bend((array - distance.center_R) / distance.scale_R, distance.tail_start_R, distance.tail_power_R)
    reference = LedoitWolf(assume_centered=True).fit(g_NR)
    assert reference.shrinkage_ > MIN_SHRINKAGE
    np.testing.assert_allclose(precision(distance), np.linalg.inv(reference.covariance_), rtol=1e-4, atol=1e-5)


def test_covariance_has_a_floor_of_shrinkage():
    """Copied columns, of which Ledoit-Wolf would shrink next to nothing, still have a finite precision."""
    a = np.random.default_rng(0).normal(size=20_000)
    array = np.stack([a, a, a], axis=1)
    g_NR = (array - array.mean(axis=0)) / array.std(axis=0)
    assert LedoitWolf(assume_centered=True).fit(g_NR).shrinkage_ < MIN_SHRINKAGE
    distance = fit(array)
    expected = MIN_SHRINKAGE * np.trace(np.linalg.inv(precision(distance))) / 3
    assert np.linalg.eigvalsh(np.linalg.inv(precision(distance))).min() == pytest.approx(expected, rel=1e-4)


def test_a_missing_cell_contributes_nothing(distance):
    """A missing residual's part is 0 and the others' parts are those of a row that is average in it."""
    row = residuals(1, seed=4)
    gap, average = row.copy(), row.copy()
    gap[0, 2], average[0, 2] = np.nan, distance.center_R[2]
    parts, reference = distance.parts(gap)[0], distance.parts(average)[0]
    assert parts[2] == 0
    np.testing.assert_allclose(parts[[0, 1, 3]], reference[[0, 1, 3]], rtol=1e-5)


def test_missing_training_cells_have_no_say():
    """Center and scale are taken over the observed residuals of a column."""
    array = residuals()
    gaps = array.copy()
    gaps[::3, 1] = np.nan
    distance = fit(gaps)
    kept = gaps[~np.isnan(gaps[:, 1]), 1]
    assert distance.center_R[1] == pytest.approx(kept.mean(), rel=1e-5)
    assert distance.scale_R[1] == pytest.approx(kept.std(), rel=1e-5)
    assert np.isfinite(precision(distance)).all()


def test_constant_columns_count_by_themselves():
    """A column that never varied has no tail, no scale and no partner: its part is its residual squared."""
    array = residuals()
    array[:, 1] = 0
    constant_R = np.array([False, True, False, False])
    distance = ResidualDistance.fit(array, constant_R)
    rows = residuals(5, seed=5)
    rows[:, 1] = [0, 1, -3, 40, np.nan]
    parts = distance.parts(rows)
    np.testing.assert_allclose(parts[:, 1], [0, 1, 9, 1600, 0])
    others = ResidualDistance.fit(array[:, ~constant_R], np.zeros(3, dtype=bool))
    np.testing.assert_allclose(parts[:, ~constant_R], others.parts(rows[:, ~constant_R]), rtol=1e-4)


def test_a_row_does_not_depend_on_its_neighbours(distance):
    """Parts of a row sent alone are those of the row among others."""
    rows = residuals(50, seed=6) * 5
    rows[3, 1] = np.nan
    together = distance.parts(rows)
    np.testing.assert_array_equal(np.concatenate([distance.parts(row[None]) for row in rows]), together)


def test_the_rows_are_not_changed(distance):
    """Fitting and scoring leave the residuals as they were."""
    rows = residuals() * 5
    kept = rows.copy()
    fit(rows)
    distance.parts(rows)
    np.testing.assert_array_equal(rows, kept)


def test_arrays_round_trip(distance):
    """A distance taken to arrays and back scores the same."""
    arrays = distance.arrays()
    assert set(arrays) == {f"residual.{name}" for name in NAMES}
    rows = residuals(seed=7)
    np.testing.assert_array_equal(ResidualDistance.from_arrays(arrays).parts(rows), distance.parts(rows))


def test_many_columns_keep_only_the_directions_that_matter():
    """With more columns than directions the file grows with the columns alone, and a copied pair still stands out."""
    draw = np.random.default_rng(0)
    columns = MAX_DIRECTIONS + 40
    array = draw.normal(size=(3000, 12)) @ draw.normal(size=(12, columns)) + draw.normal(size=(3000, columns))
    array[:, 1] = array[:, 0] + 0.01 * draw.normal(size=3000)
    distance = fit(array)
    assert distance.direction_RD.shape == (columns, MAX_DIRECTIONS)
    rows = array[:200].copy()
    usual = distance.parts(rows).sum(axis=1)
    rows[0, :2] += [3, -3]
    assert distance.parts(rows[:1]).sum() > usual[0] + 20

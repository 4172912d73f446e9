"""The ELBO against torch.distributions, Monte Carlo, and a model whose evidence is known.

Shapes: N rows, V numbers, Z latent dimensions, K slots.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, MultivariateNormal, Normal, kl_divergence

from vae_model.training import elbo


def draw(*shape, seed=0):
    """Standard normal numbers in double precision, from their own generator."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_kl_is_that_of_torch_distributions():
    """The KL divergence equals the closed form of another implementation, row by row."""
    mu_NZ, log_variance_NZ = draw(50, 4) * 2, draw(50, 4, seed=1)
    q = Independent(Normal(mu_NZ, torch.exp(0.5 * log_variance_NZ)), 1)
    p = Independent(Normal(torch.zeros_like(mu_NZ), torch.ones_like(mu_NZ)), 1)
    torch.testing.assert_close(elbo.kl_divergence(mu_NZ, log_variance_NZ), kl_divergence(q, p))


def test_kl_is_the_mean_log_ratio_of_the_densities():
    """The KL divergence is the Monte-Carlo mean of log q(z) - log p(z) over z ~ q, with its plus sign."""
    mu_NZ = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)
    log_variance_NZ = torch.tensor([[0.3, -0.7, -2.0]], dtype=torch.float64)
    sigma_NZ = torch.exp(0.5 * log_variance_NZ)
    z = mu_NZ + sigma_NZ * draw(200_000, 3)
    ratio = (Normal(mu_NZ, sigma_NZ).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(dim=1)
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert float(elbo.kl_divergence(mu_NZ, log_variance_NZ)) == pytest.approx(float(ratio.mean()), abs=4 * error)


def test_kl_is_zero_at_the_prior_only():
    """The posterior that is the prior costs nothing; any other costs something."""
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert elbo.kl_divergence(zero, zero).item() == 0
    assert (elbo.kl_divergence(draw(100, 3), draw(100, 3, seed=1)) > 0).all()


def test_gaussian_nll_is_that_of_torch_distributions():
    """The likelihood of numbers equals another implementation's, summed over the columns."""
    x_NV, mean_NV, log_variance_V = draw(40, 5), draw(40, 5, seed=1), draw(5, seed=2)
    expected = -Normal(mean_NV, torch.exp(0.5 * log_variance_V)).log_prob(x_NV).sum(dim=1)
    torch.testing.assert_close(elbo.gaussian_nll(x_NV, mean_NV, log_variance_V, torch.ones_like(x_NV)), expected)


def test_categorical_nll_is_that_of_torch_distributions():
    """The likelihood of a category equals another implementation's."""
    logits_NK = draw(40, 6) * 3
    code_N = torch.arange(40) % 6
    expected = -Categorical(logits=logits_NK).log_prob(code_N)
    torch.testing.assert_close(elbo.categorical_nll(logits_NK, code_N), expected)


def test_missing_numbers_contribute_nothing():
    """A masked cell adds nothing, whatever stands in it: the row's likelihood is that of its other cells."""
    x_NV, mean_NV, log_variance_V = draw(30, 4), draw(30, 4, seed=1), draw(4, seed=2)
    observed_NV = torch.ones_like(x_NV)
    observed_NV[:, 2] = 0
    kept = [0, 1, 3]
    expected = elbo.gaussian_nll(x_NV[:, kept], mean_NV[:, kept], log_variance_V[kept], observed_NV[:, kept])
    for value in (0.0, 1e6):
        x_NV[:, 2] = value
        torch.testing.assert_close(elbo.gaussian_nll(x_NV, mean_NV, log_variance_V, observed_NV), expected)


def test_missing_categories_contribute_nothing():
    """Code -1 is a likelihood of 1 and sends no gradient to the logits of its row."""
    logits_NK = draw(3, 4).requires_grad_()
    nll_N = elbo.categorical_nll(logits_NK, torch.tensor([1, -1, 2]))
    nll_N.sum().backward()
    assert nll_N[1].item() == 0
    assert logits_NK.grad[1].abs().sum() == 0
    assert (logits_NK.grad[[0, 2]].abs().sum(dim=1) > 0).all()


# --- A linear-Gaussian model: p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I), so p(x) = N(b, W W^T + s^2 I).

W_VZ = torch.tensor([[1.0, 0.5], [2.0, -0.25], [0.5, 0.0], [0.0, 1.0]], dtype=torch.float64)
"""Orthogonal columns, so that the true posterior is a diagonal Gaussian."""
B_V = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
LOG_VARIANCE_V = torch.full((4,), math.log(0.4), dtype=torch.float64)


def linear_elbo(x_NV, mu_NZ, log_variance_NZ):
    """The ELBO of the linear model from the package's terms; the expectation is exact by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    weights = weights / weights.sum()
    reconstruction_N = torch.zeros(len(x_NV), dtype=torch.float64)
    for i, j in itertools.product(range(5), repeat=2):
        eps_Z = torch.tensor([nodes[i], nodes[j]])
        z_NZ = mu_NZ + torch.exp(0.5 * log_variance_NZ) * eps_Z
        nll_N = elbo.gaussian_nll(x_NV, z_NZ @ W_VZ.T + B_V, LOG_VARIANCE_V, torch.ones_like(x_NV))
        reconstruction_N -= weights[i] * weights[j] * nll_N
    return reconstruction_N - elbo.kl_divergence(mu_NZ, log_variance_NZ)


def evidence(x_NV):
    """Log p(x) in closed form."""
    covariance = W_VZ @ W_VZ.T + torch.diag(torch.exp(LOG_VARIANCE_V))
    return MultivariateNormal(B_V, covariance).log_prob(x_NV)


def true_posterior(x_NV):
    """Mean and log-variance of p(z|x), which is diagonal here."""
    precision_ZZ = torch.eye(2, dtype=torch.float64) + W_VZ.T @ (W_VZ / torch.exp(LOG_VARIANCE_V)[:, None])
    covariance_ZZ = torch.linalg.inv(precision_ZZ)
    assert covariance_ZZ[0, 1].abs() < 1e-12
    mu_NZ = (x_NV - B_V) / torch.exp(LOG_VARIANCE_V) @ W_VZ @ covariance_ZZ
    return mu_NZ, torch.log(torch.diagonal(covariance_ZZ)).expand(len(x_NV), 2)


def test_elbo_is_the_evidence_at_the_true_posterior():
    """With q(z|x) = p(z|x) the bound is tight."""
    x_NV = draw(50, 4) * 2
    torch.testing.assert_close(linear_elbo(x_NV, *true_posterior(x_NV)), evidence(x_NV))


@pytest.mark.parametrize("away", [0.01, 0.3, 2.0])
def test_elbo_is_a_lower_bound_of_the_evidence(away):
    """With any other posterior the ELBO lies below the evidence, by KL(q || p(z|x))."""
    x_NV = draw(50, 4) * 2
    mu_NZ, log_variance_NZ = true_posterior(x_NV)
    other = mu_NZ + away * draw(50, 2, seed=3), log_variance_NZ + away * draw(50, 2, seed=4)
    gap_N = evidence(x_NV) - linear_elbo(x_NV, *other)
    q = Independent(Normal(other[0], torch.exp(0.5 * other[1])), 1)
    p = Independent(Normal(mu_NZ, torch.exp(0.5 * log_variance_NZ)), 1)
    assert (gap_N > 0).all()
    torch.testing.assert_close(gap_N, kl_divergence(q, p), rtol=1e-6, atol=1e-9)

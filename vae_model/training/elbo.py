"""The evidence lower bound (ELBO) of a variational autoencoder, once, with its source.

Kingma and Welling, "Auto-Encoding Variational Bayes" (2013), eq. 3 and appendix B:

    ELBO(x) = E_{q(z|x)}[ log p(x|z) ] - KL( q(z|x) || p(z) )

with the prior p(z) = N(0, I) and the posterior q(z|x) = N(mu, diag(sigma^2)), for which (appendix B)

    -KL = 1/2 sum_j ( 1 + log sigma_j^2 - mu_j^2 - sigma_j^2 )

The likelihood factorises over columns: a number has log N(x; mean, sigma^2), a category log softmax(logits)[x]; a
missing cell contributes nothing. The expectation is estimated with one sample z = mu + sigma * eps, eps ~ N(0, I).

Shapes: N rows, V numbers, Z latent dimensions, K slots; more axes may stand before these (the members of an ensemble).
Every function returns one value a row, in nats.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

LOG_2PI = math.log(2 * math.pi)


def gaussian_nll(x_NV: Tensor, mean_NV: Tensor, log_variance_V: Tensor, observed_NV: Tensor) -> Tensor:
    """(N,) -log N(x; mean, exp(log_variance)), summed over the observed numbers."""
    squared = (x_NV - mean_NV).square() * torch.exp(-log_variance_V)
    return (0.5 * (squared + log_variance_V + LOG_2PI) * observed_NV).sum(dim=-1)


def categorical_nll(logits_NK: Tensor, code_N: Tensor) -> Tensor:
    """(N,) -log softmax(logits)[code]; 0 where the code is -1 (missing)."""
    flat = logits_NK.reshape(-1, logits_NK.shape[-1])
    code = code_N.expand(logits_NK.shape[:-1])
    return cross_entropy(flat, code.reshape(-1), ignore_index=-1, reduction="none").reshape(code.shape)


def kl_divergence(mu_NZ: Tensor, log_variance_NZ: Tensor) -> Tensor:
    """(N,) KL( N(mu, diag exp(log_variance)) || N(0, I) ), at least 0."""
    return 0.5 * (mu_NZ.square() + log_variance_NZ.exp() - 1 - log_variance_NZ).sum(dim=-1)

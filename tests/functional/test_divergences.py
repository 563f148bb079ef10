"""Divergences against torch.distributions, their limits, and function transforms."""

import torch
from torch.distributions import Normal, kl_divergence

from latentrun.functional.distances.divergences import gaussian_kl, quadratic_penalty
from latentrun.functional.noise import Noise

DRAW = Noise(0).at("divergences")


def test_gaussian_kl_agrees_with_torch():
    mean = 3 * DRAW.normal("mean", (500, 4)).double()
    log_scale = 2 * DRAW.normal("scale", (500, 4)).double()
    torch.testing.assert_close(
        gaussian_kl(mean, log_scale), kl_divergence(Normal(mean, log_scale.exp()), Normal(0.0, 1.0))
    )


def test_gaussian_kl_vanishes_only_at_the_prior():
    assert gaussian_kl(torch.zeros(3), torch.zeros(3)).eq(0).all()
    away = gaussian_kl(torch.tensor([0.1, -0.1, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.1, -0.1]))
    assert (away > 0).all()


def test_gaussian_kl_keeps_small_values_in_float32():
    """Near the prior the KL is mean²/2 + log_scale² to third order; the naive formula in float32 is off by
    about 1e-7 there."""
    mean, log_scale = torch.full((1000,), 1e-4), torch.linspace(-3e-4, 3e-4, 1000)
    expected = mean.double().square() / 2 + log_scale.double().square()
    assert (gaussian_kl(mean, log_scale).double() - expected).abs().max() < 2e-10


def test_gaussian_kl_is_what_sampling_estimates():
    q, p = Normal(0.7, 0.4), Normal(0.0, 1.0)
    z = 0.7 + 0.4 * DRAW.normal("z", (200_000,))
    ratio = q.log_prob(z) - p.log_prob(z)
    error = ratio.std() / len(z) ** 0.5
    assert abs(ratio.mean() - gaussian_kl(torch.tensor(0.7), torch.tensor(0.4).log())) < 4 * error


def test_quadratic_penalty_is_the_kl_at_unit_scale():
    mean = DRAW.normal("penalty", (7, 5))
    torch.testing.assert_close(quadratic_penalty(mean), gaussian_kl(mean, torch.zeros_like(mean)))


def test_gradients_and_vmap():
    mean, log_scale = DRAW.normal("m", (6, 3)), DRAW.normal("s", (6, 3))

    def total(m, s):
        return gaussian_kl(m, s).sum()

    to_mean, to_scale = torch.func.vmap(torch.func.grad(total, argnums=(0, 1)))(mean, log_scale)
    torch.testing.assert_close(to_mean, mean)
    torch.testing.assert_close(to_scale, (2 * log_scale).exp() - 1)

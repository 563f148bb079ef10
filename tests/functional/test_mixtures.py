"""Mixtures of diagonal normals against other libraries and closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import sqrtm
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from latentrun.functional.statistics import mixtures
from latentrun.functional.statistics.mixtures import (
    bin_masses,
    binned_kl,
    component_log_density,
    covariance,
    gaussian_distances,
    log_densities,
    marginal_moments,
)

N, d = 40, 3
DRAW = Noise(0).at("mixtures")
MEAN = DRAW.normal("mean", (N, d)).double() + torch.tensor([0.0, 100.0, -3.0])
SCALE = 0.05 + DRAW.uniform("scale", (N, d)).double()
Z = MEAN + SCALE * DRAW.normal("z", (N, d))


def mixture(mean, scale):
    return MixtureSameFamily(
        Categorical(torch.ones(len(mean), dtype=torch.float64)), Independent(Normal(mean, scale), 1)
    )


def test_densities_are_those_of_torch_with_and_without_a_points_own_component(monkeypatch):
    monkeypatch.setattr(mixtures, "CELLS", 3 * N)  # three points at a time
    whole, others = log_densities(Z, MEAN, SCALE)
    torch.testing.assert_close(whole, mixture(MEAN, SCALE).log_prob(Z))
    rest = [mixture(MEAN[torch.arange(N) != n], SCALE[torch.arange(N) != n]).log_prob(Z[n]) for n in range(N)]
    torch.testing.assert_close(others, torch.stack(rest))
    torch.testing.assert_close(
        component_log_density(Z, MEAN, SCALE), Independent(Normal(MEAN, SCALE), 1).log_prob(Z)
    )


def test_narrow_components_keep_their_digits():
    """sigma of 1e-4 at a mean of 100: squares of 1e12 cancel to numbers near 1."""
    scale = torch.full_like(MEAN, 1e-4)
    z = MEAN + scale * DRAW.normal("narrow", (N, d))
    whole, others = log_densities(z, MEAN, scale)
    torch.testing.assert_close(whole, component_log_density(z, MEAN, scale) - math.log(N), rtol=0, atol=2e-3)
    assert (others < -1e3).all()


def test_moments_are_those_of_a_large_sample_and_of_a_known_mixture():
    found = {name: [e.value for e in es] for name, es in marginal_moments(MEAN, SCALE, Noise(0), 200).items()}
    sample = mixture(MEAN, SCALE).sample((400_000,)).numpy()
    np.testing.assert_allclose(found["mean"], sample.mean(0), atol=0.01)
    np.testing.assert_allclose(found["variance"], sample.var(0), rtol=0.02)
    np.testing.assert_allclose(found["skewness"], stats.skew(sample), atol=0.04)
    np.testing.assert_allclose(found["kurtosis"], stats.kurtosis(sample), atol=0.1)
    # Two normals at +-a with sd s: variance a² + s², excess kurtosis -2 a⁴ / (a² + s²)².
    a, s = 1.5, 0.5
    pair = torch.tensor([[a], [-a]]).repeat(200, 1) + 7
    known = marginal_moments(pair, torch.full_like(pair, s), Noise(0), 500)
    variance, kurtosis = a**2 + s**2, -2 * a**4 / (a**2 + s**2) ** 2
    for name, truth in (("mean", 7), ("variance", variance), ("skewness", 0), ("kurtosis", kurtosis)):
        (e,) = known[name]
        assert e.value == pytest.approx(truth, abs=1e-9), name
        if name in ("skewness", "kurtosis"):
            assert e.low is None and e.high is None
        else:
            assert e.low <= e.value <= e.high, name
    assert known["mean"][0].high - known["mean"][0].low == pytest.approx(
        2 * 1.96 * a / math.sqrt(400), rel=0.15
    )


def test_identical_components_are_one_normal():
    mean, scale = torch.full((30, 2), 0.3), torch.full((30, 2), 0.8)
    found = marginal_moments(mean, scale, Noise(0), 100)
    for name, truth in (("mean", 0.3), ("variance", 0.64), ("skewness", 0), ("kurtosis", 0)):
        assert [e.value for e in found[name]] == pytest.approx([truth] * 2, abs=1e-6)


def test_covariance_is_that_of_a_large_sample():
    mean = MEAN @ torch.tensor([[1, 0.8, 0], [0, 1, 0], [0, 0, 1]]).double()
    sample = mixture(mean, SCALE).sample((400_000,))
    torch.testing.assert_close(covariance(mean, SCALE), torch.cov(sample.T), rtol=0.03, atol=0.02)


def test_masses_of_bins(monkeypatch):
    edges = torch.linspace(-3, 3, 25, dtype=torch.float64)
    monkeypatch.setattr(mixtures, "CELLS", N * 30)  # a variable at a time
    mass = bin_masses(MEAN, SCALE, edges)
    assert mass.shape == (d, 26)
    np.testing.assert_allclose(mass.sum(1), 1, atol=1e-12)
    cdf = stats.norm.cdf(edges[:, None, None], MEAN, SCALE).mean(1).T
    np.testing.assert_allclose(mass[:, 1:-1], np.diff(cdf), atol=1e-12)
    np.testing.assert_allclose(mass[:, 0], cdf[:, 0], atol=1e-12)


@pytest.mark.parametrize(("m", "s"), [(0.0, 1.0), (0.7, 1.0), (0.0, 0.4), (-1.2, 0.6), (3.0, 0.8)])
def test_binned_kl_of_a_normal(m, s):
    """Close to the closed form with narrow bins, never above it, and less with wide ones."""
    fine, coarse = (torch.linspace(-5, 5, n, dtype=torch.float64) for n in (1001, 7))
    mean, scale = torch.tensor([[m]], dtype=torch.float64), torch.tensor([[s]], dtype=torch.float64)
    exact = gaussian_kl(mean, scale.log()).item()
    narrow, wide = (binned_kl(bin_masses(mean, scale, e), e).item() for e in (fine, coarse))
    assert narrow == pytest.approx(exact, rel=2e-3, abs=1e-9) and narrow <= exact + 1e-9
    assert wide <= narrow + 1e-9 and (wide < 0.97 * exact or exact == 0)


def test_binned_kl_far_from_the_prior_is_finite():
    edges = torch.linspace(-20, 20, 401, dtype=torch.float64)
    mean = torch.tensor([[15.0, -15.0]], dtype=torch.float64)
    found = binned_kl(bin_masses(mean, torch.ones_like(mean), edges), edges)
    torch.testing.assert_close(found, torch.full((2,), 15.0**2 / 2, dtype=torch.float64), rtol=1e-3, atol=0)


def test_gaussian_distances_against_other_libraries():
    a = DRAW.normal("a", (d, d)).double()
    mean, cov = DRAW.normal("m", (d,)).double(), a @ a.T + 0.1 * torch.eye(d)
    kl, frechet = gaussian_distances(mean, cov)
    unit = torch.eye(d, dtype=torch.float64)
    assert kl == pytest.approx(
        kl_divergence(MultivariateNormal(mean, cov), MultivariateNormal(0 * mean, unit)).item()
    )
    expected = mean.square().sum() + (cov + unit).trace() - 2 * np.trace(sqrtm(cov.numpy()).real)
    assert frechet == pytest.approx(expected.item())
    assert gaussian_distances(0 * mean, unit) == pytest.approx((0, 0), abs=1e-12)
    assert gaussian_distances(mean, torch.diag(torch.tensor([1.0, 1.0, 0.0])))[0] == math.inf


@pytest.mark.parametrize("narrow", [1e-6, 1e-8, 1e-9])
def test_information_never_exceeds_that_of_the_index(narrow):
    """However narrow the components: ln q(z|n) - ln q(z) <= ln N, and here, where none overlap, it is
    that."""
    noise = torch.Generator().manual_seed(0)
    mean = torch.randn(500, 3, generator=noise, dtype=torch.float64)
    scale = torch.full_like(mean, narrow)
    z = mean + scale * torch.randn(500, 3, generator=noise, dtype=torch.float64)
    information = component_log_density(z, mean, scale) - log_densities(z, mean, scale)[0]
    assert (information <= math.log(500) + 1e-9).all()
    torch.testing.assert_close(information, torch.full_like(information, math.log(500)))

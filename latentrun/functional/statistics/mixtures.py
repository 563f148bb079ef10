"""Mixtures of normals with diagonal covariance and equal weights, in closed form: what an aggregated
posterior is.

q(z) = 1/N sum_n N(z; mean_n, diag scale_n²), ``mean`` and ``scale (N, d)``, scale > 0. Everything is taken in
float64: for narrow components the squares below lose their leading digits to each other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_means
from latentrun.functional.statistics.moments import shape_statistics
from latentrun.types import Estimate

CELLS = 1 << 22  # numbers held at once


def log_densities(z: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """ln q(z_n) ``(N,)`` in nats at one point ``z (N, d)`` for each component, and the same under the mixture
    of the N - 1 other components; exact, a chunk of points at a time.

    ln q(z) = logsumexp_m [-½ sum_i (z_i - mean_mi)² / scale_mi² - sum_i ln scale_mi] - ln N - d/2 ln 2 pi;
    the sum over i is two matrix products.
    """
    mean, scale, z = mean.double(), scale.double(), z.double()
    n, d = mean.shape
    normal = 0.5 * d * math.log(2 * math.pi)
    # Of narrow components far out the products keep no digit of a point's density under its own.
    own_component = component_log_density(z, mean, scale) + normal
    centre = mean.mean(0)
    mean, z = mean - centre, z - centre
    weight = scale.reciprocal().square()
    constant = (mean.square() * weight).sum(1) + 2 * scale.log().sum(1)
    square, linear = weight.T.contiguous(), (mean * weight).T.contiguous()
    whole, others = [], []
    for at in torch.arange(n, device=z.device).split(max(1, CELLS // n)):
        rows = z[at]
        exponent = torch.addmm(constant, rows.square(), square).addmm_(rows, linear, alpha=-2).mul_(-0.5)
        exponent.scatter_(1, at.unsqueeze(1), own_component[at].unsqueeze(1))
        whole.append(exponent.logsumexp(1))
        exponent.scatter_(1, at.unsqueeze(1), -torch.inf)
        others.append(exponent.logsumexp(1))
    log_others = math.log(n - 1) if n > 1 else 0.0
    return torch.cat(whole) - math.log(n) - normal, torch.cat(others) - log_others - normal


def information(z: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """ln q(z_n|x_n) - ln q(z_n) ``(N,)`` in nats, z_n ~ q(z|x_n) one draw from each component, and the same
    with the mixture of the other components. Their means bound the information of z about the source of the
    examples from below (it is that about the index n) and from above (Poole et al. 2019, arXiv 1905.06922,
    section 2.2)."""
    posterior = component_log_density(z, mean, scale)
    whole, others = log_densities(z, mean, scale)
    return posterior - whole, posterior - others


def marginal_log_densities(z: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`log_densities` of every variable by itself, summed over the variables: sum_i ln q_i(z_ni)
    ``(N,)``, and the same under the N - 1 other components."""
    parts = [log_densities(*(values[:, i : i + 1] for values in (z, mean, scale))) for i in range(z.shape[1])]
    whole, others = (torch.stack(side).sum(0) for side in zip(*parts, strict=True))
    return whole, others


def gaussian_log_density(z: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """ln N(z_n; mean, covariance) ``(N,)`` in nats; a singular covariance has none (NaN)."""
    factor, wrong = torch.linalg.cholesky_ex(covariance.double())
    if wrong.item():
        return torch.full_like(z[:, 0], math.nan, dtype=torch.float64)
    unit = torch.linalg.solve_triangular(factor, (z.double() - mean.double()).T, upper=False)
    constant = 0.5 * z.shape[1] * math.log(2 * math.pi) + factor.diagonal().log().sum()
    return -0.5 * unit.square().sum(0) - constant


def component_log_density(z: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """ln N(z_n; mean_n, diag scale_n²) ``(N,)`` in nats of each row under its own component."""
    unit = (z.double() - mean.double()) / scale.double()
    constant = 0.5 * z.shape[1] * math.log(2 * math.pi)
    return -0.5 * unit.square().sum(1) - scale.double().log().sum(1) - constant


def covariance(mean: Tensor, scale: Tensor) -> Tensor:
    """Covariance of the mixture ``(d, d)``: that of the means (divided by N) and the mean of scale² on the
    diagonal; in squared latent units.

    >>> covariance(torch.tensor([[-1.0], [1.0]]), torch.tensor([[2.0], [2.0]]))  # 1 + 4
    tensor([[5.]], dtype=torch.float64)
    """
    centred = mean.double() - mean.double().mean(0)
    return centred.T @ centred / len(mean) + torch.diag(scale.double().square().mean(0))


def marginal_moments(mean: Tensor, scale: Tensor, noise: Noise, resamples: int) -> dict[str, list[Estimate]]:
    """``mean``, ``variance``, ``skewness`` and excess ``kurtosis`` of every marginal of the mixture, d
    estimates each.

    From E[Z] = m, E[Z²] = m² + s², E[Z³] = m³ + 3 m s², E[Z⁴] = m⁴ + 6 m² s² + 3 s⁴ of a normal, averaged
    over components: nothing is sampled. Intervals (95 %): percentile bootstrap over components; none for
    skewness and kurtosis. 0, 1, 0, 0 for N(0, 1).
    """
    mean, scale = mean.double(), scale.double()
    n, d = mean.shape
    centre = mean.mean(0)
    unit = ((mean - centre).square() + scale.square()).mean(0).sqrt()
    unit = torch.where(unit > 0, unit, torch.ones_like(unit))
    m, s2 = (mean - centre) / unit, (scale / unit).square()
    powers = torch.stack([m, m**2 + s2, m**3 + 3 * m * s2, m**4 + 6 * m**2 * s2 + 3 * s2**2], 2)

    def statistics(averages: Tensor) -> Tensor:
        averages = averages.view(len(averages), d, 4)
        sd, skewness, kurtosis = shape_statistics(averages.flatten(0, 1)).view(-1, d, 3).unbind(2)
        return torch.cat([centre + unit * averages[..., 0], (unit * sd).square(), skewness, kurtosis], 1)

    estimates = bootstrap_means(statistics, powers.view(n, 4 * d), noise, resamples, "components")
    shape = [
        Estimate(estimate.value, method="none: of heavy tails none would cover") for estimate in estimates
    ]
    return {
        "mean": estimates[:d],
        "variance": estimates[d : 2 * d],
        "skewness": shape[2 * d : 3 * d],
        "kurtosis": shape[3 * d :],
    }


def bin_masses(mean: Tensor, scale: Tensor, edges: Tensor) -> Tensor:
    """Mass ``(d, B + 1)`` of every marginal between the edges ``(B,)``, below the first and above the last:
    rows add to 1.

    >>> bin_masses(torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([0.0]))
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """
    edges = edges.to(mean).double()
    step = max(1, CELLS // (len(mean) * len(edges)))
    parts = []
    for m, s in zip(mean.double().T.split(step), scale.double().T.split(step), strict=True):
        below = torch.special.ndtr((edges - m.unsqueeze(2)) / s.unsqueeze(2)).mean(1)
        parts.append(torch.nn.functional.pad(below, (1, 1)))
    cumulative = torch.cat(parts)
    cumulative[:, -1] = 1.0
    return cumulative.diff(dim=1).clamp_min(0)


def binned_kl(mass: Tensor, edges: Tensor) -> Tensor:
    """sum_b q_b ln(q_b / p_b) ``(d,)`` nats, p the masses of N(0, 1) in the bins of :func:`bin_masses`.

    At most KL(q(z_i) || N(0, 1)), as binning only loses information; close to it where bins are narrow beside
    the density's features.
    """
    # Below and above 0 by the nearer tail, which is exact far out; 1 - tail, and torch's ndtr beyond -8, are
    # not.
    tail = torch.special.erfc(edges.double().abs() / math.sqrt(2)) / 2
    below = torch.nn.functional.pad(torch.where(edges < 0, tail, 1 - tail), (1, 1))
    below[-1] = 1.0
    above = torch.nn.functional.pad(torch.where(edges > 0, tail, 1 - tail), (1, 1))
    above[0] = 1.0
    left = torch.cat([edges.new_tensor([-1.0]), edges]) < 0
    prior = torch.where(left, below.diff(), -above.diff()).to(mass)
    return (torch.special.xlogy(mass, mass) - mass * prior.log()).sum(1).clamp_min(0)


def gaussian_distances(mean: Tensor, covariance: Tensor) -> tuple[float, float]:
    """Of N(mean, covariance) and N(0, I): KL(. || N(0, I)) in nats, infinite for a singular covariance, and
    the squared Fréchet (2-Wasserstein) distance in squared latent units.

    KL = ½ [|mean|² + sum (l - 1 - ln l)], W² = |mean|² + sum (sqrt l - 1)², l the eigenvalues of the
    covariance.

    >>> gaussian_distances(torch.tensor([2.0]), torch.tensor([[1.0]]))
    (2.0, 4.0)
    """
    eigenvalues = torch.linalg.eigvalsh(covariance.double()).clamp_min(0)
    square = mean.double().square().sum()
    kl = 0.5 * (square + (eigenvalues - 1 - eigenvalues.log()).sum())
    return kl.item(), (square + (eigenvalues.sqrt() - 1).square().sum()).item()

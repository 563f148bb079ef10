"""What holds for every law of points of a space: it integrates to 1, its entropy and divergence are those of
its draws, and gradients of draws are those of expectations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from latentrun.distributions.base import Law, Uniform
from latentrun.distributions.beta import BetaCube
from latentrun.distributions.circular import WrappedNormalTorus
from latentrun.distributions.normal import DiagonalNormal
from latentrun.distributions.one_hot import OneHot
from latentrun.distributions.power_spherical import PowerSpherical
from latentrun.distributions.spherical_cauchy import SphericalCauchy, _beta_rule
from latentrun.distributions.von_mises_fisher import VonMisesFisher
from latentrun.distributions.wrapped import WrappedNormalRotation, WrappedNormalSphere
from latentrun.distributions.wrapped_angle import Angles, divergence_of
from latentrun.functional.noise import Noise
from latentrun.manifolds import Sphere
from latentrun.manifolds.sphere import rotation

DRAWS = 30_000


def unit(d: int) -> Tensor:
    return F.normalize(torch.linspace(1, -0.7, d).double(), dim=0)


@dataclass(frozen=True)
class Case:
    """A law as a function of two parameters: where it lies and how wide it is."""

    name: str
    make: Callable[[Tensor, Tensor], Law]
    place: Tensor
    width: Tensor

    def at(self, place: Tensor, width: Tensor) -> Law:
        return self.make(place.double(), width.double())


def spherical(kind) -> Callable[[Tensor, Tensor], Law]:
    return lambda h, width: kind(F.normalize(h, dim=-1), width)


def on_torus(h: Tensor, width: Tensor) -> Law:
    return WrappedNormalTorus(F.normalize(h.unflatten(-1, (-1, 2)), dim=-1).flatten(-2), width)


def on_rotations(h: Tensor, width: Tensor) -> Law:
    return WrappedNormalRotation(rotation(h, 3).flatten(-2), width)


def on_cube(h: Tensor, width: Tensor) -> Law:
    return BetaCube(h.sigmoid(), width)


CASES = [
    Case(f"{kind.__name__}, d = {d}", spherical(kind), unit(d), torch.tensor(width))
    for kind, width in (
        (VonMisesFisher, 3.0),
        (PowerSpherical, 3.0),
        (SphericalCauchy, 1.5),
        (WrappedNormalSphere, 0.6),
        (WrappedNormalSphere, 1.8),
    )
    for d in ((3, 6) if kind is WrappedNormalSphere else (2, 3, 6))
] + [
    Case("torus, narrow", on_torus, torch.tensor([0.5, 2.0, -1.0, 0.3]), torch.tensor([0.3, 1.2])),
    Case("torus, wide", on_torus, torch.tensor([0.5, 2.0, -1.0, 0.3]), torch.tensor([2.5, 0.9])),
    Case("rotations, narrow", on_rotations, torch.linspace(-1, 1, 6), torch.tensor(0.4)),
    Case("rotations, wide", on_rotations, torch.linspace(-1, 1, 6), torch.tensor(1.4)),
    Case("cube", on_cube, torch.tensor([-1.5, 0.4]), torch.tensor([4.0, 30.0])),
    Case("normal", lambda m, s: DiagonalNormal(m, s), torch.tensor([1.0, -2.0]), torch.tensor([-1.0, 0.5])),
]


@pytest.fixture(params=CASES, ids=lambda case: case.name)
def case(request) -> Case:
    return request.param


def within(values: Tensor, truth: Tensor, errors: float = 4.5) -> bool:
    """Whether the mean over draws (first axis) is within so many standard errors."""
    apart = (values.mean(0) - truth).abs()
    return bool((apart <= errors * values.std(0) / math.sqrt(len(values)) + 1e-9).all())


def test_entropy_is_that_of_draws(case):
    law = case.at(case.place, case.width)
    values = -law.log_prob(law.draw(Noise(0), (DRAWS,)))
    assert within(values, law.entropy())


def test_gradients_of_draws_are_those_of_the_entropy(case):
    """d/dparameters of -E ln q(x), through the draws and the density, against that of the entropy."""
    place = case.place.double().expand(DRAWS, -1).clone().requires_grad_()
    width = case.width.double().expand(DRAWS, *case.width.shape).clone().requires_grad_()
    law = case.at(place, width)
    slopes = torch.autograd.grad(-law.log_prob(law.draw(Noise(0))).sum(), (place, width))
    leaves = case.place.double().requires_grad_(), case.width.double().requires_grad_()
    truths = torch.autograd.grad(case.at(*leaves).entropy(), leaves, allow_unused=True)
    for values, leaf, truth in zip(slopes, leaves, truths, strict=True):
        assert within(values, torch.zeros_like(leaf) if truth is None else truth, 5)


def test_entropy_has_the_slope_of_its_differences(case):
    width = case.width.double().requires_grad_()
    (slope,) = torch.autograd.grad(case.at(case.place, width).entropy(), width)
    step = 1e-5
    up, down = (case.at(case.place, case.width.double() * (1 + s)).entropy() for s in (step, -step))
    assert (slope * case.width).sum().item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-4)


def test_batches_and_transforms(case):
    """A batch is its rows, stacked copies are what vmap makes of them, and float32 stays float32."""
    place, width = torch.stack([case.place, -case.place]), torch.stack([case.width, 1.1 * case.width])
    law = case.make(place.float(), width.float())
    x = law.draw(Noise(3), (5,))
    assert x.dtype == torch.float32 and x.shape == (5, 2, *law.event_shape)
    assert law.log_prob(x).shape == (5, 2) and law.entropy().shape == law.center.shape[:1] == (2,)

    def loss(place, width):
        law = case.make(place, width)
        x = law.draw(Noise(3), (4,))
        return (law.log_prob(x) + x.sum(-1)).sum() + law.entropy()

    slopes = torch.func.vmap(torch.func.grad(loss, (0, 1)), randomness="same")(place, width)
    for i in range(2):
        row = torch.func.grad(loss, (0, 1))(place[i], width[i])
        for stacked, own in zip(slopes, row, strict=True):
            assert torch.allclose(stacked[i], own, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------- total mass
@pytest.mark.parametrize("kind", [VonMisesFisher, PowerSpherical, SphericalCauchy])
@pytest.mark.parametrize("d", [2, 3, 4, 7])
def test_mass_on_spheres(kind, d):
    nodes, weights = _beta_rule(d)  # of (1 - w) / 2 of uniform points
    w = 1 - 2 * nodes
    x = torch.zeros(len(w), d, dtype=torch.float64)
    x[:, 0], x[:, 1] = w, 2 * (nodes * (1 - nodes)).sqrt()
    law = kind(torch.eye(d, dtype=torch.float64)[0], torch.tensor(1.3).double())
    assert (law.log_ratio(x).exp() @ weights).item() == pytest.approx(1, abs=1e-6)
    assert law.log_prob(x[0]) - law.log_ratio(x[0]) == pytest.approx(-Sphere(d - 1).log_volume)


@pytest.mark.parametrize("scale", [1e-2, 0.5, 1.9, 2.1, 50.0])
def test_mass_and_divergence_on_circles(scale):
    angle = torch.linspace(-math.pi, math.pi, 100_001, dtype=torch.float64)[1:]
    x = torch.stack([angle.cos(), angle.sin()], -1)
    law = WrappedNormalTorus(x[-1], torch.tensor([scale]).double())
    ratio = law.log_ratio(x)
    assert ratio.exp().mean().item() == pytest.approx(1, abs=1e-9)
    assert (ratio.exp() * ratio).mean().item() == pytest.approx(law.kl_uniform().item(), abs=1e-8)


ANGLES = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000 * math.pi


@pytest.mark.parametrize("scale", [0.05, 0.8, 2.5])
@pytest.mark.parametrize("d", [3, 4, 7, 101])
def test_mass_and_divergence_of_wrapped_normals(d, scale):
    x = torch.zeros(len(ANGLES), d, dtype=torch.float64)
    x[:, 0], x[:, 1] = ANGLES.cos(), ANGLES.sin()
    law = WrappedNormalSphere(torch.eye(d).double()[0], torch.tensor(scale).double())
    ratio = law.log_ratio(x)
    q = (ratio + ((d - 2) * ANGLES.sin().log()).log_softmax(0)).exp()
    assert q.sum().item() == pytest.approx(1, abs=1e-6)
    tolerance = 2e-5 if d < 10 else 5e-3  # of the plain grid: ln q has poles at its ends
    assert (q * ratio).sum().item() == pytest.approx(law.kl_uniform().item(), abs=tolerance)


@pytest.mark.parametrize("scale", [0.05, 0.8, 2.5])
def test_mass_and_divergence_of_rotations(scale):
    t = ANGLES
    none, one = torch.zeros_like(t), torch.ones_like(t)
    x = torch.stack([one, none, none, none, t.cos(), -t.sin(), none, t.sin(), t.cos()], -1)
    law = WrappedNormalRotation(torch.eye(3).double().flatten(), torch.tensor(scale).double())
    uniform = (1 - t.cos()) * math.pi / len(t) / math.pi  # of the angle, times the step
    ratio = law.log_ratio(x)
    assert (ratio.exp() @ uniform).item() == pytest.approx(1, abs=1e-6)
    assert ((ratio.exp() * ratio) @ uniform).item() == pytest.approx(law.kl_uniform().item(), abs=1e-5)


@pytest.mark.parametrize(("m", "c"), [(2, 1.0), (3, 0.5), (20, 1.0), (100, 1.0)])
def test_the_tabled_divergence_is_the_integral(m, c):
    angles = Angles(m, c, Sphere(m).log_volume)
    scale = torch.cat([torch.logspace(-5, -1, 20), torch.linspace(0.1, math.pi, 101)]).double()
    scale.requires_grad_()
    exact, table = angles.divergence(scale), divergence_of(angles)(scale)
    assert (exact - table).abs().max() < 1e-6
    slopes = [torch.autograd.grad(value.sum(), scale)[0] for value in (exact, table)]
    assert ((slopes[0] - slopes[1]).abs() / (1 + slopes[0].abs())).max() < 2e-5


# ---------------------------------------------------------------- what only some have
def mean_log(d: int, rho: Tensor) -> Tensor:
    """E ln |u + rho mu|² of uniform u: of even d the polynomial -sum_k (1 - d/2)_k / (d/2)_k rho^2k / k."""
    if d == 3:
        up, down = (1 + rho) ** 2 * torch.log1p(rho), (1 - rho) ** 2 * torch.log1p(-rho)
        return (up - down) / (2 * rho) - 1
    total, ratio = torch.zeros_like(rho), 1.0
    for k in range(1, d // 2):
        ratio = ratio * (k - d / 2) / (d / 2 + k - 1)
        total = total - ratio * rho ** (2 * k) / k
    return total


@pytest.mark.parametrize("d", [2, 3, 4, 6, 40, 1000])
def test_divergence_of_the_spherical_cauchy(d):
    kappa = torch.tensor([0.2, 1.0, 30.0, 1e4], dtype=torch.float64)
    rho = kappa / (1 + kappa)
    truth = (d - 1) * (mean_log(d, rho) - torch.log1p(2 * kappa) + 2 * torch.log1p(kappa))
    law = SphericalCauchy(torch.eye(d).double()[0].expand(4, d), kappa)
    assert torch.allclose(law.kl_uniform(), truth, atol=1e-10, rtol=1e-11)


@pytest.mark.parametrize("d", [2, 3, 10])
def test_gradients_of_the_spherical_cauchy(d):
    """d/dkappa E[w] as the integral over uniform points of the gradients of their images, against
    differences of int ((1 - rho²) (t + rho) / (1 + rho² + 2 rho t) + rho) (1 - t²)^((d - 3) / 2) dt."""
    kappa = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    share = ((d - 2) * ANGLES.sin().log()).softmax(0)
    u = torch.zeros(len(ANGLES), 1, d, dtype=torch.float64)
    u[:, 0, 0], u[:, 0, 1] = ANGLES.cos(), ANGLES.sin()
    law = SphericalCauchy(torch.eye(d).double()[0].expand(3, d), kappa)
    (slope,) = torch.autograd.grad((law.image(u)[..., 0] * share.unsqueeze(1)).sum(), kappa)

    def mean(kappa: Tensor) -> Tensor:
        rho, t = kappa / (1 + kappa), ANGLES.cos().unsqueeze(1)
        return (((1 - rho**2) * (t + rho) / (1 + rho**2 + 2 * rho * t) + rho) * share.unsqueeze(1)).sum(0)

    step = 1e-4 * kappa.detach()
    truth = (mean(kappa.detach() + step) - mean(kappa.detach() - step)) / (2 * step)
    assert torch.allclose(slope, truth, rtol=1e-6)
    if d == 2:
        assert torch.allclose(slope, (1 + kappa).square().reciprocal(), rtol=1e-6)  # E[w] = rho


def test_spherical_cauchy_of_the_circle_is_the_wrapped_cauchy():
    law = SphericalCauchy(torch.tensor([1.0, 0.0]).double(), torch.tensor(1.0).double())
    x = law.draw(Noise(0), (DRAWS,))
    assert within(x[:, 0], torch.tensor(0.5))  # E cos = rho
    assert within(x[:, 0] ** 2 - x[:, 1] ** 2, torch.tensor(0.25))  # E cos 2 theta = rho²


def test_beta_is_torchs():
    law = BetaCube(torch.tensor([0.2, 0.9]).double(), torch.tensor([3.0, 2000.0]).double())
    torchs = Independent(torch.distributions.Beta(law.alpha, law.beta), 1)
    z = law.draw(Noise(0), (DRAWS,))
    assert torch.allclose(law.log_prob(z), torchs.log_prob(z)) and torch.allclose(
        law.entropy(), torchs.entropy()
    )
    assert torch.allclose(law.kl_each().sum(), law.kl_uniform()) and torch.equal(law.center, law.peak)
    from scipy import stats

    for i in range(2):
        exact = stats.beta(law.alpha[i].item(), law.beta[i].item())
        assert stats.kstest(z[:, i].numpy(), exact.cdf).pvalue > 1e-3


def test_normal_is_torchs():
    law = DiagonalNormal(torch.tensor([1.0, -1.0]), torch.tensor([0.3, -2.0]))
    torchs = Independent(Normal(law.loc, law.stddev), 1)
    z = law.draw(Noise(0), (9,))
    assert torch.allclose(law.log_prob(z), torchs.log_prob(z)) and torch.allclose(
        law.entropy(), torchs.entropy()
    )
    prior = DiagonalNormal(torch.zeros(2), torch.zeros(2))
    standard = Independent(Normal(torch.zeros(2), 1.0), 1)
    assert torch.allclose(kl_divergence(law, prior), kl_divergence(torchs, standard))


def test_points_of_a_finite_set():
    logits = torch.tensor([[0.0, 1.0, 2.0], [1e4, -1e4, 0.0]], requires_grad=True)
    law = OneHot(logits, temperature=0.5)
    z = law.draw(Noise(0), (DRAWS,))
    assert torch.equal(z.detach().round(), z.detach()) and bool((z.sum(-1) == 1).all())
    p = logits.softmax(-1).detach()
    assert within(z[:, 0].detach(), p[0]) and bool((z[:, 1, 0] == 1).all())
    points = law.enumerate_support()
    total = (law.log_prob(points).exp() * points[..., 0]).sum(0)
    assert torch.allclose(total, p[:, 0])
    assert law.entropy()[0].item() == pytest.approx(-(p[0] * p[0].log()).sum().item(), rel=1e-5)
    assert law.kl_uniform()[1].item() == pytest.approx(math.log(3), rel=1e-5)
    (slope,) = torch.autograd.grad(z.sum(0)[:, 0].sum() + law.kl_uniform().sum(), logits)
    assert slope.isfinite().all() and slope[0].abs().max() > 0


def test_gumbel_gradient_tends_to_that_of_the_sum():
    """Of E[c·z] at a low temperature, within its bias and noise; the sum over all points has it exactly."""
    c, logits = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.3, 0.0, -0.5])
    leaf = logits.expand(DRAWS, 3).clone().requires_grad_()
    (slopes,) = torch.autograd.grad((OneHot(leaf, 0.3).draw(Noise(0)) @ c).sum(), leaf)
    exact = torch.func.grad(lambda h: (OneHot(h, 1.0).log_p.exp() * c).sum())(logits)
    assert torch.allclose(slopes.mean(0), exact, atol=0.05)


def test_divergence_from_the_uniform_law_is_registered():
    law = VonMisesFisher(torch.tensor([1.0, 0.0, 0.0]), torch.tensor(1e-3))
    apart = kl_divergence(law, Uniform(Sphere(2)))
    assert apart.item() == pytest.approx(1e-6 / 6, rel=1e-6)  # kappa² / 2d, lost in log volume - entropy

"""Normal laws by geodesic distance, on surfaces where distances, constants and laws are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentrun.functional.noise import Noise
from latentrun.geometry.energy import Settings
from latentrun.geometry.land import (
    Component,
    Setting,
    fit_land,
    fitted_precision,
    judged,
    log_density,
    logs,
    scattered,
)
from latentrun.geometry.surface import Immersed
from tests.geometry.surfaces import FLAT, flat, great_circle, on_sphere, sphere, swiss_roll

CURVES = Settings(pieces=6, points=25, fine=97, tolerance=1e-8, steps=50)


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def setting(surface: Immersed, codes: torch.Tensor, n: int = 500, seed: int = 0) -> Setting:
    return Setting(surface, codes, scattered(surface, codes, n, Noise(seed)), CURVES, None)


def all_of(codes: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(codes), 1, dtype=torch.float64)


def gaussian(codes: torch.Tensor) -> torch.distributions.MultivariateNormal:
    """Of maximum likelihood."""
    return torch.distributions.MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0))


def along(t: torch.Tensor) -> torch.Tensor:
    """Length of the spiral of the swiss roll up to t."""
    return 0.5 * (t * (1 + t * t).sqrt() + torch.asinh(t))


def rolled(n: int, seed: int) -> torch.Tensor:
    """Codes on the swiss roll that are normal where it is unrolled: around t = 5 with standard deviation 6
    along the spiral, and around 3 with standard deviation 1 across it, independent."""
    t = np.linspace(0.1, 14, 20001)
    middle = torch.tensor([along(torch.tensor(5.0)).item(), 3.0])
    plane = middle + normal(n, seed) * torch.tensor([6.0, 1.0])
    spiral = np.interp(plane[:, 0].numpy(), along(torch.from_numpy(t)).numpy(), t)
    return torch.stack([torch.from_numpy(spiral), plane[:, 1]], 1)


def test_logarithms_have_the_length_of_the_distance_and_lead_back():
    mean = torch.tensor([1.3, 0.2]).double()
    ends = torch.tensor([[1.0, 1.0], [2.0, -0.7], [1.3, 0.2]]).double()
    found = logs(sphere(), mean, ends, CURVES, None)
    assert found.known.all() and not found.velocity[2].any()
    speed = torch.tensor([1.0, math.sin(1.3)])
    length = (found.velocity * speed).norm(dim=1)
    torch.testing.assert_close(length, great_circle(mean.expand(3, 2), ends), atol=1e-5, rtol=1e-5)
    pushed = torch.func.vmap(lambda v: torch.func.jvp(on_sphere, (mean,), (v,))[1])
    x, tangent = on_sphere(mean), pushed(found.velocity[:2])
    angle = tangent.norm(dim=1, keepdim=True)
    reached = x * angle.cos() + tangent / angle * angle.sin()
    torch.testing.assert_close(reached, on_sphere(ends[:2]), atol=1e-3, rtol=0)


def test_logarithms_from_curves_of_a_mean_nearby_are_the_same():
    ends, near = torch.tensor([[1.0, 1.0], [2.0, -0.7]]).double(), torch.tensor([1.2, 0.1]).double()
    mean = torch.tensor([1.3, 0.2]).double()
    before = logs(sphere(), near, ends, CURVES, None)
    torch.testing.assert_close(
        logs(sphere(), mean, ends, CURVES, before.curve).velocity,
        logs(sphere(), mean, ends, CURVES, None).velocity,
        atol=1e-4,
        rtol=0,
    )


def test_on_a_plane_it_is_the_normal_law_of_maximum_likelihood():
    codes = normal(300, 1) @ torch.tensor([[1.0, 0.5], [0.0, 0.7]]).double() + 1
    test = gaussian(codes).loc + 0.5 * normal(100, 2)
    here = setting(flat(), codes, 1500)
    land = fit_land(here, all_of(codes), 5, 1e-4)
    (component,) = land.components
    torch.testing.assert_close(component.mean, codes.mean(0), atol=1e-3, rtol=0)
    held = setting(flat(), test, seed=1)
    density = log_density(held, judged(held, land))
    torch.testing.assert_close(density, gaussian(codes).log_prob(test), atol=0.1, rtol=0.05)
    assert (density - gaussian(codes).log_prob(test)).mean().abs() < 0.03
    # (2 pi)^d/2 sqrt(det M / det Gamma)
    exact = math.log(2 * math.pi) + 0.5 * (torch.logdet(FLAT @ FLAT.T) - torch.logdet(component.precision))
    constant = component.constant(here.points)
    assert constant.log == pytest.approx(exact.item(), abs=1e-6) and constant.error < 1e-6
    assert 1000 < constant.effective < 1500


def test_on_a_swiss_roll_the_law_of_the_unrolled_codes_is_found_and_beats_the_plain_one():
    codes, test = rolled(300, 3), rolled(300, 4)
    here = setting(swiss_roll(), codes)
    land = fit_land(here, all_of(codes), 5, 1e-4)
    (component,) = land.components
    unrolled = torch.stack([along(codes[:, 0]), codes[:, 1]], 1)
    mean = component.mean
    assert along(mean[0]).item() == pytest.approx(unrolled[:, 0].mean().item(), abs=0.5)
    assert mean[1].item() == pytest.approx(unrolled[:, 1].mean().item(), abs=0.1)
    speed = torch.diag(torch.stack([(1 + mean[0] ** 2).sqrt(), torch.ones_like(mean[0])]))
    expected = speed @ torch.linalg.inv(torch.cov(unrolled.T)) @ speed
    torch.testing.assert_close(component.precision, expected, atol=0.1, rtol=0.15)
    held = setting(swiss_roll(), test, seed=1)
    density = log_density(held, judged(held, land))
    exact = gaussian(unrolled).log_prob(torch.stack([along(test[:, 0]), test[:, 1]], 1))
    exact = exact + swiss_roll().magnification(test)
    known = torch.isfinite(density)
    assert known.double().mean() > 0.99
    assert (density - exact)[known].mean().abs() < 0.03
    assert (density - gaussian(codes).log_prob(test))[known].mean() > 0.02


def test_the_constant_of_a_curved_surface_is_that_of_the_integral():
    """On a sphere, by a sum over a grid of the chart with the exact distance, for Gamma a multiple of the
    metric."""
    mean, share = torch.tensor([1.2, 0.3]).double(), 6.0
    codes = mean + 0.3 * normal(200, 5)
    here = setting(sphere(), codes, 800)
    precision = share * sphere().metric(mean.unsqueeze(0))[0]
    component = here.component(mean, all_of(codes)[:, 0], None, precision)
    lines = torch.linspace(0, math.pi, 301).double(), torch.linspace(-math.pi, math.pi, 601).double() + 0.3
    grid = torch.cartesian_prod(*lines)
    squares = great_circle(mean.expand_as(grid), grid).square()
    cell = (lines[0][1] - lines[0][0]) * (lines[1][1] - lines[1][0])
    exact = ((-0.5 * share * squares).exp() * grid[:, 0].sin()).sum() * cell
    constant = component.constant(here.points)
    assert constant.error < 0.03
    assert constant.log == pytest.approx(exact.log().item(), abs=4 * constant.error)
    plane = math.log(2 * math.pi / share)  # what it would be without curvature
    assert abs(plane - exact.log().item()) > 4 * constant.error


def test_the_precision_of_greatest_likelihood_matches_the_second_moments():
    """Of points with known weights; from a start far off."""
    v, log_weight = 2 * normal(400, 6), -0.1 * normal(400, 7)[:, 0].square()
    second = torch.tensor([[0.5, 0.2], [0.2, 0.8]]).double()
    found = fitted_precision(second, v, log_weight, 10 * torch.eye(2).double())
    share = (log_weight - 0.5 * torch.einsum("pi,ij,pj->p", v, found, v)).softmax(0)
    torch.testing.assert_close((v * share.unsqueeze(1)).T @ v, second, atol=1e-5, rtol=0)


def test_a_mixture_finds_two_clusters_and_never_loses_likelihood():
    codes = torch.cat([0.3 * normal(100, 8), 0.5 * normal(200, 9) + torch.tensor([6.0, 0.0])])
    here = setting(flat(), codes, 600)
    share = torch.full((300, 2), 0.1, dtype=torch.float64)
    share[:100, 0] = share[100:, 1] = 0.9
    land = fit_land(here, share, 10, 1e-5)
    assert land.weight.tolist() == pytest.approx([1 / 3, 2 / 3], abs=0.01)
    assert land.components[1].mean.tolist() == pytest.approx(codes[100:].mean(0).tolist(), abs=0.05)
    assert all(after > before - 1e-2 for before, after in zip(land.history, land.history[1:], strict=False))


def test_curves_that_are_not_found_count_for_nothing():
    codes = normal(50, 10)
    here = setting(flat(), codes, 200)
    whole = here.component(codes.mean(0), all_of(codes)[:, 0], None)
    known = whole.codes.known.clone()
    known[:5] = False
    fewer = replace(whole.codes, known=known)
    lost = Component(whole.mean, whole.precision, fewer, whole.points)
    assert torch.isnan(lost.log_kernel(lost.codes)[:5]).all()
    torch.testing.assert_close(
        here.sharpened(lost, all_of(codes)[:, 0]).precision,
        torch.linalg.inv((whole.codes.velocity[5:].T @ whole.codes.velocity[5:]) / 45),
        rtol=0.25,
        atol=0.1,
    )

"""Random walks on surfaces where their laws are known."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.functional.noise import Noise
from latentrun.geometry.surface import Given, Immersed
from latentrun.geometry.walks import KINDS, Walker, matched_scale, walk
from tests.geometry.surfaces import FLAT, flat, half_plane, hyperbolic, on_sphere, sphere

N, TIME, STEPS = 8000, 0.2, 25
FLOOR = 1e-9


def walked(surface, kind: str, start: list[float], scale: float = (TIME / STEPS) ** 0.5, n: int = N):
    z = torch.tensor([start], dtype=torch.float64).expand(n, -1)
    return z, walk(Walker(surface, kind, scale, FLOOR), z, STEPS, Noise(0))


def off(values: torch.Tensor, expected: float) -> float:
    """Standard errors between the mean of ``values (N,)`` and what it should be."""
    return ((values.mean() - expected).abs() / values.std() * len(values) ** 0.5).item()


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_plane_squares_of_distances_grow_by_the_trace(kind):
    """E |z_T - z_0|² = T s² tr cov and E |A' (z_T - z_0)|² = T s² tr(A' cov A), cov I or M^-1."""
    z, walks = walked(flat(), kind, [0.3, -0.2])
    way, m = walks.path[:, -1] - z, FLAT @ FLAT.T
    covariance = torch.eye(2) if kind == "euclidean" else torch.linalg.inv(m)
    assert off(way.square().sum(1), TIME * covariance.trace().item()) < 4
    assert off((way @ FLAT).square().sum(1), TIME * (covariance.double() @ m).trace().item()) < 4
    assert not walks.stopped.any() and not walks.cut.any() and not walks.floored.any()


def test_with_the_covariance_of_the_inverse_metric_all_directions_of_data_space_are_alike():
    """In an orthonormal frame of the plane that a flat decoder makes."""
    frame = torch.linalg.qr(FLAT.T)[0]
    for kind, alike in (("metric", True), ("euclidean", False)):
        z, walks = walked(flat(), kind, [0.0, 0.0])
        step = ((walks.path[:, -1] - z) @ FLAT @ frame) / TIME**0.5
        off_round = (step.T @ step / N - torch.eye(2)).abs().max()
        assert (off_round < 0.06) == alike


def test_on_a_plane_walks_of_the_surface_are_those_of_the_inverse_metric():
    _, metric = walked(flat(), "metric", [0.0, 0.0], n=5)
    _, brownian = walked(flat(), "brownian", [0.0, 0.0], n=5)
    torch.testing.assert_close(metric.path, brownian.path)


@pytest.mark.parametrize(("kind", "law"), [("brownian", True), ("metric", False)])
def test_on_a_sphere_the_mean_of_a_brownian_motion_shrinks_to_its_middle(kind, law):
    """The coordinates of space are eigenfunctions of the Laplacian with eigenvalue -2: E x_t = exp(-t) x_0,
    so that E cos(angle gone) = exp(-t). Without the drift the mean of cos(polar angle) is exp(-t / 2) times
    it."""
    start, walks = walked(sphere(), kind, [1.2, 0.0])
    x0, x = on_sphere(start), on_sphere(walks.path[:, -1])
    assert (off((x * x0).sum(1), math.exp(-TIME)) < 4) == law
    assert (off(x[:, 2], math.exp(-TIME) * math.cos(1.2)) < 4) == law
    if not law:
        assert off(x[:, 2], math.exp(-TIME / 2) * math.cos(1.2)) < 4


def test_on_the_half_plane_distances_grow_as_they_must():
    """cosh(distance) has eigenvalue 2: E cosh d(z_0, z_t) = exp(t)."""
    start, walks = walked(half_plane(), "brownian", [0.5, 2.0])
    assert off(hyperbolic(start, walks.path[:, -1]).cosh(), math.exp(TIME)) < 4


def test_on_a_line_that_is_stretched_the_length_gone_is_normal():
    """M = cosh(z)²: sinh(z_t) = sinh(z_0) + W_t. Without the drift it moves away on average."""
    line = Given(lambda z: z.cosh().square().unsqueeze(2), 1)
    start, walks = walked(line, "brownian", [0.8])
    gone = (walks.path[:, -1].sinh() - start.sinh())[:, 0]
    assert off(gone, 0.0) < 4 and off(gone.square(), TIME) < 4
    start, walks = walked(line, "metric", [0.8])
    assert off((walks.path[:, -1].sinh() - start.sinh())[:, 0], 0.0) > 8


def test_the_kinks_of_a_piecewise_linear_map_are_seen():
    """sinh between knots 0.02 apart: the walk is Brownian in the length of the line, so that its mean stays,
    though no second derivative says so; steps of the inverse metric alone drift off."""

    def line(z: torch.Tensor) -> torch.Tensor:
        knot = (z / 0.02).floor()
        low, high = (0.02 * knot).sinh(), (0.02 * knot + 0.02).sinh()
        return low + (z / 0.02 - knot) * (high - low)

    surface = Immersed(line, 1)
    z = torch.tensor([[0.8]]).double()
    assert not surface.acceleration(z, z).any()
    for kind, law in (("brownian", True), ("metric", False)):
        start, walks = walked(surface, kind, [0.8])
        gone = line(walks.path[:, -1]) - line(start)
        assert (off(gone[:, 0], 0.0) < 4) == law


def test_steps_are_matched_where_walks_start():
    z = torch.rand(4000, 2, dtype=torch.float64) * torch.tensor([1.0, 6.0]) + torch.tensor([0.9, 0.0])
    scale = matched_scale(sphere().metric(z), 0.01)
    lengths = []
    for kind, size in (("euclidean", 0.01), ("metric", scale), ("brownian", scale)):
        path = walk(Walker(sphere(), kind, size, FLOOR), z, 1, Noise(1)).path
        lengths.append(on_sphere(path).diff(dim=1).norm(dim=2).mean().item())
    assert lengths == pytest.approx([lengths[0]] * 3, rel=0.06)


def test_walks_of_all_kinds_have_the_same_draws_and_others_with_other_noise():
    draws = [walked(flat(), kind, [0.0, 0.0], n=3)[1].draw for kind in KINDS]
    torch.testing.assert_close(draws[0], draws[1])
    torch.testing.assert_close(draws[0], draws[2])
    other = walk(Walker(flat(), "metric", 0.1, FLOOR), torch.zeros(3, 2).double(), STEPS, Noise(1))
    assert not torch.allclose(other.draw, draws[0])


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_decoded_a_walk_stops_and_stays(kind):
    """A decoder that is not defined to the left of 0."""
    z = torch.full((50, 2), 0.1, dtype=torch.float64)
    edge = Immersed(lambda z: torch.where(z[:, :1] >= 0, z, torch.nan), 2)
    walks = walk(Walker(edge, kind, 0.1, FLOOR), z, 100, Noise(0))
    assert walks.stopped.any() and torch.isfinite(walks.path).all()
    assert (walks.path[..., 0] >= 0).all()
    still = walks.path.diff(dim=1).abs().sum(2) == 0
    assert torch.equal(still, ~walks.taken)
    assert (walks.taken.int().diff(dim=1) <= 0).all()  # none goes on


@pytest.mark.parametrize("kind", ["metric", "brownian"])
def test_where_the_metric_is_singular_it_is_held_at_the_floor(kind):
    blind = Immersed(lambda z: torch.stack([z[:, 0], 2 * z[:, 0]], 1), 2)  # of the second coordinate
    walks = walk(Walker(blind, kind, 0.1, 0.25), torch.zeros(4000, 2).double(), 1, Noise(0))
    step = walks.path[:, 1]
    assert walks.floored.all() and not walks.stopped.any()
    assert step.std(0).tolist() == pytest.approx([0.1 / 5**0.5, 0.1 / 0.25**0.5], rel=0.05)

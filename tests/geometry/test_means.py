"""Fréchet means on surfaces."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.geometry.energy import Settings, least_energy
from latentrun.geometry.means import frechet_means, initial_velocity
from latentrun.geometry.surface import Immersed
from tests.geometry.surfaces import KNOWN, box, flat, half_plane, on_sphere, sphere

FINE = Settings(pieces=8, points=33, tolerance=1e-12)


def test_on_a_sphere_the_mean_of_points_at_equal_angles_about_one_is_that_one():
    centre = torch.tensor([1.2, 0.7], dtype=torch.float64)
    north = on_sphere(centre[None])[0]
    first = torch.linalg.cross(north, torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    first = first / first.norm()
    second = torch.linalg.cross(north, first)
    angle = torch.arange(5) * 2 * math.pi / 5
    x = math.cos(0.5) * north + math.sin(0.5) * (
        angle.cos()[:, None].double() * first + angle.sin()[:, None].double() * second
    )
    points = torch.stack([x[:, 2].acos(), torch.atan2(x[:, 1], x[:, 0])], 1)
    group = torch.zeros(5, dtype=torch.long)
    found = frechet_means(sphere(), points, group, points[:1], FINE, tolerance=1e-4)
    assert found.converged.all() and torch.allclose(found.points[0], centre, atol=1e-4)
    assert found.variance[0].item() == pytest.approx(0.25, rel=1e-4)


def test_groups_have_means_of_their_own_and_an_empty_one_stays():
    z = box((-2.0, -2.0), (2.0, 2.0), 10, 1)
    group = torch.tensor([0] * 4 + [2] * 6)
    found = frechet_means(flat(), z, group, z[:3], FINE)
    assert torch.allclose(found.points[[0, 2]], torch.stack([z[:4].mean(0), z[4:].mean(0)]), atol=1e-6)
    assert torch.equal(found.points[1], z[1]) and found.converged[[0, 2]].all()


def test_halfway_between_two_points_of_the_hyperbolic_plane():
    z = torch.tensor([[0.0, 0.5], [0.0, 2.0]], dtype=torch.float64)
    found = frechet_means(half_plane(), z, torch.zeros(2, dtype=torch.long), z[:1], FINE)
    assert torch.allclose(found.points[0], torch.tensor([0.0, 1.0], dtype=torch.float64), atol=1e-3)


def test_the_velocity_at_the_beginning_has_the_length_of_the_geodesic():
    make, low, high, distance = KNOWN["swiss_roll"]
    a, b = box(low, high, 10, 1), box(low, high, 10, 2)
    v = initial_velocity(least_energy(make(), a, b, None, Settings(16, 65, 257, 1e-14)).curve)
    speed = torch.einsum("pi,pij,pj->p", v, make().metric(a), v).sqrt()
    assert torch.allclose(speed, distance(a, b), rtol=2e-2)


def test_points_that_no_geodesic_reaches_count_in_nothing():
    torn = Immersed(lambda z: torch.where(z[:, :1] > 5, torch.nan, z), 2)
    z = torch.tensor([[0.0, 0.0], [2.0, 0.0], [9.0, 0.0]])
    found = frechet_means(torn, z, torch.zeros(3, dtype=torch.long), z[:1], Settings())
    assert torch.allclose(found.points[0], torch.tensor([1.0, 0.0]), atol=1e-4)
    assert not found.converged.any()

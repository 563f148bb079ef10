"""Geodesics that are shot, and vectors that are carried along."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.geometry.energy import Settings, least_energy
from latentrun.geometry.flow import carry, shoot
from latentrun.geometry.surface import Immersed
from tests.geometry.surfaces import KNOWN, box, on_sphere, sphere


@pytest.mark.parametrize("name", ["sphere", "swiss_roll", "half_plane"])
def test_shot_with_the_velocity_of_a_geodesic_it_arrives(name):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, 10, 1), box(low, high, 10, 2)
    curve = least_energy(make(), a, b, None, Settings(pieces=16, points=65, tolerance=1e-14)).curve
    weights = torch.tensor([-25.0, 48, -36, 16, -3], dtype=torch.float64) / 12  # of a one-sided difference
    velocity = torch.einsum("t,ptd->pd", weights, curve[:, :5]) * (curve.shape[1] - 1)
    shots = shoot(make(), a, velocity, steps=48)
    assert shots.converged.all()
    assert torch.allclose(shots.end, b, atol=2e-2)
    length = torch.einsum("pi,pij,pj->p", velocity, make().metric(a), velocity).sqrt()
    assert torch.allclose(make().length(shots.curve), length, rtol=1e-5)  # the speed stays what it was


def test_great_circles_are_shot_to_many_digits():
    z, v = box((1.0, 0.0), (2.0, 6.0), 20, 1), box((-0.5, -0.5), (0.5, 0.5), 20, 2)
    shots = shoot(sphere(), z, v, steps=48)
    x, tangent = on_sphere(z), torch.func.jvp(on_sphere, (z,), (v,))[1]
    speed = tangent.norm(dim=1, keepdim=True)
    assert torch.allclose(on_sphere(shots.end), x * speed.cos() + tangent / speed * speed.sin(), atol=1e-7)


def test_clairauts_relation_holds_on_a_torus():
    """r cos(angle to the parallel) is constant along geodesics of a surface of revolution."""

    def torus(z):
        r = 2 + z[:, 0].cos()
        return torch.stack([r * z[:, 1].cos(), r * z[:, 1].sin(), z[:, 0].sin()], dim=-1)

    z, v = box((-3.0, -3.0), (3.0, 3.0), 20, 1), box((-2.0, -2.0), (2.0, 2.0), 20, 2)
    shots = shoot(Immersed(torus, 2), z, v, steps=64)
    momentum = (2 + shots.curve[..., 0].cos()).square() * shots.velocity[..., 1]
    assert (momentum - momentum[:, :1]).abs().max() < 1e-4
    assert (momentum.amax(0) - momentum.amin(0)).min() > 1  # they differ between geodesics


def test_the_error_falls_with_the_fourth_power_of_the_step():
    z, v = box((1.0, 0.0), (2.0, 6.0), 5, 1), box((-1.0, -1.0), (1.0, 1.0), 5, 2)
    coarse, fine = (shoot(sphere(), z, v, steps=steps).error for steps in (8, 16))
    assert torch.all((coarse / fine - 16).abs() < 6)


def test_a_vector_carried_round_a_circle_of_latitude_turns_by_the_area_inside():
    polar = 1.0
    azimuth = torch.linspace(0, 2 * math.pi, 101, dtype=torch.float64)
    curve = torch.stack([torch.full_like(azimuth, polar), azimuth], dim=1).unsqueeze(0)
    carried = carry(sphere(), curve, torch.tensor([[1.0, 0.0]], dtype=torch.float64))[0]
    carried = carried * torch.tensor([1.0, math.sin(polar)])  # in units of length
    area = 2 * math.pi * (1 - math.cos(polar))
    assert carried[-1, 0].item() == pytest.approx(math.cos(area), abs=1e-3)
    assert abs(carried[-1, 1].item()) == pytest.approx(abs(math.sin(area)), abs=1e-3)
    assert torch.allclose(carried.norm(dim=1), torch.ones(51, dtype=torch.float64), atol=1e-4)


def test_a_shot_that_runs_out_of_the_chart_is_said_not_to_have_arrived():
    z, v = torch.tensor([[0.3, 0.0], [-0.6, 1e-3]], dtype=torch.float64).split(1)
    assert not shoot(sphere(), z, v, steps=32).converged.any()

"""Shooting and collocation find the geodesics that least energy finds."""

from __future__ import annotations

import pytest
import torch

from latentrun.geometry.boundary import aimed, collocated
from latentrun.geometry.energy import Settings
from tests.geometry.surfaces import KNOWN, box


@pytest.mark.parametrize("name", ["cylinder", "half_plane"])
def test_shot_from_the_straight_velocity_it_finds_the_distance(name):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, 4, 1), box(low, high, 4, 2)
    found = aimed(make(), a, b, b - a, Settings(fine=17, tolerance=1e-10, steps=30))
    assert found.converged.all()
    assert torch.allclose(found.length, distance(a, b), rtol=1e-3)
    assert torch.allclose(found.curve[:, -1], b, atol=1e-8)


def test_an_aim_that_is_never_reached_is_said():
    make, *_ = KNOWN["sphere"]
    a, b = torch.tensor([[0.3, 0.0], [2.8, 3.1]], dtype=torch.float64).split(1)
    assert not aimed(make(), a, b, b - a, Settings(fine=9, tolerance=1e-10, steps=1)).converged.any()


@pytest.mark.parametrize("name", ["swiss_roll", "half_plane"])
def test_collocation_finds_the_distance(name):
    make, low, high, distance = KNOWN[name]
    a, b = box(low, high, 4, 1), box(low, high, 4, 2)
    found = collocated(make(), a, b, None, Settings(points=17, fine=129, tolerance=1e-4))
    assert found.converged.all()
    assert torch.allclose(found.length, distance(a, b), rtol=1e-3)

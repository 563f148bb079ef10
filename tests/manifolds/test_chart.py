"""Charts: the same points again, and the nearest of their coordinates."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.functional.noise import Noise
from latentrun.manifolds import space
from latentrun.manifolds.chart import chart_of

SPACES = [
    "e3",
    "i2",
    "s1",
    "s2",
    "s3",
    "t3",
    "so3",
    "disc",
    "annulus",
    "moebius",
    "klein",
    "e1xs1",
    "s1xe2xs2",
]


def points(name: str) -> torch.Tensor:
    manifold = space(name)
    z = Noise(0).normal("z", (64, manifold.ambient_dim)).double()
    return manifold.project(z)


@pytest.mark.parametrize("name", SPACES)
def test_coordinates_lead_back_to_the_point(name):
    chart, z = chart_of(space(name)), points(name)
    c = chart.coordinates(z)
    assert c.shape == (64, chart.dim) == (64, space(name).dim) and len(chart.names) == chart.dim
    assert torch.allclose(chart.point(c), z, atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_the_nearest_coordinates_are_of_the_same_point(name):
    chart, z = chart_of(space(name)), points(name)
    c = chart.coordinates(z)
    near = chart.near(c, c.flip(0))
    assert torch.allclose(chart.point(near), z.flip(0), atol=1e-3)
    assert ((near - c).abs() <= (c.flip(0) - c).abs() + 1e-9).all()


def test_angles_go_the_short_way_round_and_heights_do_not():
    chart = chart_of(space("s1xe1"))
    a, b = torch.tensor([[0.1, 0.0]]), torch.tensor([[2 * math.pi - 0.1, 50.0]])
    assert torch.allclose(chart.near(a, b), torch.tensor([[-0.1, 50.0]]), atol=1e-6)


@pytest.mark.parametrize("name", ["c5", "s1xc3", "s7"])
def test_spaces_without_a_chart_have_none(name):
    assert chart_of(space(name)) is None

"""Where the straight line leads astray."""

from __future__ import annotations

import math

import numpy as np
import torch

from latentrun.functional.noise import Noise
from latentrun.functional.paths.curves import resampled, traced
from latentrun.geometry.energy import Settings, least_energy
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import better, shortest
from latentrun.geometry.surface import Given, Immersed


def ring_with_a_hole() -> Immersed:
    """A mean that is flat, and a standard deviation that is high in the middle and far outside."""

    def decoder(z):
        r = z.norm(dim=1, keepdim=True)
        return z, 8.0 * torch.exp(-4 * r.square())

    return Immersed(decoder, 2)


def circle(angle, r=1.0):
    angle = torch.as_tensor(angle, dtype=torch.float64)
    return r * torch.stack([angle.cos(), angle.sin()], dim=-1)


def test_ways_go_round_a_hole_and_the_shorter_way_is_kept():
    noise = Noise(0).at("ring")
    codes = circle(2 * math.pi * noise.uniform("angle", (600,)).double(), 1.0) * (
        1 + 0.1 * noise.normal("r", (600, 1)).double()
    )
    surface = ring_with_a_hole()
    angles = torch.tensor([2.6, -2.6, 2.9, 0.5])
    a, b = circle(torch.zeros(4)), circle(angles)
    graph = Graph(surface, codes, neighbours=8, parts=4)
    found = shortest(surface, a, b, Settings(), graph)
    straight = least_energy(surface, a, b, None, Settings())
    assert found.converged.all()
    middle = found.curve[:, found.curve.shape[1] // 2]
    assert (middle.norm(dim=1) > 0.5).all()  # round the hole
    assert torch.equal(middle[:, 1] > 0, angles > 0)  # on the side where the way is shorter
    assert (found.energy <= straight.energy * (1 + 1e-9)).all()
    assert torch.allclose(found.length[0], found.length[1], rtol=1e-2)  # mirror images


def spiral_ridge() -> Given:
    """Cheap along r = angle / 4, dear beside it."""

    def metric(z):
        r, angle = z.norm(dim=1).clamp_min(1e-9), torch.atan2(z[:, 1], z[:, 0])
        turn = torch.remainder(4 * r - angle + math.pi, 2 * math.pi) - math.pi
        dear = 1 + 200 * (1 - torch.exp(-2 * turn.square()))
        return dear[:, None, None] * torch.eye(2, dtype=z.dtype)

    return Given(metric, 2)


def test_a_spiral_ridge_is_followed_from_the_graph_where_straight_starts_fail():
    surface = spiral_ridge()
    angle = torch.linspace(1.0, 4 * math.pi, 500, dtype=torch.float64)
    codes = circle(angle, 1.0) * (angle / 4).unsqueeze(1)
    a, b = codes[:1], codes[-1:]
    settings = Settings(pieces=24, points=129, fine=513, steps=300, tolerance=1e-6)
    alone = least_energy(surface, a, b, None, settings)
    found = shortest(surface, a, b, settings, Graph(surface, codes, neighbours=4, parts=4))
    ridge = codes.diff(dim=0).norm(dim=1).sum()
    assert alone.length > 1.3 * found.length and found.length < 1.1 * ridge


def test_of_two_curves_the_shorter_is_kept():
    surface = ring_with_a_hole()
    a, b = circle([0.0, 0.0]), circle([2.5, 1.0])
    done, undone = (least_energy(surface, a, b, None, Settings(steps=steps)) for steps in (100, 0))
    for kept in (better(undone, done), better(done, undone)):
        assert torch.equal(kept.energy, done.energy) and torch.equal(kept.converged, done.converged)


def test_chains_of_predecessors_are_followed_for_all_pairs_at_once():
    before = np.array([[-9999, 0, 1, -9999]])  # 0 - 1 - 2, and 3 alone
    chain = traced(before, np.array([0, 0, 0]), np.array([2, 1, 3]))
    assert chain.tolist() == [[0, 1, 2], [0, 0, 1], [3, 3, 3]]
    assert (chain[:, 0] == 0).tolist() == [True, True, False]  # no way leads to 3


def test_points_are_spread_evenly_over_lines():
    corners = np.array([[[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 3.0], [1.0, 3.0]]])
    even = resampled(corners, np.linspace(0, 1, 5))[0]
    assert np.allclose(even, [[0.0, 0], [1, 0], [1, 1], [1, 2], [1, 3]])

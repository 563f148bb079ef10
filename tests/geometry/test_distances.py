"""Distances of many pairs, in bounded memory, and what becomes of pairs that have none."""

from __future__ import annotations

import math

import torch

from latentrun.geometry import shortest as module
from latentrun.geometry.energy import Settings, least_energy, pairs_at_once, spline
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import distances, shortest
from latentrun.geometry.surface import Immersed
from tests.geometry.surfaces import KNOWN, box, great_circle, sphere


def test_matrices_are_symmetric_and_those_of_a_sphere_its_great_circles(monkeypatch):
    monkeypatch.setattr(module, "PAIRS", 10)  # several chunks, the last one not full
    z, told = box((0.8, 0.0), (2.3, 2.0), 8, 1), []
    found = distances(sphere(), z, None, Settings(), tell=lambda *done: told.append(done))
    assert torch.equal(found.length, found.length.T) and found.converged.all()
    assert (found.length.diagonal() == 0).all()
    i, j = torch.triu_indices(8, 8, 1)
    assert torch.allclose(found.length[i, j], great_circle(z[i], z[j]), rtol=1e-6)
    assert told == [(10, 28), (20, 28), (28, 28)]
    between = distances(sphere(), z[:3], z[3:], Settings())
    assert torch.allclose(between.length, found.length[:3, 3:], atol=1e-9)


def test_pairs_in_chunks_are_what_they_are_together(monkeypatch):
    make, low, high, _ = KNOWN["swiss_roll"]
    a, b = box(low, high, 7, 1), box(low, high, 7, 2)
    whole = least_energy(make(), a, b, None, Settings())
    basis = spline(8, 33, a)
    monkeypatch.setattr("latentrun.geometry.energy.CELLS", 2 * (33 * 9 * 4 + 4 * 18**2))
    assert pairs_at_once(basis, 2) == 2
    parts = least_energy(make(), a, b, None, Settings())
    assert torch.allclose(parts.curve, whole.curve, atol=1e-12) and torch.equal(parts.steps, whole.steps)
    assert len(least_energy(make(), a[:0], b[:0], None, Settings()).curve) == 0


def with_a_hole(z):
    """A plane with a hill in the middle, whose top is not there."""
    r = z.norm(dim=1, keepdim=True)
    return torch.where(r < 0.25, torch.nan, torch.cat([z, 4 * torch.exp(-4 * r.square())], 1))


def test_where_the_map_is_not_finite_nothing_converges_and_the_graph_leads_round():
    a, b = torch.tensor([[-1.5, 0.0], [-1.5, 1.3]]), torch.tensor([[1.5, 0.0], [1.5, 1.3]])
    surface = Immersed(with_a_hole, 2)
    alone = least_energy(surface, a, b, None, Settings())
    assert alone.converged.tolist() == [False, True] and alone.steps.tolist()[0] == 0
    assert math.isnan(alone.length[0].item())
    grid = torch.cartesian_prod(torch.linspace(-1.6, 1.6, 25), torch.linspace(-1.6, 1.6, 25))
    graph = Graph(surface, grid, neighbours=8, parts=4)  # some of its lines end in the hole
    found = shortest(surface, a, b, Settings(), graph)
    assert found.converged.all() and 3 < found.length[0] < 4.5
    assert found.curve[0].norm(dim=1).min() > 0.5


def test_a_metric_that_is_singular_gives_a_result_and_no_error():
    turned = torch.tensor([[0.6, 0.8]])
    onto_a_line = Immersed(lambda z: (z @ turned.T).square(), 2)
    a, b = torch.tensor([[0.0, 0.5], [0.3, 0.0]]), torch.tensor([[1.0, 1.0], [-0.8, 0.6]])
    found = least_energy(onto_a_line, a, b, None, Settings())
    way = ((b @ turned.T).square() - (a @ turned.T).square()).abs()[:, 0]
    assert found.converged[0] and torch.allclose(found.length[0], way[0], rtol=1e-3)
    constant = least_energy(Immersed(lambda z: torch.ones(len(z), 3), 2), a, b, None, Settings())
    assert constant.converged.all() and (constant.length == 0).all() and torch.isfinite(constant.curve).all()


def test_pieces_of_a_graph_are_joined():
    line = torch.linspace(0, 1, 6)[:, None]
    codes = torch.cat([line, line + 5, line + 20])
    graph = Graph(Immersed(lambda z: z, 1), codes, neighbours=2, parts=1)
    reached = graph.distances([0])[0]
    assert torch.allclose(torch.from_numpy(reached).float(), codes[:, 0], atol=1e-5)


def test_of_two_ways_round_a_hill_that_are_nearly_equal_the_shorter_is_found():
    """The straight start runs over the top; the ends lie a little to one side."""
    hill = Immersed(lambda z: torch.cat([z, 3 * torch.exp(-2 * z.square().sum(1, keepdim=True))], 1), 2)
    side = torch.tensor([0.02, -0.02], dtype=torch.float64)
    a = torch.stack([torch.full_like(side, -1.5), side], 1)
    b = a * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    axis = torch.linspace(-2, 2, 33, dtype=torch.float64)
    graph = Graph(hill, torch.cartesian_prod(axis, axis), neighbours=8, parts=4)
    found = shortest(hill, a, b, Settings(pieces=12, points=65), graph)
    top = found.curve[:, found.curve.shape[1] // 2, 1]
    assert found.converged.all() and torch.equal(top.sign(), side.sign()) and (top.abs() > 0.3).all()
    longer = least_energy(hill, a, b, found.curve * torch.tensor([1.0, -1.0]), Settings(12, 65))
    assert longer.converged.all() and torch.equal(
        longer.curve[:, longer.curve.shape[1] // 2, 1].sign(), -side.sign()
    )
    assert (found.length < longer.length).all() and (longer.length < 1.02 * found.length).all()


def test_clairauts_relation_holds_along_curves_of_least_energy():
    """On a torus r² dphi/dt is constant along a geodesic, and differs from pair to pair."""

    def torus(z):
        r = 2 + z[:, 0].cos()
        return torch.stack([r * z[:, 1].cos(), r * z[:, 1].sin(), z[:, 0].sin()], dim=-1)

    a, b = box((-1.0, -1.0), (0.0, 0.0), 8, 1), box((0.0, 0.2), (1.0, 1.5), 8, 2)
    found = least_energy(Immersed(torus, 2), a, b, None, Settings(pieces=16, points=129, tolerance=1e-12))
    middle = 0.5 * (found.curve[:, 1:] + found.curve[:, :-1])
    momentum = (2 + middle[..., 0].cos()).square() * found.curve.diff(dim=1)[..., 1] * 128
    spread = (momentum.amax(1) - momentum.amin(1)) / momentum.mean(1)
    assert found.converged.all() and spread.max() < 2e-3
    assert momentum.mean(1).max() > 1.5 * momentum.mean(1).min()

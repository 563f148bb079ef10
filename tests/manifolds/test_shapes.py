"""The shapes that data are made of: their laws by hand, their Betti numbers, unions and isolated points."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import chisquare, kstest

from latentrun.data.lifted_names import NAMES
from latentrun.functional.noise import Noise
from latentrun.manifolds import Curve, Places, Union, laid_out, product, space
from latentrun.manifolds.curve import FORMULAS

LEVEL = 1e-4  # of tests of a law

# Each curve as one would write it down, and its ends.
WRITTEN = {
    "spiral": (lambda t: (t * np.cos(t) / (5 * np.pi), t * np.sin(t) / (5 * np.pi)), np.pi, 5 * np.pi),
    "helix": (lambda t: (np.cos(t), np.sin(t), t / (2 * np.pi) - 1), 0.0, 4 * np.pi),
    "trefoil": (
        lambda t: (
            (np.sin(t) + 2 * np.sin(2 * t)) / 3,
            (np.cos(t) - 2 * np.cos(2 * t)) / 3,
            -np.sin(3 * t) / 3,
        ),
        0.0,
        2 * np.pi,
    ),
    "figure_eight": (lambda t: (np.sin(t), np.sin(t) * np.cos(t)), 0.0, 2 * np.pi),
}


def polyline(name: str, n: int = 100_001) -> tuple[np.ndarray, np.ndarray]:
    """Points ``(n, a)`` of a curve and their arc lengths ``(n,)`` by chords."""
    formula, first, last = WRITTEN[name]
    x = np.stack(np.broadcast_arrays(*formula(np.linspace(first, last, n))), axis=1)
    return x, np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(x, axis=0), axis=1))))


@pytest.mark.parametrize("name", FORMULAS)
def test_curves_are_those_of_their_formulas_by_arc_length(name):
    curve, (x, s) = Curve(name), polyline(name)
    assert curve.length == pytest.approx(s[-1], rel=1e-8)
    at = torch.from_numpy(s[::1000] / s[-1]).unsqueeze(1)
    assert np.allclose(curve.embed(at).numpy(), x[::1000], atol=1e-7)
    if not curve.closed:
        assert np.allclose(curve.unembed(torch.from_numpy(x[::1000])), at, atol=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_points_of_a_curve_are_uniform_by_its_length(name):
    """Held against the law of a coordinate of points spread evenly on a polyline of short chords."""
    z = Curve(name).sample(20_000, Noise(3)).numpy()
    x, s = polyline(name)
    for column in range(x.shape[1]):
        even = np.interp(np.linspace(0, s[-1], 100_001), s, x[:, column])
        assert kstest(z[:, column], lambda v: np.searchsorted(np.sort(even), v) / len(even)).pvalue > LEVEL  # noqa: B023


def test_a_swiss_roll_is_uniform_flat_and_its_sheets_are_far_apart():
    roll, z = NAMES["swiss_roll"](), NAMES["swiss_roll"]().sample(20_000, Noise(5)).double()
    t = z[:, :2].norm(dim=1).numpy() * 5 * np.pi
    length = lambda t: (t * np.sqrt(1 + t**2) + np.arcsinh(t)) / 2  # noqa: E731  of Archimedes' spiral
    share = (length(t) - length(np.pi)) / (length(5 * np.pi) - length(np.pi))
    assert kstest(share, "uniform").pvalue > LEVEL and kstest(2 * z[:, 2].numpy(), "uniform").pvalue > LEVEL
    a, b = (torch.tensor([[t * math.cos(t), t * math.sin(t), 5 * math.pi * h]]).double() / (5 * math.pi)
            for t, h in ((2 * math.pi, 0.2), (4 * math.pi, 0.5)))  # fmt: skip
    way = quad(lambda t: math.sqrt(1 + t * t) / (5 * math.pi), 2 * math.pi, 4 * math.pi)[0]
    assert roll.distance(a, b).item() == pytest.approx(math.hypot(way, 0.3), abs=1e-7)
    assert (a - b).norm() < 0.51 < 3 < way


@pytest.mark.parametrize(
    ("name", "betti", "dims"),
    [
        ("segment", (1,), (1,)),
        ("exponential_line", (1,), (1,)),
        ("circle", (1, 1), (1,)),
        ("two_circles", (2, 2), (1,)),
        ("figure_eight", (1, 2), (1,)),
        ("spiral", (1,), (1,)),
        ("helix", (1,), (1,)),
        ("trefoil", (1, 1), (1,)),
        ("sphere", (1, 0, 1), (2,)),
        ("torus", (1, 2, 1), (2,)),
        ("swiss_roll", (1,), (2,)),
        ("line_and_disc", (1,), (1, 2)),
        ("circle_and_disc", (2, 1), (1, 2)),
        ("sphere_and_line", (1, 0, 1), (1, 2)),
    ],
)
def test_shapes_have_their_betti_numbers_and_dimensions(name, betti, dims):
    manifold = NAMES[name]()
    assert (manifold.betti, manifold.local_dims, manifold.dim) == (betti, dims, max(dims))


# ---------------------------------------------------------------- unions
@pytest.mark.parametrize("name", ["two_circles", "line_and_disc", "circle_and_disc", "sphere_and_line"])
def test_the_parts_of_a_union_have_their_shares_and_are_uniform_each(name):
    union = NAMES[name]()
    assert isinstance(union, Union)
    z = union.sample(20_000, Noise(6)).double()
    number = union.component(z)
    # Two circles of one size are as long; where dimensions differ, each part gets a half.
    assert chisquare(np.bincount(number, minlength=2)).pvalue > LEVEL
    for i, part in enumerate(union.parts):
        for column in part.unembed(z[number == i]).T.numpy():
            assert kstest(column, "uniform").pvalue > LEVEL


def test_factors_that_mean_nothing_on_a_part_have_the_middle_of_their_range():
    union = NAMES["line_and_disc"]()
    names = [coordinate.name for coordinate in union.coordinates]
    assert names == ["component", "position", "squared_radius", "angle"]
    y = union.read(torch.tensor([[2.0, 0.0], [0.0, 0.5]]).double())
    assert torch.allclose(y, torch.tensor([[0, 0.5, 0.5, math.pi], [1, 0.5, 0.25, math.pi / 2]]).double())
    assert torch.allclose(union.point(y), torch.tensor([[2.0, 0.0], [0.0, 0.5]]).double())
    assert union.local_dim(union.point(y)).tolist() == [1, 2]
    assert union.coordinates[0].categories == ("line", "disc")
    assert NAMES["two_circles"]().coordinates[0].categories == ("left", "right")


def test_ways_between_parts_lead_through_the_joint_or_do_not_exist():
    joined, apart = NAMES["line_and_disc"](), NAMES["circle_and_disc"]()
    a, b = torch.tensor([[0.0, 1.0]]).double(), torch.tensor([[2.5, 0.0]]).double()
    whole = math.sqrt(2) + 1.5
    assert joined.distance(a, b).item() == pytest.approx(whole)
    assert joined.log(a, b).norm().item() == pytest.approx(whole)
    path = joined.geodesic(a, b, torch.linspace(0, 1, 11).double().unsqueeze(1))
    assert torch.allclose((path[1:] - path[:-1]).norm(dim=-1).max(), torch.tensor(whole / 10).double())
    assert torch.allclose(path[[0, -1], 0], torch.cat([a, b])) and path[3, 0, 1] > 0.1
    here, there = apart.sample(50, Noise(0)), apart.sample(50, Noise(1))
    same = apart.component(here) == apart.component(there)
    assert torch.equal(torch.isinf(apart.distance(here, there)), ~same) and 10 < same.sum() < 40


def test_the_way_through_a_crossing_is_the_shorter_one():
    eight = Curve("figure_eight")
    t = torch.tensor([0.3, math.pi + 0.3], dtype=torch.float64)
    a, b = torch.stack([t.sin(), t.sin() * t.cos()], dim=1)
    piece = quad(lambda t: math.hypot(math.cos(t), math.cos(2 * t)), 0, 0.3)[0]
    assert eight.distance(a, b).item() == pytest.approx(2 * piece, abs=1e-8)
    path = eight.geodesic(a, b, torch.linspace(0, 1, 9).double())
    steps = eight.distance(path[1:], path[:-1])
    assert torch.allclose(steps, torch.tensor(2 * piece / 8).double().expand(8), atol=1e-7)
    assert torch.allclose(path[4], torch.zeros(2).double(), atol=1e-7) and torch.allclose(path[-1], b)


# ---------------------------------------------------------------- isolated points
def test_layouts_hold_the_benchmarks_of_eight_in_a_ring_and_twenty_five_on_a_grid():
    ring = laid_out(8, "ring", 2, 2.0, 1.0, Noise(0))
    assert torch.allclose(ring[:3], torch.tensor([[2, 0], [2**0.5, 2**0.5], [0, 2]]).double(), atol=1e-12)
    grid = laid_out(25, "grid", 2, 1.0, 2.0, Noise(0))
    assert {tuple(row) for row in grid.tolist()} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    assert laid_out(3, "grid", 1, 1.0, 2.0, Noise(0)).flatten().tolist() == [-2, 0, 2]
    random = laid_out(50, "random", 3, 2.0, 1.0, Noise(0))
    assert random.shape == (50, 3) and 1.8 < random.abs().max() <= 2


def test_between_isolated_points_there_is_no_way():
    places = Places(torch.eye(3))
    z = places.sample(3000, Noise(0))
    assert chisquare(np.bincount(places.read(z)[:, 0].long(), minlength=3)).pvalue > LEVEL
    assert torch.equal(places.point(places.read(z)), z) and places.betti == (3,)
    assert places.distance(z[:1], z[:1]).item() == 0
    assert torch.isinf(places.distance(*torch.eye(3)[:2]))
    circles = product([space("s1"), places])
    assert circles.betti == (3, 3) and circles.local_dims == (1,) and len(circles.curves()) == 3
    y = circles.read(torch.tensor([[0.0, 1.0, 0.0, 1.0, 0.0]]))
    assert torch.allclose(y, torch.tensor([[math.pi / 2, 1.0]]))


@pytest.mark.parametrize("name", NAMES)
def test_the_curves_that_are_drawn_lie_on_the_shape_and_come_near_all_of_it(name):
    manifold = NAMES[name]()
    curves = manifold.curves()
    if manifold.dim > 2:
        assert curves == ()
        return
    drawn = torch.cat(curves).double()
    assert torch.allclose(manifold.project(drawn), drawn, atol=1e-5)
    if name != "exponential_line":
        z = manifold.sample(300, Noise(0)).double()
        span = (drawn.amax(0) - drawn.amin(0)).max()
        assert torch.cdist(z, drawn).min(1).values.max() < 0.3 * span

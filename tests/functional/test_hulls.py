"""Hulls of known bodies: volume, membership, even draws, bounding lines, edges of strips."""

from __future__ import annotations

import math

import numpy as np
import pytest

from latentrun.functional.clouds.hulls import (
    bounding_line,
    bounding_path,
    convex_hull,
    measurable,
    strip_edges,
)
from latentrun.functional.noise import Noise


def cube(k: int, inner: int = 100) -> np.ndarray:
    """The corners of [0, 2]^k and points inside."""
    corners = np.stack(np.meshgrid(*[[0.0, 2.0]] * k), -1).reshape(-1, k)
    return np.concatenate([corners, 2 * np.random.default_rng(0).random((inner, k))])


@pytest.mark.parametrize("k", range(1, 7))
def test_a_cube(k):
    hull = convex_hull(cube(k))
    assert hull.volume == pytest.approx(2**k, rel=1e-12)
    assert set(hull.vertices) == set(range(2**k))
    x = 3 * np.random.default_rng(1).random((500, k)) - 0.5
    assert (hull.contains(x) == ((x >= 0) & (x <= 2)).all(1)).all()


def test_a_simplex():
    assert convex_hull(np.vstack([np.zeros(4), np.eye(4)])).volume == pytest.approx(1 / math.factorial(4))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_draws_are_even(k):
    hull = convex_hull(cube(k))
    x = hull.uniform(20000, Noise(0)) / 2
    assert hull.contains(2 * x).all()
    # Uniform on [0, 1]^k: mean 1/2, variance 1/12, no correlation; within 4 standard errors.
    assert np.abs(x.mean(0) - 0.5).max() < 4 * math.sqrt(1 / 12 / 20000)
    assert np.allclose(np.cov(x.T) * 12, np.eye(k), atol=0.04)
    # And not only in its moments: the inner half of each side holds half the points.
    inner = ((x > 0.25) & (x < 0.75)).mean(0)
    assert np.abs(inner - 0.5).max() < 4 * 0.5 / math.sqrt(20000)


@pytest.mark.parametrize(
    "points",
    [np.zeros((9, 1)), np.ones((9, 2)) * np.arange(9)[:, None], np.eye(3), np.c_[cube(2), np.full(104, 0.3)]],
)
def test_flat_clouds_have_no_hull(points):
    assert convex_hull(points) is None


def test_many_dimensions_are_projected_and_said():
    u = np.random.default_rng(0).standard_normal((50, 9))
    found, note = measurable(u)
    assert (found == u[:, :3]).all() and "9 dimensions" in note
    assert measurable(u[:, :6])[0].shape == (50, 6) and not measurable(u[:, :6])[1]


def test_the_tightest_line_above():
    # Under the roof from (0, 0) over (1, 2) to (5, 0) with its mean at a = 2: the long side, b = 2.5 - a / 2.
    a, b = np.array([0.0, 1, 5, 2, 2]), np.array([0.0, 2, 0, 0.5, 0.2])
    slope, height = bounding_line(a, b)
    assert (slope, height) == pytest.approx((-0.5, 2.5))
    assert bounding_line(a, 3 * a) is None
    # No other line above all points is nearer to them on the average.
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 300))
    slope, height = bounding_line(a, b)
    slopes = np.linspace(-5, 5, 2001)
    heights = (b - slopes[:, None] * a).max(1)
    assert (b <= height + slope * a + 1e-12).all()
    assert height + slope * a.mean() <= (heights + slopes * a.mean()).min() + 1e-9


@pytest.mark.parametrize("sign", [1, -1])
def test_a_bounding_path_follows_the_codes_in_its_plane(sign):
    # A slab tilted by 1/2 in (a, b) whose faces lie at c = 3 a.
    rng = np.random.default_rng(0)
    a, depth = rng.random(4000), rng.random(4000)
    z = np.stack([a, 3 * a, a / 2 + depth], 1)
    path = bounding_path(z, 0, 2, sign, 0.05, 7)
    assert np.allclose(path[:, 1], 3 * path[:, 0], atol=0.01)
    assert np.allclose(path[:, 2], path[:, 0] / 2 + (sign > 0), atol=0.01)
    assert np.allclose(path[[0, -1], 0], [0.05, 0.95], atol=0.08)


def test_edges_of_a_bent_strip():
    # A strip of width 1 along the parabola x = t², y = -t: edges at x, y shifted by ±(1, 1) / 2.
    t, across = np.meshgrid(np.linspace(-1, 1, 81), np.linspace(-0.5, 0.5, 9), indexing="ij")
    z = np.stack([t, t**2 + across, -t + across], -1).reshape(-1, 3)
    z = z[np.random.default_rng(0).permutation(len(z))]
    knots, curves = strip_edges(z, 0, 10, 11)
    assert knots.shape == (2, 10) and curves.shape == (2, 11, 3)
    sides = [np.stack([curve[:, 1] - curve[:, 0] ** 2, curve[:, 2] + curve[:, 0]], 1) for curve in curves]
    assert sorted(np.sign(side.mean()) for side in sides) == [-1, 1]
    for side in sides:
        assert np.allclose(side, 0.5 * np.sign(side.mean()), atol=0.06)


def test_a_strip_too_short_has_no_edges():
    assert strip_edges(np.zeros((1, 3)), 0, 5, 5) is None
    assert strip_edges(np.array([[0.0, 0, 0], [0, 1, 1], [1, 0, 0]]), 0, 5, 5) is None

"""Factors as functions of codes: planes are met exactly, angles across their seam, distances as by brute
force."""

from __future__ import annotations

import numpy as np
import pytest

from latentrun.functional.clouds.factor_field import factor_field, wrapped

RNG = np.random.default_rng(0)


def brute(queries, points):
    return np.linalg.norm(queries[:, None] - points, axis=2).min(1)


@pytest.mark.parametrize("k", [1, 3, 9])  # beyond 6 dimensions neighbours are found in another way
def test_a_plane_is_met(k):
    u, weight = RNG.standard_normal((800, k)), RNG.standard_normal((k, 2))
    field = factor_field(u, u @ weight + 3, np.zeros(2), 24)
    at = 0.5 * RNG.standard_normal((4, 5, k))
    value, gap = field.at(at)
    assert value.shape == (4, 5, 2) and gap.shape == (4, 5)
    # The ridge on the slopes is all that is lost.
    assert np.abs(value - at @ weight - 3).max() < 0.005 * np.abs(u @ weight).max()
    assert np.allclose(gap.ravel(), brute(at.reshape(-1, k), u), atol=1e-9)
    assert np.abs(field.slope - weight).mean() < 0.02 * np.abs(weight).mean()


def test_noise_is_averaged():
    u = RNG.uniform(-1, 1, (4000, 2))
    field = factor_field(u, u[:, :1] + RNG.standard_normal((4000, 1)), np.zeros(1), 64)
    value, _ = field.at(RNG.uniform(-0.9, 0.9, (500, 2)))
    again, _ = factor_field(u, u[:, :1], np.zeros(1), 64).at(field.u[:500])
    assert np.allclose(again, u[:500, :1], atol=0.01)
    assert value.std() < 0.9  # a single neighbour would have sd 1.15


def test_an_angle_across_its_seam():
    angle = RNG.uniform(0, 360, 2000)
    u = np.stack([np.cos(np.radians(angle)), np.sin(np.radians(angle))], 1)
    field = factor_field(u, angle[:, None], np.array([360.0]), 12)
    asked = np.linspace(-30, 30, 61)
    value, _ = field.at(np.stack([np.cos(np.radians(asked)), np.sin(np.radians(asked))], 1))
    assert np.abs(wrapped(value[:, 0] - asked, np.array([360.0]))).max() < 1


def test_copies_and_few_codes():
    u = np.repeat(np.array([[0.0, 0], [1, 1]]), 20, axis=0)
    value, gap = factor_field(u, u[:, :1], np.zeros(1), 8).at(np.array([[0.0, 0], [1, 1], [0, 1]]))
    assert np.allclose(value[:2, 0], [0, 1]) and np.isfinite(value).all() and np.allclose(gap, [0, 0, 1])
    value, _ = factor_field(u[:1], np.array([[5.0]]), np.zeros(1), 8).at(np.array([[3.0, 3]]))
    assert value[0, 0] == 5


def test_wrapped():
    assert np.allclose(
        wrapped(np.array([[350.0, 350], [-190, 10]]), np.array([360.0, 0])), [[-10, 350], [170, 10]]
    )

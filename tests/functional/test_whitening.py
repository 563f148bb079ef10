"""Whitened codes have covariance 1, and flat directions are left out."""

from __future__ import annotations

import numpy as np
import pytest

from latentrun.functional.clouds.whitening import perturbed, whitening
from latentrun.functional.noise import Noise

MIX = np.array([[2.0, 0.3, 0.0], [0.0, 0.5, 0.1], [0.0, 0.0, 5.0]])


def codes(n: int = 400) -> np.ndarray:
    return 7 + np.random.default_rng(0).standard_normal((n, 3)) @ MIX


def test_covariance_is_one_and_the_way_back_is_exact():
    z = codes()
    white = whitening(z, 0.0)
    u = white.to(z)
    assert np.allclose(np.cov(u.T), np.eye(3), atol=1e-12) and np.allclose(u.mean(0), 0, atol=1e-12)
    assert np.allclose(white.back(u), z, atol=1e-12)
    assert (np.diff(white.sd) < 0).all() and not white.note
    # Fewer coordinates: the others are those of the mean.
    assert np.allclose(white.to(white.back(u[:, :1])), u * [1, 0, 0], atol=1e-12)


def test_flat_directions_are_left_out_and_named():
    z = codes()
    z[:, 1] = z[:, 0] / 3 + 1e-3 * z[:, 1]
    white = whitening(z, 0.01)
    assert white.to(z).shape == (400, 2) and "1 of 3" in white.note
    assert np.abs(white.back(white.to(z)) - z).max() < 0.01


@pytest.mark.parametrize("z", [np.full((50, 3), 0.1), np.full((1, 3), 1e6)])
def test_codes_that_do_not_move_have_no_axis(z):
    assert whitening(z, 0.01).to(z).shape == (len(z), 0)


def test_moves_have_their_length_and_no_preferred_direction():
    moved = perturbed(np.zeros((4000, 3)), 0.2, Noise(0))
    assert np.allclose(np.linalg.norm(moved, axis=1), 0.2, atol=1e-12)
    assert np.abs(moved.mean(0)).max() < 4 * 0.2 / np.sqrt(3 * 4000)
    assert np.allclose(np.cov(moved.T) * 3 / 0.04, np.eye(3), atol=0.1)

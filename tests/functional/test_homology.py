"""Persistent homology of clouds whose topology one sees."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentrun.data.lifted_names import NAMES, Layout, named
from latentrun.functional.clouds.homology import Persistence, landmarks, persistence
from latentrun.functional.noise import Noise

RATIO = 1.3  # of the scales at the ends of a stretch that counts
LAYOUT = Layout(8, "ring", 2, 2.0, 2.0, 0.0)
SAMPLED = [*(name for name in NAMES if name != "exponential_line"), "points", "circle_x_points"]


def test_a_square_is_born_as_one_loop_that_dies_at_its_diagonal():
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    found = persistence(square, 1, 4)
    assert found.cover == 0 and found.end == pytest.approx(math.sqrt(2))
    assert np.allclose(np.sort(found.bars[0][:, 1]), [1, 1, 1, math.sqrt(2)])
    assert np.allclose(found.bars[1], [[1, math.sqrt(2)]], atol=1e-6)
    assert found.betti(0.5) == (4, 0) and found.betti(1.2) == (1, 1)
    assert [stretch[0] for stretch in found.stretches()] == [(4, 0), (1, 1)]


def test_landmarks_cover_the_cloud():
    x = Noise(0).uniform("x", (500, 2))
    rows, cover = landmarks(x, 40)
    assert len(rows.unique()) == 40
    assert torch.cdist(x, x[rows]).min(1).values.max().item() == pytest.approx(cover, rel=1e-5)
    assert landmarks(x[:7], 40)[1] == 0


def test_of_landmarks_that_are_as_far_the_first_is_next():
    """But for rounding; so another machine has the same ones."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0 + 1e-9], [-1.0 - 2e-9, 0.0]], dtype=torch.float64)
    assert landmarks(x, 4)[0].tolist() == [0, 1, 2, 3]


def test_the_plateau_is_the_first_long_stretch():
    bars = (np.array([[0.0, 10.0], [0.0, 0.5]]), np.array([[1.0, 1.1], [2.0, 4.0], [4.5, 9.9]]))
    found = Persistence(bars, 0.25, 10.0)
    assert found.plateau(1.5) == ((1, 0), 0.5, 1.0)
    assert found.plateau(2.1) == ((1, 1), 4.5, 9.9)
    assert found.plateau(30.0) is None and Persistence(bars, 6.0, 10.0).stretches() == []


@pytest.mark.parametrize("name", SAMPLED)
def test_the_loops_and_pieces_of_every_shape_are_those_it_says(name):
    """b0 and b1 of 1,000 points without noise."""
    manifold = named(name, LAYOUT, 0)
    x = manifold.sample(1000, Noise(0)).double()
    found = persistence(x, 1, 200).plateau(RATIO)
    assert found is not None and found[0] == (*manifold.betti, 0)[:2]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLED)
def test_the_holes_of_every_shape_are_those_it_says(name):
    """b0, b1 and b2 of 1,000 points without noise, by two of three samples at least: now and then chance
    leaves a gap in one that looks like a loop."""
    manifold = named(name, LAYOUT, 0)
    known = (*manifold.betti, 0, 0)[:3]
    samples = [manifold.sample(1000, Noise(seed)).double() for seed in range(3)]
    found = [persistence(x, 2, 200).plateau(RATIO) for x in samples]
    assert sum(stretch is not None and stretch[0] == known for stretch in found) >= 2, found

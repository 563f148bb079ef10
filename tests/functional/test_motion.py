"""Motion of points: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.functional.clouds.motion import (
    rigid_estimate,
    rigid_share,
    settles_at,
    step_lengths,
    straightness,
)
from latentrun.functional.noise import Noise

X = Noise(0).normal("x", (300, 3)).double()
ANGLE = torch.tensor(0.4, dtype=torch.float64)
TURN = torch.tensor(
    [[ANGLE.cos(), -ANGLE.sin(), 0], [ANGLE.sin(), ANGLE.cos(), 0], [0, 0, 1]], dtype=torch.float64
)


def test_a_step_of_one_in_every_coordinate_has_length_one():
    u = torch.stack([X, X + 1, X - 2])
    assert torch.allclose(step_lengths(u), torch.tensor([[1.0], [3.0]], dtype=torch.float64).expand(2, 300))


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [([3, 2, 0.5, 0.1], 2), ([0.1, 0.2], 0), ([0.1, 3, 0.1], 2), ([0.1, 0.1, 3], 3), ([], 0), ([1.0], 0)],
)
def test_settling_counts_to_the_last_long_step(lengths, expected):
    assert settles_at(torch.tensor(lengths), 1.0).item() == expected
    assert settles_at(torch.tensor([lengths, [0.0] * len(lengths)]), 1.0).tolist() == [expected, 0]


def test_straightness_of_a_line_a_half_circle_a_way_back_and_rest():
    t = torch.linspace(0, 1, 201, dtype=torch.float64)
    circle = torch.stack([(math.pi * t).cos(), (math.pi * t).sin()], 1)
    back = torch.stack([torch.where(t <= 0.75, t, 1.5 - t), 0 * t], 1)
    still = torch.zeros(201, 2, dtype=torch.float64)
    found = straightness(torch.stack([torch.stack([t, 2 * t], 1), circle, back, still], 1))
    assert found[:3].tolist() == pytest.approx([1, 2 / math.pi, 0.5], abs=1e-4) and found[3].isnan()


def test_rotations_shifts_and_mirrors_are_rigid():
    for moved in (X @ TURN.T, X + 3, X @ TURN + torch.tensor([1.0, 0, -1]), X * torch.tensor([1.0, -1, 1])):
        assert rigid_share(X, moved).item() == pytest.approx(1, abs=1e-9)
    assert rigid_share(X, X).isnan()


def test_of_scaling_nothing_is_rigid_and_of_random_steps_hardly_anything():
    x = X - X.mean(0)
    assert rigid_share(x, 1.3 * x).item() == pytest.approx(0, abs=1e-9)
    steps = Noise(1).normal("steps", (400, 300, 3)).double()
    found = rigid_share(X.expand(400, -1, -1), X + 0.01 * steps)
    assert found.shape == (400,) and found.mean().item() == pytest.approx((3 + 1) / (2 * 300), rel=0.1)


def test_a_shift_beside_random_steps_has_its_share_of_the_squares():
    steps = Noise(2).normal("steps", (300, 3)).double()
    shift = torch.tensor([2.0, 0, 0], dtype=torch.float64)
    expected = 1 - (steps - steps.mean(0)).square().sum() / (steps + shift).square().sum()
    assert rigid_share(X, X + 0.001 * (steps + shift)).item() == pytest.approx(expected.item(), abs=0.01)


@pytest.mark.parametrize("d", [2, 16])
def test_the_jackknife_takes_the_excess_off_and_its_interval_holds_the_truth(d):
    """Random steps, and steps of which one half is a shift of all points: 40 draws of each, in some of which
    an interval misses."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, d, generator=generator, dtype=torch.float64)
    for shifted in (0.0, 1.0):
        steps = torch.randn(40, 256, d, generator=generator, dtype=torch.float64)
        found = [rigid_estimate(x, x + 0.001 * (step + shifted)) for step in steps]
        truth = shifted**2 / (1 + shifted**2)
        values = torch.tensor([each.value for each in found])
        raw = rigid_share(x.expand(40, -1, -1), x + 0.001 * (steps + shifted)).mean()
        assert abs(values.mean() - truth) < abs(raw - truth)
        assert sum(each.low - 1e-3 <= truth <= each.high for each in found) >= 34  # 38 of 40 on average
        assert all(each.low <= each.value <= each.high for each in found)
    assert rigid_estimate(x, x).low is None


def test_the_interval_is_that_of_the_jackknife_by_hand():
    """Of ten groups of points: pseudo-values n s - (n - 1) s_g, their mean with Student's interval (Tukey
    1958)."""
    generator = torch.Generator().manual_seed(1)
    x, step = torch.randn(2, 60, 2, generator=generator, dtype=torch.float64)
    y = x + 0.001 * (step + 1)
    found, group = rigid_estimate(x, y, 10), torch.arange(60) % 10
    without = np.array([rigid_share(x[group != g], y[group != g]).item() for g in range(10)])
    pseudo = 10 * rigid_share(x, y).item() - 9 * without
    low, high = stats.t.interval(0.95, 9, pseudo.mean(), stats.sem(pseudo))
    assert 0 < low < high < 1
    assert (found.value, found.low, found.high) == pytest.approx((pseudo.mean(), low, high))

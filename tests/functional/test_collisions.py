"""Far points with near images, against all pairs."""

from __future__ import annotations

import pytest
import torch

from latentrun.functional.clouds import collisions as module
from latentrun.functional.clouds.collisions import collisions


def brute(y, x, beyond):
    apart, near = torch.cdist(y, y), torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    return (near / apart).masked_fill(apart < beyond, torch.inf)


@pytest.mark.parametrize("side", [7, 2048])
def test_the_least_ratio_of_all_pairs(monkeypatch, side):
    monkeypatch.setattr(module, "SIDE", side)
    g = torch.Generator().manual_seed(0)
    y = torch.rand(60, 2, generator=g, dtype=torch.float64)
    x = torch.randn(60, 9, generator=g, dtype=torch.float64)
    ratio, partner = collisions(y, x, 0.4)
    every = brute(y, x, 0.4)
    torch.testing.assert_close(ratio, every.min(1).values)
    torch.testing.assert_close(every[torch.arange(60), partner], ratio)


def test_an_isometry_has_ratio_one_and_a_fold_zero():
    steps = torch.linspace(-1, 1, 21, dtype=torch.float64)
    y = torch.cartesian_prod(steps, steps)
    turn = torch.linalg.qr(
        torch.randn(5, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ).Q
    ratio, _ = collisions(y, y @ turn.T, 0.5)
    torch.testing.assert_close(ratio, torch.ones_like(ratio))
    folded = torch.stack([y[:, 0] ** 2, y[:, 1]], 1)  # (a, b) and (-a, b) meet; only these
    ratio, partner = collisions(y, folded, 0.5)
    met = y[:, 0].abs() >= 0.25 - 1e-9
    assert (ratio[met] < 1e-12).all() and (ratio[~met] > 0.05).all()
    torch.testing.assert_close(y[partner[met]], y[met] * torch.tensor([-1.0, 1.0], dtype=torch.float64))


def test_a_collision_below_the_rounding_of_float32_is_found():
    """Images far from their mean: |x|² - 2 x·x' + |x'|² in float32 would not know which pair is nearest."""
    g = torch.Generator().manual_seed(0)
    y = torch.rand(300, 2, generator=g, dtype=torch.float64)
    x = 1e-3 * torch.randn(300, 50, generator=g, dtype=torch.float64)
    x[:150] += 100
    x[:150:2] += 100 * torch.nn.functional.one_hot(torch.arange(75) % 50, 50)
    ratio, _ = collisions(y, x, 0.3)
    assert abs(ratio.min() / brute(y, x, 0.3).min() - 1) < 1e-9


def test_a_step_of_exactly_the_threshold_counts():
    y = torch.arange(6, dtype=torch.float64)[:, None] * 0.1
    ratio, partner = collisions(y, y, 0.3)
    assert (
        ratio.isfinite().all() and partner[2] == 5 and partner[3] == 0
    )  # the only ones three steps from these


def test_nothing_is_far_enough():
    ratio, partner = collisions(
        torch.zeros(4, 2), torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), 0.1
    )
    assert ratio.isinf().all() and (partner == -1).all()

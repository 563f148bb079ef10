"""Discrepancies that are descended, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.functional.distances import two_sample
from latentrun.functional.distances.kernels import kernel_of, mmd2, sliced_wasserstein2, spread
from latentrun.functional.noise import Noise


def test_mmd2_by_hand_and_as_the_measured_one():
    x, y, width = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [4.0]]), torch.tensor(2.0)
    imq = lambda r: 2 / (2 + r * r)  # noqa: E731
    expected = imq(1) + imq(2) - (imq(2) + imq(4) + imq(1) + imq(3)) / 2
    assert mmd2(x, y, "imq", width, [1.0]).item() == pytest.approx(expected)
    x, y = (Noise(0).normal(name, (200, 3)) + 0.3 * (name == "y") for name in "xy")
    (measured, *_) = two_sample.mmd2(x, y, [1.5], 3, Noise(0)).estimates
    # exp(-r² / (2 width²)); theirs leaves the diagonal of the mixed block out, too
    mixed = kernel_of((x - y).square().sum(1), "rbf", torch.tensor(4.5), [1.0]).mean()
    full = mmd2(x, y, "rbf", torch.tensor(4.5), [1.0])
    assert full.item() == pytest.approx(measured.value, abs=2 * mixed.item() / 200 + 1e-4)


def test_mmd2_of_two_normals_is_that_of_the_closed_form_and_unbiased():
    """E k over N(0, I), N(m, I) with k = exp(-r² / C): (C / (C + 4))^(d/2) exp(-|m|² / (C + 4))."""
    d, c, shift = 2, 4.0, 1.0
    between = (c / (c + 4)) ** (d / 2)
    expected = 2 * between - 2 * between * math.exp(-(shift**2) / (c + 4))
    values = []
    for i in range(200):
        x, y = (Noise(i).normal(name, (30, d)) for name in "xy")
        values.append(mmd2(x + torch.tensor([shift, 0.0]), y, "rbf", torch.tensor(c), [1.0]))
    values = torch.stack(values)
    assert values.mean().item() == pytest.approx(expected, abs=4 * values.std().item() / 200**0.5)
    assert spread(Noise(0).normal("z", (20_000, 3))).item() == pytest.approx(6, rel=0.02)


def test_gradients_are_finite_where_rows_are_equal():
    z = torch.zeros(4, 2, requires_grad=True)
    (
        mmd2(z, torch.ones(4, 2), "imq", torch.tensor(4.0), [0.1, 1.0])
        + sliced_wasserstein2(z, torch.ones(4, 2), torch.eye(2))
    ).backward()
    assert torch.isfinite(z.grad).all() and z.grad.abs().sum() > 0


def test_sliced_wasserstein_of_a_shift_is_its_squared_length_over_d_and_knows_no_order():
    x, shift = Noise(0).normal("x", (50, 3)), torch.tensor([1.0, -2.0, 0.5])
    directions = torch.eye(3)
    moved = (x + shift)[torch.randperm(50)]
    assert sliced_wasserstein2(x, moved, directions).item() == pytest.approx(
        shift.square().sum().item() / 3, rel=1e-5
    )
    assert sliced_wasserstein2(x, moved, 7 * directions).item() == pytest.approx(
        shift.square().sum().item() / 3, rel=1e-5
    )
    many = Noise(0).normal("directions", (20_000, 3))
    assert sliced_wasserstein2(x, moved, many).item() == pytest.approx(
        shift.square().sum().item() / 3, rel=0.03
    )

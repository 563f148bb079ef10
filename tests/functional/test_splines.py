"""Splines over even places: values, slopes, and what lies outside."""

import math

import pytest
import torch
from scipy.interpolate import make_interp_spline

from latentrun.functional.special.splines import BASIS, Tabled, place, powers, spline


def f(x):
    return torch.exp(-x) * torch.sin(5 * x)


def test_values_and_two_slopes_of_a_smooth_function():
    x = torch.linspace(0, 2, 333, dtype=torch.float64, requires_grad=True)
    table = Tabled(f, 2.0, knots=400)
    assert (table(x) - f(x)).abs().max() < 2e-8
    slope, exact = (torch.autograd.grad(g(x).sum(), x, create_graph=True)[0] for g in (table, f))
    assert (slope - exact).abs().max() < 2e-5
    bend, exact = (torch.autograd.grad(g.sum(), x)[0] for g in (slope, exact))
    assert (bend - exact).abs().max() < 2e-2


def test_the_error_falls_with_the_fourth_power_of_the_distance():
    x = torch.linspace(0, 2, 999, dtype=torch.float64)
    coarse, fine = ((Tabled(f, 2.0, knots)(x) - f(x)).abs().max() for knots in (100, 200))
    assert 12 < coarse / fine < 20


def test_it_is_scipys_spline_with_the_same_slopes_at_the_ends():
    at = torch.linspace(0, 1, 41, dtype=torch.float64)
    values = torch.stack([f(at), at**3], 1)
    slopes = [[5.0, 0.0], [math.exp(-1) * (5 * math.cos(5) - math.sin(5)), 3.0]]
    other = make_interp_spline(at.numpy(), values.numpy(), bc_type=([(1, slopes[0])], [(1, slopes[1])]))
    x = torch.rand(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start, within = place(x * 40, 40)
    ours = (powers(within) @ BASIS.mT).unsqueeze(1) @ spline(values, 1 / 40)[start[:, None] + torch.arange(4)]
    assert (ours.squeeze(1) - torch.from_numpy(other(x.numpy()))).abs().max() < 1e-6  # of the slopes


def test_what_is_no_number_stays_none_and_beyond_the_end_stands_the_end():
    table = Tabled(f, 2.0, knots=100)
    y = table(torch.tensor([math.nan, 2.0, 5.0, -1.0]))
    assert y[0].isnan() and y[1] == y[2] == pytest.approx(f(torch.tensor(2.0)).item()) and y[3].abs() < 1e-12


def test_any_shape_and_float32_and_a_map_over_rows():
    table = Tabled(f, 2.0, knots=100)
    x = torch.tensor([[0.1, 0.2, 0.3], [1.0, 1.5, 2.0]])
    assert table(x).shape == (2, 3) and table(x).dtype == torch.float64
    assert torch.equal(torch.func.vmap(table)(x), table(x))
    within = torch.func.grad(lambda at: Tabled(f, 2.0, knots=100)(at))(torch.tensor(0.0))
    assert within.item() == pytest.approx(5, abs=1e-2)  # made where gradients are taken

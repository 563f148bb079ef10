"""Ratios of Bessel functions against arithmetic of 60 digits, and their derivatives against each other."""

from __future__ import annotations

import pytest
import torch

from latentrun.functional.special.bessel import (
    AT_ONCE,
    log_tilt,
    mean_length,
    mean_length_slope,
    tilt_divergence,
)

KAPPA = [1e-3, 0.02, 0.5, 1.0, 1.001, 7.0, 28.0, 29.99, 30.01, 300.0, 1e4, 1e5]


def exact(d: int, kappa: float) -> tuple:
    """ln M, A and A' of mpmath."""
    mp = pytest.importorskip("mpmath")
    with mp.workdps(60):
        nu, k = mp.mpf(d) / 2 - 1, mp.mpf(kappa)
        i = mp.besseli(nu, k)
        a = mp.besseli(nu + 1, k) / i
        tilt = mp.loggamma(nu + 1) + nu * mp.log(2 / k) + mp.log(i)
        return tilt, a, 1 - a * a - (d - 1) * a / k


def largest_errors(dims, kappas) -> list[float]:
    """The largest relative error of each of the three."""
    worst = [0.0, 0.0, 0.0]
    for d in dims:
        kappa = torch.tensor(kappas, dtype=torch.float64)
        values = [function(kappa, d) for function in (log_tilt, mean_length, mean_length_slope)]
        for i, k in enumerate(kappas):
            for j, truth in enumerate(exact(d, k)):
                worst[j] = max(worst[j], float(abs(values[j][i].item() / truth - 1)))
    return worst


def test_twelve_digits_in_all_regions():
    tilt, mean, slope = largest_errors((2, 3, 10, 61, 62, 1000), KAPPA)
    assert tilt < 1e-12 and mean < 1e-14 and slope < 1e-11


@pytest.mark.slow
def test_twelve_digits_everywhere():
    kappas = [10 ** (i / 8) for i in range(-24, 41)] + KAPPA
    tilt, mean, slope = largest_errors(
        (2, 3, 4, 5, 7, 12, 20, 42, 43, 50, 60, 64, 100, 250, 500, 999), kappas
    )
    assert tilt < 1e-12 and mean < 1e-14 and slope < 1e-11


@pytest.mark.parametrize("d", [2, 3, 10, 200])
def test_each_is_the_gradient_of_the_one_before(d):
    kappa = torch.tensor(KAPPA, dtype=torch.float64, requires_grad=True)
    (first,) = torch.autograd.grad(log_tilt(kappa, d).sum(), kappa, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), kappa, create_graph=True)
    (third,) = torch.autograd.grad(second.sum(), kappa)
    assert torch.equal(first, mean_length(kappa, d)) and torch.equal(second, mean_length_slope(kappa, d))
    step = 1e-4 * kappa.detach()
    apart = mean_length_slope(kappa + step, d) - mean_length_slope(kappa - step, d)
    assert torch.allclose(third, apart / (2 * step), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("d", [2, 10, 200])
def test_divergence_and_its_gradient(d):
    kappa = torch.tensor(KAPPA, dtype=torch.float64, requires_grad=True)
    divergence = tilt_divergence(kappa, d)
    assert torch.allclose(
        divergence, kappa * mean_length(kappa, d) - log_tilt(kappa, d), atol=1e-10, rtol=1e-9
    )
    (slope,) = torch.autograd.grad(divergence.sum(), kappa, create_graph=True)
    assert torch.equal(slope, kappa * mean_length_slope(kappa, d))
    assert torch.autograd.grad(slope.sum(), kappa)[0].isfinite().all()


def test_many_arguments_as_few():
    """Series are summed in another order where they are many."""
    kappa = torch.linspace(0, 40, AT_ONCE + 1, dtype=torch.float64)
    for function in (log_tilt, mean_length):
        assert torch.allclose(function(kappa, 3)[:50], function(kappa[:50], 3), rtol=1e-14)


@pytest.mark.parametrize("d", [2, 10, 61, 1000])
def test_no_step_where_the_region_changes(d):
    border = max(1.0, (900 - (d / 2 - 1) ** 2) ** 0.5 if d <= 62 else 1.0)
    kappa = torch.tensor([border * (1 - 1e-12), border * (1 + 1e-12)], dtype=torch.float64)
    for function in (log_tilt, mean_length, mean_length_slope):
        low, high = function(kappa, d)
        assert high / low == pytest.approx(1, abs=5e-11)


@pytest.mark.parametrize("d", [2, 7, 1000])
def test_finite_at_both_ends(d):
    kappa = torch.tensor([0.0, 1e-30, 1e8, 1e30], dtype=torch.float32, requires_grad=True)
    for function in (log_tilt, mean_length, mean_length_slope):
        value = function(kappa, d)
        (slope,) = torch.autograd.grad(value.sum(), kappa)
        assert value.isfinite().all() and slope.isfinite().all()
    assert mean_length_slope(kappa, d)[0].item() == pytest.approx(1 / d)
    assert mean_length_slope(kappa, d)[2].item() == pytest.approx((d - 1) / 2 * 1e-16, rel=1e-3)


# torch's own forward mode compiles with what it has deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_under_transforms():
    kappa = torch.tensor([0.5, 20.0, 200.0], dtype=torch.float64)
    slope = torch.func.vmap(torch.func.grad(lambda k: log_tilt(k, 5)))(kappa)
    assert torch.allclose(slope, mean_length(kappa, 5), rtol=1e-14)
    value, tangent = torch.func.jvp(lambda k: mean_length(k, 5), (kappa,), (torch.ones_like(kappa),))
    assert torch.allclose(value, mean_length(kappa, 5)) and torch.allclose(
        tangent, mean_length_slope(kappa, 5)
    )
    bend = torch.func.vmap(torch.func.grad(torch.func.grad(lambda k: log_tilt(k, 5))))(kappa)
    assert torch.allclose(bend, mean_length_slope(kappa, 5), rtol=1e-14)

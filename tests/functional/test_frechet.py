"""Fréchet distances of Gaussians in closed form; running moments against those of all rows at once."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.linalg import sqrtm

from latentrun.functional.distances.frechet import (
    GaussianFit,
    Jackknife,
    frechet,
    frechet_jackknife,
    gaussian_fit,
    joined,
    root,
)


def normal(n, d, seed, mean=0.0, sd=1.0):
    return mean + sd * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(mean, covariance) -> GaussianFit:
    mean, covariance = (torch.as_tensor(value, dtype=torch.float64) for value in (mean, covariance))
    return GaussianFit(2, mean, covariance)  # n - 1 = 1: the scatter is the covariance


def test_running_moments_are_those_of_all_rows_however_they_are_cut():
    rows = normal(1000, 5, 0) @ normal(5, 5, 1)
    for offset in (0.0, 1e6):  # sums of squares would lose all digits at 1e6
        for size in (1, 7, 333, 1000):
            found = gaussian_fit((rows + offset).split(size))
            assert found.n == 1000
            assert found.mean.numpy() == pytest.approx(rows.mean(0).numpy() + offset, rel=1e-12, abs=1e-12)
            assert found.covariance.numpy() == pytest.approx(
                np.cov(rows.numpy().T), abs=1e-8 if offset else 1e-12
            )
    parts = [gaussian_fit([part]) for part in rows.split(130)]
    assert torch.allclose(joined(parts).scatter, gaussian_fit([rows]).scatter, atol=1e-9)


def test_only_one_chunk_lives_at_a_time():
    alive, most = weakref.WeakSet(), 0

    def chunks():
        nonlocal most
        for seed in range(20):
            part = normal(50, 3, seed)
            alive.add(part)
            most = max(most, len(alive))
            yield part

    assert gaussian_fit(chunks()).n == 1000 and most <= 2


def test_closed_forms():
    d, eye = 6, torch.eye(6, dtype=torch.float64)
    assert frechet(gaussian([0.0] * d, eye), gaussian([2.0] + [0.0] * (d - 1), eye)) == pytest.approx(4)
    assert frechet(gaussian([0.0] * d, eye), gaussian([0.0] * d, 9 * eye)) == pytest.approx(d * (3 - 1) ** 2)
    sd = torch.arange(1.0, 7.0, dtype=torch.float64)
    both = frechet(gaussian([0.0] * d, sd.square().diag()), gaussian([1.0] * d, (sd.flip(0) ** 2).diag()))
    assert both == pytest.approx(d + ((sd - sd.flip(0)) ** 2).sum().item())
    # a shift and a scale of the rows themselves, whatever their covariance
    rows = normal(500, d, 0) @ normal(d, d, 1)
    fit = gaussian_fit([rows])
    assert frechet(fit, gaussian_fit([rows + 0.5])) == pytest.approx(0.25 * d)
    expected = fit.covariance.trace().item() + fit.mean.square().sum().item()
    assert frechet(fit, gaussian_fit([2 * rows])) == pytest.approx(expected)
    assert frechet(fit, fit) == pytest.approx(0, abs=1e-9 * expected)


def test_covariances_that_do_not_commute():
    first, second = (normal(40, 5, seed) @ normal(5, 5, seed + 10) for seed in (0, 1))
    a, b = gaussian_fit([first]), gaussian_fit([second])
    assert (root(a.covariance) @ root(a.covariance)).numpy() == pytest.approx(a.covariance.numpy())
    # the trace of a product's root is that of any cyclic order
    trace = np.trace(sqrtm(a.covariance.numpy() @ b.covariance.numpy())).real
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace() - 2 * trace
    assert frechet(a, b) == pytest.approx(expected.item()) == pytest.approx(frechet(b, a))


def test_covariances_of_one_dimension_each():
    a, b = normal(7, 1, 0)[:, 0], normal(7, 1, 1)[:, 0]
    found = frechet(gaussian([0.0] * 7, torch.outer(a, a)), gaussian([0.0] * 7, torch.outer(b, b)))
    assert found == pytest.approx((a @ a + b @ b - 2 * abs(a @ b)).item(), rel=1e-6)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.3, 1.3)])
def test_the_correction_takes_the_bias_and_intervals_cover(mean, sd):
    d, n, repeats = 6, 200, 120
    truth = d * (mean**2 + (sd - 1) ** 2)
    found = []
    for i in range(repeats):
        sets = normal(n, d, 2 * i), normal(n, d, 2 * i + 1, mean, sd)
        jackknife = frechet_jackknife(*([gaussian_fit([part]) for part in rows.chunk(10)] for rows in sets))
        found.append((jackknife.estimate, jackknife.corrected))
    value, corrected = (np.array([pair[i].value for pair in found]) for i in (0, 1))
    error = corrected.std() / repeats**0.5
    assert value.mean() - truth > 10 * error  # the bias is there ...
    assert abs(corrected.mean() - truth) < 4 * error and abs(corrected.mean() - truth) < 0.1 * (
        value.mean() - truth
    )  # ... and goes
    # Binomial(120, 0.95) is below 104 once in 10,000; where the distributions are equal the jackknife is too
    # wide.
    assert sum(e.low <= value.mean() <= e.high for e, _ in found) >= 104
    assert sum(c.low <= truth <= c.high for _, c in found) >= 104
    width = np.mean([c.high - c.low for _, c in found]) / (2 * 2.262)
    assert (
        width == pytest.approx(corrected.std(), rel=0.2)
        if mean
        else corrected.std() < width < 2 * corrected.std()
    )


def test_one_group_has_no_interval():
    fits = [[gaussian_fit([normal(50, 3, seed)])] for seed in (0, 1)]
    found = frechet_jackknife(*fits)
    assert (
        found.estimate.value == frechet(fits[0][0], fits[1][0])
        and found.estimate.low is None
        and found.corrected is None
    )


@pytest.mark.parametrize("groups", [2, 3])
def test_the_jackknife_of_few_groups_by_hand(groups):
    """Efron & Tibshirani 1993, eq. 11.5: (G - 1) / G times the sum of squares about the mean, of each set."""
    sets = ((torch.tensor([3.0, 5.0, 10.0])[:groups]), torch.tensor([1.0, 1.5, 4.0])[:groups])
    half = Jackknife(7.0, sets).half
    variance = sum((groups - 1) / groups * ((values - values.mean()) ** 2).sum() for values in sets)
    assert half == pytest.approx(stats.t.ppf(0.975, groups - 1) * float(variance) ** 0.5)
    gain = Jackknife(7.0, sets) - Jackknife(5.0, tuple(values / 2 for values in sets))
    assert gain.value == 2.0 and gain.half == pytest.approx(half / 2)

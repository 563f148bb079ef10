"""Estimates of intrinsic dimension against the law they rest on, and against cubes of known dimension."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.functional.clouds.dimension import levina_bickel, local_dimension, log_ratios, two_nn
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise


def poisson(d: int, n: int, k: int, name: str = "a") -> torch.Tensor:
    """Distances ``(n, k)`` to the nearest points of a Poisson process in R^d: T_j^d is proportional to the
    j-th arrival of a process on the line."""
    gaps = -Noise(d).uniform(name, (n, k)).double().clamp_min(1e-12).log()
    return gaps.cumsum(1) ** (1 / d)


def cube(d: int, n: int, inside: int) -> torch.Tensor:
    """Distances to the 30 nearest of n uniform points in [0, 1]^d, of those far from its border."""
    x = Noise(d).uniform("cube", (n, d)).double()
    middle = ((x - 0.5).abs().amax(1)).argsort()[:inside]
    return nearest(x[middle], x, 31)[0][:, 1:]


@pytest.mark.parametrize("d", [1, 2, 5])
def test_estimates_have_the_mean_and_spread_of_theory(d):
    distances = poisson(d, 40_000, 12)
    assert log_ratios(distances, 12).mean().item() == pytest.approx(1 / d, rel=0.01)
    for found in (two_nn(distances), levina_bickel(distances, 12)):
        assert found.low < found.value < found.high and found.value == pytest.approx(d, rel=0.02)
    local = local_dimension(distances, 12)
    assert local.mean().item() == pytest.approx(d, rel=0.01)
    assert local.std().item() == pytest.approx(d / math.sqrt(12 - 3), rel=0.05)


def test_intervals_hold_the_dimension_as_often_as_they_say():
    hits = {"two_nn": 0, "levina_bickel": 0}
    for i in range(200):
        distances = poisson(3, 150, 8, str(i))
        for name, found in (("two_nn", two_nn(distances)), ("levina_bickel", levina_bickel(distances, 8))):
            hits[name] += found.low <= 3 <= found.high
    assert all(181 <= number <= 198 for number in hits.values()), hits  # 95 % of 200, within 3 sd


@pytest.mark.parametrize("d", [1, 2, 3, 5])
def test_cubes_have_their_dimension(d):
    distances = cube(d, 6000, 1500 if d < 5 else 400)
    assert two_nn(distances).value == pytest.approx(d, rel=0.1)
    assert levina_bickel(distances, 10).value == pytest.approx(d, rel=0.06)


def test_copies_are_no_dimension():
    copies = torch.zeros(10, 3)
    assert math.isnan(two_nn(copies).value) and math.isnan(levina_bickel(copies, 3).value)
    assert local_dimension(copies, 3).isnan().all()
    beside = torch.cat([torch.tensor([[0.0, 0.0, 1.0]]), poisson(2, 500, 3).float()])
    assert levina_bickel(beside, 3).value == levina_bickel(beside[1:], 3).value
    assert local_dimension(beside, 3)[0] == 0
    assert two_nn(beside).value == two_nn(beside[1:]).value

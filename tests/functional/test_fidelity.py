"""Precision, recall, density and coverage: by their definition, where they are known, and of generators with
known faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentrun.functional.distances.fidelity import fidelity


def normal(n, d, seed, mean=0.0, sd=1.0):
    return mean + sd * torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def two_modes(n, seed, of=(0, 1)):
    """Points around (-10, 0) and (10, 0), as many of each that is named."""
    at = torch.tensor([-10.0, 10.0], dtype=torch.float64)[list(of)].repeat(-(-n // len(of)))[:n]
    rows = normal(n, 2, seed)
    rows[:, 0] += at
    return rows


def by_definition(real, made, k1, k2):
    """The four numbers from whole matrices of distances, radius by sorting."""
    distances = lambda a, b: torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")  # noqa: E731
    radius = lambda rows, k: distances(rows, rows).sort(1).values[:, k]  # noqa: E731 (the first is the row itself)
    cross = distances(real, made)
    precision = (cross <= radius(real, k1)[:, None]).any(0).double().mean()
    recall = (cross <= radius(made, k1)[None]).any(1).double().mean()
    inside = cross <= radius(real, k2)[:, None]
    return [
        v.item()
        for v in (precision, recall, inside.double().sum(0).mean() / k2, inside.any(1).double().mean())
    ]


@pytest.mark.parametrize("cells", [1, 500, 1 << 21])
@pytest.mark.parametrize(("n", "m"), [(60, 60), (80, 30)])
def test_definitions_for_every_chunk_size(n, m, cells, monkeypatch):
    monkeypatch.setattr("latentrun.functional.distances.fidelity.CELLS", cells)
    real, made = normal(n, 3, 0) + 1e4, normal(m, 3, 1, 0.5, 1.2) + 1e4
    found = fidelity(real, made, 3, 5)
    assert [e.value for e in vars(found).values()] == pytest.approx(by_definition(real, made, 3, 5))
    assert all(e.low <= e.value <= e.high for e in vars(found).values())


def test_equal_distributions():
    n, k, found = 100, 5, []
    for seed in range(60):
        found.append(
            [
                e.value
                for e in vars(fidelity(normal(n, 3, 2 * seed), normal(n, 3, 2 * seed + 1), 3, k)).values()
            ]
        )
    precision, recall, density, coverage = np.array(found).T
    # A new row is in the ball around a given one with probability k / n, whatever the distribution; a ball
    # misses all n new rows where its k rows come before them in the order of distance.
    j = np.arange(1, k + 1)
    for values, truth in (
        (density, 1.0),
        (coverage, 1 - np.prod((n - j) / (2 * n - j))),
        (precision - recall, 0.0),
    ):
        assert abs(values.mean() - truth) < 4 * values.std() / 60**0.5
    assert precision.mean() > 0.8


def test_a_missing_mode_takes_from_recall_and_coverage_alone():
    whole, half = (fidelity(two_modes(600, 0), two_modes(600, 1, of), 3, 5) for of in ((0, 1), (0,)))
    assert whole.recall.value > 0.9 and half.recall.value == pytest.approx(whole.recall.value / 2, abs=0.03)
    assert half.coverage.value == pytest.approx(0.5, abs=0.02) and whole.coverage.value > 0.93
    assert half.precision.value == pytest.approx(whole.precision.value, abs=0.04)
    assert half.density.value == pytest.approx(1, abs=0.1)


def test_a_made_up_mode_takes_from_precision_and_density_alone():
    found = fidelity(two_modes(600, 0, (0,)), two_modes(600, 1), 3, 5)
    assert found.precision.value == pytest.approx(0.5, abs=0.04) and found.density.value == pytest.approx(
        0.5, abs=0.07
    )
    assert found.recall.value > 0.9 and found.coverage.value > 0.8


def test_copies_one_point_and_noise():
    real = normal(300, 4, 0)
    copies = fidelity(real, real.clone(), 3, 5)
    assert [e.value for e in (copies.precision, copies.recall, copies.coverage)] == [1, 1, 1]
    # a row's ball holds its copy and those of its 5 neighbours
    assert copies.density.value == pytest.approx(6 / 5)
    point = fidelity(real, real.mean(0).expand(300, -1), 3, 5)
    assert point.recall.value == 0 and point.coverage.value < 0.2
    far = fidelity(real, normal(300, 4, 1, sd=100), 3, 5)
    assert far.precision.value < 0.03 and far.density.value < 0.03


def test_more_neighbours_than_rows():
    found = fidelity(normal(4, 2, 0), normal(4, 2, 1), 9, 9)
    assert all(np.isfinite(e.value) for e in vars(found).values())


def test_one_far_row_does_not_widen_the_balls_of_the_others():
    """An unbounded decoder may explode once: what is apart stays apart."""
    real, made = normal(300, 4, 0), normal(300, 4, 1) + 6
    made[0] = 1e7
    found = fidelity(real, made, 3, 5)
    assert max(e.value for e in (found.precision, found.recall, found.density, found.coverage)) < 0.01

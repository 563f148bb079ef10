"""The kernel distance by its definition, and of distributions whose moments are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.functional.distances.kernel_distance import kid, polynomial_mmd2


def normal(shape, seed, mean=0.0, sd=1.0):
    return mean + sd * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_definition_pair_by_pair():
    x, y = normal((9, 4), 0), normal((9, 4), 1, 0.5)
    kernel = lambda a, b: (float(a @ b) / 4 + 1) ** 3  # noqa: E731
    other = [(i, j) for i in range(9) for j in range(9) if i != j]
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i, j in other) / (9 * 8)
    across = sum(kernel(a, b) for a in x for b in y) / 81
    found = polynomial_mmd2(torch.stack([x, y]), torch.stack([y, x]))
    assert found.tolist() == pytest.approx([within - 2 * across] * 2)


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.4, 1.0), (0.0, 1.5)])
def test_unbiased_in_closed_form_and_the_interval_covers(mean, sd):
    # In one dimension k(a, b) = Σ_j C(3, j) a^j b^j, so MMD² is the weighted squared difference of the first
    # three moments.
    truth = 3 * mean**2 + 3 * (sd**2 + mean**2 - 1) ** 2 + (mean**3 + 3 * mean * sd**2) ** 2
    found = [kid(normal((2000, 1), 2 * i), normal((2000, 1), 2 * i + 1, mean, sd), 10) for i in range(400)]
    values = np.array([e.value for e in found])
    assert abs(values.mean() - truth) < 4 * values.std() / 20
    # 0.95 is meant; Binomial(400, 0.95) is below 362 once in 10,000. MMD² of few rows is skewed: the mean of
    # 10 blocks is, a little.
    assert sum(e.low <= truth <= e.high for e in found) >= 362


def test_rows_left_over_and_one_block():
    x, y = normal((23, 3), 0), normal((23, 3), 1)
    blocks = [polynomial_mmd2(x[i : i + 5], y[i : i + 5]).item() for i in (0, 5, 10, 15)]
    found = kid(x, y, 4)
    assert found.value == pytest.approx(np.mean(blocks))
    expected = stats.t.interval(0.95, 3, np.mean(blocks), stats.sem(blocks))
    assert (found.low, found.high) == pytest.approx(expected)
    one = kid(x, y, 1)
    assert one.value == pytest.approx(polynomial_mmd2(x, y).item()) and one.low is None

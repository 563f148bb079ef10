"""Moments and percentiles against scipy and numpy."""

import numpy as np
import pytest
import torch
from scipy import stats

from latentrun.functional.statistics.moments import central_powers, percentiles, shape_statistics


@pytest.mark.parametrize("draw", ["normal", "exponential", "lognormal"])
def test_shape_equals_scipys_of_data_and_of_resamples(draw):
    rng = np.random.default_rng(0)
    values = 50 + getattr(rng, draw)(size=500)
    powers = central_powers(torch.from_numpy(values))
    rows = rng.integers(0, 500, (6, 500))
    means = torch.stack([powers[torch.from_numpy(r)].mean(0) for r in rows])
    found = shape_statistics(means).numpy()
    for r, (sd, skewness, kurtosis) in zip(rows, found, strict=True):
        assert sd == pytest.approx(values[r].std() / values.std())
        assert (skewness, kurtosis) == pytest.approx(
            (stats.skew(values[r]), stats.kurtosis(values[r])), rel=1e-7
        )


def test_percentiles_are_numpys():
    values = np.random.default_rng(1).exponential(size=(4, 333))
    shares = (0.0, 0.5, 0.95, 0.99, 0.999, 1.0)
    assert percentiles(torch.from_numpy(values), shares).numpy() == pytest.approx(
        np.percentile(values, 100 * np.array(shares), axis=1).T
    )
    assert percentiles(torch.tensor([[3.0]]), (0.2, 1.0)).tolist() == [[3, 3]]

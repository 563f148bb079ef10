"""Measures of dependence against closed forms and scipy."""

import warnings

import numpy as np
import pytest
from scipy import stats

from latentrun.functional.statistics.dependence import (
    mutual_information,
    pearson,
    rank_estimate,
    spearman,
    spread,
    targets,
)
from latentrun.types import Factor

N = 3000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("rho", [-0.9, 0.0, 0.5, 0.95])
def test_gaussian_pair(rng, rho):
    z, e = rng.normal(size=(2, N))
    y = rho * z + np.sqrt(1 - rho**2) * e
    assert pearson(z[:, None], y[:, None])[0, 0] == pytest.approx(rho, abs=4 / np.sqrt(N))
    # Spearman of a Gaussian pair: 6/pi asin(rho/2)
    assert spearman(z[:, None], y[:, None])[0, 0] == pytest.approx(
        6 / np.pi * np.arcsin(rho / 2), abs=4 / np.sqrt(N)
    )
    found = mutual_information(z[:, None], y, "real", 3, 0)[0]
    assert found == pytest.approx(-0.5 * np.log(1 - rho**2), abs=0.06)


def test_correlations_equal_scipys(rng):
    a, b = rng.normal(size=(100, 3)), rng.integers(0, 5, (100, 2))
    expected = np.array([[stats.pearsonr(a[:, i], b[:, j])[0] for j in range(2)] for i in range(3)])
    ranked = np.array([[stats.spearmanr(a[:, i], b[:, j])[0] for j in range(2)] for i in range(3)])
    assert pearson(a, b) == pytest.approx(expected, abs=1e-12)
    assert spearman(a, b) == pytest.approx(ranked, abs=1e-12)


def test_rising_relation_has_rank_correlation_one(rng):
    z = rng.normal(size=(N, 1))
    assert spearman(z, np.exp(3 * z))[0, 0] == pytest.approx(1)
    assert pearson(z, np.exp(3 * z))[0, 0] < 0.6


def test_information_of_classes_is_their_entropy_or_nothing(rng):
    y = rng.integers(0, 4, N)
    z = np.column_stack([y + 0.01 * rng.normal(size=N), rng.normal(size=N)])
    told, silent = mutual_information(z, y.astype(float), "categorical", 3, 0)
    shares = np.bincount(y) / N
    assert told == pytest.approx(stats.entropy(shares), abs=0.01)
    assert silent < 0.03


def test_information_about_an_angle_needs_no_order(rng):
    angle = rng.uniform(0, 2 * np.pi, N)
    z = np.column_stack([np.cos(angle), rng.normal(size=N)])
    told, silent = mutual_information(z, angle, "cyclic", 3, 0)
    assert told > 3 and silent < 0.05


def test_constants_are_nan_or_zero_without_a_warning(rng):
    # 0.37 in float32 is not exactly constant once averaged in float64
    z = np.column_stack([np.full(N, np.float32(0.37)), rng.normal(size=N)])
    y = rng.normal(size=(N, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(pearson(z, y)[0, 0]) and np.isnan(spearman(z, y)[0, 0])
        assert np.isfinite(pearson(z, y)[1, 0])
        assert mutual_information(z, y[:, 0], "real", 3, 0)[0] == 0
        assert (mutual_information(z, np.ones(N), "real", 3, 0) == 0).all()
    assert spread(z)[0] == 0 and spread(z)[1] == pytest.approx(z[:, 1].std())


def test_rank_interval_covers_and_orders(rng):
    truth, hits = 6 / np.pi * np.arcsin(0.35), 0
    for _ in range(200):
        z, e = rng.normal(size=(2, 150))
        rho = stats.spearmanr(z, 0.7 * z + np.sqrt(0.51) * e)[0]
        found = rank_estimate(rho, 150)
        assert found.low < rho < found.high
        hits += found.low <= truth <= found.high
    least, most = stats.binom.ppf([0.001, 0.999], 200, 0.95)
    assert least <= hits <= most
    assert rank_estimate(1.0, 100).low is None and rank_estimate(0.5, 3).low is None


def test_targets_adds_labels_once():
    size = Factor("size", "real", 0, 1)
    y, labels = np.random.default_rng(0).random((5, 1)), np.array([0, 2, 1, 0, 2])
    (_, first), (kind, second) = targets((size,), "digit", y, labels)
    assert (first == y[:, 0]).all() and (second == labels).all()
    assert kind == Factor("digit", "categorical", 0, 2, categories=("0", "1", "2"))
    assert [factor.name for factor, _ in targets((size,), "size", y, labels)] == ["size"]
    assert targets((), None, y[:, :0], None) == []


@pytest.mark.parametrize("rho", [0.0, 0.95])
def test_the_width_of_the_rank_interval_is_that_of_its_estimates(rho):
    """Strong correlations of ranks vary more, in Fisher's z, than those of normal pairs: 1 + rho² / 2."""
    rng, n = np.random.default_rng(0), 20
    x = rng.standard_normal((3000, n))
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal((3000, n))
    found = [spearman(a[:, None], b[:, None]).item() for a, b in zip(x, y, strict=True)]
    estimate = rank_estimate(float(np.mean(found)), n)
    ends = np.arctanh([estimate.low, estimate.high])
    assert np.diff(ends) / 2 == pytest.approx(1.96 * np.arctanh(np.clip(found, -0.999, 0.999)).std(), rel=0.1)

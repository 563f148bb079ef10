"""Two-sample tests between distributions whose distance is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import ndtr
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score

from latentrun.functional.distances.two_sample import _judged, auc, median_distance, mmd2, told_apart
from latentrun.functional.noise import Noise

D = 3


def normal(m, seed, d=D, mean=0.0, sd=1.0):
    x = sd * torch.randn(m, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x[:, 0] += mean
    return x


def between_gaussians(d, mean, sd, width) -> float:
    """MMD² of N(0, I) and N((mean, 0, ...), sd² I): E k = (w² / (w² + a))^(d/2) exp(-|difference of means|² /
    (2 (w² + a))), a the sum of the two variances."""

    def expected(a, distance):
        return (width**2 / (width**2 + a)) ** (d / 2) * np.exp(-(distance**2) / (2 * (width**2 + a)))

    return expected(2, 0) + expected(2 * sd**2, 0) - 2 * expected(1 + sd**2, mean)


def by_definition(x, y, width):
    """Equation 3, and the variance's ingredients, by plain loops over matrices in float64."""
    k = lambda a, b: torch.exp(-torch.cdist(a, b).square() / (2 * width**2))  # noqa: E731
    m, off = len(x), 1 - torch.eye(len(x), dtype=torch.float64)
    return ((k(x, x) + k(y, y)) * off).sum().item() / (m * (m - 1)) - 2 * k(x, y).mean().item()


def test_mmd_is_equation_3_for_every_chunk_size(monkeypatch):
    x, y = normal(37, 0), normal(37, 1, mean=0.5)
    expected = [by_definition(x, y, width) for width in (0.5, 2.0)]
    expected.append(sum(expected) / 2)
    for cells in (1, 1000, 1 << 22):
        monkeypatch.setattr("latentrun.functional.distances.two_sample.CELLS", cells)
        found = mmd2(x, y, [0.5, 2.0], 50, Noise(0))
        assert [e.value for e in found.estimates] == pytest.approx(expected, abs=2e-6)
    # far from the origin, where products of float32 would lose all digits
    assert mmd2(x + 1000, y + 1000, [0.5], 50, Noise(0)).estimates[0].value == pytest.approx(
        expected[0], abs=1e-5
    )


@pytest.mark.parametrize(("mean", "sd"), [(0.5, 1.0), (0.0, 1.5), (1.0, 0.7), (0.0, 1.0)])
def test_mmd_of_two_gaussians_in_closed_form(mean, sd):
    widths = [0.7, 2.0]
    truth = [between_gaussians(D, mean, sd, width) for width in widths]
    found = mmd2(normal(2000, 3), normal(2000, 4, mean=mean, sd=sd), widths, 200, Noise(0))
    for estimate, value in zip(found.estimates, [*truth, sum(truth) / 2], strict=True):
        half = estimate.value - estimate.low
        assert abs(estimate.value - value) < 1.5 * half and 0 < half < 0.02
    assert (found.p < 0.01).all() if (mean, sd) != (0.0, 1.0) else (found.p > 0.01).all()


@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.6, 1.0), (0.0, 1.6)])
def test_mmd_is_unbiased_and_its_interval_covers(mean, sd):
    truth, repeats = between_gaussians(D, mean, sd, 1.5), 300
    found = [
        mmd2(normal(50, 2 * i), normal(50, 2 * i + 1, mean=mean, sd=sd), [1.5], 1, Noise(i)).estimates[0]
        for i in range(repeats)
    ]
    values = np.array([e.value for e in found])
    assert abs(values.mean() - truth) < 4 * values.std() / repeats**0.5
    covered = sum(e.low <= truth <= e.high for e in found)
    assert covered >= 0.9 * repeats  # 0.95 is meant; Binomial(300, 0.95) is below 270 once in 5,000
    widths = np.array([e.high - e.low for e in found]) / (2 * 1.96)
    assert widths.mean() == pytest.approx(values.std(), rel=0.2)


def test_p_is_uniform_where_nothing_differs():
    p = np.array(
        [mmd2(normal(12, 2 * i), normal(12, 2 * i + 1), [1.0, 3.0], 99, Noise(i)).p for i in range(300)]
    )
    for column in p.T:
        # on 0.01, 0.02 ... 1: spread out over the steps it is uniform
        assert kstest(column - np.random.default_rng(0).uniform(0, 0.01, 300), "uniform").pvalue > 0.01
        assert abs((column <= 0.05).sum() - 15) <= 12


def test_equal_sets_have_nothing_between_them():
    x = normal(40, 0)
    found = mmd2(x, x, [1.0], 99, Noise(0))
    # the diagonal of k(x, y), which is 1, makes it negative: the rows are no independent draws
    assert found.estimates[0].value < 0 and found.p[0] == 1
    assert mmd2(normal(3, 0), normal(3, 1), [1.0], 20, Noise(0)).estimates[0].low is None


def test_median_distance():
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])
    assert median_distance(x) == pytest.approx(18**0.5)
    assert median_distance(normal(5000, 0, d=20)) == pytest.approx((2 * 20) ** 0.5, rel=0.03)


@pytest.mark.parametrize("classifier", ["mlp", "knn", "logistic"])
def test_accuracy_of_two_gaussians_is_the_bayes_rate(classifier):
    distance, m = 2.0, 3000
    found = told_apart(normal(m, 0, d=4, mean=distance), normal(m, 1, d=4), [classifier], 4, Noise(0))[
        classifier
    ]
    bayes, area = ndtr(distance / 2), ndtr(distance / 2**0.5)  # 0.841, 0.921
    assert found.accuracy.value == pytest.approx(bayes, abs=0.02) and found.auc.value == pytest.approx(
        area, abs=0.02
    )
    assert found.accuracy.high - found.accuracy.low < 0.03 and found.p < 1e-100
    if classifier == "logistic":
        assert found.accuracy.low < bayes < found.accuracy.high and found.auc.low < area < found.auc.high
    assert len(found.score_x) == len(found.score_y) == m // 2
    hits = (found.score_x > 0.5).sum() + (found.score_y <= 0.5).sum()
    assert found.accuracy.value == hits / m


@pytest.mark.parametrize("classifier", ["mlp", "knn", "logistic"])
def test_nothing_is_told_where_there_is_nothing(classifier):
    every = [
        told_apart(normal(100, 2 * i), normal(100, 2 * i + 1), [classifier], 3, Noise(i))[classifier]
        for i in range(60)
    ]
    accuracy = np.array([v.accuracy.value for v in every])
    assert abs(accuracy.mean() - 0.5) < 4 * 0.05 / 60**0.5  # sd of a share of 100 is 0.05
    assert np.mean([v.auc.value for v in every]) == pytest.approx(0.5, abs=0.03)
    assert sum(v.p < 0.05 for v in every) <= 9  # Binomial(60, 0.05) is above 9 once in 1,000
    assert sum(v.accuracy.low <= 0.5 <= v.accuracy.high for v in every) >= 51
    assert sum(v.auc.low <= 0.5 <= v.auc.high for v in every) >= 51


def test_what_differs_in_variance_is_told_by_what_bends():
    x, y = normal(2000, 0, d=4, sd=2.0), normal(2000, 1, d=4)
    found = told_apart(x, y, ["mlp", "logistic"], 4, Noise(0))
    assert found["mlp"].accuracy.value > 0.8 and found["logistic"].accuracy.value < 0.56


def test_what_lies_off_the_plane_of_the_components_is_seen():
    low = normal(1000, 0, d=2) @ torch.randn(
        2, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    other = normal(1000, 1, d=2) @ torch.randn(
        2, 30, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    found = told_apart(
        low + 0.02 * normal(1000, 2, d=30), other + 0.01 * normal(1000, 3, d=30), ["logistic"], 2, Noise(0)
    )["logistic"]
    assert found.accuracy.value > 0.95


def test_test_labels_do_not_reach_the_features():
    # The held-out rows of one set may be anything: the scores of the other stay as they are.
    x, y = normal(200, 0), normal(200, 1, mean=1.0)
    changed = y.clone()
    changed[100:] = 50 * normal(100, 9)
    first, second = (told_apart(x, rows, ["logistic", "knn", "mlp"], 3, Noise(0)) for rows in (y, changed))
    for name in first:
        assert np.allclose(first[name].score_x, second[name].score_x)


def test_constant_and_equal_rows_are_survived():
    found = told_apart(
        torch.ones(20, 1, 3, 3), torch.ones(20, 1, 3, 3), ["mlp", "knn", "logistic"], 5, Noise(0)
    )
    assert all(v.accuracy.value == 0.5 for v in found.values())


def test_area_is_scikit_learns_with_delongs_interval():
    rng = np.random.default_rng(0)
    above, below = np.round(rng.normal(0.7, 1, 80), 1), np.round(rng.normal(0, 1, 120), 1)  # with ties
    found = auc(above, below)
    assert found.value == pytest.approx(
        roc_auc_score(np.repeat([1, 0], [80, 120]), np.concatenate([above, below]))
    )
    truth = ndtr(0.7 / 2**0.5)
    hits = 0
    for _ in range(300):
        e = auc(rng.normal(0.7, 1, 60), rng.normal(0, 1, 60))
        hits += e.low <= truth <= e.high
    assert hits >= 270
    assert auc(np.array([2.0, 3.0]), np.array([0.0, 1.0])).value == 1


@pytest.mark.parametrize(("n", "m"), [(40, 400), (400, 40)])
def test_the_width_of_delong_for_sets_of_unequal_size(n, m):
    """Its half width is 1.96 sd of the area over samples of these sizes."""
    rng = np.random.default_rng(n)
    found = [auc(rng.normal(0.8, 2, n), rng.normal(0, 1, m)) for _ in range(400)]
    sd = np.std([area.value for area in found])
    halves = [(area.high - area.low) / 2 for area in found]
    assert np.mean(halves) == pytest.approx(1.96 * sd, rel=0.1)


def test_the_p_value_is_that_of_the_binomial_test():
    """Of at least so many hits: 7 of 10 rows are told rightly."""
    verdict = _judged(np.array([0.9, 0.8, 0.7, 0.6, 0.1, 0.2, 0.3, 0.9, 0.4, 0.7]))
    assert verdict.accuracy.value == 0.7
    assert verdict.p == pytest.approx(stats.binomtest(7, 10, 0.5, alternative="greater").pvalue)

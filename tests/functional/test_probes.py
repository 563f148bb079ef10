"""Probes read what was planted, and nothing where nothing was."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.probes import (
    accuracy,
    centred,
    estimates,
    knn_predict,
    linear_predict,
    neighbours,
    outputs,
    r2,
    standardised,
)
from latentrun.types import Factor

N, M = 2000, 800


def one(score, noise, n_boot):
    return estimates([score], noise, n_boot)[0]


@pytest.fixture
def codes():
    z = np.random.default_rng(0).normal(size=(N + M, 3)) * [1, 100, 0.01] + [0, 5, 1]
    return standardised(z[:N], z[N:])


def test_centred_codes_have_the_train_mean_taken_away_and_keep_their_size():
    found = centred(np.array([[1.0, 4.0], [3.0, 4.0]]), np.array([[2.0, 6.0]]))
    assert found.train.tolist() == [[-1.0, 0.0], [1.0, 0.0]] and found.test.tolist() == [[0.0, 2.0]]


def test_standardised_by_train_moments_constants_become_zero():
    rng = np.random.default_rng(1)
    train, test = rng.normal(3, 2, (N, 2)), rng.normal(3, 2, (M, 2))
    train[:, 1], test[:, 1] = 7.3, 9.0
    found = standardised(train.astype(np.float32), test.astype(np.float32))
    assert found.train[:, 0].mean() == pytest.approx(0, abs=1e-6) and found.train[
        :, 0
    ].std() == pytest.approx(1, abs=1e-6)
    assert found.test[:, 0] == pytest.approx((test[:, 0] - train[:, 0].mean()) / train[:, 0].std(), abs=1e-5)
    assert (found.train[:, 1] == 0).all() and (found.test[:, 1] == 0).all()


def test_linear_probe_of_a_linear_factor_is_exact(codes):
    w = np.array([[1.0], [-2.0], [0.5]])
    answer = linear_predict(codes, codes.train @ w + 4)
    assert answer == pytest.approx(codes.test @ w + 4)
    found = one(r2(codes.test @ w + 4, answer), Noise(0), 200)
    assert found.value == pytest.approx(1) and found.low is None  # in every resample


@pytest.mark.parametrize("rho", [0.3, 0.8])
def test_linear_r2_of_a_gaussian_pair_is_rho_squared(rho):
    rng = np.random.default_rng(2)
    z = rng.normal(size=(N + M, 1))
    y = rho * z + np.sqrt(1 - rho**2) * rng.normal(size=z.shape)
    found = one(r2(y[N:], linear_predict(standardised(z[:N], z[N:]), y[:N])), Noise(0), 500)
    assert found.low < rho**2 < found.high
    assert found.high - found.low < 0.15


def test_probes_of_independent_factors_say_nothing(codes):
    y = np.random.default_rng(3).normal(size=(N + M, 1))
    for answer in (linear_predict(codes, y[:N]), knn_predict(neighbours(codes, 10), y[:N])):
        found = one(r2(y[N:], answer), Noise(0), 300)
        assert found.value < 0.01
    # k-NN of noise: E R2 = -1/k
    assert found.low < -0.1 < found.high


def test_r2_is_sklearns_and_constant_truth_has_none():
    rng = np.random.default_rng(4)
    truth, predicted = rng.normal(5, 1, (M, 1)), rng.normal(5, 1, (M, 1))
    assert one(r2(truth, predicted), Noise(0), 50).value == pytest.approx(
        r2_score(truth, predicted), abs=1e-9
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(one(r2(np.full((M, 1), 0.1), predicted), Noise(0), 50).value)


def test_knn_equals_sklearns(codes):
    nearest = neighbours(codes, 10)
    y = codes.train[:, :2] ** 2
    assert knn_predict(nearest, y) == pytest.approx(
        KNeighborsRegressor(10).fit(codes.train, y).predict(codes.test)
    )
    labels = 3 * (codes.train[:, 0] > 0) + 5 * (codes.train[:, 1] > 0.3)
    assert (
        knn_predict(nearest, labels) == KNeighborsClassifier(10).fit(codes.train, labels).predict(codes.test)
    ).all()
    assert neighbours(standardised(codes.train[:4], codes.test), 10).shape == (M, 4)


def test_separable_classes_are_told_apart_and_chance_is_chance(codes):
    def labels(z):
        return (z[:, 0] > 0).astype(int)

    for answer in (
        linear_predict(codes, labels(codes.train)),
        knn_predict(neighbours(codes, 10), labels(codes.train)),
    ):
        assert one(accuracy(labels(codes.test), answer), Noise(0), 200).value > 0.97
    coins = np.random.default_rng(5).integers(0, 2, N + M)
    chance = one(accuracy(coins[N:], knn_predict(neighbours(codes, 10), coins[:N])), Noise(0), 500)
    assert chance.low < 0.5 < chance.high
    assert (linear_predict(codes, np.full(N, 3)) == 3).all()


def test_cyclic_factors_become_cosine_and_sine():
    hour = Factor("hour", "cyclic", 0, 24)
    assert outputs(hour, np.array([0.0, 6.0, 12.0, 24.0])) == pytest.approx(
        np.array([[1, 0], [0, 1], [-1, 0], [1, 0]]), abs=1e-12
    )
    angle = np.random.default_rng(6).uniform(0, 24, N + M)
    circle = outputs(hour, angle)
    codes = standardised(circle[:N], circle[N:])
    assert one(r2(circle[N:], linear_predict(codes, circle[:N])), Noise(0), 50).value == pytest.approx(1)
    assert one(r2(circle[N:], knn_predict(neighbours(codes, 10), circle[:N])), Noise(0), 50).value > 0.999


def test_scores_together_are_the_scores_alone(codes):
    truth = np.random.default_rng(7).normal(size=(M, 1))
    scores = [
        r2(truth, 0.5 * truth),
        r2(np.ones((M, 1)), truth),
        accuracy(truth[:, 0] > 0, truth[:, 0] > 0.2),
    ]
    together = estimates(scores, Noise(0), 100)
    assert np.isnan(together[1].value) and together[1].low is None
    for i in (0, 2):
        alone = one(scores[i], Noise(0), 100)
        assert (together[i].value, together[i].low, together[i].high) == pytest.approx(
            (alone.value, alone.low, alone.high)
        )


def test_r2_of_a_resample_is_about_the_mean_of_the_resample():
    rng = np.random.default_rng(0)
    truth = rng.normal(3.0, 1.0, (40, 2))
    predicted = truth + rng.normal(0.0, 0.5, (40, 2))
    score, rows = r2(truth, predicted), rng.integers(0, 10, 40)
    of_rows = score.statistic(torch.as_tensor(score.columns[rows].mean(0, keepdims=True))).item()
    assert of_rows == pytest.approx(r2_score(truth[rows], predicted[rows], multioutput="variance_weighted"))

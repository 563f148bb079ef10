"""What simple readers can tell about a factor from a code: probes fitted on one set of codes, scored on
another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.functional.statistics.dependence import spread
from latentrun.functional.statistics.intervals import bootstrap_means, share_interval
from latentrun.functional.statistics.methods import EQUAL
from latentrun.types import Estimate, Factor


@dataclass(frozen=True)
class Codes:
    """Train ``(N, d)`` and test ``(M, d)`` codes in common units."""

    train: np.ndarray
    test: np.ndarray


def standardised(train: np.ndarray, test: np.ndarray) -> Codes:
    """(z - mean) / sd with mean and sd over the train rows; columns that are constant there become 0.

    So every latent counts alike for k-NN, whatever its scale: also those that hardly carry anything.
    """
    train, test = np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64)
    sd = spread(train)
    factor = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)
    mean = train.mean(0)
    return Codes((train - mean) * factor, (test - mean) * factor)


def centred(train: np.ndarray, test: np.ndarray) -> Codes:
    """z - mean with the mean over the train rows: points of a curved space, whose coordinates have one unit.

    To stretch them one by one would lay another space before a probe.
    """
    train, test = np.asarray(train, dtype=np.float64), np.asarray(test, dtype=np.float64)
    mean = train.mean(0)
    return Codes(train - mean, test - mean)


def outputs(factor: Factor, y: np.ndarray) -> np.ndarray:
    """What a probe predicts: ``(N, 1)`` the factor itself; for cyclic ones ``(N, 2)`` cosine and sine of
    2 pi (y - low) / (high - low); for categorical ones ``(N,)`` whole class codes."""
    if factor.kind == "categorical":
        return np.rint(y).astype(np.int64)
    if factor.kind == "cyclic":
        angle = 2 * np.pi * (y - factor.low) / (factor.high - factor.low)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.asarray(y, dtype=np.float64)[:, None]


def neighbours(codes: Codes, k: int) -> np.ndarray:
    """Rows of the k train codes nearest to each test code, ``(M, k)``; k is cut at the number of train
    rows."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(k, len(codes.train))).fit(codes.train)
    return search.kneighbors(codes.test, return_distance=False)


def knn_predict(nearest: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean of the neighbours' outputs ``y (N, m)``, or the commonest of their classes ``y (N,)`` (ties: the
    lowest). ``nearest (M, k)`` are row numbers, see :func:`neighbours`.

    >>> knn_predict(np.array([[0, 1], [1, 2]]), np.array([[0.0], [2.0], [4.0]])).ravel()
    array([1., 3.])
    """
    if y.ndim == 2:
        return y[nearest].mean(1)
    classes, codes = np.unique(y, return_inverse=True)
    m, c = len(nearest), len(classes)
    votes = np.bincount((codes[nearest] + c * np.arange(m)[:, None]).ravel(), minlength=m * c).reshape(m, c)
    return classes[votes.argmax(1)]


def linear_predict(codes: Codes, y: np.ndarray) -> np.ndarray:
    """Least squares with intercept for outputs ``(N, m)``; logistic regression (ridge 1, scikit-learn) for
    classes ``(N,)``."""
    if y.ndim == 2:
        mean = y.mean(0)
        weight = np.linalg.lstsq(codes.train, y - mean, rcond=None)[0]
        return codes.test @ weight + mean
    if len(np.unique(y)) == 1:
        return np.full(len(codes.test), y[0])
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000).fit(codes.train, y).predict(codes.test)


@dataclass(frozen=True)
class Score:
    """A score as a function of column means: ``columns (M, K)`` over test rows, ``statistic`` ``(B, K)`` to
    ``(B,)``. ``hits``: it is the mean of one column of 0 and 1."""

    columns: np.ndarray
    statistic: Callable[[Tensor], Tensor]
    hits: bool = False


def r2(truth: np.ndarray, predicted: np.ndarray) -> Score:
    """1 - sum |y - yhat|^2 / sum |y - mean y|^2, sums over the M test rows and the m outputs ``(M, m)``
    together.

    1 exact, 0 no better than the test mean, negative when worse; NaN for a constant truth.
    """
    if not spread(truth).any():
        return Score(np.zeros((len(truth), 1)), lambda means: means[:, 0] * torch.nan)
    centred = truth - truth.mean(0)
    columns = np.column_stack([((truth - predicted) ** 2).sum(1), (centred**2).sum(1), centred])
    return Score(columns, lambda means: 1 - means[:, 0] / (means[:, 1] - means[:, 2:].square().sum(1)))


def accuracy(truth: np.ndarray, predicted: np.ndarray) -> Score:
    """Share of the M test rows whose class is named rightly, in [0, 1]; classes ``(M,)``.

    >>> score = accuracy(np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2]))
    >>> score.statistic(torch.from_numpy(score.columns).mean(0, keepdim=True))
    tensor([0.7500], dtype=torch.float64)
    """
    return Score((truth == predicted)[:, None].astype(float), lambda means: means[:, 0], hits=True)


def macro_f1(truth: np.ndarray, predicted: np.ndarray) -> Score:
    """F1 = 2 TP / (2 TP + FP + FN) of each class over the M test rows, mean over the classes that occur as
    truth or as answer, in [0, 1]. A resample without a class leaves it out."""
    classes = np.union1d(truth, predicted)
    true, named = truth[:, None] == classes, predicted[:, None] == classes
    columns = np.concatenate([true & named, true.astype(float) + named], axis=1)

    def statistic(means: Tensor) -> Tensor:
        hits, occurrences = means.chunk(2, dim=1)
        return (2 * hits / occurrences).nanmean(1)

    return Score(columns, statistic)


def combined(scores: Sequence[Score], over: Callable[[Tensor], Tensor]) -> Score:
    """One number for several scores over the same rows: ``over`` takes their values ``(B, S)`` to
    ``(B,)``."""
    columns = np.concatenate([score.columns for score in scores], axis=1)
    return Score(columns, lambda means: over(torch.stack(_values(scores, means), dim=1)))


def _values(scores: Sequence[Score], means: Tensor) -> list[Tensor]:
    """Every score ``(B,)`` of column means ``(B, K)`` that lie one after the other."""
    parts = means.split([score.columns.shape[1] for score in scores], dim=1)
    return [score.statistic(part) for score, part in zip(scores, parts, strict=True)]


def estimates(scores: Sequence[Score], noise: Noise, n_boot: int) -> list[Estimate]:
    """Scores with 95 % intervals: bootstrap over the test rows, the same resamples for all; Wilson's for
    shares of 0 or 1, which no resample moves. The probes stay as fitted."""
    columns = np.concatenate([score.columns for score in scores], axis=1)
    moved = bootstrap_means(lambda means: torch.stack(_values(scores, means), dim=1), columns, noise, n_boot)
    return [
        share_interval(int(score.columns.sum()), len(columns))
        if score.hits and estimate.method.startswith(EQUAL)
        else estimate
        for score, estimate in zip(scores, moved, strict=True)
    ]

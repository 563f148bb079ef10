"""Do two sets of examples come from one distribution? Maximum mean discrepancy, and classifiers that try to
tell them apart.

Sets are ``x (m, ...)`` and ``y (m, ...)``, independent draws, flattened to rows; distances are Euclidean, in
the data's unit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.special import bdtrc
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import NORMAL_95, share_interval
from latentrun.functional.statistics.methods import DELONG, EXAMPLES, U_STATISTIC
from latentrun.types import Estimate

CELLS = 1 << 22  # numbers of a kernel matrix held at once
Classifier = Literal["mlp", "knn", "logistic"]


def median_distance(x: Tensor) -> float:
    """The median distance between two different rows, of at most 2,000 evenly taken: the usual width of a
    Gaussian kernel.

    Gretton et al. 2012, section 8, of rows that are not compared themselves: so that the width depends on no
    label, and equal data give every model the same kernel.

    >>> median_distance(torch.tensor([[0.0], [1.0], [3.0]]))
    2.0
    """
    rows = x.flatten(1)
    rows = rows[evenly(len(rows), 2000).to(rows.device)]
    return torch.nn.functional.pdist(rows.double() if len(rows) < 200 else rows).median().item()


@dataclass(frozen=True)
class Discrepancy:
    """MMD² for each kernel and, last, for their mean: ``estimates`` with 95 % intervals, ``p (K + 1,)`` that
    a division of the pooled rows at random has one at least as large."""

    estimates: tuple[Estimate, ...]
    p: np.ndarray


def mmd2(x: Tensor, y: Tensor, widths: Sequence[float], permutations: int, noise: Noise) -> Discrepancy:
    """Squared maximum mean discrepancy of sets of equal size m >= 2, k(a, b) = exp(-|a - b|² / (2 width²)).

    MMD²_u = 1/(m (m-1)) Σ_{i≠j} [k(x_i, x_j) + k(y_i, y_j)] - 2/m² Σ_ij k(x_i, y_j): a U-statistic, unbiased,
    0 on average and so at times negative where the distributions are equal; at most 2. Gretton et al. 2012
    (JMLR 13), eq. 3. The mean of kernels is a kernel too.

    p = (1 + number of ``permutations`` with at least the observed value) / (1 + ``permutations``): exact
    where the widths do not depend on which rows are x. Interval: value +- 1.96 sd; variance of the one-sample
    U-statistic of pairs (x_i, y_i) (their eq. 4, which differs by O(1/m²)), 4 (m-2)/(m (m-1)) ζ₁ + 2/(m
    (m-1)) ζ₂, with unbiased ζ (Hoeffding 1948; Sutherland et al. 2017, arXiv 1611.04488); the second term
    keeps it right where the distributions are equal and ζ₁ = 0.

    Kernel matrices exist a chunk of rows at a time; sums of their centred entries in float32, totals in
    float64.

    >>> x, far = torch.zeros(4, 1), torch.full((4, 1), 100.0)  # k = 1 within, 0 between the sets
    >>> mmd2(x, far, [1.0], 9, Noise(0)).estimates[0].value
    2.0
    """
    m = len(x)
    rank = noise.to("cpu").uniform("permutations", (permutations, 2 * m)).argsort(1)
    signs = torch.cat([torch.ones(m), -torch.ones(m)])
    signs = torch.cat([signs[:, None], signs[rank].T], 1)
    sums = _kernel_sums(x, y, widths, signs)
    quadratic = torch.cat([sums.signed, sums.signed.mean(0, keepdim=True)])
    # Of the ordered pairs of different rows the sum is XX + YY + 2 XY, and with signs XX + YY - 2 XY.
    within, between = (sums.total[:, None] + quadratic) / 2, (sums.total[:, None] - quadratic) / 2
    # Entries are k - 1/2: the diagonal blocks lack it m (m-1) times each, the others m² times each, which
    # cancels.
    values = within / (m * (m - 1)) - between / m**2
    half = NORMAL_95 * _u_statistic_sd(sums.rows, sums.squares, m)
    p = (1 + (values[:, 1:] >= values[:, :1]).sum(1).double()) / (1 + permutations)
    ends = zip(values[:, 0].tolist(), half.tolist(), strict=True)
    return Discrepancy(tuple(_around(value, half) for value, half in ends), p.numpy())


def _around(value: float, half: float) -> Estimate:
    if not half > 0:
        return Estimate(value, method="none: too few examples, or none differ")
    return Estimate(value, value - half, value + half, f"{U_STATISTIC} over {EXAMPLES}")


@dataclass(frozen=True)
class _KernelSums:
    """Sums over centred kernel entries k - 1/2 of the 2 m pooled rows, no row with itself, float64, for K
    kernels and their mean.

    ``total (K + 1,)`` over all ordered pairs; ``signed (K, P)`` with the signs of P divisions (the mean's
    follows from the others'); ``rows (K + 1, m)`` and ``squares (K + 1,)``: of h(i, j) = k(x_i, x_j) + k(y_i,
    y_j) - k(x_i, y_j) - k(y_i, x_j), i ≠ j, the sums over j, and of the squares over all pairs."""

    total: Tensor
    signed: Tensor
    rows: Tensor
    squares: Tensor


def _kernel_sums(x: Tensor, y: Tensor, widths: Sequence[float], signs: Tensor) -> _KernelSums:
    """What an MMD needs of its kernel matrices, of which a chunk of rows is held at a time; ``signs (2 m,
    P)``: 1 for rows of x and -1 for rows of y, in P divisions."""
    pooled = torch.cat([x.flatten(1), y.flatten(1)])
    pooled = (pooled - pooled.mean(0)).float()
    signs, squares, m = signs.to(pooled), pooled.square().sum(1), len(x)
    weights = torch.tensor([-0.5 / width**2 for width in widths]).to(pooled)
    count = len(weights)
    total, rows, h_squares = (torch.zeros(count + 1, *s, dtype=torch.float64) for s in ((), (m,), ()))
    signed = torch.zeros(count, signs.shape[1], dtype=torch.float64)
    for part in torch.arange(m, device=pooled.device).split(max(1, CELLS // (4 * m))):
        # Rows i and m + i together: h of pairs needs k(x_i, .) and k(y_i, .).
        at, here = torch.cat([part, part + m]), torch.arange(2 * len(part), device=part.device)
        distance = torch.addmm(squares, pooled[at], pooled.T, alpha=-2).add_(squares[at, None]).clamp_(min=0)
        mean = torch.zeros_like(distance)
        for i in range(count + 1):
            kernel = (distance * weights[i]).exp_().sub_(0.5) if i < count else mean.div_(count)
            kernel[here, at] = 0.0  # no row is compared with itself
            if i < count:
                mean += kernel
                signed[i] += torch.einsum("rp,rp->p", signs[at], kernel @ signs).double().cpu()
            total[i] += kernel.double().sum().cpu()
            xx, xy, yx, yy = (block for half in kernel.chunk(2) for block in half.chunk(2, 1))
            h = xx + yy - xy - yx
            h[here[: len(part)], part] = 0.0
            rows[i, part.cpu()] = h.double().sum(1).cpu()
            h_squares[i] += h.double().square().sum().cpu()
    return _KernelSums(total, signed, rows, h_squares)


def _u_statistic_sd(row_sums: Tensor, squares: Tensor, m: int) -> Tensor:
    """Standard deviation of the mean of h(i, j) over ordered pairs i != j, from sums over j ``row_sums (...,
    m)`` and the sum of all squares ``squares (...)``; NaN for m < 4, for which it cannot be estimated without
    bias."""
    if m < 4:
        return torch.full_like(squares, math.nan)
    rows, triples = row_sums.square().sum(-1), m * (m - 1) * (m - 2)
    # Products of two pairs that share no row, one row, both rows: all without bias.
    none = (row_sums.sum(-1).square() - 4 * rows + 2 * squares) / (triples * (m - 3))
    one = ((rows - squares) / triples - none).clamp_min(0)
    both = (squares / (m * (m - 1)) - none).clamp_min(0)
    return (4 * (m - 2) / (m * (m - 1)) * one + 2 / (m * (m - 1)) * both).sqrt()


@dataclass(frozen=True)
class Verdict:
    """How well a classifier tells rows it has not seen: ``accuracy`` and ``auc`` with 95 % intervals, ``p``
    that guessing is as often right; ``score_x``, ``score_y (h,)`` the probabilities it gives the held-out
    rows, the last h of each set, of being of x."""

    accuracy: Estimate
    auc: Estimate
    p: float
    score_x: np.ndarray
    score_y: np.ndarray


def told_apart(
    x: Tensor, y: Tensor, classifiers: Sequence[Classifier], components: int, noise: Noise
) -> dict[Classifier, Verdict]:
    """Classifier two-sample test of sets of equal size m >= 4 in random order: fitted to the first m // 2
    rows of each, judged by the others. Lopez-Paz & Oquab 2017, arXiv 1610.06545.

    Features are fitted to the first halves, without labels: the ``components`` principal components, each
    divided by its sd, and the log of the distance to the plane they span. ``knn``: odd number of neighbours
    near sqrt(training rows), as there; ``logistic``: ridge 1; ``mlp``: two layers of 64 rectified units, Adam
    (all scikit-learn's).

    0.5 where the distributions are equal, whatever the classifier; at most the Bayes rate 1/2 + TV / 2 (total
    variation). The held-out rows are independent draws given the classifier: p is binomial and one-sided,
    Wilson's interval for the accuracy; both a little wide, as the sets are equally large. AUC: probability
    that a row of x has the higher score than one of y; interval: DeLong, DeLong & Clarke-Pearson 1988.
    """
    half = len(x) // 2
    rows = torch.cat([x[:half], y[:half], x[half:], y[half:]]).flatten(1).float().cpu().numpy()
    seed = int(noise.to("cpu").integers("classifiers", 2**31 - 1, (1,)))
    train, held = _features(rows, 2 * half, components, seed)
    truth = np.repeat([1, 0], half)
    return {name: _judged(_scores(name, train, truth, held, seed)) for name in classifiers}


def _judged(score: np.ndarray) -> Verdict:
    """What scores of held-out rows say, those of x first, then as many of y."""
    score_x, score_y = np.split(score, 2)
    hits, n = int((score_x > 0.5).sum() + (score_y <= 0.5).sum()), len(score)
    p = float(bdtrc(hits - 1, n, 0.5)) if hits else 1.0
    return Verdict(share_interval(hits, n), auc(score_x, score_y), p, score_x, score_y)


def _features(rows: np.ndarray, n: int, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of the first n ``rows (N, D)``, to which they are fitted, and of the rest."""
    from sklearn.decomposition import PCA

    k = min(components, n - 1, rows.shape[1])
    pca = PCA(k, svd_solver="randomized" if k < 0.5 * min(n, rows.shape[1]) else "full", random_state=seed)
    # Equal rows have no variance of which a component explains a share.
    with np.errstate(invalid="ignore", divide="ignore"):
        pca.fit(rows[:n])
    codes = pca.transform(rows)
    off = np.sqrt(((rows - pca.inverse_transform(codes)) ** 2).sum(1))
    size = np.sqrt(((rows[:n] - pca.mean_) ** 2).sum(1).mean())
    # Beside rounding there may be nothing off the plane: its logarithm would be noise.
    features = np.column_stack([codes, np.log(np.maximum(off, max(1e-4 * size, 1e-30)))])
    sd = features[:n].std(0)
    features = (features - features[:n].mean(0)) / np.where(sd > 1e-6 * max(size, 1e-30), sd, 1.0)
    return features[:n], features[n:]


def _scores(
    name: Classifier, train: np.ndarray, truth: np.ndarray, held: np.ndarray, seed: int
) -> np.ndarray:
    """Probability of class 1 for each held-out row."""
    if name == "knn":
        from sklearn.neighbors import KNeighborsClassifier

        k = int(math.sqrt(len(train)))
        model = KNeighborsClassifier(max(1, k - 1 + k % 2))
    elif name == "logistic":
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=1000)
    else:
        from sklearn.neural_network import MLPClassifier

        model = MLPClassifier((64, 64), alpha=1e-2, learning_rate_init=3e-3, max_iter=60, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning)  # that training ends by the clock is meant
        return model.fit(train, truth).predict_proba(held)[:, 1]


def auc(above: np.ndarray, below: np.ndarray) -> Estimate:
    """Probability that a score of ``above (n,)`` exceeds one of ``below (m,)``, ties half; 95 % interval of
    DeLong et al. (1988), cut to [0, 1].

    Where one set lies wholly above the other DeLong's has no width. Then it is Wilson's for min(n, m) of as
    many independent pairs in that order.

    >>> auc(np.array([1.0, 3.0]), np.array([0.0, 2.0])).value  # three of four pairs
    0.75
    """

    def share(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
        others = np.sort(others)
        ranks = np.searchsorted(others, scores, "left") + np.searchsorted(others, scores, "right")
        return ranks / (2 * len(others))

    up, down = share(above, below), 1 - share(below, above)
    value = float(up.mean())
    if min(len(up), len(down)) < 2:
        return Estimate(value, method="none: too few examples")
    if value in (0.0, 1.0):
        pairs = min(len(up), len(down))
        return share_interval(round(value * pairs), pairs, "pairs of examples")
    half = NORMAL_95 * math.sqrt(up.var(ddof=1) / len(up) + down.var(ddof=1) / len(down))
    if half == 0:  # all scores are equal
        return Estimate(value, method="none: equal scores of all examples")
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), f"{DELONG} over {EXAMPLES}")

"""How strongly columns hang together: linear and rank correlation, mutual information.

Columns are codes ``(N, d)`` and factors ``(N,)``; numpy arrays, float64 inside. A number that has no meaning
is NaN: correlations with a constant, with categories (no order) and with angles (no ends).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentrun.functional.statistics.methods import EXAMPLES, FISHER
from latentrun.types import Estimate, Factor

# a column whose sd is below this share of its largest absolute value is constant up to float32 rounding
FLAT = 1e-6


def targets(factors: Sequence[Factor], label: str | None, y, labels) -> list[tuple[Factor, np.ndarray]]:
    """What can be known about each row: the factors with their columns ``(N,)`` of ``y (N, F)``, then the
    labels as a categorical factor called ``label``, unless a factor of that name is there already."""
    columns = [(factor, np.asarray(y[:, i], dtype=np.float64)) for i, factor in enumerate(factors)]
    if labels is not None and label not in {factor.name for factor in factors}:
        codes = np.asarray(labels, dtype=np.float64)
        top = int(codes.max(initial=0))
        categories = tuple(map(str, range(top + 1)))
        columns.append((Factor(label or "label", "categorical", 0.0, float(top), "", categories), codes))
    return columns


def spread(a: np.ndarray) -> np.ndarray:
    """Standard deviation over rows (divisor N) of ``a (N, p)``, in its unit: ``(p,)``; exactly 0 for columns
    constant up to rounding.

    >>> spread(np.array([[1.0, 3.0], [1.0, 5.0]]))
    array([0., 1.])
    """
    a = np.asarray(a, dtype=np.float64)
    sd = a.std(0)
    return np.where(sd > FLAT * np.abs(a).max(0), sd, 0.0)


def pearson(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Linear correlation of each column of ``a (N, p)`` with each of ``b (N, q)``: ``(p, q)`` in [-1, 1], NaN
    for constants.

    >>> pearson(np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]]), np.array([[4.0], [2.0], [0.0]]))
    array([[-1.],
           [nan]])
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    scale = np.outer(spread(a), spread(b))
    covariance = (a - a.mean(0)).T @ (b - b.mean(0)) / len(a)
    return np.divide(covariance, scale, out=np.full(scale.shape, np.nan), where=scale > 0).clip(-1, 1)


def spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rank correlation, ties sharing their mean rank: ``(p, q)`` in [-1, 1], NaN for constants; 1 for any
    rising relation.

    >>> spearman(np.array([[0.0], [1.0], [2.0]]), np.array([[0.0], [1.0], [100.0]]))
    array([[1.]])
    """
    from scipy.stats import rankdata

    flat = np.where(np.outer(spread(a), spread(b)) > 0, 1.0, np.nan)
    return flat * pearson(rankdata(a, axis=0), rankdata(b, axis=0))


def rank_estimate(rho: float, n: int) -> Estimate:
    """A Spearman correlation of n pairs with its 95 % interval: Fisher's z with variance (1 + rho^2 / 2) / (n
    - 3).

    Bonett & Wright (2000), Psychometrika 65, eq. 3. No interval for fewer than four pairs, and none at +-1,
    where all pairs are in one order: z has no value there.
    """
    if n < 4 or not np.isfinite(rho):
        return Estimate(rho, method="none: not finite" if n >= 4 else f"none: {n} examples are too few")
    if abs(rho) > 1 - 1e-13:  # one pair out of order among 50,000 is nearer to 0 than that
        return Estimate(rho, method="none: all examples are in one order")
    z, half = np.arctanh(rho), 1.959963984540054 * np.sqrt((1 + rho**2 / 2) / (n - 3))
    return Estimate(rho, float(np.tanh(z - half)), float(np.tanh(z + half)), f"{FISHER} over {EXAMPLES}")


def mutual_information(z: np.ndarray, y: np.ndarray, kind: str, neighbours: int, seed: int) -> np.ndarray:
    """I(z_i; y) in nats of each column of ``z (N, d)`` with one factor ``y (N,)``: ``(d,)``, at least 0.

    Nearest-neighbour estimates of scikit-learn: Kraskov, Stoegbauer & Grassberger (2004), eq. 8, for ``real``
    and ``cyclic`` factors (cutting the circle open does not change the information); Ross (2014) for
    ``categorical`` and ``ordinal`` ones, whose information is at most the entropy of y. 0 with a constant, 0
    where the estimate is negative. An exact relation reads finite, below ln N; ``seed`` fixes the 1e-10
    jitter that breaks ties.
    """
    from sklearn.feature_selection import mutual_info_classif, mutual_info_regression

    information = np.zeros(z.shape[1])
    moves = spread(z) > 0
    if len(z) <= neighbours + 1 or spread(y[:, None])[0] == 0 or not moves.any():
        return information
    estimate, y = mutual_info_regression, np.asarray(y, dtype=np.float64)
    if kind in ("categorical", "ordinal"):
        estimate, y = mutual_info_classif, np.unique(y, return_inverse=True)[1]
    columns = np.asarray(z[:, moves], dtype=np.float64)
    information[moves] = estimate(columns, y, n_neighbors=neighbours, random_state=seed)
    return information

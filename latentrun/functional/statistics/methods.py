"""How 95 % intervals are made: the words for it, and how often they cover. Needs no torch, for tables too.

The ``method`` of an estimate is a kind, " over ", and what was repeated: "bootstrap over examples"; where
there is no interval, "none: " and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

TAIL = 0.025  # of a 95 % interval, on each side
FLAT = 1e-12  # a spread below this share of the values is rounding
EXAMPLES, SEEDS = "examples", "seeds"
CORRECTED_T, STUDENT, DELTA = "t corrected for skewness", "t", "delta method corrected for skewness"
WILSON, EXACT, ORDER = "Wilson", "Clopper-Pearson", "order statistics"
BOOTSTRAP, JACKKNIFE, FISHER = "bootstrap", "jackknife", "Fisher's z"
PAIRED, WELCH = "paired t", "Welch t"
TREND = "t corrected for autocorrelation"
GAMMA = "gamma law"
DELONG, U_STATISTIC = "DeLong", "variance of a U-statistic"
EQUAL = "none: equal"  # begins the method of what did not vary at all


def exact_ends(hits: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the exact interval of a share, hits of n >= 1 (Clopper & Pearson 1934), in [0, 1]; it
    covers at least 95 % whatever the share and however small n is.

    >>> exact_ends(np.array([5]), np.array([5]))  # low: 0.025 ** (1 / 5)
    (array([0.478...]), array([1.]))
    """
    hits, n = np.asarray(hits, float), np.asarray(n, float)
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), n - hits + 1, TAIL), 0.0)
    high = np.where(hits < n, betaincinv(hits + 1, np.maximum(n - hits, 1), 1 - TAIL), 1.0)
    return low, high


def welch_freedom(v, w, n, m):
    """Degrees of freedom of the difference of two means of n and m values, whose squared standard errors are
    v and w: (v + w)² / (v² / (n - 1) + w² / (m - 1)) (Welch 1947, Biometrika 34, 28). Of numbers or arrays.

    >>> welch_freedom(1.0, 1.0, 5, 5)
    8.0
    """
    return (v + w) ** 2 / (v**2 / (n - 1) + w**2 / (m - 1))


@dataclass(frozen=True)
class Shortfall:
    """Where a kind of interval covers less than 93 %: the ``least`` of what ``scripts/bench/coverage`` finds,
    by the distribution of the values, and what a report ``says`` of it. Of values of a distribution that is
    not named it covers."""

    least: Mapping[str, float]
    says: str


# By kind; heavy tails are lognormal values, sd 1 of the logarithm.
SHORT = {
    CORRECTED_T: Shortfall(
        {"lognormal": 0.90}, "Of heavy-tailed values it covers 91 % with 20 of them, 95 % from 200 on."
    ),
    DELTA: Shortfall(
        {"lognormal": 0.87},
        "Of a ratio of heavy-tailed means it covers 90 % with 200 examples, 93 % with 2,375.",
    ),
    BOOTSTRAP: Shortfall(
        {"lognormal": 0.71},
        "It covers 93 to 97 % for values without heavy tails; with these 89 to 92 % for ratios of means and "
        "R², and for variances 73 % with 200 examples, 88 % with 2,375.",
    ),
    STUDENT: Shortfall(
        {"lognormal": 0.78, "equal normal": 0.87, "equal lognormal": 0.87},
        "It covers 95 % for values that are normal over repetitions, for heavy-tailed ones 81 % with five of "
        "them, 86 % with ten; for a kernel distance where the distributions are equal 88 %.",
    ),
    TREND: Shortfall(
        {"AR(1) 0.5": 0.91, "AR(1) 0.8": 0.86},
        "It covers 92 % where neighbouring values are correlated with 0.5, with 0.8 88 % of 8 or 15 values.",
    ),
    GAMMA: Shortfall(
        {"circle": 0.86, "torus": 0.86},
        "Of a dimension by two neighbours it covers 87 %: points that are near each other count twice.",
    ),
}


def shortfalls(methods: Iterable[str]) -> list[str]:
    """What a report has to say of these intervals, one sentence a kind.

    >>> shortfalls(["Wilson over examples", "delta method corrected for skewness over examples"])
    ['delta method corrected for skewness: Of a ratio of heavy-tailed means it covers 90 % with...']
    """
    kinds = dict.fromkeys(method.partition(" over ")[0] for method in methods)
    return [f"{kind}: {SHORT[kind].says}" for kind in kinds if kind in SHORT]

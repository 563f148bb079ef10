"""How well a clustering follows classes."""

from __future__ import annotations

import numpy as np


def contingency(classes: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """How many of N rows ``(C, K)`` are of each class 0 ... C - 1 and in each cluster 0 ... K - 1."""
    table = np.zeros((classes.max(initial=-1) + 1, clusters.max(initial=-1) + 1), np.int64)
    np.add.at(table, (classes, clusters), 1)
    return table


def f_scores(table: np.ndarray) -> np.ndarray:
    """F1 = 2 n_ck / (n_c + n_k) ``(C, K)`` of a cluster k as an answer to a class c."""
    occurrences = table.sum(1, keepdims=True) + table.sum(0, keepdims=True)
    return np.divide(2 * table, occurrences, out=np.zeros(table.shape), where=occurrences > 0)


def matched(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and clusters ``(min(C, K),)`` paired one to one so that the sum of n_c F1(c, k) is greatest."""
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(f_scores(table) * table.sum(1, keepdims=True), maximize=True)


def f_measure(table: np.ndarray) -> float:
    """sum_c (n_c / N) F1(c, k(c)) in [0, 1], each class with a cluster of its own, those paired so that the
    sum is greatest; a class left without one counts 0. 1: every class is a cluster.

    As Larsen & Aone (1999), KDD, 16, but for the pairing: theirs lets several classes take one cluster.

    >>> f_measure(np.array([[0, 5], [5, 0]])), f_measure(np.array([[5, 0], [5, 0]]))
    (1.0, 0.333...)
    """
    rows, columns = matched(table)
    return float((f_scores(table) * table.sum(1, keepdims=True))[rows, columns].sum() / table.sum())


def pair_f(table: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) in [0, 1] over all pairs of rows: of the same class, in the same cluster
    (Manning et al. 2008, Introduction to Information Retrieval, 16.3); NaN where there is no such pair.

    >>> pair_f(np.array([[2, 0], [0, 2]]))
    1.0
    """

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1) / 2).sum())

    both = pairs(table.sum(1)) + pairs(table.sum(0))
    return 2 * pairs(table) / both if both else float("nan")

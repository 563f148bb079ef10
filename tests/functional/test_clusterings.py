"""Clusterings held against classes."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score
from sklearn.metrics.cluster import pair_confusion_matrix

from latentrun.functional.statistics.clusterings import contingency, f_measure, matched, pair_f


def test_pairs_are_those_of_scikit_learn_and_a_right_clustering_is_one():
    rng = np.random.default_rng(0)
    classes, clusters = rng.integers(3, size=60), rng.integers(4, size=60)
    (_, fp), (fn, tp) = pair_confusion_matrix(classes, clusters)
    assert pair_f(contingency(classes, clusters)) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    renamed = contingency(classes, (classes + 1) % 3)
    assert f_measure(renamed) == pair_f(renamed) == 1


def test_classes_have_clusters_of_their_own_and_the_best_pairing():
    rng = np.random.default_rng(1)
    classes = rng.integers(3, size=90)
    clusters = np.where(rng.random(90) < 0.7, (classes + 2) % 3, rng.integers(3, size=90))
    table = contingency(classes, clusters)
    answers = np.empty(3, int)
    rows, columns = matched(table)
    answers[columns] = rows
    expected = f1_score(classes, answers[clusters], average="weighted")
    assert f_measure(table) == pytest.approx(expected)
    one = contingency(classes, np.zeros(90, int))
    sizes = np.bincount(classes) / 90
    assert f_measure(one) == pytest.approx((sizes * 2 * sizes / (1 + sizes)).max())  # one class alone


def test_large_classes_are_paired_first():
    """The small class would have the cluster of the large one, were all classes worth the same."""
    assert f_measure(np.array([[55, 45], [10, 0]])) == pytest.approx(100 / 110 * 2 * 55 / (100 + 65))

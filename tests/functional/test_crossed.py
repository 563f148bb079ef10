"""Differences over seeds and over examples, planted by their variances."""

import numpy as np
import pytest
from scipy import stats

from latentrun.functional.statistics.crossed import over_seeds_and_examples
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.statistics.ranking import pairwise

SEEDS = np.array([-1.0, 0.0, 1.0])
EXAMPLES = np.array([-2.0, 0.0, 2.0, 0.0])


def found(seeds=SEEDS, examples=EXAMPLES):
    return over_seeds_and_examples(pairwise(np.stack([seeds, np.zeros(len(seeds))])), 0, 1, examples)


def test_squared_errors_add_up_with_satterthwaites_degrees_of_freedom():
    e = found(SEEDS + 3, EXAMPLES + 3)
    of_seeds, of_examples = 1 / 3, (8 / 3) / 4  # variances of the means
    freedom = (of_seeds + of_examples) ** 2 / (of_seeds**2 / 2 + of_examples**2 / 3)
    half = stats.t(freedom).ppf(0.975) * np.sqrt(of_seeds + of_examples)
    assert (e.value, e.low, e.high) == pytest.approx((3, 3 - half, 3 + half))
    assert e.method == "paired t over seeds and examples"


def test_it_is_wider_than_either_and_nears_one_where_the_other_is_small():
    many = np.tile(EXAMPLES, 100)
    seeds = found(examples=None)
    assert found(0.05 * SEEDS, many).high > max(found(0.05 * SEEDS, None).high, mean_interval(many).high)
    assert found(examples=1e-6 * EXAMPLES).high == pytest.approx(seeds.high, rel=1e-6)
    assert found(1e-6 * SEEDS, many).high == pytest.approx(mean_interval(many).high, rel=1e-6)


def test_one_alone_says_so():
    assert found(examples=None).method == "paired t over seeds"
    assert found(examples=np.zeros(4)).method == "paired t over seeds"  # no spread was seen
    alone = found(SEEDS[:1])
    assert alone == mean_interval(EXAMPLES) and alone.method.endswith("over examples")
    neither = found(SEEDS[:1], None)
    assert neither.low is None and neither.method == "none: one common seed"


def test_it_covers_where_both_errors_are_alike():
    """The hull of the two intervals holds the truth in 90 % of the cases."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(1000):
        examples, seeds = rng.normal(0, 1, 400), rng.normal(0, np.sqrt(5 / 400), 5)
        e = found(seeds + examples.mean(), examples + seeds.mean())
        held += e.low <= 0 <= e.high
    assert held > 930

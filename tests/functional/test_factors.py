"""Factors that go to disk and come back, and differences of factors."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd

from latentrun.functional.factors import factor_table, read_factors, with_difference
from latentrun.types import Factor

FACTORS = [
    Factor("variance_x", "real", 0.1, 4.9, "px"),
    Factor("variance_y", "ordinal", 0.5, 2.0),
    Factor('k|d, "q"', "categorical", 0, 1, categories=("a,b", "")),
    Factor("angle", "cyclic", 0, 360),
]
PAIR = ("variance_x", "variance_y")


def test_factors_come_back_from_disk():
    text = factor_table(FACTORS).to_csv(index=False)
    assert read_factors(pd.read_csv(io.StringIO(text))) == FACTORS == read_factors(factor_table(FACTORS))


def test_the_difference_is_one_more_factor_with_a_range_about_zero():
    x, y = np.array([0.1, 4.9]), np.array([2.0, 0.5])
    found = with_difference([(FACTORS[0], x), (FACTORS[1], y)], PAIR)
    assert len(found) == 3
    factor, values = found[2]
    assert np.allclose(values, [-1.9, 4.4])
    assert factor == Factor(
        "variance_x - variance_y", "real", -4.4, 4.4, "px"
    )  # the greatest difference that there can be
    assert with_difference([(FACTORS[0], x)], PAIR) == [(FACTORS[0], x)]
    assert (
        len(with_difference([(FACTORS[0], x), (FACTORS[2], y)], ("variance_x", FACTORS[2].name))) == 2
    )  # classes have no difference
    assert len(with_difference([(FACTORS[0], x), (FACTORS[1], y)], ("variance_x", "angle"))) == 2

"""Kinds, codes and encoded rows of planted columns."""

import numpy as np
import pandas as pd
import pytest
import torch

from latentrun.data.formats.columns import codes, courses, decode, encode, in_order, inferred, levels, placed
from latentrun.types import Column


def column(*texts):
    return pd.Series(list(texts), dtype=object)


@pytest.mark.parametrize(
    "texts, kind",
    [
        (("1", "2", "2", "7"), "ordinal"),
        (("1", "2.0", None), "ordinal"),
        (("1", "2.5", "3"), "real"),
        (tuple(map(str, range(13))), "real"),
        (tuple(map(str, range(12))), "ordinal"),
        (("1", "2", "many"), "categorical"),
        (("1", "inf"), "real"),
    ],
)
def test_kinds(texts, kind):
    assert inferred(column(*texts), max_levels=12) == kind


def test_orders():
    assert in_order(column("b", "10", None, "9")) == ("10", "9", "b")
    assert in_order(column("10", "9", "10")) == ("9", "10")
    assert levels(column("10.0", "9", "2.5", "10", None)) == ("2.5", "9", "10")


def test_codes_are_places_and_numbers():
    texts = column("2.0", "10", None, "3")
    assert codes(texts, Column("c", "ordinal", 0, categories=("2", "10"))).tolist() == pytest.approx(
        [0, 1, np.nan, np.nan], nan_ok=True
    )
    assert codes(texts, Column("c", "categorical", 0, categories=("10", "2"))).tolist() == pytest.approx(
        [np.nan, 0, np.nan, np.nan], nan_ok=True
    )
    assert codes(texts, Column("c", "real", 0)).tolist() == pytest.approx([2, 10, np.nan, 3], nan_ok=True)


COLUMNS = (
    Column("r", "real", 0),
    Column("c", "categorical", 0, categories=("a", "b", "c")),
    Column("o", "ordinal", 0, categories=("low", "middle", "high")),
    Column("flat", "real", 0),
)


def test_encoding_is_as_documented_and_comes_back():
    code = np.array([[1e6, 2, 0, 5], [3e6, 0, 2, 5], [5e6, 1, 2, 5]])
    found = placed(COLUMNS, code[:2])
    assert [c.start for c in found] == [0, 1, 4, 5] and [c.width for c in found] == [1, 3, 1, 1]
    assert (found[0].mean, found[0].scale) == (2e6, 1e6) and (found[2].mean, found[2].scale) == (1.0, 1.0)
    assert (found[3].mean, found[3].scale) == (5.0, 1.0)  # does not vary in the training rows
    x = encode(code, found)
    assert x.tolist() == [[-1, 0, 0, 1, -1, 0], [1, 1, 0, 0, 1, 0], [3, 0, 1, 0, 1, 0]]
    assert np.array_equal(decode(x, found), code)
    blurred = x + 0.3 * torch.tensor([0, 1, -1, 1, 1, 0])
    assert np.array_equal(decode(blurred, found)[:, 1:], code[:, 1:])
    assert decode(torch.full((1, 6), 99.0), found)[0, 2] == 2  # levels end


def test_courses_name_what_moves():
    found = placed(COLUMNS[:3], np.array([[0.0, 0, 0], [2, 0, 2]]))
    x = torch.zeros(1, 3, 5)
    x[0, :, 0] = torch.tensor([-1.0, 0, 3])
    x[0, :, 1:4] = torch.tensor([[0.9, 0.1, 0], [0.5, 0.35, 0.15], [0.7, 0, 0.3]])
    course, table = courses(x, found)
    assert table["column"].tolist() == ["r", "c = a", "o"]
    assert table["from"].tolist() == ["0.0", "90%", "middle"] and table["to"].tolist() == [
        "4.0",
        "70%",
        "middle",
    ]
    assert table["change"].tolist() == pytest.approx([4, 0.8, 0]) and course[0, 1].tolist() == pytest.approx(
        [1.8, 1, 1.4]
    )

"""Flats: their law, what is possible, what they cost."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import binom, chisquare, kstest

from latentrun.config.build import build
from latentrun.data.base import Dataset, HasSupport
from latentrun.data.flats import DISTRICTS, NAMES, Flats, price
from latentrun.data.formats.columns import encode
from latentrun.data.recorded import Recorded, recorded_as
from latentrun.errors import InputError
from latentrun.nn.likelihood import MixedLikelihood
from tests.conformance import parts


def flats(**changes) -> Flats:
    data = build(parts.spec("data", "flats") | {"n": 4000} | changes, Dataset, "data")
    assert isinstance(data, Flats)
    return data


@pytest.fixture(scope="module")
def data() -> Flats:
    return flats()


def one(data: Flats, **changes) -> torch.Tensor:
    """A flat of 60 m² with 3 rooms on the first floor of a house of 1980 in the suburb, with a lift and
    without a balcony, but for ``changes``, as codes."""
    codes = {"size": 60, "rooms": 2, "district": 2, "year": 1980, "floor": 1, "lift": 1, "balcony": 0}
    return encode(np.array([[(codes | changes)[name] for name in NAMES]], float), data.columns)


def test_every_row_is_possible_and_columns_keep_their_law(data):
    frame = data.frame(torch.cat([rows.x for rows in data.parts()]))
    assert all(bool(data.possible(rows.x).all()) for rows in data.parts())
    size = frame["size"].to_numpy()
    assert kstest(np.log(size / 20) / np.log(10), "uniform").pvalue > 0.01
    medium = frame[(size > 60) & (size < 72)]  # 2 to 5 rooms: 2 + Binomial(3, 1/2)
    counts = medium["rooms"].value_counts().sort_index()
    assert list(counts.index) == [2, 3, 4, 5]
    assert chisquare(counts, binom.pmf(range(4), 3, 0.5) * counts.sum()).pvalue > 0.01
    assert np.corrcoef(size, frame["rooms"])[0, 1] > 0.8
    assert set(frame["district"]) == set(DISTRICTS) and set(frame["floor"]) == set(range(9))


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({}, []),
        ({"size": 20, "rooms": 9}, ["room_size"]),
        ({"size": 15, "rooms": 0}, ["size"]),
        ({"rooms": 0}, ["room_size"]),
        ({"rooms": 5}, ["room_size"]),
        ({"rooms": 4}, []),
        ({"year": 1900}, ["year"]),
        ({"year": 1900, "district": 0}, []),
        ({"floor": 5, "lift": 0}, ["lift"]),
        ({"floor": 5}, []),
        ({"floor": 0, "balcony": 1, "year": 2021}, ["year", "balcony"]),
    ],
)
def test_each_rule_is_broken_by_what_it_forbids(data, changes, rules):
    broken = data.broken(one(data, **changes))
    assert [rule for rule, is_broken in zip(data.rules, broken[0], strict=True) if is_broken] == rules
    assert data.possible(one(data, **changes)).item() == (not rules)


def test_prices_are_those_of_the_formula_and_stand_beside_x(data):
    rows, frame = data.split("test"), data.frame(data.split("test").x)
    (factor,) = data.factors
    assert (factor.name, factor.unit) == ("price", "thousand euros")
    first = frame.iloc[0]
    (low, high, metre), lift = DISTRICTS[first["district"]], first["lift"] == "yes"
    expected = (
        first["size"]
        * metre
        * (
            1
            - 0.002 * (2020 - first["year"])
            + 0.03 * (first["balcony"] == "yes")
            + first["floor"] * (0.01 if lift else -0.02)
        )
    )
    assert low <= first["year"] <= high and rows.y[0].item() == pytest.approx(expected, rel=1e-4)
    assert price(np.array([[100.0, 3, 2, 2020, 2, 0, 0]])) == pytest.approx([336.0])


def test_a_run_directory_remembers_what_is_possible(data):
    kind = recorded_as(Flats)
    kept = kind(data.describe(), flats)
    assert issubclass(kind, HasSupport) and issubclass(kind, Recorded) and kept.rules == data.rules
    assert not kept.possible(one(data, size=20, rooms=9)).item()
    assert kept.describe().columns == data.columns


def test_sizes_without_a_flat_are_refused():
    with pytest.raises(InputError, match="data.largest_room: 15 m² with data.smallest_room=12"):
        flats(largest_room=15.0)


def test_models_take_the_likelihood_of_tables_by_themselves(data):
    model = parts.model("vae", data)
    assert isinstance(model.head.law, MixedLikelihood)
    drawn = model.likelihood(torch.zeros(50, model.latent_dim)).sample()
    assert set(data.frame(drawn)["lift"]) <= {"no", "yes"}

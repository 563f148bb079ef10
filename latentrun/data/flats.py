"""Flats: a table whose law, support and prices are known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Gt
from latentrun.data.base import HasSupport, Tabular, divide, partition
from latentrun.data.formats.columns import decode, encode, inventory, placed
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.types import Column, Factor, Split

SIZES = 20.0, 200.0  # m²
ROOMS, FLOORS = 10, 9  # rooms at most; storeys, of which the lowest is floor 0
HIGH = 5  # floors from here on can only be reached by a lift
# Of each district the years in which it was built, and what a m² costs there, in thousand euros.
DISTRICTS = {
    "old town": (1850, 1920, 6.0),
    "centre": (1900, 1990, 5.0),
    "suburb": (1960, 2020, 3.5),
    "harbour": (2000, 2020, 5.5),
}
NEWEST = 2020
CLOSE = 0.05  # m² and years: what rounding may do to a value at the end of its range
NAMES = ("size", "rooms", "district", "year", "floor", "lift", "balcony")


class Flats(Tabular, HasSupport):
    """Flats with ``size`` in m² and ``year`` (real), ``rooms`` 1 to 10 and ``floor`` 0 to 8 (ordinal),
    ``district``, ``lift`` and ``balcony`` (categorical), encoded column by column as
    :class:`~latentrun.types.Column` says.

    The size is uniform in its logarithm between 20 and 200 m². With k_low = ceil(size / ``largest_room``) and
    k_high = min(10, floor(size / ``smallest_room``)), rooms = k_low + Binomial(k_high - k_low, 1/2). District
    and floor are uniform, the year uniform (whole) in the years of the district. A floor from 5 on has a
    lift, others with probability 1/2; floor 0 has no balcony, others with probability 0.6. So a flat of 20 m²
    with 10 rooms is impossible: ``rules`` are all that bounds the law.

    The factor ``price`` in thousand euros stands beside x: see :func:`price`. InputError where the bounds of
    rooms leave some sizes without a flat.
    """

    rules: Mapping[str, str]

    def __init__(
        self,
        smallest_room: Annotated[float, Gt(0)],
        largest_room: Annotated[float, Gt(0)],
        n: Annotated[int, Count(10)],
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        test_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        # Between neighbouring numbers of rooms no size may fall through, and the ends must have a number.
        if (
            not 2 * smallest_room <= largest_room
            or smallest_room > SIZES[0]
            or ROOMS * largest_room < SIZES[1]
        ):
            raise InputError(
                f"data.largest_room: {largest_room:g} m² with data.smallest_room={smallest_room:g}; the "
                f"smallest may have {SIZES[0]:g} m² at most, the largest twice that of the smallest, "
                f"and {SIZES[1] / ROOMS:g} m² at least"
            )
        self.rooms, self.n = (smallest_room, largest_room), n
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        self.rules = {
            "size": f"between {SIZES[0]:g} and {SIZES[1]:g} m²",
            "room_size": f"between {smallest_room:g} and {largest_room:g} m² a room on average",
            "year": "built in the years of its district",
            "lift": f"floors from {HIGH} on have a lift",
            "balcony": "floor 0 has no balcony",
        }

    # ---------------------------------------------------------------- what the protocol asks for
    @property
    def columns(self) -> tuple[Column, ...]:  # pyrefly: ignore[bad-override]
        return self._columns

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        yes_no = ("no", "yes")
        bare = (
            Column("size", "real", 0),
            Column("rooms", "ordinal", 0, categories=tuple(str(k + 1) for k in range(ROOMS))),
            Column("district", "categorical", 0, categories=tuple(DISTRICTS)),
            Column("year", "real", 0),
            Column("floor", "ordinal", 0, categories=tuple(str(k) for k in range(FLOORS))),
            Column("lift", "categorical", 0, categories=yes_no),
            Column("balcony", "categorical", 0, categories=yes_no),
        )
        training = partition(self.n, self.fractions, self.seed)[0].numpy()
        return placed(bare, self._codes[training])

    @property
    def notes(self) -> tuple[str, ...]:  # pyrefly: ignore[bad-override]
        kinds = inventory(self.columns, pd.DataFrame(self._codes, columns=list(NAMES)))
        return (*kinds, f"Every flat keeps these rules: {'; '.join(self.rules.values())}.")

    @cached_property
    def factors(self) -> tuple[Factor, ...]:  # pyrefly: ignore[bad-override]
        paid = price(self._codes).astype(np.float32)
        return (Factor("price", "real", float(paid.min()), float(paid.max()), "thousand euros"),)

    @cached_property
    def _x(self) -> Tensor:  # pyrefly: ignore[bad-override]
        return encode(self._codes, self.columns)

    def _load(self) -> dict[str, Split]:
        y = torch.from_numpy(price(self._codes)[:, None]).float()
        return divide(Split(self._x, y, None, torch.arange(self.n)), *self.fractions, self.seed)

    # ---------------------------------------------------------------- the law
    @cached_property
    def _codes(self) -> np.ndarray:
        """Codes ``(N, 7)`` of all flats, in the order of ``NAMES``."""
        noise = Noise(self.seed).at("flats")

        def uniform(name: str) -> np.ndarray:
            return noise.uniform(name, (self.n,)).double().numpy()

        size = SIZES[0] * (SIZES[1] / SIZES[0]) ** uniform("size")
        fewest, most = self._bounds(size)
        coins = noise.uniform("rooms", (self.n, ROOMS)).numpy() < 0.5
        rooms = fewest + (coins & (np.arange(ROOMS) < (most - fewest)[:, None])).sum(1)
        district = noise.integers("district", len(DISTRICTS), (self.n,)).numpy()
        first, last, _ = np.array(list(DISTRICTS.values())).T[:, district]
        year = np.floor(first + (last + 1 - first) * uniform("year"))
        floor = noise.integers("floor", FLOORS, (self.n,)).numpy()
        lift = (floor >= HIGH) | (uniform("lift") < 0.5)
        balcony = (floor > 0) & (uniform("balcony") < 0.6)
        return np.stack([size, rooms - 1, district, year, floor, lift, balcony], 1).astype(float)

    def _bounds(self, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The fewest and the most rooms that flats of a size have."""
        smallest, largest = self.rooms
        return np.ceil(size / largest), np.minimum(ROOMS, np.floor(size / smallest))

    def broken(self, x: Tensor) -> Tensor:
        """Of rows in the terms of the table: nearest levels, most likely categories."""
        size, rooms, district, year, floor, lift, balcony = decode(x, self.columns).T
        smallest, largest = self.rooms
        first, last, _ = np.array(list(DISTRICTS.values())).T[:, district.astype(int)]
        rules = [
            (size < SIZES[0] - CLOSE) | (size > SIZES[1] + CLOSE),
            (size < smallest * (rooms + 1) - CLOSE) | (size > largest * (rooms + 1) + CLOSE),
            (year < first - CLOSE) | (year > last + CLOSE),
            (floor >= HIGH) & (lift == 0),
            (floor == 0) & (balcony == 1),
        ]
        return torch.from_numpy(np.stack(rules, 1)).to(x.device)


def price(codes: np.ndarray) -> np.ndarray:
    """Prices ``(N,)`` in thousand euros of flats ``(N, 7)``: size times that of a m² in the district, less 2
    in 1000 a year of age, 3 % more for a balcony, and for every floor 1 % more with a lift, 2 % less without.

    >>> price(np.array([[100.0, 3, 2, 2020, 2, 1, 1]]))  # 100 m² in a new suburb, second floor, lift, balcony
    array([367.5])
    """
    size, _, district, year, floor, lift, balcony = codes.T
    square_metre = np.array([cost for *_, cost in DISTRICTS.values()])[district.astype(int)]
    age = 1 - 0.002 * (NEWEST - year)
    return size * square_metre * (age + 0.03 * balcony + floor * np.where(lift == 1, 0.01, -0.02))

"""Elliptical densities as pictures: normal ones, and t densities whose tails are a class label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Gt
from latentrun.data.base import SPLITS, Dataset, Oracle, partition
from latentrun.errors import InputError, unknown
from latentrun.functional.images.ellipse_fit import nearest_member
from latentrun.functional.images.ellipses import Ellipses, normal, student
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Projection, Split

MOST = 2**32  # values in all pictures: 16 GiB
Fraction = Annotated[float, Between(0, 1, open_=True)]


class Heatmaps(Dataset, Oracle):
    """Bivariate normal densities N(0, S) divided by their maximum on the grid: see :class:`Ellipses`, log
    g(q) = -q / 2.

    ``correlation``, ``variance_x``, ``variance_y`` are each {low, high, step}. ``sampling: grid`` draws every
    combination of low, low + step, ..., high (the default 19 x 25 x 25 = 11,875), correlation slowest,
    variance_y fastest; ``random`` draws ``n`` pictures with factors uniform in [low, high]. With a grid ``n``
    is None, or as many as it has. ``extent`` and variances share one unit of length. A larger variance_x
    widens the ellipse, variance_y makes it taller, a positive correlation lets it rise to the right. Raises
    InputError where a range is not one.
    """

    intrinsic_dim = 3
    betti: tuple[int, ...] | None = (1, 0, 0, 0)
    cmap = "viridis"  # densities, no photographs
    further: tuple[tuple[float, ...], ...] = ((),)  # all that the factors after the first three may be

    def __init__(
        self,
        size: Annotated[int, Count(2, 4096)],
        extent: Annotated[float, Gt(0)],
        correlation: dict[str, float],
        variance_x: dict[str, float],
        variance_y: dict[str, float],
        sampling: Literal["grid", "random"],
        n: Annotated[int, Count(1)] | None,
        val_fraction: Fraction,
        test_fraction: Fraction,
        seed: Annotated[int, Ge(0)],
    ):
        given = {"correlation": correlation, "variance_x": variance_x, "variance_y": variance_y}
        for name, values in given.items():
            _check_range(name, values)
        if sampling not in ("grid", "random"):
            raise unknown("data.sampling", sampling, ("grid", "random"))
        combinations = math.prod(_count(**values) for values in given.values())
        _check_number(n, sampling, combinations)
        count = n or combinations
        if count * size**2 > MOST:
            raise InputError(
                f"data: {count:.4g} pictures of {size} x {size}; at most {MOST // size**2:,} of that size"
            )
        self.given, self.sampling, self.n = given, sampling, count
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        self.event_shape, self.value_range = (1, size, size), (0.0, 1.0)
        self.factors = tuple(
            Factor(name, "real", values["low"], values["high"]) for name, values in given.items()
        )
        self.family = Ellipses(size, extent, [(factor.low, factor.high) for factor in self.factors], normal)

    def _table(self) -> Tensor:
        """Factors ``(N, F)`` float64 of all examples, in the order of their ``index``."""
        if self.sampling == "grid":
            return torch.cartesian_prod(*(_values(**values) for values in self.given.values()))
        low, high = self.family.ranges(torch.empty(0, dtype=torch.float64))
        return low + (high - low) * Noise(self.seed).at("heatmaps").uniform("factors", (self.n, 3)).double()

    def _load(self) -> dict[str, Split]:
        table = self._table()
        parts = partition(len(table), self.fractions, self.seed)
        return {name: self._rows(table[rows], rows) for name, rows in zip(SPLITS, parts, strict=True)}

    def _rows(self, y: Tensor, index: Tensor) -> Split:
        names = [factor.name for factor in self.factors]
        labels = None if self.label is None else y[:, names.index(self.label)].long()
        return Split(self.family.generate(y), y.float(), labels, index)

    def render(self, factors: Tensor) -> Tensor:
        """Pictures ``(N, 1, size, size)`` of factors ``(N, F)`` with v1, v2 > 0 and |r| < 1; differentiable
        in these."""
        return self.family.render(factors)

    def project(self, x: Tensor, amplitude: bool = False, bounded: bool = False) -> Projection:
        """The member of the family nearest to each picture ``x (N, 1, size, size)``, also in a fitted
        brightness (``amplitude``), or of those within the data set's ranges (``bounded``): see
        :func:`nearest_member`."""
        return nearest_member(self.family, x, x.new_tensor(self.further), amplitude, bounded)


class HeatmapsT(Heatmaps):
    """Bivariate t densities with scale matrix S: log g(q) = -(nu + 2) / 2 log(1 + q / nu), tails by a noisy
    rule.

    A matrix with |v1 + v2|^2 - l > ``threshold`` has ``degrees["above"]`` degrees of freedom nu, any other
    ``degrees["below"]``; l ~ U(0, ``jitter``) is drawn once a matrix, by ``seed``. The fourth factor ``dof``,
    which is the label, is 0 for the fewer degrees and 1 for the more. All else as in :class:`Heatmaps`; a
    projection takes the better of the two fits, its dof included. Raises InputError where the degrees are not
    two different positive numbers.

    The pictures of the two kinds are disjoint, and each kind is a cell: ``betti`` counts those the ranges
    admit.
    """

    label = "dof"
    further = ((0.0,), (1.0,))

    def __init__(
        self,
        size: Annotated[int, Count(2, 4096)],
        extent: Annotated[float, Gt(0)],
        correlation: dict[str, float],
        variance_x: dict[str, float],
        variance_y: dict[str, float],
        degrees: dict[str, float],
        threshold: float,
        jitter: Annotated[float, Ge(0)],
        sampling: Literal["grid", "random"],
        n: Annotated[int, Count(1)] | None,
        val_fraction: Fraction,
        test_fraction: Fraction,
        seed: Annotated[int, Ge(0)],
    ):
        super().__init__(
            size, extent, correlation, variance_x, variance_y, sampling, n, val_fraction, test_fraction, seed
        )
        _check_degrees(degrees)
        self.degrees, self.threshold, self.jitter = degrees, threshold, jitter
        kinds = sorted(degrees.values())
        variances = self.given["variance_x"], self.given["variance_y"]
        low, high = (sum(values[end] for values in variances) ** 2 for end in ("low", "high"))
        self.betti = ((high > threshold) + (low - jitter <= threshold), 0, 0, 0)
        self.factors += (Factor("dof", "categorical", 0.0, 1.0, categories=tuple(f"{nu:g}" for nu in kinds)),)
        self.family = Ellipses(size, extent, self.family.given, student(kinds))
        self.notes = (
            f"Matrices with (variance_x + variance_y)² - l > {threshold:g}, l ~ U(0, {jitter:g}), have "
            f"{degrees['above']:g} degrees of freedom, the others {degrees['below']:g}.",
        )

    def _table(self) -> Tensor:
        table = super()._table()
        jitter = self.jitter * Noise(self.seed).at("heatmaps_t").uniform("l", (len(table),)).double()
        above = (table[:, 1] + table[:, 2]).square() - jitter > self.threshold
        more = above if self.degrees["above"] > self.degrees["below"] else ~above
        return torch.cat([table, more[:, None].double()], 1)


def _check_degrees(degrees: Mapping[str, float]) -> None:
    """InputError in one line unless ``degrees`` is {above, below}, two different finite numbers above 0."""
    for extra in set(degrees) - {"above", "below"}:
        raise unknown("key of data.degrees", extra, ("above", "below"))
    for side in ("above", "below"):
        value = degrees.get(side)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise InputError(f"data.degrees.{side}: {value!r} given; a finite number above 0 is needed")
    if degrees["above"] == degrees["below"]:
        same = f"{degrees['above']:g}"
        raise InputError(
            f"data.degrees: above and below are both {same}; two kinds need two different numbers"
        )


def _values(low: float, high: float, step: float) -> Tensor:
    """low, low + step, ... up to high, float64, free of accumulated rounding."""
    return torch.from_numpy(np.round(low + step * np.arange(_count(low, high, step)), 12))


def _count(low: float, high: float, step: float) -> int:
    """How many values there are."""
    return math.floor((high - low) / step + 1e-9) + 1


def _check_number(n: int | None, sampling: str, combinations: int) -> None:
    """InputError in one line where a number of pictures is not what the sampling makes."""
    if n is None and sampling == "random":
        raise InputError("data.n: null given; data.sampling=random needs a number of pictures")
    if n not in (None, combinations) and sampling == "grid":
        raise InputError(
            f"data.n: {n:,} given; data.sampling=grid makes {combinations:,} pictures: data.sampling=random "
            "makes n of them, and rows=N takes so many of each split"
        )


def _check_range(name: str, values: Mapping[str, float]) -> None:
    """InputError in one line unless ``values`` is {low, high, step} with low <= high, step > 0, |r| < 1 or
    variance > 0."""
    key = f"data.{name}"
    for extra in set(values) - {"low", "high", "step"}:
        raise unknown(f"key of {key}", extra, ("low", "high", "step"))
    for part in ("low", "high", "step"):
        value = values.get(part)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{key}.{part}: {value!r} given; a finite number is needed")
    low, high, step = values["low"], values["high"], values["step"]
    if name == "correlation" and max(abs(low), abs(high)) >= 1:
        raise InputError(f"{key}: low {low:g}, high {high:g} given; |r| must be below 1")
    if name != "correlation" and min(low, high) <= 0:
        raise InputError(f"{key}: low {low:g}, high {high:g} given; a variance must be above 0")
    if low > high:
        raise InputError(f"{key}: low {low:g} is above high {high:g}")
    if step <= 0:
        raise InputError(f"{key}.step: {step:g} given; a step must be above 0")

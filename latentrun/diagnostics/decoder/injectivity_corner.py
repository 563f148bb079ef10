"""The corner of the factors in which one of them is said to be hard to see, against all other points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.data.base import Oracle
from latentrun.diagnostics.decoder.injectivity_measure import spaces_of
from latentrun.run import Run
from latentrun.types import Estimate, Factor

ENDS = ("low", "high")
BANDS = ("low", "middle", "high")
STEPS = 9  # images of a row along which the factor changes


@dataclass(frozen=True)
class Corner:
    """Points where each factor of ``ends`` is within the share ``within`` of its range from that end, ``low``
    or ``high``."""

    ends: Mapping[str, str]
    within: float

    def band(self, share: np.ndarray) -> np.ndarray:
        """low, middle or high ``(N,)``, of one factor given as shares of its range."""
        low, high = share <= self.within + 1e-6, share >= 1 - self.within - 1e-6
        return np.where(high, "high", np.where(low, "low", "middle"))

    def points(self, names: Sequence[str], share: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Which points lie in the corner ``(N,)``, or None; and where it is, or why there is none. ``share
        (N, R)``: the real factors ``names`` as shares of their ranges."""
        if not self.ends:
            return None, "no corner was asked for"
        missing = [name for name in self.ends if name not in names]
        if missing:
            return None, f"no corner: the data have no real factor {', '.join(missing)}"
        inside = np.logical_and.reduce(
            [self.band(share[:, names.index(name)]) == end for name, end in self.ends.items()]
        )
        place = ", ".join(f"{name} {end}" for name, end in self.ends.items())
        if not inside.any():
            return None, f"no point lies in the corner ({place}, within {self.within:g} of the ends)"
        text = f"within {self.within:g} of the ends of their ranges, {inside.sum():,} points"
        return inside, f"the corner: {place}, {text}"

    def regions(self, points: pd.DataFrame, names: Sequence[str], share: np.ndarray) -> pd.DataFrame:
        """Geometric means over the regions that the bands of the corner's factors make, and over all
        points."""
        bands = {name: self.band(share[:, names.index(name)]) for name in self.ends}
        columns = [f"{space}.{part}" for space in spaces_of(points) for part in ("least", "greatest", *names)]
        rows = []
        for region in [("all",) * len(bands), *product(BANDS, repeat=len(bands))]:
            inside = np.ones(len(points), dtype=bool)
            for band, values in zip(region, bands.values(), strict=True):
                inside &= (band == "all") | (values == band)
            if inside.any():
                means = [geometric_mean(points.loc[inside, column].to_numpy()) for column in columns]
                rows.append((*region, int(inside.sum()), *means))
        return pd.DataFrame(rows, columns=[*bands, "points", *columns])

    def sweep(self, run: Run, factor: str, middle: Tensor) -> dict[str, np.ndarray]:
        """Images along which only the factor changes: in the corner, in the middle and in the opposite
        corner; of the factors that are not the corner's the values ``middle (F,)``."""
        assert isinstance(run.data, Oracle)  # injectivity requires one
        factors = run.data.factors
        number = {entry.name: i for i, entry in enumerate(factors)}
        places = middle.repeat(len(BANDS), 1)
        for name, end in self.ends.items():
            near, far = _ends(factors[number[name]], end)
            places[:, number[name]] = torch.tensor([near, (near + far) / 2, far])
        varied = factors[number[factor]]
        values = torch.linspace(varied.low, varied.high, STEPS, dtype=torch.float64)
        y = places[:, None].repeat(1, STEPS, 1)
        y[:, :, number[factor]] = values
        x = run.data.render(y.flatten(0, 1).to(run.device)).unflatten(0, y.shape[:2]).cpu()
        change = (x - x[:, :1]).flatten(2).norm(dim=2)
        return {"sweep": x.float().numpy(), "sweep_values": values.numpy(), "sweep_change": change.numpy()}


def _ends(factor: Factor, end: str) -> tuple[float, float]:
    """The named end of a factor's range, and the other."""
    return (factor.low, factor.high) if end == "low" else (factor.high, factor.low)


def against_all(points: pd.DataFrame, inside: np.ndarray, factor: str | None) -> dict[str, Estimate]:
    """The corner ``inside (N,)`` against all points: what shows least, and the change by ``factor`` alone
    where the points have it."""
    metrics = {}
    has_factor = f"image.{factor}" in points
    for space in spaces_of(points):
        metrics |= _corner_and_rank(f"{space}_", points[f"{space}.least"], inside)
        if has_factor:
            metrics |= _corner_and_rank(f"{space}_factor_", points[f"{space}.{factor}"], inside)
            component = points.loc[inside, f"{space}.weak.{factor}"].abs()
            metrics[f"{space}_alignment"] = Estimate(float(component.mean()))
    if has_factor:
        relative = (points[f"image.{factor}"] / points["image.norm"]).to_numpy(np.float64)
        ratio = _over(geometric_mean(relative[inside]), np.median(relative))
        metrics["image_factor_relative"] = Estimate(ratio)
    return metrics


def _corner_and_rank(name: str, column: pd.Series, inside: np.ndarray) -> dict[str, Estimate]:
    """The geometric mean in the corner over the median of all, and the share of points below that mean."""
    values = column.to_numpy(np.float64)
    mean = geometric_mean(values[inside])
    return {
        f"{name}corner": Estimate(_over(mean, np.median(values))),
        f"{name}rank": Estimate(float((values < mean).mean())),
    }


def geometric_mean(values: np.ndarray) -> float:
    """Geometric mean; 0 where a value is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values.astype(np.float64)).mean()))


def _over(a: float, b: float) -> float:
    return float(a / b) if b > 0 else math.nan

"""How much the metric of a random draw f = mu + sigma * eps of a decoder scatters about its mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.diagnostics.surface import Decoded
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.geometry.push import rows_at_once, width_of
from latentrun.types import Estimate

CODES = "codes"  # what intervals are over


@dataclass(frozen=True)
class Scatter:
    """Coefficient of variation ``cv (N, S)`` of the metric at N points from ``sizes (S,)`` of the data
    dimensions, NaN where these do not change at all."""

    sizes: np.ndarray
    cv: np.ndarray

    @property
    def slopes(self) -> np.ndarray:
        """Of log cv against log size by least squares ``(N,)``; NaN where a cv is 0 or not known."""
        x = np.log(self.sizes) - np.log(self.sizes).mean()
        with np.errstate(divide="ignore", invalid="ignore"):
            y = np.log(self.cv)
            slopes = (y @ x) / (x @ x)
        return np.where(np.isfinite(y).all(1), slopes, np.nan)

    def table(self) -> pd.DataFrame:
        """A row a size: the mean cv over points with its interval, and over how many."""
        rows = []
        for size, values in zip(self.sizes, self.cv.T, strict=True):
            known = values[np.isfinite(values)]
            found = mean_interval(known, CODES)
            rows.append({"dimensions": int(size), "codes": len(known), **found.columns("cv")})
        return pd.DataFrame(rows)

    def metrics(self) -> dict[str, Estimate]:
        """``slope`` and ``cv`` at all dimensions, where there are any."""
        slopes, cv = self.slopes, self.cv[:, -1]
        found = {"concentration.slope": slopes, "concentration.cv": cv}
        known = {name: values[np.isfinite(values)] for name, values in found.items()}
        return {name: mean_interval(values, CODES) for name, values in known.items() if len(values)}


def sizes_of(width: int, count: int) -> np.ndarray:
    """Numbers of data dimensions, evenly on a logarithmic scale from a 32nd of all (at least 8) to all.

    >>> sizes_of(784, 4)
    array([ 24,  77, 245, 784])
    """
    first = min(width, max(8, width // 32))
    return np.unique(np.geomspace(first, width, count).round().astype(int))


def scatter_of(mean: Tensor, scale: Tensor, sizes: Sequence[int]) -> Tensor:
    """The coefficient of variation of M = J'J of a draw, J = J_mu + diag(eps) J_sigma with eps ~ N(0, I),
    from the first ``sizes`` rows: sqrt(sum_ij var M_ij) / ||E M||, Frobenius' norm, ``(N, S)``. ``mean``,
    ``scale (N, D, d)``: J_mu and J_sigma.

    Exact: a row a + eps b adds aa' + bb' to E M and, as var eps = 1, var eps² = 2 and both are uncorrelated,
    2 (|a|² |b|² + (a·b)² + |b|⁴) to the sum of variances. One dimension alone: of f = eps z at any z M is
    eps², of mean 1 and variance 2.

    >>> scatter_of(torch.zeros(1, 1, 1), torch.ones(1, 1, 1), [1])
    tensor([[1.4142]])
    """
    aa, bb, ab = mean.square().sum(2), scale.square().sum(2), (mean * scale).sum(2)
    variance = (2 * (aa * bb + ab.square() + bb.square())).cumsum(1)
    columns = []
    for size in sizes:
        a, b = mean[:, :size], scale[:, :size]
        expected = (a.mT @ a + b.mT @ b).flatten(1).norm(dim=1)
        columns.append(variance[:, size - 1].sqrt() / expected)
    return torch.stack(columns, dim=1)


@torch.no_grad()
def concentration(decoded: Decoded, c: Tensor, count: int, noise: Noise) -> Scatter:
    """At points ``c (N, d)``, each with an order of the data dimensions of its own, of which the first so
    many are taken; ``count`` sizes at most. Of a model whose standard deviation changes with z."""
    surface = decoded.surface
    width = surface.points(c[:1]).shape[1] // 2
    sizes, found = sizes_of(width, count), []
    for number, part in enumerate(c.split(rows_at_once(width_of(surface.function, c), surface.dim))):
        columns = surface.columns(part)[1].permute(1, 2, 0).double()
        order = noise.at(number).uniform("order", (len(part), width)).argsort(1).to(columns.device)
        place = order.unsqueeze(2).expand(-1, -1, surface.dim)
        mean, scale = (half.gather(1, place) for half in columns.split(width, dim=1))
        found.append(scatter_of(mean, scale, sizes.tolist()).cpu())
    return Scatter(sizes, torch.cat(found).numpy())

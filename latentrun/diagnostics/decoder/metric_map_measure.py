"""The metric of a decoder at single points: near codes, off them, and over a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.diagnostics.surface import Decoded
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.functional.ties import principal_axes
from latentrun.geometry.push import rows_at_once, width_of
from latentrun.geometry.surface import gram

SINGULAR = 1e-12  # share of the greatest eigenvalue below which the rounding of J hides the least one
ROUNDS = 30  # in which points off the data are looked for, as many at a time as are wanted


# ---------------------------------------------------------------- point by point
@dataclass(frozen=True)
class Sizes:
    """Of N points, float64 on the CPU: ``eigenvalues (N, d)`` of M in rising order, NaN where M is not
    finite; ``deviation (N,)``, see :meth:`~latentrun.diagnostics.surface.Decoded.deviation`, None where it
    does not change."""

    eigenvalues: Tensor
    deviation: Tensor | None

    @property
    def magnification(self) -> Tensor:
        """log sqrt det M ``(N,)``; -inf where M is singular."""
        return 0.5 * self.eigenvalues.log().sum(1)

    @property
    def is_singular(self) -> Tensor:
        """Where the least eigenvalue is at most ``SINGULAR`` times the greatest ``(N,)``."""
        return self.eigenvalues[:, 0] <= SINGULAR * self.eigenvalues[:, -1]

    @property
    def condition(self) -> Tensor:
        """Greatest over least eigenvalue ``(N,)``, >= 1."""
        return self.eigenvalues[:, -1] / self.eigenvalues[:, 0]

    @property
    def anisotropy(self) -> Tensor:
        """1 - geometric mean / arithmetic mean of the eigenvalues ``(N,)``: 0 where all directions count
        alike, 1 where one of them counts for nothing beside the others."""
        geometric = self.eigenvalues.log().mean(1).exp()
        return (1 - geometric / self.eigenvalues.mean(1)).clamp(0, 1)


def exact_metric(decoded: Decoded, c: Tensor) -> Tensor:
    """M ``(N, d, d)`` float64 on the CPU of points ``c (N, d)``: the same derivatives, but multiplied in
    float64, for where one eigenvalue is a millionth of another float32 loses it."""
    surface = decoded.surface
    pieces = c.split(rows_at_once(width_of(surface.function, c), surface.dim)) if len(c) else (c,)
    return torch.cat([gram(surface.columns(piece)[1].cpu().double()) for piece in pieces])


@torch.no_grad()
def sizes_at(decoded: Decoded, c: Tensor) -> Sizes:
    """At points ``c (N, d)`` of the chart."""
    metric = exact_metric(decoded, c)
    finite = metric.flatten(1).isfinite().all(1)
    values = torch.full(metric.shape[:2], torch.nan, dtype=torch.float64)
    values[finite] = torch.linalg.eigvalsh(metric[finite]).clamp_min(0)
    deviation = decoded.deviation(c)
    return Sizes(values, None if deviation is None else deviation.cpu().double())


# ---------------------------------------------------------------- where there are no codes
@dataclass(frozen=True)
class Surroundings:
    """The ``box (2, d)`` of the codes, enlarged; ``threshold``: distance beyond which a point is off the
    data; of the points drawn from the box those that are, ``off (M, d)``, their distance ``gap (M,)`` to the
    nearest code; how many points were ``drawn``, and how many of these were ``found`` off the data;
    ``code_gap (N,)``: of each held-out code to the nearest
    training code."""

    box: Tensor
    threshold: float
    off: Tensor
    gap: Tensor
    drawn: int
    found: int
    code_gap: Tensor


def surroundings(
    decoded: Decoded, held_out: Tensor, train: Tensor, n: int, reach: float, beyond: float, noise: Noise
) -> Surroundings:
    """Of held-out codes ``(N, d)`` and training codes ``(T, d)`` in the chart: up to ``n`` points off the
    data; distances are those of the latent space's own coordinates z. See
    :class:`~latentrun.diagnostics.decoder.metric_map.MetricMap`."""
    chart = decoded.chart
    codes = torch.cat([train, held_out])
    low, high = codes.amin(0), codes.amax(0)
    middle, half = (low + high) / 2, (high - low) / 2
    box = chart.within(torch.stack([middle - reach * half, middle + reach * half]))
    z_train, z_codes = chart.point(train), chart.point(codes)
    code_gap = nearest(chart.point(held_out), z_train, 1)[0][:, 0]
    threshold = float(np.quantile(code_gap.cpu().numpy(), beyond))
    kept, gaps, found, drawn = [], [], 0, 0
    for number in range(ROUNDS):
        c = box[0] + (box[1] - box[0]) * noise.at(number).uniform("box", (n, len(low))).to(box)
        gap = nearest(chart.point(c), z_codes, 1)[0][:, 0]
        far = gap > threshold
        kept.append(c[far])
        gaps.append(gap[far])
        found, drawn = found + int(far.sum()), drawn + n
        if found >= n:
            break
    return Surroundings(box, threshold, torch.cat(kept)[:n], torch.cat(gaps)[:n], drawn, found, code_gap)


# ---------------------------------------------------------------- the plane of the map
@dataclass(frozen=True)
class Plane:
    """c = origin + p axes of p ``(k,)`` with k = 1 or 2: ``origin (d,)``, ``axes (k, d)`` orthonormal, called
    ``names``, drawn over ``ends (2, k)``; ``share`` of the codes' variance that lies in it."""

    origin: Tensor
    axes: Tensor
    names: tuple[str, ...]
    ends: Tensor
    share: float

    def at(self, place: Tensor) -> Tensor:
        """Points ``(N, d)`` at places ``(N, k)``."""
        return self.origin + place @ self.axes

    def places(self, c: Tensor) -> Tensor:
        """The places ``(N, k)`` of points, each at its foot in the plane."""
        return (c - self.origin) @ self.axes.T

    def grid(self, points: int) -> Tensor:
        """Places ``(points^k, k)``, the last coordinate fastest, in the middles of cells."""
        share = (torch.arange(points).to(self.ends) + 0.5) / points
        sides = [low + (high - low) * share for low, high in self.ends.T]
        return torch.cartesian_prod(*sides).view(-1, len(sides))


def plane_of(codes: Tensor, box: Tensor, names: tuple[str, ...], reach: float) -> Plane:
    """Through ``codes (N, d)`` in a chart with coordinates ``names``: the chart itself over ``box`` where it
    has one or two dimensions, else the plane of the two directions of largest variance through the mean
    code, over the codes' extent times ``reach``."""
    d = codes.shape[1]
    if d <= 2:
        return Plane(codes.new_zeros(d), torch.eye(d).to(codes), names, widened(box), 1.0)
    mean = codes.mean(0)
    values, axes = principal_axes(torch.cov(codes.double().T).cpu())
    kept = torch.from_numpy(axes[:, :2].T.copy()).to(codes)
    places = (codes - mean) @ kept.T
    low, high = places.amin(0), places.amax(0)
    middle, half = (low + high) / 2, (high - low) / 2
    ends = widened(torch.stack([middle - reach * half, middle + reach * half]))
    share = float(values[:2].sum() / max(values.sum(), np.finfo(float).tiny))
    return Plane(mean, kept, ("principal axis 0", "principal axis 1"), ends, share)


def widened(ends: Tensor) -> Tensor:
    """Ends ``(2, k)``, where they are one point half a unit to either side of it."""
    aside = torch.tensor([[-0.5], [0.5]]).to(ends)
    return torch.where(ends[1] > ends[0], ends, ends + aside)

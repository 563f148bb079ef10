"""What random walks are like: how far they go from the codes, and how evenly they change what is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.diagnostics.surface import Decoded
from latentrun.functional.clouds.neighbours import nearest, usual_gap
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import interval_columns, mean_interval, share_interval
from latentrun.functional.statistics.quantiles import quantile_interval
from latentrun.geometry.walks import Walks
from latentrun.types import Estimate

WALKS = "walks"  # what intervals are over
CELLS = 1 << 22  # decoded numbers held at once
LEAST = 1e-3  # of the codes' spread: what is nearer to a code is near it, where most codes are copies
TIMES = 101  # rows of the table of times a kind, at most


@dataclass(frozen=True)
class Cloud:
    """The codes ``z (N, D)`` that walks are held against. ``limit``: the distance to the nearest code up to
    which a point is near them; ``reach``: that from 0 up to which the same share of codes lies, None in a
    curved space, which has no 0; ``spread``: root of the mean squared distance of a code from their mean; all
    in latent units."""

    z: Tensor
    limit: float
    reach: float | None
    spread: float

    @classmethod
    def of(cls, z: Tensor, share: float, flat: bool) -> Cloud:
        spread = (z - z.mean(0)).double().square().sum(1).mean().sqrt().item()
        reach = float(np.quantile(z.norm(dim=1).double().cpu().numpy(), share)) if flat else None
        return cls(z, max(usual_gap(z, share), LEAST * spread), reach, spread)


@dataclass(frozen=True)
class Followed:
    """Walks of one kind, N of T steps, as they were measured, all on the CPU in float64.

    ``change (N, T)``: length of each step of the mean of p(x|z), in data units, NaN where it was not taken;
    ``stretch (N, T)``: the same for each unit of the draw behind it; ``surface (N, T)``: length of each step
    of mean and standard deviation together, None where the latter does not change with z. At every point
    ``(N, T + 1)``: ``gap``, distance to the nearest code, ``origin`` and ``start``, those to 0 and to where
    the walk began, in latent units; ``deviation``, standard deviation of x given z, root mean square over
    dimensions, None where it does not change with z. ``stopped (N,)``, ``floored`` and ``cut (N, T)`` as of
    :class:`Walks`.
    """

    change: Tensor
    stretch: Tensor
    surface: Tensor | None
    gap: Tensor
    origin: Tensor
    start: Tensor
    deviation: Tensor | None
    stopped: Tensor
    floored: Tensor
    cut: Tensor

    @property
    def unevenness(self) -> Tensor:
        """sd / mean of the steps of each walk ``(N,)``; NaN of fewer than two, or where nothing changes."""
        return _relative_spread(self.change)

    @property
    def stretch_unevenness(self) -> Tensor:
        """sd / mean of the stretch of each walk ``(N,)``."""
        return _relative_spread(self.stretch)

    @property
    def surface_unevenness(self) -> Tensor | None:
        """sd / mean of the steps of mean and standard deviation of each walk ``(N,)``."""
        return None if self.surface is None else _relative_spread(self.surface)

    def exits(self, limit: float) -> Tensor:
        """The first point ``(N,)`` of each walk farther than ``limit`` from every code; T + 1 for none."""
        away = self.gap > limit
        return torch.where(away.any(1), away.double().argmax(1), away.shape[1])


@torch.no_grad()
def follow(decoded: Decoded, walks: Walks, cloud: Cloud) -> Followed:
    """Measure walks in the chart, with distances between the points of the latent space that they mean."""
    n, points, _ = walks.path.shape
    z = decoded.chart.point(walks.path.flatten(0, 1))
    change = _changes(decoded, walks)
    change = torch.where(walks.taken.cpu(), change, torch.nan)
    gap = nearest(z, cloud.z, 1)[0].view(n, points)
    deviation, surface = decoded.deviation(walks.path.flatten(0, 1)), None
    if deviation is not None:
        surface = torch.cat([decoded.surface.squared_steps(path) for path in _some(decoded, walks)])
        surface = torch.where(walks.taken, surface.sqrt().double(), torch.nan).cpu()
    z = z.view(n, points, -1).double()
    return Followed(
        change=change,
        stretch=change / walks.draw.double().cpu(),
        surface=surface,
        gap=gap.cpu(),
        origin=z.norm(dim=2).cpu(),
        start=(z - z[:, :1]).norm(dim=2).cpu(),
        deviation=None if deviation is None else deviation.view(n, points).double().cpu(),
        stopped=walks.stopped.cpu(),
        floored=walks.floored.cpu(),
        cut=walks.cut.cpu(),
    )


def _some(decoded: Decoded, walks: Walks) -> tuple[Tensor, ...]:
    """Paths ``(n, T + 1, d)`` of some walks at a time: what they decode to is held at once."""
    per_walk = walks.path.shape[1] * prod(decoded.run.data.event_shape)
    return walks.path.split(max(1, CELLS // per_walk))


def _changes(decoded: Decoded, walks: Walks) -> Tensor:
    """Length of every step of the decoded mean ``(N, T)``."""
    parts = []
    for path in _some(decoded, walks):
        x = decoded.decode(path.flatten(0, 1)).flatten(1).unflatten(0, path.shape[:2])
        parts.append(x.diff(dim=1).norm(dim=2).double().cpu())
    return torch.cat(parts)


def _relative_spread(values: Tensor) -> Tensor:
    """sd (divisor n - 1) over mean of each row, without what is NaN."""
    there = torch.isfinite(values)
    n = there.sum(1)
    mean = values.nansum(1) / n
    squares = torch.where(there, values - mean.unsqueeze(1), 0.0).square().sum(1)
    spread = (squares / (n - 1)).sqrt() / mean
    return torch.where((n > 1) & (mean > 0), spread, torch.nan)


# ---------------------------------------------------------------- numbers
def walk_metrics(kind: str, walk: Followed, cloud: Cloud) -> dict[str, Estimate]:
    """What is said of the walks of one kind."""
    n, points = walk.gap.shape
    exits = walk.exits(cloud.limit)
    steps = torch.isfinite(walk.change).sum(1)
    metrics = {
        "unevenness": mean_interval(_finite(walk.unevenness), WALKS),
        "stretch_unevenness": mean_interval(_finite(walk.stretch_unevenness), WALKS),
        "change": mean_interval(_finite(walk.change.nansum(1) / steps), WALKS),
        "near": mean_interval((walk.gap <= cloud.limit).double().mean(1), WALKS),
        "near_end": share_interval(int((walk.gap[:, -1] <= cloud.limit).sum()), n, WALKS),
        "left": share_interval(int((exits < points).sum()), n, WALKS),
        "exit": mean_interval(exits.clamp_max(points - 1), WALKS),
        "gap": quantile_interval(walk.gap[:, -1] / cloud.limit, 0.5, WALKS),
        "way": quantile_interval(walk.start[:, -1] / cloud.spread, 0.5, WALKS),
        "stopped": share_interval(int(walk.stopped.sum()), n, WALKS),
        "floored": mean_interval(walk.floored.double().mean(1), WALKS),
        "cut": mean_interval(walk.cut.double().mean(1), WALKS),
    }
    if cloud.reach is not None:
        outward = walk.origin[:, -1] - walk.origin[:, 0]
        metrics["origin"] = quantile_interval(walk.origin[:, -1] / cloud.reach, 0.5, WALKS)
        metrics["outward"] = quantile_interval(outward / cloud.reach, 0.5, WALKS)
        metrics["beyond"] = share_interval(int((walk.origin[:, -1] > cloud.reach).sum()), n, WALKS)
    if walk.deviation is not None:
        metrics["deviation"] = mean_interval(walk.deviation.mean(1), WALKS)
    if walk.surface_unevenness is not None:
        metrics["surface_unevenness"] = mean_interval(_finite(walk.surface_unevenness), WALKS)
    return {f"{name}.{kind}": estimate for name, estimate in metrics.items()}


def paired_metrics(kind: str, walk: Followed, euclidean: Followed) -> dict[str, Estimate]:
    """How much more evenly the walks of a kind change the picture than those without a metric from the same
    starts with the same draws."""
    evener = euclidean.unevenness - walk.unevenness
    stretch = euclidean.stretch_unevenness - walk.stretch_unevenness
    return {
        f"evener.{kind}": mean_interval(_finite(evener), WALKS),
        f"stretch_evener.{kind}": mean_interval(_finite(stretch), WALKS),
    }


def _finite(values: Tensor) -> Tensor:
    return values[torch.isfinite(values)]


# ---------------------------------------------------------------- tables
def time_table(walks: dict[str, Followed], cloud: Cloud) -> pd.DataFrame:
    """A row for each kind of walk and some of its points: the share of walks near codes, and medians of the
    distances, with their intervals."""
    parts = []
    for kind, walk in walks.items():
        at = evenly(walk.gap.shape[1], TIMES)
        near = (walk.gap[:, at] <= cloud.limit).sum(0).tolist()
        columns = interval_columns("near", [share_interval(hits, len(walk.gap), WALKS) for hits in near])
        for name in ("gap", "start", *(["origin"] if cloud.reach is not None else [])):
            columns |= _medians(name, getattr(walk, name)[:, at])
        if walk.deviation is not None:
            columns |= _medians("deviation", walk.deviation[:, at])
        parts.append(pd.DataFrame({"walk": kind, "step": at.numpy(), **columns}))
    return pd.concat(parts, ignore_index=True)


def _medians(name: str, values: Tensor) -> dict[str, np.ndarray]:
    return interval_columns(name, [quantile_interval(column, 0.5, WALKS) for column in values.T])


def walk_table(walks: dict[str, Followed], cloud: Cloud) -> pd.DataFrame:
    """A row for each walk: how even it is, when it left the codes, where it ended."""
    parts = [
        pd.DataFrame(
            {
                "walk": kind,
                "number": np.arange(len(walk.gap)),
                "unevenness": walk.unevenness.numpy(),
                "stretch_unevenness": walk.stretch_unevenness.numpy(),
                "exit": np.where((exits := walk.exits(cloud.limit)) < walk.gap.shape[1], exits, -1),
                "gap": walk.gap[:, -1].numpy(),
                "origin": walk.origin[:, -1].numpy(),
                "start": walk.start[:, -1].numpy(),
                "stopped": walk.stopped.numpy(),
                "floored": walk.floored.double().mean(1).numpy(),
            }
        )
        for kind, walk in walks.items()
    ]
    return pd.concat(parts, ignore_index=True)

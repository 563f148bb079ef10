"""Points on the hull of the codes and inner codes, as they are and moved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.diagnostics.base import decoded, judge
from latentrun.functional.clouds.whitening import Whitening, perturbed
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_each, mean_interval
from latentrun.functional.ties import ranked
from latentrun.run import Run
from latentrun.types import Estimate

OVER = {"hull": "points of the hull", "inner": "inner codes"}  # what means are taken over
ROUNDING = 1e-6  # a mean miss below this is rounding: no ratio is made of it
INNER = 0.5  # the share of codes nearest to the mean that are the inner ones


@dataclass(frozen=True)
class MovedPoints:
    """V codes as they are and moved by ``steps (L,)``, the first 0, shares of the hull's ``radius``: ``x (L,
    V, *event)`` is what they decode to, ``miss (L, V)`` how far it lies from the data by the measure
    ``measure``, ``absolute (L, V)`` the same in data units; ``gap (V,)``: whitened distance of each code to
    the nearest other one."""

    steps: tuple[float, ...]
    radius: float
    x: Tensor
    miss: Tensor
    absolute: Tensor
    measure: str
    gap: np.ndarray


def points_of(
    u: np.ndarray, vertices: np.ndarray, most: int, noise: Noise
) -> tuple[float, dict[str, np.ndarray]]:
    """The radius of the hull of whitened codes ``u (N, k)``, the root mean square distance of its corners
    ``vertices (V,)`` from the mean code, and row numbers of at most ``most`` of the ``hull``'s corners and as
    many ``inner`` codes: of the half of all codes nearest to the mean, corners left out."""
    norm = np.linalg.norm(u, axis=1)
    middle = np.setdiff1d(ranked(-norm)[: math.ceil(INNER * len(u))], vertices)
    drawn = {
        "hull": vertices[noise.to("cpu").permutation("corners", len(vertices)).numpy()[:most]],
        "inner": middle[
            noise.to("cpu").permutation("inner", len(middle)).numpy()[: min(most, len(vertices))]
        ],
    }
    radius = float(np.sqrt(np.square(norm[vertices]).mean()))
    return radius, {name: rows for name, rows in drawn.items() if len(rows)}


def move(
    run: Run,
    white: Whitening,
    u: np.ndarray,
    rows: np.ndarray,
    radius: float,
    steps: Sequence[float],
    noise: Noise,
) -> MovedPoints:
    """Decode the whitened codes ``u[rows]`` as they are and after ``steps``, shares of ``radius``, in random
    directions."""
    steps = (0.0, *steps)
    places = [perturbed(u[rows], step * radius, noise.at("move", i)) for i, step in enumerate(steps)]
    x = decoded(run, white.back(np.concatenate(places)))
    judged = judge(run, x)
    shape = len(steps), len(rows)
    gap = cKDTree(u).query(u[rows], 2)[0][:, 1]
    return MovedPoints(
        steps=steps,
        radius=radius,
        x=x.unflatten(0, shape),
        miss=judged.miss.view(shape),
        absolute=judged.absolute.view(shape),
        measure=judged.kind,
        gap=gap,
    )


# ---------------------------------------------------------------- numbers
def point_metrics(points: Mapping[str, MovedPoints], noise: Noise, resamples: int) -> dict[str, Estimate]:
    """How far moved points of the hull, and inner codes, lie from the data, and these in proportion to each
    other."""
    metrics: dict[str, Estimate] = {}
    for name, moved in points.items():
        metrics[f"spacing.{name}"] = mean_interval(moved.gap, OVER[name])
        for step, miss, absolute in zip(moved.steps, moved.miss, moved.absolute, strict=True):
            metrics[f"{moved.measure}_{name}.{step:g}"] = mean_interval(miss, OVER[name])
            metrics[f"absolute_{name}.{step:g}"] = mean_interval(absolute, OVER[name])
    hull = points["hull"]
    ratios = ratios_to_first(hull.miss, noise.at("ratio"), resamples)
    metrics |= {f"ratio.{step:g}": ratio for step, ratio in zip(hull.steps[1:], ratios, strict=True)}
    if "inner" in points:
        inner = points["inner"]
        for i, step in enumerate(hull.steps):
            metrics[f"inner_ratio.{step:g}"] = mean_ratio(hull.miss[i], inner.miss[i])
            metrics[f"inner_ratio_absolute.{step:g}"] = mean_ratio(hull.absolute[i], inner.absolute[i])
    return metrics


def mean_ratio(above: Tensor, below: Tensor) -> Estimate:
    """mean(above) / mean(below), NaN where the latter is rounding."""
    divisor = below.mean().item()
    return Estimate(above.mean().item() / divisor if divisor > ROUNDING else math.nan)


def ratios_to_first(miss: Tensor, noise: Noise, resamples: int) -> list[Estimate]:
    """Of ``miss (L, V)`` the means over V points of all rows but the first, over that of the first."""

    def statistic(rows: Tensor) -> Tensor:
        means = rows.mean(1)
        return torch.where(means[:, :1] > ROUNDING, means[:, 1:] / means[:, :1], torch.nan)

    return bootstrap_each(statistic, miss.T, noise, resamples, OVER["hull"])


def moved_table(points: Mapping[str, MovedPoints]) -> pd.DataFrame:
    """A row for each kind of point, step and point."""
    return pd.concat([moved_rows(name, moved) for name, moved in points.items()], ignore_index=True)


def moved_rows(name: str, moved: MovedPoints) -> pd.DataFrame:
    """The rows of one kind of point."""
    n = moved.miss.shape[1]
    return pd.DataFrame(
        {
            "points": name,
            "step": np.repeat(moved.steps, n),
            "length": np.repeat(moved.steps, n) * moved.radius,
            "point": np.tile(np.arange(n), len(moved.steps)),
            moved.measure: moved.miss.flatten().numpy(),
            "absolute": moved.absolute.flatten().numpy(),
        }
    )

"""A locally adaptive normal law and a Euclidean one, fitted to the same codes and held against others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.geometry.land import (
    Constant,
    Land,
    Setting,
    elsewhere,
    fit_land,
    judged,
    log_density,
    scattered,
)
from latentrun.geometry.surface import Surface

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

FEW = 30  # points that carry a constant: below, nothing is said of the density
STARTS = 5  # of the Euclidean mixture, of which the likeliest is kept
MARGIN = 0.25  # of the codes' box, by which the plane that is drawn is wider
RIDGE = 1e-6  # of their mean variance, added to Euclidean variances: codes may lie on a line


@dataclass(frozen=True)
class Fits:
    """Both laws. ``constants``: of the components of the LAND, by points it was not fitted with, in
    ``setting``, which holds the test codes; ``land_log``, ``gaussian_log (N,)`` float64: log density of each
    of these with respect to dz of the chart, in nats, NaN where a shortest curve was not found or too few
    points carry a constant."""

    land: Land
    gaussian: GaussianMixture
    setting: Setting
    constants: list[Constant]
    land_log: Tensor
    gaussian_log: Tensor


def euclidean(codes: Tensor, components: int, noise: Noise) -> GaussianMixture:
    """A mixture of normal laws of maximum likelihood, each with a covariance of its own."""
    from sklearn.mixture import GaussianMixture

    x = codes.cpu().double().numpy()
    seed = int(noise.integers("gaussian", 2**31 - 1, (1,)))
    ridge = RIDGE * float(x.var(0).mean())
    starts = 1 if components == 1 else STARTS
    return GaussianMixture(components, reg_covar=ridge, n_init=starts, max_iter=500, random_state=seed).fit(x)


def fit(setting: Setting, test: Tensor, components: int, rounds: int, tolerance: float, noise: Noise) -> Fits:
    """Both laws of the setting's codes, held against ``test (N, d)`` where constants are carried by enough
    points."""
    gaussian = euclidean(setting.codes, components, noise)
    share = torch.from_numpy(gaussian.predict_proba(setting.codes.cpu().double().numpy()))
    land = fit_land(setting, share.to(setting.codes.device), rounds, tolerance, FEW)
    gaussian_log = torch.from_numpy(gaussian.score_samples(test.cpu().double().numpy()))
    constants = [component.constant(setting.points) for component in land.components]
    if min(constant.effective for constant in constants) < FEW:
        return Fits(
            land, gaussian, setting, constants, torch.full_like(gaussian_log, torch.nan), gaussian_log
        )
    fresh = scattered(setting.surface, setting.codes, len(setting.points.z), noise.at("fresh"))
    held = Setting(setting.surface, test, fresh, setting.curves, setting.graph)
    land = judged(held, land)
    constants = [component.constant(fresh) for component in land.components]
    return Fits(land, gaussian, held, constants, log_density(held, land).cpu(), gaussian_log)


def land_draws(fits: Fits, n: int, noise: Noise) -> Tensor:
    """n points ``(n, d)`` drawn from the LAND: of the points of its constants, by their weight."""
    points = fits.setting.points
    parts = [
        component.weights(points.log_weight).log_softmax(0) + weight.log()
        for component, weight in zip(fits.land.components, fits.land.weight, strict=True)
    ]
    share = torch.stack(parts).logsumexp(0).softmax(0).cumsum(0)
    at = torch.searchsorted(share, noise.uniform("land", (n,)).to(share) * share[-1])
    return points.z[at.clamp_max(len(share) - 1)]


def gaussian_draws(fits: Fits, n: int, noise: Noise) -> Tensor:
    """n points ``(n, d)`` drawn from the Euclidean mixture."""
    mixture, z = fits.gaussian, fits.setting.points.z
    ends = torch.from_numpy(mixture.weights_.cumsum())
    at = torch.searchsorted(ends, noise.uniform("component", (n,)).double()).clamp_max(len(ends) - 1).numpy()
    factors = torch.from_numpy(np.linalg.cholesky(mixture.covariances_))[at]
    draw = noise.normal("gaussian", (n, z.shape[1])).double().unsqueeze(2)
    return (torch.from_numpy(mixture.means_)[at] + (factors @ draw).squeeze(2)).to(z)


# ---------------------------------------------------------------- the plane
def plane(surface: Surface, fits: Fits, codes: Tensor, side: int) -> dict[str, np.ndarray]:
    """Both log densities on ``side`` x ``side`` places of the box of the codes ``(N, 2)`` and a margin, NaN
    where a shortest curve was not found: ``land``, ``gaussian``, rows along the second coordinate, ``first``
    and ``second`` the places along each."""
    low, high = codes.amin(0), codes.amax(0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    lines = [torch.linspace(a, b, side).to(codes) for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    second, first = torch.meshgrid(lines[1], lines[0], indexing="ij")
    places = torch.stack([first.flatten(), second.flatten()], 1)
    there = Setting(surface, places, fits.setting.points, fits.setting.curves, fits.setting.graph)
    gaussian = fits.gaussian.score_samples(places.cpu().double().numpy())
    return {
        "land": log_density(there, elsewhere(there, fits.land)).view(side, side).cpu().numpy(),
        "gaussian": gaussian.reshape(side, side),
        "first": lines[0].cpu().double().numpy(),
        "second": lines[1].cpu().double().numpy(),
    }


def mass(log_density: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """The sum of a density over the cells around its places: its share on the plane, were the constant
    right."""
    cell = (first[1] - first[0]) * (second[1] - second[0])
    return float(np.exp(np.nan_to_num(log_density, nan=-np.inf)).sum() * cell)


# ---------------------------------------------------------------- tables
def component_table(fits: Fits) -> pd.DataFrame:
    """A row for each component of the LAND."""
    rows = []
    for component, weight, constant in zip(
        fits.land.components, fits.land.weight.tolist(), fits.constants, strict=True
    ):
        row = {"weight": weight}
        row |= {f"mean_{i}": value for i, value in enumerate(component.mean.tolist())}
        for i, line in enumerate(component.precision.tolist()):
            row |= {f"precision_{i}_{j}": value for j, value in enumerate(line) if j >= i}
        row |= {"log_constant": constant.log, "error": constant.error, "effective": constant.effective}
        rows.append(row)
    return pd.DataFrame(rows).rename_axis("component").reset_index()

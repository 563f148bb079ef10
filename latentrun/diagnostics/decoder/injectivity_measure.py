"""Derivatives of images and codes by the factors, and pairs of combinations that both hardly tell apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.data.base import Oracle
from latentrun.functional.clouds.whitening import Whitening
from latentrun.functional.jacobians import Spectrum, derivatives, spectrum
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGaussianPosterior
from latentrun.run import Run
from latentrun.types import Estimate, Factor

# Numbers of images and their derivatives held at once: on a CPU so many that its cache keeps them.
CHUNK, CHUNK_GPU = 2**18, 2**27
UNITS = {
    "image": "data units (Euclidean over all dimensions)",
    "latent": "whitened code units",
    "posterior": "standard deviations of q(z|x)",
}


@dataclass(frozen=True)
class Combinations:
    """N combinations of factors: values ``y (N, F)`` float64; ``low`` and ``high (F,)`` the factors' ends;
    ``real``: the numbers of those that vary continuously, by which one can differentiate."""

    factors: Sequence[Factor]
    y: Tensor
    low: Tensor
    high: Tensor
    real: list[int]

    @property
    def share(self) -> Tensor:
        """The factors as shares of their ranges, ``(N, F)``."""
        return (self.y - self.low) / (self.high - self.low).clamp_min(1e-300)

    @property
    def names(self) -> list[str]:
        """The names of the real factors."""
        return [self.factors[i].name for i in self.real]

    @property
    def real_share(self) -> np.ndarray:
        """:attr:`share` of the real factors, ``(N, R)``."""
        return self.share[:, self.real].numpy()

    @property
    def width(self) -> Tensor:
        """The ranges of the real factors, ``(R,)``."""
        return (self.high - self.low)[self.real]


def real_factors(factors: Sequence[Factor]) -> list[int]:
    """The numbers of the factors that vary continuously."""
    return [
        i
        for i, factor in enumerate(factors)
        if factor.kind in ("real", "cyclic") and factor.high > factor.low
    ]


def combinations(run: Run, real: list[int], most: int, noise: Noise) -> Combinations:
    """Distinct combinations of factors of the examples of all splits, in the order of their index; of more
    than ``most`` so many drawn at random."""
    y = torch.cat([rows.y for rows in run.data.parts()])
    y = torch.unique(y[torch.cat([rows.index for rows in run.data.parts()]).argsort()], dim=0)
    if len(y) > most:
        y = y[noise.to("cpu").permutation("points", len(y))[:most].sort().values]
    low, high = (
        torch.tensor([getattr(factor, end) for factor in run.data.factors], dtype=torch.float64)
        for end in ("low", "high")
    )
    return Combinations(run.data.factors, y.double(), low, high, real)


# ---------------------------------------------------------------- derivatives
@dataclass(frozen=True)
class Maps:
    """The combinations as images ``x (N, *event_shape)`` float32 and codes ``z (N, d)`` float64 on the CPU,
    and the ``spectra`` of the derivatives by the real factors: per range in each space of :data:`UNITS`, per
    unit in ``image_raw`` and ``latent_raw``."""

    spectra: Mapping[str, Spectrum]
    x: Tensor
    z: Tensor


def measure(run: Run, points: Combinations, white: Whitening) -> Maps:
    """Render, encode and differentiate all combinations, a chunk at a time."""
    size = math.prod(run.data.event_shape) * (1 + len(points.real))
    rows = max(1, (CHUNK_GPU if run.device.type == "cuda" else CHUNK) // size)
    directions = torch.zeros(len(points.real), points.y.shape[1], dtype=torch.float64, device=run.device)
    directions[range(len(points.real)), points.real] = points.width.to(run.device)
    turn, width = torch.from_numpy(white.axes / white.sd), points.width[:, None, None]
    forward, spectra, x, z = image_and_code(run), [], [], []
    for y in points.y.to(run.device).split(rows):
        (images, codes, *sd), (d_images, d_codes, *_) = derivatives(forward, y, directions)
        x.append(images.float())
        z.append(codes.double().cpu())
        d_codes = d_codes.double().cpu()
        spectra.append({"image": spectrum(d_images), "latent": spectrum(d_codes @ turn)})
        if sd:
            spectra[-1]["posterior"] = spectrum(d_codes / sd[0].double().cpu())
        spectra[-1]["image_raw"] = spectrum(d_images.flatten(2) / width.to(d_images))
        spectra[-1]["latent_raw"] = spectrum(d_codes @ turn / width)
    together = {space: _joined([chunk[space] for chunk in spectra]) for space in spectra[0]}
    return Maps(together, torch.cat(x), torch.cat(z))


def image_and_code(run: Run) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """The map from factors to image and code, and to the scale of a Gaussian posterior where there is one."""

    data, model = run.data, run.model
    assert isinstance(data, Oracle) and isinstance(model, HasEncoder)  # injectivity requires both

    def forward(y: Tensor) -> tuple[Tensor, ...]:
        x = data.render(y)
        if isinstance(model, HasGaussianPosterior):
            q = model.posterior(x.float())
            return x, q.mean, q.stddev
        return x, model.encode(x.float())

    return forward


def _joined(spectra: Sequence[Spectrum]) -> Spectrum:
    fields = ("least", "greatest", "columns", "weakest")
    return Spectrum(*(torch.cat([getattr(chunk, field).cpu() for chunk in spectra]) for field in fields))


# ---------------------------------------------------------------- tables and numbers
def point_table(points: Combinations, maps: Maps) -> pd.DataFrame:
    """A row for each combination: factors, norm of the image, singular values and changes in each space."""
    table = pd.DataFrame(points.y.float().numpy(), columns=[factor.name for factor in points.factors])
    table["image.norm"] = maps.x.flatten(1).norm(dim=1).cpu().numpy()
    spaces = [spectrum_columns(space, spectrum, points.names) for space, spectrum in maps.spectra.items()]
    return pd.concat([table, *spaces], axis=1)


def spectrum_columns(space: str, spectrum: Spectrum, names: Sequence[str]) -> pd.DataFrame:
    """Columns of the table of points; of spaces in the factors' own units the least alone."""
    columns = {f"{space}.least": spectrum.least}
    if space in UNITS:
        columns[f"{space}.greatest"] = spectrum.greatest
        columns |= {f"{space}.{name}": norm for name, norm in zip(names, spectrum.columns.T, strict=True)}
        weakest = zip(names, spectrum.weakest.T, strict=True)
        columns |= {f"{space}.weak.{name}": component for name, component in weakest}
    return pd.DataFrame({name: column.float().numpy() for name, column in columns.items()})


def spaces_of(points: pd.DataFrame) -> list[str]:
    """The spaces whose derivatives a table of points holds."""
    return [space for space in UNITS if f"{space}.least" in points]


def overall(spectra: Mapping[str, Spectrum]) -> dict[str, Estimate]:
    """What holds of all points together."""
    metrics = {
        f"raw.{space}": Estimate(spectra[f"{space}_raw"].least.min().item()) for space in ("image", "latent")
    }
    for space in (space for space in UNITS if space in spectra):
        least, greatest = spectra[space].least, spectra[space].greatest
        condition = (greatest / least).nan_to_num(math.inf, math.inf)
        metrics[f"{space}_least"] = Estimate(least.min().item())
        metrics[f"{space}_median"] = Estimate(least.median().item())
        metrics[f"{space}_condition"] = Estimate(condition.median().item())
    return metrics


def least_table(points: pd.DataFrame, space: str, factors: int, shown: int) -> pd.DataFrame:
    """The points where the least singular value is smallest, their factors and what shows least there."""
    worst = points.nsmallest(shown, f"{space}.least")
    least = worst[[f"{space}.least"]].set_axis(["least"], axis=1)
    weakest = worst.filter(regex=rf"^{space}\.weak\.")
    weakest = weakest.rename(columns=lambda name: name.removeprefix(f"{space}."))
    table = pd.concat([least, worst.iloc[:, :factors], weakest], axis=1)
    table.insert(0, "space", space)
    return table


# ---------------------------------------------------------------- collisions
def worst_pairs(ratio: Tensor, partner: Tensor, shown: int) -> tuple[Tensor, Tensor]:
    """The rows of the ``shown`` pairs of least ``ratio (N,)`` to their ``partner (N,)``, each pair once."""
    rows = torch.arange(len(ratio))
    once = (partner >= 0) & ((rows < partner) | (partner[partner.clamp_min(0)] != rows))
    first = rows[once][ratio[once].argsort()][:shown]
    return first, partner[first]


def pair_table(
    space: str, factors: Sequence[Factor], ratio: Tensor, one: Tensor, other: Tensor
) -> pd.DataFrame:
    """Pairs of combinations ``(n, F)`` with their ``ratio (n,)``."""
    columns = {
        f"{factor.name}{side}": rows[:, i].numpy()
        for side, rows in {"": one, " other": other}.items()
        for i, factor in enumerate(factors)
    }
    return pd.DataFrame({"space": space, "ratio": ratio.numpy(), **columns})

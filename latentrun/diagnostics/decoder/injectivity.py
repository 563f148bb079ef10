"""Where the map from factors to pictures, and on to codes, loses a factor: the fold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Annotated, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_factors
from latentrun.diagnostics.decoder.injectivity_plot import change_curves, least_maps
from latentrun.diagnostics.needs import ENCODER, FACTORS, GAUSSIAN_POSTERIOR, IMAGES, ORACLE
from latentrun.errors import unknown
from latentrun.functional.clouds.collisions import collisions
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.jacobians import Spectrum, derivatives, spectrum
from latentrun.functional.noise import Noise
from latentrun.models.base import HasGaussianPosterior, Model
from latentrun.plotting.images import strips
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

CHUNK = (
    2**18
    # Numbers of pictures and their derivatives held at once, so that a CPU's cache keeps them.
    # A GPU takes 2**27.
)
UNITS = {
    "image": "data units (Euclidean over all dimensions)",
    "latent": "whitened code units",
    "posterior": "standard deviations of q(z|x)",
}
SHOWN = {
    "image": "picture (data units)",
    "latent": "code (whitened units)",
    "posterior": "code (posterior sd)",
}
ENDS = ("low", "high")
STEPS = 9  # pictures of a row along which the factor changes
DIAGONAL = 0.02  # points whose corner factors differ by less, in shares of their ranges, are on the diagonal


def _metrics() -> dict[str, Metric]:
    found = {
        "raw": Metric(
            "as image_least and latent_least, but per unit of each factor instead of per range",
            0,
            None,
            "none",
        )
    }
    for space, unit in UNITS.items():
        better = (
            "none" if space == "image" else "higher"
        )  # the pictures are given: their numbers are no model's merit
        found |= {
            f"{space}_least": Metric(
                f"{unit} per range of a factor: least singular value, least over points", 0, None, better
            ),
            f"{space}_median": Metric(
                f"{unit} per range of a factor: least singular value, median over points", 0, None, better
            ),
            f"{space}_condition": Metric(
                "greatest over least singular value, median over points", 1, None, "none"
            ),
            f"{space}_corner": Metric(
                "least singular value in the corner (geometric mean) over the median of all points",
                0,
                None,
                "one",
            ),
            f"{space}_rank": Metric(
                "share of points whose least singular value is below the corner's mean", 0, 1, "none"
            ),
            f"{space}_factor_corner": Metric(
                "change by the factor in the corner (geometric mean) over the median of all", 0, None, "one"
            ),
            f"{space}_factor_rank": Metric(
                "share of points where the factor changes less than in the corner", 0, 1, "none"
            ),
            f"{space}_alignment": Metric(
                "|component along the factor| of what shows least, mean over the corner", 0, 1, "none"
            ),
        }
        if space == "image":
            found["image_factor_relative"] = Metric(
                "as image_factor_corner, of changes as shares of the picture's norm", 0, None, "none"
            )
        if space != "posterior":
            found[f"{space}_collision"] = Metric(
                f"{unit} per range of a factor: least over pairs far apart", 0, None, better
            )
    return found


class Injectivity(Diagnostic):
    """Where do factors no longer show in the picture and in the code?

    At every combination y of factors in the data, with x = render(y) and z = encode(x) (mean of q(z|x)): J =
    d x / d y and d z / d y along the real factors, each in shares of its range so that the columns can be
    compared; other factors are held at their value. The *least* singular value of J is how much the mixture
    of factors that shows least changes the picture or the code; its right singular vector is that mixture. J
    is exact: forward mode through the renderer (float64) and the encoder (the model's own precision: below
    about 1e-6 of the greatest, a singular value of codes is rounding).

    ``image``: in data units, Euclidean over all dimensions; it says nothing of the model. ``latent``: z in
    whitened units (rotated to the principal axes of the train codes, divided by their standard deviations),
    comparable between models. ``posterior``: z in standard deviations of q(z|x) at that x: how well a code
    tells two combinations apart.

    The corner: points where the factors ``corner`` are within the share ``within`` of their range from the
    named ends. ``_corner``: 1 where the corner is like the rest; ``_rank``: 0 where no point is worse;
    ``_factor_corner`` and ``_factor_rank``: the same for the column of ``factor`` alone, the change it makes;
    ``_alignment``: 1 where what shows least in the corner is that factor alone; ``image_factor_relative``:
    ``_factor_corner`` of changes as shares of ||x||, for a corner whose pictures are brighter than the rest.
    Means of singular values and norms in the corner are geometric.

    ``_collision``: the least ||x - x'|| / ||y - y'|| over all pairs with ||y - y'|| >= ``beyond`` (a class is
    as far from another as a factor's ends), in the unit of the singular values: far below ``_least`` where
    the map is injective near each of two points and yet sends them to the same place.

    The numbers are of this model on these points: nothing is sampled, so they have no interval.
    """

    requires = (ENCODER, FACTORS, ORACLE)
    uses = (GAUSSIAN_POSTERIOR, IMAGES)
    metrics: ClassVar = _metrics()

    def __init__(
        self,
        points: Annotated[int, Ge(2)],
        factor: str | None,
        corner: dict[str, str],
        within: Annotated[float, Between(0, 1)],
        flat: Annotated[float, Between(0, 1)],
        beyond: Annotated[float, Gt(0)],
        shown: Annotated[int, Ge(1)],
    ):
        for name, end in corner.items():
            if end not in ENDS:
                raise unknown(f"diagnostic.injectivity.corner.{name}", end, ENDS)
        self.points, self.factor, self.corner, self.within = points, factor, corner, within
        self.flat, self.beyond, self.shown = flat, beyond, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_factors("diagnostic.injectivity.factor", [self.factor] if self.factor else [], data)
        check_factors("diagnostic.injectivity.corner", list(self.corner), data)

    # ---------------------------------------------------------------- measuring
    def __call__(self, run: Run, noise: Noise) -> Report:
        factors = run.data.factors
        real = [
            i
            for i, factor in enumerate(factors)
            if factor.kind in ("real", "cyclic") and factor.high > factor.low
        ]
        if not real:
            return Report(
                notes=("the data have no real factor that varies: there is nothing to differentiate by",)
            )
        y = self._rows(run, noise)
        low, high = (
            torch.tensor([getattr(factor, end) for factor in factors], dtype=torch.float64) for end in ENDS
        )
        names, share = [factors[i].name for i in real], (y - low) / (high - low).clamp_min(1e-300)
        white = whitening(run.latents("train").codes.cpu().double().numpy(), self.flat)
        spectra, x, z = self._measure(run, y, real, (high - low)[real], white)
        notes = [
            f"{len(y):,} combinations of factors; derivatives along {', '.join(names)}, per full "
            "range of each"
        ]
        held = [factor.name for factor in factors if factor.name not in names]
        notes += [f"held at their value: {', '.join(held)}"] * bool(held) + [white.note] * bool(white.note)
        if len(white.sd) < len(real):
            notes.append(
                f"codes vary in {len(white.sd)} directions, factors in {len(real)}: some mixture is "
                "lost everywhere"
            )

        points = pd.DataFrame(y.float().numpy(), columns=[factor.name for factor in factors])
        points["image.norm"] = x.flatten(1).norm(dim=1).cpu().numpy()
        points = pd.concat(
            [points, *(_columns(space, found, names) for space, found in spectra.items())], axis=1
        )
        tables, metrics = {"points": points}, _overall(spectra)
        arrays = {"names": np.array(names, dtype=str), "ranges": torch.stack([low, high], 1)[real].numpy()}
        arrays["value_range"] = np.array(run.data.value_range, np.float64)
        corner, note = self._corner(names, share[:, real].numpy())
        notes.append(note)
        if corner is not None:
            metrics |= self._against(points, corner)
            tables["regions"] = self._regions(points, names, share[:, real].numpy())
            if run.data.is_image and self.factor in names:
                arrays |= self._sweep(run, factors, y[corner].median(0).values)
        tables["least"] = pd.concat(
            [_least(points, space, len(factors), self.shown) for space in spectra], ignore_index=True
        )

        pairs = []
        for space, image in (("image", x), ("latent", torch.from_numpy(white.to(z.numpy())).to(x))):
            ratio, partner = (part.cpu() for part in collisions(share.to(x.device), image, self.beyond))
            if not ratio.isfinite().any():
                notes.append(f"no two combinations are {self.beyond:g} apart")
                break
            metrics[f"{space}_collision"] = Estimate(ratio.min().item())
            first, second = self._worst(ratio, partner)
            pairs.append(_pairs(space, factors, ratio[first], y[first], y[second]))
            arrays[f"pairs_{space}"] = x[torch.stack([first, second])].cpu().numpy()
        if pairs:
            tables["collisions"] = pd.concat(pairs, ignore_index=True)
        return Report(metrics, tables, arrays, notes=tuple(notes))

    def _rows(self, run: Run, noise: Noise) -> Tensor:
        """Distinct factors ``(N, F)`` float64 of the examples of all splits, in the order of their index."""
        y = torch.cat([rows.y for rows in run.data.parts()])[
            torch.cat([rows.index for rows in run.data.parts()]).argsort()
        ]
        y = torch.unique(y, dim=0)
        if len(y) > self.points:
            y = y[noise.to("cpu").permutation("points", len(y))[: self.points].sort().values]
        return y.double()

    def _measure(
        self, run: Run, y: Tensor, real: Sequence[int], width: Tensor, white: Whitening
    ) -> tuple[dict[str, Spectrum], Tensor, Tensor]:
        """Spectra of the derivatives in each space, pictures ``(N, *event)`` float32, codes ``(N, d)``
        float64 on the CPU."""
        gaussian, parts = isinstance(run.model, HasGaussianPosterior), []
        directions = torch.zeros(len(real), y.shape[1], dtype=torch.float64, device=run.device)
        directions[range(len(real)), real] = width.to(run.device)
        turn, width = torch.from_numpy(white.axes / white.sd), width[:, None, None]

        def forward(y: Tensor) -> tuple[Tensor, ...]:
            x = run.data.render(y)
            if gaussian:
                q = run.model.posterior(x.float())
                return x, q.mean, q.stddev
            return x, run.model.encode(x.float())

        numbers = (2**27 if run.device.type == "cuda" else CHUNK) // (
            math.prod(run.data.event_shape) * (1 + len(real))
        )
        for part in y.to(run.device).split(max(1, numbers)):
            (x, z, *sd), (dx, dz, *_) = derivatives(forward, part, directions)
            z, dz = z.double().cpu(), dz.double().cpu()
            found = {"image": spectrum(dx), "latent": spectrum(dz @ turn)}
            if gaussian:
                found["posterior"] = spectrum(dz / sd[0].double().cpu())
            found |= {
                "image_raw": spectrum(dx.flatten(2) / width.to(dx)),
                "latent_raw": spectrum(dz @ turn / width),
            }
            parts.append((found, x.float(), z))
        spectra, x, z = zip(*parts, strict=True)
        return (
            {space: _joined([found[space] for found in spectra]) for space in spectra[0]},
            torch.cat(x),
            torch.cat(z),
        )

    # ---------------------------------------------------------------- what it means
    def _corner(self, names: Sequence[str], share: np.ndarray) -> tuple[np.ndarray | None, str]:
        """Which points lie in the corner ``(N,)``, or None and why there is none."""
        missing = [name for name in self.corner if name not in names]
        if missing or not self.corner:
            return (
                None,
                f"no corner: the data have no real factor {', '.join(missing)}"
                if missing
                else "no corner was asked for",
            )
        inside = np.logical_and.reduce(
            [self._band(share[:, names.index(name)]) == end for name, end in self.corner.items()]
        )
        where = ", ".join(f"{name} {end}" for name, end in self.corner.items())
        if not inside.any():
            return None, f"no point lies in the corner ({where}, within {self.within:g} of the ends)"
        return (
            inside,
            f"the corner: {where}, within {self.within:g} of the ends of their ranges, "
            f"{inside.sum():,} points",
        )

    def _band(self, share: np.ndarray) -> np.ndarray:
        """low, middle or high ``(N,)``, of one factor."""
        return np.where(
            share >= 1 - self.within - 1e-6, "high", np.where(share <= self.within + 1e-6, "low", "middle")
        )

    def _against(self, points: pd.DataFrame, corner: np.ndarray) -> dict[str, Estimate]:
        """The corner against all points."""
        found = {}
        for space in _spaces(points):
            columns = {"": f"{space}.least"} | (
                {"factor_": f"{space}.{self.factor}"} if f"{space}.{self.factor}" in points else {}
            )
            for what, column in columns.items():
                values = points[column].to_numpy(np.float64)
                there = _geometric(values[corner])
                found[f"{space}_{what}corner"] = Estimate(_over(there, np.median(values)))
                found[f"{space}_{what}rank"] = Estimate(float((values < there).mean()))
            if "factor_" in columns:
                found[f"{space}_alignment"] = Estimate(
                    float(points.loc[corner, f"{space}.weak.{self.factor}"].abs().mean())
                )
        if "factor_" in columns:
            relative = (points[f"image.{self.factor}"] / points["image.norm"]).to_numpy(np.float64)
            found["image_factor_relative"] = Estimate(
                _over(_geometric(relative[corner]), np.median(relative))
            )
        return found

    def _regions(self, points: pd.DataFrame, names: Sequence[str], share: np.ndarray) -> pd.DataFrame:
        """Geometric means over the regions that the bands low, middle, high of the corner factors make, and
        over all points."""
        bands = {name: self._band(share[:, names.index(name)]) for name in self.corner}
        columns = [f"{space}.{part}" for space in _spaces(points) for part in ("least", "greatest", *names)]
        rows = []
        for kinds in [("all",) * len(bands), *product(("low", "middle", "high"), repeat=len(bands))]:
            inside = np.logical_and.reduce(
                [(kind == "all") | (band == kind) for kind, band in zip(kinds, bands.values(), strict=True)]
            )
            inside = np.broadcast_to(inside, len(points))
            if inside.any():
                rows.append(
                    (
                        *kinds,
                        int(inside.sum()),
                        *(_geometric(points.loc[inside, column].to_numpy()) for column in columns),
                    )
                )
        return pd.DataFrame(rows, columns=[*bands, "points", *columns])

    def _sweep(self, run: Run, factors: Sequence[Factor], middle: Tensor) -> dict[str, np.ndarray]:
        """Pictures along which only the factor changes: in the corner, in the middle and in the opposite
        corner."""
        index = {factor.name: i for i, factor in enumerate(factors)}
        at = middle.repeat(3, 1)
        for name, end in self.corner.items():
            ends = [getattr(factors[index[name]], side) for side in (end, ENDS[end == "low"])]
            at[:, index[name]] = torch.tensor([ends[0], sum(ends) / 2, ends[1]])
        factor = factors[index[self.factor]]
        values = torch.linspace(factor.low, factor.high, STEPS, dtype=torch.float64)
        y = at[:, None].repeat(1, STEPS, 1)
        y[:, :, index[self.factor]] = values
        x = run.data.render(y.flatten(0, 1).to(run.device)).unflatten(0, y.shape[:2]).cpu()
        change = (x - x[:, :1]).flatten(2).norm(dim=2)
        return {"sweep": x.float().numpy(), "sweep_values": values.numpy(), "sweep_change": change.numpy()}

    def _worst(self, ratio: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        """The rows of the ``shown`` worst pairs, each pair once."""
        rows = torch.arange(len(ratio))
        once = (partner >= 0) & ((rows < partner) | (partner[partner.clamp_min(0)] != rows))
        first = rows[once][ratio[once].argsort()][: self.shown]
        return first, partner[first]

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "points" not in report.tables:
            return {}
        points, arrays, found = report.tables["points"], report.arrays, {}
        names = list(map(str, arrays["names"]))
        plane = [name for name in self.corner if name in names] or names
        plane = [*plane, *(name for name in names if name not in plane)][:2]
        rest = [name for name in (self.factor, *names) if name in names and name not in plane]
        spaces = [space for space in _spaces(points)]
        if len(plane) == 2:
            found["map"] = Picture(
                least_maps(
                    {SHOWN[space]: points[f"{space}.least"].to_numpy() for space in spaces},
                    points,
                    plane,
                    rest[0] if rest else None,
                ),
                "The least singular value of the derivatives by the factors (logarithmic colours): "
                "how much the mixture of factors that "
                "shows least changes the picture, or the code, per range of a factor. Left: at single "
                "values of one factor; right: the "
                "least over all of them. Cross: the least point of each panel.",
            )
        if set(self.corner) <= set(names) and self.corner:
            found["diagonal"] = Picture(*self._diagonal(points, names, arrays["ranges"], spaces))
        if "sweep" in arrays:
            rows = [
                (text, x)
                for text, x in zip(
                    ("in the corner", "in the middle", "opposite corner"), arrays["sweep"], strict=True
                )
            ]
            under = [[f"{value:.2f}" for value in row] for row in arrays["sweep_change"]]
            ends = " and ".join(f"{name.replace('_', ' ')} {end}" for name, end in self.corner.items())
            found["corner"] = Picture(
                strips(
                    rows,
                    tuple(arrays["value_range"]),
                    0.6,
                    [f"{value:.2f}" for value in arrays["sweep_values"]],
                    under=under,
                ),
                f"What {self.factor.replace('_', ' ')} changes: pictures over its range (bottom), in "
                f"the first row with {ends}, then "
                "with these in the middle and at the opposite ends. Beneath each picture: its "
                "distance to the first of its row.",
            )
        if "collisions" in report.tables and arrays["pairs_image"].ndim == 5:
            found["collisions"] = Picture(*self._collisions(report.tables["collisions"], arrays, names))
        return found

    def _diagonal(
        self, points: pd.DataFrame, names: Sequence[str], ranges: np.ndarray, spaces: Sequence[str]
    ) -> tuple:
        """Changes by each factor from the opposite corner to the corner."""
        low, width = ranges[:, 0], np.ptp(ranges, axis=1)
        share = {
            name: (points[name].to_numpy() - low[i]) / width[i]
            for i, name in enumerate(names)
            if name in self.corner
        }
        share = np.stack(
            [1 - share[name] if end == "low" else share[name] for name, end in self.corner.items()]
        )
        on = np.ptp(share, axis=0) <= DIAGONAL
        first = next(iter(self.corner))
        panels = {}
        for space in spaces:
            curves = {
                f"{name.replace('_', ' ')} alone": points.loc[on, f"{space}.{name}"].to_numpy()
                for name in names
            }
            panels[SHOWN[space]] = curves | {"what shows least": points.loc[on, f"{space}.least"].to_numpy()}
        others = [name.replace("_", " ") for name in self.corner if name != first]
        label = first.replace("_", " ") + (
            f" ({', '.join(others)} at the same share of the way)" if others else ""
        )
        fig = change_curves(panels, points.loc[on, first].to_numpy(), label)
        corner = ", ".join(f"{name} {end}" for name, end in self.corner.items())
        return fig, (
            "Change of the picture and of the code by each factor alone, and by the mixture of "
            "factors that shows least, per range of a "
            f"factor, along the diagonal to the corner ({corner}). Lines: geometric means over "
            "the points there; shaded: the least to the greatest of them."
        )

    def _collisions(self, table: pd.DataFrame, arrays, names: Sequence[str]) -> tuple:
        """Pairs that lie apart and look alike, in the picture and in the code."""
        rows, under = [], []
        for space, part in table.groupby("space", sort=False):
            for side, x in enumerate(arrays[f"pairs_{space}"]):
                rows.append((f"{space}, {'one' if side == 0 else 'other'}", x))
                values = part[[f"{name}{'' if side == 0 else ' other'}" for name in names]].to_numpy()
                under.append([", ".join(f"{value:.2g}" for value in row) for row in values])
        return strips(rows, tuple(arrays["value_range"]), 0.95, under=under), (
            f"Pairs of pictures whose factors are at least {self.beyond:g} of their ranges apart and "
            "which differ least for that, worst "
            "first: in the picture, and in the code. Beneath each: "
            f"{', '.join(name.replace('_', ' ') for name in names)}."
        )


def _spaces(points: pd.DataFrame) -> list[str]:
    """The spaces whose derivatives a table of points holds."""
    return [space for space in UNITS if f"{space}.least" in points]


def _joined(spectra: Sequence[Spectrum]) -> Spectrum:
    return Spectrum(
        *(
            torch.cat([getattr(found, part).cpu() for found in spectra])
            for part in ("least", "greatest", "columns", "weakest")
        )
    )


def _columns(space: str, found: Spectrum, names: Sequence[str]) -> pd.DataFrame:
    """Columns of the table of points; of spaces in the factors' own units the least alone."""
    columns = {f"{space}.least": found.least}
    if space in UNITS:
        columns[f"{space}.greatest"] = found.greatest
        columns |= {f"{space}.{name}": norm for name, norm in zip(names, found.columns.T, strict=True)}
        columns |= {f"{space}.weak.{name}": part for name, part in zip(names, found.weakest.T, strict=True)}
    return pd.DataFrame({name: column.float().numpy() for name, column in columns.items()})


def _overall(spectra: dict[str, Spectrum]) -> dict[str, Estimate]:
    """What holds of all points together."""
    found = {
        f"raw.{space}": Estimate(spectra[f"{space}_raw"].least.min().item()) for space in ("image", "latent")
    }
    for space in (space for space in UNITS if space in spectra):
        least, greatest = spectra[space].least, spectra[space].greatest
        found[f"{space}_least"] = Estimate(least.min().item())
        found[f"{space}_median"] = Estimate(least.median().item())
        found[f"{space}_condition"] = Estimate(
            (greatest / least).nan_to_num(math.inf, math.inf).median().item()
        )
    return found


def _least(points: pd.DataFrame, space: str, factors: int, shown: int) -> pd.DataFrame:
    """The points where the least singular value is smallest, their factors and what shows least there."""
    worst = points.nsmallest(shown, f"{space}.least")
    weak = worst.filter(regex=rf"^{space}\.weak\.").rename(
        columns=lambda name: name.removeprefix(f"{space}.")
    )
    found = pd.concat(
        [worst[[f"{space}.least"]].set_axis(["least"], axis=1), worst.iloc[:, :factors], weak], axis=1
    )
    found.insert(0, "space", space)
    return found


def _pairs(space: str, factors: Sequence[Factor], ratio: Tensor, one: Tensor, other: Tensor) -> pd.DataFrame:
    """Pairs of combinations with their ratio."""
    sides = {"": one, " other": other}
    columns = {
        f"{factor.name}{side}": rows[:, i].numpy()
        for side, rows in sides.items()
        for i, factor in enumerate(factors)
    }
    return pd.DataFrame({"space": space, "ratio": ratio.numpy(), **columns})


def _geometric(values: np.ndarray) -> float:
    """Geometric mean; 0 where a value is."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values.astype(np.float64)).mean()))


def _over(a: float, b: float) -> float:
    return float(a / b) if b > 0 else math.nan

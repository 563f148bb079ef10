"""Traversals: paths through latent space, decoded."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Each, Ge, Gt
from latentrun.data.base import Dataset, Oracle
from latentrun.data.formats.columns import courses
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, ORACLE
from latentrun.errors import InputError, Misfit
from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import (
    Paths,
    arcs,
    axis_lines,
    far_apart,
    leading,
    plane_lines,
    purest,
    read,
    segments,
)
from latentrun.models.base import HasEncoder, HasGenerator, Model
from latentrun.plotting.columns import MOVERS, column_courses
from latentrun.plotting.images import strips
from latentrun.plotting.paths import FEW, factor_curves, profiles
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

ALL_OF = 4  # `pairs: all` takes the pairs of so many latents, those of largest variance
CURVES = 8  # columns of the figure of factors
PANELS = 16  # line plots of data that are no pictures
TITLES = {
    "axes": "each latent alone",
    "pairs": "lines in planes of two latents",
    "lines": "straight lines through latent space",
    "angles": "arcs in latent space",
}
UNITS = {
    "axes": "position (sd of codes)",
    "pairs": "position (sd of codes)",
    "lines": "share of the way",
    "angles": "angle (degrees)",
}
Kind = Literal["axes", "pairs", "lines", "angles"]
Pair = tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]]


class Traversal(Diagnostic):
    """What changes along paths through latent space, and has every factor a path of its own?

    Four kinds of path: ``axes``, each latent in turn around the mean code; ``pairs``, straight lines through
    the mean in planes of two latents; ``lines``, straight lines between two codes; ``angles``, arcs around
    the mean in those planes. Lengths are in whitened units: standard deviations of the training codes (means
    of q(z|x)); without an encoder the mean is 0 and the unit 1. On a curved latent space the points are
    projected onto it.

    With an oracle each decoded point is fitted by the nearest member of the data's family. For a factor f
    along a path: *monotonicity* = |Spearman| of the fitted f against the position, 0 where f covers less than
    ``min_change`` of its range (a drift too small to see is no path for f), undefined for closed paths and
    for categorical factors; *leakage* = mean over the other factors of their total variation, as shares of
    their ranges, divided by that of f. Cyclic factors are unwrapped first. ``monotonicity.f`` is the greatest
    over all straight paths (a maximum over many: the table ``best`` says how many); ``leakage.f`` is the
    least of the paths whose monotonicity is within ``slack`` of that, so that a crooked path that happens to
    win by one rank does not hide a clean one. Table ``best`` describes that path.
    """

    uses = (ENCODER, GENERATOR, ORACLE, IMAGES)
    metrics: ClassVar = {
        "monotonicity": Metric(
            "|Spearman| of the fitted factor against position, greatest over all straight paths",
            0,
            1,
            "higher",
        ),
        "leakage": Metric(
            "total variation of the other factors, mean, over that of the factor; least of its most "
            "monotone paths",
            0,
            None,
            "zero",
        ),
        "residual": Metric(
            "distance to the family as a share of the picture's norm, mean over all path points",
            0,
            None,
            "zero",
        ),
        "gap": Metric(
            "whitened units from path points to the nearest training code, mean over all path points",
            0,
            None,
            "none",
        ),
        "unevenness": Metric(
            "sd / mean of the steps ||x_t+1 - x_t|| of a path, mean over straight paths that move",
            0,
            None,
            "zero",
        ),
    }

    def __init__(
        self,
        paths: list[Kind],
        steps: Annotated[int, Ge(3)],
        extent: Annotated[float, Gt(0)],
        pairs: list[Pair] | Literal["all"],
        directions: Annotated[list[float], Each(Between(0, 180))],
        lines: Annotated[int, Ge(0)],
        rows: list[Pair],
        radius: Annotated[float, Gt(0)],
        arcs: list[tuple[float, float]],
        min_change: Annotated[float, Between(0, 1)],
        slack: Annotated[float, Between(0, 1)],
        strips: Annotated[int, Ge(1)],
    ):
        self.paths, self.steps, self.extent, self.pairs = paths, steps, extent, pairs
        self.directions, self.lines, self.rows, self.radius = directions, lines, rows, radius
        self.arcs, self.min_change, self.slack, self.strips = arcs, min_change, slack, strips

    def check(self, model: Model, data: Dataset) -> None:
        if self.rows and "lines" in self.paths:
            if not isinstance(model, HasEncoder):
                raise Misfit(
                    "needs an encoder for the rows that diagnostic.traversal.rows names; the model has none"
                )
            self._places(data.split("test").index)

    # ---------------------------------------------------------------- paths
    def _places(self, index: Tensor) -> Tensor:
        """Where the ``rows`` stand in the test split ``(L, 2)``, by its permanent ``index (N,)``; InputError
        for one that does not."""
        wanted = torch.tensor(self.rows, device=index.device)
        found = wanted[..., None] == index
        if not found.any(-1).all():
            row = wanted[~found.any(-1)][0].item()
            near = index[(index - row).abs().argmin()].item()
            raise InputError(
                f"diagnostic.traversal.rows: row {row} is not in the test split; the nearest that is: {near}"
            )
        return found.int().argmax(-1)

    def _pairs(self, scale: Tensor, notes: list[str]) -> Tensor:
        """The latent pairs ``(K, 2)`` that this code has."""
        if self.pairs == "all":
            largest = scale.argsort(descending=True)[:ALL_OF].sort().values
            if len(scale) > ALL_OF:
                notes.append(f"pairs: all pairs of the {ALL_OF} latents of largest code variance")
            return torch.combinations(largest) if len(largest) > 1 else largest.new_zeros(0, 2)
        fitting = [pair for pair in self.pairs if max(pair) < len(scale) and pair[0] != pair[1]]
        if len(fitting) < len(self.pairs):
            notes.append(
                f"pairs: {len(self.pairs) - len(fitting)} of {len(self.pairs)} do not fit "
                f"{len(scale)} latents and were left out"
            )
        return torch.tensor(fitting, dtype=torch.int64, device=scale.device).reshape(-1, 2)

    def _ends(
        self, run: Run, noise: Noise, mean: Tensor, scale: Tensor, notes: list[str]
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Where the straight lines begin and end ``(L, d)``, and their names."""
        if isinstance(run.model, HasEncoder):
            latents = run.latents("test")
            z, index = latents.codes, latents.index
            if self.rows:
                pairs = self._places(index)
                return z[pairs[:, 0]], z[pairs[:, 1]], [f"{a} to {b}" for a, b in self.rows]
            origin = "test codes"
        elif isinstance(run.model, HasGenerator):
            z, origin = run.sample_codes(1000, noise), "1,000 prior samples"
            index = torch.arange(len(z), device=z.device)
        else:
            notes.append("lines: left out; the model has neither an encoder nor a prior")
            return mean.new_zeros(0, len(mean)), mean.new_zeros(0, len(mean)), []
        d = z.shape[1]
        draws = noise.normal("directions", (max(1, -(-self.lines // d)), d, d))
        pairs = far_apart((z - mean) / scale, draws, self.lines)
        notes.append(
            f"lines: each joins the two of the {origin} that lie farthest apart along a random direction, "
            "among the 95 % nearest to the mean; directions are orthogonal, lengths whitened"
        )
        return z[pairs[:, 0]], z[pairs[:, 1]], [f"{a} to {b}" for a, b in index[pairs].tolist()]

    def _paths(self, run: Run, noise: Noise, mean: Tensor, scale: Tensor, notes: list[str]) -> list[Paths]:
        found = []
        if "axes" in self.paths:
            names = tuple(f"z{i}" for i in range(len(mean)))
            found.append(
                Paths(
                    "axes",
                    UNITS["axes"],
                    names,
                    *axis_lines(mean, scale, self.extent, self.steps),
                    (False,) * len(names),
                )
            )
        pairs = (
            self._pairs(scale, notes)
            if {"pairs", "angles"} & set(self.paths)
            else mean.new_zeros(0, 2).long()
        )
        planes = [f"z{a},z{b}" for a, b in pairs.tolist()]
        if "pairs" in self.paths:
            t, z = plane_lines(mean, scale, pairs, torch.tensor(self.directions), self.extent, self.steps)
            names = tuple(f"{plane} at {angle:g}°" for plane in planes for angle in self.directions)
            found.append(
                Paths("pairs", UNITS["pairs"], names, t.flatten(0, 1), z.flatten(0, 1), (False,) * len(names))
            )
        if "lines" in self.paths:
            start, end, names = self._ends(run, noise, mean, scale, notes)
            found.append(
                Paths(
                    "lines",
                    UNITS["lines"],
                    tuple(names),
                    *segments(start, end, self.steps),
                    (False,) * len(names),
                )
            )
        if "angles" in self.paths:
            t, z = arcs(mean, scale, pairs, torch.tensor(self.arcs).reshape(-1, 2), self.radius, self.steps)
            names = tuple(f"{plane} {a:g}° to {b:g}°" for plane in planes for a, b in self.arcs)
            closed = tuple(abs(b - a) >= 360 for _ in planes for a, b in self.arcs)
            found.append(Paths("angles", UNITS["angles"], names, t.flatten(0, 1), z.flatten(0, 1), closed))
        return [paths for paths in found if paths.names]

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        notes: list[str] = []
        encoder = isinstance(run.model, HasEncoder)
        space = run.model.spaces["z"]
        if encoder:
            codes = run.latents("train").codes
            mean, scale = codes.mean(0), codes.std(0)
            # A latent that never moves keeps a length to divide by, far below all others.
            scale = scale.clamp(min=1e-6 * scale.max().item()) if scale.max() > 0 else torch.ones_like(scale)
        else:
            mean, scale = (
                torch.zeros(space.ambient_dim, device=run.device),
                torch.ones(space.ambient_dim, device=run.device),
            )
            notes.append("the model has no encoder: paths run around 0 in units of 1")
        kinds = self._paths(run, noise, mean, scale, notes)
        if not kinds:
            return Report(notes=(*notes, "no path of the chosen kinds exists in this latent space"))
        z = space.project(torch.cat([paths.z for paths in kinds]))
        parameter = torch.cat([paths.parameter for paths in kinds])
        n, t = parameter.shape
        x = run.decode(z.flatten(0, 1))
        jump = x.unflatten(0, (n, t)).diff(dim=1).flatten(2).norm(dim=2)

        names = [name for paths in kinds for name in paths.names]
        kind = [paths.kind for paths in kinds for _ in paths.names]
        closed = torch.tensor([c for paths in kinds for c in paths.closed])
        position = parameter.cpu().double().numpy()
        table = pd.DataFrame(
            {
                "path": names,
                "kind": kind,
                "from": position[:, 0],
                "to": position[:, -1],
                "closed": closed.numpy(),
            }
        )
        table["speed"] = jump.mean(1).cpu().numpy()
        table["unevenness"] = (jump.std(1) / jump.mean(1)).cpu().numpy()
        steps = pd.DataFrame(
            {"path": np.repeat(names, t), "kind": np.repeat(kind, t), "step": np.tile(np.arange(t), n)}
        )
        steps["parameter"] = position.flatten()
        steps[[f"z{i}" for i in range(z.shape[2])]] = z.flatten(0, 1).cpu().numpy()
        # The step from the last point leads nowhere.
        steps["speed"] = torch.nn.functional.pad(jump, (0, 1), value=torch.nan).flatten().cpu().numpy()
        metrics = {}
        even = table.loc[(table["kind"] != "angles") & (table["speed"] > 0), "unevenness"]
        if len(even):
            metrics["unevenness"] = Estimate(float(even.mean()))
        if encoder:
            gap = nearest(z.flatten(0, 1) / scale, codes / scale, 1)[0].view(n, t).cpu()
            table["gap"], steps["gap"] = gap.mean(1).numpy(), gap.flatten().numpy()
            metrics["gap"] = Estimate(gap.mean().item())
        tables = {"paths": table, "steps": steps}
        arrays = {}

        drawn = np.ones(n, bool)
        if "axes" in self.paths and len(scale) > self.strips:
            drawn[scale.argsort(descending=True)[self.strips :].cpu().numpy()] = False
            notes.append(
                f"only the {self.strips} latents of largest code variance, of {len(scale)}, are drawn"
            )
        table["drawn"] = drawn
        pictures = x.unflatten(0, (n, t)).cpu().float().numpy()
        arrays["pictures"] = pictures[drawn]
        arrays["value_range"] = np.array(run.data.value_range, np.float64)
        if run.data.columns:
            arrays["courses"], moved = courses(
                x.unflatten(0, (n, t))[torch.from_numpy(drawn).to(x.device)], run.data.columns
            )
            each = len(run.data.columns)
            moved.insert(0, "path", np.repeat(np.array(names, dtype=object)[drawn], each))
            moved.insert(1, "kind", np.repeat(np.array(kind, dtype=object)[drawn], each))
            tables["columns"] = moved
        if isinstance(run.data, Oracle):
            self._judge(run, x, z / scale, parameter, closed, tables, metrics, arrays, notes)
            if "best" in tables:
                arrays["best_pictures"] = pictures[[names.index(path) for path in tables["best"]["path"]]]
        if "angles" in kind and closed.any():
            notes.append(
                "a full circle returns to where it began: no monotonicity is given for it, only for arcs"
            )
        notes.append("paths are fixed curves: their values have no sampling interval")
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=tuple(notes))

    def _judge(self, run, x, whitened, parameter, closed, tables, metrics, arrays, notes) -> None:
        """Fit the family to every point and read monotonicity, leakage and residual off the fits."""
        table, steps = tables["paths"], tables["steps"]
        n, t = parameter.shape
        factors = run.data.factors
        reading = read(run.data.project(x), factors, parameter, closed, self.min_change)
        residual, course = reading.residual, reading.course
        steps[[f"fitted.{factor.name}" for factor in factors]] = reading.fitted.flatten(0, 1).numpy()
        steps["residual"], steps["inside"] = residual.flatten().numpy(), reading.inside.flatten().numpy()
        table["residual_mean"], table["residual_max"] = residual.mean(1).numpy(), residual.amax(1).numpy()
        table["inside"] = reading.inside.double().mean(1).numpy()
        metrics["residual"] = Estimate(residual.mean().item())
        arrays["factor_range"] = np.array([[factor.low, factor.high] for factor in factors])

        if course is None:
            return
        names, f = [factor.name for factor in reading.ordered], len(reading.ordered)
        lead = leading(course)
        picked = torch.arange(n), lead
        table["factor"] = np.where(lead >= 0, np.array(names)[lead], "")
        table["spearman"] = torch.where(lead >= 0, course.spearman[picked], torch.nan).numpy()
        table["monotonicity"] = table["spearman"].abs()
        table["leakage"] = torch.where(lead >= 0, course.leakage[picked], torch.nan).numpy()
        columns = {
            "path": np.repeat(table["path"].to_numpy(), f),
            "kind": np.repeat(table["kind"].to_numpy(), f),
        }
        columns |= {"factor": np.tile(names, n), "monotonicity": course.spearman.abs().flatten().numpy()}
        columns |= {name: values.flatten().numpy() for name, values in vars(course).items()}
        tables["factors"] = pd.DataFrame(columns)

        straight = torch.from_numpy(np.flatnonzero(table["kind"] != "angles"))
        if not len(straight):
            notes.append("no straight path was drawn: no monotonicity per factor")
            return
        ends = whitened[straight.to(whitened.device)][:, [0, -1]].flatten(1)
        compared = len((ends * 1e3).round().unique(dim=0))
        chosen = purest(course, straight, self.slack)
        own = chosen, torch.arange(f)
        greatest = course.spearman[straight].abs().amax(0)
        columns = {
            "factor": names,
            "path": table["path"].to_numpy()[chosen],
            "greatest": greatest.numpy(),
            "compared": compared,
        }
        columns |= {name: values[own].numpy() for name, values in vars(course).items()}
        tables["best"] = pd.DataFrame(columns | {"residual_mean": residual.mean(1)[chosen].numpy()})
        metrics |= {
            f"monotonicity.{name}": Estimate(v) for name, v in zip(names, greatest.tolist(), strict=True)
        }
        metrics |= {
            f"leakage.{name}": Estimate(v)
            for name, v in zip(names, course.leakage[own].tolist(), strict=True)
        }
        notes.append(f"monotonicity per factor is the greatest of {compared} different straight paths")

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "paths" not in report.tables:
            return {}
        table = report.tables["paths"]
        shown = table[table["drawn"]].reset_index(drop=True)
        x, value_range = report.arrays["pictures"], tuple(report.arrays["value_range"])
        found = {}
        for kind in shown["kind"].unique():
            of = shown.index[shown["kind"] == kind]
            if x.ndim == 5:
                found[kind] = self._strip(kind, shown.loc[of], x[of], value_range)
            elif "columns" in report.tables:
                found[kind] = self._columns(kind, shown.loc[of, "path"], report, of)
            else:
                found[kind] = self._profiles(kind, shown.loc[of], x[of], report.tables["steps"])
        if "best" in report.tables:
            if x.ndim == 5:
                found["best"] = self._best(report, value_range)
            found["factors"] = self._factors(report, shown)
        return found

    def _strip(self, kind: str, rows: pd.DataFrame, x: np.ndarray, value_range) -> Picture:
        about = {
            "axes": (
                "one latent moves, the others stay at the mean code; numbers are standard "
                "deviations of the training codes"
            ),
            "pairs": (
                "straight lines through the mean code in the plane of two latents; the angle is counted "
                "from the first towards the second, positions are standard deviations of the training codes"
            ),
            "lines": (
                "each from the code of one test row, or prior sample, to that of another; their "
                "numbers stand beside it"
            ),
            "angles": (
                "arcs around the mean code in the plane of two latents, angles counted from the "
                "first towards the second"
            ),
        }[kind]
        labels = rows["path"]
        if kind in ("axes", "pairs"):
            labels = [
                f"{path}: {_number(a)} … {_number(b)}"
                for path, a, b in zip(rows["path"], rows["from"], rows["to"], strict=True)
            ]
        fig = strips(list(zip(labels, x, strict=True)), value_range)
        return Picture(
            fig, f"Decoded pictures along {TITLES[kind]} ({about}). Each row is a path, left to right."
        )

    def _best(self, report: Report, value_range) -> Picture:
        best = report.tables["best"]
        labels = [
            f"{name.replace('_', ' ')}: {path} (ρ = {_number(rho, '.2f')})"
            for name, path, rho in zip(best["factor"], best["path"], best["spearman"], strict=True)
        ]
        fig = strips(list(zip(labels, report.arrays["best_pictures"], strict=True)), value_range)
        return Picture(
            fig,
            "For each factor the straight path along which its fitted value is most monotone, of "
            f"{best['compared'].iloc[0]} compared; of "
            "several about equal the one along which the other factors move least. "
            "ρ is the Spearman correlation of the fitted factor with the position along the path.",
        )

    def _profiles(self, kind: str, rows: pd.DataFrame, x: np.ndarray, steps: pd.DataFrame) -> Picture:
        rows, x = rows.iloc[:PANELS], x[:PANELS].reshape(*x[:PANELS].shape[:2], -1)
        along = steps.groupby(["kind", "path"], sort=False)["parameter"]
        panels = [
            (path, along.get_group((kind, path)).to_numpy(), line)
            for path, line in zip(rows["path"], x, strict=True)
        ]
        ends = " (lines between two test rows or prior samples)" if kind == "lines" else ""
        lines = (
            "One line a component of x"
            if x.shape[2] <= FEW
            else "One line a position, dark where the path begins, bright where it ends"
        )
        return Picture(
            profiles(panels, UNITS[kind]),
            f"Decoded points along {TITLES[kind]}, one panel a path{ends}. {lines}.",
        )

    def _columns(self, kind: str, paths: pd.Series, report: Report, of: pd.Index) -> Picture:
        moved, course = report.tables["columns"], report.arrays["courses"]
        ends = moved.set_index(["kind", "path"]).sort_index()
        panels = [
            (path, ends.loc[[(kind, path)]], course[i])
            for path, i in zip(paths[:PANELS], of[:PANELS], strict=True)
        ]
        return Picture(
            column_courses(panels),
            f"What changes along {TITLES[kind]}, one panel a path: the columns of the table that move "
            f"most (at most {MOVERS}), the "
            "first value on the left, the last on the right. Colours: the difference from the middle "
            "of the path in standard deviations; "
            "for a categorical column twice the difference of the probability of the category that "
            "moves most.",
        )

    def _factors(self, report: Report, shown: pd.DataFrame) -> Picture:
        steps = report.tables["steps"]
        kind = next(k for k in ("axes", "pairs", "lines") if k in set(shown["kind"]))
        rows = shown[shown["kind"] == kind]["path"].iloc[:CURVES]
        columns = [column for column in steps if column.startswith("fitted.")]
        groups = steps[steps["kind"] == kind].groupby("path", sort=False)
        parts = [groups.get_group(path) for path in rows]
        panels = [
            (path, part["parameter"].to_numpy(), part[columns].to_numpy())
            for path, part in zip(rows, parts, strict=True)
        ]
        residual = np.stack([part["residual"].to_numpy() for part in parts])
        names = [column.removeprefix("fitted.") for column in columns]
        fig = factor_curves(
            panels,
            {"residual": residual},
            names,
            report.arrays["factor_range"],
            UNITS[kind].replace(" (", "\n("),
        )
        return Picture(
            fig,
            "Factors of the member of the family nearest to each decoded picture, along "
            f"{TITLES[kind]} (one column a path). Shaded: the "
            "range of the data; lines that leave the axes are more than half a range outside it. "
            "Bottom row: distance to the family as a "
            "share of the picture's norm.",
        )


def _number(value: float, form: str = "g") -> str:
    """A number with a true minus sign."""
    return f"{value:{form}}".replace("-", "−")

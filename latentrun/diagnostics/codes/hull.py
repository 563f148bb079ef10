"""Along and around the convex hull of the codes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.config.bounds import Between, Each, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, check_factors, cloud_of, judge
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, ORACLE
from latentrun.functional.clouds.hulls import bounding_path, convex_hull, measurable, strip_edges
from latentrun.functional.clouds.whitening import Whitening, perturbed, whitening
from latentrun.functional.factors import read_factors, with_difference
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import purest, read, segments
from latentrun.functional.paths.tracks import track_tables
from latentrun.functional.statistics.dependence import spearman
from latentrun.functional.statistics.intervals import bootstrap_each, mean_interval
from latentrun.models.base import Model
from latentrun.plotting.cloud import TURNED, Layer, cloud
from latentrun.plotting.hull import hull_flat
from latentrun.plotting.images import strips
from latentrun.plotting.sprite import thumbnails
from latentrun.plotting.tracks import judged_curves, judged_strips
from latentrun.run import Run
from latentrun.types import Estimate, Latents, Metric, Picture, Report

AXES = 4  # straight paths where there is no strip
ROUNDING = 1e-6  # a mean miss below this is rounding: no ratio is made of it


class HullPaths(Diagnostic):
    """What is decoded along the hull of the codes, and close to it?

    *The strip*: codes of examples in which two factors are equal up to ``tolerance`` (for heatmaps the
    variances), cut into ``bins`` of equal width over the latent ``along``. In each bin the two codes are
    taken that are extreme along the first principal axis of its codes, the other latents in units of their
    standard deviation: points of the bin's hull. A cubic spline through those of either side, the other
    latents as functions of ``along``, gives a path along each edge; the ``outer`` one is farther from the
    mean code. *Bounding planes*: in the plane of two latents (a, b) the tightest line above and below all
    codes: the edge of their hull over (under) the mean, of all lines that no code crosses the one of least
    mean distance. A straight path follows it where codes are near: the ``support`` share of codes nearest to
    it says from where to where, and where in the other latents. Data without these factors have neither:
    there the paths are straight segments between the hull points that are extreme along each of the (at most
    4) leading principal axes.

    Each path is decoded and held against the data: with an oracle ``residual``, the distance to the family as
    a share of the norm, and the fitted factors, whose ``monotonicity.f`` is the greatest over the paths and
    ``leakage.f`` the least of those within ``slack`` of it (see ``traversal``); without one ``distance`` to
    the nearest training example.

    *Close to the hull*: hull points of the whitened codes, moved by fixed ``lengths`` in random directions;
    ``residual_hull.l`` (``distance_hull.l``) after a move by l, 0 for the points themselves, and ``ratio.l``
    to the mean of those, both means over the same points. Intervals: normal approximation, bootstrap for
    ratios, over hull points.
    """

    requires = (ENCODER,)
    uses = (FACTORS, ORACLE, IMAGES)
    metrics: ClassVar = {
        "volume": Metric(
            "volume of the hull of the whitened codes, whitened units to the power of its dimension",
            0,
            None,
            "none",
        ),
        "vertices": Metric("codes that are corners of that hull", 0, None, "none"),
        "residual_hull": Metric(
            "share of the norm to the family, mean over hull points moved by so many whitened units",
            0,
            None,
            "zero",
        ),
        "distance_hull": Metric(
            "data units to the nearest training example, hull points moved by so many whitened units",
            0,
            None,
            "none",
        ),
        "ratio": Metric(
            "mean residual (or distance) of moved hull points over that of the points themselves",
            0,
            None,
            "one",
        ),
        "residual": Metric(
            "distance to the family as a share of the picture's norm, mean over all path points",
            0,
            None,
            "zero",
        ),
        "distance": Metric(
            "data units to the nearest training example, mean over all path points", 0, None, "none"
        ),
        "gap": Metric(
            "whitened units from path points to the nearest code, mean over all path points", 0, None, "none"
        ),
        "monotonicity": Metric(
            "|Spearman| of the fitted factor against position, greatest over the paths", 0, 1, "higher"
        ),
        "leakage": Metric(
            "mean total variation of the others over that of the factor; least of its most monotone paths",
            0,
            None,
            "zero",
        ),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        flat: Annotated[float, Between(0, 1)],
        factors: tuple[str, str],
        tolerance: Annotated[float, Ge(0)],
        along: Annotated[int, Ge(0)] | None,
        bins: Annotated[int, Ge(2)],
        plane: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] | None,
        support: Annotated[float, Between(0, 1)],
        steps: Annotated[int, Ge(3)],
        min_change: Annotated[float, Between(0, 1)],
        slack: Annotated[float, Between(0, 1)],
        lengths: Annotated[list[float], Each(Gt(0))],
        points: Annotated[int, Ge(2)],
        resamples: Annotated[int, Ge(100)],
        shown: Annotated[int, Ge(1)],
    ):
        self.split, self.flat, self.factors, self.tolerance, self.along = (
            split,
            flat,
            tuple(factors),
            tolerance,
            along,
        )
        self.bins, self.plane, self.support, self.steps, self.min_change, self.slack = (
            bins,
            plane,
            support,
            steps,
            min_change,
            slack,
        )
        self.lengths, self.points, self.resamples, self.shown = lengths, points, resamples, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_factors("diagnostic.hull.factors", self.factors, data)

    # ---------------------------------------------------------------- paths
    def _paths(
        self, run: Run, latents: Latents, white: Whitening, notes: list[str], arrays
    ) -> dict[str, np.ndarray]:
        """Points ``(T, d)`` of each path, by its name."""
        z, y = latents.codes.cpu().double().numpy(), latents.y.cpu().double().numpy()
        names = [factor.name for factor in run.data.factors]
        missing = [name for name in self.factors if name not in names]
        if missing or z.shape[1] < 2:
            why = f"the data have no factor {missing[0]}" if missing else "there is one latent"
            notes.append(
                f"no strip and no bounding planes: {why}; straight paths between hull points instead"
            )
            return self._straight(z, white)
        first, second = (y[:, names.index(name)] for name in self.factors)
        inside = np.abs(first - second) <= self.tolerance
        level = np.abs(np.nan_to_num(spearman(z, y[:, [names.index(self.factors[1])]])))[:, 0]
        along = self._along(z, y, inside, run, notes)
        notes.append(
            f"the strip, |{self.factors[0]} - {self.factors[1]}| <= {self.tolerance:g}, has "
            f"{inside.sum():,} of {len(z):,} codes; "
            f"its bins are over z{along}"
        )
        rest = [i for i in range(z.shape[1]) if i != along]
        found, sd = {}, z.std(0).clip(1e-12)
        edges = strip_edges(z[inside] / sd, along, self.bins, self.steps)
        if edges is None:
            notes.append("fewer than 2 bins of the strip hold 2 codes: no path along its edges")
        else:
            knots, curves = edges
            arrays |= {"knots": z[inside][knots], "knot_rows": np.flatnonzero(inside)[knots]}
            outward = np.argsort([-np.linalg.norm(curve - z.mean(0) / sd, axis=1).mean() for curve in curves])
            found |= {
                f"strip, {name} edge": curves[i] * sd
                for name, i in zip(("outer", "inner"), outward, strict=True)
            }
        a, b = self.plane or (max(rest, key=lambda i: level[i]), along)
        if max(a, b) >= z.shape[1] or a == b:
            notes.append(f"no bounding planes: the plane [{a}, {b}] does not fit {z.shape[1]} latents")
            return found
        planes = {
            name: bounding_path(z, a, b, sign, self.support, self.steps)
            for name, sign in (("above", 1), ("below", -1))
        }
        if planes["above"] is None:
            notes.append("no bounding planes: the codes are flat")
            return found
        found |= {f"plane {name}": path for name, path in planes.items()}
        notes.append(f"bounding planes above and below in z{a} (to the right) and z{b} (upwards)")
        return found

    def _along(self, z: np.ndarray, y: np.ndarray, inside: np.ndarray, run: Run, notes: list[str]) -> int:
        """The latent over which the strip is cut: the one given, or the one that orders the first other
        factor best in it."""
        if self.along is not None and self.along < z.shape[1]:
            return self.along
        if self.along is not None:
            notes.append(f"there is no z{self.along}: the strip is cut over another latent")
        other = [
            i
            for i, factor in enumerate(run.data.factors)
            if factor.name not in self.factors and factor.kind != "categorical"
        ]
        if not other or inside.sum() < 2:
            return int(z.var(0).argmax())
        return int(np.abs(np.nan_to_num(spearman(z[inside], y[inside][:, other[:1]])))[:, 0].argmax())

    def _straight(self, z: np.ndarray, white: Whitening) -> dict[str, np.ndarray]:
        u = white.to(z)[:, :AXES]
        start, end = (torch.from_numpy(z[ends]) for ends in (u.argmin(0), u.argmax(0)))
        return {f"axis {i}": path for i, path in enumerate(segments(start, end, self.steps)[1].numpy())}

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        latents = run.latents(self.split)
        z = latents.codes.cpu().double().numpy()
        white = whitening(z, self.flat)
        u = white.to(z)
        notes = [
            f"{len(z):,} codes of the {self.split} split, {z.shape[1]} latents",
            *([white.note] if white.note else []),
        ]
        if not u.shape[1]:
            return Report(notes=(*notes, "the codes do not move: they have no hull"))
        metrics, tables, arrays = {}, {}, {"value_range": np.array(run.data.value_range, np.float64)}
        flat, note = measurable(u)
        notes += [note] if note else []
        hull = convex_hull(flat)
        if hull is None:
            notes.append(f"too few codes for a hull in {flat.shape[1]} dimensions")
        else:
            metrics |= {"volume": Estimate(hull.volume), "vertices": Estimate(float(len(hull.vertices)))}
            tables["moved"] = self._move(run, white, u[hull.vertices], noise, metrics, arrays)
        paths = self._paths(run, latents, white, notes, arrays)
        if paths:
            self._follow(run, paths, lambda z: cKDTree(u).query(white.to(z))[0], metrics, tables, arrays)
        self._drawn(run, latents, z, noise, tables, arrays)
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=tuple(notes))

    def _decode(self, run: Run, z: np.ndarray) -> Tensor:
        return run.decode(run.model.spaces["z"].project(torch.from_numpy(z).float().to(run.device)))

    def _move(
        self, run: Run, white: Whitening, corners: np.ndarray, noise: Noise, metrics, arrays
    ) -> pd.DataFrame:
        """Decode hull points ``(V, k)`` as they are and after moves of fixed lengths."""
        corners = corners[noise.to("cpu").permutation("corners", len(corners)).numpy()[: self.points]]
        lengths = [0.0, *self.lengths]
        places = [perturbed(corners, length, noise.at("move", i)) for i, length in enumerate(lengths)]
        x = self._decode(run, white.back(np.concatenate(places)))
        judged = judge(run, x)
        miss = judged.miss.view(len(lengths), -1)
        for length, values in zip(lengths, miss, strict=True):
            metrics[f"{judged.kind}_hull.{length:g}"] = mean_interval(values)

        def statistic(rows: Tensor) -> Tensor:
            means = rows.mean(1)
            return torch.where(means[:, :1] > ROUNDING, means[:, 1:] / means[:, :1], torch.nan)

        ratios = bootstrap_each(statistic, miss.T, noise.at("ratio"), self.resamples)
        metrics |= {f"ratio.{length:g}": ratio for length, ratio in zip(self.lengths, ratios, strict=True)}
        arrays["moved"] = x.unflatten(0, miss.shape)[:, : self.shown].cpu().float().numpy()
        arrays["moved_miss"] = miss[:, : self.shown].numpy()
        return pd.DataFrame(
            {
                "length": np.repeat(lengths, len(corners)),
                "point": np.tile(np.arange(len(corners)), len(lengths)),
                judged.kind: miss.flatten().numpy(),
            }
        )

    def _follow(self, run: Run, paths: dict[str, np.ndarray], gap, metrics, tables, arrays) -> None:
        """Decode the paths, hold them against the data and read the factors off the fits."""
        names, z = list(paths), np.stack(list(paths.values()))
        n, t = z.shape[:2]
        position = torch.linspace(0, 1, t, dtype=torch.float64).expand(n, t)
        x = self._decode(run, z.reshape(n * t, -1))
        judged = judge(run, x)
        closed = torch.zeros(n, dtype=torch.bool)
        reading = (
            None
            if judged.fits is None
            else read(judged.fits, run.data.factors, position, closed, self.min_change)
        )
        tables |= track_tables(names, position.numpy(), z, gap(z), judged.kind, judged.miss, reading)
        metrics |= {
            judged.kind: Estimate(judged.miss.mean().item()),
            "gap": Estimate(float(tables["steps"]["gap"].mean())),
        }
        arrays["pictures"] = x.unflatten(0, (n, t)).cpu().float().numpy()
        arrays["factor_range"] = np.array(
            [[f.low, f.high] for f in run.data.factors] if reading else np.zeros((0, 2))
        )
        if reading is None or reading.course is None:
            return
        course, f = reading.course, len(reading.ordered)
        own = purest(course, torch.arange(n), self.slack), torch.arange(f)
        for factor, strength, leak in zip(
            reading.ordered, course.spearman.abs().amax(0).tolist(), course.leakage[own].tolist(), strict=True
        ):
            metrics |= {
                f"monotonicity.{factor.name}": Estimate(strength),
                f"leakage.{factor.name}": Estimate(leak),
            }

    def _drawn(self, run: Run, latents: Latents, z: np.ndarray, noise: Noise, tables, arrays) -> None:
        """What the picture of the hull needs: some codes, what is known of them and their pictures, the hull
        of the (at most three) latents of largest variance."""
        some = noise.to("cpu").permutation("drawn", len(z)).numpy()[:TURNED]
        known, drawn = cloud_of(run, self.split, some)
        tables |= known
        arrays |= drawn
        if "code_pictures" in drawn and "knot_rows" in arrays:
            arrays["knot_pictures"] = thumbnails(
                run.data.split(self.split).x, run.data.value_range, arrays["knot_rows"].ravel()
            )

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        arrays, found = report.arrays, {}
        if "shell" in arrays:
            found["hull"] = self._hull(report)
        if "steps" in report.tables:
            steps, names = report.tables["steps"], list(report.tables["paths"]["path"])
            kind = "residual" if "residual" in steps else "distance"
            miss = "the residual" if kind == "residual" else "the distance to the nearest training example"
            if arrays["pictures"].ndim == 5:
                found["strips"] = Picture(
                    judged_strips(names, arrays["pictures"], steps, kind, tuple(arrays["value_range"])),
                    f"Decoded along the paths of the hull, left to right. Beneath each picture: {miss}.",
                )
            fitted = (
                "Factors of the nearest member of the family (shaded: the range of the data), "
                if kind == "residual"
                else ""
            )
            found["along"] = Picture(
                judged_curves(names, steps, kind, arrays["factor_range"], "share of the way"),
                f"Along each path of the hull: {fitted}{miss} and the distance of the code to the "
                "nearest code in whitened units.",
            )
        if "moved" in arrays and arrays["moved"].ndim == 5:
            lengths = report.tables["moved"]["length"].unique()
            rows = [
                ("hull points" if length == 0 else f"moved by {length:g}", x)
                for length, x in zip(lengths, arrays["moved"], strict=True)
            ]
            under = [[f"{value:.2g}" for value in row] for row in arrays["moved_miss"]]
            found["moved"] = Picture(
                strips(rows, tuple(arrays["value_range"]), under=under),
                "Decoded hull points of the codes (first row), and what they become when they are "
                "moved in random directions by so many "
                "whitened units. Beneath each picture: its distance from the data.",
            )
        return found

    def _hull(self, report: Report) -> Picture:
        arrays, axes, d = report.arrays, report.arrays["axes"], report.arrays["codes"].shape[1]
        paths, parts = {}, {}
        if "steps" in report.tables:
            parts = dict(list(report.tables["steps"].groupby("path", sort=False)))
            paths = {name: part[[f"z{i}" for i in axes]].to_numpy() for name, part in parts.items()}
        knots = arrays["knots"].reshape(-1, d)[:, axes] if "knots" in arrays else np.zeros((0, len(axes)))
        known = (
            list(zip(read_factors(report.tables["colours"]), arrays["targets"].T, strict=True))
            if "targets" in arrays
            else []
        )
        colours = with_difference(known, self.factors)
        colours = [*colours[len(known) :], *known]  # the difference first, where there is one
        if len(axes) == 2:
            target = next((target for target in colours if target[0].kind != "categorical"), None)
            codes = arrays["codes"][:, axes]
            figure = hull_flat(axes, codes, target, arrays["shell"], arrays["shell_facets"], paths, knots)
            what = "" if target is None else f", coloured by {target[0].name}"
            dots = "; black: the hull points of the strip's bins" if len(knots) else ""
            return Picture(figure, f"Codes{what}, their convex hull and the paths along it{dots}.")
        layers = [Layer("hull", "surface", arrays["shell"], facets=arrays["shell_facets"])]
        decoded = (
            arrays["pictures"]
            if arrays.get("code_pictures") is not None and "pictures" in arrays
            else [None] * len(paths)
        )
        for (name, path), x in zip(paths.items(), decoded, strict=True):
            layers.append(Layer(name, "path", path, texts=self._said(parts[name]), pictures=x))
        if len(knots):
            layers.append(Layer("hull points of bins", "points", knots, pictures=arrays.get("knot_pictures")))
        examples = arrays.get("code_pictures")
        figure = cloud(
            arrays["codes"],
            colours,
            pictures=examples,
            value_range=tuple(arrays["value_range"]),
            layers=layers,
            axes=axes,
        )
        text = "Codes, their convex hull and the paths along it, which begin at their larger point"
        text += "; black: the hull points of the strip's bins" if len(knots) else ""
        text += "" if d == 3 else "; the three latents of largest variance"
        text += ". Drag to turn; a click in the legend hides and shows a part"
        text += "; the menu chooses what colours the codes" if colours else ""
        text += (
            "; a point that is touched shows its picture: of a code the one encoded, of a path the "
            "one decoded."
            if examples is not None
            else "."
        )
        return Picture(figure, text)

    @staticmethod
    def _said(part: pd.DataFrame) -> list[str]:
        """What each point of a path says: how far along it is, how far from the data, the factors read
        off."""
        columns = [
            name
            for name in part
            if name in ("position", "residual", "distance") or name.startswith("fitted.")
        ]
        return [
            "\n".join(
                f"{name.replace('fitted.', 'fitted ')}: {value:.3g}"
                for name, value in zip(columns, row, strict=True)
            )
            for row in part[columns].itertuples(index=False)
        ]

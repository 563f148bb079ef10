"""Along and around the convex hull of the codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from latentrun.config.bounds import Between, Count, Each, Ge, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import (
    Diagnostic,
    Tracks,
    check_factors,
    cloud_of,
    follow_tracks,
    whitened,
)
from latentrun.diagnostics.codes.hull_points import MovedPoints, move, moved_table, point_metrics, points_of
from latentrun.diagnostics.needs import ENCODER, FACTORS, FLAT, IMAGES, ORACLE
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.hulls import Hull, bounding_path, convex_hull, measurable, strip_edges
from latentrun.functional.clouds.whitening import Whitening
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Course, purest, segments
from latentrun.functional.statistics.dependence import spearman
from latentrun.functional.ties import largest, ranked
from latentrun.models.base import Model
from latentrun.plotting.cloud import TURNED
from latentrun.plotting.sprite import thumbnails
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

AXES = 4  # straight paths where there is no strip


@dataclass(frozen=True)
class Courses:
    """Points ``(T, d)`` of paths along the hull, by name, with what is to be said of them; ``knots``: row
    numbers of the codes that the edges of the strip go through, None where there are none."""

    paths: dict[str, np.ndarray]
    notes: list[str]
    knots: np.ndarray | None = None


POINTS = {"hull": "hull points", "inner": "inner codes"}
MOVED = "moved by a share of the hull's radius, mean over"
NEAR = {  # of moved points
    **{
        f"{measure}_{name}": Metric(f"{unit}, {MOVED} {text}", 0, None, better)
        for name, text in POINTS.items()
        for measure, unit, better in (
            ("residual", "distance to the family as a share of the picture's norm", "zero"),
            ("distance", "data units to the nearest training example", "none"),
            ("absolute", "data units to the family, or to the nearest training example", "none"),
        )
    },
    "ratio": Metric(
        "mean residual (or distance) of moved hull points over that of the points themselves", 0, None, "one"
    ),
    "inner_ratio": Metric(
        "mean residual (or distance) of moved hull points over that of inner codes moved as far",
        0,
        None,
        "one",
    ),
    "inner_ratio_absolute": Metric("the same ratio of distances in data units", 0, None, "one"),
    "spacing": Metric(
        "whitened units to the next code, mean over hull points (hull) and inner codes (inner)",
        0,
        None,
        "none",
    ),
}


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

    *Close to the hull*: hull points of the whitened codes, moved in random directions by ``moves``, shares of
    the hull's ``radius``: a step of so many units would be nothing to a wide hull. ``residual_hull.s``
    (``distance_hull.s``) after a move by s, 0 for the points themselves, and ``ratio.s`` to the mean of
    those, both means over the same points. ``residual_inner.s``: as many codes of the half nearest to the
    mean, moved as far; ``inner_ratio.s``: the hull's mean over theirs. ``absolute``: the same as distances in
    data units, which faint pictures do not blow up. ``spacing``: how far the next code is from a hull point,
    and from an inner code. Intervals: Student's, corrected for skewness, of means; bootstrap for
    ratios to the same points.
    """

    requires = (ENCODER, FLAT)
    uses = (FACTORS, ORACLE, IMAGES)
    metrics: ClassVar = {
        "volume": Metric(
            "volume of the hull of the whitened codes, whitened units to the power of its dimension",
            0,
            None,
            "none",
        ),
        "vertices": Metric("codes that are corners of that hull", 0, None, "none"),
        "radius": Metric(
            "whitened units, root mean square distance of the hull's corners from the mean code",
            0,
            None,
            "none",
        ),
        **NEAR,
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
        bins: Annotated[int, Count(2, 10_000)],
        plane: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]] | None,
        support: Annotated[float, Between(0, 1)],
        steps: Annotated[int, Count(3, 10_000)],
        min_change: Annotated[float, Between(0, 1)],
        slack: Annotated[float, Between(0, 1)],
        moves: Annotated[list[float], Each(Gt(0))],
        points: Annotated[int, Count(2)],
        resamples: Annotated[int, Count(100, 100_000)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        self.split, self.flat, self.factors, self.tolerance = split, flat, tuple(factors), tolerance
        self.along, self.bins, self.plane, self.support = along, bins, plane, support
        self.steps, self.min_change, self.slack = steps, min_change, slack
        self.moves, self.points, self.resamples, self.shown = moves, points, resamples, shown

    def check(self, model: Model, data: Dataset) -> None:
        check_factors("diagnostic.hull.factors", self.factors, data)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        z = run.latents(self.split).codes.cpu().double().numpy()
        white = whitened(run, self.split, self.flat)
        u = white.to(z)
        if not u.shape[1]:
            raise NothingToMeasure("the codes do not move: they have no hull")
        measured, projected = measurable(u)
        hull = convex_hull(measured)
        points = {} if hull is None else self._near(run, white, u, hull.vertices, noise)
        courses = self._courses(run, z, white)
        tracks = self._follow(run, courses.paths, white, u) if courses.paths else None
        colours, arrays = self._cloud(run, len(z), courses.knots, noise)
        tables = {}
        if points:
            tables["moved"] = moved_table(points)
            arrays |= {
                "moved": points["hull"].x[:, : self.shown].cpu().float().numpy(),
                "moved_miss": points["hull"].miss[:, : self.shown].numpy(),
            }
        if tracks is not None:
            tables, arrays = tables | tracks.tables, arrays | tracks.arrays
        if courses.knots is not None:
            arrays |= {"knots": z[courses.knots], "knot_rows": courses.knots}
        notes = [f"{len(z):,} codes of the {self.split} split, {z.shape[1]} latents"]
        notes += [text for text in (white.note, projected) if text]
        if hull is None:
            notes.append(f"too few codes for a hull in {measured.shape[1]} dimensions")
        return Report(
            metrics=self._hull_metrics(hull, points, noise) | self._path_metrics(tracks),
            tables=tables | colours,
            arrays=arrays | {"value_range": np.array(run.data.value_range, np.float64)},
            notes=(*notes, *courses.notes),
        )

    def _near(
        self, run: Run, white: Whitening, u: np.ndarray, vertices: np.ndarray, noise: Noise
    ) -> dict[str, MovedPoints]:
        """Hull points and inner codes of whitened codes ``u (N, k)``, as they are and moved."""
        radius, rows = points_of(u, vertices, self.points, noise)
        return {
            name: move(run, white, u, chosen, radius, self.moves, noise.at(name))
            for name, chosen in rows.items()
        }

    def _follow(self, run: Run, paths: dict[str, np.ndarray], white: Whitening, u: np.ndarray) -> Tracks:
        """Decode the paths, hold them against the data and read the factors off the fits."""
        z = np.stack(list(paths.values()))
        position = torch.linspace(0, 1, z.shape[1], dtype=torch.float64).expand(z.shape[:2])
        gap = cKDTree(u).query(white.to(z))[0]
        return follow_tracks(run, list(paths), position, z, gap, self.min_change)

    def _cloud(
        self, run: Run, n: int, knots: np.ndarray | None, noise: Noise
    ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
        """What the picture of the hull needs: some codes, their factors and their pictures, the hull of the
        (at most three) latents of largest variance."""
        rows = noise.to("cpu").permutation("drawn", n).numpy()[:TURNED]
        tables, arrays = cloud_of(run, self.split, rows)
        if "code_pictures" in arrays and knots is not None:
            x = run.data.split(self.split).x
            arrays["knot_pictures"] = thumbnails(x, run.data.value_range, knots.ravel())
        return tables, arrays

    # ---------------------------------------------------------------- paths
    def _courses(self, run: Run, z: np.ndarray, white: Whitening) -> Courses:
        """The paths for codes ``z (N, d)``."""
        names = [factor.name for factor in run.data.factors]
        missing = [name for name in self.factors if name not in names]
        if missing or z.shape[1] < 2:
            why = f"the data have no factor {missing[0]}" if missing else "there is one latent"
            note = f"no strip and no bounding planes: {why}; straight paths between hull points instead"
            return Courses(self._straight(z, white), [note])
        y = run.latents(self.split).y.cpu().double().numpy()
        first, second = (y[:, names.index(name)] for name in self.factors)
        inside = np.abs(first - second) <= self.tolerance
        along, notes = self._along(z, y, inside, run)
        notes.append(
            f"the strip, |{self.factors[0]} - {self.factors[1]}| <= {self.tolerance:g}, has {inside.sum():,} "
            f"of {len(z):,} codes; its bins are over z{along}"
        )
        edges = self._edges(z, inside, along)
        level = np.abs(np.nan_to_num(spearman(z, second[:, None])))[:, 0]
        planes = self._planes(z, level, along)
        return Courses(edges.paths | planes.paths, [*notes, *edges.notes, *planes.notes], edges.knots)

    def _along(self, z: np.ndarray, y: np.ndarray, inside: np.ndarray, run: Run) -> tuple[int, list[str]]:
        """The latent over which the strip is cut: the one given, or the one that orders the first other
        factor best in it; and what is to be said of it."""
        if self.along is not None and self.along < z.shape[1]:
            return self.along, []
        notes = []
        if self.along is not None:
            notes.append(f"there is no z{self.along}: the strip is cut over another latent")
        others = [
            i
            for i, factor in enumerate(run.data.factors)
            if factor.name not in self.factors and factor.kind != "categorical"
        ]
        if not others or inside.sum() < 2:
            return largest(z.var(0)), notes
        ordered = np.abs(np.nan_to_num(spearman(z[inside], y[inside][:, others[:1]])))[:, 0]
        return largest(ordered), notes

    def _edges(self, z: np.ndarray, inside: np.ndarray, along: int) -> Courses:
        """Paths along either edge of the strip of codes ``inside (N,)``, over the latent ``along``."""
        sd = z.std(0).clip(1e-12)
        edges = strip_edges(z[inside] / sd, along, self.bins, self.steps)
        if edges is None:
            return Courses({}, ["fewer than 2 bins of the strip hold 2 codes: no path along its edges"])
        knots, curves = edges
        outward = ranked(np.linalg.norm(curves - z.mean(0) / sd, axis=2).mean(1))
        paths = {
            f"strip, {name} edge": curves[i] * sd for name, i in zip(("outer", "inner"), outward, strict=True)
        }
        return Courses(paths, [], np.flatnonzero(inside)[knots])

    def _planes(self, z: np.ndarray, level: np.ndarray, along: int) -> Courses:
        """Paths along the tightest lines above and below all codes in the plane given, or in that of the
        latent of highest ``level (d,)`` and ``along``."""
        others = [i for i in range(z.shape[1]) if i != along]
        a, b = self.plane or (others[largest(level[others])], along)
        if max(a, b) >= z.shape[1] or a == b:
            return Courses(
                {}, [f"no bounding planes: the plane [{a}, {b}] does not fit {z.shape[1]} latents"]
            )
        above, below = (bounding_path(z, a, b, sign, self.support, self.steps) for sign in (1, -1))
        if above is None or below is None:
            return Courses({}, ["no bounding planes: the codes are flat"])
        note = f"bounding planes above and below in z{a} (to the right) and z{b} (upwards)"
        return Courses({"plane above": above, "plane below": below}, [note])

    def _straight(self, z: np.ndarray, white: Whitening) -> dict[str, np.ndarray]:
        """Segments between the codes that are extreme along the leading principal axes."""
        u = white.to(z)[:, :AXES]
        ends = [[largest(sign * axis) for axis in u.T] for sign in (-1, 1)]
        start, end = (torch.from_numpy(z[rows]) for rows in ends)
        return {f"axis {i}": path for i, path in enumerate(segments(start, end, self.steps)[1].numpy())}

    # ---------------------------------------------------------------- the report
    def _hull_metrics(
        self, hull: Hull | None, points: Mapping[str, MovedPoints], noise: Noise
    ) -> dict[str, Estimate]:
        if hull is None:
            return {}
        shape = {
            "volume": hull.volume,
            "vertices": float(len(hull.vertices)),
            "radius": points["hull"].radius,
        }
        metrics = {name: Estimate(number) for name, number in shape.items()}
        return metrics | point_metrics(points, noise, self.resamples)

    def _path_metrics(self, tracks: Tracks | None) -> dict[str, Estimate]:
        if tracks is None:
            return {}
        metrics = {
            tracks.judgement.kind: Estimate(tracks.judgement.miss.mean().item()),
            "gap": Estimate(float(tracks.tables["steps"]["gap"].mean())),
        }
        reading = tracks.reading
        if reading is None or reading.course is None:
            return metrics
        return metrics | course_metrics(reading.ordered, reading.course, self.slack)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.hull_plot import along_paths, hull, moved, path_strips

        arrays, pictures = report.arrays, {}
        if "shell" in arrays:
            pictures["hull"] = hull(report, self.factors)
        if "steps" in report.tables:
            if arrays["pictures"].ndim == 5:
                pictures["strips"] = path_strips(report)
            pictures["along"] = along_paths(report)
        if "moved" in arrays and arrays["moved"].ndim == 5:
            pictures["moved"] = moved(report)
        return pictures


# ---------------------------------------------------------------- numbers
def course_metrics(factors: Sequence[Factor], course: Course, slack: float) -> dict[str, Estimate]:
    """How well the path that orders a factor best does so, and how little the others need move while it is
    ordered nearly as well; for each ordered factor."""
    rows = purest(course, torch.arange(len(course.spearman)), slack)
    monotony = course.spearman.abs().amax(0).tolist()
    leakage = course.leakage[rows, torch.arange(len(factors))].tolist()
    metrics = {}
    for factor, strength, leak in zip(factors, monotony, leakage, strict=True):
        metrics |= {
            f"monotonicity.{factor.name}": Estimate(strength),
            f"leakage.{factor.name}": Estimate(leak),
        }
    return metrics

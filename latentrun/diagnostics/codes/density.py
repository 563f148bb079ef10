"""How dense the codes are, and what is decoded in the empty regions between them."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.config.bounds import Between, Count, Each, Gt
from latentrun.diagnostics.base import Diagnostic, decoded, judge
from latentrun.diagnostics.codes.density_tables import (
    POINTS,
    Decoded,
    Region,
    band_metrics,
    band_table,
    empty_table,
    points_table,
    share_beyond,
)
from latentrun.diagnostics.needs import ENCODER, FLAT, GENERATOR, IMAGES, ORACLE
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.clouds.hulls import convex_hull, measurable
from latentrun.functional.clouds.whitening import Whitening, perturbed, whitening
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.intervals import bootstrap_each
from latentrun.functional.statistics.quantiles import mean_and_tail
from latentrun.functional.ties import largest
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

GRID = 90  # points a side of the map
DOTS = 3000  # codes kept for it
ROUNDING = 1e-6  # a mean miss below this is rounding: no ratio is made of it
REGIONS = {"hull": "hull of all codes", "core": "hull of the core", "gaussian": "Gaussian, as many points"}
BAND = "mean over hull points whose distance to the nearest code lies between two whitened units"
KINDS = {"near": "near codes", "empty": "empty regions", "prior": "prior"}


class Density(Diagnostic):
    """How densely do the codes fill their hull, and what is decoded where there are none?

    Codes (means of q(z|x)) are whitened: rotated to their principal axes and divided by the standard
    deviations along them. ``nearest``: distance from a code to the nearest other one. ``empty.q``: share of
    the volume of the codes' convex hull that lies farther than q from every code, by points drawn evenly from
    the hull; ``empty_core.q``: of the hull of the share ``core`` of codes nearest to the mean, which a few
    far codes cannot blow up; ``empty_gaussian.q``: of the hull of as many points of a normal distribution,
    what a blob without holes would have in its thin tails. ``widest``: the greatest distance of a drawn point
    to the nearest code.

    Then n points of each kind are decoded: ``near``, codes moved by ``step`` in random directions; ``empty``,
    points of the hull farther than ``beyond`` from every code, evenly; ``prior``, draws from the prior or
    what stands in for it. With an oracle their *residual* is the distance to the data's family as a share of
    the picture's norm; without one *distance* is that to the nearest training example; *absolute* is either
    in data units, which a faint picture does not blow up. ``ratio.empty``: mean in the empty regions over the
    mean near codes. An emptier hull has its points farther from codes: ``residual_band.a-b`` and
    ``absolute_band.a-b`` are means over at most n points of the hull whose distance to the nearest code is
    from a to b, the ``bands``, and so compare models at equal distance.

    Intervals, over drawn points, for these codes: Wilson's for shares, Student's corrected for skewness for
    means, order statistics for percentiles, bootstrap for ratios.
    """

    requires = (ENCODER, FLAT)
    uses = (GENERATOR, ORACLE, IMAGES)
    metrics: ClassVar = {
        "nearest": Metric(
            "whitened units from a code to the nearest other code; mean and percentiles over codes",
            0,
            None,
            "none",
        ),
        "empty": Metric(
            "share of the volume of the codes' hull farther than q whitened units from every code",
            0,
            1,
            "lower",
        ),
        "empty_core": Metric("the same share for the hull of the core of the codes", 0, 1, "lower"),
        "empty_gaussian": Metric(
            "the same share for as many points of a normal distribution, in their hull", 0, 1, "none"
        ),
        "widest": Metric(
            "whitened units, greatest distance found from a point of the hull to the nearest code",
            0,
            None,
            "lower",
        ),
        **{
            f"residual_{kind}": Metric(
                f"distance to the family as a share of the picture's norm, over decoded points: {text}",
                0,
                None,
                "zero",
            )
            for kind, text in KINDS.items()
        },
        **{
            f"distance_{kind}": Metric(
                f"data units to the nearest training example, over decoded points: {text}", 0, None, "none"
            )
            for kind, text in KINDS.items()
        },
        **{
            f"absolute_{kind}": Metric(
                f"data units to the family, or to the nearest training example, over decoded points: {text}",
                0,
                None,
                "none",
            )
            for kind, text in KINDS.items()
        },
        "residual_band": Metric(
            f"distance to the family as a share of the picture's norm, {BAND}", 0, None, "zero"
        ),
        "distance_band": Metric(f"data units to the nearest training example, {BAND}", 0, None, "none"),
        "absolute_band": Metric(
            f"data units to the family, or to the nearest training example, {BAND}", 0, None, "none"
        ),
        "ratio": Metric("mean residual (or distance) of decoded points over that near codes", 0, None, "one"),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        codes: Annotated[int, Count(2)],
        flat: Annotated[float, Between(0, 1)],
        q: Annotated[list[float], Each(Gt(0))],
        points: Annotated[int, Count(100)],
        core: Annotated[float, Between(0, 1)],
        n: Annotated[int, Count(2)],
        step: Annotated[float, Gt(0)],
        beyond: Annotated[float, Gt(0)],
        bands: Annotated[list[float], Each(Gt(0))],
        resamples: Annotated[int, Count(100, 100_000)],
        shown: Annotated[int, Count(1, 10_000)],
    ):
        self.split, self.codes, self.flat = split, codes, flat
        self.q, self.points, self.core = q, points, core
        self.n, self.step, self.beyond, self.resamples, self.shown = n, step, beyond, resamples, shown
        if sorted(set(bands)) != bands:
            raise InputError(f"density.bands: must grow from one to the next, got {bands}")
        self.bands = bands

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        z = run.latents(self.split).codes.cpu().double().numpy()
        z = z[noise.to("cpu").permutation("codes", len(z)).numpy()[: self.codes]]
        white = whitening(z, self.flat)
        u, projected = measurable(white.to(z))
        if not u.shape[1]:
            raise NothingToMeasure("the codes do not move: there is nothing to measure")
        tree = cKDTree(u)
        regions = self._regions(u, tree, noise)
        points = self._points(run, z, white, regions.get("hull"), noise)
        kinds = {
            kind: self._decode(run, codes, tree.query(white.to(codes)[:, : u.shape[1]])[0])
            for kind, codes in points.items()
        }
        bands = self._bands(run, white, regions.get("hull"))
        arrays = {f"gap_{name}": np.sort(region.gap).astype(np.float32) for name, region in regions.items()}
        if "hull" in regions and u.shape[1] > 1:
            arrays |= hole_map(regions["hull"], tree)
        return Report(
            metrics=gap_metrics(u, tree, regions, self.q)
            | self._miss_metrics(kinds, noise)
            | band_metrics(bands),
            tables={"empty": empty_table(regions, self.q), "points": points_table(kinds)} | band_table(bands),
            arrays=arrays | self._shown(run, kinds),
            notes=self._notes(run, z, white, projected, u.shape[1], regions, len(points.get("empty", ()))),
        )

    def _regions(self, u: np.ndarray, tree: cKDTree, noise: Noise) -> dict[str, Region]:
        """The hulls that there are: of the whitened codes ``u (N, k)``, of their core, and of as many points
        of a normal distribution, whose gaps are to those points."""
        norm = np.linalg.norm(u, axis=1)
        blob = noise.to("cpu").normal("gaussian", u.shape).double().numpy()
        clouds = {
            "hull": (u, tree),
            "core": (u[norm <= np.quantile(norm, self.core)], tree),
            "gaussian": (blob, cKDTree(blob)),
        }
        regions = {}
        for name, (cloud, codes) in clouds.items():
            hull = convex_hull(cloud)
            if hull is not None:
                points = hull.uniform(self.points, noise.at(name))
                regions[name] = Region(hull, points, codes.query(points)[0])
        return regions

    def _points(
        self, run: Run, z: np.ndarray, white: Whitening, hull: Region | None, noise: Noise
    ) -> dict[str, np.ndarray]:
        """The codes ``(n, d)`` that are decoded, by kind."""
        points = {"near": white.back(perturbed(white.to(z)[: self.n], self.step, noise.at("near")))}
        if hull is not None:
            hollow = hull.points[hull.gap > self.beyond][: self.n]
            if len(hollow):
                points["empty"] = white.back(hollow)
        points["prior"] = run.sample_codes(self.n, noise.at("prior")).cpu().double().numpy()
        return points

    def _decode(self, run: Run, codes: np.ndarray, gap: np.ndarray) -> Decoded:
        x = decoded(run, codes)
        judged = judge(run, x)
        return Decoded(x, judged.miss, judged.absolute, judged.kind, gap)

    def _bands(self, run: Run, white: Whitening, hull: Region | None) -> dict[str, Decoded]:
        """What is decoded of hull points at each distance from the codes, where two are so far."""
        decoded_at = {}
        for low, high in pairwise(self.bands):
            rows = np.flatnonzero((hull.gap >= low) & (hull.gap < high))[: self.n] if hull is not None else ()
            if hull is not None and len(rows) > 1:
                codes = white.back(hull.points[rows])
                decoded_at[f"{low:g}-{high:g}"] = self._decode(run, codes, hull.gap[rows])
        return decoded_at

    # ---------------------------------------------------------------- the report
    def _miss_metrics(self, kinds: dict[str, Decoded], noise: Noise) -> dict[str, Estimate]:
        metrics = {}
        for kind, points in kinds.items():
            tail = mean_and_tail(points.miss, over=POINTS)
            metrics |= {f"{points.measure}_{kind}.{part}": estimate for part, estimate in tail.items()}
            tail = mean_and_tail(points.absolute, over=POINTS)
            metrics |= {f"absolute_{kind}.{part}": estimate for part, estimate in tail.items()}
        for kind in [kind for kind in kinds if kind != "near"]:
            metrics[f"ratio.{kind}"] = ratio_of_means(
                kinds[kind].miss, kinds["near"].miss, noise.at("ratio", kind), self.resamples
            )
        return metrics

    def _shown(self, run: Run, kinds: dict[str, Decoded]) -> dict[str, np.ndarray]:
        """Decoded points of each kind, evenly from the one nearest to the data to the farthest."""
        arrays = {}
        for kind, points in kinds.items():
            n = len(points.miss)
            rows = points.miss.argsort(stable=True)[evenly(n, self.shown)]
            arrays[f"shown_{kind}"] = points.x[rows.to(points.x.device)].cpu().float().numpy()
            arrays[f"shown_{kind}_miss"] = points.miss[rows].numpy()
        return arrays | {"value_range": np.array(run.data.value_range, np.float64)}

    def _notes(
        self,
        run: Run,
        z: np.ndarray,
        white: Whitening,
        projected: str,
        k: int,
        regions: dict[str, Region],
        hollow: int,
    ) -> tuple[str, ...]:
        notes = [f"{len(z):,} codes of the {self.split} split, {z.shape[1]} latents"]
        if white.note:
            notes.append(white.note)
        if projected:
            notes.append(
                f"{projected}, and so are all distances; points of the hull are decoded with the mean code's "
                "coordinates along the other axes"
            )
        notes.append(run.sampler_note)
        for name, words in REGIONS.items():
            if name not in regions:
                notes.append(f"{words}: too few codes for a hull in {k} dimensions")
        if "hull" in regions:
            notes.append(
                f"{hollow:,} points of the hull farther than {self.beyond:g} from every code were found and "
                "decoded"
            )
        return tuple(notes)

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.codes.density_plot import decoded_strips, hole, misses, volumes

        pictures = {}
        if "map" in report.arrays:
            pictures["map"] = hole(report.arrays, self.beyond)
        regions = {words: f"gap_{name}" for name, words in REGIONS.items()}
        gaps = {words: report.arrays[key] for words, key in regions.items() if key in report.arrays}
        if gaps:
            pictures["emptiness"] = volumes(gaps, self.q, self.core)
        measure = report.tables["points"].columns[-1]
        pictures[measure] = misses(report.tables["points"], KINDS, self.step, self.beyond)
        if report.arrays["shown_near"].ndim == 4:
            pictures["decoded"] = decoded_strips(report.arrays, KINDS, measure)
        return pictures


# ---------------------------------------------------------------- numbers
def gap_metrics(
    u: np.ndarray, tree: cKDTree, regions: dict[str, Region], q: list[float]
) -> dict[str, Estimate]:
    """How far codes ``u (N, k)`` lie from the nearest other one, and how empty their hulls are."""
    nearest = tree.query(u, 2)[0][:, 1]
    numbers = {"mean": nearest.mean(), "median": np.median(nearest), "p95": np.quantile(nearest, 0.95)}
    metrics = {f"nearest.{name}": Estimate(float(number)) for name, number in numbers.items()}
    for name, region in regions.items():
        metric = "empty" if name == "hull" else f"empty_{name}"
        metrics |= {f"{metric}.{limit:g}": share_beyond(region, limit) for limit in q}
    if "hull" in regions:
        metrics["widest"] = Estimate(float(regions["hull"].gap.max()))
    return metrics


def hole_map(region: Region, tree: cKDTree) -> dict[str, np.ndarray]:
    """Distances to the nearest code on planes of two axes through the widest hole, NaN outside the hull."""
    hull, centre = region.hull, region.points[largest(region.gap)]
    u, k = hull.points, hull.points.shape[1]
    low, high = u.min(0), u.max(0)
    sides = np.linspace(low, high, GRID)
    planes = [(i, j) for i in range(min(k, 3)) for j in range(i + 1, min(k, 3))]
    cuts = []
    for i, j in planes:
        grid = np.tile(centre, (GRID, GRID, 1))
        grid[..., i], grid[..., j] = sides[None, :, i], sides[:, None, j]
        flat = grid.reshape(-1, k)
        cuts.append(np.where(hull.contains(flat), tree.query(flat)[0], np.nan).reshape(GRID, GRID))
    return {
        "map": np.array(cuts, np.float32).reshape(-1, GRID, GRID),
        "map_planes": np.array(planes, np.int64).reshape(-1, 2),
        "map_ends": np.stack([low, high]),
        "map_hole": np.append(centre, float(region.gap.max())),
        "map_codes": u[:DOTS].astype(np.float32),
    }


def ratio_of_means(above: Tensor, below: Tensor, noise: Noise, resamples: int) -> Estimate:
    """mean(above) / mean(below). Two independent sets in random order: as many of each, whose rows may be
    resampled together."""
    n = min(len(above), len(below))

    def statistic(rows: Tensor) -> Tensor:
        above, below = rows.mean(1).unbind(1)
        return torch.where(below > ROUNDING, above / below, torch.nan)[:, None]

    return bootstrap_each(statistic, torch.stack((above[:n], below[:n]), 1), noise, resamples, POINTS)[0]

"""How dense the codes are, and what is decoded in the empty regions between them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.config.bounds import Between, Each, Ge, Gt
from latentrun.diagnostics.base import Diagnostic, judge
from latentrun.diagnostics.needs import ENCODER, GENERATOR, IMAGES, ORACLE
from latentrun.functional.clouds.hulls import Hull, convex_hull, measurable
from latentrun.functional.clouds.whitening import perturbed, whitening
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.intervals import bootstrap_each, mean_and_tail, share_interval
from latentrun.plotting.density import emptiness_map, survival
from latentrun.plotting.images import strips
from latentrun.run import Run
from latentrun.types import Estimate, Metric, Picture, Report

GRID = 90  # points a side of the map
DOTS = 3000  # codes kept for it
ROUNDING = 1e-6  # a mean miss below this is rounding: no ratio is made of it
REGIONS = {"hull": "hull of all codes", "core": "hull of the core", "gaussian": "Gaussian, as many points"}
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
    the picture's norm; without one *distance* is that to the nearest training example. ``ratio.empty``: mean
    in the empty regions over the mean near codes.

    Intervals: Wilson's for shares (over drawn points, for these codes), normal approximation for means,
    bootstrap for the rest.
    """

    requires = (ENCODER,)
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
        "ratio": Metric("mean residual (or distance) of decoded points over that near codes", 0, None, "one"),
    }

    def __init__(
        self,
        split: Literal["train", "val", "test"],
        codes: Annotated[int, Ge(2)],
        flat: Annotated[float, Between(0, 1)],
        q: Annotated[list[float], Each(Gt(0))],
        points: Annotated[int, Ge(100)],
        core: Annotated[float, Between(0, 1)],
        n: Annotated[int, Ge(2)],
        step: Annotated[float, Gt(0)],
        beyond: Annotated[float, Gt(0)],
        resamples: Annotated[int, Ge(100)],
        shown: Annotated[int, Ge(1)],
    ):
        self.split, self.codes, self.flat, self.q, self.points, self.core = (
            split,
            codes,
            flat,
            q,
            points,
            core,
        )
        self.n, self.step, self.beyond, self.resamples, self.shown = n, step, beyond, resamples, shown

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        z = run.latents(self.split).codes.cpu().double().numpy()
        z = z[noise.to("cpu").permutation("codes", len(z)).numpy()[: self.codes]]
        white = whitening(z, self.flat)
        u, note = measurable(white.to(z))
        notes = [f"{len(z):,} codes of the {self.split} split, {z.shape[1]} latents"]
        if note:
            note += (
                ", and so are all distances; points of the hull are decoded with the mean code's "
                "coordinates along the other axes"
            )
        notes += [text for text in (white.note, note) if text] + [run.sampler_note]
        if not u.shape[1]:
            return Report(notes=(*notes, "the codes do not move: there is nothing to measure"))
        tree = cKDTree(u)
        nearest = tree.query(u, 2)[0][:, 1]
        metrics = {f"nearest.{name}": Estimate(float(value)) for name, value in _summary(nearest).items()}
        tables, arrays = {}, {}

        norm = np.linalg.norm(u, axis=1)
        blob = noise.to("cpu").normal("gaussian", u.shape).double().numpy()
        hulls = {
            "hull": (convex_hull(u), tree),
            "core": (convex_hull(u[norm <= np.quantile(norm, self.core)]), tree),
            "gaussian": (convex_hull(blob), cKDTree(blob)),
        }
        rows, found = [], {}
        for region, (hull, codes) in hulls.items():
            if hull is None:
                notes.append(f"{REGIONS[region]}: too few codes for a hull in {u.shape[1]} dimensions")
                continue
            drawn = hull.uniform(self.points, noise.at(region))
            gap = codes.query(drawn)[0]
            found[region] = drawn, gap
            arrays[f"gap_{region}"] = np.sort(gap).astype(np.float32)
            for q in self.q:
                share = share_interval(int((gap > q).sum()), self.points)
                metrics[f"empty{'' if region == 'hull' else f'_{region}'}.{q:g}"] = share
                rows.append((region, q, share.value, share.low, share.high, hull.volume, len(hull.vertices)))
        tables["empty"] = pd.DataFrame(
            rows, columns=["region", "q", "share", "low", "high", "volume", "vertices"]
        )
        points = {"near": white.back(perturbed(white.to(z)[: self.n], self.step, noise.at("near")))}
        if "hull" in found:
            drawn, gap = found["hull"]
            metrics["widest"] = Estimate(float(gap.max()))
            if u.shape[1] > 1:
                arrays |= self._map(hulls["hull"][0], tree, drawn[gap.argmax()], float(gap.max()))
            hollow = drawn[gap > self.beyond][: self.n]
            notes.append(
                f"{len(hollow):,} points of the hull farther than {self.beyond:g} from every code "
                "were found and decoded"
            )
            if len(hollow):
                points["empty"] = white.back(hollow)
        points["prior"] = run.sample_codes(self.n, noise.at("prior")).cpu().double().numpy()
        self._decode(
            run, points, lambda z: tree.query(white.to(z)[:, : u.shape[1]])[0], noise, metrics, tables, arrays
        )
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=tuple(notes))

    def _map(self, hull: Hull, tree: cKDTree, centre: np.ndarray, radius: float) -> dict[str, np.ndarray]:
        """Distances to the nearest code on planes of two axes through the widest hole, NaN outside the
        hull."""
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
            "map_hole": np.append(centre, radius),
            "map_codes": u[:DOTS].astype(np.float32),
        }

    def _decode(
        self, run: Run, points: dict[str, np.ndarray], gap, noise: Noise, metrics, tables, arrays
    ) -> None:
        """Decode points of each kind and hold them against the data."""
        space, parts, misses = run.model.spaces["z"], [], {}
        for kind, z in points.items():
            x = run.decode(space.project(torch.from_numpy(z).float().to(run.device)))
            judged = judge(run, x)
            miss = misses[kind] = judged.miss
            parts.append(pd.DataFrame({"kind": kind, "gap": gap(z), judged.kind: miss.numpy()}))
            tail = mean_and_tail(miss, noise.at("miss", kind), self.resamples)
            metrics |= {f"{judged.kind}_{kind}.{part}": estimate for part, estimate in tail.items()}
            # From the least to the greatest, evenly.
            rows = miss.argsort()[torch.linspace(0, len(miss) - 1, min(self.shown, len(miss))).round().long()]
            arrays[f"shown_{kind}"], arrays[f"shown_{kind}_miss"] = (
                x[rows.to(x.device)].cpu().float().numpy(),
                miss[rows].numpy(),
            )
        tables["points"] = pd.concat(parts, ignore_index=True)
        for kind in [kind for kind in misses if kind != "near"]:
            metrics[f"ratio.{kind}"] = self._ratio(misses[kind], misses["near"], noise.at("ratio", kind))
        arrays["value_range"] = np.array(run.data.value_range, np.float64)

    def _ratio(self, above: Tensor, below: Tensor, noise: Noise) -> Estimate:
        """Ratio of means. Two independent sets in random order: as many of each, whose rows may be resampled
        together."""
        m = min(len(above), len(below))

        def statistic(rows: Tensor) -> Tensor:
            above, below = rows.mean(1).unbind(1)
            return torch.where(below > ROUNDING, above / below, torch.nan)[:, None]

        return bootstrap_each(statistic, torch.stack((above[:m], below[:m]), 1), noise, self.resamples)[0]

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "points" not in report.tables:
            return {}
        arrays, points, found = report.arrays, report.tables["points"], {}
        if "map" in arrays:
            parts = ("map", "map_planes", "map_ends", "map_hole", "map_codes")
            found["map"] = Picture(
                emptiness_map(*(arrays[part] for part in parts), self.beyond),
                "Planes through the middle of the widest hole (cross; dashed: the empty ball around "
                "it, radius "
                f"{arrays['map_hole'][-1]:.2f}), cut off at the hull of the codes. Colour: distance "
                "to the nearest code; "
                f"dots: codes within {self.beyond:g} of the plane. Axes: principal axes of the codes, "
                "all lengths in whitened units.",
            )
        regions = {
            text: arrays[f"gap_{region}"] for region, text in REGIONS.items() if f"gap_{region}" in arrays
        }
        if regions:
            found["emptiness"] = Picture(
                survival(
                    regions,
                    "distance r to the nearest code (whitened units)",
                    "share of the volume farther than r",
                    self.q,
                ),
                "How empty the hull of the codes is: the share of its volume farther than r from "
                "every code; the same for the hull of the "
                f"{self.core:.0%} of codes nearest to the mean, and for as many points of a normal "
                "distribution (a blob without holes, "
                "whose hull has thin tails). Dotted: the distances of the table.",
            )
        name = points.columns[-1]
        kinds = {text: points.loc[points["kind"] == kind, name].to_numpy() for kind, text in KINDS.items()}
        kinds = {text: values for text, values in kinds.items() if len(values)}
        text = (
            "residual (share of the norm)"
            if name == "residual"
            else "distance to the nearest training example (data units)"
        )
        found[name] = Picture(
            survival(kinds, text, "share of decoded points above", logarithmic=True),
            f"How far decoded points lie from the data, by where their codes are: {self.step:g} "
            "whitened units from a code, in regions "
            f"of the hull farther than {self.beyond:g} from every code, and drawn as the model's "
            "samples are (prior).",
        )
        if arrays["shown_near"].ndim == 4:
            shown = [kind for kind in KINDS if f"shown_{kind}" in arrays]
            rows = [(KINDS[kind], arrays[f"shown_{kind}"]) for kind in shown]
            under = [[f"{value:.3g}" for value in arrays[f"shown_{kind}_miss"]] for kind in shown]
            found["decoded"] = Picture(
                strips(rows, tuple(arrays["value_range"]), under=under),
                "Decoded points of each kind, evenly from the one nearest to the data (left) to the "
                f"farthest (right); beneath: {text}.",
            )
        return found


def _summary(values: np.ndarray) -> dict[str, float]:
    return {"mean": values.mean(), "median": np.median(values), "p95": np.quantile(values, 0.95)}

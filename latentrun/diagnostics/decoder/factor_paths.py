"""The best path for every factor, found by search and judged by decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree

from latentrun.config.bounds import Between, Count, Each, Gt
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, cloud_of, judge
from latentrun.diagnostics.decoder.factor_paths_decode import Goal, Merits, PathDecoder
from latentrun.diagnostics.decoder.factor_paths_plot import factor_path_pictures
from latentrun.diagnostics.decoder.factor_paths_shortest import shortest_paths
from latentrun.diagnostics.needs import ENCODER, FACTORS, FLAT, IMAGES, ORACLE
from latentrun.diagnostics.surface import require_surface
from latentrun.errors import NothingToMeasure
from latentrun.functional.clouds.factor_field import FactorField, factor_field
from latentrun.functional.clouds.hulls import convex_hull, measurable
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.noise import Noise
from latentrun.functional.paths.cloud import Cloud
from latentrun.functional.paths.curves import along, longest_part, moved
from latentrun.functional.paths.search import FINDERS, Effort
from latentrun.functional.paths.tracks import track_tables
from latentrun.functional.ties import largest, ranked
from latentrun.models.base import Model
from latentrun.plotting.cloud import TURNED
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Metric, Picture, Report

Kind = Literal["straight", "hull", "shortest"]
KINDS = get_args(Kind)
IMPROVED = 2  # finalists of which moved copies are decoded
ROUNDING = 1e-4  # share of the data's norm below which a miss is rounding
MARKS = ("score", "monotonicity", "leakage", "coverage", "within")
MEANING = {  # of the best path of a kind, which takes the place of {}
    "score": Metric("monotonicity x coverage x within / (1 + leakage) of the best {} path", 0, 1, "higher"),
    "monotonicity": Metric("|Spearman| of the fitted factor against position along it", 0, 1, "higher"),
    "leakage": Metric(
        "total variation of the other factors, mean, over that of the factor along it", 0, None, "zero"
    ),
    "coverage": Metric("share of the factor's range between its extremes along it", 0, 1, "higher"),
    "within": Metric(
        "1 where it stays in the data, falling to 0 as its worst point goes to twice the limit",
        0,
        1,
        "higher",
    ),
    "residual": Metric(
        "distance to the family as a share of the picture's norm, mean over its points", 0, None, "zero"
    ),
    "distance": Metric("data units to the nearest training example, mean over its points", 0, None, "none"),
    "gap": Metric("whitened units to the nearest train code, mean over its points", 0, None, "none"),
}


def metric_name(kind: str, name: str) -> str:
    """Of a number of the paths of a kind."""
    return name if kind == "straight" else f"{kind}_{name}"


class FactorPaths(Diagnostic):
    """For every factor, along which path does it move most, most evenly upwards, and with least leakage into
    the others?

    *score* = |rho| c w / (1 + L). rho: Spearman correlation of the factor with the position (*monotonicity*),
    0 where it covers less than ``min_change`` of its range. c, *coverage*: the share of its range between its
    extremes along the path; what lies beyond the range does not count. L, *leakage*: mean total variation of
    the other factors, in shares of their ranges, over that of the factor within its range. w, *within*: 1 for
    a path that stays in the data; it falls evenly to 0 as the worst point of the path goes from a limit to
    twice that, for the distance of the decoded points from the data, times the same for the gap to the
    nearest train code. Limits: the ``tail`` quantile of that distance for reconstructions of test examples
    (times ``reach`` where it is that to the nearest training example); ``reach`` times the ``tail`` quantile
    of the distance from a train code to the next. 1 is a path that takes the factor through all its range and
    moves nothing else.

    Kinds: ``straight`` segments; ``hull``, splines through codes near the convex hull (see
    ``functional.paths.search``); ``shortest``, curves of the decoder's metric between the ends of straight
    ones (:func:`shortest_paths`), for models that have one. *Search* on train codes with their known factors,
    by local planes of the factors over the whitened codes, which also say where ``reference`` test
    reconstructions miss the data; nothing is decoded and no factor fitted. *Choice*: the ``finalists`` of
    each factor and kind are decoded, cut to their longest part in the data, and moved; of those that stay in
    the data the one of greatest score. *Judgement*: only that one, anew at ``steps`` points, of which the
    choice has decoded few (the ends). Factors of decoded points are those of the nearest member of the family
    where there is an oracle. Without one the decoded points are encoded again and their factors read off by
    local planes over test codes: a path may then please by the same faults of decoder and encoder.
    Categorical factors have no order and are left out.
    """

    requires = (ENCODER, FLAT, FACTORS)
    uses = (ORACLE, IMAGES)
    metrics: ClassVar = {
        metric_name(kind, name): replace(meaning, unit=meaning.unit.format(kind))
        for kind in KINDS
        for name, meaning in MEANING.items()
    }

    def __init__(
        self,
        kinds: list[Kind],
        codes: Annotated[int, Count(2)],
        flat: Annotated[float, Between(0, 1)],
        neighbours: Annotated[int, Count(2, 10_000)],
        ends: Annotated[int, Count(2, 10_000)],
        pairs: Annotated[int, Count(1, 10_000)],
        probes: Annotated[int, Count(3, 10_000)],
        depth: Annotated[float, Gt(0)],
        links: Annotated[int, Count(1, 10_000)],
        knots: Annotated[int, Count(3, 10_000)],
        finalists: Annotated[int, Count(1, 10_000)],
        apart: Annotated[float, Gt(0)],
        variants: Annotated[int, Count(1, 10_000)],
        moves: Annotated[list[float], Each(Gt(0))],
        tail: Annotated[float, Between(0, 1)],
        reach: Annotated[float, Gt(0)],
        reference: Annotated[int, Count(2)],
        steps: Annotated[int, Count(5, 10_000)],
        shown: Annotated[int, Count(2, 10_000)],
        min_change: Annotated[float, Between(0, 1)],
    ):
        self.kinds, self.codes, self.flat, self.neighbours = kinds, codes, flat, neighbours
        self.effort = Effort(ends, pairs, probes, finalists, apart, depth, links, knots)
        self.variants, self.moves = variants, moves
        self.tail, self.reach, self.reference = tail, reach, reference
        self.steps, self.shown, self.min_change = steps, shown, min_change

    def check(self, model: Model, data: Dataset) -> None:
        if "shortest" in self.kinds:
            require_surface(model, "shortest")

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise, notes = noise.to("cpu"), []
        columns = self._ordered(run.data.factors, notes)
        ordered = [run.data.factors[i] for i in columns]
        white, cloud = self._cloud(run, columns, noise, notes)

        goals = self._goals(run, white, cloud, noise, ordered)
        searches = [
            goal.finder.find(cloud, goal.factor, self.effort, noise.at(goal.kind, goal.name))
            for goal in goals
        ]
        notes += [
            f"{goal.name}, {goal.kind}: {search.why}"
            for goal, search in zip(goals, searches, strict=True)
            if search.why
        ]
        reached = [len(search.knots) > 0 for search in searches]
        metrics = {
            f"{metric_name(goal.kind, name)}.{goal.name}": Estimate(0.0)
            for goal, is_reached in zip(goals, reached, strict=True)
            for name in ("score", "monotonicity", "coverage")
            if not is_reached
        }
        if not any(reached):
            return Report(metrics, notes=tuple(notes))
        goals, searches = list(compress(goals, reached)), list(compress(searches, reached))
        decoder = PathDecoder(run, white, cloud, ordered, columns, self.neighbours)
        if decoder.field is not None:
            notes.append(
                "no oracle: decoded points are encoded again and their factors read off by local planes over "
                "test codes"
            )
        curves, choice = self._choose(decoder, goals, [search.knots for search in searches], noise, notes)
        choice.insert(2, "searched", [search.compared for search in searches])
        tables, arrays = self._judge(decoder, goals, curves)
        metrics |= best_metrics(tables["best"])
        tables["best"] = tables["best"].merge(choice, on=["factor", "kind"])
        notes.append(
            "each path is the best of many: `searched` by train codes and their factors, `decoded` by the "
            f"choice; what is told of it is measured anew at {self.steps} points. It is a fixed curve: its "
            "values have no sampling interval"
        )
        rows = noise.permutation("drawn", len(run.latents("train").codes)).numpy()[:TURNED]
        cloud_tables, cloud_arrays = cloud_of(run, "train", rows)
        return Report(metrics, tables | cloud_tables, arrays | cloud_arrays, notes=tuple(notes))

    # ---------------------------------------------------------------- what the search goes by
    def _goals(
        self, run: Run, white: Whitening, cloud: Cloud, noise: Noise, ordered: Sequence[Factor]
    ) -> list[Goal]:
        """A path of each kind for each of the factors."""
        finders = dict(FINDERS)
        if "shortest" in self.kinds:
            finders["shortest"] = shortest_paths(run, white, cloud, noise)
        return [
            Goal(kind, finders[kind], i, factor.name)
            for kind in self.kinds
            for i, factor in enumerate(ordered)
        ]

    def _ordered(self, factors: Sequence[Factor], notes: list[str]) -> list[int]:
        """The numbers of the factors that have an order; NothingToMeasure where none has."""
        unordered = [factor.name for factor in factors if factor.kind == "categorical"]
        if unordered:
            notes.append(f"{', '.join(unordered)} left out: categories have no order")
        if len(unordered) == len(factors):
            raise NothingToMeasure("; ".join(notes))
        return [i for i, factor in enumerate(factors) if factor.kind != "categorical"]

    def _cloud(self, run: Run, columns: list[int], noise: Noise, notes: list[str]) -> tuple[Whitening, Cloud]:
        """Some train codes, whitened, with the factors ``columns`` as functions of them, and how far from
        them and from the data a path may go; NothingToMeasure where the codes do not move."""
        latents = run.latents("train")
        rows = noise.permutation("codes", len(latents.codes))[: self.codes]
        z = latents.codes.cpu().double().numpy()[rows]
        y = latents.y.cpu().double().numpy()[rows][:, columns]
        white = whitening(z, self.flat)
        u = white.to(z)
        notes.append(f"{len(z):,} train codes, {z.shape[1]} latents")
        if white.note:
            notes.append(white.note)
        if not u.shape[1]:
            raise NothingToMeasure("the codes do not move: no path moves anything")
        ordered = [run.data.factors[i] for i in columns]
        ranges = torch.tensor([[factor.low, factor.high] for factor in ordered], dtype=torch.float64)
        cyclic = torch.tensor([factor.kind == "cyclic" for factor in ordered])
        period = np.where(cyclic, np.ptp(ranges.numpy(), axis=1), 0.0)
        field = factor_field(u, y, period, self.neighbours)
        flat, note = measurable(u)
        if note and "hull" in self.kinds:
            notes.append(note)
        distinct = np.unique(u, axis=0)  # copies lie no distance apart, and say nothing of how far codes do
        apart = cKDTree(distinct).query(distinct, 2)[0][:, -1]
        reach = self.reach * float(np.quantile(apart, self.tail))
        miss, limit = self._reference(run, white, reach, noise, notes)
        return white, Cloud(field, ranges, cyclic, convex_hull(flat), reach, self.min_change, miss, limit)

    def _reference(
        self, run: Run, white: Whitening, reach: float, noise: Noise, notes: list[str]
    ) -> tuple[FactorField, float]:
        """How far reconstructions of test examples lie from the data: the log as a function of the code, and
        the limit."""
        test = run.latents("test")
        rows = noise.permutation("reference", len(test.codes))[: self.reference].to(test.codes.device)
        judgement = judge(run, run.decode(test.codes[rows]))
        # Between training examples the nearest is farther than from a test example, as between codes.
        norm, factor, measure = 1.0, 1.0, "residual"
        if judgement.kind == "distance":
            norm = run.x("test")[rows].flatten(1).norm(dim=1).mean().item()
            factor, measure = self.reach, "distance to the nearest training example"
        miss = judgement.miss.clamp(min=ROUNDING * norm)
        limit = float(torch.quantile(miss, self.tail)) * factor
        notes.append(
            f"in the data: {measure} at most {limit:.3g}, whitened units to the nearest train code at most "
            f"{reach:.3g}"
        )
        u = white.to(test.codes[rows].cpu().double().numpy())
        return factor_field(u, miss.log()[:, None].numpy(), np.zeros(1), self.neighbours), limit

    # ---------------------------------------------------------------- which path
    def _choose(
        self,
        decoder: PathDecoder,
        goals: Sequence[Goal],
        curves: list[np.ndarray],
        noise: Noise,
        notes: list[str],
    ) -> tuple[list[np.ndarray], pd.DataFrame]:
        """The best curve ``(1, K, k)`` for each goal by its decoded points, rising; what was decoded for
        it."""
        merits = decoder.merits(goals, curves, self.effort.probes, self.steps)
        first = [float(merit.score.max()) for merit in merits]
        for stage in range(1 + len(self.moves)):
            curves, merits = self._improve(decoder, goals, curves, merits, stage, noise)
        best = [largest(merit.worth) for merit in merits]
        notes += [
            f"{goal.name}, {goal.kind}: no path that was decoded stays in the data"
            for goal, merit, row in zip(goals, merits, best, strict=True)
            if merit.within[row] < 1
        ]
        table = pd.DataFrame(
            {
                "factor": [goal.name for goal in goals],
                "kind": [goal.kind for goal in goals],
                "decoded": [len(candidates) for candidates in curves],
                "score_found": first,
                "score_chosen": [float(merit.score[row]) for merit, row in zip(merits, best, strict=True)],
            }
        )
        rising = [
            candidates[row : row + 1, :: -1 if merit.rho[row] < 0 else 1]
            for candidates, merit, row in zip(curves, merits, best, strict=True)
        ]
        return rising, table

    def _improve(
        self,
        decoder: PathDecoder,
        goals: Sequence[Goal],
        curves: list[np.ndarray],
        merits: list[Merits],
        stage: int,
        noise: Noise,
    ) -> tuple[list[np.ndarray], list[Merits]]:
        """The candidates for each goal and new ones made of them: at stage 0 what leaves the data is cut to
        what does not, then copies of the best are moved by the length of that stage."""
        fresh = []
        for goal, candidates, merit in zip(goals, curves, merits, strict=True):
            if stage == 0:
                outside = merit.within < 1
                changed = longest_part(candidates[outside.numpy()], merit.inside[outside].numpy())
            else:
                best = ranked(merit.worth)[:IMPROVED]
                length, key = self.moves[stage - 1], noise.at(goal.kind, goal.factor, stage)
                changed = moved(candidates[best], self.variants, length, length / 2, key)
            fresh.append(goal.finder.confine(decoder.cloud, changed, self.effort))
        if not any(map(len, fresh)):
            return curves, merits
        more = decoder.merits(goals, fresh, self.effort.probes, self.steps)
        curves = [np.concatenate(both) for both in zip(curves, fresh, strict=True)]
        return curves, [merit.join(other) for merit, other in zip(merits, more, strict=True)]

    # ---------------------------------------------------------------- what the path does
    def _judge(
        self, decoder: PathDecoder, goals: Sequence[Goal], curves: list[np.ndarray]
    ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]]:
        """Decode the chosen curves at ``steps`` points and measure them; tables and arrays of the report."""
        u = np.concatenate([along(curve, self.steps) for curve in curves])
        decoded = decoder.decode(u)
        names = [f"{goal.name}, {goal.kind}" for goal in goals]
        position = np.broadcast_to(np.linspace(0, 1, self.steps), u.shape[:2])
        tables = track_tables(
            names, position, decoded.z, decoded.gap, decoded.kind, decoded.miss.flatten(), decoded.reading
        )
        best = pd.DataFrame(
            {"factor": [goal.name for goal in goals], "kind": [goal.kind for goal in goals], "path": names}
        )
        place = torch.arange(len(goals)), torch.tensor([goal.factor for goal in goals])
        for name in ("score", "monotonicity", "leakage", "coverage"):
            best[name] = getattr(decoded.marks, name)[place].numpy()
        best["within"] = decoded.marks.within.numpy()
        best["length"] = np.linalg.norm(np.diff(u, axis=1), axis=2).sum(1)
        if decoder.cloud.hull is not None:
            best["depth"] = decoder.cloud.depth(u).mean(1)
        tables["best"] = best.merge(tables["paths"], on="path")
        drawn = np.linspace(0, self.steps - 1, min(self.shown, self.steps)).round().astype(int)
        ranges = {factor.name: (factor.low, factor.high) for factor in decoder.run.data.factors}
        arrays = {
            "pictures": decoded.x.unflatten(0, u.shape[:2])[:, drawn].cpu().float().numpy(),
            "drawn": drawn,
            "value_range": np.array(decoder.run.data.value_range, np.float64),
            "factor_range": np.array([ranges[name] for name in decoded.reading.names], np.float64),
        }
        return tables, arrays

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        # Where the search came to nothing the scores are 0 and there is no path to draw.
        return factor_path_pictures(report) if "best" in report.tables else {}


def best_metrics(best: pd.DataFrame) -> dict[str, Estimate]:
    """The numbers of each best path."""
    miss = "residual" if "residual_mean" in best else "distance"
    columns = {name: name for name in MARKS} | {miss: f"{miss}_mean", "gap": "gap_mean"}
    return {
        f"{metric_name(row['kind'], name)}.{row['factor']}": Estimate(float(row[column]))
        for row in best.to_dict("records")
        for name, column in columns.items()
    }

"""The best path for every factor, found by search and judged by decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from latentrun.config.bounds import Between, Each, Ge, Gt
from latentrun.data.base import Oracle
from latentrun.diagnostics.base import Diagnostic, cloud_of, judge
from latentrun.diagnostics.decoder.factor_paths_plot import best_strips, first_number, path_map
from latentrun.diagnostics.needs import ENCODER, FACTORS, IMAGES, ORACLE
from latentrun.functional.clouds.factor_field import FactorField, factor_field
from latentrun.functional.clouds.hulls import convex_hull, measurable
from latentrun.functional.clouds.whitening import Whitening, whitening
from latentrun.functional.factors import read_factors
from latentrun.functional.noise import Noise
from latentrun.functional.paths.cloud import Cloud, Marks, mark, within
from latentrun.functional.paths.curves import along, longest_part, moved
from latentrun.functional.paths.lines import Reading, read
from latentrun.functional.paths.search import FINDERS, Effort
from latentrun.functional.paths.tracks import track_tables
from latentrun.plotting.cloud import TURNED
from latentrun.plotting.tracks import judged_curves
from latentrun.run import Run
from latentrun.types import Estimate, Factor, Latents, Metric, Picture, Projection, Report

Kind = Literal[tuple(FINDERS)]
IMPROVED = 2  # finalists of which moved copies are decoded
ROUNDING = 1e-4  # share of the data's norm below which a miss is rounding
CURVES = 8  # factors drawn at most
MEANING = {
    "score": ("monotonicity x coverage x within / (1 + leakage) of the best {} path", 0, 1, "higher"),
    "monotonicity": ("|Spearman| of the fitted factor against position along it", 0, 1, "higher"),
    "leakage": (
        "total variation of the other factors, mean, over that of the factor along it",
        0,
        None,
        "zero",
    ),
    "coverage": ("share of the factor's range between its extremes along it", 0, 1, "higher"),
    "within": (
        "1 where it stays in the data, falling to 0 as its worst point goes to twice the limit",
        0,
        1,
        "higher",
    ),
    "residual": (
        "distance to the family as a share of the picture's norm, mean over its points",
        0,
        None,
        "zero",
    ),
    "distance": ("data units to the nearest training example, mean over its points", 0, None, "none"),
    "gap": ("whitened units to the nearest train code, mean over its points", 0, None, "none"),
}


def _prefix(kind: str) -> str:
    return "" if kind == "straight" else f"{kind}_"


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
    ``functional.path_search``). *Search* on train codes with their known factors, by local planes of the
    factors over the whitened codes, which also say where ``reference`` test reconstructions miss the data;
    nothing is decoded and no factor fitted. *Choice*: the ``finalists`` of each factor and kind are decoded,
    cut to their longest part in the data, and moved; of those that stay in the data the one of greatest
    score. *Judgement*: only that one, anew at ``steps`` points, of which the choice has decoded few (the
    ends). Factors of decoded points are those of the nearest member of the family where there is an oracle.
    Without one the decoded points are encoded again and their factors read off by local planes over test
    codes: a path may then please by the same faults of decoder and encoder. Categorical factors have no order
    and are left out.
    """

    requires = (ENCODER, FACTORS)
    uses = (ORACLE, IMAGES)
    metrics: ClassVar = {
        f"{_prefix(kind)}{name}": Metric(text.format(kind), *rest)
        for kind in FINDERS
        for name, (text, *rest) in MEANING.items()
    }

    def __init__(
        self,
        kinds: list[Kind],
        codes: Annotated[int, Ge(2)],
        flat: Annotated[float, Between(0, 1)],
        neighbours: Annotated[int, Ge(2)],
        ends: Annotated[int, Ge(2)],
        pairs: Annotated[int, Ge(1)],
        probes: Annotated[int, Ge(3)],
        depth: Annotated[float, Gt(0)],
        links: Annotated[int, Ge(1)],
        knots: Annotated[int, Ge(3)],
        finalists: Annotated[int, Ge(1)],
        apart: Annotated[float, Gt(0)],
        variants: Annotated[int, Ge(1)],
        moves: Annotated[list[float], Each(Gt(0))],
        tail: Annotated[float, Between(0, 1)],
        reach: Annotated[float, Gt(0)],
        reference: Annotated[int, Ge(2)],
        steps: Annotated[int, Ge(5)],
        shown: Annotated[int, Ge(2)],
        min_change: Annotated[float, Between(0, 1)],
    ):
        self.kinds, self.codes, self.flat, self.neighbours = kinds, codes, flat, neighbours
        self.effort = Effort(ends, pairs, probes, finalists, apart, depth, links, knots)
        self.variants, self.moves, self.tail, self.reach, self.reference = (
            variants,
            moves,
            tail,
            reach,
            reference,
        )
        self.steps, self.shown, self.min_change = steps, shown, min_change

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise = noise.to("cpu")
        columns = [i for i, factor in enumerate(run.data.factors) if factor.kind != "categorical"]
        ordered = [run.data.factors[i] for i in columns]
        left = [factor.name for factor in run.data.factors if factor.kind == "categorical"]
        notes = [f"{', '.join(left)} left out: categories have no order"] if left else []
        if not ordered:
            return Report(notes=tuple(notes))
        latents = run.latents("train")
        chosen = noise.permutation("codes", len(latents.codes))[: self.codes]
        z, y = (
            latents.codes.cpu().double().numpy()[chosen],
            latents.y.cpu().double().numpy()[chosen][:, columns],
        )
        white = whitening(z, self.flat)
        u = white.to(z)
        notes += [f"{len(z):,} train codes, {z.shape[1]} latents", *([white.note] if white.note else [])]
        if not u.shape[1]:
            return Report(notes=(*notes, "the codes do not move: no path moves anything"))
        ranges = torch.tensor([[factor.low, factor.high] for factor in ordered], dtype=torch.float64)
        cyclic = torch.tensor([factor.kind == "cyclic" for factor in ordered])
        period = np.where(cyclic, np.ptp(ranges.numpy(), axis=1), 0.0)
        field = factor_field(u, y, period, self.neighbours)
        flat, note = measurable(u)
        notes += [note] if note and "hull" in self.kinds else []
        shell = convex_hull(flat)
        distinct = np.unique(u, axis=0)  # copies lie no distance apart, and say nothing of how far codes do
        if len(distinct) < 2:
            return Report(notes=(*notes, "all train codes are equal: no path moves anything"))
        reach = self.reach * float(np.quantile(cKDTree(distinct).query(distinct, 2)[0][:, -1], self.tail))
        miss, limit = self._reference(run, white, reach, noise, notes)
        cloud = Cloud(field, ranges, cyclic, shell, reach, self.min_change, miss, limit)

        jobs = [(kind, i) for kind in self.kinds for i in range(len(ordered))]
        found = [
            FINDERS[kind].find(cloud, i, self.effort, noise.at(kind, ordered[i].name)) for kind, i in jobs
        ]
        notes += [
            f"{ordered[i].name}, {kind}: {f.why}" for (kind, i), f in zip(jobs, found, strict=True) if f.why
        ]
        metrics = {
            f"{_prefix(kind)}{name}.{ordered[i].name}": Estimate(0.0)
            for (kind, i), f in zip(jobs, found, strict=True)
            for name in ("score", "monotonicity", "coverage")
            if not len(f.knots)
        }
        jobs, found = (
            [item for item, f in zip(items, found, strict=True) if len(f.knots)] for items in (jobs, found)
        )
        if not jobs:
            return Report(metrics=metrics, notes=tuple(notes))
        judged = _Judged(run, white, cloud, ordered, columns, self.neighbours)
        if judged.field is not None:
            notes.append(
                "no oracle: decoded points are encoded again and their factors read off by local "
                "planes over test codes"
            )
        knots, table = self._choose(judged, jobs, [f.knots for f in found], noise, notes)
        tables, arrays = self._judge(run, judged, jobs, knots, metrics)
        table.insert(2, "searched", [f.compared for f in found])
        tables["best"] = tables["best"].merge(table, on=["factor", "kind"])
        notes.append(
            "each path is the best of many: `searched` by train codes and their factors, `decoded` by "
            "the choice; what is told of it is "
            f"measured anew at {self.steps} points. It is a fixed curve: its values have no sampling interval"
        )
        self._drawn(run, latents, noise, tables, arrays)
        return Report(metrics=metrics, tables=tables, arrays=arrays, notes=tuple(notes))

    def _reference(
        self, run: Run, white: Whitening, reach: float, noise: Noise, notes: list[str]
    ) -> tuple[FactorField, float]:
        """How far reconstructions of test examples lie from the data: the log as a function of the code, and
        the limit."""
        test = run.latents("test")
        rows = noise.permutation("reference", len(test.codes))[: self.reference].to(test.codes.device)
        off = judge(run, run.decode(test.codes[rows]))
        norm = 1.0 if off.kind == "residual" else run.x("test")[rows].flatten(1).norm(dim=1).mean().item()
        miss = off.miss.clamp(min=ROUNDING * norm)
        # Between training examples the nearest is farther than from a test example, as between codes.
        limit = float(torch.quantile(miss, self.tail)) * (1.0 if off.kind == "residual" else self.reach)
        what = "residual" if off.kind == "residual" else "distance to the nearest training example"
        notes.append(
            f"in the data: {what} at most {limit:.3g}, whitened units to the nearest train code at "
            f"most {reach:.3g}"
        )
        u = white.to(test.codes[rows].cpu().double().numpy())
        return factor_field(u, miss.log()[:, None].numpy(), np.zeros(1), self.neighbours), limit

    def _choose(
        self,
        judged: _Judged,
        jobs: Sequence[tuple[str, int]],
        knots: list[np.ndarray],
        noise: Noise,
        notes: list[str],
    ) -> tuple[list[np.ndarray], pd.DataFrame]:
        """The best curve ``(1, K, k)`` for each factor and kind by its decoded points, rising; what was
        decoded for it."""
        factor = [i for _, i in jobs]
        seen = judged.at(knots, self.effort.probes, self.steps, factor)
        first, decoded = [float(part.score.max()) for part in seen], [len(part) for part in knots]
        for step, length in enumerate((0.0, *self.moves)):
            if step == 0:  # what leaves the data is cut to what does not
                fresh = [
                    longest_part(part[s.within.numpy() < 1], s.inside[s.within < 1].numpy())
                    for part, s in zip(knots, seen, strict=True)
                ]
            else:
                best = [s.worth.argsort(descending=True, stable=True)[:IMPROVED].numpy() for s in seen]
                fresh = [
                    moved(part[rows], self.variants, length, length / 2, noise.at(*job, step))
                    for job, part, rows in zip(jobs, knots, best, strict=True)
                ]
            fresh = [
                FINDERS[kind].confine(judged.cloud, part, self.effort)
                for (kind, _), part in zip(jobs, fresh, strict=True)
            ]
            if not sum(map(len, fresh)):
                continue
            knots = [np.concatenate(both) for both in zip(knots, fresh, strict=True)]
            seen = [
                one.and_(two)
                for one, two in zip(
                    seen, judged.at(fresh, self.effort.probes, self.steps, factor), strict=True
                )
            ]
            decoded = [a + len(b) for a, b in zip(decoded, fresh, strict=True)]
        rows = [int(part.worth.argmax()) for part in seen]
        outside = [j for j, (part, row) in enumerate(zip(seen, rows, strict=True)) if part.within[row] < 1]
        notes += [
            f"{judged.ordered[jobs[j][1]].name}, {jobs[j][0]}: no path that was decoded stays in the data"
            for j in outside
        ]
        chosen = [
            part[row : row + 1, :: -1 if s.rho[row] < 0 else 1]
            for part, row, s in zip(knots, rows, seen, strict=True)
        ]
        table = pd.DataFrame(
            {"factor": [judged.ordered[i].name for i in factor], "kind": [kind for kind, _ in jobs]}
        )
        table["decoded"], table["score_found"] = decoded, first
        table["score_chosen"] = [float(part.score[row]) for part, row in zip(seen, rows, strict=True)]
        return chosen, table

    def _judge(
        self, run: Run, judged: _Judged, jobs, knots: list[np.ndarray], metrics
    ) -> tuple[dict[str, pd.DataFrame], dict]:
        """Decode the chosen curves at ``steps`` points and measure them; tables and arrays of the report."""
        u = np.concatenate([along(part, self.steps) for part in knots])
        seen = judged.decode(u)
        own = torch.arange(len(jobs)), torch.tensor([i for _, i in jobs])
        kinds, factors = [kind for kind, _ in jobs], [judged.ordered[i].name for _, i in jobs]
        names = [f"{factor}, {kind}" for factor, kind in zip(factors, kinds, strict=True)]
        position = np.broadcast_to(np.linspace(0, 1, self.steps), u.shape[:2])
        tables = track_tables(names, position, seen.z, seen.gap, seen.kind, seen.miss.flatten(), seen.reading)
        best = pd.DataFrame({"factor": factors, "kind": kinds, "path": names})
        for name in ("score", "monotonicity", "leakage", "coverage"):
            best[name] = getattr(seen.marks, name)[own].numpy()
        best["within"] = seen.marks.within.numpy()
        best["length"] = np.linalg.norm(np.diff(u, axis=1), axis=2).sum(1)
        if judged.cloud.hull is not None:
            best["depth"] = judged.cloud.depth(u).mean(1)
        tables["best"] = best.merge(tables["paths"], on="path")
        for row in tables["best"].itertuples():
            values = {
                name: getattr(row, name)
                for name in ("score", "monotonicity", "leakage", "coverage", "within")
            }
            values |= {seen.kind: getattr(row, f"{seen.kind}_mean"), "gap": row.gap_mean}
            metrics |= {
                f"{_prefix(row.kind)}{name}.{row.factor}": Estimate(float(value))
                for name, value in values.items()
            }
        drawn = np.linspace(0, self.steps - 1, min(self.shown, self.steps)).round().astype(int)
        arrays = {
            "pictures": seen.x.unflatten(0, u.shape[:2])[:, drawn].cpu().float().numpy(),
            "drawn": drawn,
        }
        arrays["value_range"] = np.array(run.data.value_range, np.float64)
        by_name = {factor.name: (factor.low, factor.high) for factor in run.data.factors}
        arrays["factor_range"] = np.array([by_name[name] for name in seen.reading.names], np.float64)
        return tables, arrays

    def _drawn(self, run: Run, latents: Latents, noise: Noise, tables, arrays) -> None:
        """What the map of paths needs: some codes, what is known of them and their pictures, their hull in
        the latents drawn."""
        some = noise.permutation("drawn", len(latents.codes)).numpy()[:TURNED]
        known, drawn = cloud_of(run, "train", some)
        tables |= known
        arrays |= drawn

    # ---------------------------------------------------------------- pictures
    def plot(self, report: Report) -> dict[str, Picture]:
        if "best" not in report.tables:
            return {}
        best, steps, arrays = report.tables["best"], report.tables["steps"], report.arrays
        kind = "residual" if "residual" in steps else "distance"
        miss = "the residual" if kind == "residual" else "the distance to the nearest training example"
        fitted = (
            "of the nearest member of the family"
            if kind == "residual"
            else "read off test codes near the code of the decoded point"
        )
        shown = best["factor"].isin(best["factor"].unique()[:CURVES]).to_numpy()
        best, x = best[shown], arrays["pictures"][shown]
        groups = steps.groupby("path", sort=False)
        parts = {name: groups.get_group(name).iloc[arrays["drawn"]] for name in best["path"]}
        value_range, found = tuple(arrays["value_range"]), {}
        if x.ndim == 5:
            found["strips"] = Picture(
                best_strips(best, parts, x, value_range),
                "The best path of each kind for each factor, decoded left to right, and its score (1: "
                "the factor passes through all its "
                f"range and nothing else moves). Beneath each picture: the factor {fitted}.",
            )
        for which, rows in best.groupby("kind", sort=False):
            names = list(rows["path"])
            found[f"along_{which}"] = Picture(
                judged_curves(
                    names, steps[steps["path"].isin(names)], kind, arrays["factor_range"], "share of the way"
                ),
                f"Along the best {which} path for each factor (one column a path): the factors "
                f"{fitted} (shaded: the range of the data), "
                f"{miss} and the distance of the code to the nearest train code in whitened units.",
            )
        axes = arrays["axes"]
        if len(axes) > 1:
            known = list(zip(read_factors(report.tables["colours"]), arrays["targets"].T, strict=True))
            shell = (arrays["shell"], arrays["shell_facets"]) if "shell" in arrays else None
            figure = path_map(
                arrays["codes"], axes, known, shell, parts, x, arrays.get("code_pictures"), value_range
            )
            text = "The best paths among the train codes and their hull"
            text += ", in the three latents of largest variance" if arrays["codes"].shape[1] > 3 else ""
            text += (
                f", coloured by {first_number(known)[0].name}."
                if len(axes) == 2
                else (
                    "; they begin, with the least of their factor, at the larger point. Drag to turn; "
                    "a click in the legend hides and shows a "
                    "part; the menu chooses what colours the codes; a point that is touched tells its values."
                )
            )
            found["map"] = Picture(figure, text)
        return found


# ---------------------------------------------------------------- decoded points
@dataclass(frozen=True)
class _Seen:
    """Decoded curves: their ``score``, Spearman correlation ``rho`` and ``within``, each ``(P,)``, for one
    factor; which of their points are ``inside`` the data, ``(P, T)``."""

    score: Tensor
    rho: Tensor
    within: Tensor
    inside: Tensor

    @property
    def worth(self) -> Tensor:
        """Scores, those of curves that stay in the data above all others."""
        return torch.where(self.within >= 1, 1 + self.score, self.score)

    def and_(self, other: _Seen) -> _Seen:
        return _Seen(
            *(
                torch.cat([getattr(self, name), getattr(other, name)])
                for name in ("score", "rho", "within", "inside")
            )
        )


@dataclass(frozen=True)
class _Decoded:
    """Points of P curves at T positions: codes ``z (P, T, d)``, decoded ``x (P * T, ...)``, ``gap`` and
    ``miss (P, T)``."""

    z: np.ndarray
    x: Tensor
    gap: np.ndarray
    kind: str
    miss: Tensor
    reading: Reading
    marks: Marks


class _Judged:
    """Decodes curves, all at once, and reads the factors off what comes out."""

    def __init__(
        self,
        run: Run,
        white: Whitening,
        cloud: Cloud,
        ordered: Sequence[Factor],
        columns: list[int],
        neighbours: int,
    ):
        self.run, self.white, self.cloud, self.ordered, self.columns = run, white, cloud, ordered, columns
        self.field: FactorField | None = None
        if not isinstance(run.data, Oracle):
            test = run.latents("test")
            u, y = (part.cpu().double().numpy() for part in (test.codes, test.y[:, columns]))
            self.field = factor_field(white.to(u), y, cloud.field.period, neighbours)

    def gap(self, z: np.ndarray) -> np.ndarray:
        """Whitened distance of codes ``(P, T, d)`` to the nearest train code, ``(P, T)``."""
        return self.cloud.field.near.query(
            self.white.to(z.astype(np.float64)).reshape(-1, len(self.white.sd)), 1
        )[0].reshape(z.shape[:2])

    def codes(self, u: np.ndarray) -> Tensor:
        """Codes ``(P, T, d)`` of points of curves ``(P, T, k)``."""
        return self.run.model.spaces["z"].project(torch.from_numpy(self.white.back(u)).float())

    def decode(self, u: np.ndarray, finer: np.ndarray | None = None) -> _Decoded:
        """Curves ``(P, T, k)`` in whitened codes; whether they keep near codes is seen at points ``finer (P,
        S, k)``, too."""
        n, t = u.shape[:2]
        z = self.codes(u)
        x = self.run.decode(z.flatten(0, 1).to(self.run.device))
        off = judge(self.run, x)
        miss = off.miss.view(n, t)
        fits, factors = off.fits, self.run.data.factors
        if self.field is not None:
            value, _ = self.field.at(self.white.to(self.run.encode(x).cpu().double().numpy()))
            one = torch.ones(n * t, dtype=torch.float64)
            fits, factors = Projection(torch.from_numpy(value), off.miss, one.bool(), one), self.ordered
        position = torch.linspace(0, 1, t, dtype=torch.float64).expand(n, t)
        reading = read(fits, factors, position, torch.zeros(n, dtype=torch.bool), self.cloud.min_change)
        gap = self.gap(z.numpy())
        widest = (
            gap.max(1)
            if finer is None
            else np.maximum(gap.max(1), self.gap(self.codes(finer).numpy()).max(1))
        )
        values = reading.fitted if self.field is not None else reading.fitted[..., self.columns]
        inside = within(torch.from_numpy(widest), self.cloud.reach) * within(miss.amax(1), self.cloud.limit)
        marks = mark(values, self.cloud.ranges, self.cloud.cyclic, reading.course, inside)
        return _Decoded(z.numpy(), x, gap, off.kind, miss, reading, marks)

    def at(self, knots: Sequence[np.ndarray], steps: int, finer: int, factor: Sequence[int]) -> list[_Seen]:
        """What curves ``(P, K, k)``, several for each of some factors, are worth for them."""
        seen = self.decode(
            *(np.concatenate([along(part, count) for part in knots]) for count in (steps, finer))
        )
        own = torch.arange(len(seen.miss)), torch.tensor(np.repeat(factor, [len(part) for part in knots]))
        parts = (seen.marks.score[own], seen.reading.course.spearman[own], seen.marks.within)
        parts = (*parts, (torch.from_numpy(seen.gap) <= self.cloud.reach) & (seen.miss <= self.cloud.limit))
        return [
            _Seen(*columns)
            for columns in zip(*(part.split([len(k) for k in knots]) for part in parts), strict=True)
        ]

"""Geodesics of the decoder's metric against straight lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Between, Count, Ge, Gt
from latentrun.data.base import Dataset, Oracle
from latentrun.diagnostics.base import Diagnostic, judge, row_places
from latentrun.diagnostics.decoder.geodesics_measure import Cloud, Traits, even, traits
from latentrun.diagnostics.needs import ENCODER, IMAGES, LABELS, ORACLE
from latentrun.diagnostics.surface import SURFACE, Decoded, surface_of
from latentrun.errors import Misfit, NothingToMeasure
from latentrun.functional.factors import factor_table
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import evenly
from latentrun.functional.statistics.dependence import targets
from latentrun.functional.statistics.intervals import mean_interval, share_interval
from latentrun.functional.ties import ranked
from latentrun.geometry.curves import straight
from latentrun.geometry.energy import Geodesics, Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import shortest
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.system.terminal import wait_for
from latentrun.types import Estimate, Latents, Metric, Picture, Report

Pair = tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)]]
PARTS = 8  # of an edge of the graph over which its length is taken
KEPT = 3000  # codes kept for the picture
PAIRS = "pairs"
KINDS = ("geodesic", "straight")
OF_KIND = "of the `geodesic`, of the `straight` line, and `gain`: the first less the second; mean over pairs"
COMPARED, FAILED, BROKEN, POINT = "compared", "not converged", "straight line not finite", "no length"


@dataclass(frozen=True)
class Ends:
    """P pairs of test codes: their permanent ``rows (P, 2)``, ``start`` and ``end (P, d)`` in the chart, and
    their ``labels (P, 2)``, where there are some."""

    rows: Tensor
    start: Tensor
    end: Tensor
    labels: Tensor | None


class GeodesicPairs(Diagnostic):
    """How much shorter than straight lines are the shortest curves of the decoder's metric, and do they keep
    to the data where straight lines cross empty regions?

    Of ``pairs`` of test codes, no code twice (or of those that ``rows`` names), the geodesic: the curve of
    least energy of the metric J_mu' J_mu + J_sigma' J_sigma of mean and, where it changes with z, standard
    deviation of p(x|z), found from the straight line and from the shortest way through a graph of train
    codes, the better one; against the straight line of the chart of the latent space (of cyclic coordinates
    the shorter way round). Lengths are in data units: Euclidean, over all data dimensions.

    Both curves are looked at in as many points, evenly spaced by their length in the chart. ``near``: the
    share of these whose distance to the nearest train code, in the units of the latent space, is at most
    the quantile ``tail`` of the distances from a train code to the nearest other one; ``gap``: their greatest
    distance to the nearest code; ``class_changes``: how often the label of the nearest code changes from one
    to the next; ``sd``: root of the mean variance of x given z, mean over them; ``residual``, of ``steps`` of
    them and of at most ``judged`` pairs, with an oracle: distance to the data's family as a share of the
    picture's norm. ``unevenness``:
    standard deviation over mean of the steps in data space, the curve run through at the speed it is given
    with: constant in the metric, or in the chart.

    ``failed``: share of pairs whose geodesic has not converged: a further step of the solver would lower its
    energy by more than the share ``tolerance``. They and those whose straight line has no length, or none
    that is finite, stand in the table and are averaged into nothing. Intervals: Student's, corrected for
    skewness, over pairs; for this decoder and these train codes.
    """

    requires = (ENCODER, *SURFACE)
    uses = (LABELS, ORACLE, IMAGES)
    metrics: ClassVar = {
        "length": Metric(f"data units, length {OF_KIND}", None, None, "none"),
        "length_ratio": Metric("length of the geodesic over that of the straight line, mean over pairs", 0),
        "energy": Metric(f"squared data units, half the integral of the squared speed {OF_KIND}"),
        "energy_ratio": Metric("energy of the geodesic over that of the straight line, mean over pairs", 0),
        "near": Metric(f"part of its length in the chart that lies near train codes, {OF_KIND}", -1, 1),
        "gap": Metric(f"latent units, greatest distance from the nearest train code, {OF_KIND}"),
        "unevenness": Metric(f"sd over mean of the steps in data space, {OF_KIND}"),
        "class_changes": Metric(f"changes of the nearest code's label along the way, {OF_KIND}"),
        "sd": Metric(f"data units, decoder's standard deviation along the way, {OF_KIND}"),
        "residual": Metric(f"distance to the family as a share of the picture's norm, {OF_KIND}"),
        "failed": Metric("share of pairs whose geodesic has not converged", 0, 1, "lower"),
        "limit": Metric("latent units, distance to the nearest train code up to which a point is near", 0),
    }

    def __init__(
        self,
        pairs: Annotated[int, Count(2)],
        across: Literal["any", "different", "same"],
        rows: list[Pair],
        codes: Annotated[int, Count(2)],
        tail: Annotated[float, Between(0, 1)],
        nodes: Annotated[int, Count(2, 100_000)],
        neighbours: Annotated[int, Count(1, 10_000)],
        pieces: Annotated[int, Count(1, 1000)],
        times: Annotated[int, Count(3, 10_000)],
        tolerance: Annotated[float, Gt(0)],
        iterations: Annotated[int, Count(1)],
        steps: Annotated[int, Count(2, 1000)],
        judged: Annotated[int, Count(2)],
        shown: Annotated[int, Count(1, 100)],
    ):
        self.pairs, self.across, self.rows, self.codes, self.tail = pairs, across, rows, codes, tail
        self.nodes, self.neighbours, self.steps = nodes, neighbours, steps
        self.judged, self.shown = judged, shown
        self.settings = Settings(pieces, times, 4 * (times - 1) + 1, tolerance, iterations)

    def check(self, model: Model, data: Dataset) -> None:
        if self.across != "any" and data.label is None:
            raise Misfit(f"needs labels for diagnostic.geodesics.across={self.across}; the data have none")
        if self.rows:
            row_places("diagnostic.geodesics.rows", self.rows, data.split("test").index)

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise, space, notes = noise.to("cpu"), surface_of(run), []
        ends = self._ends(run, space, noise, notes)
        rows = noise.permutation("codes", len(run.latents("train").codes)).to(run.device)
        cloud = self._cloud(run.latents("train"), rows[: self.codes])
        wait_for(f"geodesics: {len(ends.start):,} pairs")
        graph = Graph(space.surface, space.codes("train")[rows[: self.nodes]], self.neighbours, PARTS)
        found = shortest(space.surface, ends.start, ends.end, self.settings, graph)
        lines = straight(ends.start, ends.end, self.settings.fine)
        curves = dict(zip(KINDS, (found.curve, lines), strict=True))
        sides = {
            kind: traits(space.surface, curve, cloud, space.chart.point, space.deviation)
            for kind, curve in curves.items()
        }
        table = pair_table(ends, found, sides)
        compared = np.flatnonzero(table["status"] == COMPARED)
        self._refuse(table)
        if isinstance(run.data, Oracle) and len(compared):
            judged = compared[: self.judged]
            for kind, curve in curves.items():
                residual = self._residual(run, space, curve[torch.from_numpy(judged).to(run.device)])
                table.loc[judged, f"residual_{kind}"] = residual
        metrics = metrics_of(table) | {"limit": Estimate(cloud.limit)}
        shown, arrays = self._shown(run, space, table, curves)
        tables = {"pairs": table, "shown": shown}
        codes = self._codes(run, space, rows)
        if codes is not None:
            tables |= codes[0]
            arrays |= codes[1]
        return Report(metrics, tables, arrays, notes=(*notes, *self._notes(table, cloud, space)))

    def _ends(self, run: Run, space: Decoded, noise: Noise, notes: list[str]) -> Ends:
        """The pairs; NothingToMeasure where there is none of the wanted kind."""
        latents, z = run.latents("test"), space.codes("test")
        labels = latents.labels
        if self.rows:
            at = row_places("diagnostic.geodesics.rows", self.rows, latents.index).to(run.device)
        else:
            order = noise.permutation("pairs", len(z)).to(run.device)
            at = order[: len(z) // 2 * 2].view(-1, 2)
            if self.across != "any" and labels is not None:
                alike = labels[at[:, 0]] == labels[at[:, 1]]
                at = at[alike if self.across == "same" else ~alike]
            at = at[: self.pairs]
            if not len(at):
                raise NothingToMeasure(f"no two test codes drawn are of {self.across} classes")
            if len(at) < self.pairs:
                notes.append(f"There are {len(at)} such pairs of test codes, fewer than {self.pairs}.")
        start = z[at[:, 0]]
        end = space.chart.near(start, z[at[:, 1]])
        return Ends(latents.index[at], start, end, None if labels is None else labels[at])

    def _cloud(self, train: Latents, rows: Tensor) -> Cloud:
        return Cloud.of(train.codes[rows], None if train.labels is None else train.labels[rows], self.tail)

    def _refuse(self, table: pd.DataFrame) -> None:
        """NothingToMeasure where no straight line has a length."""
        if (table["status"] == POINT).all():
            raise NothingToMeasure(
                "the decoder does not change between the codes of any pair: no curve has a length"
            )

    def _residual(self, run: Run, space: Decoded, curve: Tensor) -> np.ndarray:
        """Mean over points of each curve ``(P,)`` of their distance to the family, as a share of the norm."""
        places = even(curve, self.steps)
        miss = judge(run, space.decode(places.flatten(0, 1))).miss
        return miss.view(places.shape[:2]).mean(1).numpy()

    # ---------------------------------------------------------------- the report
    def _shown(
        self, run: Run, space: Decoded, table: pd.DataFrame, curves: Mapping[str, Tensor]
    ) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
        """Some of that half of the pairs that lies farther apart, from the one whose geodesic is the shortest
        beside the straight line to the longest: their rows of the table, both curves, and what these decode
        to at ``steps`` even times."""
        apart = (curves["straight"][:, 0] - curves["straight"][:, -1]).norm(dim=1).cpu().numpy()
        done = (table["status"] == COMPARED).to_numpy()
        order = (
            np.flatnonzero(done & (apart >= np.median(apart[done]))) if done.any() else np.flatnonzero(done)
        )
        order = order[np.argsort(table["length_ratio"].to_numpy()[order], kind="stable")]
        rows = order[evenly(len(order), self.shown).numpy()]
        at = torch.from_numpy(rows).to(run.device)
        arrays = {"value_range": np.array(run.data.value_range, np.float64)}
        for kind, curve in curves.items():
            arrays[f"curve_{kind}"] = curve[at].cpu().float().numpy()
            if run.data.is_image and len(rows):
                times = evenly(curve.shape[1], self.steps).to(run.device)
                x = space.decode(curve[at][:, times].flatten(0, 1))
                arrays[f"pictures_{kind}"] = x.unflatten(0, (len(rows), -1)).cpu().float().numpy()
        return table.loc[rows, ["from", "to", "length_ratio"]].reset_index(drop=True), arrays

    def _codes(
        self, run: Run, space: Decoded, rows: Tensor
    ) -> tuple[dict[str, pd.DataFrame], dict[str, np.ndarray]] | None:
        """Codes for the picture, in the chart, with their labels; None of a chart of one dimension."""
        if space.chart.dim < 2:
            return None
        rows = rows[:KEPT]
        codes, latents = space.codes("train"), run.latents("train")
        axes = np.sort(ranked(codes.double().var(0).cpu().numpy())[:2])
        arrays = {
            "codes": codes[rows].cpu().float().numpy()[:, axes],
            "axes": axes,
            "names": np.array([space.chart.names[i] for i in axes]),
        }
        if latents.labels is None:
            return {}, arrays
        labels = latents.labels.cpu().numpy()
        columns = targets(run.data.factors, run.data.label, latents.y.cpu().numpy(), labels)
        factor = next(factor for factor, _ in columns if factor.name == run.data.label)
        return {"classes": factor_table([factor])}, arrays | {"labels": labels[rows.cpu().numpy()]}

    def _notes(self, table: pd.DataFrame, cloud: Cloud, space: Decoded) -> list[str]:
        counts = table["status"].value_counts()
        notes = [
            f"{counts.get(COMPARED, 0):,} pairs of test codes are compared; near: within {cloud.limit:.3g} "
            f"of one of {len(cloud.z):,} train codes, in the units of the latent space."
        ]
        if table["sd_geodesic"].isna().all():
            notes.append("The standard deviation of p(x|z) does not change with z: the metric is the mean's.")
        if counts.get(FAILED):
            named = table.loc[table["status"] == FAILED, ["from", "to"]].to_numpy()[:5].tolist()
            pairs = ", ".join(f"{a} to {b}" for a, b in named)
            more = ", ..." if counts[FAILED] > len(named) else ""
            notes.append(f"Not converged, and left out: {counts[FAILED]:,} pairs ({pairs}{more}).")
        for status in (BROKEN, POINT):
            if counts.get(status):
                notes.append(f"Left out, {status}: {counts[status]:,} pairs.")
        return notes

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.geodesics_plot import geodesic_pictures

        return geodesic_pictures(report)


# ---------------------------------------------------------------- numbers
def pair_table(ends: Ends, found: Geodesics, sides: Mapping[str, Traits]) -> pd.DataFrame:
    """A row for each pair: where it begins and ends, what became of it, and the traits of both curves."""
    columns: dict[str, np.ndarray] = {}
    columns["from"], columns["to"] = ends.rows.cpu().numpy().T
    if ends.labels is not None:
        columns["label_from"], columns["label_to"] = ends.labels.cpu().numpy().T
    columns["status"] = status_of(found.converged, sides["straight"].length)
    columns["solver_steps"] = found.steps.cpu().numpy()
    columns["solver_residual"] = found.residual.double().cpu().numpy()
    for name in (field.name for field in fields(Traits)):
        for kind in KINDS:
            values = getattr(sides[kind], name)
            missing = np.full(len(ends.rows), np.nan)
            columns[f"{name}_{kind}"] = missing if values is None else values.cpu().numpy()
    for name in ("length", "energy"):
        above, below = columns[f"{name}_geodesic"], columns[f"{name}_straight"]
        missing = np.full(len(above), np.nan)
        columns[f"{name}_ratio"] = np.divide(above, below, out=missing, where=below > 0)
    return pd.DataFrame(columns)


def status_of(converged: Tensor, length: Tensor) -> np.ndarray:
    """What became of pairs ``(P,)``, by their geodesic and the ``length (P,)`` of the straight line."""
    way = length.cpu().numpy()
    rest = np.where(~np.isfinite(way), BROKEN, np.where(way > 0, COMPARED, POINT))
    return np.where(converged.cpu().numpy(), rest, FAILED).astype(object)


def metrics_of(table: pd.DataFrame) -> dict[str, Estimate]:
    """Means over the pairs that are compared, of what they have."""
    rows = table[table["status"] == COMPARED]
    failed = {"failed": share_interval(int((table["status"] == FAILED).sum()), len(table), PAIRS)}
    if not len(rows):
        return failed
    metrics = {}
    for name in ("length_ratio", "energy_ratio"):
        metrics[name] = mean_interval(rows[name].to_numpy(copy=True), PAIRS)
    measured = [name.removesuffix("_geodesic") for name in table.columns if name.endswith("_geodesic")]
    for name in measured:
        both = rows[[f"{name}_{kind}" for kind in KINDS]].dropna()  # few may be held against an oracle
        sides = both.to_numpy(dtype=float, copy=True).T
        if not len(both):
            continue
        metrics |= {f"{name}.{kind}": mean_interval(v, PAIRS) for kind, v in zip(KINDS, sides, strict=True)}
        metrics[f"{name}.gain"] = mean_interval(sides[0] - sides[1], PAIRS)
    return metrics | failed

"""k-means by geodesic distance against k-means by Euclidean distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.data.base import Dataset, class_codes
from latentrun.diagnostics.base import Diagnostic
from latentrun.diagnostics.decoder.geodesic_clustering_measure import (
    AlongCurves,
    AlongGraph,
    Clustering,
    Euclidean,
    Means,
    k_means,
    spread_start,
)
from latentrun.diagnostics.needs import ENCODER, LABELS
from latentrun.diagnostics.surface import SURFACE, Decoded, surface_of
from latentrun.errors import InputError, NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.clusterings import contingency, f_measure, matched, pair_f
from latentrun.functional.statistics.intervals import mean_interval
from latentrun.functional.ties import ranked
from latentrun.geometry.energy import Settings
from latentrun.geometry.graph import Graph
from latentrun.models.base import Model
from latentrun.run import Run
from latentrun.system.terminal import wait_for
from latentrun.types import Estimate, Metric, Picture, Report

PARTS = 4  # of an edge of the graph over which its length is taken
REPETITIONS = "repetitions"
KINDS = ("euclidean", "geodesic")
OF_KIND = "by `euclidean` and by `geodesic` distance, and `gain`: the second less the first; mean over"


@dataclass(frozen=True)
class Pool:
    """N test codes of the classes that are clustered: ``z (N, k)``, their coordinates ``chart (N, d)``, their
    ``classes (N,)`` numbered 0 ... C - 1, and the ``names (C,)`` of these."""

    z: Tensor
    chart: Tensor
    classes: np.ndarray
    names: np.ndarray


@dataclass(frozen=True)
class Repetition:
    """What came of the points ``rows (n,)`` of the pool, by kind of distance."""

    rows: Tensor
    found: Mapping[str, Clustering]


class GeodesicClustering(Diagnostic):
    """Do clusters of codes by geodesic distance follow the classes better than clusters by Euclidean
    distance?

    k-means (Lloyd's algorithm) of ``rows`` test codes, with the Euclidean distance of the latent space and
    means as centres, and with the geodesic distance of the decoder's metric J_mu' J_mu + J_sigma' J_sigma and
    Fréchet means: the point with the least sum of squared geodesic distances to those of its cluster. Both
    begin at the same codes, ``starts`` times drawn by k-means++ with Euclidean distances; of each the
    clustering of least inertia counts, its own. ``clusters`` of them, as many as there are classes unless
    set.

    ``distance: graph`` takes the length of the shortest way through a graph of up to ``nodes`` codes, each
    joined with its ``neighbours`` nearest, edges measured along the decoder; the centre is the best of the
    nodes. Such lengths are no shorter than geodesics, and by a few per cent longer. ``distance: curves``
    takes geodesics, and steps down the Riemannian gradient of the sum of squares for the centre, and is some
    hundred times slower.

    ``f_measure`` = sum_c (n_c / n) F1(c, k(c)), F1 of class c and the one cluster k(c) that is paired with
    it, one to one and so that the sum is greatest; ``pair_f``: F1 over all pairs of points, of the same
    class, in the same cluster. Intervals: Student's, corrected for skewness, over ``repetitions`` with other
    points; these have no point in common as long as there are enough of them, else fewer or more, and the
    interval is too narrow. One decoder: another training is another matter.
    """

    requires = (ENCODER, LABELS, *SURFACE)
    metrics: ClassVar = {
        "f_measure": Metric(
            f"F1 of classes, each paired with a cluster, weighted by class size, {OF_KIND} repetitions",
            -1,
            1,
            "higher",
            "after Larsen & Aone 1999; compared in Arvanitidis et al. 2018, arXiv 1710.11379",
        ),
        "pair_f": Metric(
            f"F1 of pairs of points, of the same class, in the same cluster, {OF_KIND} repetitions",
            -1,
            1,
            "higher",
        ),
        "agreement": Metric(
            "F measure of the clusters by one distance as answers to those by the other, mean over "
            "repetitions",
            0,
            1,
            "none",
        ),
        "settled": Metric("share of repetitions whose k-means came to rest, by kind", 0, 1, "higher"),
        "failed": Metric("share of geodesics that have not converged, mean over repetitions", 0, 1, "lower"),
    }

    def __init__(
        self,
        classes: Literal["all"] | list[str | Annotated[int, Ge(0)]],
        clusters: Annotated[int, Count(2, 1000)] | None,
        distance: Literal["graph", "curves"],
        nodes: Annotated[int, Count(2, 10_000)],
        neighbours: Annotated[int, Count(1, 10_000)],
        rows: Annotated[int, Count(2, 10_000)],
        repetitions: Annotated[int, Count(1, 10_000)],
        starts: Annotated[int, Count(1, 1000)],
        rounds: Annotated[int, Count(1, 10_000)],
        pieces: Annotated[int, Count(1, 1000)],
        times: Annotated[int, Count(5, 10_000)],
        tolerance: Annotated[float, Gt(0)],
        iterations: Annotated[int, Count(1)],
    ):
        if classes != "all" and len(set(map(str, classes))) < 2:
            raise InputError(
                f"diagnostic.geodesic_clustering.classes: at least two classes are needed, got {classes}"
            )
        self.classes, self.clusters, self.distance = classes, clusters, distance
        self.nodes, self.neighbours, self.rows = nodes, neighbours, rows
        self.repetitions, self.starts, self.rounds = repetitions, starts, rounds
        self.settings = Settings(pieces, times, 4 * (times - 1) + 1, tolerance, iterations)

    def check(self, model: Model, data: Dataset) -> None:
        self._codes(data)

    def _codes(self, data: Dataset) -> tuple[int, ...]:
        """Of the wanted classes; InputError for one that the data do not have."""
        label = next(factor for factor in data.factors if factor.name == data.label)  # as LABELS asks
        names = label.classes if self.classes == "all" else tuple(map(str, self.classes))
        return class_codes(label, names, "diagnostic.geodesic_clustering.classes")

    # ---------------------------------------------------------------- measuring
    @torch.no_grad()
    def __call__(self, run: Run, noise: Noise) -> Report:
        noise, space, notes = noise.to("cpu"), surface_of(run), []
        pool = self._pool(run, space, noise)
        clusters = self.clusters or len(pool.names)
        size = min(self.rows, len(pool.z))
        if size <= clusters:
            raise NothingToMeasure(f"{size} codes of these classes are too few for {clusters} clusters")
        graph = Graph(space.surface, pool.chart, self.neighbours, PARTS)
        length = self._lengths(graph, notes) if self.distance == "graph" else None
        repetitions = []
        for number, rows in enumerate(self._drawn(len(pool.z), size, noise, notes)):
            wait_for(f"geodesic_clustering: {number} of {self.repetitions} repetitions")
            rows = rows.to(run.device)
            sides: dict[str, Means] = {
                "euclidean": Euclidean(pool.z[rows], space.chart.coordinates),
                "geodesic": AlongCurves(space.surface, pool.chart[rows], self.settings, graph)
                if length is None
                else AlongGraph(length[:, rows], pool.chart, rows),
            }
            starts = self._starts(pool.z[rows], clusters, noise.at("repetition", number))
            found = {kind: best_of(means, starts, self.rounds) for kind, means in sides.items()}
            repetitions.append(Repetition(rows, found))
        table = pd.DataFrame([row_of(repetition, pool) for repetition in repetitions])
        metrics = metrics_of(table)
        if length is None:
            metrics["failed"] = mean_interval(table["failed"].to_numpy(copy=True), REPETITIONS)
        arrays = first_arrays(repetitions[0], pool, space)
        return Report(
            metrics,
            {"repetitions": table},
            arrays,
            notes=(*self._notes(pool, clusters, size, length), *notes),
        )

    def _pool(self, run: Run, space: Decoded, noise: Noise) -> Pool:
        """Codes of the wanted classes, in random order; NothingToMeasure where there are not two of these."""
        latents, labels = run.latents("test"), run.latents("test").labels
        assert labels is not None  # as LABELS asks
        order = noise.permutation("pool", len(labels)).to(run.device)
        wanted = torch.tensor(self._codes(run.data), device=run.device)
        order = order[torch.isin(labels[order], wanted)][: self.nodes]
        numbers, classes = np.unique(labels[order].cpu().numpy(), return_inverse=True)
        if len(numbers) < 2:
            raise NothingToMeasure("the codes are of one class: there is nothing to tell apart")
        label = next(factor for factor in run.data.factors if factor.name == run.data.label)
        names = np.array(label.classes)[numbers]
        return Pool(latents.codes[order], space.codes("test")[order], classes, names)

    def _lengths(self, graph: Graph, notes: list[str]) -> Tensor:
        """Between all nodes ``(N, N)``; where no way leads, ten times the longest that there is.
        NothingToMeasure where none has a length."""
        length = torch.from_numpy(graph.distances(np.arange(len(graph.codes))))
        finite = torch.isfinite(length)
        longest = length[finite].max().item()
        if longest <= 1e-6:  # an edge of no length is given a trillionth
            raise NothingToMeasure("the decoder is constant: all geodesic distances are 0")
        if not finite.all():
            share = 100 * (~finite).double().mean().item()
            notes.append(
                f"Between {share:.2g} % of the pairs of codes no way leads along which the decoder is "
                "finite: they count as ten times as far apart as any others."
            )
        return torch.where(finite, length, 10 * longest).to(graph.codes.device)

    def _drawn(self, total: int, size: int, noise: Noise, notes: list[str]) -> list[Tensor]:
        """The rows of each repetition: other ones, as long as there are enough."""
        if self.repetitions * size <= total:
            return list(torch.arange(self.repetitions * size).view(self.repetitions, size))
        notes.append(
            f"The repetitions share codes: two of them {100 * size / total:.0f} % on average, and intervals "
            "are too narrow."
        )
        return [noise.at("rows", i).permutation("rows", total)[:size] for i in range(self.repetitions)]

    def _starts(self, z: Tensor, clusters: int, noise: Noise) -> list[Tensor]:
        return [spread_start(z, clusters, noise.at("start", i)) for i in range(self.starts)]

    def _notes(self, pool: Pool, clusters: int, size: int, length: Tensor | None) -> list[str]:
        how = "shortest ways through the graph of these codes" if length is not None else "geodesics"
        classes = ", ".join(map(str, pool.names.tolist()))
        return [
            f"{self.repetitions} repetitions with {size:,} of {len(pool.z):,} test codes of classes "
            f"{classes}, {clusters} clusters; geodesic distances are lengths of {how}."
        ]

    # ---------------------------------------------------------------- drawing
    def plot(self, report: Report) -> dict[str, Picture]:
        from latentrun.diagnostics.decoder.geodesic_clustering_plot import clustering_pictures

        return clustering_pictures(report)


# ---------------------------------------------------------------- numbers
def best_of(means: Means, starts: Sequence[Tensor], rounds: int) -> Clustering:
    """The clustering of least inertia, of equal ones the first."""
    return min((k_means(means, start, rounds) for start in starts), key=lambda found: found.inertia)


def row_of(repetition: Repetition, pool: Pool) -> dict[str, float]:
    """What came of a repetition."""
    rows = repetition.rows.cpu().numpy()
    row: dict[str, float] = {}
    clusters = {kind: found.clusters.cpu().numpy() for kind, found in repetition.found.items()}
    for kind, found in repetition.found.items():
        table = contingency(pool.classes[rows], clusters[kind])
        row[f"f_measure_{kind}"] = f_measure(table)
        row[f"pair_f_{kind}"] = pair_f(table)
        row[f"settled_{kind}"] = float(found.settled)
        row[f"inertia_{kind}"] = found.inertia
    row["agreement"] = f_measure(contingency(*clusters.values()))
    row["failed"] = repetition.found["geodesic"].failed
    return row


def metrics_of(table: pd.DataFrame) -> dict[str, Estimate]:
    """Means over repetitions."""

    def over(values: pd.Series) -> Estimate:
        return mean_interval(values.to_numpy(copy=True), REPETITIONS)

    metrics = {}
    for name in ("f_measure", "pair_f"):
        euclidean, geodesic = (table[f"{name}_{kind}"] for kind in KINDS)
        metrics |= {f"{name}.euclidean": over(euclidean), f"{name}.geodesic": over(geodesic)}
        metrics[f"{name}.gain"] = over(geodesic - euclidean)
    settled = {f"settled.{kind}": Estimate(float(table[f"settled_{kind}"].mean())) for kind in KINDS}
    return metrics | {"agreement": over(table["agreement"])} | settled


def first_arrays(repetition: Repetition, pool: Pool, space: Decoded) -> dict[str, np.ndarray]:
    """The points of a repetition for the picture, in at most two axes of the chart: their classes, their
    clusters by both distances, numbered like the classes they are paired with, and the centres."""
    rows = repetition.rows.cpu().numpy()
    chart = pool.chart.cpu().double().numpy()
    axes = np.sort(ranked(chart.var(0))[:2])
    arrays = {
        "points": chart[rows][:, axes],
        "classes": pool.classes[rows],
        "class_names": pool.names,
        "axis_names": np.array([space.chart.names[i] for i in axes]),
    }
    for kind, found in repetition.found.items():
        clusters = found.clusters.cpu().numpy()
        table = contingency(pool.classes[rows], clusters)
        number = np.full(len(found.centres), -1)
        paired, columns = matched(table)
        number[columns] = paired
        spare = number < 0
        number[spare] = len(pool.names) + np.arange(spare.sum())
        arrays[f"clusters_{kind}"] = number[clusters]
        arrays[f"centres_{kind}"] = found.centres.cpu().double().numpy()[:, axes]
        arrays[f"numbers_{kind}"] = number
    return arrays

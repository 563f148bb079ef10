"""k-means with Euclidean and with geodesic distances, from the same starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.geometry.energy import Settings
from latentrun.geometry.graph import Graph
from latentrun.geometry.means import frechet_means
from latentrun.geometry.shortest import Distances, distances
from latentrun.geometry.surface import Surface

STEPS = 3  # towards the Fréchet means in a round: the next goes on from there


@dataclass(frozen=True)
class Clustering:
    """``clusters (n,)`` of n points, ``centres (k, d)`` in the chart, ``inertia``: sum of the squared
    distances to the centres, ``settled``: the last round moved no point, ``failed``: share of the geodesics
    of the last round that have not converged, 0 where none is sought."""

    clusters: Tensor
    centres: Tensor
    inertia: float
    settled: bool
    failed: float = 0.0


class Means(ABC):
    """n points, distances to centres and how these are made of the points assigned to them; a centre is
    whatever suits the distance."""

    @abstractmethod
    def begin(self, rows: Tensor) -> Tensor:
        """Centres at the points ``rows (k,)``."""

    @abstractmethod
    def distances(self, centres: Tensor) -> Distances:
        """From k centres to n points ``(k, n)``."""

    @abstractmethod
    def centres(self, clusters: Tensor, before: Tensor) -> Tensor:
        """The centres of ``clusters (n,)``, where a cluster is empty as ``before``."""

    @abstractmethod
    def places(self, centres: Tensor) -> Tensor:
        """Where centres lie in the chart, ``(k, d)``."""


class Euclidean(Means):
    """Distances of ``z (n, d)``; ``coordinates``: those of the chart."""

    def __init__(self, z: Tensor, coordinates: Callable[[Tensor], Tensor]):
        self.z, self.coordinates = z.double(), coordinates

    def begin(self, rows: Tensor) -> Tensor:
        return self.z[rows]

    def distances(self, centres: Tensor) -> Distances:
        apart = torch.cdist(centres, self.z, compute_mode="donot_use_mm_for_euclid_dist")
        return Distances(apart, torch.ones_like(apart, dtype=torch.bool))

    def centres(self, clusters: Tensor, before: Tensor) -> Tensor:
        member = _members(clusters, len(before))
        number = member.sum(1, keepdim=True)
        return torch.where(number > 0, member @ self.z / number.clamp_min(1), before)

    def places(self, centres: Tensor) -> Tensor:
        return self.coordinates(centres)


class AlongGraph(Means):
    """Lengths of shortest ways through a graph: ``length (N, n)`` from its N nodes, which lie at ``nodes (N,
    d)``, to the points, which are its nodes ``rows (n,)``. The centre is the node with the least sum of
    squared lengths: the Fréchet mean among the nodes."""

    def __init__(self, length: Tensor, nodes: Tensor, rows: Tensor):
        self.length, self.nodes, self.rows = length, nodes, rows

    def begin(self, rows: Tensor) -> Tensor:
        return self.rows[rows]

    def distances(self, centres: Tensor) -> Distances:
        length = self.length[centres]
        return Distances(length, torch.isfinite(length))

    def centres(self, clusters: Tensor, before: Tensor) -> Tensor:
        member = _members(clusters, len(before))
        return torch.where(member.any(1), (member @ self.length.square().T).argmin(1), before)

    def places(self, centres: Tensor) -> Tensor:
        return self.nodes[centres]


class AlongCurves(Means):
    """Lengths of geodesics to points ``z (n, d)`` of the chart; centres go to the Fréchet means by steps of
    the Riemannian gradient, ``STEPS`` a round."""

    def __init__(self, surface: Surface, z: Tensor, settings: Settings, graph: Graph):
        self.surface, self.z, self.settings, self.graph = surface, z, settings, graph

    def begin(self, rows: Tensor) -> Tensor:
        return self.z[rows]

    def distances(self, centres: Tensor) -> Distances:
        found = distances(self.surface, centres, self.z, self.settings, self.graph)
        return Distances(found.length.nan_to_num(torch.inf, torch.inf), found.converged)

    def centres(self, clusters: Tensor, before: Tensor) -> Tensor:
        means = frechet_means(self.surface, self.z, clusters, before, self.settings, self.graph, STEPS)
        return means.points

    def places(self, centres: Tensor) -> Tensor:
        return centres


def _members(clusters: Tensor, count: int) -> Tensor:
    """Which points are in each cluster, ``(k, n)`` of 0 and 1, float64."""
    return torch.nn.functional.one_hot(clusters, count).T.double()


def k_means(means: Means, first: Tensor, rounds: int) -> Clustering:
    """Lloyd's algorithm from centres at the points ``first (k,)``: points to the nearest centre, centres to
    the mean of their points, until no point moves; at most so many rounds."""
    centres, clusters, settled = means.begin(first), None, False
    for _ in range(rounds):
        found = means.distances(centres)
        assigned = found.length.argmin(0)
        settled = clusters is not None and torch.equal(assigned, clusters)
        clusters = assigned
        if settled:
            break
        centres = means.centres(clusters, centres)
    assert clusters is not None  # there is at least one round
    if not settled:
        found = means.distances(centres)
        clusters = found.length.argmin(0)
    return Clustering(
        clusters=clusters,
        centres=means.places(centres),
        inertia=found.length.amin(0).double().square().sum().item(),
        settled=settled,
        failed=1 - found.converged.double().mean().item(),
    )


def spread_start(z: Tensor, clusters: int, noise: Noise) -> Tensor:
    """Rows ``(clusters,)`` of points ``z (n, d)``, each drawn with probability proportional to the squared
    Euclidean distance to the nearest of those before (k-means++, Arthur & Vassilvitskii 2007)."""
    z, uniform = z.double(), noise.uniform("start", (clusters,)).double().to(z.device)
    rows = [int(uniform[0] * len(z))]
    nearest = torch.full((len(z),), torch.inf, dtype=torch.float64, device=z.device)
    for share in uniform[1:]:
        nearest = torch.minimum(nearest, (z - z[rows[-1]]).square().sum(1))
        weight = nearest.cumsum(0)
        row = int(torch.searchsorted(weight, share * weight[-1], right=True))
        rows.append(min(row, len(z) - 1))
    return torch.tensor(rows, device=z.device)

"""Shortest ways through a cloud of codes: where curves begin that a straight line would lead astray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest
from latentrun.functional.paths.curves import resampled, traced
from latentrun.geometry.curves import straight
from latentrun.geometry.surface import Surface

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CELLS = 1 << 22  # numbers of the trees of shortest ways that are held at once


@dataclass(frozen=True)
class Graph:
    """Codes ``(N, d)``, each joined with its ``neighbours`` nearest by a straight line whose weight is its
    length on the surface, taken over so many ``parts``; pieces of the graph that do not hang together are
    joined by their nearest codes. A line along which the surface is not finite is none."""

    surface: Surface
    codes: Tensor
    neighbours: int
    parts: int

    @cached_property
    def edges(self) -> csr_array:
        """Weights ``(N, N)``; each edge once, in the direction from which it was found."""
        from scipy.sparse import csr_array

        k, count = min(self.neighbours, len(self.codes) - 1), len(self.codes)
        near = nearest(self.codes, self.codes, k, same=True)[1].cpu()
        source = torch.arange(count, device="cpu").repeat_interleave(k)
        ends = _connected(self.codes, torch.stack([source, near.flatten()], 1))
        device = self.codes.device
        lengths = self._lengths(self.codes[ends[:, 0].to(device)], self.codes[ends[:, 1].to(device)])
        finite = np.isfinite(lengths)
        return csr_array((lengths[finite], ends.numpy()[finite].T), shape=(count, count))

    def _lengths(self, a: Tensor, b: Tensor) -> np.ndarray:
        steps = self.surface.squared_steps(straight(a, b, self.parts + 1)).sqrt().sum(1)
        return steps.double().clamp_min(1e-12).cpu().numpy()  # an edge of no length would be none

    def distances(self, sources: np.ndarray) -> np.ndarray:
        """Lengths ``(S, N)`` of the shortest ways along the edges from the codes ``sources (S,)`` to all,
        infinite where there is none: never shorter than a geodesic, but for what ``parts`` leave out."""
        from scipy.sparse.csgraph import dijkstra

        return dijkstra(self.edges, directed=False, indices=sources)

    def ways(self, start: Tensor, end: Tensor, points: int) -> Tensor:
        """Curves ``(P, points, d)`` from ``start`` to ``end (P, d)`` along the edges, by way of the codes
        nearest to both, evenly spaced by length in the chart; straight where the graph has no way."""
        first, last = (nearest(ends, self.codes, 1)[1][:, 0].cpu().numpy() for ends in (start, end))
        curves = torch.empty(len(start), points, start.shape[1], dtype=start.dtype, device=start.device)
        for rows, chain in self._chains(first, last):
            at = torch.from_numpy(rows).to(start.device)
            through = self.codes[torch.from_numpy(chain).to(start.device)]
            off = torch.from_numpy(chain[:, 0] != first[rows]).to(start.device)
            through[off] = end[at][off].unsqueeze(1)
            corners = torch.cat([start[at].unsqueeze(1), through, end[at].unsqueeze(1)], dim=1)
            even = resampled(corners.double().cpu().numpy(), np.linspace(0, 1, points))
            curves[at] = torch.from_numpy(even).to(curves)
        return curves

    def _chains(self, first: np.ndarray, last: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The codes of the ways from ``first`` to ``last (P,)``: rows of some pairs, and theirs ``(p, T)``,
        of a few beginnings at a time."""
        from scipy.sparse.csgraph import dijkstra

        sources, place = np.unique(first, return_inverse=True)
        step = max(1, CELLS // len(self.codes))
        for begin in range(0, len(sources), step):
            some = sources[begin : begin + step]
            before = dijkstra(self.edges, directed=False, indices=some, return_predecessors=True)[1]
            rows = np.flatnonzero((place >= begin) & (place < begin + step))
            yield rows, traced(before, place[rows] - begin, last[rows])


def _connected(codes: Tensor, ends: Tensor) -> Tensor:
    """Edges ``(E, 2)`` and, as long as these leave ``codes (N, d)`` in several pieces, the shortest line from
    each piece to the others."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    while True:
        ones = np.ones(len(ends), np.int8)
        links = csr_array((ones, tuple(ends.numpy().T)), shape=(len(codes), len(codes)))
        pieces, piece = connected_components(links, directed=False)
        if pieces == 1:
            return ends
        for number in range(pieces):
            inside = torch.from_numpy(np.flatnonzero(piece == number))
            outside = torch.from_numpy(np.flatnonzero(piece != number))
            inner, outer = codes[inside.to(codes.device)], codes[outside.to(codes.device)]
            distance, found = (part[:, 0].cpu() for part in nearest(inner, outer, 1))
            at = int(distance.argmin())
            ends = torch.cat([ends, torch.stack([inside[at], outside[found[at]]])[None]])

"""Shortest ways through a cloud of codes: where curves begin that a straight line would lead astray."""

from __future__ import annotations

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


@dataclass(frozen=True)
class Graph:
    """Codes ``(N, d)``, each joined with its ``neighbours`` nearest by a straight line whose weight is its
    length on the surface, taken over so many ``parts``."""

    surface: Surface
    codes: Tensor
    neighbours: int
    parts: int

    @cached_property
    def edges(self) -> csr_array:
        """Weights ``(N, N)``; each edge once, in the direction from which it was found."""
        from scipy.sparse import csr_array

        k = min(self.neighbours, len(self.codes) - 1)
        near = nearest(self.codes, self.codes, k, same=True)[1].cpu()
        source = torch.arange(len(self.codes)).repeat_interleave(k)
        goal = near.flatten()
        lengths = self._lengths(self.codes[source], self.codes[goal])
        return csr_array((lengths, (source.numpy(), goal.numpy())), shape=(len(near), len(near)))

    def _lengths(self, a: Tensor, b: Tensor) -> np.ndarray:
        steps = self.surface.squared_steps(straight(a, b, self.parts + 1)).sqrt().sum(1)
        return steps.double().clamp_min(1e-12).cpu().numpy()  # an edge of no length would be none

    def ways(self, start: Tensor, end: Tensor, points: int) -> Tensor:
        """Curves ``(P, points, d)`` from ``start`` to ``end (P, d)`` along the edges, by way of the codes
        nearest to both, evenly spaced by length in the chart; straight where the graph has no way."""
        from scipy.sparse.csgraph import dijkstra

        first, last = (nearest(ends, self.codes, 1)[1][:, 0].cpu().numpy() for ends in (start, end))
        sources, place = np.unique(first, return_inverse=True)
        before = dijkstra(self.edges, directed=False, indices=sources, return_predecessors=True)[1]
        chain = traced(before, place, last)
        through = self.codes[torch.from_numpy(chain).to(self.codes.device)]
        off = torch.from_numpy(chain[:, 0] != first).to(self.codes.device)
        through[off] = end[off].unsqueeze(1)
        corners = torch.cat([start.unsqueeze(1), through, end.unsqueeze(1)], dim=1)
        even = resampled(corners.double().cpu().numpy(), np.linspace(0, 1, points))
        return torch.from_numpy(even).to(corners)

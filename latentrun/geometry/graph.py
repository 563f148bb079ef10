"""Shortest ways through a cloud of codes: where curves begin that a straight line would lead astray."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest
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
        t = torch.linspace(0, 1, self.parts + 1, dtype=a.dtype, device=a.device).view(1, -1, 1)
        steps = self.surface.squared_steps(a.unsqueeze(1) + t * (b - a).unsqueeze(1)).sqrt().sum(1)
        return steps.double().clamp_min(1e-12).cpu().numpy()  # an edge of no length would be none

    def ways(self, start: Tensor, end: Tensor, points: int) -> Tensor:
        """Curves ``(P, points, d)`` from ``start`` to ``end (P, d)`` along the edges, by way of the codes
        nearest to both, evenly spaced by length in the chart; straight where the graph has no way."""
        from scipy.sparse.csgraph import dijkstra

        first, last = (nearest(ends, self.codes, 1)[1][:, 0].cpu().numpy() for ends in (start, end))
        sources, place = np.unique(first, return_inverse=True)
        before = dijkstra(self.edges, directed=False, indices=sources, return_predecessors=True)[1]
        chain, linked = traced(before, place, first, last)
        through = self.codes[torch.from_numpy(chain).to(self.codes.device)]
        off = torch.from_numpy(~linked).to(self.codes.device)
        through[off] = end[off].unsqueeze(1)
        return polylines(torch.cat([start.unsqueeze(1), through, end.unsqueeze(1)], dim=1), points)


def traced(
    before: np.ndarray, tree: np.ndarray, root: np.ndarray, goal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The nodes ``(P, L)`` from ``root[p]``, that of ``tree[p]``, to ``goal[p]``, the first repeated where a
    way is shorter than the longest, and whether there is a way ``(P,)``.

    ``before (S, N)``: of S trees, the node before each; negative at roots and where no way leads.
    """
    chain = [goal]
    while (further := before[tree, chain[-1]] >= 0).any():
        chain.append(np.where(further, before[tree, chain[-1]], chain[-1]))
    return np.stack(chain[::-1], axis=1), chain[-1] == root


def polylines(corners: Tensor, points: int) -> Tensor:
    """``(P, points, d)`` on the lines between corners ``(P, K, d)``, evenly spaced by length; corners may be
    repeated."""
    steps = corners.diff(dim=1).norm(dim=2)
    along = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(1)], dim=1)
    t = torch.linspace(0, 1, points, dtype=along.dtype, device=along.device) * along[:, -1:]
    right = torch.searchsorted(along, t.contiguous()).clamp(1, corners.shape[1] - 1)
    left_at, step = along.gather(1, right - 1), steps.gather(1, right - 1)
    share = ((t - left_at) / step.clamp_min(torch.finfo(t.dtype).tiny)).clamp(0, 1).unsqueeze(2)
    index = right.unsqueeze(2).expand(-1, -1, corners.shape[2])
    return torch.lerp(corners.gather(1, index - 1), corners.gather(1, index), share)

"""Random walks through a latent space with a metric, many at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.geometry.surface import Surface
from latentrun.system.terminal import wait_for

Kind = Literal["euclidean", "metric", "brownian"]
KINDS: tuple[Kind, ...] = ("euclidean", "metric", "brownian")

BENT = 1.0  # a step bends by at most this share of its length: beyond, two terms do not make a geodesic


@dataclass(frozen=True)
class Walks:
    """N walks of T steps. ``path (N, T + 1, d)`` in the chart; ``draw (N, T)``: length of the standard normal
    vector behind each step; ``taken (N, T)``: whether it was taken: a walk whose next point cannot be had
    stands still from there on; ``floored (N, T)``: whether the metric there was held at the floor; ``cut (N,
    T)``: whether the step would have bent by more than its length, or no one knows how far."""

    path: Tensor
    draw: Tensor
    taken: Tensor
    floored: Tensor
    cut: Tensor

    @property
    def stopped(self) -> Tensor:
        """Which walks ``(N,)`` did not take all their steps."""
        return ~self.taken.all(1)


@dataclass(frozen=True)
class Ground:
    """What a walk needs to know of where it stands: ``root (N, d, d)`` with root root' = M^-1; ``metric (N,
    d, d)``, M with its eigenvalues held at the floor; ``floored (N,)``: whether one was; ``sound (N,)``:
    whether what is decoded there is finite."""

    root: Tensor
    metric: Tensor
    floored: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Walker:
    """How walks of a ``kind`` go on a surface, z' = z + step + ..., e ~ N(0, I):

    ``euclidean``: z' = z + ``scale`` e, Brownian motion of the chart. ``metric``: z' = z + ``scale`` M^-1/2
    e, whose steps have covariance scale² M^-1 (Arvanitidis et al. 2018, section 5): in the limit of small
    steps its generator is ½ M^jk d_j d_k, which depends on the chart. ``brownian``: z' = exp_z(scale M^-1/2
    e), a geodesic random walk (Jørgensen 1975), whose limit is the Brownian motion of the surface, generator
    half the Laplace-Beltrami operator: Itô's drift -½ M^jk Gamma^i_jk is what the bend of the geodesics is on
    average. A step is z + v - ½ Gamma(v, v), a retraction of second order, which has the same limit (Schwarz
    et al. 2023, Found. Comput. Math. 23) and wants one second derivative instead of the d of the drift; of a
    map it is a difference over the step, so that it sees the kinks of a network of ReLU, whose second
    derivative is 0 elsewhere (Itô's drift would be 0, and the walk that of ``metric``). Where
    the bend is longer than v, by the metric, it is cut to the length of v: the step is then too long for the
    curvature there, and would lead anywhere.

    ``floor``: an eigenvalue of M below it counts as so much, that a singular M does not make a step
    infinite.
    """

    surface: Surface
    kind: Kind
    scale: float
    floor: float

    def ground(self, z: Tensor) -> Ground:
        """At the points ``(N, d)``; of the plane for Euclidean walks, and where it is not sound."""
        plane = torch.eye(z.shape[1], dtype=z.dtype, device=z.device).expand(len(z), -1, -1)
        sound, floored = torch.isfinite(z).all(1), torch.zeros(len(z), dtype=torch.bool, device=z.device)
        root, metric = plane.clone(), plane.clone()
        rows = sound.nonzero()[:, 0]
        if not len(rows):
            return Ground(root, metric, floored, sound)
        still = z[rows].unsqueeze(1).expand(-1, 2, -1)  # a step of length 0, where anything is decoded
        sound[rows] = torch.isfinite(self.surface.squared_steps(still))[:, 0]
        if self.kind == "euclidean" or not sound.any():
            return Ground(root, metric, floored, sound)
        rows = sound.nonzero()[:, 0]
        m = self.surface.metric(z[rows])
        sound[rows] = torch.isfinite(m).flatten(1).all(1)
        m = m[sound[rows]]
        rows = sound.nonzero()[:, 0]
        values, vectors = torch.linalg.eigh(m.double())
        floored[rows] = values[:, 0] < self.floor
        values = values.clamp_min(self.floor)
        root[rows] = (vectors * values.rsqrt().unsqueeze(1)).to(z)
        metric[rows] = ((vectors * values.unsqueeze(1)) @ vectors.mT).to(z)
        return Ground(root, metric, floored, sound)

    def goal(self, z: Tensor, ground: Ground, draw: Tensor) -> tuple[Tensor, Tensor]:
        """Where a step from ``z (N, d)`` with the ``draw (N, d)`` leads, and whether its bend was cut
        ``(N,)``."""
        v = self.scale * (ground.root @ draw.unsqueeze(-1)).squeeze(-1)
        if self.kind != "brownian":
            return z + v, torch.zeros(len(z), dtype=torch.bool, device=z.device)
        bend = 0.5 * self.surface.secant_acceleration(z, v)
        share = _norm(ground.metric, bend) / (BENT * _norm(ground.metric, v))
        known = torch.isfinite(share)  # where M is singular the bend is not, and is left out
        bend = torch.where(known.unsqueeze(1), bend / share.clamp_min(1.0).unsqueeze(1), 0.0)
        return z + v + bend, ~(share <= 1)


def _norm(metric: Tensor, v: Tensor) -> Tensor:
    return torch.einsum("ni,nij,nj->n", v, metric, v).clamp_min(0).sqrt()


def matched_scale(metric: Tensor, step: float) -> float:
    """The ``scale`` of steps with covariance scale² M^-1 that are as long in data space, to first order, as
    those with covariance step² I at points with the metrics ``(N, d, d)``: root mean square lengths scale
    sqrt(d) and step sqrt(tr M), the latter's mean over the points.

    >>> matched_scale(torch.tensor([[[4.0]], [[9.0]]]), 0.1)  # stretched by 2 and by 3
    0.25
    """
    trace = metric.double().diagonal(dim1=1, dim2=2).sum(1)
    return step * trace.clamp_min(0).sqrt().mean().item() / metric.shape[-1] ** 0.5


def walk(walker: Walker, start: Tensor, steps: int, noise: Noise) -> Walks:
    """Walks of so many steps from ``start (N, d)``. Walks of all kinds with the same ``noise`` have the same
    draws, so that they can be compared one by one."""
    z, ground = start.clone(), walker.ground(start)
    alive, path, draws, taken, floored, cut = ground.sound.clone(), [z], [], [], [], []
    for number in range(steps):
        draw = noise.at("step", number).normal("draw", tuple(z.shape)).to(z)
        draws.append(draw.norm(dim=1))
        floored.append(ground.floored & alive)
        rows = alive.nonzero()[:, 0]
        here = Ground(ground.root[rows], ground.metric[rows], ground.floored[rows], ground.sound[rows])
        goal, bent = walker.goal(z[rows], here, draw[rows])
        there = walker.ground(goal)
        moved = rows[there.sound]
        z, alive = z.clone(), torch.zeros_like(alive)
        z[moved], alive[moved] = goal[there.sound], True
        ground.root[moved], ground.metric[moved] = there.root[there.sound], there.metric[there.sound]
        ground.floored[moved] = there.floored[there.sound]
        path.append(z)
        taken.append(alive)
        cut.append(torch.zeros_like(alive).index_put((moved,), bent[there.sound]))
        if number % 20 == 0:
            wait_for(f"{walker.kind} walks: {number} of {steps} steps of {len(z):,}")
    steps_of = (torch.stack(values, 1) for values in (draws, taken, floored, cut))
    return Walks(torch.stack(path, 1), *steps_of)

"""Geodesics between given points, as curves of least energy: all pairs at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latentrun.geometry.acceleration import Memory
from latentrun.geometry.curves import Basis, resampled, spline
from latentrun.geometry.surface import Quadratic, Surface


@dataclass(frozen=True)
class Damping:
    """Of a step, as a share of the curvature's own diagonal: where it begins, its bounds, from where on
    no step is tried any more, and its factor after a step that was taken and after one that was not."""

    start: float = 1e-3
    low: float = 1e-9
    high: float = 1e9
    stuck: float = 1e6
    ease: float = 0.1
    tighten: float = 4.0


DAMPING = Damping()
CELLS = 1 << 23  # numbers that the steps of so many pairs at once may take


@dataclass(frozen=True)
class Geodesics:
    """P curves between given points. ``curve (P, T, d)`` at evenly spaced times; ``length`` and ``energy
    (P,)`` on these T points, whatever the curve was found with; ``residual (P,)``: by what share one more
    step is expected to lower the energy; ``converged (P,)``: never where an energy is not finite; ``steps
    (P,)`` taken."""

    curve: Tensor
    length: Tensor
    energy: Tensor
    residual: Tensor
    converged: Tensor
    steps: Tensor

    @classmethod
    def judged(
        cls, surface: Surface, curve: Tensor, residual: Tensor, converged: Tensor, steps: Tensor
    ) -> Geodesics:
        """With length and energy as the surface has them."""
        length, energy = surface.measured(curve)
        finite = torch.isfinite(length) & torch.isfinite(energy)
        return cls(curve, length, energy, residual, converged & finite, steps)

    @classmethod
    def joined(cls, parts: Sequence[Geodesics]) -> Geodesics:
        """All pairs of several, one after the other."""
        return cls(*(torch.cat([getattr(part, f.name) for part in parts]) for f in fields(cls)))


@dataclass(frozen=True)
class Settings:
    """How curves are sought. ``pieces`` of the spline; ``points`` on it where the energy is taken, and
    ``fine`` ones where the result is judged, so that nothing is won by cutting corners between few points;
    ``tolerance`` of the residual; at most so many ``steps``."""

    pieces: int = 8
    points: int = 33
    fine: int = 129
    tolerance: float = 1e-8
    steps: int = 100


@dataclass(frozen=True)
class Lines:
    """Curves of a basis between given ends ``(P, d)``."""

    basis: Basis
    start: Tensor
    end: Tensor

    def curves(self, theta: Tensor) -> Tensor:
        return self.basis.curves(self.start, self.end, theta)

    def straight(self) -> Tensor:
        return self.start.new_zeros(len(self.start), self.basis.values.shape[1], self.start.shape[1])


@dataclass
class State:
    """Curves under way: ``theta (P, K, d)``, their energy to second order, and a damping a pair."""

    theta: Tensor
    model: Quadratic
    damping: Tensor

    def ease(self, rows: Tensor) -> None:
        """After a step that was taken."""
        self.damping[rows] = (self.damping[rows] * DAMPING.ease).clamp_min(DAMPING.low)

    def tighten(self, rows: Tensor) -> None:
        """After one that was not."""
        self.damping[rows] = (self.damping[rows] * DAMPING.tighten).clamp_max(DAMPING.high)


def least_energy(
    surface: Surface, start: Tensor, end: Tensor, first: Tensor | None, settings: Settings
) -> Geodesics:
    """Curves of least energy between ``start`` and ``end (P, d)`` by Gauss-Newton steps with a damping for
    each pair (Levenberg 1944, Marquardt 1963): the discrete energy is a sum of squares, of which only the d x
    d products of neighbouring Jacobians are needed. Each step is first tried as its predecessors say (see
    :class:`~latentrun.geometry.acceleration.Memory`), then as it is; one that does not lower the energy is
    not taken.

    ``first (P, T, d)``: curves to begin with, straight ones where it is None. ``residual`` is that of a step
    without damping: a curve that no step makes shorter for other reasons, as at the edge of a region where
    the map is not finite, has not converged; one that begins in such a region stays as it is. So many pairs
    are worked on at once that memory does not grow with P beyond that of the curves.
    """
    basis = spline(settings.pieces, settings.points, start)
    size = pairs_at_once(basis, start.shape[1])
    firsts = [None] * -(-len(start) // size) if first is None else first.split(size)
    if not len(start):
        none = start.new_zeros(0)
        curve = start.new_zeros(0, settings.fine, start.shape[1])
        return Geodesics(curve, none, none, none, none.bool(), none.long())
    pieces = zip(start.split(size), end.split(size), firsts, strict=True)
    return Geodesics.joined([_least_energy(surface, Lines(basis, a, b), c, settings) for a, b, c in pieces])


def pairs_at_once(basis: Basis, d: int) -> int:
    """Of how many pairs steps are computed together."""
    times, count = basis.values.shape
    return max(1, CELLS // (times * count * d * d + 4 * (count * d) ** 2))


def _least_energy(surface: Surface, lines: Lines, first: Tensor | None, settings: Settings) -> Geodesics:
    basis, start = lines.basis, lines.start
    theta = lines.straight() if first is None else basis.fit(resampled(first, settings.points))
    state = State(theta, surface.quadratic(lines.curves(theta)), start.new_full((len(start),), DAMPING.start))
    taken = torch.zeros(len(start), dtype=torch.long, device=start.device)
    active = torch.isfinite(state.model.energy).nonzero()[:, 0]
    memory = Memory.of(theta)
    for _ in range(settings.steps):
        step, expected = _step(basis, state, active)
        # About what a step without damping would bring: one that is held back has not arrived.
        damping = state.damping[active]
        going = ~(expected * (1 + damping) <= settings.tolerance) & (damping < DAMPING.stuck)
        active, step = active[going], step[going]
        if not len(active):
            break
        taken[active] += 1
        longer = memory.proposal(active, state.theta[active], step)
        lower = _take(surface, lines, state, active, longer)
        held, step = active[~lower], step[~lower]
        if len(held):
            memory.forget(held)
            lower = _take(surface, lines, state, held, step)
            state.tighten(held[~lower])
    residual = _left(basis, state)
    fine = spline(settings.pieces, settings.fine, start).curves(start, lines.end, state.theta)
    # What rounding leaves of an energy cannot be told from a fall of it.
    enough = max(settings.tolerance, torch.finfo(start.dtype).eps)
    return Geodesics.judged(surface, fine, residual, residual <= enough, taken)


def _left(basis: Basis, state: State) -> Tensor:
    """By what share a step that is hardly damped is expected to lower each energy ``(P,)``; infinite where
    energy or step are not finite."""
    state.damping = torch.full_like(state.damping, DAMPING.low)
    return _step(basis, state, torch.arange(len(state.damping), device=state.damping.device))[1]


def _step(basis: Basis, state: State, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pairs ``rows`` the damped Gauss-Newton step ``(P, K, d)``, and by what share it is expected to
    lower the energy ``(P,)``; infinite where there is no such step, as of a metric that is singular and not
    damped enough."""
    b, model = basis.values, state.model.of(rows)
    count, d = b.shape[1], model.gradient.shape[-1]
    slope = (b.mT @ model.gradient).flatten(1)
    curvature = torch.einsum("tk,ptij,tl->pkilj", b, model.diagonal, b)
    across = torch.einsum("tk,ptij,tl->pkilj", b[:-1], model.beside, b[1:])
    curvature = (curvature + across + across.permute(0, 3, 4, 1, 2)).reshape(-1, count * d, count * d)
    own = curvature.diagonal(dim1=1, dim2=2)
    floor = 1e-12 * own.amax(1, keepdim=True) + torch.finfo(own.dtype).tiny
    damped = curvature + torch.diag_embed(state.damping[rows].unsqueeze(1) * own + floor)
    step = -torch.linalg.solve_ex(damped, slope)[0]
    # In a singular metric rounding may take the sign from a step that leads nowhere.
    expected = 0.5 * (slope * step).sum(1).abs() / model.energy.clamp_min(torch.finfo(own.dtype).tiny)
    return step.unflatten(1, (count, d)), expected.nan_to_num(torch.inf, torch.inf)


def _take(surface: Surface, lines: Lines, state: State, rows: Tensor, step: Tensor) -> Tensor:
    """Try a step of the pairs ``rows``; keep it, and damp the next one less, where the energy falls: which
    these are."""
    trial = state.theta[rows] + step
    start, end = lines.start[rows], lines.end[rows]
    model = surface.quadratic(lines.basis.curves(start, end, trial))
    lower = model.energy < state.model.energy[rows]  # not where it is NaN
    state.theta[rows[lower]] = trial[lower]
    state.model.put(rows[lower], model.of(lower))
    state.ease(rows[lower])
    return lower

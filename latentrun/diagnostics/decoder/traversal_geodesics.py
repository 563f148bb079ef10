"""The paths that a traversal takes through a curved latent space: its own geodesics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import Literal

import torch
from torch import Tensor

from latentrun.diagnostics.base import row_places
from latentrun.diagnostics.decoder.traversal_paths import UNITS, latent_pairs
from latentrun.functional.noise import Noise
from latentrun.functional.paths.lines import Paths
from latentrun.functional.ties import largest
from latentrun.manifolds import Manifold
from latentrun.manifolds.base import Finite
from latentrun.models.base import HasEncoder
from latentrun.run import Run

SAMPLES = (
    1000  # codes that a model without an encoder is looked at by; ends of lines are picked among as many
)
LONGEST = 6 * pi  # a geodesic that has not returned by then counts as open
GRID = 600  # points at which it is looked whether it has
RETURNED = 5e-3  # distance from where it began, in the units of the space


@dataclass(frozen=True)
class Centre:
    """What geodesics are laid out by, float64: the point ``z (d,)`` that they go through, a code near the
    middle of the ``codes (N, d)``, and ``frame (dim, d)``, orthonormal directions there."""

    space: Manifold
    z: Tensor
    frame: Tensor
    codes: Tensor

    def along(self, v: Tensor, extent: float) -> tuple[Tensor, Tensor]:
        """How far a geodesic goes backwards and forwards in unit directions ``v (P, d)``, ``(P, 2)``, and
        whether it then meets itself ``(P,)``: half of its length where it is closed, else ``extent`` times
        the root mean square of what the codes have of that direction, or to the edge of the space."""
        length = closing_length(self.space, self.z, v)
        there = self.space.log(self.z.expand_as(self.codes), self.codes)
        spread = (there @ v.T).square().mean(0).sqrt()
        closed = length.isfinite()
        reach = torch.where(closed, length / 2, extent * spread)
        ends = torch.stack([self._inside(reach, -v), self._inside(reach, v)], 1)
        return torch.where(closed.unsqueeze(1), reach.unsqueeze(1), ends), closed

    def _inside(self, reach: Tensor, v: Tensor) -> Tensor:
        """How much of ``reach (P,)`` lies before the edge of the space, where a geodesic stands still."""
        t = reach.unsqueeze(1) * torch.linspace(0, 1, GRID + 1, dtype=reach.dtype, device=reach.device)
        points = self.shoot(t, v)
        step = self.space.distance(points[:, :-1], points[:, 1:])
        moving = (step > 0.5 * reach.unsqueeze(1) / GRID).to(reach.dtype).cumprod(1)
        return reach * moving.sum(1) / GRID

    def shoot(self, t: Tensor, v: Tensor) -> Tensor:
        """Points ``(P, T, d)`` at ``t (P, T)`` of the geodesics in directions ``v (P, d)``."""
        shape = (*t.shape, len(self.z))
        return self.space.exp(self.z.expand(shape), t.unsqueeze(-1) * v.unsqueeze(1))


def centre_of(run: Run, noise: Noise) -> Centre:
    """The training code nearest to the projected mean of all, and directions there; of a model without an
    encoder by what it samples. In float64: a geodesic is closed up to rounding."""
    space = run.model.spaces["z"]
    encoded = isinstance(run.model, HasEncoder)
    z = run.latents("train").codes if encoded else run.sample_codes(SAMPLES, noise)
    z = space.project(z.double())
    middle = space.project(z.mean(0))
    centre = z[largest(-space.distance(middle.expand_as(z), z))]
    return Centre(space, centre, space.frame(centre), z)


def closing_length(space: Manifold, z: Tensor, v: Tensor) -> Tensor:
    """The length ``(P,)`` after which geodesics from ``z (d,)`` in unit directions ``v (P, d)`` are back
    where they began; infinite for those that are not within ``LONGEST``.

    Near its end a closed geodesic of length L is L - t away from its beginning: t plus the distance is L.
    """
    t = torch.linspace(0, LONGEST, GRID + 1, dtype=z.dtype, device=z.device)[1:]

    def away(t: Tensor) -> Tensor:
        points = space.exp(z.expand(*t.shape, len(z)), t.unsqueeze(-1) * v.unsqueeze(1))
        return space.distance(z.expand_as(points), points)

    begin = t.expand(len(v), -1)
    back = begin + away(begin)
    # A step of the search is no return, however short the space is.
    returned = (away(back) < RETURNED) & (back > 2 * t[0])
    return torch.where(returned, back, torch.inf).amin(1)


# ---------------------------------------------------------------- through the centre
def axis_geodesics(centre: Centre, extent: float, steps: int) -> Paths:
    """In each direction of the frame in turn."""
    names = tuple(f"v{i}" for i in range(len(centre.frame)))
    return _geodesics("geodesics", centre, centre.frame, names, extent, steps)


def plane_geodesics(
    centre: Centre, pairs: Tensor, directions: Sequence[float], extent: float, steps: int
) -> Paths:
    """In directions between two of the frame, ``pairs (K, 2)``, in degrees from the first."""
    turn = torch.deg2rad(torch.tensor(directions, dtype=centre.z.dtype, device=centre.z.device))
    across = torch.stack([turn.cos(), turn.sin()], 1)
    v = torch.einsum("ac,kcd->kad", across, centre.frame[pairs]).flatten(0, 1)
    names = tuple(f"v{a},v{b} at {angle:g}°" for a, b in pairs.tolist() for angle in directions)
    return _geodesics("turned", centre, v, names, extent, steps)


def _geodesics(
    kind: str, centre: Centre, v: Tensor, names: tuple[str, ...], extent: float, steps: int
) -> Paths:
    if not names:
        return _none(kind, centre, steps)
    ends, closed = centre.along(v, extent)
    share = torch.linspace(0, 1, steps, dtype=v.dtype, device=v.device)
    t = -ends[:, :1] + share * ends.sum(1, keepdim=True)
    return Paths(kind, UNITS[kind], names, t.float(), centre.shoot(t, v).float(), tuple(closed.tolist()))


def circles(
    centre: Centre, pairs: Tensor, spans: Sequence[tuple[float, float]], share: float, steps: int
) -> Paths:
    """Arcs around the centre, all points at one distance from it, from one to another angle in degrees;
    ``share``: that distance by how far the geodesics in both directions go, the shorter one."""
    if not len(pairs) or not spans:
        return _none("circles", centre, steps)
    ends = torch.tensor(spans, dtype=centre.z.dtype, device=centre.z.device)
    t = torch.linspace(0, 1, steps, dtype=ends.dtype, device=ends.device)
    degrees = ends[:, :1] + t * (ends[:, 1:] - ends[:, :1])
    turn = torch.deg2rad(degrees)
    reach = centre.along(centre.frame, 1.0)[0].amin(1)[pairs].amin(1)
    v = torch.einsum("atc,kcd->katd", torch.stack([turn.cos(), turn.sin()], -1), centre.frame[pairs])
    v = share * reach[:, None, None, None] * v
    z = centre.space.exp(centre.z.expand_as(v), v).flatten(0, 1)
    names = tuple(f"v{a},v{b} {low:g}° to {high:g}°" for a, b in pairs.tolist() for low, high in spans)
    closed = tuple(abs(high - low) >= 360 for _ in range(len(pairs)) for low, high in spans)
    degrees = degrees.expand(len(pairs), *degrees.shape).flatten(0, 1)
    return Paths("circles", UNITS["circles"], names, degrees.float(), z.float(), closed)


def direction_pairs(
    pairs: Sequence[tuple[int, int]] | Literal["all"], centre: Centre, notes: list[str]
) -> Tensor:
    """Pairs of directions of the frame ``(K, 2)``, as :func:`latent_pairs` has those of latents."""
    if len(centre.frame) < 2:
        return torch.zeros(0, 2, dtype=torch.int64)
    return latent_pairs(pairs, centre.along(centre.frame, 1.0)[0].sum(1), notes)


# ---------------------------------------------------------------- between two codes
def joining_geodesics(
    run: Run, centre: Centre, rows: Sequence[tuple[int, int]], count: int, steps: int, noise: Noise
) -> Paths:
    """Between the codes of pairs of test rows, by their permanent index; without ``rows`` between ``count``
    codes drawn at random and for each the one of many that is farthest from it."""
    z, index = centre.codes, torch.arange(len(centre.codes), device=centre.codes.device)
    if isinstance(run.model, HasEncoder):
        latents = run.latents("test")
        z, index = centre.space.project(latents.codes.double()), latents.index
    if rows:
        pairs = row_places("diagnostic.traversal.rows", rows, index)
    else:
        order = noise.permutation("ends", len(z))[:SAMPLES].to(z.device)
        first = order[:count]
        apart = centre.space.distance(z[first].unsqueeze(1), z[order].unsqueeze(0))
        pairs = torch.stack([first, order[apart.nan_to_num(-1.0).argmax(1)]], 1)
    start, end = z[pairs[:, 0]], z[pairs[:, 1]]
    t = torch.linspace(0, 1, steps, dtype=z.dtype, device=z.device).expand(len(pairs), -1)
    shape = (*t.shape, z.shape[1])
    points = centre.space.geodesic(start.unsqueeze(1).expand(shape), end.unsqueeze(1).expand(shape), t)
    names = tuple(f"{a} to {b}" for a, b in index[pairs].tolist())
    return Paths("joins", UNITS["joins"], names, t.float(), points.float(), (False,) * len(names))


# ---------------------------------------------------------------- finite sets
def point_paths(centre: Centre, steps: int, notes: list[str]) -> Paths:
    """Of each finite factor of the space one path, from point to point; it ends at the last, or where the
    steps do."""
    factors = centre.space.factors
    names, places, paths, before = [], [], [], 0
    for number, factor in enumerate(factors):
        if isinstance(factor, Finite):
            place = torch.arange(steps, device=centre.z.device).clamp_max(factor.size - 1)
            z = centre.z.repeat(steps, 1)
            z[:, before : before + factor.size] = torch.eye(factor.size).to(z)[place]
            if factor.size > steps:
                notes.append(f"points: only {steps} of the {factor.size} points of {factor.name} are visited")
            names.append(f"{factor.name} ({number})" if len(factors) > 1 else factor.name)
            places.append(place)
            paths.append(z)
        before += factor.ambient_dim
    if not names:
        return _none("points", centre, steps)
    position, z = torch.stack(places).float(), torch.stack(paths).float()
    return Paths("points", UNITS["points"], tuple(names), position, z, (False,) * len(names))


def _none(kind: str, centre: Centre, steps: int) -> Paths:
    """No path of a kind."""
    nowhere = centre.z.new_zeros(0, steps, dtype=torch.float32)
    return Paths(kind, UNITS[kind], (), nowhere, nowhere.unsqueeze(-1).expand(0, steps, len(centre.z)), ())

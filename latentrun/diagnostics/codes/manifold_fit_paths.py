"""Closed paths of one factor through the data: whether they close, and how a code goes along them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi
from typing import cast

import pandas as pd
import torch
from torch import Tensor

from latentrun.data.base import Dataset, Oracle
from latentrun.functional.paths.tears import Continuity
from latentrun.functional.statistics.circular import (
    angle_in,
    circular_correlation,
    main_line,
    main_plane,
    winding,
    wrapped,
)
from latentrun.manifolds import Manifold, Sphere
from latentrun.types import Factor

STEEP = 0.1  # share of the circle: a code that makes half of its way on less is as good as torn
CLOSED = 1e-3  # of the size of a path: ends that lie nearer are one point


@dataclass(frozen=True)
class Loops:
    """Closed paths of one cyclic factor: the codes ``z (P, T, d)`` of what the oracle renders at ``values
    (T,)`` of the factor, the others fixed as in the rows numbered ``index (P,)``."""

    factor: Factor
    values: Tensor
    index: Tensor
    z: Tensor


def with_values(y: Tensor, column: int, values: Tensor) -> Tensor:
    """Factors ``(P, T, F)``: those of ``y (P, F)``, with the ``values (T,)`` in one column."""
    paths = y.unsqueeze(1).repeat(1, len(values), 1)
    paths[:, :, column] = values.to(y)
    return paths


def closes(data: Oracle, y: Tensor, column: int) -> Tensor:
    """Whether the least and the greatest value of a cyclic factor give the same member ``(P,)``, the other
    factors as in ``y (P, F)``: to a thousandth of how far apart members of that path are."""
    factor = cast(Dataset, data).factors[column]
    paths = with_values(y, column, torch.linspace(factor.low, factor.high, 9, dtype=torch.float64))
    x = data.render(paths.flatten(0, 1)).flatten(1).view(*paths.shape[:2], -1)
    apart = (x - x[:, :1]).norm(dim=2)
    return apart[:, -1] <= CLOSED * apart.amax(1)


@dataclass(frozen=True)
class View:
    """How codes are seen from a path: from a ``centre (d,)`` in a ``plane (2, d)``, or along its main ``line
    (1, d)`` where it lies on one, ``plane`` then 0."""

    centre: Tensor
    plane: Tensor
    line: Tensor

    @classmethod
    def of(cls, path: Tensor, space: Manifold) -> View:
        """Of a path ``(T, d)``: along the circle of the space that it goes round most often; where it goes
        round none, in the plane in which it spreads most, or what is left of it beside circles."""
        (circles, rest), line = circles_of(space), main_line(path)
        views = [cls(path.new_zeros(len(rest)).double(), plane.to(line), line) for plane in circles]
        if rest.sum() > 1 or not circles:
            views.append(cls(*main_plane(path * rest.to(path)), line))
        return max(views, key=lambda view: view.turns(path))

    def turns(self, path: Tensor) -> tuple[float, float]:
        """How often a path goes round, and the way that its angle makes."""
        angle = self.angle(path)
        return winding(angle).abs().item(), wrapped(angle.roll(-1) - angle).abs().sum().item()

    @property
    def is_flat(self) -> bool:
        return bool(self.plane.any())

    def angle(self, z: Tensor) -> Tensor:
        """Angles ``(N,)`` of codes ``(N, d)`` around the centre; 0 on a line."""
        return angle_in(z, self.centre, self.plane)

    def seen(self, z: Tensor) -> Tensor:
        """Coordinates ``(N, 2)`` in the plane, or ``(N, 1)`` on the line."""
        return (z.double() - self.centre) @ (self.plane if self.is_flat else self.line).T

    def read(self, z: Tensor) -> Tensor:
        """The angle ``(N,)``, or the place on the line."""
        return self.angle(z) if self.is_flat else self.seen(z)[:, 0]


def circles_of(space: Manifold) -> tuple[list[Tensor], Tensor]:
    """The planes ``(2, d)`` of the factors of a space that are circles, and which coordinates ``(d,)`` are of
    no circle."""
    factors = space.simple_factors
    axes = torch.eye(space.ambient_dim, dtype=torch.float64).split([each.ambient_dim for each in factors])
    are_circles = [isinstance(factor, Sphere) and factor.dim == 1 for factor in factors]
    planes = [plane for plane, is_circle in zip(axes, are_circles, strict=True) if is_circle]
    return planes, 1 - sum((plane.sum(0) for plane in planes), torch.zeros(space.ambient_dim))


def torn(found: Continuity, refinement: int) -> Tensor:
    """1 where a path is torn, 0 where it is whole, NaN where its code does not move ``(P,)``."""
    is_torn = (found.persistence > refinement**-0.5) | (found.half < STEEP)
    return torch.where(found.half.isnan(), torch.nan, is_torn.double())


def path_table(loops: Loops, found: Continuity, views: Sequence[View], refinement: int) -> pd.DataFrame:
    """A row for each path: its ``continuity``, with ``refinement`` times as many points, and its course as
    seen by its view."""
    low, high = loops.factor.low, loops.factor.high
    angle = torch.stack([view.angle(path) for view, path in zip(views, loops.z, strict=True)])
    around = (2 * pi * (loops.values - low) / (high - low)).to(angle)
    columns = {
        "factor": loops.factor.name,
        "unit": loops.factor.unit,
        "row": loops.index.cpu().numpy(),
        "winding": winding(angle).abs().cpu().numpy(),
        "circular_correlation": circular_correlation(angle, around).cpu().numpy(),
        "jump_coarse": found.coarse.cpu().numpy(),
        "jump_fine": found.fine.cpu().numpy(),
        "persistence": found.persistence.cpu().numpy(),
        "half": found.half.cpu().numpy(),
        "torn": torn(found, refinement).cpu().numpy(),
        "tear": found.size.cpu().numpy(),
        "at": (low + (high - low) * found.at).cpu().numpy(),
    }
    return pd.DataFrame(columns)

"""What curves in a latent space are like: lengths, how near they keep to codes, how evenly they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentrun.functional.clouds.neighbours import nearest, usual_gap
from latentrun.functional.paths.curves import resampled
from latentrun.geometry.surface import Surface


@dataclass(frozen=True)
class Cloud:
    """N codes of a latent space: ``z (N, k)`` and, where they have some, ``labels (N,)``; ``limit``: the
    distance to the nearest of them within which a point lies near them."""

    z: Tensor
    labels: Tensor | None
    limit: float

    @classmethod
    def of(cls, z: Tensor, labels: Tensor | None, tail: float) -> Cloud:
        """With the quantile ``tail`` of the distances from a code to the nearest other one as limit."""
        return cls(z, labels, usual_gap(z, tail))


@dataclass(frozen=True)
class Traits:
    """Of P curves, each ``(P,)``. ``length`` and ``energy`` on the surface; ``near``: share of the curve's
    length in the chart that lies near codes; ``gap``: greatest distance of its points from the nearest code;
    ``unevenness``: standard deviation over mean of its steps on the surface; ``class_changes``: how often the
    label of the nearest code changes along it, and ``sd``: the decoder's standard deviation, mean over its
    length in the chart; None where there are none."""

    length: Tensor
    energy: Tensor
    near: Tensor
    gap: Tensor
    unevenness: Tensor
    class_changes: Tensor | None
    sd: Tensor | None


def even(curve: Tensor, points: int) -> Tensor:
    """Points ``(P, points, d)`` of curves ``(P, T, d)``, evenly spaced by length in the chart."""
    lines = curve.double().cpu().numpy()
    return torch.from_numpy(resampled(lines, np.linspace(0, 1, points))).to(curve)


def traits(
    surface: Surface,
    curve: Tensor,
    cloud: Cloud,
    point: Callable[[Tensor], Tensor],
    deviation: Callable[[Tensor], Tensor | None],
) -> Traits:
    """Of curves ``(P, T, d)``, T odd, run through at the speed they are given with. ``point``: coordinates
    of the chart to those of ``cloud``; ``deviation``: those to the decoder's standard deviation."""
    spread = even(curve, curve.shape[1])
    shape, places = spread.shape[:2], spread.flatten(0, 1)
    distance, index = (found[:, 0].view(shape) for found in nearest(point(places), cloud.z, 1))
    steps = surface.squared_steps(curve).double().sqrt()
    sd, labels = deviation(places), cloud.labels
    return Traits(
        length=surface.length(curve).double(),
        energy=surface.energy(curve).double(),
        near=over_way((distance <= cloud.limit).double()),
        gap=distance.amax(1),
        unevenness=steps.std(1, correction=0) / steps.mean(1),
        class_changes=None if labels is None else (labels[index].diff(dim=1) != 0).sum(1).double(),
        sd=None if sd is None else over_way(sd.view(shape).double()),
    )


def over_way(values: Tensor) -> Tensor:
    """Mean ``(P,)`` over a way of values ``(P, T)`` at even places of it, both ends among these (trapezoidal
    rule)."""
    return 0.5 * (values[:, 1:] + values[:, :-1]).mean(1)

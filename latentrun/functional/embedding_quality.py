"""How good a map psi of the unit cube onto a manifold is: does it stay on it, cover it evenly, and only
once?

Here psi takes ``u (N, m)`` of the unit cube, of which u is uniform: a psi of other hidden variables is given
after the quantile function of their prior. Points are compared by their coordinates ``(..., d)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentrun.functional.distances.kernels import mmd2, spread
from latentrun.functional.jacobians import derivatives
from latentrun.functional.spacing import middles

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise
    from latentrun.manifolds import Compact

Map = Callable[[Tensor], Tensor]
APART = 0.2  # two u whose coordinates differ by more, in one of them, are no neighbours
WALKS = 1000  # u at most to which the orientation is carried from the middle of the cube
STEPS = 16  # of each of these ways


@dataclass(frozen=True)
class Course:
    """How psi runs along a curve. ``turns``: how often it goes round, or from end to end, counted with sign:
    +1 or -1 for an embedding. ``backward``: share of u that runs against its main direction. ``kuiper``:
    largest difference of what psi gives an arc and its share of the curve, in [0, 1] (Kuiper 1960; of an
    interval as of a circle). ``seam``: distance along the curve, in its units, between the images of u = 0
    and u = 1 where it is closed, else what they leave of its length; 0 for an embedding."""

    turns: float
    backward: float
    kuiper: float
    seam: float


@dataclass(frozen=True)
class Cover:
    """How psi covers a manifold of two dimensions or more. ``volume``: of the image, each part as often as
    it is covered, as a share of the manifold's: 1 for an embedding, 0.85 where 15 % is missing, 2 of a double
    cover or one that goes there and back. ``gap_ratio``: the largest distance of a point of the manifold
    from the image, over that from a sample of the uniform law of as many points: about 1 for an embedding.
    ``folded``: share of u where psi is turned over, against the orientation that it has at most u: 0 for an
    embedding. From three dimensions on 1,000 points lie too far apart for ``gap_ratio`` to show 15 % that
    are missing: ``volume`` does."""

    volume: float
    gap_ratio: float
    folded: float


@dataclass(frozen=True)
class EmbeddingQuality:
    """What is wrong with a psi; lengths in the units of the manifold's coordinates.

    ``max_distance``, ``mean_distance``: of psi(u) from the nearest point of the manifold. ``mmd2``: unbiased
    MMD² of psi(u) against uniform points of the manifold, RBF kernel as wide as the manifold's points lie
    apart; 0 on average for a psi that is right, at most 2. ``gap``: largest distance of a point of the
    manifold from the image. ``least_stretch``: smallest singular value of the Jacobian of psi over all u, as
    a share of the mean of all singular values: 0 at a fold. ``twins``: share of u whose image is nearest to
    that of a u far off: about 0 for an embedding of many points but for its seams, where parts of the image
    lie one on the other about half of what they cover. Across the seams of a torus lie the neighbours of a
    tenth of 1,000 points in three dimensions, of three tenths in five. ``course``: of a curve with a chart,
    ``cover``: of what has more dimensions than one, else None.
    """

    max_distance: float
    mean_distance: float
    mmd2: float
    gap: float
    least_stretch: float
    twins: float
    course: Course | None
    cover: Cover | None

    def flat(self) -> dict[str, float]:
        """All of it by name."""
        values = asdict(self)
        course, cover = values.pop("course"), values.pop("cover")
        return values | (course or {}) | (cover or {})


@torch.no_grad()
def embedding_quality(
    psi: Map, space: Compact, noise: Noise, n: int, unembed: Map | None = None, closed: bool = True
) -> EmbeddingQuality:
    """The quality of a psi at n u of the cube: of a curve n even parts, else drawn by ``noise``.

    ``unembed``: of a curve, the exact coordinate of its points in [0, 1), of which the first axis is used;
    ``closed``: whether its two ends are one point. Both count for one dimension alone.
    """
    m = space.dim
    u = middles(n).float().unsqueeze(1).to(noise.device) if m == 1 else noise.uniform("cube", (n, m))
    image = psi(u)
    near = space.project(image)
    off = (image - near).norm(dim=-1)
    uniform = space.sample(n, noise.at("uniform")).to(image)
    nearest = distances(near, near).fill_diagonal_(math.inf)
    far = (u[nearest.argmin(1)] - u).abs().amax(1) > APART
    gap = largest_gap(uniform, near)
    edges = torch.tensor([[0.0], [1.0]]).to(u)
    course = cover = None
    if m == 1 and unembed is not None:
        path = unembed(space.project(psi(torch.cat([edges[:1], u, edges[1:]]))))[:, 0]
        course = measure_course(path, closed, space.log_volume)
    if m > 1:
        sample = space.sample(n, noise.at("second")).to(image)
        cover = Cover(
            volume=image_volume(psi, space, u).item(),
            gap_ratio=(gap / largest_gap(uniform, sample)).item(),
            folded=folded(psi, space, u[:WALKS]).item(),
        )
    return EmbeddingQuality(
        max_distance=off.max().item(),
        mean_distance=off.mean().item(),
        mmd2=mmd2(near, uniform, "rbf", spread(uniform), [1.0]).item(),
        gap=gap.item(),
        least_stretch=least_stretch(psi, u).item(),
        twins=far.double().mean().item(),
        course=course,
        cover=cover,
    )


def largest_gap(points: Tensor, image: Tensor) -> Tensor:
    """The largest distance ``()`` of one of ``points (m, d)`` from the nearest of ``image (n, d)``."""
    return distances(points, image).amin(1).max()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """``(m, n)`` between rows; near 0 too, where those of a matrix product are off."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def jacobians(psi: Map, u: Tensor) -> Tensor:
    """The Jacobians ``(N, d, m)`` of psi at ``u (N, m)``, float64."""
    axes = torch.eye(u.shape[1], dtype=u.dtype, device=u.device)
    columns = derivatives(lambda v: (psi(v),), u, axes)[1][0]
    return columns.double().permute(1, 2, 0)


def least_stretch(psi: Map, u: Tensor) -> Tensor:
    """The smallest singular value of psi's Jacobians at ``u (N, m)`` as a share of the mean of all.

    >>> least_stretch(lambda u: torch.cat([u, 3 * u], 1), torch.rand(5, 1))  # a straight line
    tensor(1., dtype=torch.float64)
    """
    singular = torch.linalg.svdvals(jacobians(psi, u))
    return (singular.min() / singular.mean().clamp_min(1e-300)).clamp_max(1.0)


def image_volume(psi: Map, space: Compact, u: Tensor) -> Tensor:
    """Volume of psi's image on the manifold, each part as often as it is covered, as a share of the
    manifold's: by the area formula the mean of sqrt(det JᵀJ) over uniform ``u (N, m)``, with J the Jacobian
    of the nearest point to psi(u), over the manifold's volume. What is beyond a border counts for nothing."""
    j = jacobians(lambda v: space.project(psi(v)), u)
    return torch.linalg.det(j.mT @ j).clamp_min(0).sqrt().mean() / math.exp(space.log_volume)


def folded(psi: Map, space: Compact, u: Tensor) -> Tensor:
    """Share of ``u (N, m)`` at which psi is turned over, at most 1/2.

    The orientation of the manifold next to the image is carried along psi, from the middle of the cube
    straight to u, by frames of the tangent spaces, of which two in a row are nearly the same. The cube has
    no loops that could come back reversed: manifolds without an orientation of their own are as good, and
    neither seams nor poles of charts matter, of which there need be none. What psi does is seen in the
    tangent space at the nearest point, beyond a border too.
    """
    n = len(u)
    share = torch.linspace(0, 1, STEPS + 1, dtype=u.dtype, device=u.device).view(-1, 1, 1)
    way = (0.5 + (u - 0.5) * share).flatten(0, 1)
    frames = space.frame(space.project(psi(way))).double().unflatten(0, (-1, n))
    carried = torch.linalg.det(frames[1:] @ frames[:-1].mT).sign().prod(0)
    side = carried * torch.linalg.det(frames[-1] @ jacobians(psi, u)).sign()
    over = (side < 0).double().mean()
    return torch.minimum(over, 1 - over)


def steps_along(path: Tensor, closed: bool) -> Tensor:
    """Signed steps ``(N - 1,)`` between coordinates in [0, 1) ``(N,)`` that lie close together, of a closed
    curve the short way round.

    >>> steps_along(torch.tensor([0.9, 0.1]), closed=True)
    tensor([0.2000])
    """
    steps = path.diff()
    return steps - steps.round() if closed else steps


def measure_course(path: Tensor, closed: bool, log_length: float) -> Course:
    """How a curve is run along, from the coordinates in [0, 1) ``(N,)`` of many even u from 0 to 1 on it, of
    which the first and the last are the ends."""
    steps = steps_along(path.double(), closed)
    turns = steps.sum()
    ahead = torch.where(turns < 0, -steps, steps)
    # Half a step before the first middle and half a one behind the last.
    within = torch.linspace(0, 1, len(path) - 1, dtype=torch.float64, device=path.device)[1:]
    deviation = path[1:-1].double().sort().values - within
    seam = (path[-1] - path[0]).double().abs()
    seam = torch.minimum(seam, 1 - seam) if closed else 1 - seam
    return Course(
        turns=turns.item(),
        backward=(ahead < 0).double().mean().item(),
        kuiper=min(1.0, (deviation.max() - deviation.min()).item()),
        seam=seam.item() * math.exp(log_length),
    )


@dataclass(frozen=True)
class PushForward:
    """The law that a psi gives a curve, by the coordinate t in [0, 1) along it: ``density (E,)`` of dt, 1 for
    the uniform law, holds from ``start (E,)`` on, in increasing order. Where parts of psi's image lie one on
    the other their densities add: it is the law of psi(u) whether psi is one to one or not. float64."""

    start: Tensor
    density: Tensor

    def log_density(self, t: Tensor) -> Tensor:
        """Logarithm of the density at ``t (...)``; -inf where psi never goes."""
        place = torch.searchsorted(self.start, t.double().contiguous(), right=True) - 1
        return self.density[place.clamp_min(0)].log()


def push_forward(path: Tensor, closed: bool) -> PushForward:
    """The law of points whose coordinates at even u from 0 to 1 are ``path (N,)``: between two of them the
    mass 1 / (N - 1) is spread evenly.

    >>> law = push_forward(torch.tensor([0.0, 0.25, 0.0]), closed=True)  # a quarter, there and back
    >>> law.log_density(torch.tensor([0.1, 0.5])).exp()
    tensor([4., 0.], dtype=torch.float64)
    """
    path = path.double()
    steps = steps_along(path, closed)
    low = torch.where(steps < 0, path[:-1] + steps, path[:-1])
    length = steps.abs().clamp_min(1e-12)  # of steps that stand still: their mass is kept
    height = 1 / (len(steps) * length)
    low = torch.where(low < 0, low + 1, low)
    high = low + length
    over = high > 1  # beyond the seam: what is left begins at 0
    start = torch.cat([torch.zeros_like(low[:1]), low, torch.where(over, 0.0, 1.0), high.clamp_max(1.0)])
    zero = torch.zeros_like(height[:1])
    rise = torch.cat([zero, height, torch.where(over, height, 0.0), -height])
    start = torch.cat([start, torch.where(over, high - 1, 1.0)])
    rise = torch.cat([rise, torch.where(over, -height, 0.0)])
    order = start.argsort()
    start, density = start[order], rise[order].cumsum(0)
    # What is left of sums that cancel is no density.
    return PushForward(start, torch.where(density > 1e-9 * height.max(), density, 0.0))

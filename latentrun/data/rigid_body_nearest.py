"""The pose in which a body looks most like a picture, for many pictures at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.data.rigid_body_render import MARGIN, Renderer, painted
from latentrun.functional.least_squares import levenberg_marquardt
from latentrun.manifolds.so3 import rotation_of

COARSE = 16  # pixels a side of the pictures that the search begins with
SPREAD = 2.5  # standard deviations of the dark pixels that a normalised picture spans to each side
BLOCK = 2**21  # numbers a temporary of one block of fits holds, derivatives included
SLACK = 2.0  # pixels that a body may move in its window
FIRST, NEXT = 8, 16  # starts at first, and so many more where what they lead to is no match
FAINT = 0.08
# Shares of what is dark, as squares, that the best search has missed: above the first more searches begin,
# above the second none goes on, below the third it goes on in float64.
NEAR, LOST, CLOSE = 0.01, 0.3, 0.05
# Derivatives are differences over so much: near a match Gauss-Newton steps need no better ones.
H = {torch.float32: 2e-3, torch.float64: 1e-7}
REACH = 0.4  # largest step, in radians and in lengths
KEPT = 3  # searches of a picture that are followed after the first steps


@dataclass(frozen=True)
class Poses:
    """N poses: ``position (N, 3)``, ``rotation (N, 3, 3)``."""

    position: Tensor
    rotation: Tensor

    def of(self, rows: Tensor) -> Poses:
        return Poses(self.position[rows], self.rotation[rows])

    def put(self, rows: Tensor, poses: Poses) -> None:
        """Take these poses for the given rows."""
        self.position[rows], self.rotation[rows] = poses.position, poses.rotation

    def to(self, dtype: torch.dtype) -> Poses:
        return Poses(self.position.to(dtype), self.rotation.to(dtype))


@dataclass(frozen=True)
class Freedom:
    """What of a pose may change: which of the three places ``moves (3,)`` bool, and the turns, of which the
    rotation vectors are combinations of ``axes (K, 3)``: three unit vectors, one, or none."""

    moves: Tensor
    axes: Tensor

    @property
    def size(self) -> int:
        return int(self.moves.sum()) + len(self.axes)

    def start(self, poses: Poses) -> Tensor:
        """The poses themselves as theta ``(N, size)``."""
        places = poses.position[:, self.moves.to(poses.position.device)]
        return F.pad(places, (0, len(self.axes)))

    def moved(self, poses: Poses, theta: Tensor) -> Poses:
        """Poses with the places of ``theta (N, size)``, turned by the rest of it about axes of the camera."""
        places, moves = int(self.moves.sum()), self.moves.to(theta.device)
        onto = torch.eye(3, dtype=theta.dtype, device=theta.device)
        position = poses.position @ onto[~moves].T @ onto[~moves] + theta[:, :places] @ onto[moves]
        if not len(self.axes):
            return Poses(position, poses.rotation)
        return Poses(position, rotation_of(theta[:, places:] @ self.axes.to(theta)) @ poses.rotation)


@dataclass(frozen=True)
class Table:
    """Pictures of T poses, normalised: see :func:`normalised`."""

    poses: Poses
    pictures: Tensor
    centre: Tensor
    spread: Tensor


class Search:
    """Least squares between pictures and those of ``renderer``, over all that is ``free`` of a pose.

    Searches begin at the poses of a table of ``turns (T, 3, 3)`` at the place ``middle (3,)`` whose pictures,
    brought to equal place and size, are nearest: 8 of them, and 16 more where none of these comes near. They
    take a few steps on pictures of 16 x 16 pixels, the best three a few more. The best of these goes on in
    the whole picture, in a window around the body: in float32, and where it comes close in float64; not at
    all where it has missed too much of the small picture for that to be worth it.
    """

    def __init__(self, renderer: Renderer, free: Freedom, middle: Tensor, turns: Tensor):
        self.renderer, self.free, self.coarse = renderer, free, renderer.sized(COARSE)
        poses = Poses(middle.double().expand(len(turns), 3), turns.double())
        self.table = Table(poses, *normalised(renderer.generate(poses.position, poses.rotation)))

    @torch.no_grad()
    def nearest(self, x: Tensor) -> tuple[Poses, Tensor]:
        """The poses of the pictures ``x (N, size, size)``, float64, and what they miss, ``(N,)``: 1/2 ||x -
        picture||²."""
        small = F.adaptive_avg_pool2d(x.float().unsqueeze(1), COARSE).squeeze(1)
        order = self._order(x.float())
        poses, share = self._rough(x, small, order[:, :FIRST])
        rows = ((share > NEAR) & (share < LOST)).nonzero()[:, 0]
        if len(rows) and order.shape[1] > FIRST:
            again, missed = self._rough(x[rows], small[rows], order[rows, FIRST:])
            poses.put(rows[missed < share[rows]], again.of(missed < share[rows]))
            share[rows] = torch.minimum(share[rows], missed)
        poses = poses.to(torch.float64)
        self._follow(x, poses, share < LOST, torch.float32, 8, 1e-4)
        dark = 0.5 * (1 - x).square().sum((1, 2))
        self._follow(x, poses, self._missed(x, poses) < CLOSE * dark, torch.float64, 15, 1e-6)
        return poses, self._missed(x, poses)

    def _follow(
        self, x: Tensor, poses: Poses, on: Tensor, dtype: torch.dtype, steps: int, tolerance: float
    ) -> None:
        """Go on in the whole pictures from the poses that are ``on (N,)``; they become what is reached."""
        rows = on.nonzero()[:, 0]
        if len(rows):
            start = poses.of(rows).to(dtype)
            fitted, _ = self._fitted(self.renderer, x[rows].to(dtype), start, steps, tolerance, SLACK)
            poses.put(rows, fitted.to(torch.float64))

    def _missed(self, x: Tensor, poses: Poses) -> Tensor:
        """1/2 ||x - picture||² ``(N,)`` of poses."""
        return 0.5 * (self.renderer.render(poses.position, poses.rotation) - x).square().sum((1, 2))

    def _rough(self, x: Tensor, small: Tensor, rows: Tensor) -> tuple[Poses, Tensor]:
        """The best that is reached on small pictures from the poses ``rows (N, K)`` of the table, and the
        share of what is dark there that it misses, as squares ``(N,)``."""
        poses, n = self._placed(x.float(), rows).to(torch.float32), len(x)
        cost = small.new_zeros(n, 1)
        for kept, steps in ((min(KEPT, rows.shape[1]), 4), (1, 8)):
            each = len(poses.position) // n
            which = torch.arange(n, device=x.device).repeat_interleave(each)
            poses, found = self._fitted(self.coarse, small[which], poses, steps, 1e-3, None)
            cost, best = found.view(n, each).topk(kept, largest=False)
            poses = poses.of((best + each * torch.arange(n, device=x.device).unsqueeze(1)).flatten())
        dark = 0.5 * (1 - small).square().sum((1, 2))
        return poses, cost[:, 0] / dark.clamp_min(1e-12)

    def _order(self, x: Tensor) -> Tensor:
        """Rows of the table ``(N, K)``, the most alike first."""
        apart = torch.cdist(normalised(x)[0].flatten(1), self.table.pictures.flatten(1).to(x))
        return apart.topk(min(FIRST + NEXT, apart.shape[1]), largest=False).indices

    def _placed(self, x: Tensor, rows: Tensor) -> Poses:
        """The poses of the table, where in the picture and as large as what is dark there, one after the
        other; float64."""
        _, centre, spread = normalised(x)
        table = self.table
        scale = (spread.unsqueeze(1) / table.spread.to(x)[rows]).unsqueeze(-1)
        middle = table.poses.position[0].to(x.device)
        depth = middle[2] / scale.double()
        # Where the origin of the body's axes is seen: as far from the dark pixels' mean as in the table.
        seen = centre.unsqueeze(1) - scale * table.centre.to(x)[rows]
        position = torch.cat([seen.double() * self.renderer.reach * depth, depth], -1)
        position = torch.where(self.free.moves.to(x.device), position, middle.expand_as(position))
        return Poses(position.flatten(0, 1), table.poses.rotation.to(x.device)[rows].flatten(0, 1))

    def _fitted(
        self, renderer: Renderer, x: Tensor, poses: Poses, steps: int, tolerance: float, slack: float | None
    ) -> tuple[Poses, Tensor]:
        """The best poses near the given ones, and what they miss of ``x (N, side, side)``; with ``slack``
        pixels around the body alone (what lies beyond is counted too)."""
        windows = Windows.of(renderer, poses, slack)
        side = windows.width * windows.height
        step = max(1, BLOCK // (12 * len(renderer.half) * (1 + self.free.size) * side))
        seen = windows.cut(x)
        beyond = (1 - x).square().flatten(1).sum(1) - (1 - seen).square().flatten(1).sum(1)
        h = H[x.dtype]
        steps_aside = h * torch.eye(1 + self.free.size, dtype=x.dtype, device=x.device)[:, 1:].unsqueeze(1)

        def block(theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            tried = (theta + steps_aside).flatten(0, 1)  # theta itself, and h along each of its axes
            at = rows.repeat(1 + self.free.size)
            moved = self.free.moved(poses.of(at), tried)
            scene = renderer.scene(moved.position, moved.rotation).seen_from(windows.corner[at].to(theta))
            values = painted(scene, *windows.middles(theta)).flatten(1).unflatten(0, (-1, len(rows)))
            missed, slopes = values[0] - seen[rows].flatten(1), ((values[1:] - values[:1]) / h).movedim(0, 1)
            cost = 0.5 * (missed.square().sum(1) + beyond[rows])
            return cost, (slopes @ missed.unsqueeze(-1)).squeeze(-1), slopes @ slopes.mT

        def normal(theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            parts = zip(theta.split(step), rows.split(step), strict=True)
            cost, gradient, gram = zip(*(block(*part) for part in parts), strict=True)
            return torch.cat(cost), torch.cat(gradient), torch.cat(gram)

        low, high = self._bounds(x)
        fit = levenberg_marquardt(normal, self.free.start(poses), low, high, steps, tolerance, REACH)
        return self.free.moved(poses, fit.theta), fit.cost

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Ends ``(size,)`` of theta: the camera stays outside of the body, a turn has at most a round."""
        moves, turn = self.free.moves, torch.full((len(self.free.axes),), 2 * math.pi)
        low = torch.tensor([-math.inf, -math.inf, 1.2 * self.renderer.radius])[moves]
        high = torch.full((3,), math.inf)[moves]
        return torch.cat([low, -turn]).to(like), torch.cat([high, turn]).to(like)


@dataclass(frozen=True)
class Windows:
    """Parts of pictures of ``width`` x ``height`` pixels whose lower left ends are ``corner (N, 2)``, columns
    and rows from the picture's centre; ``size`` of the whole."""

    corner: Tensor
    width: int
    height: int
    size: int

    @classmethod
    def of(cls, renderer: Renderer, poses: Poses, slack: float | None) -> Windows:
        """Around the bodies and ``slack`` pixels more; without it the whole pictures."""
        size, n = renderer.size, len(poses.position)
        if slack is None or not n:
            return cls(poses.position.new_full((n, 2), -size / 2), size, size, size)
        ends = renderer.scene(poses.position, poses.rotation).ends
        low = (ends[0].amin((0, 1)) - MARGIN - slack + size / 2).floor().clamp(0, size - 1)
        high = (ends[1].amax((0, 1)) + MARGIN + slack + size / 2).ceil().clamp(1, size)
        width, height = (high - low).amax(0).clamp_min(1).tolist()
        corner = torch.minimum(low, size - low.new_tensor([width, height]))
        return cls(corner - size / 2, int(width), int(height), size)

    def middles(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Columns and rows of the middles of pixels, from the corner."""
        return torch.arange(self.width).to(like) + 0.5, torch.arange(self.height).to(like) + 0.5

    def cut(self, x: Tensor) -> Tensor:
        """The parts ``(N, height, width)``, rows from below, of pictures ``(N, size, size)``, rows from
        above."""
        first = (self.corner + self.size / 2).long()
        row = self.size - 1 - first[:, 1:] - torch.arange(self.height, device=x.device)
        column = first[:, :1] + torch.arange(self.width, device=x.device)
        at = torch.arange(len(x), device=x.device).view(-1, 1, 1)
        return x[at, row.unsqueeze(-1), column.unsqueeze(1)]


def normalised(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What is dark in pictures ``(N, size, size)``, brought to equal place and size ``(N, 16, 16)``; its mean
    ``(N, 2)`` to the right and up, in [-1, 1], and its standard deviation ``(N,)`` in the same unit."""
    size = x.shape[-1]
    # Means over 3 x 3 pixels, less what noise of sd 0.05 leaves there: it would be dark everywhere.
    dark = (F.avg_pool2d((1 - x).unsqueeze(1), 3, 1, 1).squeeze(1) - FAINT).clamp_min(0)
    at = (torch.arange(size, device=x.device, dtype=x.dtype) + 0.5) * 2 / size - 1
    mass = dark.sum((1, 2)).clamp_min(1e-6)
    column, row = dark.sum(1) @ at / mass, -(dark.sum(2) @ at) / mass
    square = (dark.sum(1) @ at.square() + dark.sum(2) @ at.square()) / mass
    spread = (square - column.square() - row.square()).clamp_min(4 / size**2).sqrt()
    scale, none = SPREAD * spread, torch.zeros_like(spread)
    affine = torch.stack([scale, none, column, none, scale, -row], 1).view(-1, 2, 3)
    grid = F.affine_grid(affine, [len(x), 1, COARSE, COARSE], align_corners=False)
    pictures = F.grid_sample(dark.unsqueeze(1), grid, align_corners=False).squeeze(1)
    return pictures, torch.stack([column, row], 1), spread

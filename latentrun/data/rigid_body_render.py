"""A body of boxes, drawn in perspective: which faces are seen, where their edges run, how light they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# Numbers that temporaries of one part of the pictures hold: what two cores share best. Never by the number of
# threads, on which the rows of a data set must not hang.
CHUNK = 2**22
MARGIN = 1.5  # pixels around the corners of a body that it may colour
RING = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))  # a face's corners, along its two edges


@dataclass(frozen=True)
class Box:
    """``centre`` and half the edges ``half`` in the axes of the body. A box other than the first stands on
    the face of the first that points along ``axis`` to the ``side`` -1 or 1, within that face's border."""

    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    axis: int = 0
    side: int = 0


# No turn takes it to itself, and no picture of one pose is that of another.
BODY = (
    Box((0.0, 0.0, 0.0), (0.62, 0.38, 0.26)),
    Box((0.26, 0.58, -0.06), (0.22, 0.20, 0.14), axis=1, side=1),
    Box((-0.36, -0.12, 0.46), (0.14, 0.18, 0.20), axis=2, side=1),
)


@dataclass(frozen=True)
class Scene:
    """Faces of N bodies with B boxes each, at most three of a box being seen: coefficients ``lines (4, B, 3,
    N, 3)`` of column, row (pixels to the right of and above the picture's centre) and 1 in ½ + the distance
    in pixels of a point from each edge, positive inside; ``bend (B, 3, N)``, see :func:`coverage`; ``dark (B,
    3, N)`` = 1 - grey; boxes in the order in which nearer ones hide farther ones; ``ends (2, B, 3, N, 2)``
    lowest and highest column and row of each face's corners."""

    lines: Tensor
    bend: Tensor
    dark: Tensor
    ends: Tensor

    def of(self, rows: Tensor) -> Scene:
        """The bodies ``rows (n,)`` alone."""
        return Scene(
            self.lines[:, :, :, rows], self.bend[..., rows], self.dark[..., rows], self.ends[:, :, :, rows]
        )

    def seen_from(self, corner: Tensor) -> Scene:
        """With columns and rows counted from ``corner (N, 2)``."""
        slope, rest = self.lines.split([2, 1], -1)
        lines = torch.cat([slope, rest + (slope * corner).sum(-1, keepdim=True)], -1)
        return Scene(lines, self.bend, self.dark, self.ends - corner)

    def to(self, dtype: torch.dtype) -> Scene:
        return Scene(*(values.to(dtype) for values in (self.lines, self.bend, self.dark, self.ends)))


class Renderer:
    """Pictures of ``boxes`` before white by a pinhole camera: its place is the origin, x points to the right,
    y up, z (the depth) ahead; the picture spans x / z and y / z in [-``reach``, ``reach``].

    Grey of a face = ``albedo`` (``ambient`` + (1 - ``ambient``) max(0, n l)), n its outward normal, l the
    unit vector to the far ``light`` (Lambert); no shadows are cast. A pixel is the mean over a square of side
    1, to about a hundredth of grey (0.2 in single pixels, where edges of two boxes are less than a pixel
    apart): see :func:`coverage`. Boxes hide each other as wholes, the nearer one
    painted over the farther: the plane of the face that a box stands on tells which is the nearer.

    Works in the dtype and on the device of the poses. Lengths in units of the boxes.
    """

    def __init__(
        self,
        boxes: Sequence[Box],
        size: int,
        reach: float,
        light: Sequence[float],
        ambient: float,
        albedo: float,
    ):
        self.size, self.reach, self.ambient, self.albedo = size, reach, ambient, albedo
        self.boxes, self.towards = tuple(boxes), tuple(light)
        double = torch.float64
        self.centre = torch.tensor([box.centre for box in boxes], dtype=double)
        self.half = torch.tensor([box.half for box in boxes], dtype=double)
        self.light = torch.nn.functional.normalize(torch.tensor(list(light), dtype=double), dim=0)
        self.axis = torch.tensor([box.axis for box in boxes])
        side = torch.tensor([box.side for box in boxes], dtype=double)
        self.side, self.plane = side, self.half[0][self.axis] * side.abs()

    def sized(self, size: int) -> Renderer:
        """The same with so many pixels a side."""
        return Renderer(self.boxes, size, self.reach, self.towards, self.ambient, self.albedo)

    @property
    def radius(self) -> float:
        """Distance of the farthest corner from the origin of the body's axes."""
        return (self.centre.abs() + self.half).norm(dim=1).max().item()

    # ---------------------------------------------------------------- geometry
    def scene(self, position: Tensor, rotation: Tensor) -> Scene:
        """Bodies at ``position (N, 3)``, turned by ``rotation (N, 3, 3)`` from the axes of the body to those
        of the camera."""
        centre, half, light = (values.to(position) for values in (self.centre, self.half, self.light))
        eye = -(position.unsqueeze(1) @ rotation).squeeze(1)  # the camera in the axes of the body
        away = eye.unsqueeze(1) - centre
        side = torch.where(away < 0, -1.0, 1.0).to(position)  # which of two opposite faces may be seen
        seen = away.abs() > half
        step = torch.diag_embed(half)  # (B, axis, 3)
        along, across = step.roll(-1, 1), step.roll(-2, 1)
        middle = centre.unsqueeze(1) + side.unsqueeze(-1) * step
        corner = torch.stack([middle + a * along + b * across for a, b in RING], 0)  # (4, N, B, 3, 3)
        point = position[:, None, None] + corner @ rotation.mT.unsqueeze(1)
        pixel = point[..., :2] / point[..., 2:] * (self.size / (2 * self.reach))
        lines = self._lines(pixel, side) * seen.unsqueeze(-1)
        bend = torch.asin((lines[0, ..., :2] * lines[1, ..., :2]).sum(-1).clamp(-0.999, 0.999)) * (
            8 / math.pi
        )
        normal = side.unsqueeze(-1) * rotation.mT.unsqueeze(1)
        lit = (normal @ light).clamp_min(0)
        dark = 1 - self.albedo * (self.ambient + (1 - self.ambient) * lit)
        order = self._order(eye)
        ends = torch.stack([pixel.amin(0), pixel.amax(0)])
        return Scene(*(_sorted(values, order) for values in (lines, bend, dark, ends)))

    def _lines(self, pixel: Tensor, side: Tensor) -> Tensor:
        """``(4, N, B, 3, 3)`` of corners ``pixel (4, N, B, 3, 2)``."""
        edge = pixel.roll(-1, 0) - pixel
        # The axes of the body in cyclic order turn to the left, in the picture (z ahead) to the right.
        edge = edge / -(side * edge.square().sum(-1).clamp_min(1e-12).sqrt()).unsqueeze(-1)
        inward = torch.stack([-edge[..., 1], edge[..., 0]], -1)
        return torch.cat([inward, 0.5 - (inward * pixel).sum(-1, keepdim=True)], -1)

    def _order(self, eye: Tensor) -> Tensor:
        """The boxes from the farthest to the nearest, ``(N, B)``: one that stands on a face is hidden by all
        others if the camera is behind the plane of that face, and else hides them."""
        side, plane = self.side.to(eye), self.plane.to(eye)
        before = side * eye[:, self.axis.to(eye.device)] > plane
        rank = torch.where(side == 0, 0, torch.where(before, 1, -1))
        return rank.argsort(dim=1, stable=True)

    # ---------------------------------------------------------------- pictures
    def render(self, position: Tensor, rotation: Tensor) -> Tensor:
        """Pictures ``(N, size, size)``; differentiable in position and rotation: everywhere but in poses in
        which an edge of a face comes to lie on the border of a pixel's reach, and where a face turns away
        from the light; the derivative is then that of one side."""
        middle = torch.arange(self.size).to(position) + 0.5 - self.size / 2
        step = self._at_once(self.size, position)
        parts = zip(position.split(step), rotation.split(step), strict=True)
        return torch.cat([painted(self.scene(*part), middle, middle.flip(0)) for part in parts])

    @torch.no_grad()
    def generate(self, position: Tensor, rotation: Tensor) -> Tensor:
        """The same of float64 poses as float32, drawn only where the bodies are, for all of one size at
        once: for many pictures."""
        n, size = len(position), self.size
        pictures = torch.ones(n, size, size, dtype=torch.float32, device=position.device)
        scene = self.scene(position, rotation)
        low = (scene.ends[0].amin((0, 1)) - MARGIN + size / 2).floor().clamp(0, size - 1).long()
        high = (scene.ends[1].amax((0, 1)) + MARGIN + size / 2).ceil().clamp(1, size).long()
        longest, order = (high - low).amax(1).sort()
        sides, start = longest.tolist(), 0
        while start < n:
            rows = order[start : start + self._at_once(sides[start], position)]
            start += len(rows)
            extent = (high[rows] - low[rows]).amax(0)
            corner = torch.minimum(low[rows], size - extent)  # lowest column and row of the part drawn
            middles = (torch.arange(int(side), device=rows.device) + 0.5 for side in extent)
            drawn = painted(scene.of(rows).seen_from(corner - size / 2).to(torch.float32), *middles)
            self._paste(pictures, rows, corner, drawn)
        return pictures

    def _at_once(self, side: int, like: Tensor) -> int:
        """How many pictures of ``side`` x ``side`` pixels are drawn together."""
        return max(1, (2**27 if like.is_cuda else CHUNK) // (12 * len(self.half) * side**2))

    def _paste(self, pictures: Tensor, rows: Tensor, corner: Tensor, drawn: Tensor) -> None:
        """Put ``drawn (n, h, w)``, rows from below, from column and row ``corner (n, 2)`` on."""
        size, (height, width) = self.size, drawn.shape[1:]
        row = size - 1 - corner[:, 1:] - torch.arange(height, device=rows.device)  # counted from above
        column = corner[:, :1] + torch.arange(width, device=rows.device)
        place = (rows.unsqueeze(1) * size + row).unsqueeze(-1) * size + column.unsqueeze(1)
        pictures.view(-1)[place.flatten()] = drawn.flatten()


def _sorted(values: Tensor, order: Tensor) -> Tensor:
    """``(..., N, B, 3)`` or ``(K, N, B, 3, C)`` as ``(..., B, 3, N)`` or ``(K, B, 3, N, C)`` in the given
    order of the boxes ``(N, B)``."""
    lead = 0 if values.dim() == 3 else 1
    index = order.view(*[1] * lead, *order.shape, *[1] * (values.dim() - lead - 2)).expand(values.shape)
    return values.gather(lead + 1, index).movedim(lead, lead + 2)


def coverage(scene: Scene, column: Tensor, row: Tensor) -> Tensor:
    """The share of each pixel that faces cover ``(B, 3, N, H, W)``, by the ``column (W,)`` and ``row (H,)``
    of its middle.

    Between two opposite edges it is h(a) + h(b) - 1, with h = ½ + the distance from an edge, cut to [0, 1]:
    exact for edges along an axis, and shares of faces that meet in an edge add up to 1. The product of both
    pairs of edges is that of the face, but ¼ at each corner; ``bend`` = 8 / pi asin(-cos(angle)) makes the
    corner's share angle / 2 pi. No face reaches more than 1½ pixels beyond its corners: of one that is seen
    from the side all four edges are one line.
    """
    y, x = torch.meshgrid(row, column, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    near = (scene.lines.flatten(0, -2) @ grid).unflatten(0, scene.lines.shape[:-1]).clamp_(0, 1)
    first, second = (near[:2] + near[2:]).sub_(1).clamp_min_(0).unbind(0)
    one, other = (near[2:] - near[:2]).unbind(0)
    bent = torch.addcmul(torch.ones_like(scene.bend).unsqueeze(-1), one * scene.bend.unsqueeze(-1), other)
    share = (first * second).mul(bent).clamp_min_(0).unflatten(-1, x.shape)
    low, high = (scene.ends + scene.ends.new_tensor([[-MARGIN], [MARGIN]])[:, None, None, None]).unsqueeze(-1)
    across, up = (
        (at - low[..., i, :]).clamp(0, 1) * (high[..., i, :] - at).clamp(0, 1)
        for i, at in enumerate((column, row))
    )
    return share * across.unsqueeze(-2) * up.unsqueeze(-1)


def painted(scene: Scene, column: Tensor, row: Tensor) -> Tensor:
    """Pictures ``(N, H, W)`` of a scene at the pixels whose middles are at these columns and rows."""
    share = coverage(scene, column, row)
    lit, bare = (share * scene.dark[..., None, None]).sum(1), 1 - share.sum(1)
    dark = lit[0]
    for i in range(1, len(lit)):
        dark = torch.addcmul(lit[i], dark, bare[i])
    return 1 - dark

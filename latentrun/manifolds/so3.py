"""Rotations of space."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from latentrun.manifolds.angles import TURN, length, root, share
from latentrun.manifolds.base import Charted, Symmetric
from latentrun.manifolds.sphere import rotation, sphere
from latentrun.types import Factor

if TYPE_CHECKING:
    from latentrun.functional.noise import Noise

CHORD = math.sqrt(2)  # length in R^9 of a turn by one radian: the squares of a skew matrix count twice


class SO3(Charted, Symmetric):
    """SO(3): rotation matrices, row by row as 9 coordinates, ``so3`` in short. A decoder can be continuous in
    them, as in no three or four numbers (Zhou et al. 2019, arXiv 1812.07035).

    The metric is that of R^9, in which a turn by an angle has the length sqrt(2) times the angle: distances
    are at most sqrt(2) pi and the volume is 2^(3/2) 8 pi² = 16 sqrt(2) pi². The chart is that of Euler's
    angles Rz(alpha) Ry(beta) Rz(gamma), uniform in alpha, cos(beta) and gamma. The group acts from the left.

    >>> quarter = rotation_of(torch.tensor([0.0, 0.0, torch.pi / 2])).flatten()
    >>> SO3().distance(torch.eye(3).flatten(), quarter) / CHORD
    tensor(1.5708)
    """

    dim, ambient_dim, name = 3, 9, "so3"
    betti = (1, 1, 1, 1)  # over Z/2: it is the projective space RP³
    log_volume = math.log(16 * CHORD * math.pi**2)
    group_features = 6
    coordinates = (
        Factor("alpha", "cyclic", 0.0, TURN, "rad"),
        Factor("cos_beta", "real", -1.0, 1.0),
        Factor("gamma", "cyclic", 0.0, TURN, "rad"),
    )

    def project(self, z: Tensor) -> Tensor:
        m = matrix(z)
        with torch.no_grad():
            left, scale, right = torch.linalg.svd(m)
            sign = torch.ones_like(scale)
            sign[..., 2] = torch.linalg.det(left @ right)
            nearest = ((left * sign.unsqueeze(-2)) @ right).detach()
            stretch, axes = (scale * sign).detach(), right.mT.detach()
        # Singular values that are equal leave their vectors open, so no gradient passes through them. One
        # step of Newton's, which is 0 here, has that of the nearest rotation: with nearest^T m = S symmetric,
        # (tr(S) - S) w = vee(nearest^T m - its transpose).
        turned = nearest.mT @ m
        sums = (stretch.sum(-1, keepdim=True) - stretch).clamp_min(torch.finfo(z.dtype).eps)
        w = (axes @ ((axes.mT @ vee(turned - turned.mT).unsqueeze(-1)) / sums.unsqueeze(-1))).squeeze(-1)
        return (nearest @ rotation_of(w)).flatten(-2)

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        return CHORD * length(vector_of(matrix(a).mT @ matrix(b)))

    def exp(self, z: Tensor, v: Tensor) -> Tensor:
        across = matrix(z).mT @ matrix(v)
        return (matrix(z) @ rotation_of(0.5 * vee(across - across.mT))).flatten(-2)

    def log(self, a: Tensor, b: Tensor) -> Tensor:
        return (matrix(a) @ hat(vector_of(matrix(a).mT @ matrix(b)))).flatten(-2)

    def tangent(self, z: Tensor, v: Tensor) -> Tensor:
        across = matrix(z).mT @ matrix(v)
        return (matrix(z) @ (0.5 * (across - across.mT))).flatten(-2)

    def frame(self, z: Tensor) -> Tensor:
        axes = hat(torch.eye(3, dtype=z.dtype, device=z.device)) / CHORD
        return (matrix(z).unsqueeze(-3) @ axes).flatten(-2)

    def drawn(self, z: Tensor) -> Tensor | None:
        """Axis times angle: a ball of radius pi, of whose surface opposite points are one."""
        return vector_of(matrix(z))

    def outline(self) -> Tensor | None:
        surface = sphere(2).outline()
        return None if surface is None else math.pi * surface

    def sample(self, n: int, noise: Noise) -> Tensor:
        """Unit quaternions uniform on S³ (Shoemake 1992)."""
        return rotation_of_quaternion(F.normalize(noise.normal("so3", (n, 4)), dim=-1)).flatten(-2)

    def embed(self, u: Tensor) -> Tensor:
        alpha, height, gamma = u.unbind(-1)
        half = root(height * (1 - height))
        beta = torch.stack([2 * height - 1, 2 * half], dim=-1)
        turns = _about(2, TURN * alpha), _tilt(beta), _about(2, TURN * gamma)
        return (turns[0] @ turns[1] @ turns[2]).flatten(-2)

    def unembed(self, z: Tensor) -> Tensor:
        m = matrix(z)
        alpha = share(m[..., 1, 2], m[..., 0, 2])
        # Turned back by alpha the second row is (sin gamma, cos gamma, 0), at the poles too.
        back = _about(2, -TURN * alpha) @ m
        # The angle keeps digits near the poles where its cosine loses them.
        beta = torch.atan2(length(m[..., :2, 2]), m[..., 2, 2])
        return torch.stack(
            [alpha, (beta / 2).cos().square(), share(back[..., 1, 0], back[..., 1, 1])], dim=-1
        )

    def act(self, g: Tensor, z: Tensor) -> Tensor:
        return (rotation(g, 3) @ matrix(z)).flatten(-2)


# ---------------------------------------------------------------- matrices, vectors, quaternions
def matrix(z: Tensor) -> Tensor:
    """``(..., 9)`` as ``(..., 3, 3)``."""
    return z.unflatten(-1, (3, 3))


def hat(w: Tensor) -> Tensor:
    """The skew matrices ``(..., 3, 3)`` that take x to w x x, of vectors ``w (..., 3)``."""
    x, y, z = w.unbind(-1)
    none = torch.zeros_like(x)
    return torch.stack([none, -z, y, z, none, -x, -y, x, none], dim=-1).unflatten(-1, (3, 3))


def vee(skew: Tensor) -> Tensor:
    """The vectors ``(..., 3)`` of skew matrices ``(..., 3, 3)``: the inverse of :func:`hat`."""
    return torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], dim=-1)


def rotation_of(w: Tensor) -> Tensor:
    """Rotations ``(..., 3, 3)`` about ``w (..., 3)`` by the angle |w| in radians (Rodrigues' formula)."""
    angle = length(w)[..., None, None]
    k = hat(w)
    turn = torch.sinc(angle / math.pi)
    # (1 - cos t) / t² = sinc²(t / 2) / 2 loses no digits.
    bend = torch.sinc(angle / TURN).square() / 2
    return torch.eye(3, dtype=w.dtype, device=w.device) + turn * k + bend * (k @ k)


def vector_of(m: Tensor) -> Tensor:
    """Axis times angle in [0, pi] ``(..., 3)`` of rotations ``m (..., 3, 3)``; accurate for all angles. Of a
    half turn either of the two vectors."""
    q = quaternion_of(m)
    scalar, vector = q[..., 0], q[..., 1:]
    size = length(vector)
    # angle / sin(angle / 2) tends to 2 for small angles.
    small = size < 1e-4
    safe = torch.where(small, torch.ones_like(size), size)
    ratio = 2 * torch.atan2(safe, scalar) / safe
    return vector * torch.where(small, 2 + size.square() / 3, ratio).unsqueeze(-1)


def quaternion_of(m: Tensor) -> Tensor:
    """Unit quaternions ``(..., 4)``, scalar first and >= 0, of rotations ``(..., 3, 3)``."""
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    # 4 q q^T; its row with the largest diagonal is q but for its length and sign.
    x, y, z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    squares = torch.stack([1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c], dim=-1)
    w2, x2, y2, z2 = squares.unbind(-1)
    rows = torch.stack([w2, x, y, z, x, x2, xy, xz, y, xy, y2, yz, z, xz, yz, z2], dim=-1)
    rows = rows.unflatten(-1, (4, 4))
    largest = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    q = F.normalize(rows.gather(-2, largest).squeeze(-2), dim=-1)
    return torch.where(q[..., :1] < 0, -q, q)


def rotation_of_quaternion(q: Tensor) -> Tensor:
    """Rotations ``(..., 3, 3)`` of unit quaternions ``(..., 4)``, scalar first."""
    k = hat(q[..., 1:])
    return torch.eye(3, dtype=q.dtype, device=q.device) + 2 * (q[..., :1, None] * k + k @ k)


def _about(axis: int, angle: Tensor) -> Tensor:
    """Rotations about a coordinate axis."""
    direction = torch.eye(3, dtype=angle.dtype, device=angle.device)[axis]
    return rotation_of(angle.unsqueeze(-1) * direction)


def _tilt(beta: Tensor) -> Tensor:
    """Rotations about the second axis by angles given as (cos, sin) ``(..., 2)``."""
    cos, sin = beta.unbind(-1)
    none, one = torch.zeros_like(cos), torch.ones_like(cos)
    return torch.stack([cos, none, sin, none, one, none, -sin, none, cos], dim=-1).unflatten(-1, (3, 3))

"""Elliptical densities drawn on a grid: pictures of (r, v1, v2), and of what else a radial profile depends
on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

CHUNK = 2**18  # numbers a temporary holds, so that a CPU's cache keeps it; a GPU takes 2**27
# log of the least pixel drawn; below it float32 is subnormal and twenty times slower to compute
FAINTEST = -87.0

# log g(q) and its derivative with respect to q (a shape that broadcasts), for q (n, P) and further factors
# (n, F - 3) or (1, F - 3)
Profile = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Ellipses:
    """Pictures g(q(p)) / max_p g(q(p)) of q(p) = p^T S^-1 p, S = [[v1, r sqrt(v1 v2)], [r sqrt(v1 v2), v2]].

    p runs over ``size`` x ``size`` evenly spaced points of [-extent, extent]^2, ends included; columns follow
    the first component to the right, the first row is the second component's +extent. The maximum is the one
    on the grid, not the analytic peak (an even grid has no point at the origin). Factors are r, v1, v2 and
    those that the decreasing radial ``profile`` g depends on. ``ranges``: (low, high) of r, v1, v2 where one
    asks for members within them.

    >>> family = Ellipses(3, 1.0, [(-0.9, 0.9), (0.5, 2.0), (0.5, 2.0)], normal)
    >>> family.render(torch.tensor([[0.0, 1.0, 1.0]]))[0, 0]  # exp(-(x² + y²) / 2)
    tensor([[0.3679, 0.6065, 0.3679],
            [0.6065, 1.0000, 0.6065],
            [0.3679, 0.6065, 0.3679]])
    """

    def __init__(self, size: int, extent: float, ranges: Sequence[tuple[float, float]], profile: Profile):
        self.size, self.extent, self.given, self.profile = size, extent, tuple(ranges), profile

    def ranges(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends ``(3,)`` of (r, v1, v2), in the dtype and on the device of ``like``."""
        low, high = zip(*self.given, strict=True)
        return like.new_tensor(low), like.new_tensor(high)

    def basis(self, like: Tensor) -> Tensor:
        """x^2, xy, y^2 ``(3, P)`` on the first half of the pixels, P = ceil(size^2 / 2): p and -p look alike,
        and pixel k is the mirror image of pixel size^2 - 1 - k."""
        side = torch.linspace(-self.extent, self.extent, self.size, dtype=torch.float64)
        y, x = torch.meshgrid(-side, side, indexing="ij")
        return torch.stack([x * x, x * y, y * y]).flatten(1)[:, : (self.size**2 + 1) // 2].to(like)

    def half(self, factors: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor:
        """Half pictures ``(N, P)`` in ``dtype``; the quadratic form, whose terms cancel, in the dtype of
        ``factors``."""
        further = factors[:, 3:].to(dtype)
        q = (forms(*factors[:, :3].unbind(1)) @ basis).to(dtype)
        top = self.profile(q.amin(1, keepdim=True), further)[0]
        return (self.profile(q, further)[0] - top).clamp(min=FAINTEST).exp()

    def render(self, factors: Tensor) -> Tensor:
        """Pictures ``(N, 1, size, size)`` of factors ``(N, F)`` with v1, v2 > 0 and |r| < 1;
        differentiable."""
        half = self.half(factors, self.basis(factors), factors.dtype)
        whole = torch.cat([half, half[:, : self.size**2 // 2].flip(1)], 1)
        return whole.unflatten(1, (1, self.size, self.size))

    @torch.no_grad()
    def generate(self, factors: Tensor) -> Tensor:
        """float32 pictures ``(N, 1, size, size)`` of float64 factors ``(N, F)`` on the CPU, a cache-sized
        chunk at a time."""
        # numpy asks for huge pages; the page faults of torch.empty would take twice as long as the pictures.
        x = torch.from_numpy(np.empty((len(factors), self.size**2), np.float32))
        basis, step = self.basis(factors), max(1, CHUNK // self.size**2)
        for part, rows in zip(x.split(step), factors.split(step), strict=True):
            half = self.half(rows, basis, torch.float32)
            part[:, : half.shape[1]] = half
            part[:, half.shape[1] :] = half[:, : self.size**2 // 2].flip(1)
        return x.unflatten(1, (1, self.size, self.size))


def normal(q: Tensor, further: Tensor) -> tuple[Tensor, Tensor]:
    """The normal density: log g(q) = -q / 2, ``(n, P)``, and its slope."""
    return -0.5 * q, q.new_tensor(-0.5)


def student(degrees: Sequence[float]) -> Profile:
    """The bivariate t density with scale matrix S: log g(q) = -(nu + 2) / 2 log(1 + q / nu); the further
    factor ``(n, 1)`` says which of the ``degrees`` of freedom nu is."""

    def profile(q: Tensor, further: Tensor) -> tuple[Tensor, Tensor]:
        nu = q.new_tensor(degrees)[further.long()]
        return -(nu + 2) / 2 * (q / nu).log1p(), -(nu + 2) / 2 / (nu + q)

    return profile


def forms(correlation: Tensor, v1: Tensor, v2: Tensor) -> Tensor:
    """Coefficients ``(N, 3)`` of q on x^2, xy, y^2, of ``correlation``, ``v1``, ``v2 (N,)``.

    >>> forms(*torch.tensor([[0.0], [2.0], [4.0]]))  # x²/2 + y²/4
    tensor([[0.5000, -0.0000, 0.2500]])
    """
    s = 1 / ((1 - correlation) * (1 + correlation))
    return torch.stack([s / v1, -2 * correlation * s / (v1 * v2).sqrt(), s / v2], 1)

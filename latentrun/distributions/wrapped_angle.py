"""How far from their centre points of a wrapped normal law lie: one angle, by which the law's density and its
divergence are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from latentrun.functional.special.splines import Tabled
from latentrun.manifolds import Sphere
from latentrun.manifolds.angles import TURN

WIDEST = math.pi  # wider ones wind around so often that the law becomes that of a random angle
BEYOND = 1.01 * WIDEST  # where the table ends: the pi of float32 is the larger one
KNOTS = 512  # scales at which the divergence is tabled, times sqrt(m)
LEAST = 1e-6  # scale that stands for 0 there


@dataclass(frozen=True)
class Angles:
    """The images under an exponential map of N(0, scale² I) in the tangent space, of dimension ``m``, by
    their angle t from its origin, scale at most pi.

    A point at t has the images t + 2 pi k along its geodesic, and the density
        p(t) = sum_k N_m(t + 2 pi k; 0, scale²) |t + 2 pi k|^(m - 1) / (sin(c t) / c)^(m - 1)
    against the volume in the metric whose distances are t, of logarithm ``log_volume``; ``c`` = 1 on spheres
    and c = ½ for rotations (m = 3). It has poles where all geodesics meet again, at t = pi on spheres and, of
    the images, at t = 0.
    """

    m: int
    c: float
    log_volume: float

    def log_ratio(self, t: Tensor, scale: Tensor, least: float) -> Tensor:
        """ln of p(t) times the volume, float64, of ``t`` and ``scale`` whose shapes broadcast. Poles are cut
        off where a sine is ``least``."""
        # |v| <= scale (sqrt(m) + 9) but for a share of 1e-18.
        turns = math.ceil(WIDEST * (math.sqrt(self.m) + 9) / TURN)
        k = torch.arange(-turns, turns + 1, dtype=t.dtype, device=t.device)
        images = t.unsqueeze(-1) + TURN * k
        sine = torch.sin(self.c * t).clamp_min(least) / self.c
        # The image k = 0 at t = 0 has the limit 1.
        stretch = torch.where(
            images == 0,
            torch.zeros_like(images),
            images.abs().clamp_min(1e-300).log() - sine.log().unsqueeze(-1),
        )
        exponent = -0.5 * (images / scale.unsqueeze(-1)).square() + (self.m - 1) * stretch
        constant = self.log_volume - 0.5 * self.m * math.log(TURN)
        return torch.logsumexp(exponent, -1) - self.m * scale.log() + constant

    def divergence(self, scale: Tensor) -> Tensor:
        """KL ``(*batch)`` from the uniform law in nats, float64, of ``scale (*batch)``: int_0^pi q(t)
        ln(q(t) / u(t)) dt of the law q of the angle and that of uniform points, u, by equal steps in the
        logit of t / pi.

        >>> narrow = torch.tensor(1e-3, dtype=torch.float64)
        >>> volume = math.log(4 * math.pi)
        >>> flat = volume - math.log(2 * math.pi * math.e) - 2 * narrow.log()  # less the entropy of N_2
        >>> (Angles(2, 1.0, volume).divergence(narrow) - flat).abs() < 1e-6
        tensor(True)
        """
        t, weight = (values.to(scale.device) for values in _rule(self.m))
        ratio = self.log_ratio(t, scale.double().unsqueeze(-1), torch.finfo(torch.float64).eps)
        log_uniform = (self.m - 1) * (torch.sin(self.c * t) / self.c).log() - self.log_volume
        log_sphere = Sphere(self.m - 1).log_volume  # of directions
        q = torch.exp(ratio + log_uniform + log_sphere)
        return q * ratio @ weight


class Divergence:
    """:meth:`Angles.divergence` of scales up to ``WIDEST``, by one place of a spline where the integral is
    one of thousands of images; error below 1e-6 (tested up to m = 100).

    What is tabled is divergence + m ln scale, smooth down to 0. Points lie at angles of about sqrt(m) scale,
    so that it waves as sqrt(m) scale winds around the space: as much closer are the knots.
    """

    def __init__(self, angles: Angles):
        self.m = angles.m

        def smooth(scale: Tensor) -> Tensor:
            scale = scale.clamp_min(LEAST)
            return angles.divergence(scale) + angles.m * scale.log()

        self.table = Tabled(smooth, BEYOND, math.ceil(KNOTS * math.sqrt(angles.m)))

    def __call__(self, scale: Tensor) -> Tensor:
        scale = scale.double()
        return self.table(scale) - self.m * scale.log()


@cache
def divergence_of(angles: Angles) -> Divergence:
    """One table of each law."""
    return Divergence(angles)


@cache
def _rule(m: int) -> tuple[Tensor, Tensor]:
    """Nodes t in (0, pi) and weights ``(n,)``, float64."""
    with torch.inference_mode(False):
        step = min(0.15, 0.35 / math.sqrt(m))
        logit = torch.arange(-34, 34, step, dtype=torch.float64)
        y = logit.sigmoid()
        return math.pi * y, math.pi * step * y * (-logit).sigmoid()

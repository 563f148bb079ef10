"""Families of laws of one variable, sampled by their quantile function: T(e; tau) with F(T; tau) = Phi(e), so
that a standard normal e becomes a draw T, and dT/dtau at fixed e is the implicit reparameterisation gradient
-(dF/dtau) / f (Figurnov et al. 2018, arXiv 1805.08498, eq. 6).

Inversion is done once on a grid of (e, tau), exactly (:func:`invert`); between its nodes T is a bicubic
spline, so values and gradients are those of one smooth function. For the families in use the distribution
function of draws is then right to 1e-7, as float32 normal numbers themselves are, and so are gradients of
expectations (tests hold it); unlike draws by rejection, nothing depends on the other rows of a batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from latentrun.functional.special.splines import BASIS, Resident, place, powers, spline

REACH = 7.0  # table of e in -REACH ... REACH; beyond lies a share of 3e-12
KNOTS_E, KNOTS_TAU = 256, 256  # intervals
AT_ONCE = 4096  # draws at a time: what they gather stays in the cache
PANELS = 160  # of the integrals
DROP = 45.0  # logarithm of the density at their ends, below that at the mode
LogDensity = Callable[[Tensor, Tensor], Tensor]  # ln f(T; tau) but for a constant, of shapes that broadcast


class QuantileTable:
    """T(e; tau), tau in [0, 1], of unimodal laws on the real line whose density is smooth in both.

    ``span``: an interval that holds the modes and all that lies within ``DROP`` of them.

    >>> table = QuantileTable(lambda t, tau: -0.5 * (t - tau).square(), (-30.0, 30.0))  # N(tau, 1)
    >>> table(torch.tensor([0.0, 1.0]), torch.tensor(0.3))
    tensor([0.3000, 1.3000], dtype=torch.float64)
    """

    def __init__(self, log_density: LogDensity, span: tuple[float, float]):
        self._log_density, self._span = log_density, span
        with torch.inference_mode(False), torch.no_grad():
            tau = torch.linspace(0, 1, KNOTS_TAU + 1, dtype=torch.float64)
            e = torch.linspace(-REACH, REACH, KNOTS_E + 1, dtype=torch.float64)
            values = invert(log_density, span, tau, e)
            across = spline(values, 1 / KNOTS_TAU)
            # ``(KNOTS_E + 3, KNOTS_TAU + 3)``
            self.coefficients = Resident(spline(across.mT, 2 * REACH / KNOTS_E).contiguous())

    def exact(self, e: Tensor, tau: Tensor) -> Tensor:
        """T ``(len(tau), len(e))`` by inversion, without the spline, float64 on the CPU."""
        return invert(self._log_density, self._span, tau, e)

    def __call__(self, e: Tensor, tau: Tensor) -> Tensor:
        """T, float64, of standard normal numbers ``e (*more, *tau.shape)``; differentiable in ``tau`` (any
        number of times, as a spline is), not in ``e``."""
        table = self.coefficients.on(tau.device)
        e, tau = torch.broadcast_tensors(e.detach(), tau)
        if e.numel() <= AT_ONCE:
            return _spline_at(table, e, tau)
        chunks = zip(e.reshape(-1).split(AT_ONCE), tau.reshape(-1).split(AT_ONCE), strict=True)
        return torch.cat([_spline_at(table, *chunk) for chunk in chunks]).view(e.shape)


def _spline_at(table: Tensor, e: Tensor, tau: Tensor) -> Tensor:
    """The spline at ``e`` and ``tau`` of one shape: 4 x 4 coefficients from the corner of each's interval,
    contracted over e into those of a cubic of tau's place."""
    row, at_e = place((e.double() + REACH) * (KNOTS_E / (2 * REACH)), KNOTS_E)
    column, at_tau = place(tau.double() * KNOTS_TAU, KNOTS_TAU)
    basis, width, near = BASIS.to(table.device), table.shape[1], torch.arange(4, device=table.device)
    corner = (row * width + column)[..., None, None]
    lines = (powers(at_e) @ basis.mT).unsqueeze(-2) @ table.flatten()[corner + width * near[:, None] + near]
    c0, c1, c2, c3 = (lines.squeeze(-2) @ basis).unbind(-1)
    return ((c3 * at_tau + c2) * at_tau + c1) * at_tau + c0


# ---------------------------------------------------------------- exact inversion
def invert(log_density: LogDensity, span: tuple[float, float], tau: Tensor, e: Tensor) -> Tensor:
    """T ``(len(tau), len(e))`` with F(T; tau) = Phi(e), float64, from integrals of the density by
    Gauss-Legendre panels, kept from both ends so that both tails have all their digits."""
    tau = tau.unsqueeze(1)
    low, high, top = _support(log_density, span, tau)
    edges = low + (high - low) * torch.linspace(0, 1, PANELS + 1, dtype=torch.float64)

    def density(t: Tensor) -> Tensor:
        return torch.exp(
            log_density(t, tau.view(-1, *[1] * (t.ndim - 1))) - top.view(-1, *[1] * (t.ndim - 1))
        )

    mass = _integral(density, edges[:, :-1], edges[:, 1:])
    zero = torch.zeros_like(mass[:, :1])
    below = torch.cat([zero, mass.cumsum(1)], 1)
    above = torch.cat([mass.flip(1).cumsum(1).flip(1), zero], 1)
    total = below[:, -1:]
    e_edges = torch.where(
        below < above, torch.special.ndtri(below / total), -torch.special.ndtri(above / total)
    )
    e = e.expand(len(tau), -1).contiguous()
    panel = torch.searchsorted(e_edges.contiguous(), e).clamp(1, PANELS) - 1
    left, right = edges.gather(1, panel), edges.gather(1, panel + 1)
    t = _inverse_hermite(e, e_edges, edges, density(edges) / total, panel)
    # From the nearer tail, so that nothing is subtracted from 1 (as torch's ndtr does).
    root = math.sqrt(0.5)
    wanted_below = 0.5 * torch.special.erfc(-root * e) * total - below.gather(1, panel)
    wanted_above = 0.5 * torch.special.erfc(root * e) * total - above.gather(1, panel + 1)
    for _ in range(3):
        short = torch.where(
            e < 0,
            wanted_below - _integral(density, left, t),
            _integral(density, t, right) - wanted_above,
        )
        t = (t + short / density(t)).clamp(left, right)
    return t


def _support(log_density: LogDensity, span: tuple[float, float], tau: Tensor) -> tuple[Tensor, ...]:
    """Where the log density falls ``DROP`` below its mode on either side, and its value there ``(n, 1)``."""
    low, high = (torch.full_like(tau, end) for end in span)
    grid = torch.linspace(0, 1, 65, dtype=torch.float64)
    for _ in range(8):  # the mode lies next to the best of the grid
        step = (high - low) / 64
        best = low + step * log_density(low + (high - low) * grid, tau).argmax(1, keepdim=True)
        low, high = best - step, best + step
    mode = 0.5 * (low + high)
    top = log_density(mode, tau)
    ends = []
    for outer in span:
        inside, outside = mode, torch.full_like(mode, outer)
        for _ in range(50):
            middle = 0.5 * (inside + outside)
            is_inside = log_density(middle, tau) > top - DROP
            inside, outside = torch.where(is_inside, middle, inside), torch.where(is_inside, outside, middle)
        ends.append(outside)
    return ends[0], ends[1], top


def _integral(density: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Of the density from ``low`` to ``high (n, m)``, by ten points of Gauss and Legendre."""
    from numpy.polynomial.legendre import leggauss

    nodes, weights = (torch.from_numpy(values) for values in leggauss(10))
    half = 0.5 * (high - low)
    points = (low + half).unsqueeze(-1) + half.unsqueeze(-1) * nodes
    return half * (density(points) @ weights)


def _inverse_hermite(e: Tensor, e_edges: Tensor, edges: Tensor, density: Tensor, panel: Tensor) -> Tensor:
    """T as the cubic of e that has values and slopes dT/de = phi(e) / f of a panel's two ends."""
    slopes = torch.exp(-0.5 * e_edges.square()) / math.sqrt(2 * math.pi) / density
    (e0, e1), (t0, t1), (s0, s1) = (
        (values.gather(1, panel), values.gather(1, panel + 1)) for values in (e_edges, edges, slopes)
    )
    width = e1 - e0
    f = (e - e0) / width
    cubic = (
        (1 + 2 * f) * (1 - f).square() * t0
        + f * (1 - f).square() * width * s0
        + f * f * (3 - 2 * f) * t1
        + f * f * (f - 1) * width * s1
    )
    # A straight line where a panel is so far out that its end has no normal quantile.
    return torch.where(torch.isfinite(cubic), cubic, 0.5 * (t0 + t1)).clamp(t0, t1)

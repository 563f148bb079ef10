"""Ratios of modified Bessel functions, as the exponential tilt of the uniform law of a sphere needs them.

For the unit sphere of R^d and its uniform law, w = mu·x in any direction mu:
    M_d(kappa) = E exp(kappa w) = Gamma(d/2) (2/kappa)^nu I_nu(kappa) = 0F1(; d/2; kappa²/4),  nu = d/2 - 1
    A_d(kappa) = d/dkappa ln M_d = I_{nu+1}(kappa) / I_nu(kappa): the mean of w under the tilted law
    A_d'(kappa) = 1 - A² - (d - 1) A / kappa: its variance
Everything is taken in float64, element by element, for kappa >= 0; 0 and infinity are no exceptions.

Two regions, by s = hypot(nu, kappa). Where s < 30 or kappa <= 1: the power series of 0F1, all of whose terms
are positive. Elsewhere: the uniform expansion of Debye (DLMF 10.41.3-6), written in 1/s and t = (nu/s)², so
that it holds for nu = 0 too (there it is Hankel's), and with what cancels for kappa << nu taken out by hand.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

ORDER = 16  # of the uniform expansion: what is left out is below 1e-16 where s >= FAR
FAR = 30.0
AT_ONCE = 4096  # arguments whose series are tensors of their terms
TERMS = 46  # of the series: what is left out is below 1e-17 where s < FAR or kappa <= 1
DIVERGENCE = -1
LARGEST = 1e150  # kappa beyond is taken for this: its square must be a number


def log_tilt(kappa: Tensor, d: int) -> Tensor:
    """ln M_d(kappa) in the shape of ``kappa``, float64: 0 at 0, kappa²/2d near it. ``d`` >= 2.

    >>> log_tilt(torch.tensor([0.0, 1.0]), 3).exp()  # sinh(kappa) / kappa
    tensor([1.0000, 1.1752], dtype=torch.float64)
    """
    return _Derivative.apply(kappa.double(), d, 0)


def mean_length(kappa: Tensor, d: int) -> Tensor:
    """A_d(kappa) in [0, 1], the mean resultant length, in the shape of ``kappa``, float64.

    >>> mean_length(torch.tensor(1.0), 3)  # coth(kappa) - 1 / kappa
    tensor(0.3130, dtype=torch.float64)
    """
    return _Derivative.apply(kappa.double(), d, 1)


def mean_length_slope(kappa: Tensor, d: int) -> Tensor:
    """A_d'(kappa), without the cancellation of 1 - A² - (d - 1) A / kappa, float64.

    >>> mean_length_slope(torch.tensor([0.0, 1e8]), 5)  # 1 / d, and (d - 1) / 2 kappa²
    tensor([2.0000e-01, 2.0000e-16], dtype=torch.float64)
    """
    return _Derivative.apply(kappa.double(), d, 2)


def tilt_divergence(kappa: Tensor, d: int) -> Tensor:
    """kappa A_d(kappa) - ln M_d(kappa), the divergence of the tilted law from the uniform one in nats, with
    its gradient kappa A_d'(kappa); in the shape of ``kappa``, float64.

    >>> tilt_divergence(torch.tensor([0.0, 1.0]), 3)
    tensor([0.0000, 0.1516], dtype=torch.float64)
    """
    return _Derivative.apply(kappa.double(), d, DIVERGENCE)


class _Derivative(torch.autograd.Function):
    """The derivative of ln M_d of order 0, 1 or 2; each is the gradient of the one before. Or, in place of an
    order, ``DIVERGENCE``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(kappa: Tensor, d: int, order: int) -> Tensor:
        kappa = kappa.clamp(0, LARGEST)
        nu = 0.5 * d - 1
        is_near = (torch.hypot(kappa, torch.full_like(kappa, nu)) < FAR) | (kappa <= 1)
        near = _series(torch.where(is_near, kappa, 0), d, order)
        far = _uniform(torch.where(is_near, max(FAR, nu), kappa), nu, order)
        return torch.where(is_near, near, far)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        kappa, ctx.d, ctx.order = inputs
        ctx.save_for_backward(kappa)
        ctx.save_for_forward(kappa)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        (kappa,) = ctx.saved_tensors
        return grad * _next(kappa, ctx.d, ctx.order), None, None

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_: None) -> Tensor:  # pyrefly: ignore[bad-override]
        (kappa,) = ctx.saved_tensors
        return tangent * _next(kappa, ctx.d, ctx.order)


def _next(kappa: Tensor, d: int, order: int) -> Tensor:
    """The derivative of order ``order`` + 1; the third from A'' = -2 A A' - (d - 1) (A' - A / kappa) / kappa,
    near 0 from its first term."""
    if order == DIVERGENCE:
        return kappa * _Derivative.apply(kappa, d, 2)
    if order < 2:
        return _Derivative.apply(kappa, d, order + 1)
    mean, slope = mean_length(kappa, d), mean_length_slope(kappa, d)
    is_small = kappa < 1e-3 * d
    safe = torch.where(is_small, 1, kappa)
    return torch.where(
        is_small, -6 * kappa / (d * d * (d + 2)), -2 * mean * slope - (d - 1) * (slope - mean / safe) / safe
    )


# ---------------------------------------------------------------- small arguments
def _tilt_series(x: Tensor, b: float) -> Tensor:
    """0F1(; b; x) - 1 = sum_{k >= 1} x^k / (k! b (b + 1) ... (b + k - 1)); all terms at once where they are
    few numbers, else by Horner's rule."""
    if x.numel() <= AT_ONCE:
        k = torch.arange(1, TERMS + 1, dtype=x.dtype, device=x.device)
        return (x.unsqueeze(-1) / (k * (b + k - 1))).cumprod(-1).sum(-1)
    total = torch.ones_like(x)
    for k in range(TERMS, 1, -1):
        total = torch.addcmul(torch.ones_like(x), x, total, value=1 / (k * (b + k - 1)))
    return x / b * total


def _series(kappa: Tensor, d: int, order: int) -> Tensor:
    x = 0.25 * kappa.square()
    tilt = _tilt_series(x, 0.5 * d)
    if order == 0:
        return torch.log1p(tilt)
    ratio = (1 + _tilt_series(x, 0.5 * d + 1)) / (d * (1 + tilt))  # A / kappa
    if order == 1:
        return kappa * ratio
    if order == DIVERGENCE:
        return kappa.square() * ratio - torch.log1p(tilt)
    return 1 - (d - 1) * ratio - (kappa * ratio).square()


# ---------------------------------------------------------------- large order or argument
@cache
def _debye() -> tuple[Tensor, Tensor]:
    """Coefficients ``(ORDER + 1, ORDER + 1)`` of t^j in u_k and w_k, where U_k = p^k u_k(p²) and
    V_k - U_k = p^k (1 - p²) w_k(p²) (DLMF 10.41.10-11); exact until they are rounded once."""
    from fractions import Fraction

    size = ORDER + 1
    u = [[Fraction(0)] * (size + 1) for _ in range(size)]
    w = [[Fraction(0)] * (size + 1) for _ in range(size)]
    u[0][0] = Fraction(1)
    for k in range(ORDER):
        for j, c in enumerate(u[k][:size]):
            n = k + 2 * j  # the power of p
            u[k + 1][j] += c * (Fraction(n, 2) + Fraction(1, 8 * (n + 1)))
            u[k + 1][j + 1] -= c * (Fraction(n, 2) + Fraction(5, 8 * (n + 3)))
            w[k + 1][j] -= c * (Fraction(1, 2) + n)
    with torch.inference_mode(False):
        u_rows, w_rows = ([[float(c) for c in row[:size]] for row in rows] for rows in (u, w))
        return torch.tensor(u_rows, dtype=torch.float64), torch.tensor(w_rows, dtype=torch.float64)


def _stirling(nu: float) -> float:
    """ln Gamma(nu + 1) - (nu ln nu - nu + ½ ln 2 pi nu) for nu >= 20, to all digits."""
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6)
    return sum(b / (2 * k * (2 * k - 1) * nu ** (2 * k - 1)) for k, b in enumerate(bernoulli, 1))


def _uniform(kappa: Tensor, nu: float, order: int) -> Tensor:
    s = torch.hypot(kappa, torch.full_like(kappa, nu))
    a, t = 1 / s, (nu / s).square()
    k = torch.arange(ORDER + 1, dtype=s.dtype, device=s.device)
    u, w = (rows.to(s.device) for rows in _debye())
    powers_a, powers_t = a.unsqueeze(-1) ** k, t.unsqueeze(-1) ** k
    u_t, w_t = powers_t @ u.mT, powers_t @ w.mT  # u_k(t), w_k(t)
    U = (u_t * powers_a).sum(-1)
    if order == 0:
        return _log_tilt_far(kappa, s, nu) + U.log()
    W = (w_t * powers_a).sum(-1)
    R = W / U
    mean = kappa / (s + nu) + kappa / s * R
    if order == 1:
        return mean
    if order == DIVERGENCE:
        return kappa * mean - _log_tilt_far(kappa, s, nu) - U.log()
    by_a = k[1:] * powers_a[..., :-1]  # d a^k / da
    U_a, W_a = (u_t[..., 1:] * by_a).sum(-1), (w_t[..., 1:] * by_a).sum(-1)
    by_t = k[1:] * powers_t[..., :-1]
    U_t, W_t = ((by_t @ rows[:, 1:].mT * powers_a).sum(-1) for rows in (u, w))
    R_a, R_t = (W_a - R * U_a) / U, (W_t - R * U_t) / U
    bend = (kappa / s).square() / s.square() * (R_a + 2 * nu * nu / s * R_t)
    return nu / (s * (s + nu)) + R * t / s - bend


def _log_tilt_far(kappa: Tensor, s: Tensor, nu: float) -> Tensor:
    """ln Gamma(nu + 1) + nu ln(2 / (nu + s)) + s - ½ ln(2 pi s)."""
    if nu < 20:
        constant = math.lgamma(nu + 1) + nu * math.log(2) - 0.5 * math.log(2 * math.pi)
        return constant - nu * torch.log(s + nu) - 0.5 * s.log() + s
    rise = kappa / (s + nu) * kappa  # s - nu
    return rise - nu * torch.log1p(rise / (2 * nu)) - 0.5 * torch.log1p(rise / nu) + _stirling(nu)

"""The member of a family of ellipses nearest to any picture, for many pictures at once."""

from __future__ import annotations

import torch
from torch import Tensor

from latentrun.functional.ellipses import CHUNK, FAINTEST, Ellipses
from latentrun.functional.least_squares import levenberg_marquardt
from latentrun.types import Projection

SQUEEZE = 9.0  # largest |artanh r| fitted: 1 - |r| = 3e-8
SHARE = 1e-3  # fitted factors this far outside their range still count as inside: a decoded picture is never exact
SOFT = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # widths in q over which a shared maximum is softened
COARSE, STARTS, LEAN = 11, 4, 3.5  # points a factor of the dictionary that gives starts; how many of them; its largest artanh |r|


def nearest_member(family: Ellipses, x: Tensor, further: Tensor, amplitude: bool, bounded: bool) -> Projection:
    """The member nearest to each picture ``x (N, 1, size, size)``: arg min ||x - A m(r, v1, v2, ...)||.

    ``further (K, F - 3)`` are the values that the further factors may take; the best of the K fits counts (the first of
    equals). A is 1, or fitted (A >= 0) with ``amplitude``. The factors may be any valid ones (v > 0, |r| < 1; standard
    deviations from a twentieth of the pixel spacing to 1000 extents), or, with ``bounded``, those within the family's
    ranges. ``residual`` = ||x - A m|| / ||x||: 1 for a blank picture, infinite for one with a pixel that is not finite.
    ``inside``: r within its range widened by 0.001, variances within theirs widened by 0.001 of the upper end. float64
    on the device of ``x``.
    """
    searches = [
        [_Search(family, row.to(dtype), amplitude, bounded) for dtype in (torch.float32, torch.float64)] for row in further.split(1)
    ]
    step = max(1, (2**27 if x.is_cuda else CHUNK) // family.size**2)
    parts = [_best([_fit(part, *search) for search in searches]) for part in x.split(step)]
    return Projection(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _best(fits: list[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """The columns of several fits, each row from the one of least residual."""
    chosen = torch.stack([residual for _, residual, _, _ in fits]).argmin(0)
    rows = torch.arange(len(chosen), device=chosen.device)
    return tuple(torch.stack(columns)[chosen, rows] for columns in zip(*fits, strict=True))


@torch.no_grad()
def _fit(x: Tensor, rough: _Search, fine: _Search) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a Projection holds, for one value of the further factors."""
    family, flat = fine.family, x.flatten(1).double()
    broken = ~flat.isfinite().all(1)
    flat = flat.nan_to_num(0.0, 0.0, 0.0)
    half = (family.size**2 + 1) // 2
    # Members are even, x(p) = x(-p): the odd part of a picture is out of their reach and adds a constant.
    even, odd = (flat + flat.flip(1))[:, :half] / 2, (flat - flat.flip(1))[:, :half] / 2
    theta = fine.polish(even, rough.search(even.float()).double())
    factors = torch.cat([_factors(theta), fine.further.expand(len(theta), -1)], 1)
    low, high = family.ranges(flat)
    if fine.bounded:
        factors[:, :3] = factors[:, :3].clamp(low, high)
    m = family.half(factors, fine.basis, torch.float64)
    scale = _amplitude(even, m, fine.weight) if fine.amplitude else torch.ones_like(even[:, 0])
    missed = ((even - scale[:, None] * m).square() + odd.square()) @ fine.weight
    size = flat.square().sum(1)
    residual = torch.where(size > 0, (missed / size).sqrt(), 1.0).masked_fill(broken, torch.inf)
    slack = SHARE * torch.stack([torch.ones_like(low[0]), high[1], high[2]])
    inside = ((factors[:, :3] >= low - slack) & (factors[:, :3] <= high + slack)).all(1)
    return factors, residual, inside, scale


class _Search:
    """Least squares over theta = (artanh r, log v1, log v2) on half pictures ``(n, P)``, in the dtype of ``further``."""

    def __init__(self, family: Ellipses, further: Tensor, amplitude: bool, bounded: bool):
        self.family, self.further, self.amplitude, self.bounded = family, further, amplitude, bounded
        self.basis = family.basis(further)
        self.weight = torch.full_like(self.basis[0], 2.0)
        if family.size % 2:
            self.weight[-1] = 1.0  # the centre is its own mirror image
        self.weighted = (self.basis * self.weight).T.contiguous()
        self.squares = (self.basis[:, None] * self.basis * self.weight).flatten(0, 1).T.contiguous()
        if bounded:
            low, high = family.ranges(further.double())
            self.low, self.high = (_theta(end[None])[0].to(further) for end in (low, high))
            corners = self.low, self.high
        else:
            spacing = 2 * family.extent / (family.size - 1)
            sigma = torch.tensor([spacing / 20, 1000 * family.extent, spacing / 3, 2 * family.extent]).log()
            ends = torch.stack([torch.tensor([-SQUEEZE, SQUEEZE, -LEAN, LEAN]), 2 * sigma, 2 * sigma], 1).to(further)
            self.low, self.high = ends[:2]
            corners = ends[2:]
        steps = torch.linspace(0, 1, COARSE, dtype=further.dtype, device=further.device)
        axes = [low + (high - low) * steps for low, high in zip(*corners, strict=True)]
        self.coarse = torch.cartesian_prod(*axes)

    # ---------------------------------------------------------------- starts
    def search(self, x: Tensor) -> Tensor:
        """theta ``(n, 3)`` at the least cost reached from STARTS + 1 starts."""
        starts = torch.cat([self._valleys(x), self._moments(x)[:, None]], 1)
        count = starts.shape[1]
        fit = levenberg_marquardt(
            lambda theta, rows: self.normal(theta, x[rows // count]),
            starts.flatten(0, 1),
            self.low,
            self.high,
            iterations=40,
            tolerance=1e-3,
        )
        best = fit.cost.view(-1, count).argmin(1)
        return fit.theta.view(-1, count, 3)[torch.arange(len(x), device=x.device), best]

    def polish(self, x: Tensor, theta: Tensor) -> Tensor:
        """theta ``(n, 3)`` at the minimum near the given one.

        Where two pixels share the maximum (r = 0 on an even grid) the cost has a kink at which a step may stall; such rows
        go through ever less softened maxima, and what comes out is kept where the true cost is lower.
        """
        fit = levenberg_marquardt(lambda theta, rows: self.normal(theta, x[rows]), theta, self.low, self.high, tolerance=1e-8)
        theta = fit.theta
        stuck = ((fit.cosine > 1e-6) & (fit.cost > 1e-16 * (x.square() @ self.weight))).nonzero()[:, 0]
        if len(stuck) and not self.amplitude:
            picture, eased = x[stuck], theta[stuck]
            for soft in SOFT:
                eased = levenberg_marquardt(
                    lambda theta, rows, soft=soft: self.normal(theta, picture[rows], soft), eased, self.low, self.high, iterations=30
                ).theta
            better = self.normal(eased, picture)[0] < fit.cost[stuck]
            theta[stuck[better]] = eased[better]
        return theta

    def _valleys(self, x: Tensor) -> Tensor:
        """The lowest local minima ``(n, STARTS, 3)`` of the cost on a coarse grid of the family."""
        m = self.family.half(torch.cat([_factors(self.coarse), self.further.expand(len(self.coarse), -1)], 1), self.basis, x.dtype)
        cross, size = x @ (m * self.weight).T, (m * m) @ self.weight
        cost = -cross.clamp_min(0).square() / size if self.amplitude else size - 2 * cross
        cube = -cost.view(-1, 1, COARSE, COARSE, COARSE)
        peak = torch.nn.functional.max_pool3d(cube, 3, 1, 1) <= cube
        rank = cost.masked_fill(~peak.flatten(1), torch.inf)
        return self.coarse[rank.topk(STARTS, largest=False).indices]

    def _moments(self, x: Tensor) -> Tensor:
        """theta ``(n, 3)`` of the picture's own second moments (too small where the picture is cut off by the frame)."""
        mass = x.clamp_min(0)
        xx, xy, yy = (mass @ self.weighted / (mass @ self.weight)[:, None]).nan_to_num(1.0).clamp(-1e6, 1e6).unbind(1)
        xx, yy = xx.clamp_min(1e-6), yy.clamp_min(1e-6)
        return _theta(torch.stack([(xy / (xx * yy).sqrt()).clamp(-0.99, 0.99), xx, yy], 1)).clamp(self.low, self.high)

    # ---------------------------------------------------------------- cost and derivatives
    def normal(self, theta: Tensor, x: Tensor, soft: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """(1/2 ||A m - x||^2, J^T r, J^T J), J with respect to theta, without forming J.

        d m / d k = m (s(q) B - s(q*) B*) for q = k . B, basis B, s = d log g / d q, and * the brightest pixel; so
        J^T J needs only weighted sums of B and B B^T over pixels: matrix products. A fitted amplitude is eliminated
        (variable projection: Kaufman, 1975). ``soft`` > 0 replaces min q by -soft log sum exp(-q / soft), and adds the
        curvature this has where it lifts the cost, which J^T J lacks.
        """
        forms, turn = _forms_and_derivative(theta)
        q = forms @ self.basis
        least, where = q.min(1, keepdim=True)
        log, slope = self.family.profile(q, self.further)
        if soft:
            share = ((least - q) / soft).exp_()
            total = share.sum(1, keepdim=True)
            brightest, least = share @ self.basis.T / total, least - soft * total.log()
        else:
            brightest = self.basis.T[where[:, 0]]
        top, top_slope = self.family.profile(least, self.further)
        m = (log - top).clamp_(min=FAINTEST).exp_()
        star = top_slope * brightest
        u, mm = m * slope, (m * m) @ self.weight
        scale = _amplitude(x, m, self.weight) if self.amplitude else torch.ones_like(mm)
        r = scale[:, None] * m - x
        um, rm = (u * m) @ self.weighted, (r * m) @ self.weight
        gradient = scale[:, None] * ((r * u) @ self.weighted - star * rm[:, None])
        inner = ((u * u) @ self.squares).unflatten(1, (3, 3)) - _outer(um, star) - _outer(star, um) + _outer(star, star) * mm[:, None, None]
        if self.amplitude:
            along = um - star * mm[:, None]
            inner = inner - _outer(along, along) / mm[:, None, None]
        inner = inner * scale.square()[:, None, None]
        if soft:
            spread = ((share / self.weight) @ self.squares / total).unflatten(1, (3, 3)) - _outer(brightest, brightest)
            inner = inner + (top_slope * rm[:, None]).clamp_min(0)[:, :, None] * spread / soft
        gradient = torch.einsum("nkt,nk->nt", turn, gradient)
        return 0.5 * (r * r) @ self.weight, gradient, turn.mT @ inner @ turn


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return a[:, :, None] * b[:, None, :]


def _amplitude(x: Tensor, m: Tensor, weight: Tensor) -> Tensor:
    """The best A >= 0 of x = A m."""
    return ((x * m) @ weight / ((m * m) @ weight)).clamp_min(0)


def _forms_and_derivative(theta: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients k ``(N, 3)`` at theta, and d k / d theta ``(N, 3, 3)``."""
    w, l1, l2 = theta.unbind(1)
    i1, i2, i12 = (-l1).exp(), (-l2).exp(), (-(l1 + l2) / 2).exp()
    s, sinh2, cosh2 = w.cosh().square(), (2 * w).sinh(), (2 * w).cosh()
    k1, k12, k2 = i1 * s, -i12 * sinh2, i2 * s
    none = torch.zeros_like(w)
    rows = [[i1 * sinh2, -k1, none], [-2 * i12 * cosh2, -k12 / 2, -k12 / 2], [i2 * sinh2, none, -k2]]
    return torch.stack([k1, k12, k2], 1), torch.stack([torch.stack(row, 1) for row in rows], 1)


def _theta(factors: Tensor) -> Tensor:
    """(artanh r, log v1, log v2) of (r, v1, v2)."""
    return torch.stack([factors[:, 0].atanh(), factors[:, 1].log(), factors[:, 2].log()], 1)


def _factors(theta: Tensor) -> Tensor:
    """(r, v1, v2) of (artanh r, log v1, log v2)."""
    return torch.stack([theta[:, 0].tanh(), theta[:, 1].exp(), theta[:, 2].exp()], 1)

"""The member of a family of ellipses nearest to any picture, for many pictures at once."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from latentrun.functional.images.ellipses import FAINTEST, Ellipses
from latentrun.functional.least_squares import Fit, levenberg_marquardt
from latentrun.types import Projection

SQUEEZE = 9.0  # largest |artanh r| fitted: 1 - |r| = 3e-8
# fitted factors this far outside their range still count as inside: a decoded picture is never exact
SHARE = 1e-3
SOFT = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # widths in q over which a shared maximum is softened
# A rough cost above CHANCE * the best + ROUGH * ||x||^2 is that of another value of the further factors.
CHANCE, ROUGH = 1.2, 1e-6
BLOCK = 2**17  # numbers a temporary of the cost holds, so that a CPU's cache keeps them
BATCH = 2**21  # numbers in the pictures fitted at once on a CPU
HEAD = 4  # steps after which starts that lead nowhere new are given up:
TWIN = 0.05  # those this near, in theta, to a better one (both go to one minimum)
LAG = 50.0  # and those whose cost is so many times the best one's
# Points a factor of the dictionary that gives starts; how many of them; its largest artanh |r|.
COARSE, STARTS, LEAN = 11, 4, 3.5


def nearest_member(
    family: Ellipses, x: Tensor, further: Tensor, amplitude: bool, bounded: bool
) -> Projection:
    """The member nearest to each picture ``x (N, 1, size, size)``: arg min ||x - A m(r, v1, v2, ...)||.

    ``further (K, F - 3)`` are the values that the further factors may take; the best of the K fits counts
    (the first of equals). A is 1, or fitted (A >= 0) with ``amplitude``. The factors may be any valid ones (v
    > 0, |r| < 1; standard deviations from a twentieth of the pixel spacing to 1000 extents), or, with
    ``bounded``, those within the family's ranges. ``residual`` = ||x - A m|| / ||x||: 1 for a blank picture,
    infinite for one with a pixel that is not finite. ``inside``: r within its range widened by 0.001,
    variances within theirs widened by 0.001 of the upper end. float64 on the device of ``x``.

    >>> from latentrun.functional.images.ellipses import normal
    >>> family = Ellipses(21, 4.0, [(-0.9, 0.9), (0.5, 2.0), (0.5, 2.0)], normal)
    >>> x = family.render(torch.tensor([[0.5, 1.0, 2.0]], dtype=torch.float64))
    >>> nearest_member(family, x, torch.zeros(1, 0), amplitude=False, bounded=False).factors
    tensor([[0.5000, 1.0000, 2.0000]], dtype=torch.float64)
    """
    rough, fine = (
        [_Search(family, row.to(dtype), amplitude, bounded) for row in further.split(1)]
        for dtype in (torch.float32, torch.float64)
    )
    # Many pictures at once, so that the few whose fits take long are as many as a matrix product wants.
    step = max(1, (2**27 if x.is_cuda else BATCH) // family.size**2)
    parts = [_fit(family, part, rough, fine) for part in x.split(step)]
    return Projection(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


@torch.no_grad()
def _fit(
    family: Ellipses, x: Tensor, rough: list[_Search], fine: list[_Search]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a Projection holds: found roughly for each value of the further factors, then finely for those
    that may be the best."""
    flat = x.flatten(1).double()
    broken = ~flat.isfinite().all(1)
    flat = flat.nan_to_num(0.0, 0.0, 0.0)
    half, size = (family.size**2 + 1) // 2, flat.square().sum(1)
    # Members are even, x(p) = x(-p): the odd part of a picture is out of their reach and adds a constant.
    even, odd = (flat + flat.flip(1))[:, :half] / 2, (flat - flat.flip(1))[:, :half] / 2
    single, odd = even.float(), odd.square() @ fine[0].weight
    starts, costs = map(torch.stack, zip(*(search.search(single) for search in rough), strict=True))
    hopeless = costs > CHANCE * costs.amin(0) + ROUGH * size
    missed = torch.full_like(costs, torch.inf, dtype=torch.float64)
    factors = flat.new_zeros(*costs.shape, 3)
    scale = torch.ones_like(missed)
    for k, search in enumerate(fine):
        rows = (~hopeless[k]).nonzero()[:, 0]
        ends = search.finish(even[rows], starts[k, rows].double())
        factors[k, rows], scale[k, rows], missed[k, rows] = ends
    best, rows = missed.argmin(0), torch.arange(len(x), device=x.device)
    factors, scale, missed = factors[best, rows], scale[best, rows], missed[best, rows] + odd
    low, high = family.ranges(flat)
    slack = SHARE * torch.stack([torch.ones_like(low[0]), high[1], high[2]])
    inside = ((factors >= low - slack) & (factors <= high + slack)).all(1)
    residual = torch.where(size > 0, (missed / size).sqrt(), 1.0).masked_fill(broken, torch.inf)
    further = torch.cat([search.further for search in fine])[best]
    return torch.cat([factors, further], 1), residual, inside, scale


class _Search:
    """Least squares over theta = (artanh r, log v1, log v2) on half pictures ``(n, P)``, in the dtype of
    ``further``."""

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
            squeeze = torch.tensor([-SQUEEZE, SQUEEZE, -LEAN, LEAN])
            ends = torch.stack([squeeze, 2 * sigma, 2 * sigma], 1).to(further)
            self.low, self.high = ends[:2]
            corners = ends[2:]
        steps = torch.linspace(0, 1, COARSE, dtype=further.dtype, device=further.device)
        axes = [low + (high - low) * steps for low, high in zip(*corners, strict=True)]
        self.coarse = torch.cartesian_prod(*axes)

    # ---------------------------------------------------------------- starts
    def search(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """theta ``(n, 3)`` at the least cost ``(n,)`` reached from up to STARTS + 1 starts."""
        valleys, real = self._valleys(x)
        starts = torch.cat([self._moments(x)[:, None], valleys], 1)
        on = torch.cat([torch.ones_like(real[:, :1]), real], 1)
        cost = x.new_full(on.shape, torch.inf)
        done = ~on
        for steps in (HEAD, 40 - HEAD):
            fit = self._minimise(x, on.nonzero()[:, 0], starts[on], iterations=steps, tolerance=1e-3)
            starts[on], cost[on], done[on] = fit.theta, fit.cost, fit.converged
            cost, order = cost.sort(1)
            starts, done = starts.gather(1, order[:, :, None].expand(-1, -1, 3)), done.gather(1, order)
            twin = ((starts[:, :, None] - starts[:, None]).abs().amax(3) < TWIN).tril(-1).any(2)
            on = ~(twin | done | (cost > LAG * cost[:, :1] + ROUGH * x.square().sum(1, keepdim=True)))
        return starts[:, 0], cost[:, 0]

    def _minimise(
        self, x: Tensor, picture: Tensor | None, start: Tensor, soft: float = 0.0, **options
    ) -> Fit:
        """Least squares of the pictures ``x[picture]``, evaluated in blocks that a CPU's cache keeps."""
        step = 2**27 if x.is_cuda else max(1, BLOCK // x.shape[1])

        def normal(theta: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            rows = rows if picture is None else picture[rows]
            parts = zip(theta.split(step), rows.split(step), strict=True)
            blocks = [self.normal(part, x[of], soft) for part, of in parts]
            if len(blocks) == 1:
                return blocks[0]
            cost, gradient, gram = map(torch.cat, zip(*blocks, strict=True))
            return cost, gradient, gram

        return levenberg_marquardt(normal, start, self.low, self.high, **options)

    def finish(self, x: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors ``(n, 3)`` at the minimum near theta, the brightness there, and what they miss of the even
        part of a picture."""
        factors = _factors(self.polish(x, theta))
        if self.bounded:
            factors = factors.clamp(*self.family.ranges(factors))
        whole = torch.cat([factors, self.further.expand(len(factors), -1)], 1)
        m = self.family.half(whole, self.basis, torch.float64)
        scale = _amplitude(x, m, self.weight) if self.amplitude else torch.ones_like(x[:, 0])
        return factors, scale, (x - scale[:, None] * m).square() @ self.weight

    def polish(self, x: Tensor, theta: Tensor) -> Tensor:
        """theta ``(n, 3)`` at the minimum near the given one.

        Where two pixels share the maximum (r = 0 on an even grid) the cost has a kink at which a step may
        stall; such rows go through ever less softened maxima, and what comes out is kept where the true cost
        is lower.
        """
        fit = self._minimise(x, None, theta, tolerance=1e-8)
        theta = fit.theta
        stuck = ((fit.cosine > 1e-6) & (fit.cost > 1e-14 * (x.square() @ self.weight))).nonzero()[:, 0]
        if len(stuck) and not self.amplitude:
            picture, eased = x[stuck], theta[stuck]
            for soft in SOFT:
                eased = self._minimise(picture, None, eased, soft, iterations=30).theta
            better = self.normal(eased, picture)[0] < fit.cost[stuck]
            theta[stuck[better]] = eased[better]
        return theta

    @cached_property
    def _dictionary(self) -> tuple[Tensor, Tensor]:
        """Members on a coarse grid, weighted, ``(P, COARSE^3)``, and their squared norms."""
        factors = torch.cat([_factors(self.coarse), self.further.expand(len(self.coarse), -1)], 1)
        m = self.family.half(factors, self.basis, self.basis.dtype)
        return (m * self.weight).T.contiguous(), (m * m) @ self.weight

    def _valleys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest local minima ``(n, STARTS, 3)`` of the cost on a coarse grid of the family."""
        m, size = self._dictionary
        cross = x @ m
        cost = -cross.clamp_min(0).square() / size if self.amplitude else size - 2 * cross
        cube = -cost.view(-1, 1, COARSE, COARSE, COARSE)
        peak = torch.nn.functional.max_pool3d(cube, 3, 1, 1) <= cube
        rank = cost.masked_fill(~peak.flatten(1), torch.inf)
        low = rank.topk(STARTS, largest=False)
        return self.coarse[low.indices], low.values.isfinite()

    def _moments(self, x: Tensor) -> Tensor:
        """theta ``(n, 3)`` of the picture's own second moments (too small where the picture is cut off by the
        frame)."""
        mass = x.clamp_min(0)
        second = (mass @ self.weighted / (mass @ self.weight)[:, None]).nan_to_num(1.0)
        xx, xy, yy = second.clamp(-1e6, 1e6).unbind(1)
        xx, yy = xx.clamp_min(1e-6), yy.clamp_min(1e-6)
        correlation = (xy / (xx * yy).sqrt()).clamp(-0.99, 0.99)
        return _theta(torch.stack([correlation, xx, yy], 1)).clamp(self.low, self.high)

    # ---------------------------------------------------------------- cost and derivatives
    def normal(self, theta: Tensor, x: Tensor, soft: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """(1/2 ||A m - x||^2, J^T r, J^T J), J with respect to theta, without forming J.

        d m / d k = m (s(q) B - s(q*) B*) for q = k . B, basis B, s = d log g / d q, and * the brightest
        pixel; so J^T J needs only weighted sums of B and B B^T over pixels: matrix products. A fitted
        amplitude is eliminated (variable projection: Kaufman, 1975). ``soft`` > 0 replaces min q by -soft log
        sum exp(-q / soft), and adds the curvature this has where it lifts the cost, which J^T J lacks.
        """
        forms, turn = _forms_and_derivative(theta)
        q = forms @ self.basis
        least, where = q.min(1, keepdim=True)
        log, slope = self.family.profile(q, self.further)
        brightest, spread = self.basis.T[where[:, 0]], None
        if soft:
            share = ((least - q) / soft).exp_()
            total = share.sum(1, keepdim=True)
            brightest, least = share @ self.basis.T / total, least - soft * total.log()
            spread = ((share / self.weight) @ self.squares / total).unflatten(1, (3, 3))
        top, top_slope = self.family.profile(least, self.further)
        m = (log - top).clamp_(min=FAINTEST).exp_()
        star = top_slope * brightest
        u, mm = m * slope, (m * m) @ self.weight
        scale = _amplitude(x, m, self.weight) if self.amplitude else torch.ones_like(mm)
        r = scale[:, None] * m - x
        um, rm = (u * m) @ self.weighted, (r * m) @ self.weight
        gradient = scale[:, None] * ((r * u) @ self.weighted - star * rm[:, None])
        inner = ((u * u) @ self.squares).unflatten(1, (3, 3)) - _outer(um, star) - _outer(star, um)
        inner = inner + _outer(star, star) * mm[:, None, None]
        if self.amplitude:
            along = um - star * mm[:, None]
            inner = inner - _outer(along, along) / mm[:, None, None]
        inner = inner * scale.square()[:, None, None]
        if spread is not None:
            spread = spread - _outer(brightest, brightest)
            inner = inner + (top_slope * rm[:, None]).clamp_min(0)[:, :, None] * spread / soft
        gradient = torch.einsum("nkt,nk->nt", turn, gradient)
        return 0.5 * (r * r) @ self.weight, gradient, turn.mT @ inner @ turn


def _outer(a: Tensor, b: Tensor) -> Tensor:
    """Products a_i b_j of rows, ``(N, 3, 3)``."""
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

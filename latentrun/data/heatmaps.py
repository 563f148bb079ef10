"""Elliptical densities drawn on a grid: a family whose nearest member to any picture can be computed."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from latentrun.bounds import Between, Ge, Gt
from latentrun.data.base import SPLITS, Dataset, Oracle, partition
from latentrun.errors import InputError, unknown
from latentrun.functional.least_squares import levenberg_marquardt
from latentrun.functional.noise import Noise
from latentrun.types import Factor, Projection, Split

CHUNK = 2**18  # numbers a temporary holds, so that a CPU's cache keeps it; a GPU takes 2**27
FAINTEST = -87.0  # log of the least pixel drawn; below it float32 is subnormal and twenty times slower to compute
SQUEEZE = 9.0  # largest |artanh r| fitted: 1 - |r| = 3e-8
SHARE = 1e-3  # fitted factors this far outside their range still count as inside: a decoded picture is never exact
SOFT = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)  # widths in q over which a shared maximum is softened
COARSE, STARTS, LEAN = 11, 4, 3.5  # points a factor of the dictionary that gives starts; how many of them; its largest artanh |r|


class EllipticalMaps(Dataset, Oracle):
    """Pictures g(q(p)) / max_p g(q(p)) of q(p) = p^T S^-1 p, S = [[v1, r sqrt(v1 v2)], [r sqrt(v1 v2), v2]].

    p runs over ``size`` x ``size`` evenly spaced points of [-extent, extent]^2, ends included; columns follow the first
    component to the right, the first row is the second component's +extent. The maximum is the one on the grid, not the
    analytic peak (an even grid has no point at the origin). A subclass gives ``factors`` (r, v1, v2, and further ones),
    the table of them that is drawn, and the decreasing radial profile g, which may depend on the further factors.
    """

    intrinsic_dim = 3
    betti = (1, 0, 0, 0)

    def __init__(self, size: int, extent: float, val_fraction: float, test_fraction: float, seed: int):
        self.size, self.extent = size, extent
        self.fractions, self.seed = (val_fraction, test_fraction), seed
        self.event_shape = (1, size, size)
        self.value_range = (0.0, 1.0)

    @abstractmethod
    def _table(self) -> Tensor:
        """Factors ``(N, F)`` float64 of all examples, in the order of their ``index``."""

    @abstractmethod
    def _profile(self, q: Tensor, further: Tensor) -> tuple[Tensor, Tensor]:
        """log g(q) and its derivative with respect to q (a shape that broadcasts), for q ``(n, P)``, further factors ``(n, F - 3)``."""

    # ---------------------------------------------------------------- factors to pictures
    def _load(self) -> dict[str, Split]:
        table = self._table()
        parts = partition(len(table), self.fractions, self.seed)
        return {name: self._rows(table, rows) for name, rows in zip(SPLITS, parts, strict=True)}

    def _rows(self, table: Tensor, rows: Tensor) -> Split:
        y = table[rows]
        names = [factor.name for factor in self.factors]
        labels = None if self.label is None else y[:, names.index(self.label)].long()
        return Split(self._generate(y), y.float(), labels, rows)

    def _basis(self, like: Tensor) -> Tensor:
        """x^2, xy, y^2 ``(3, P)`` on the first half of the pixels, P = ceil(size^2 / 2): p and -p look alike, and pixel k
        is the mirror image of pixel size^2 - 1 - k."""
        side = torch.linspace(-self.extent, self.extent, self.size, dtype=torch.float64)
        y, x = torch.meshgrid(-side, side, indexing="ij")
        return torch.stack([x * x, x * y, y * y]).flatten(1)[:, : (self.size**2 + 1) // 2].to(like)

    def _half(self, factors: Tensor, basis: Tensor, dtype: torch.dtype) -> Tensor:
        """Half pictures ``(N, P)`` in ``dtype``; the quadratic form, whose terms cancel, in the dtype of ``factors``."""
        further = factors[:, 3:].to(dtype)
        q = (_forms(*factors[:, :3].unbind(1)) @ basis).to(dtype)
        top = self._profile(q.amin(1, keepdim=True), further)[0]
        return (self._profile(q, further)[0] - top).clamp(min=FAINTEST).exp()

    def render(self, factors: Tensor) -> Tensor:
        """Pictures ``(N, 1, size, size)`` of factors ``(N, F)`` with v1, v2 > 0 and |r| < 1; differentiable."""
        half = self._half(factors, self._basis(factors), factors.dtype)
        return torch.cat([half, half[:, : self.size**2 // 2].flip(1)], 1).unflatten(1, self.event_shape)

    @torch.no_grad()
    def _generate(self, factors: Tensor) -> Tensor:
        """float32 pictures of float64 factors on the CPU, a cache-sized chunk at a time."""
        # numpy asks for huge pages; the page faults of torch.empty would take twice as long as the pictures.
        x = torch.from_numpy(np.empty((len(factors), self.size**2), np.float32))
        basis, step = self._basis(factors), max(1, CHUNK // self.size**2)
        for part, rows in zip(x.split(step), factors.split(step), strict=True):
            half = self._half(rows, basis, torch.float32)
            part[:, : half.shape[1]] = half
            part[:, half.shape[1] :] = half[:, : self.size**2 // 2].flip(1)
        return x.unflatten(1, self.event_shape)

    # ---------------------------------------------------------------- pictures to factors
    def project(self, x: Tensor, amplitude: bool = False, bounded: bool = False) -> Projection:
        """The member of the family nearest to each picture ``x (N, 1, size, size)``: arg min ||x - A m(r, v1, v2)||.

        A is 1, or fitted (A >= 0) with ``amplitude``. The factors may be any valid ones (v > 0, |r| < 1; standard
        deviations from a twentieth of the pixel spacing to 1000 extents), or, with ``bounded``, those within the data
        set's ranges. ``residual`` = ||x - A m|| / ||x||: 1 for a blank picture, infinite for one with a pixel that is not
        finite. ``inside``: r within its range widened by 0.001, variances within theirs widened by 0.001 of the upper
        end. float64 on the device of ``x``.
        """
        return self._nearest(x, x.new_zeros(1, 0), amplitude, bounded)

    def _nearest(self, x: Tensor, further: Tensor, amplitude: bool, bounded: bool) -> Projection:
        """:meth:`project` for given further factors ``(1, F - 3)``."""
        fine = _Search(self, further.double(), amplitude, bounded)
        rough = _Search(self, further.float(), amplitude, bounded)
        step = max(1, (2**27 if x.is_cuda else CHUNK) // self.size**2)
        parts = [self._project_chunk(part, rough, fine) for part in x.split(step)]
        return Projection(*(torch.cat(columns) for columns in zip(*parts, strict=True)))

    @torch.no_grad()
    def _project_chunk(self, x: Tensor, rough: _Search, fine: _Search) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        flat = x.flatten(1).double()
        broken = ~flat.isfinite().all(1)
        flat = flat.nan_to_num(0.0, 0.0, 0.0)
        half = (self.size**2 + 1) // 2
        # Members are even, x(p) = x(-p): the odd part of a picture is out of their reach and adds a constant.
        even, odd = (flat + flat.flip(1))[:, :half] / 2, (flat - flat.flip(1))[:, :half] / 2
        theta = fine.polish(even, rough.search(even.float()).double())
        factors = torch.cat([_factors(theta), fine.further.expand(len(theta), -1)], 1)
        low, high = self.ranges(flat)
        if fine.bounded:
            factors[:, :3] = factors[:, :3].clamp(low, high)
        m = self._half(factors, fine.basis, torch.float64)
        scale = _amplitude(even, m, fine.weight) if fine.amplitude else torch.ones_like(even[:, 0])
        missed = ((even - scale[:, None] * m).square() + odd.square()) @ fine.weight
        size = flat.square().sum(1)
        residual = torch.where(size > 0, (missed / size).sqrt(), 1.0).masked_fill(broken, torch.inf)
        slack = SHARE * torch.stack([torch.ones_like(low[0]), high[1], high[2]])
        inside = ((factors[:, :3] >= low - slack) & (factors[:, :3] <= high + slack)).all(1)
        return factors, residual, inside, scale

    def ranges(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Lower and upper ends ``(3,)`` of (r, v1, v2) in the data set."""
        return like.new_tensor([f.low for f in self.factors[:3]]), like.new_tensor([f.high for f in self.factors[:3]])


class _Search:
    """Least squares over theta = (artanh r, log v1, log v2) on half pictures ``(n, P)``, in the dtype of ``further``."""

    def __init__(self, family: EllipticalMaps, further: Tensor, amplitude: bool, bounded: bool):
        self.family, self.further, self.amplitude, self.bounded = family, further, amplitude, bounded
        self.basis = family._basis(further)
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
        m = self.family._half(torch.cat([_factors(self.coarse), self.further.expand(len(self.coarse), -1)], 1), self.basis, x.dtype)
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
        log, slope = self.family._profile(q, self.further)
        if soft:
            share = ((least - q) / soft).exp_()
            total = share.sum(1, keepdim=True)
            brightest, least = share @ self.basis.T / total, least - soft * total.log()
        else:
            brightest = self.basis.T[where[:, 0]]
        top, top_slope = self.family._profile(least, self.further)
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


def _forms(correlation: Tensor, v1: Tensor, v2: Tensor) -> Tensor:
    """Coefficients ``(N, 3)`` of q on x^2, xy, y^2."""
    s = 1 / ((1 - correlation) * (1 + correlation))
    return torch.stack([s / v1, -2 * correlation * s / (v1 * v2).sqrt(), s / v2], 1)


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


class Heatmaps(EllipticalMaps):
    """Bivariate normal densities N(0, S) divided by their maximum on the grid: log g(q) = -q / 2.

    ``correlation``, ``variance_x``, ``variance_y`` are each {low, high, step}. ``sampling: grid`` draws every
    combination of low, low + step, ..., high (the default 19 x 25 x 25 = 11,875), correlation slowest, variance_y
    fastest; ``random`` draws ``n`` pictures with factors uniform in [low, high]. ``extent`` and variances share one
    unit of length. A larger variance_x widens the ellipse, variance_y makes it taller, a positive correlation lets it
    rise to the right. Raises InputError where a range is not one.
    """

    def __init__(
        self,
        size: Annotated[int, Ge(2)],
        extent: Annotated[float, Gt(0)],
        correlation: dict[str, float],
        variance_x: dict[str, float],
        variance_y: dict[str, float],
        sampling: Literal["grid", "random"],
        n: Annotated[int, Ge(1)],
        val_fraction: Annotated[float, Between(0, 1, open_=True)],
        test_fraction: Annotated[float, Between(0, 1, open_=True)],
        seed: Annotated[int, Ge(0)],
    ):
        super().__init__(size, extent, val_fraction, test_fraction, seed)
        given = {"correlation": correlation, "variance_x": variance_x, "variance_y": variance_y}
        for name, values in given.items():
            _check_range(name, values)
        if sampling not in ("grid", "random"):
            raise unknown("data.sampling", sampling, ("grid", "random"))
        self.given, self.sampling, self.n = given, sampling, n
        self.factors = tuple(Factor(name, "real", values["low"], values["high"]) for name, values in given.items())

    def _table(self) -> Tensor:
        if self.sampling == "grid":
            return torch.cartesian_prod(*(_values(**values) for values in self.given.values()))
        low, high = self.ranges(torch.empty(0, dtype=torch.float64))
        return low + (high - low) * Noise(self.seed).at("heatmaps").uniform("factors", (self.n, 3)).double()

    def _profile(self, q: Tensor, further: Tensor) -> tuple[Tensor, Tensor]:
        return -0.5 * q, q.new_tensor(-0.5)


def _values(low: float, high: float, step: float) -> Tensor:
    """low, low + step, ... up to high, float64, free of accumulated rounding."""
    count = math.floor((high - low) / step + 1e-9) + 1
    return torch.from_numpy(np.round(low + step * np.arange(count), 12))


def _check_range(name: str, values: Mapping[str, float]) -> None:
    """InputError in one line unless ``values`` is {low, high, step} with low <= high, step > 0, |r| < 1 or variance > 0."""
    key = f"data.{name}"
    for extra in set(values) - {"low", "high", "step"}:
        raise unknown(f"key of {key}", extra, ("low", "high", "step"))
    for part in ("low", "high", "step"):
        value = values.get(part)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(f"{key}.{part}: {value!r} given; a finite number is needed")
    low, high, step = values["low"], values["high"], values["step"]
    if name == "correlation" and max(abs(low), abs(high)) >= 1:
        raise InputError(f"{key}: low {low:g}, high {high:g} given; |r| must be below 1")
    if name != "correlation" and min(low, high) <= 0:
        raise InputError(f"{key}: low {low:g}, high {high:g} given; a variance must be above 0")
    if low > high:
        raise InputError(f"{key}: low {low:g} is above high {high:g}")
    if step <= 0:
        raise InputError(f"{key}.step: {step:g} given; a step must be above 0")

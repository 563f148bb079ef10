"""Locally adaptive normal distributions: normal laws by geodesic distance, on a latent space with a metric.

LAND (Arvanitidis, Hansen & Hauberg 2016, arXiv 1605.08398): p(z) = exp(-½ Log_m(z)' Gamma Log_m(z)) / C
with respect to the measure sqrt(det M(z)) dz, Log_m(z) the initial velocity of the shortest curve from the
mean m to z, in the chart; Gamma the precision there, C(m, Gamma) the constant. Log densities are in nats.

The constant is a mean over points z_s that are drawn once, from a law q around the codes,

    C = 1/S sum_s sqrt(det M(z_s)) / q(z_s) exp(-½ Log_m(z_s)' Gamma Log_m(z_s)),

not, as in the paper, over exponential maps of normal tangent vectors: so points behind the cut locus, which
two geodesics reach, count once, no derivative of the exponential map is needed (the paper leaves it out), the
same points serve all means, and what is maximised is the same function of m and Gamma in all steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from latentrun.functional.noise import Noise
from latentrun.geometry.curves import initial_velocity, resampled
from latentrun.geometry.energy import Geodesics, Settings, least_energy
from latentrun.geometry.graph import Graph
from latentrun.geometry.shortest import shortest
from latentrun.geometry.surface import Surface

CELLS = 1 << 22  # numbers held at once
WIDE = 0.2  # share of the points that are drawn from a wide normal law, by so many times the codes' spread
WIDTH = 2.0
HALVINGS = 2  # of a step of the mean that does not raise the likelihood
STILL = 1e-4  # nats a code that a step of the mean promises: no more is no step
NEWTON = 50  # steps for a precision, at most


# ---------------------------------------------------------------- logarithms
@dataclass(frozen=True)
class Logs:
    """Of P points: ``velocity (P, d)`` float64 with which the shortest curve from the mean leaves for them,
    whose length by the metric there is the distance; ``known (P,)``: whether it was found; the ``curve (P, T,
    d)``."""

    velocity: Tensor
    known: Tensor
    curve: Tensor

    def of(self, rows: slice) -> Logs:
        """Of some of the points."""
        return Logs(self.velocity[rows], self.known[rows], self.curve[rows])


def logs(
    surface: Surface, mean: Tensor, ends: Tensor, settings: Settings, first: Tensor | Graph | None
) -> Logs:
    """Log_mean of ``ends (P, d)``. ``first``: curves ``(P, T, d)`` from another mean to begin with, or a
    graph of codes whose ways are tried beside straight lines."""
    start = mean.expand_as(ends).contiguous()
    if isinstance(first, Tensor):
        begin = resampled(first, settings.points)
        t = torch.linspace(0, 1, settings.points, dtype=begin.dtype, device=begin.device).view(1, -1, 1)
        found = least_energy(surface, start, ends, begin + (1 - t) * (mean - begin[:, :1]), settings)
    else:
        found = shortest(surface, start, ends, settings, first)
    return _logs(surface, mean, found)


def _logs(surface: Surface, mean: Tensor, found: Geodesics) -> Logs:
    """The first derivative of the curve is right in direction; its length is that of the whole curve."""
    v = initial_velocity(found.curve.double())
    m = surface.metric(mean.unsqueeze(0))[0].double()
    speed = torch.einsum("pi,ij,pj->p", v, m, v).clamp_min(0).sqrt()
    length = found.length.double()
    share = torch.where(speed > 0, length / speed, 0.0)
    known = found.converged & torch.isfinite(length) & torch.isfinite(speed)
    velocity = torch.where(known.unsqueeze(1), v * share.unsqueeze(1), 0.0)
    return Logs(velocity, known, found.curve)


# ---------------------------------------------------------------- points for the constant
@dataclass(frozen=True)
class Points:
    """``z (S, d)`` with ``log_q (S,)`` of the law they are drawn from and the logarithm of their weight,
    ``log_weight (S,)`` = log sqrt(det M(z)) - log q(z), -inf where there is no metric; float64."""

    z: Tensor
    log_q: Tensor
    log_weight: Tensor


def scattered(surface: Surface, codes: Tensor, n: int, noise: Noise) -> Points:
    """n points from q: a share of 0.8 codes ``(N, d)`` drawn at random and moved by a normal law of their
    covariance times N^(-2 / (d + 4)) (Scott's rule), the others from a normal law of their mean and twice
    their spread."""
    x = codes.double()
    count, d = x.shape
    factor = _root(torch.cov(x.T).reshape(d, d))
    width = count ** (-1 / (d + 4))
    draw = noise.normal("draw", (n, d)).to(x)
    source = x[noise.integers("code", count, (n,)).to(x.device)]
    far = (noise.uniform("wide", (n,)) < WIDE).to(x.device).unsqueeze(1)
    z = torch.where(far, x.mean(0) + WIDTH * draw @ factor.T, source + width * draw @ factor.T)
    z = z.to(codes)
    log_q = _log_q(z.double(), x, factor, width)
    log_weight = surface.magnification(z).double() - log_q
    return Points(z, log_q, torch.where(torch.isfinite(log_weight), log_weight, -torch.inf))


def _root(covariance: Tensor) -> Tensor:
    """Cholesky's factor, with a little width in every direction: codes may lie on a line."""
    d = len(covariance)
    width = 1e-9 * (covariance.trace() + 1e-12)
    return torch.linalg.cholesky(covariance + width * torch.eye(d).to(covariance))


def _log_q(z: Tensor, codes: Tensor, factor: Tensor, width: float) -> Tensor:
    unit, centres = (torch.linalg.solve_triangular(factor, v.T, upper=False).T for v in (z, codes))
    d = z.shape[1]
    volume = factor.diagonal().log().sum() + 0.5 * d * math.log(2 * math.pi)
    parts = []
    for rows in unit.split(max(1, CELLS // len(codes))):
        squares = torch.cdist(rows, centres).square()
        near = (-0.5 * squares / width**2).logsumexp(1) - math.log(len(codes)) - d * math.log(width)
        far = -0.5 * (rows - centres.mean(0)).square().sum(1) / WIDTH**2 - d * math.log(WIDTH)
        parts.append(torch.logaddexp(near + math.log(1 - WIDE), far + math.log(WIDE)) - volume)
    return torch.cat(parts)


# ---------------------------------------------------------------- one component
@dataclass(frozen=True)
class Constant:
    """log C, its standard error to first order, and how many of the points carry it: (sum w)² / sum w²."""

    log: float
    error: float
    effective: float


@dataclass(frozen=True)
class Component:
    """A normal law around ``mean (d,)`` of the chart with ``precision (d, d)`` float64 there, with the
    logarithms of the codes it is fitted to and of the points of its constant."""

    mean: Tensor
    precision: Tensor
    codes: Logs
    points: Logs

    def log_kernel(self, some: Logs) -> Tensor:
        """-½ Log' Gamma Log ``(P,)``, NaN where the logarithm is not known."""
        value = -0.5 * torch.einsum("pi,ij,pj->p", some.velocity, self.precision, some.velocity)
        return torch.where(some.known, value, torch.nan)

    def weights(self, log_weight: Tensor) -> Tensor:
        """log of what each of the points adds to C ``(S,)``; -inf where its logarithm is not known."""
        kernel = self.log_kernel(self.points)
        return torch.where(self.points.known, log_weight + kernel, -torch.inf)

    def constant(self, points: Points) -> Constant:
        """A mean over the points whose logarithm is known, less what the same points make of the constant of
        the normal law of the chart with this mean and precision, which is known, by regression: on a plane
        nothing is left of the error."""
        known = self.points.known & torch.isfinite(points.log_weight)
        log_w = self.weights(points.log_weight)[known]
        total = log_w.logsumexp(0) if len(log_w) > 2 else log_w.new_tensor(-torch.inf)
        if not torch.isfinite(total):
            return Constant(math.nan, math.inf, 0.0)
        effective = (2 * total - (2 * log_w).logsumexp(0)).exp().item()
        top, d = log_w.max(), len(self.mean)
        way = points.z[known].double() - self.mean.double()
        log_plane = -0.5 * torch.einsum("pi,ij,pj->p", way, self.precision, way) - points.log_q[known]
        scale = log_plane.max()
        w, plane = (log_w - top).exp(), (log_plane - scale).exp()
        exact = (0.5 * d * math.log(2 * math.pi) - 0.5 * torch.logdet(self.precision) - scale).exp()
        centred = plane - plane.mean()
        beta = (centred @ w) / (centred @ centred).clamp_min(torch.finfo(w.dtype).tiny)
        rest = w - beta * (plane - exact)
        value = rest.mean()
        if not value > 0:  # so few points that the regression leads astray
            rest, value = w, w.mean()
        error = (rest.std() / len(rest) ** 0.5 / value).item()
        return Constant((value.log() + top).item(), error, effective)


def fitted_precision(second: Tensor, velocity: Tensor, log_weight: Tensor, first: Tensor) -> Tensor:
    """Gamma that maximises -½ tr(Gamma S) - log C for the mean held: ``second`` S ``(d, d)``, the mean of Log
    Log' over the codes; ``velocity (S, d)`` and ``log_weight (S,)`` of the points of C. Concave in Gamma, as
    log C is the logarithm of a sum of exponentials of linear functions: by Newton's method, from ``first``;
    at the end the law has the second moments of the codes."""
    d = len(second)
    rows, columns = torch.triu_indices(d, d)
    twice = torch.where(rows == columns, 1.0, 2.0).to(second)
    features = velocity[:, rows] * velocity[:, columns] * twice
    goal = second[rows, columns] * twice

    def square(gamma: Tensor) -> Tensor:
        m = torch.zeros_like(second)
        m[rows, columns] = gamma
        return m + m.T - torch.diag(m.diagonal())

    def value(gamma: Tensor) -> Tensor:
        if torch.linalg.cholesky_ex(square(gamma))[1].item():
            return gamma.new_tensor(-torch.inf)
        return -0.5 * gamma @ goal - (log_weight - 0.5 * features @ gamma).logsumexp(0)

    gamma = first[rows, columns].clone()
    now = value(gamma)
    for _ in range(NEWTON):
        share = (log_weight - 0.5 * features @ gamma).softmax(0)
        centred = features - share @ features
        curvature = 0.25 * (centred * share.unsqueeze(1)).T @ centred
        curvature = curvature + 1e-9 * curvature.trace() * torch.eye(len(gamma)).to(curvature)
        slope = 0.5 * (share @ features - goal)
        step = torch.linalg.solve_ex(curvature, slope.unsqueeze(1))[0][:, 0]
        reached, trial = now, gamma
        for _ in range(20):
            trial = gamma + step
            reached = value(trial)
            if reached >= now:
                break
            step = step / 2
        if not reached > now + 1e-10:
            break
        gamma, now = trial, reached
    return square(gamma)


def likelihood(component: Component, points: Points, share: Tensor) -> Tensor:
    """The mean log density of the codes by the measure of the surface, weighted by ``share (N,)``, in
    nats."""
    kernel = torch.nan_to_num(component.log_kernel(component.codes))
    return (share * kernel).sum() / share.sum() - component.constant(points).log


@dataclass(frozen=True)
class Setting:
    """What a fit stands on: the ``surface``, ``codes (N, d)``, the ``points`` of the constants, and how
    curves are sought, at first by way of a ``graph``."""

    surface: Surface
    codes: Tensor
    points: Points
    curves: Settings
    graph: Graph | None

    def component(
        self, mean: Tensor, share: Tensor, before: Component | None, precision: Tensor | None = None
    ) -> Component:
        """Around a mean, with its best precision for codes weighted by ``share (N,)``, or with the one that
        is given; ``before``: a component near it."""
        ends = torch.cat([self.codes, self.points.z])
        first = self.graph
        if before is not None:
            first = torch.cat([before.codes.curve, before.points.curve])
        found = logs(self.surface, mean, ends, self.curves, first)
        n = len(self.codes)
        plain = torch.eye(len(mean)).to(found.velocity)
        made = Component(mean, plain, found.of(slice(n)), found.of(slice(n, None)))
        if precision is not None:
            return replace(made, precision=precision)
        return self.sharpened(made, share, None if before is None else before.precision)

    def sharpened(self, component: Component, share: Tensor, first: Tensor | None = None) -> Component:
        """With the best precision for codes weighted by ``share (N,)``."""
        share = share * component.codes.known
        v = component.codes.velocity
        second = (v * share.unsqueeze(1)).T @ v / share.sum()
        d = len(second)
        second = second + 1e-9 * (second.trace() + 1e-30) * torch.eye(d).to(second)
        log_weight = torch.where(component.points.known, self.points.log_weight, -torch.inf)
        start = torch.linalg.inv(second) if first is None else first
        precision = fitted_precision(second, component.points.velocity, log_weight, start)
        return replace(component, precision=precision)

    def climbed(self, component: Component, share: Tensor) -> Component:
        """After a step of the mean: by the difference of the mean logarithm of the codes and that under the
        law, which is 0 at a maximum, or the first half of it that raises the likelihood; as it is where none
        does."""
        known = share * component.codes.known
        own = component.weights(self.points.log_weight).softmax(0)
        toward = (known @ component.codes.velocity) / known.sum() - own @ component.points.velocity
        if 0.5 * (toward @ component.precision @ toward) < STILL:
            return component
        for _ in range(HALVINGS):
            trial = self.component(component.mean + toward.to(component.mean), share, component)
            both = share * component.codes.known * trial.codes.known
            before, after = (likelihood(c, self.points, both) for c in (component, trial))
            if after > before:
                return trial
            toward = toward / 2
        return component


# ---------------------------------------------------------------- mixtures
@dataclass(frozen=True)
class Land:
    """A mixture of K components with ``weight (K,)``; ``history``: mean log density of the codes by the
    measure of the surface after every round, in nats."""

    components: tuple[Component, ...]
    weight: Tensor
    history: tuple[float, ...]


def fit_land(setting: Setting, share: Tensor, rounds: int, tolerance: float, least: float = 0.0) -> Land:
    """Maximum likelihood by expectation maximisation, from the ``share (N, K)`` that components have in each
    code: each round moves every mean by a step, fits its precision, and takes the shares anew; until a round
    gains less than ``tolerance`` nats a code. A fit whose constants fewer than ``least`` points carry ends
    there: it would follow these alone."""
    weight = share.mean(0)
    means = share.T @ setting.codes.double() / share.sum(0).unsqueeze(1)
    pairs = zip(means.to(setting.codes), share.T, strict=True)
    components = [setting.component(mean, own, None) for mean, own in pairs]
    history: list[float] = []
    for _ in range(rounds):
        if min(component.constant(setting.points).effective for component in components) < least:
            break
        pairs = zip(components, share.T, strict=True)
        components = [setting.climbed(component, own) for component, own in pairs]
        log_parts = log_components(components, weight, setting.points)
        known = torch.isfinite(log_parts).all(1)
        history.append(log_parts[known].logsumexp(1).mean().item())
        share = torch.where(known.unsqueeze(1), log_parts.softmax(1), 0.0)
        weight = share.sum(0) / share.sum()
        if len(components) > 1:
            pairs = zip(components, share.T, strict=True)
            components = [setting.sharpened(c, own, c.precision) for c, own in pairs]
        if len(history) > 1 and history[-1] - history[-2] < tolerance:
            break
    return Land(tuple(components), weight, tuple(history))


def log_components(components: list[Component], weight: Tensor, points: Points) -> Tensor:
    """log weight_k p_k(z_n) ``(N, K)`` of the codes, by the measure of the surface; NaN where a logarithm is
    not known."""
    parts = [
        component.log_kernel(component.codes) - component.constant(points).log for component in components
    ]
    return torch.stack(parts, 1) + weight.log()


def judged(setting: Setting, land: Land) -> Land:
    """The same law with the logarithms of the codes and points of another setting: to measure it where it was
    not fitted."""
    none = setting.codes.new_zeros(len(setting.codes)).double()
    components = [setting.component(c.mean, none, None, c.precision) for c in land.components]
    return replace(land, components=tuple(components))


def elsewhere(setting: Setting, land: Land) -> Land:
    """The same law with the logarithms of the codes of another setting that has the same points."""
    components = [
        replace(c, codes=logs(setting.surface, c.mean, setting.codes, setting.curves, setting.graph))
        for c in land.components
    ]
    return replace(land, components=tuple(components))


def log_density(setting: Setting, land: Land) -> Tensor:
    """log p ``(N,)`` of the setting's codes with respect to dz of the chart, by constants from its points;
    NaN where a logarithm is not known."""
    parts = log_components(list(land.components), land.weight, setting.points)
    return parts.logsumexp(1) + setting.surface.magnification(setting.codes).double()

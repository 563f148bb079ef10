"""A normalizing flow over pictures."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from latentrun.callbacks import Begin
from latentrun.config.bounds import Between, Count
from latentrun.data.base import Dataset
from latentrun.errors import InputError, Misfit
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import HasEncoder, HasLevels, HasPrior, Model
from latentrun.nn.invertible import MultiScale
from latentrun.types import Batch, Clock, Objective, Phase

CALIBRATED = 512  # training rows that the activation norms begin with, at most
CHUNK = 4096  # rows whose levels are looked at together
USUAL = (2, 16, 17, 256)  # numbers of levels that are worth a guess


class Glow(Model, HasEncoder, HasPrior, HasLevels):
    """Minimises -log p(x) in nats per example, log p(x) = log N(z; 0, I) + log |det dz/dx|, z = f(x): a flow
    of ``scales`` scales with ``steps`` steps of activation norm, 1x1 convolution and affine coupling each,
    whose networks have ``hidden`` channels (Kingma & Dhariwal 2018, arXiv 1807.03039; see
    :class:`~latentrun.nn.invertible.MultiScale`). z holds all scales, the finest first; p(z) = N(0, I).

    x has ``levels`` values a variable, evenly spaced over the range of the data, and gets uniform noise of
    one step of them: x' = x + step (u - 1/2), which goes to (k + u) / levels in [0, 1]. With ``logit`` a the
    flow sees logit(a + (1 - 2 a) ·) of that, so that no sample leaves the interval (Dinh et al. 2017, arXiv
    1605.08803, section 4.1), else · - 1/2. ``levels`` null: data with a density of their own, without noise.
    p is a density of x' in the units of the data; E log p(x') + D log step bounds log P(x) from below.

    Misfit for data that are no pictures, or whose sides cannot be halved ``scales`` times.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        levels: Annotated[int, Count(2, 1 << 24)] | None,
        logit: Annotated[float, Between(0, 0.5, open_=True)] | None,
        scales: Annotated[int, Count(1, 16)],
        steps: Annotated[int, Count(1, 1000)],
        hidden: Annotated[int, Count(1, 65_536)],
    ):
        super().__init__(event_shape, {"z": Euclidean(math.prod(event_shape))})
        self.low, self.high = value_range
        if not math.isfinite(self.high - self.low):
            raise Misfit("model glow needs data in a finite range")
        self.levels, self.logit = levels, logit
        self.f = MultiScale(divisible(self.event_shape, scales), scales, steps, hidden)
        self.register_buffer("origin_", torch.zeros(self.latent_dim), persistent=False)

    # ---------------------------------------------------------------- between data and flow
    @property
    def step(self) -> float | None:
        return None if self.levels is None else (self.high - self.low) / (self.levels - 1)

    def dequantised(self, x: Tensor, noise: Noise) -> Tensor:
        if self.step is None:
            return x
        return x + self.step * (noise.uniform("dequantisation", tuple(x.shape)).to(x) - 0.5)

    @property
    def _cells(self) -> tuple[float, float]:
        """The range of dequantised data: half a step beyond the outermost levels."""
        half = 0.5 * (self.step or 0.0)
        return self.low - half, self.high + half

    def _opened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the flow sees of ``x``, and log |det| ``(N,)`` of the change; -inf where x is out of range."""
        low, high = self._cells
        share, log_slope = (x - low) / (high - low), -math.log(high - low)
        if self.logit is None:
            return share - 0.5, x.new_full((len(x),), log_slope * self.latent_dim)
        a = self.logit + (1 - 2 * self.logit) * share
        inside = ((a > 0) & (a < 1)).flatten(1).all(1)
        tiny = torch.finfo(a.dtype).tiny
        log_a, log_b = a.clamp_min(tiny).log(), (1 - a).clamp_min(tiny).log()
        log_det = (math.log(1 - 2 * self.logit) + log_slope - log_a - log_b).flatten(1).sum(1)
        return log_a - log_b, torch.where(inside, log_det, -math.inf)

    def _closed(self, y: Tensor) -> Tensor:
        """The data that the flow sees as ``y``."""
        low, high = self._cells
        share = y + 0.5 if self.logit is None else (y.sigmoid() - self.logit) / (1 - 2 * self.logit)
        return low + (high - low) * share

    # ---------------------------------------------------------------- what the finished model can do
    def encode(self, x: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self.f(self._opened(x)[0])[0]

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        self.space(space)
        return self._closed(self.f.inverse(z))

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros_like(self.origin_), 1.0), 1)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return noise.normal("prior", (n, self.latent_dim))

    def log_prob(self, x: Tensor) -> Tensor:
        y, opened = self._opened(x)
        z, log_det = self.f(y)
        return -0.5 * z.square().sum(1) - 0.5 * self.latent_dim * math.log(2 * math.pi) + log_det + opened

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        if self.step is None:
            return ()
        return (
            f"log p(x) is a density of the data with uniform noise of one of their {self.levels:,} levels "
            f"({self.step:.3g}) on every value, in the units of the data; codes and densities of rows "
            "without that noise are those of the middle of their level.",
        )

    # ---------------------------------------------------------------- how it is trained
    def check_rows(self, data: Dataset) -> None:
        if self.levels is None:
            return
        rows, unit = data.split("train").x, self.high - self.low
        beside = off_levels(rows, self.low, unit / (self.levels - 1))
        if beside is None:
            return
        fits = (n for n in USUAL if off_levels(rows, self.low, unit / (n - 1)) is None)
        advice = next((f"{n} fit: model.levels={n}" for n in fits), "for continuous data model.levels=null")
        raise InputError(
            f"model.levels: {beside:.4g} in the training rows is none of {self.levels} even levels from "
            f"{self.low:g} to {self.high:g}; {advice}"
        )

    def calibrate(self, batch: Batch, noise: Noise) -> None:
        """Activation norms to the statistics of training rows in random order."""
        rows = noise.permutation("rows", len(batch.x))[:CALIBRATED].to(batch.x.device)
        self.f.calibrate(self._opened(self.dequantised(batch.x[rows].to(self.origin_), noise))[0])

    def nats(self, x: Tensor, noise: Noise) -> dict[str, Tensor]:
        """-log p(x') per example ``(B,)`` in nats, and in ``bits`` per variable: where there are levels, of
        the bound of log P(x)."""
        cost = -self.log_prob(self.dequantised(x, noise))
        size = math.log(self.step) if self.step is not None else 0.0
        return {"nats": cost, "bits": (cost / self.latent_dim - size) / math.log(2)}

    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Mean over the batch of -log p(x'); ``bits`` as :meth:`nats` has them."""
        terms = self.nats(batch.x, noise)
        return {"loss": terms["nats"].mean(), "bits": terms["bits"].mean()}

    def monitor(self, batch: Batch, noise: Noise) -> dict[str, Tensor]:
        """-log p(x') per example, and in bits per variable."""
        terms = self.nats(batch.x, noise)
        return {"monitor": terms["nats"], "bits": terms["bits"]}

    def phases(self) -> tuple[Phase, ...]:
        objective = Objective("flow", list(self.f.parameters()), self.loss)
        return (Phase("flow", (objective,), monitor=self.monitor, callbacks=(Begin(self.calibrate),)),)


def divisible(event_shape: tuple[int, ...], scales: int) -> tuple[int, int, int]:
    """Channels, height and width; Misfit where they cannot be halved so often.

    >>> divisible((1, 28, 28), 2)
    (1, 28, 28)
    """
    if len(event_shape) != 3:
        raise Misfit(
            f"model glow needs pictures (channels, height, width); the data have shape {tuple(event_shape)}: "
            "use model=flow"
        )
    channels, height, width = event_shape
    common = math.gcd(height, width)
    most = (common & -common).bit_length() - 1
    if scales > most:
        advice = f"model.scales={most}" if most else "data with even sides, such as data.size=32"
        raise Misfit(
            f"model.scales: {scales} scales halve the sides as often, which {height} x {width} pictures do "
            f"not bear; use {advice}"
        )
    return channels, height, width


def off_levels(x: Tensor, low: float, step: float) -> float | None:
    """A value of ``x`` that is not low + k step with a whole number k; None where there is none.

    >>> off_levels(torch.tensor([0.0, 0.5, 0.7]), 0.0, 0.5)
    0.699...
    """
    for rows in x.split(CHUNK):
        at = (rows - low) / step
        beside = (at - at.round()).abs() > 0.01
        if beside.any():
            return rows[beside][0].item()
    return None

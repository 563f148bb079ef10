"""Laws of points of a space: draws keyed by name that carry gradients, densities against its volume."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints, register_kl
from torch.types import _size

from latentrun.functional.noise import Noise
from latentrun.manifolds import Compact

SINGLE = torch.Size()  # the shape of one draw


class Law(Distribution):
    """A distribution of points of a space, with the interface of torch.distributions.

    ``log_prob`` and ``entropy`` are in nats against the volume of the space. Gradients of draws reach the
    parameters (``has_rsample``).
    """

    arg_constraints = {}  # pyrefly: ignore[bad-override]  as in torch's own
    has_rsample = True

    @abstractmethod
    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        """Points ``(*sample_shape, *batch_shape, *event_shape)`` that depend on ``noise`` and the parameters
        alone."""

    @property
    @abstractmethod
    def center(self) -> Tensor:
        """The point of the space that stands for the law, ``(*batch_shape, *event_shape)``: what it is
        symmetric about, or its mode."""

    def rsample(self, sample_shape: _size = SINGLE) -> Tensor:
        """As :meth:`draw`, from torch's own generator."""
        return self.draw(Noise(int(torch.randint(2**62, ()))), sample_shape)


class Tilted(Law):
    """A law that is known by its density against the uniform law of its space, of logarithmic volume
    ``log_volume``: its divergence from that one is then had without the cancellation of log volume -
    entropy."""

    log_volume: float

    @abstractmethod
    def log_ratio(self, value: Tensor) -> Tensor:
        """ln of the density over that of the uniform law, ``(*sample_shape, *batch_shape)`` in nats."""

    @abstractmethod
    def kl_uniform(self) -> Tensor:
        """KL(law || uniform) ``(*batch_shape)`` in nats."""

    @property
    def support(self) -> constraints.Constraint:
        """Rows of coordinates; that they lie on the space is not checked."""
        return constraints.real_vector

    def log_prob(self, value: Tensor) -> Tensor:
        return self.log_ratio(value) - self.log_volume

    def entropy(self) -> Tensor:
        return self.log_volume - self.kl_uniform()


class Uniform(Law):
    """The uniform law of a space of finite volume; batch shape ``()``.

    >>> from latentrun.manifolds import space
    >>> Uniform(space("s1")).log_prob(torch.tensor([1.0, 0.0])).exp()  # 1 / 2 pi
    tensor(0.1592)
    """

    def __init__(self, space: Compact, like: Tensor | None = None):
        self.space = space
        self.like = torch.zeros(()) if like is None else like  # device and dtype
        super().__init__(SINGLE, torch.Size([space.ambient_dim]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Rows of coordinates; that they lie on the space is not checked."""
        return constraints.real_vector

    def draw(self, noise: Noise, sample_shape: _size = SINGLE) -> Tensor:
        shape = torch.Size(sample_shape)
        points = self.space.sample(shape.numel(), noise.to(self.like.device))
        return points.to(self.like.dtype).view(*shape, -1)

    @property
    def center(self) -> Tensor:
        return self.draw(Noise(0))

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full(value.shape[:-1], -self.space.log_volume)

    def entropy(self) -> Tensor:
        return self.like.new_tensor(self.space.log_volume)


@register_kl(Law, Uniform)
def _kl_uniform(q: Law, p: Uniform) -> Tensor:
    """log volume - H(q), of any law on the space."""
    return p.space.log_volume - q.entropy()


@register_kl(Tilted, Uniform)
def _kl_tilted(q: Tilted, p: Uniform) -> Tensor:
    del p  # it has the same space
    return q.kl_uniform()


@dataclass(frozen=True)
class Draws:
    """K draws from each of N posteriors. ``z (K, N, d)``: points of the latent space, as the decoder gets
    them; ``log_weight (K, N)`` = log p(z) - log q(z|x) in nats, whose mean is -KL, and with which
    log p(x|z) + log_weight gives the evidence lower bound (K = 1) and its importance-weighted form.

    ``uncorrected``: the same without what a group action adds to the KL, where there is such a term: no bound
    of anything, but what a source reports. ``log_weight`` is None where only that is known.
    """

    z: Tensor
    log_weight: Tensor | None
    uncorrected: Tensor | None = None


def pair_draws(q: Law, p: Distribution, noise: Noise, n: int) -> Draws:
    """n draws from each law of a batch ``q (N,)``, weighed against ``p``."""
    z = q.draw(noise, torch.Size([n]))
    return Draws(z, p.log_prob(z) - q.log_prob(z))

"""Heads that turn a decoder's output into p(x|z)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, pi, prod, sqrt

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn import functional as F

from latentrun.distributions.mixed import Layout, Mixed
from latentrun.types import Column

NARROWEST = 1e-3  # gap between two thresholds at least: a level that no training row has keeps a probability


def squashed(out: Tensor, limits: tuple[float, float] | None) -> Tensor:
    """A decoder's output through a sigmoid onto (low, high); as it is where ``limits`` is None."""
    if limits is None:
        return out
    low, high = limits
    # Without the affine map where it is the identity: forward and backward each save passes over the batch.
    return out.sigmoid() if (low, high) == (0, 1) else low + (high - low) * out.sigmoid()


def running(log_scale: Tensor, mse: Tensor) -> Tensor:
    """log gamma after gamma² <- min(gamma², 0.99 gamma² + 0.01 mse)."""
    before = torch.exp(2 * log_scale)
    return 0.5 * torch.minimum(before, 0.99 * before + 0.01 * mse).log()


class BernoulliLikelihood(nn.Module):
    """p(x|z) = prod_i Bernoulli(x_i; sigmoid(out_i)). On grey values in (0, 1) the binary cross-entropy is
    not a likelihood."""

    def __init__(self, event_shape: tuple[int, ...]):
        super().__init__()
        self.event_dims = len(event_shape)

    def mean(self, out: Tensor) -> Tensor:
        """E[x|z], same shape as ``out``."""
        return out.sigmoid()

    def nll(self, out: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) ``(N,)`` in nats per example, summed over data dimensions."""
        return F.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(1)

    def terms(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """``reconstruction`` = :meth:`nll` and ``mse`` per data dimension (no gradient), each ``(N,)``."""
        return {
            "reconstruction": self.nll(out, x),
            "mse": (x - self.mean(out.detach())).square().flatten(1).mean(1),
        }

    def means(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Means of :meth:`terms` over the batch, ``()`` each: summed at once, without a number for every
        dimension of x."""
        nll = F.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)
        return {"reconstruction": nll, "mse": F.mse_loss(self.mean(out.detach()), x)}

    def distribution(self, out: Tensor) -> Distribution:
        """p(x|z) with batch shape ``(N,)``."""
        return Independent(Bernoulli(logits=out, validate_args=False), self.event_dims, validate_args=False)

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Nothing to learn from a step."""


class GaussianLikelihood(nn.Module):
    """p(x|z) = N(x; mu(z), gamma² I).

    mu(z) is the decoder's output, through a sigmoid where ``squash`` names the data's (low, high).
    ``balance``: ``fixed`` keeps gamma = ``scale``; ``learned`` makes log gamma a parameter; ``running_mse``
    sets gamma² <- min(gamma², 0.99 gamma² + 0.01 batch mse) after every step (Asperti & Trentin 2020, arXiv
    2002.07514), which keeps the reconstruction term near D/2 so that the KL term cannot prevail. gamma² = 1/2
    gives the plain squared error summed over data dimensions, up to a constant.
    """

    def __init__(
        self, event_shape: tuple[int, ...], squash: tuple[float, float] | None, scale: float, balance: str
    ):
        super().__init__()
        self.event_dims, self.size = len(event_shape), prod(event_shape)
        self.squash, self.balance = squash, balance
        # Plain numbers where gamma stays: seven small operations fewer at every step.
        self.fixed = (
            (0.5 / scale**2, self.size * (log(scale) + 0.5 * log(2 * pi))) if balance == "fixed" else None
        )
        log_scale = torch.tensor(log(scale))
        if balance == "learned":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def mean(self, out: Tensor) -> Tensor:
        """E[x|z], same shape as ``out``."""
        return squashed(out, self.squash)

    def nll(self, out: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) ``(N,)`` in nats per example, summed over data dimensions, with ½ D log 2 pi gamma²."""
        return self.terms(out, x)["reconstruction"]

    def terms(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """``reconstruction`` = :meth:`nll` and ``mse`` per data dimension (no gradient), each ``(N,)``, in
        one pass."""
        return self._of(F.mse_loss(self.mean(out), x, reduction="none").flatten(1).sum(1))

    def means(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Means of :meth:`terms` over the batch, ``()`` each: summed at once, without a number for every
        dimension of x."""
        return self._of(F.mse_loss(self.mean(out), x, reduction="sum") / len(x))

    def _of(self, squared: Tensor) -> dict[str, Tensor]:
        """The terms of squared errors that are summed over data dimensions."""
        if self.fixed:
            weight, constant = self.fixed
        else:
            weight, constant = (
                0.5 * torch.exp(-2 * self.log_scale),
                self.size * (self.log_scale + 0.5 * log(2 * pi)),
            )
        return {"reconstruction": squared * weight + constant, "mse": squared.detach() / self.size}

    def distribution(self, out: Tensor) -> Distribution:
        """p(x|z) with batch shape ``(N,)``."""
        return Independent(
            Normal(self.mean(out), self.log_scale.exp(), validate_args=False),
            self.event_dims,
            validate_args=False,
        )

    @torch.no_grad()
    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Move gamma after a step, from its ``mse`` (mean squared error per data dimension)."""
        if self.balance == "running_mse":
            self.log_scale.copy_(running(self.log_scale, terms["mse"]))


class MixedLikelihood(nn.Module):
    """p(x|z) of a table's rows, columns independent given z: real ones N(mu(z), gamma²), ordinal ones an
    ordered logit in eta(z), categorical ones a softmax of logits(z); mu, eta and logits are the decoder's
    output.

    ``scale``, ``balance``: gamma of the real columns, one for all as in :class:`GaussianLikelihood`;
    ``learned`` gives each column its own. The thresholds of ordinal columns are learned: the first and the
    logarithms of the gaps to the next, so they always increase. At eta = 0 they begin as those of the
    logistic distribution with the training levels' mean and standard deviation.
    """

    def __init__(self, columns: Sequence[Column], scale: float, balance: str):
        super().__init__()
        self.layout, self.balance = Layout(columns), balance
        n = len(self.layout.real)
        if balance == "learned":
            self.log_scale = nn.Parameter(torch.full((n,), log(scale)))
        else:
            self.register_buffer("log_scale", torch.tensor(log(scale)))
        unit = pi / sqrt(3) / self.layout.level_scale  # the logistic distribution has variance pi²/3
        most = max([2, *self.layout.levels.tolist()])
        self.first = nn.Parameter((0.5 - self.layout.level_mean) * unit)
        self.log_gaps = nn.Parameter(unit.log().unsqueeze(1).repeat(1, most - 2))
        self.register_buffer(
            "_beyond", torch.arange(most - 1) >= self.layout.levels.unsqueeze(1) - 1, persistent=False
        )

    @property
    def thresholds(self) -> Tensor:
        """``(n_ordinal, K - 1)``, +inf beyond a column's own."""
        gaps = torch.cat([self.first.unsqueeze(1), self.log_gaps.exp() + NARROWEST], 1)
        return gaps.cumsum(1).masked_fill(self._beyond, torch.inf)

    def mean(self, out: Tensor) -> Tensor:
        """E[x|z], same shape as ``out``: means, expected levels, probabilities of categories."""
        return self.distribution(out).mean

    def nll(self, out: Tensor, x: Tensor) -> Tensor:
        """-log p(x|z) ``(N,)`` in nats per example, summed over columns."""
        return -self.distribution(out).log_prob(x)

    def terms(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """As for the Gaussian, ``mse`` over all encoded values; ``mse_real`` over those of real columns (no
        gradient)."""
        law = self.distribution(out)
        with torch.no_grad():
            squared = (x - law.mean).square()
            real = squared.index_select(1, self.layout.real)
            errors = {"mse": squared.mean(1), "mse_real": real.sum(1) / max(1, real.shape[1])}
        return {"reconstruction": -law.log_prob(x), **errors}

    def means(self, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Means of :meth:`terms` over the batch, ``()`` each."""
        return {name: value.mean() for name, value in self.terms(out, x).items()}

    def distribution(self, out: Tensor) -> Mixed:
        """p(x|z) with batch shape ``(N,)``."""
        return Mixed(self.layout, out, self.log_scale.exp(), self.thresholds)

    @torch.no_grad()
    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Move gamma after a step, from its ``mse_real`` (mean squared error per real column)."""
        if self.balance == "running_mse" and len(self.layout.real):
            self.log_scale.copy_(running(self.log_scale, terms["mse_real"]))

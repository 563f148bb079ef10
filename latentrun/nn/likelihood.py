"""What turns a decoder's output into p(x|z). A class here, or a user's own, is chosen by
``model.likelihood``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, pi, prod, sqrt
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal
from torch.nn import functional as F

from latentrun.config.bounds import Gt, Makes
from latentrun.distributions.mixed import Layout, Mixed
from latentrun.errors import Misfit
from latentrun.functional.noise import Noise
from latentrun.types import Column, Phase

if TYPE_CHECKING:
    from latentrun.data.base import Dataset

NARROWEST = 1e-3  # gap between two thresholds at least: a level that no training row has keeps a probability
Balance = Literal["fixed", "learned", "running_mse"]


def squashed(out: Tensor, limits: tuple[float, float] | None) -> Tensor:
    """A decoder's output through a sigmoid onto (low, high); as it is where ``limits`` is None.

    >>> squashed(torch.zeros(2), (0.0, 10.0))
    tensor([5., 5.])
    """
    if limits is None:
        return out
    low, high = limits
    # Without the affine map where it is the identity: forward and backward each save passes over the batch.
    return out.sigmoid() if (low, high) == (0, 1) else low + (high - low) * out.sigmoid()


def finite_range(squash: bool, value_range: tuple[float, float], where: str) -> tuple[float, float] | None:
    """The range that an output is squashed to, None where it is not; Misfit where the data have no such
    range."""
    if squash and not all(isfinite(bound) for bound in value_range):
        raise Misfit(f"{where}: needs data in a finite range")
    return tuple(value_range) if squash else None


def running(log_scale: Tensor, mse: Tensor) -> Tensor:
    """log gamma after gamma² <- min(gamma², 0.99 gamma² + 0.01 mse) (Asperti & Trentin 2020, arXiv
    2002.07514).

    >>> running(torch.tensor(0.0), torch.tensor(9.0))  # never grows
    tensor(0.)
    """
    before = torch.exp(2 * log_scale)
    return 0.5 * torch.minimum(before, 0.99 * before + 0.01 * mse).log()


@dataclass(frozen=True)
class Coder:
    """A trained model as its likelihood sees it: of examples ``(B, *event_shape)`` the codes ``(B, d)``, in
    the ``center`` of what is known of each, or ``draw(x, noise)``, one draw from it as training takes it;
    ``decoder``: what the decoder makes of codes."""

    center: Callable[[Tensor], Tensor]
    draw: Callable[[Tensor, Noise], Tensor]
    decoder: Callable[[Tensor], Tensor]


class Likelihood(nn.Module, ABC):
    """p(x|z), made of codes ``z (N, d)`` and what the decoder makes of them, ``out (N, *event_shape)``.

    A model gives its constructor what this names of ``event_shape``, ``value_range``, ``columns``,
    ``latent_dim`` and ``network``; everything else comes from the configuration.
    """

    @abstractmethod
    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        """E[x|z], same shape as ``out``."""

    @abstractmethod
    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """``reconstruction`` = -log p(x|z) in nats per example, summed over data dimensions, and ``mse`` per
        data dimension (no gradient), each ``(N,)``; more where the likelihood has more to say."""

    @abstractmethod
    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        """p(x|z) with batch shape ``(N,)``."""

    def moments(self, z: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        """E[x|z] and, where it changes with z, the standard deviation of x given z, each like ``out``."""
        return (self.mean(z, out),)

    def means(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Means of :meth:`terms` over the batch, ``()`` each; overridden where they are had for less."""
        return {name: value.mean() for name, value in self.terms(z, out, x).items()}

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Learn from the terms of a step what is not learned by gradient; nothing unless overridden."""

    def phases(self, coder: Coder) -> tuple[Phase, ...]:
        """What of it is trained after the model, which is then held; nothing unless overridden. What moves in
        these phases rests while the model trains."""
        del coder
        return ()

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        """What a reader of numbers in nats must know, in plain sentences."""
        return ()


# What a model's constructor takes: of a likelihood everything but what the model itself gives.
LikelihoodRecipe = Annotated[
    Any, Makes(Likelihood, ("event_shape", "value_range", "columns", "latent_dim", "network"))
]


class BernoulliLikelihood(Likelihood):
    """p(x|z) = prod_i Bernoulli(x_i; sigmoid(out_i)). On grey values in (0, 1) the binary cross-entropy is
    not a likelihood. Misfit for data outside [0, 1]."""

    def __init__(self, event_shape: tuple[int, ...], value_range: tuple[float, float]):
        super().__init__()
        if value_range[0] < 0 or value_range[1] > 1:
            limits = list(value_range)
            raise Misfit(
                f"model.likelihood: bernoulli needs data in [0, 1]; these lie in {limits}: use gaussian"
            )
        self.event_dims = len(event_shape)

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        return out.sigmoid()

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        nll = F.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(1)
        mse = (x - out.detach().sigmoid()).square().flatten(1).mean(1)
        return {"reconstruction": nll, "mse": mse}

    def means(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Summed at once, without a number for every dimension of x."""
        nll = F.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x)
        return {"reconstruction": nll, "mse": F.mse_loss(out.detach().sigmoid(), x)}

    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=out, validate_args=False), self.event_dims, validate_args=False)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        if data.binary:
            return ()
        return (
            "Binary cross-entropy on grey values is not a likelihood: its nats compare with those of no "
            "other model.",
        )


class GaussianLikelihood(Likelihood):
    """p(x|z) = N(x; mu(z), gamma² I).

    mu(z) is the decoder's output; with ``squash`` through a sigmoid onto the data's range (Misfit where that
    is not finite). ``balance``: ``fixed`` keeps gamma = ``scale``; ``learned`` makes log gamma a parameter;
    ``running_mse`` sets gamma² <- min(gamma², 0.99 gamma² + 0.01 batch mse) after every step (Asperti &
    Trentin 2020, arXiv 2002.07514), which keeps the reconstruction term near D/2 so that the KL term cannot
    prevail. gamma² = 1/2 gives the plain squared error summed over data dimensions, up to a constant.
    """

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        scale: Annotated[float, Gt(0)],
        balance: Balance,
        squash: bool,
    ):
        super().__init__()
        self.event_dims, self.size, self.balance = len(event_shape), prod(event_shape), balance
        self.limits = finite_range(squash, value_range, "model.likelihood.squash")
        # Plain numbers where gamma stays: seven small operations fewer at every step.
        constant = self.size * (log(scale) + 0.5 * log(2 * pi))
        self.fixed = (0.5 / scale**2, constant) if balance == "fixed" else None
        log_scale = torch.tensor(log(scale))
        if balance == "learned":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        return squashed(out, self.limits)

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """With ½ D log 2 pi gamma²; in one pass."""
        return self._of(F.mse_loss(squashed(out, self.limits), x, reduction="none").flatten(1).sum(1))

    def means(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """Summed at once, without a number for every dimension of x."""
        return self._of(F.mse_loss(squashed(out, self.limits), x, reduction="sum") / len(x))

    def _of(self, squared: Tensor) -> dict[str, Tensor]:
        """The terms of squared errors that are summed over data dimensions."""
        if self.fixed:
            weight, constant = self.fixed
        else:
            weight = 0.5 * torch.exp(-2 * self.log_scale)
            constant = self.size * (self.log_scale + 0.5 * log(2 * pi))
        return {"reconstruction": squared * weight + constant, "mse": squared.detach() / self.size}

    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        law = Normal(squashed(out, self.limits), self.log_scale.exp(), validate_args=False)
        return Independent(law, self.event_dims, validate_args=False)

    @torch.no_grad()
    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Move gamma after a step, from its ``mse`` (mean squared error per data dimension)."""
        if self.balance == "running_mse":
            self.log_scale.copy_(running(self.log_scale, terms["mse"]))


class MixedLikelihood(Likelihood):
    """p(x|z) of a table's rows, columns independent given z: real ones N(mu(z), gamma²), ordinal ones an
    ordered logit in eta(z), categorical ones a softmax of logits(z); mu, eta and logits are the decoder's
    output. Misfit for data without columns.

    ``scale``, ``balance``: gamma of the real columns, one for all as in :class:`GaussianLikelihood`;
    ``learned`` gives each column its own. The thresholds of ordinal columns are learned: the first and the
    logarithms of the gaps to the next, so they always increase. At eta = 0 they begin as those of the
    logistic distribution with the training levels' mean and standard deviation.
    """

    def __init__(self, columns: Sequence[Column], scale: Annotated[float, Gt(0)], balance: Balance):
        super().__init__()
        if not columns:
            raise Misfit(
                "model.likelihood: mixed needs the columns of a table; these data have none: use auto or "
                "gaussian"
            )
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
        beyond = torch.arange(most - 1) >= self.layout.levels.unsqueeze(1) - 1
        self.register_buffer("_beyond", beyond, persistent=False)

    @property
    def thresholds(self) -> Tensor:
        """``(n_ordinal, K - 1)``, +inf beyond a column's own."""
        gaps = torch.cat([self.first.unsqueeze(1), self.log_gaps.exp() + NARROWEST], 1)
        return gaps.cumsum(1).masked_fill(self._beyond, torch.inf)

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        """Means, expected levels, probabilities of categories."""
        return self.distribution(z, out).mean

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        """``mse`` over all encoded values; ``mse_real`` over those of real columns (no gradient)."""
        law = self.distribution(z, out)
        with torch.no_grad():
            squared = (x - law.mean).square()
            real = squared.index_select(1, self.layout.real)
            errors = {"mse": squared.mean(1), "mse_real": real.sum(1) / max(1, real.shape[1])}
        return {"reconstruction": -law.log_prob(x), **errors}

    def distribution(self, z: Tensor, out: Tensor) -> Mixed:
        return Mixed(self.layout, out, self.log_scale.exp(), self.thresholds)

    @torch.no_grad()
    def observe(self, terms: Mapping[str, Tensor]) -> None:
        """Move gamma after a step, from its ``mse_real`` (mean squared error per real column)."""
        if self.balance == "running_mse" and len(self.layout.real):
            self.log_scale.copy_(running(self.log_scale, terms["mse_real"]))


class AutoLikelihood(Likelihood):
    """:class:`MixedLikelihood` for tables whose columns are not all real, else :class:`GaussianLikelihood`;
    it is ``law`` and does what that does. ``squash`` counts for the second."""

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: Sequence[Column],
        scale: Annotated[float, Gt(0)],
        balance: Balance,
        squash: bool,
    ):
        super().__init__()
        self.law: Likelihood
        if all(column.kind == "real" for column in columns):
            self.law = GaussianLikelihood(event_shape, value_range, scale, balance, squash)
        else:
            self.law = MixedLikelihood(columns, scale, balance)

    def mean(self, z: Tensor, out: Tensor) -> Tensor:
        return self.law.mean(z, out)

    def terms(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        return self.law.terms(z, out, x)

    def means(self, z: Tensor, out: Tensor, x: Tensor) -> dict[str, Tensor]:
        return self.law.means(z, out, x)

    def distribution(self, z: Tensor, out: Tensor) -> Distribution:
        return self.law.distribution(z, out)

    def moments(self, z: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        return self.law.moments(z, out)

    def observe(self, terms: Mapping[str, Tensor]) -> None:
        self.law.observe(terms)

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        return self.law.caveats(data)

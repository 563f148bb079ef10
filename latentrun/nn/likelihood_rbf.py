"""Normal p(x|z) whose precision is large near codes and small everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentrun.callbacks import Begin
from latentrun.config.bounds import Between, Count, Gt
from latentrun.errors import InputError
from latentrun.functional.clouds.clusters import kmeans
from latentrun.functional.noise import Noise
from latentrun.nn.base import Network
from latentrun.nn.likelihood import Coder
from latentrun.nn.likelihood_variance import ChangingVariance, NetworkVariance, gaussian_terms, require_real
from latentrun.types import Batch, Clock, Column, Objective, Phase

if TYPE_CHECKING:
    from latentrun.data.base import Dataset

CHUNK = 512  # rows whose residuals are held at once
TINY = 1e-6  # spread of codes that are all one point
FAINTEST = -60.0  # logarithm of a kernel


class RBFPrecision(ChangingVariance):
    """1 / sigma²(z) = beta(z) = W v(z) + zeta with v_k(z) = exp(-lambda_k |z - c_k|²), W > 0 ``(K, D)``: away
    from all codes beta falls to zeta, so sigma rises to zeta^(-1/2) (Arvanitidis et al. 2018, arXiv
    1710.11379, eq. 9 to 11). sigma never falls below ``least``: sigma² = 1 / beta + least² (theirs has no
    floor; see :class:`~latentrun.nn.likelihood_variance.ChangingVariance`).

    Trained in two phases. While the model trains, sigma is what ``before`` says: ``constant``, equal to
    ``scale`` everywhere, or ``network``, a :class:`~latentrun.nn.likelihood_variance.NetworkVariance` that
    begins at ``scale``. Then encoder and decoder are held, the ``centers`` c_k are found by k-means on the
    ``codes`` of all training rows (their ``mean``, as the paper; or one of each ``drawn`` from q(z|x), which
    where a latent variable is not used lies far beyond all means), lambda_k = ½ (``width`` · mean distance of
    the cluster's codes to c_k)^-2, and ``epochs`` (null: those of the training) move log W alone, by
    ``weights_by``: ``likelihood``, that of the training rows, as the paper; or ``network``, the mean squared
    difference to the network's log sigma², as the author's code, with 100 centres, width 1.25 and a ceiling
    of 1000.

    ``narrowest``: least mean distance that a cluster is taken to have, for one of a single code has none, as
    a share of the mean over all codes. ``ceiling``: zeta = (ceiling · s)^-2, s the mean over codes and data
    dimensions of the network's sigma, or, without one, the root mean square of x - mu(z); the paper only says
    zeta -> 0. W starts at the inverse of the squares x - mu(z) (of the network's sigma²) averaged with the
    weights v_k, over the mean of sum_k v_k; log W moves ``speed`` times as fast as a parameter would with the
    training's learning rate, which is meant for networks. Misfit for tables whose columns are not all real.
    """

    log_start: Tensor
    centers: Tensor
    bandwidth: Tensor
    floor: Tensor
    fitted: Tensor

    def __init__(
        self,
        event_shape: tuple[int, ...],
        value_range: tuple[float, float],
        columns: Sequence[Column],
        latent_dim: Annotated[int, Count(1, 100_000)],
        network: Network,
        before: Literal["constant", "network"],
        weights_by: Literal["likelihood", "network"],
        scale: Annotated[float, Gt(0)],
        least: Annotated[float, Gt(0)],
        centers: Annotated[int, Count(1, 100_000)],
        codes: Literal["mean", "drawn"],
        width: Annotated[float, Gt(0)],
        narrowest: Annotated[float, Between(0, 1, open_=True)],
        ceiling: Annotated[float, Gt(0)],
        epochs: Annotated[int, Count(0)] | None,
        speed: Annotated[float, Gt(0)],
        squash: bool,
    ):
        require_real(columns, "rbf")
        super().__init__(event_shape, value_range, least, squash)
        if weights_by == "network" and before != "network":
            raise InputError("model.likelihood.weights_by: network needs before=network, got before=constant")
        self.weights_by, self.codes, self.start = weights_by, codes, scale
        self.width, self.narrowest, self.ceiling, self.epochs = width, narrowest, ceiling, epochs
        self.before: NetworkVariance | None = None
        if before == "network":
            self.before = NetworkVariance(
                event_shape, value_range, columns, latent_dim, network, scale, least, squash
            )
        self.speed = speed
        self.moved = nn.Parameter(torch.zeros(centers, self.size))
        self.register_buffer("log_start", torch.full((centers, self.size), -2 * log(scale)))
        self.register_buffer("centers", torch.zeros(centers, latent_dim))
        self.register_buffer("bandwidth", torch.ones(centers))
        self.register_buffer("floor", torch.tensor((ceiling * scale) ** -2))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    # ---------------------------------------------------------------- sigma
    def kernels(self, z: Tensor) -> Tensor:
        """v(z) ``(N, K)``, no less than e^-60: a processor is slow with numbers that are hardly any."""
        distance2 = (z.unsqueeze(1) - self.centers).square().sum(2)
        return (-self.bandwidth * distance2).clamp_min(FAINTEST).exp()

    @property
    def log_weight(self) -> Tensor:
        """log W ``(K, D)``."""
        return self.log_start + self.speed * self.moved

    def precision(self, z: Tensor) -> Tensor:
        """beta(z) ``(N, *event_shape)``, in squared inverse data units."""
        beta = F.linear(self.kernels(z), self.log_weight.exp().mT) + self.floor
        return beta.unflatten(1, self.event_shape)

    def scale_after(self, z: Tensor) -> Tensor:
        """sigma(z) of the second phase."""
        return (self.precision(z).reciprocal() + self.least**2).sqrt()

    def scale_before(self, z: Tensor) -> Tensor:
        """sigma(z) while the model trains."""
        if self.before is not None:
            return self.before.scale_at(z)
        return z.new_full((), self.start).expand(len(z), *self.event_shape)

    def scale_at(self, z: Tensor) -> Tensor:
        return torch.where(self.fitted, self.scale_after(z), self.scale_before(z))

    def moments(self, z: Tensor, out: Tensor) -> tuple[Tensor, ...]:
        """Of one of the two alone, for what asks for derivatives of it."""
        return self.mean(z, out), self.scale_after(z) if self.fitted else self.scale_before(z)

    # ---------------------------------------------------------------- the second phase
    def phases(self, coder: Coder) -> tuple[Phase, ...]:
        def terms(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            with torch.no_grad():
                z = coder.draw(batch.x, noise)
                mean = self.mean(z, coder.decoder(z))
            log_scale = self.scale_after(z).log()
            found = gaussian_terms(mean, log_scale, batch.x)
            if self.before is None or self.weights_by == "likelihood":
                return {"loss": found["reconstruction"]} | found
            with torch.no_grad():
                wanted = self.before.scale_at(z).log()
            far = (2 * (log_scale - wanted)).square().flatten(1).mean(1)
            return {"loss": far, "log_variance_error": far} | found

        def loss(batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
            return {name: values.mean() for name, values in terms(batch, noise).items()}

        def monitor(batch: Batch, noise: Noise) -> dict[str, Tensor]:
            found = terms(batch, noise)
            return {"monitor": found.pop("loss")} | found

        return (
            Phase(
                "precision",
                (Objective("precision", [self.moved], loss),),
                monitor=monitor,
                epochs=self.epochs,
                callbacks=(Begin(lambda batch, noise: self.place(batch.x, coder, noise)),),
                records=False,
            ),
        )

    @torch.no_grad()
    def place(self, x: Tensor, coder: Coder, noise: Noise) -> None:
        """Centres, bandwidths, floor and first weights, from all training rows ``x``."""
        drawn = self.codes == "drawn"
        codes = [
            coder.draw(part.to(self.centers), noise.at(i)) if drawn else coder.center(part.to(self.centers))
            for i, part in enumerate(x.split(CHUNK))
        ]
        clusters = kmeans(torch.cat(codes), len(self.centers), noise)
        # Where there are fewer codes than centres some stand for several.
        place = torch.arange(len(self.centers), device=self.centers.device) % len(clusters.centers)
        share = clusters.label.bincount(minlength=len(clusters.spread)) / len(clusters.label)
        least = (self.narrowest * (share * clusters.spread).sum()).clamp_min(TINY)
        self.centers.copy_(clusters.centers[place])
        self.bandwidth.copy_(0.5 * (self.width * clusters.spread[place].clamp_min(least)) ** -2)
        self._weigh(x, codes, coder)
        self.fitted.fill_(True)

    def _weigh(self, x: Tensor, codes: Sequence[Tensor], coder: Coder) -> None:
        """zeta, and W as it starts."""
        near, sums = torch.zeros_like(self.bandwidth), torch.zeros_like(self.log_start)
        squares, scales = self.floor.new_zeros(()), self.floor.new_zeros(())
        for part, z in zip(x.split(CHUNK), codes, strict=True):
            if self.before is None:
                variance = (part.to(z) - self.mean(z, coder.decoder(z))).square().flatten(1)
            else:
                variance = self.before.scale_at(z).square().flatten(1)
            v = self.kernels(z)
            near, sums = near + v.sum(0), sums + v.T @ variance
            squares, scales = squares + variance.sum(), scales + variance.sqrt().sum()
        n, numbers = len(x), len(x) * self.size
        typical = (squares / numbers).sqrt() if self.before is None else scales / numbers
        self.floor.copy_((self.ceiling * typical.clamp_min(self.least)) ** -2)
        variance = sums / near.clamp_min(torch.finfo(near.dtype).tiny).unsqueeze(1) + self.least**2
        self.log_start.copy_(-(variance * near.sum() / n).log())
        self.moved.zero_()

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        if not self.fitted:
            return super().caveats(data)
        far = self.floor.item() ** -0.5
        return (
            *super().caveats(data),
            f"Away from all codes the standard deviation rises to {far:.3g} data units "
            "(model.likelihood.ceiling).",
        )

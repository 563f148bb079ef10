"""A learned embedding: the decoder of a Wasserstein autoencoder of a manifold's own points, trained until it
is good."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from latentrun.callbacks import Callback, approach
from latentrun.config.bounds import Between, Count, Each, Ge, Gt
from latentrun.functional.distances.kernels import Kernel, mmd2
from latentrun.functional.embedding_quality import EmbeddingQuality, embedding_quality
from latentrun.functional.noise import Noise, seeded
from latentrun.manifolds import Charted, Compact
from latentrun.nn.dense import layers
from latentrun.nn.embedding_hidden import BetaKind, HiddenKind
from latentrun.nn.initial import scaled
from latentrun.types import Batch, Clock, FromStream, Objective, Phase

EPOCH = 100  # steps
JUDGED = 1000  # u at which an embedding is judged
DECAY = 0.99  # of the moving average of the decoder's weights
NAMES = (
    *("max_distance", "mean_distance", "mmd2", "gap", "least_stretch", "twins"),
    *("turns", "backward", "kuiper", "seam"),
    *("volume", "gap_ratio", "folded"),
)


@dataclass(frozen=True)
class Limits:
    """What a good embedding keeps, see :class:`~latentrun.functional.embedding_quality.EmbeddingQuality`:
    most of ``max_distance``, ``mmd2`` and ``twins``; of a curve, least of ``least_stretch`` (onto a sphere
    every map of a square has points where it is 0), most of ``backward`` and of the ``turns`` by which it
    misses one; in more dimensions most of what the ``volume`` misses of 1, of ``gap_ratio`` and ``folded``.

    No gap of a curve is judged: the image is one arc, and what it leaves bare is what it lacks of a turn.
    The networks of a good surface have small folds where its seams meet, so more of it may be ``folded`` than
    of a curve run ``backward``."""

    max_distance: Annotated[float, Gt(0)]
    mmd2: Annotated[float, Gt(0)]
    least_stretch: Annotated[float, Between(0, 1)]
    twins: Annotated[float, Between(0, 1)]
    turns: Annotated[float, Gt(0)]
    backward: Annotated[float, Between(0, 1)]
    volume: Annotated[float, Gt(0)]
    gap_ratio: Annotated[float, Gt(0)]
    folded: Annotated[float, Between(0, 0.5)]

    def faults(self, quality: Mapping[str, float]) -> list[str]:
        """What is broken, in words; nothing for a good embedding. What was not measured is missing or NaN."""
        q = {name: quality.get(name, math.nan) for name in NAMES}
        names = ("max_distance", "mmd2", "twins", "backward", "gap_ratio", "folded")
        most = {name: getattr(self, name) for name in names}
        faults = [f"{name} {q[name]:.2g} > {limit:g}" for name, limit in most.items() if q[name] > limit]
        is_curve = not math.isnan(q["turns"])
        if is_curve and q["least_stretch"] < self.least_stretch:
            faults.append(f"least_stretch {q['least_stretch']:.2g} < {self.least_stretch:g}")
        if abs(abs(q["turns"]) - 1) > self.turns:
            faults.append(f"turns {q['turns']:.2f}, not 1")
        if abs(q["volume"] - 1) > self.volume:
            faults.append(f"volume {q['volume']:.2f}, not 1")
        return faults


@dataclass(frozen=True)
class EmbeddingTraining:
    """How an embedding is learned: dense networks of ``widths``, ``steps`` of ``points`` points each; the
    loss is the squared error, summed over coordinates, + ``weight`` MMD² of the codes to their prior with
    ``kernel`` (as in :class:`latentrun.models.wae.WAE`, one scale). Where the result breaks ``limits`` it is
    learned anew from other weights, at most ``restarts`` times."""

    widths: Annotated[list[int], Each(Count(1, 65_536))]
    steps: Annotated[int, Count(EPOCH, 1_000_000)]
    points: Annotated[int, Count(2, 100_000)]
    weight: Annotated[float, Ge(0)]
    kernel: Kernel
    restarts: Annotated[int, Count(0, 100)]
    limits: Limits


class LearnedEmbedding(nn.Module):
    """psi: R^m or [0, 1]^m -> R^d of a hidden variable with the prior of ``kind``, trained on endless points
    of ``space`` by as many phases as there may be attempts: those after a good one end at once.

    psi is the exponential moving average of the decoder, frozen. ``restarts``, ``quality`` (by ``NAMES``) of
    the last attempt and whether it is ``good`` are buffers of the model.
    """

    restarts: Tensor
    quality: Tensor
    good: Tensor
    width: Tensor

    def __init__(self, space: Compact, kind: HiddenKind, training: EmbeddingTraining):
        super().__init__()
        self.space, self.kind, self.training_plan = space, kind, training
        self.bounded = isinstance(kind, BetaKind)
        self.encoder, self.decoder = self._networks()
        self.average = copy.deepcopy(self.decoder).requires_grad_(False)
        self.register_buffer("restarts", torch.zeros((), dtype=torch.int64))
        self.register_buffer("good", torch.zeros((), dtype=torch.bool))
        self.register_buffer("quality", torch.full((len(NAMES),), math.nan))
        # E|u - u'|² of two draws of the prior
        width = space.dim / 6 if self.bounded else 2.0 * space.dim
        self.register_buffer("width", torch.tensor(width), persistent=False)

    def _networks(self) -> tuple[nn.Module, nn.Module]:
        m, d, widths = self.space.dim, self.space.ambient_dim, self.training_plan.widths
        encoder, decoder = layers([d, *widths, m]), layers([m, *reversed(widths), d])
        return scaled(nn.Sequential(*encoder)), scaled(nn.Sequential(*decoder))

    def _standard(self, u: Tensor) -> Tensor:
        """u with mean 0 and variance 1, as the decoder takes it."""
        return (u - 0.5) * math.sqrt(12) if self.bounded else u

    def raw(self, u: Tensor) -> Tensor:
        """What the network makes of ``u (..., m)``: near the manifold, not on it."""
        return self.average(self._standard(u))

    def forward(self, u: Tensor) -> Tensor:
        """psi(u) ``(..., d)``, the nearest point of the manifold to the network's output."""
        return self.space.project(self.raw(u))

    # ---------------------------------------------------------------- how it is learned
    def loss(self, batch: Batch, noise: Noise, clock: Clock) -> dict[str, Tensor]:
        """Squared error summed over coordinates, mean over points, + weight MMD² of the codes."""
        code = self.encoder(batch.x)
        code = code.sigmoid() if self.bounded else code
        error = (batch.x - self.decoder(self._standard(code))).square().sum(-1).mean()
        prior = self.kind.sample(len(code), self.space.dim, noise).to(code)
        far = mmd2(code, prior, self.training_plan.kernel, self.width, [1.0])
        return {"loss": error + self.training_plan.weight * far, "squared_error": error, "mmd2": far}

    def phases(self) -> tuple[Phase, ...]:
        """An attempt each."""
        trained = [*self.encoder.parameters(), *self.decoder.parameters()]
        plan = self.training_plan
        epochs = -(-plan.steps // EPOCH)
        source = FromStream(lambda n, noise: Batch(self.space.sample(plan.points, noise)), EPOCH)
        return tuple(
            Phase(
                "embedding" if number == 0 else f"embedding/{number + 1}",
                (Objective("embedding", trained, self.loss),),
                source=source,
                epochs=epochs,
                callbacks=(Attempt(self, number, epochs * EPOCH),),
                records=False,
            )
            for number in range(plan.restarts + 1)
        )

    def renew(self, seed: int) -> None:
        """Other initial weights."""
        with seeded(seed):
            encoder, decoder = self._networks()
        self.encoder.load_state_dict(encoder.state_dict())
        self.decoder.load_state_dict(decoder.state_dict())
        self.average.load_state_dict(decoder.state_dict())

    def judge(self) -> None:
        """Keep how good it is, and whether that is enough."""
        found = measured(self.raw, self.kind, self.space, JUDGED, Noise(0).to(self.quality.device)).flat()
        self.quality.copy_(torch.tensor([found.get(name, math.nan) for name in NAMES]))
        self.good.fill_(not self.training_plan.limits.faults(found))

    def attempts(self) -> dict[str, float]:
        """How often it was learned anew, and whether the last attempt is good."""
        return {"restarts": float(self.restarts), "good": float(self.good)}

    def caveats(self) -> tuple[str, ...]:
        """What became of it, in a sentence; nothing before it was tried."""
        found = {name: value for name, value in zip(NAMES, self.quality.tolist(), strict=True)}
        if math.isnan(found["max_distance"]):
            return ()
        shown = ", ".join(f"{name} {value:.3g}" for name, value in found.items() if not math.isnan(value))
        count = int(self.restarts)
        text = f"The embedding of the latent space was learned ({count} restart{'s' * (count != 1)}): {shown}"
        faults = self.training_plan.limits.faults(found)
        return (f"{text}; it is not good: {', '.join(faults)}." if faults else f"{text}.",)


class Attempt(Callback):
    """One attempt to learn an embedding: begins with new weights where the one before it was no good, and is
    over at once where it was."""

    def __init__(self, learned: LearnedEmbedding, number: int, steps: int):
        super().__init__()
        self.parts, self.number, self.steps = (learned,), number, steps

    def begin(self, batch: Batch, noise: Noise) -> None:
        (learned,) = self.parts
        if self.number and not learned.good:
            learned.restarts.fill_(self.number)
            learned.renew(int(noise.to("cpu").integers("weights", 2**62, (1,))))

    @torch.no_grad()
    def after_step(self, terms: Mapping[str, Tensor], clock: Clock) -> None:
        (learned,) = self.parts
        approach(learned.average, learned.decoder, DECAY)

    def epoch_end(self, clock: Clock) -> None:
        (learned,) = self.parts
        if clock.step >= self.steps:
            learned.judge()

    def finished(self) -> str | None:
        (learned,) = self.parts
        return f"a good embedding after {int(learned.restarts)} restarts" if learned.good else None


def is_closed(space: Compact) -> bool:
    """Whether a curve is one without ends: it has a loop."""
    return space.betti is not None and space.betti[1:] == (1,)


def measured(
    psi: Callable[[Tensor], Tensor], kind: HiddenKind, space: Compact, n: int, noise: Noise
) -> EmbeddingQuality:
    """How good a map psi of hidden variables of ``kind`` onto a space is, at n of them."""
    unembed = space.unembed if isinstance(space, Charted) else None
    return embedding_quality(lambda v: psi(kind.quantile(v)), space, noise, n, unembed, is_closed(space))

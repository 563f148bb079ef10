"""Posteriors on a manifold through an embedding of a cube: the hidden variable u has a law of its own, z =
psi(u) (Golikov & Kretov 2018)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from latentrun.distributions.base import Draws, Law
from latentrun.errors import InputError
from latentrun.functional.embedding_quality import push_forward
from latentrun.functional.noise import Noise
from latentrun.manifolds import Charted, Compact, Finite, Manifold, Symmetric
from latentrun.nn.embedding_hidden import HIDDEN, HiddenKind
from latentrun.nn.embedding_learned import EmbeddingTraining, LearnedEmbedding, is_closed, measured
from latentrun.nn.posterior import Coding, Posterior, Unneeded
from latentrun.types import Phase

if TYPE_CHECKING:
    from latentrun.data.base import Dataset

GRID = 4096  # parts of equal prior mass by which the law of psi(u) on a curve is known


class ExactEmbedding(nn.Module):
    """The manifold's own psi, of shares of the prior of u."""

    def __init__(self, space: Charted, kind: HiddenKind):
        super().__init__()
        self.space, self.kind = space, kind

    def forward(self, u: Tensor) -> Tensor:
        """psi(u) ``(..., d)`` of ``u (..., m)``."""
        return self.space.embed(self.kind.share(u))

    raw = forward

    def phases(self) -> tuple[Phase, ...]:
        """Nothing to learn."""
        return ()

    def attempts(self) -> dict[str, float]:
        """None were made."""
        return {}


class Embedding(Posterior):
    """q(z|x): z = psi(u), or g(x) psi(u) with ``group_action``, for u ~ q(u|x) in m = dim dimensions.

    ``law`` of u: ``beta`` against the uniform prior of [0, 1]^m, or ``normal`` against N(0, I).
    ``embedding`` psi: ``exact``, the manifold's own, which takes the prior of u to the uniform law; or
    ``learned`` (see :class:`~latentrun.nn.embedding_learned.LearnedEmbedding`), whose prior on the manifold
    is the law of psi(u), whatever that is. ``group_action``: the encoder also gives an element g of the
    manifold's symmetry group, which moves psi(u).

    KL(q(z|x) || p(z)) = KL(q(u|x) || p(u)), for a psi that is one to one; of one that is not, that of the
    model whose latent variable is u. An element g changes nothing in it where p(z) is invariant, as of an
    exact psi. Of a learned one it adds E_q[log p(psi(u)) - log p(g psi(u))], which the source, the loss and
    :meth:`Coding.kl` leave out. ``Draws`` of a curve have that term, with the density p(z) of psi(u) as the
    sum over all its pre-images: their weights are unbiased for folded psi too. Where psi leaves a gap they
    are -inf where g leads into it, and too small on average, for no draw comes from it: still a lower bound.
    In more dimensions the term is not known.
    """

    def __init__(
        self,
        space: Manifold,
        law: Literal["beta", "normal"],
        embedding: Literal["exact", "learned"],
        group_action: bool,
        learning: EmbeddingTraining,
    ):
        super().__init__()
        self.psi: ExactEmbedding | LearnedEmbedding
        require_embeddable(space, law, group_action, embedding == "learned")
        assert isinstance(space, Compact)
        self.space = self.compact = space
        self.kind, self.group_action = HIDDEN[law], group_action
        self.register_buffer("_origin", torch.zeros(()), persistent=False)
        if embedding == "learned":
            self.psi = LearnedEmbedding(space, self.kind, learning)
        elif isinstance(space, Charted):
            self.psi = ExactEmbedding(space, self.kind)
        else:
            raise InputError(
                f"model.posterior.embedding: {space.name} has no exact embedding; allowed: learned"
            )
        group = space.group_features if group_action and isinstance(space, Symmetric) else 0
        self.features = 2 * space.dim + group

    def coding(self, h: Tensor) -> EmbeddedCoding:
        m = self.space.dim
        law = self.kind.law(h[..., : 2 * m])
        return EmbeddedCoding(self, law, h[..., 2 * m :] if self.group_action else None)

    def moved(self, u: Tensor, g: Tensor | None) -> Tensor:
        """g psi(u) ``(..., d)``."""
        z = self.psi(u)
        if g is None:
            return z
        assert isinstance(self.space, Symmetric)
        return self.space.act(g, z)

    @property
    def invariant(self) -> bool:
        """Whether the prior is the same after every element of the group that may act."""
        return not self.group_action or isinstance(self.psi, ExactEmbedding)

    @torch.no_grad()
    def group_term(self, u: Tensor, z: Tensor) -> Tensor | None:
        """log p(z) - log p(psi(u)) ``(...)`` for z = g psi(u), in nats, of a curve, else None; -inf where z
        lies where psi never goes."""
        space = self.space
        if space.dim > 1 or not isinstance(space, Charted):
            return None
        edges = torch.linspace(0, 1, GRID + 1, dtype=torch.float64, device=u.device).unsqueeze(1).to(u)
        path = space.unembed(self.psi(self.kind.quantile(edges)))[:, 0]
        law = push_forward(path, is_closed(space))
        after, before = (law.log_density(space.unembed(points)[..., 0]) for points in (z, self.psi(u)))
        # A point of psi between the grid and the end of the image has no density there: it gets no weight.
        return torch.where(before.isfinite(), after - before, -torch.inf).to(u.dtype)

    def sample_prior(self, n: int, noise: Noise) -> Tensor:
        return self.psi(self.kind.sample(n, self.space.dim, noise).to(self._origin))

    def prior_at(self, u: Tensor) -> Tensor | None:
        return self.psi(self.kind.quantile(u.to(self._origin)))

    def quality(self, n: int, noise: Noise) -> dict[str, float]:
        """How good psi is, at n hidden variables, by the names of :class:`~latentrun.functional.
        embedding_quality.EmbeddingQuality`; of a learned one also how it came about: the ``restarts`` it
        took, and whether it kept its limits (``good``, 1 or 0)."""
        numbers = measured(self.psi.raw, self.kind, self.compact, n, noise.to(self._origin.device)).flat()
        return {**numbers, **self.psi.attempts()}

    def phases(self) -> tuple[Phase, ...]:
        return self.psi.phases()

    def caveats(self, data: Dataset) -> tuple[str, ...]:
        if isinstance(self.psi, ExactEmbedding):
            return ()
        notes = [*self.psi.caveats()]
        if self.group_action:
            known = (
                "the weights of draws have it, -inf where g leads to where the embedding never goes; if it "
                "leaves such a gap they are too small on average: a bound, but a lower one"
                if self.space.dim == 1
                else f"on {self.space.name} it is not known, and nothing here bounds log p(x)"
            )
            notes.append(
                "A learned embedding's prior is not invariant under the group: the loss, the KL and the ELBO "
                f"of training lack a term (uncorrected); {known}."
            )
        return tuple(notes)


class EmbeddedCoding(Coding):
    """q(z|x) through psi: ``hidden`` q(u|x), and what names g ``(N, group_features)``."""

    def __init__(self, family: Embedding, hidden: Law, g: Tensor | None):
        self.family, self.hidden, self.g = family, hidden, g

    @property
    def center(self) -> Tensor:
        return self.family.moved(self.hidden.center, self.g)

    def parameters(self) -> dict[str, Tensor]:
        return self.family.kind.parameters(self.hidden) | ({} if self.g is None else {"group": self.g})

    def draw(self, noise: Noise) -> Tensor:
        return self.family.moved(self.hidden.draw(noise), self.g)

    def kl(self) -> Tensor:
        """KL(q(u|x) || p(u)) ``(N,)``."""
        return self.family.kind.kl(self.hidden)

    def draws(self, n: int, noise: Noise) -> Draws:
        u = self.hidden.draw(noise, torch.Size([n]))
        z = self.family.moved(u, self.g)
        plain = self.family.kind.prior(u) - self.hidden.log_prob(u)
        if self.family.invariant:
            return Draws(z, plain)
        term = self.family.group_term(u, z)
        return Draws(z, None if term is None else plain + term, plain)


def require_embeddable(space: Manifold, law: str, group_action: bool, learned: bool) -> None:
    """InputError for a space that no cube is embedded in, or a group it has not."""
    if not isinstance(space, Compact):
        bounded = "a Beta posterior lives on bounded spaces" if law == "beta" else "nothing is to be embedded"
        raise InputError(f"model.posterior: {space.name} is unbounded: {bounded}; use model.posterior=normal")
    if isinstance(space, Finite):
        asked = "embedding=learned" if learned else "group_action=true" if group_action else None
        if asked is not None:
            raise InputError(
                f"model.posterior.{asked}: {space.name} is a finite set, nothing is embedded in it"
            )
        raise Unneeded(f"model.posterior: {space.name} is a finite set, which no cube is embedded in")
    if group_action and not isinstance(space, Symmetric):
        raise InputError(
            f"model.posterior.group_action: {space.name} has no group that takes every point to every other; "
            "allowed: false"
        )

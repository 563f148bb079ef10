"""A finished run: the trained model, its data, and what several diagnostics need of them, computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from latentrun.data.base import Dataset
from latentrun.functional.noise import Noise, seeded
from latentrun.models.base import (
    HasEncoder,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasPosterior,
    HasSamplers,
    Model,
)
from latentrun.types import History, Latents, Report, Split

T = TypeVar("T")
CHUNK = 512  # rows per pass through a network: fits the cache of a small machine, fills a large one


@dataclass(frozen=True, eq=False)
class Run:
    """Model and data on ``device``, in evaluation mode, never changed by what reads them.

    ``name`` tells the run in tables; ``config`` is the resolved configuration as plain values, ``meta`` what
    meta.json says of its making; ``metrics`` is the table of all that was measured of it, ``reports`` what
    each diagnostic found, ``curves`` the table of its training, a row an epoch (empty where it was not
    trained itself), ``notes`` what is to be said of how it was loaded, ``training_codes`` the codes ``(N,
    d)`` of its training rows, where they are stored.
    Everything given out is a tensor on ``device`` unless said otherwise; no gradient is
    tracked by :meth:`encode`, :meth:`decode` and :meth:`posterior`.
    """

    model: Model
    data: Dataset
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    seed: int = 0
    name: str = "run"
    config: Mapping[str, Any] = field(default_factory=dict)
    history: History | None = None
    directory: Path | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    metrics: pd.DataFrame = field(default_factory=pd.DataFrame)
    reports: Mapping[str, Report] = field(default_factory=dict)
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    training_codes: Tensor | None = None
    _made: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.model.to(self.device).eval().requires_grad_(False)

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, computed when ``key`` is first asked for: what several diagnostics need, such as
        ``("whitening", split, flat)``. Whoever gets it must not change it."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    # ---------------------------------------------------------------- rows
    def x(self, split: str) -> Tensor:
        """The examples of a split, ``(N, *event_shape)`` float32."""
        return self.once(("x", split), lambda: self.data.split(split).x.to(self.device))

    # ---------------------------------------------------------------- the model in chunks
    @torch.no_grad()
    def chunked(self, function: Callable[[Tensor], Any], x: Tensor) -> list:
        """What a function makes of ``x (N, ...)``, part by part of its rows."""
        return [function(part) for part in x.to(self.device).split(CHUNK)]

    def encode(self, x: Tensor) -> Tensor:
        """Codes ``(N, d)`` of examples; the posterior's mean where there is one."""
        assert isinstance(self.model, HasEncoder)
        return torch.cat(self.chunked(self.model.encode, x))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(N, d)`` of q(z|x); for models with a Gaussian posterior."""
        assert isinstance(self.model, HasGaussianPosterior)
        laws = self.chunked(self.model.posterior, x)
        return torch.cat([q.mean for q in laws]), torch.cat([q.stddev for q in laws])

    def decode(self, z: Tensor, space: str = "z") -> Tensor:
        """Mean of p(x|z), ``(N, *event_shape)``."""
        return torch.cat(self.chunked(lambda part: self.model.decode(part, space), z))

    def draw(self, z: Tensor, noise: Noise) -> Tensor:
        """A draw from p(x|z) for each code, ``(N, *event_shape)``; for models with a likelihood."""
        model = self.model
        assert isinstance(model, HasLikelihood)
        with torch.no_grad(), seeded(noise.generator("x").initial_seed(), self.device):
            return torch.cat(self.chunked(lambda part: model.likelihood(part).sample(), z))

    # ---------------------------------------------------------------- computed once
    def latents(self, split: str) -> Latents:
        """Codes of a split with their factors, labels and row numbers; needs a model with an encoder."""
        return self.once(("latents", split), lambda: self.code(self.data.split(split)))

    def code(self, rows: Split) -> Latents:
        """Codes of any rows, of this data set or of another that is aligned with it."""
        posterior: dict[str, Tensor] = {}
        if isinstance(self.model, HasPosterior):
            parts = self.chunked(self.model.posterior_parameters, rows.x)
            posterior = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        gaussian = isinstance(self.model, HasGaussianPosterior)
        codes = posterior["mean"] if gaussian else self.encode(rows.x)
        labels = None if rows.labels is None else rows.labels.to(self.device)
        return Latents(codes, posterior, rows.y.to(self.device), labels, rows.index.to(self.device))

    def reconstructions(self, split: str) -> Tensor:
        """decode(mean code) of a split, ``(N, *event_shape)``."""
        return self.once(("reconstructions", split), lambda: self.decode(self.latents(split).codes))

    # ---------------------------------------------------------------- where samples come from
    @property
    def stand_in(self) -> MultivariateNormal:
        """A full-covariance Gaussian fitted to the training codes: for models that cannot draw codes
        themselves."""
        return self.once("stand_in", self._fitted)

    def _fitted(self) -> MultivariateNormal:
        z = self.latents("train").codes if self.training_codes is None else self.training_codes
        z = z.to(self.device).double()
        covariance = torch.cov(z.T).reshape(z.shape[1], z.shape[1])
        # In float64 and with a little width in every direction: codes may lie on a line.
        width = 1e-9 * (1 + covariance.trace()) * torch.eye(z.shape[1], device=z.device)
        return MultivariateNormal(
            z.mean(0).float(), scale_tril=torch.linalg.cholesky(covariance + width).float()
        )

    @property
    def sampler_note(self) -> str:
        """Where :meth:`sample_codes` draws from, for captions."""
        if isinstance(self.model, HasGenerator):
            return self.model.origin
        note = "the model has no prior: codes drawn from a Gaussian fitted to its training codes"
        space = self.model.spaces["z"]
        return note if space.dim == space.ambient_dim else f"{note}, and brought onto the latent space"

    @torch.no_grad()
    def sample_codes(self, n: int, noise: Noise, sampler: str | None = None) -> Tensor:
        """n codes ``(n, d)`` as the model draws them, or from the Gaussian that stands in for its prior;
        ``sampler``: in one of the ways that a model with several has."""
        if sampler is not None:
            assert isinstance(self.model, HasSamplers)
            return self.model.samplers()[sampler](n, noise.to(self.device))
        if isinstance(self.model, HasGenerator):
            return self.model.sample_prior(n, noise.to(self.device))
        fit = self.stand_in
        z = fit.loc + noise.to(self.device).normal("codes", (n, len(fit.loc))) @ fit.scale_tril.T
        return self.model.spaces["z"].project(z)

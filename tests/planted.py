"""Models and data with known answers, for tests of diagnostics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from latentrun.config.build import Recipe
from latentrun.data.base import SPLITS, Dataset, Oracle
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    HasEncoder,
    HasGaussianPosterior,
    HasLikelihood,
    HasPrior,
    Model,
    PosteriorTraining,
)
from latentrun.nn.likelihood import AutoLikelihood, BernoulliLikelihood, GaussianLikelihood, MixedLikelihood
from latentrun.run import Run
from latentrun.types import Factor, Projection, Split

LIKELIHOODS = {
    "gaussian": GaussianLikelihood,
    "bernoulli": BernoulliLikelihood,
    "mixed": MixedLikelihood,
    "auto": AutoLikelihood,
}


def vae_values(likelihood: str = "gaussian", **changes) -> dict[str, Any]:
    """A plain VAE's values with some of them changed; ``scale``, ``balance`` and ``squash`` are those of the
    likelihood."""
    law = {"scale": 0.5, "balance": "fixed", "squash": False} if likelihood != "bernoulli" else {}
    if likelihood == "mixed":
        del law["squash"]
    law |= {key: changes.pop(key) for key in list(changes) if key in ("scale", "balance", "squash")}
    values = {
        "latent_dim": 2,
        "beta": 1.0,
        "beta_start": 0.0,
        "warmup_epochs": 0.0,
        "cycle_epochs": None,
        "cycles": 1,
        "free_bits": 0.0,
        "kl": "full",
        "sample": True,
        "likelihood": Recipe(partial(LIKELIHOODS[likelihood], **law), "model.likelihood"),
    }
    return values | changes


TRAINING_VALUES = {
    "patience": None,
    "min_delta": 0.0,
    "clip": None,
    "then": None,
    "optimizers": {},
}


def each_split(value) -> dict:
    """The same value for every split, unless they are given one by one."""
    return value if isinstance(value, dict) else dict.fromkeys(SPLITS, value)


class Rows(Dataset):
    """A data set made of given rows, the same in every split unless three are given."""

    def __init__(
        self,
        x: Tensor | dict[str, Tensor],
        y=None,
        factors: tuple[Factor, ...] = (),
        labels=None,
        value_range=(0.0, 1.0),
    ):
        self._x, self._y, self._labels = each_split(x), each_split(y), each_split(labels)
        self.event_shape = tuple(self._x["train"].shape[1:])
        self.value_range, self.factors = value_range, factors
        self.label = "class" if labels is not None else None

    def _load(self):
        out = {}
        for name in SPLITS:
            x, y = self._x[name], self._y[name]
            y = torch.zeros(len(x), 0) if y is None else y
            out[name] = Split(x, y, self._labels[name], torch.arange(len(x)))
        return out


class Span(Rows, Oracle):
    """4 x 4 pictures x = Σ_f y_f w_f of factors y in [-1, 1]³, named as those of the heatmaps, with
    orthonormal w: the nearest member is a projection. ``basis (4, 16)``: the w and a direction in which the
    family does not extend."""

    intrinsic_dim, betti = 3, (1,)
    basis = torch.linalg.qr(torch.randn(16, 4, generator=torch.Generator().manual_seed(0)))[0].T

    def __init__(self, y: Tensor):
        names = ("correlation", "variance_x", "variance_y")
        super().__init__(
            self.render(y), y, tuple(Factor(name, "real", -1, 1) for name in names), value_range=(-1, 1)
        )

    def render(self, factors):
        return (factors @ self.basis[:3].to(factors)).view(-1, 1, 4, 4)

    def project(self, x):
        factors = x.flatten(1) @ self.basis[:3].T
        residual = (x - self.render(factors)).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
        return Projection(
            factors.double(), residual.double(), (factors.abs() <= 1.001).all(1), torch.ones(len(x))
        )

    def run(self, off: Callable[[Tensor], Tensor] | None = None) -> Run:
        """A run whose codes are the factors and whose decoder renders them, with ``off(z) (N,)`` of the
        direction outside."""

        def decode(z):
            x = self.render(z)
            return x if off is None else x + off(z)[:, None, None, None] * self.basis[3].view(4, 4)

        return planted_run(
            Deterministic(lambda x: x.flatten(1) @ self.basis[:3].T, decode, 3, self.event_shape), self
        )


class Ring(Rows, Oracle):
    """Eight points on a ring with scatter, in the first coordinates of R^dim."""

    intrinsic_dim, betti = 0, (8,)
    angles = math.pi / 4 * torch.arange(8)
    centres = 2 * torch.stack([angles.cos(), angles.sin()], 1)

    def __init__(self, n: int = 4000, sd: float = 0.02, dim: int = 2):
        self.turn = torch.linalg.qr(Noise(0).normal("turn", (dim, dim)))[0][:2]
        mode = {split: Noise(0).integers(split, 8, (n,)) for split in ("train", "val", "test")}
        x = {
            split: (self.centres[at] + sd * Noise(1).normal(split, (n, 2))) @ self.turn
            for split, at in mode.items()
        }
        y = {split: at[:, None].float() for split, at in mode.items()}
        names = tuple(str(i) for i in range(8))
        factor = Factor("place", "categorical", 0, 7.0, categories=names)
        super().__init__(x, y, (factor,), mode, value_range=(-3.0, 3.0))

    def render(self, factors):
        return (self.centres.to(factors)[factors[:, 0].long()]) @ self.turn.to(factors)

    def project(self, x):
        near = torch.cdist(x.double(), (self.centres @ self.turn).double()).min(1)
        residual = near.values / x.double().norm(dim=1)
        return Projection(
            near.indices[:, None].double(), residual, torch.ones(len(x)).bool(), torch.ones(len(x))
        )


class Turns(Rows, Oracle):
    """x = (cos a, sin a, b) of a cyclic angle in degrees, and a size where ``further``."""

    intrinsic_dim, betti = 1, (1, 1)

    def __init__(self, n=300, further=False):
        y = torch.rand(n, 2) * torch.tensor([360.0, 1.0])
        factors = (Factor("angle", "cyclic", 0.0, 360.0), Factor("size", "real", 0.0, 1.0))
        y = y if further else y[:, :1]
        super().__init__(self.render(y), y, factors[: y.shape[1]], value_range=(-1, 1))

    def render(self, factors):
        angle = torch.deg2rad(factors[:, :1])
        size = factors[:, 1:] if factors.shape[1] > 1 else torch.zeros_like(angle)
        return torch.cat([angle.cos(), angle.sin(), size], 1)

    def project(self, x):
        angle = torch.remainder(torch.rad2deg(torch.atan2(x[:, 1], x[:, 0])), 360)
        factors = torch.stack([angle, x[:, 2]], 1)[:, : len(self.factors)]
        residual = (x - self.render(factors)).norm(dim=1) / x.norm(dim=1)
        everywhere = torch.ones(len(x))
        return Projection(factors.double(), residual.double(), everywhere.bool(), everywhere)


class Deterministic(Model, HasEncoder):
    """An autoencoder made of two given functions."""

    def __init__(self, encode: Callable, decode: Callable, latent_dim: int, event_shape: tuple[int, ...]):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self._encode, self._decode = encode, decode

    def encode(self, x, space="z"):
        return self._encode(x)

    def decode(self, z, space="z"):
        return self._decode(z)

    def phases(self):
        return ()


class Gaussian(Deterministic, HasGaussianPosterior, HasPrior, HasLikelihood):
    """A VAE made of given functions: mean and standard deviation of q(z|x), mean of p(x|z) with unit
    noise."""

    posterior_training = PosteriorTraining(True, "full", 1.0)

    def __init__(self, encode, scale, decode, latent_dim, event_shape, **training):
        """``training``: what is said of it otherwise than of a plain VAE, see :class:`PosteriorTraining`."""
        super().__init__(encode, decode, latent_dim, event_shape)
        self._scale = scale
        self.posterior_training = replace(self.posterior_training, **training)

    def posterior(self, x):
        return Independent(Normal(self._encode(x), self._scale(x)), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(self.latent_dim), torch.ones(self.latent_dim)), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, self.latent_dim))

    def likelihood(self, z):
        return Independent(Normal(self.decode(z), 1.0), len(self.event_shape))


def planted_run(model: Model, data: Dataset, **fields: Any) -> Run:
    """A run as diagnostics see it; ``fields``: what else is known of it."""
    return Run(model=model, data=data, name="planted", **fields)


def noise_curves(gain, kl, scale, stage, var_mean=None, variable: int = 1, trained: int = 2) -> pd.DataFrame:
    """``tables/train.csv`` of a run whose latent ``variable`` was put under noise after ``trained`` epochs;
    each a value per epoch. Mean sigma² is what the law of stationarity makes of ``var_mean``, 0 below it."""
    found = {"gain": gain, "variable_kl": kl, "noise_scale": scale, "noise_stage": stage}
    frame = pd.DataFrame({f"val/{name}": np.asarray(values, float) for name, values in found.items()})
    frame["val/noise_variable"] = float(variable)
    if var_mean is not None:
        own = {"var_mean": np.asarray(var_mean, float), "mean_scale2": 1 - np.clip(var_mean, 0, 1)}
        for name, i in product(own, range(variable + 2)):
            frame[f"latent/{name}.{i}"] = own[name] + (i != variable)  # of the others something else
    frame = pd.concat(
        [pd.DataFrame({"phase": ["vae"] * trained}), frame.assign(phase="noise")], ignore_index=True
    )
    frame["epoch"] = [*range(1, trained + 1), *range(1, len(frame) - trained + 1)]
    return frame.assign(step=10 * np.arange(1, len(frame) + 1), learning_rate=1e-3)


def table_file(path: Path, n: int = 300) -> Path:
    """A CSV of n rows that two hidden standard normal numbers u and v determine, but for small errors in the
    real columns and two columns of pure noise. Ordinal ``size`` cuts u in 4, ``grade`` cuts v in 3;
    categorical ``quarter`` is the signs of both, ``side`` the sign of u - v."""
    rng = np.random.default_rng(0)
    u, v, e, noise = rng.standard_normal((4, n))
    frame = pd.DataFrame({"price": 200 + 50 * u + 2 * e, "age": 30 + 9 * (u + v) + 0.5 * e, "noise": noise})
    frame["size"] = 1 + np.digitize(u, [-1, 0, 1])
    frame["grade"] = np.array(["low", "middle", "high"])[np.digitize(v, [-0.5, 0.5])]
    frame["quarter"] = np.char.add(np.where(u > 0, "north", "south"), np.where(v > 0, "east", "west"))
    frame["side"] = np.where(u > v, "left", "right")
    frame["dice"] = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    frame.round(4).to_csv(path, index=False)
    return path

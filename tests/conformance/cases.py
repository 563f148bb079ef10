"""Finished runs that differ in what diagnostics exploit: the posterior, the data, the number of latents, the
space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pandas as pd
import torch

from latentrun.data.base import HasSupport
from latentrun.diagnostics import needs
from latentrun.diagnostics.samples.modes import MODES
from latentrun.diagnostics.surface import CHART
from latentrun.diagnostics.training.latent_noise import NOISE
from latentrun.functional.noise import Noise
from latentrun.manifolds import Sphere
from latentrun.run import Run
from latentrun.types import Batch, Factor, History, Need
from tests.conformance import parts
from tests.planted import Deterministic, Ring, Rows, Span, noise_curves, planted_run

RECORDED = 20  # rows of a history
NOTHING_PROBABLE = {
    needs.POSTERIOR,
    needs.GAUSSIAN_POSTERIOR,
    needs.GENERATOR,
    needs.SAMPLERS,
    needs.PRIOR,
    needs.LIKELIHOOD,
    needs.LOG_PROB,
    needs.EVIDENCE,
}
ORACLES = {needs.ORACLE, needs.BETTI, MODES}


@dataclass(frozen=True)
class Case:
    """A run, and what it and its data lack of all that a diagnostic may require."""

    make: Callable[[], Run]
    lacks: frozenset[Need]

    def fits(self, requires: tuple[Need, ...]) -> bool:
        return not self.lacks & set(requires)


def case(make: Callable[[], Run], *lacks: Need, support: bool = False) -> Case:
    return Case(make, frozenset(lacks if support else {*lacks, needs.SUPPORT}))


# ---------------------------------------------------------------- what the runs are made of
def on_a_sphere() -> Run:
    """An autoencoder of the digits whose codes are directions in space."""
    data, sphere = parts.small("digits"), Sphere(2)
    d = data.split("train").x[0].numel()
    weights = Noise(0).normal("weights", (d, 3)) / d**0.5
    model = Deterministic(
        lambda x: sphere.project(x.flatten(1) @ weights),
        lambda z: (z @ weights.T).view(-1, *data.event_shape),
        3,
        data.event_shape,
    )
    model.spaces["z"] = sphere
    return planted_run(model, data)


def span() -> Run:
    """Pictures with a known family whose nearest members are found at once, and a decoder that leaves it."""
    y = 2 * torch.rand(48, 3, generator=torch.Generator().manual_seed(0)) - 1
    return Span(y).run(lambda z: 0.3 * z[:, 0] * z[:, 1])


class Bounded(Rows, HasSupport):
    """Rows of which it is known that the first value is below 1."""

    rules = {"first": "the first value is below 1"}

    def broken(self, x):
        return x[:, :1] >= 1


def bounded() -> Run:
    """A normal law fitted to vectors whose bounds are known."""
    x = {name: Noise(i).normal("x", (48, 3)) for i, name in enumerate(("train", "val", "test"))}
    for rows in x.values():
        rows[:, 0].clamp_(max=0.9)
    labels = torch.arange(48) % 2
    y, classes = labels[:, None].float(), Factor("class", "categorical", 0, 1, categories=("even", "odd"))
    data = Bounded(x, y, (classes,), labels, value_range=(-6.0, 6.0))
    model = parts.model("gaussian", data)
    model.fit(Batch(x["train"]), Noise(0))
    return Run(model, data, config={"model": parts.spec("model", "gaussian")})


def vectors() -> Run:
    """Data that are no pictures, with one factor."""
    x = {name: Noise(i).normal("x", (48, 6)) for i, name in enumerate(("train", "val", "test"))}
    y = {split: rows[:, :1] for split, rows in x.items()}
    data = Rows(x, y, (Factor("first", "real", -5.0, 5.0),), value_range=(-6.0, 6.0))
    return Run(parts.model("vae", data), data, config={"model": parts.spec("model", "vae")})


def points() -> Run:
    """A generator without an encoder, and data whose family is a few points."""
    data = Ring(48)
    return Run(parts.model("gan", data), data, config={"model": parts.spec("model", "gan")})


def under_noise(run: Run) -> Run:
    """The run as if noise had been put on its second latent variable."""
    return replace(
        run,
        config={**run.config, "training": parts.spec("training", "latent_noise")},
        curves=noise_curves(
            gain=[9.0, 4.0, 0.1, 2.0],
            kl=[1.0, 1.2, 0.5, 0.6],
            scale=[0.0, 0.1, 0.1, 0.0],
            stage=[0, 0, 1, 2],
            var_mean=[0.9, 1.5, 0.1, 0.6],
        ),
    )


def recorded(run: Run, posterior: bool = True) -> Run:
    """The run as if it had recorded codes that came to rest, and a validation value that did."""
    rng, d = np.random.default_rng(0), run.model.latent_dim
    steps = rng.standard_normal((6, RECORDED, d)) * np.exp(-np.arange(6))[:, None, None]
    mean = steps.cumsum(0).astype(np.float32)
    width = d if posterior else 0
    scale = np.exp(0.1 * rng.standard_normal((6, RECORDED, width))).astype(np.float32)
    index = np.sort(run.data.split("train").index.numpy())[:RECORDED]
    times = np.array([1, 3, 10, 20, 60, 100])
    history = History(index, np.arange(1, 7), mean, scale, index[:5], times, mean[:, :5], scale[:, :5])
    values = {"phase": "vae", "epoch": history.epochs, "step": times, "val/monitor": np.exp(-history.epochs)}
    return replace(run, history=history, curves=pd.DataFrame(values))


# ---------------------------------------------------------------- the runs
CASES = {
    "vae-heatmaps": case(
        lambda: recorded(parts.run("vae", "heatmaps")),
        needs.SAMPLERS,
        needs.LOG_PROB,
        needs.LABELS,
        NOISE,
        MODES,
    ),
    "ae-span": case(lambda: recorded(span(), posterior=False), *NOTHING_PROBABLE, needs.LABELS, NOISE, MODES),
    "vae-digits-1d": case(
        lambda: recorded(parts.run("vae", "digits", latent_dim=1)),
        needs.SAMPLERS,
        needs.LOG_PROB,
        NOISE,
        *ORACLES,
    ),
    "vae-digits-2d": case(
        lambda: under_noise(recorded(parts.run("vae", "digits", latent_dim=2))),
        needs.SAMPLERS,
        needs.LOG_PROB,
        *ORACLES,
    ),
    "vae-digits-12d": case(
        lambda: recorded(parts.run("vae", "digits", "conv", latent_dim=12)),
        needs.SAMPLERS,
        needs.LOG_PROB,
        NOISE,
        *ORACLES,
    ),
    "ae-digits-1d": case(
        lambda: recorded(parts.run("ae", "digits", latent_dim=1), posterior=False),
        *NOTHING_PROBABLE,
        NOISE,
        *ORACLES,
    ),
    "two_stage-digits-3d": case(
        lambda: recorded(parts.run("two_stage_race", "digits", latent_dim=3)),
        needs.PRIOR,
        needs.LOG_PROB,
        needs.EVIDENCE,
        NOISE,
        *ORACLES,
    ),
    "vae-table": case(
        lambda: recorded(parts.run("vae", "table")),
        needs.SAMPLERS,
        needs.LOG_PROB,
        needs.IMAGES,
        NOISE,
        *ORACLES,
    ),
    "vae-vectors": case(
        lambda: recorded(vectors()),
        needs.SAMPLERS,
        needs.LOG_PROB,
        needs.IMAGES,
        needs.LABELS,
        NOISE,
        *ORACLES,
    ),
    "gan-points": case(
        points,
        needs.ENCODER,
        needs.POSTERIOR,
        needs.GAUSSIAN_POSTERIOR,
        needs.SAMPLERS,
        needs.LIKELIHOOD,
        needs.LOG_PROB,
        needs.EVIDENCE,
        needs.IMAGES,
        needs.LABELS,
        NOISE,
    ),
    "gaussian-bounded": case(
        lambda: recorded(bounded(), posterior=False),
        needs.POSTERIOR,
        needs.GAUSSIAN_POSTERIOR,
        needs.SAMPLERS,
        needs.LIKELIHOOD,
        needs.IMAGES,
        NOISE,
        *ORACLES,
        support=True,
    ),
    "sphere-digits": case(on_a_sphere, *NOTHING_PROBABLE, needs.FLAT, CHART, NOISE, *ORACLES),
}


@cache
def run_of(name: str) -> Run:
    """The run of a case, made once."""
    return CASES[name].make()

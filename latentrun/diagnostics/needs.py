"""What diagnostics and comparisons may ask of a model, its data and its training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from latentrun.data.base import Dataset, HasSupport, Oracle
from latentrun.manifolds import Euclidean, Manifold
from latentrun.models.base import (
    HasEmbedding,
    HasEncoder,
    HasEvidence,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasLogProb,
    HasPosterior,
    HasPrior,
    HasSamplers,
)
from latentrun.types import Need


def capability(base: type, noun: str) -> Need:
    """The need for a model that inherits ``base``, such as :class:`~latentrun.models.base.HasEncoder`.

    >>> capability(HasEncoder, "an encoder").test(nn.Identity())
    False
    """
    return Need("model", lambda model: isinstance(model, base), noun)


def is_flat(space: Manifold) -> bool:
    """Whether straight lines, means and principal axes stay on a space: R^n and products of such.

    >>> from latentrun.manifolds import space
    >>> is_flat(space("e1xe2")), is_flat(space("s1xe2"))
    (True, False)
    """
    return all(isinstance(factor, Euclidean) for factor in space.simple_factors)


ENCODER = capability(HasEncoder, "an encoder")
POSTERIOR = capability(HasPosterior, "a posterior")
GAUSSIAN_POSTERIOR = capability(HasGaussianPosterior, "a Gaussian posterior")
GENERATOR = capability(HasGenerator, "a generator")
SAMPLERS = capability(HasSamplers, "samplers")
PRIOR = capability(HasPrior, "a prior")
LIKELIHOOD = capability(HasLikelihood, "a likelihood")
LOG_PROB = capability(HasLogProb, "an exact density")
EMBEDDING = capability(HasEmbedding, "an embedding of its latent space")
EVIDENCE = Need(
    "model",
    lambda model: isinstance(model, HasEvidence | HasLogProb),
    "a density of the data, or draws that bound it",
)
FLAT = Need("model", lambda model: is_flat(model.spaces["z"]), "a flat latent space")
DIFFERENTIABLE = Need("model", lambda model: model.differentiable, "a differentiable decoder")

FACTORS = Need("data", lambda data: bool(data.factors), "factors")
LABELS = Need("data", lambda data: data.label is not None, "labels")
IMAGES = Need("data", lambda data: data.is_image, "pictures")
ORACLE = Need("data", lambda data: isinstance(data, Oracle), "a data set with a known family (oracle)")
SUPPORT = Need("data", lambda data: isinstance(data, HasSupport), "a known support")
BETTI = Need("data", lambda data: isinstance(data, Oracle) and data.betti is not None, "known Betti numbers")


def lacking(
    needs: tuple[Need, ...], model: nn.Module, data: Dataset, training: Mapping[str, Any] | None = None
) -> Need | None:
    """The first of ``needs`` that is not met, or None. ``training``: the settings the model is or was trained
    with, as plain values; without them, of no special training."""
    subjects = {"model": model, "data": data, "training": training or {}}
    return next((need for need in needs if not need.test(subjects[need.side])), None)

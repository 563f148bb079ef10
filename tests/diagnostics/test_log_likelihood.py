"""Exact densities of models whose entropy is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from latentrun.diagnostics.evidence.log_likelihood import LogLikelihood
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.models.base import HasLevels, HasLogProb
from latentrun.types import Factor
from tests.planted import Deterministic, Rows, planted_run

N, D = 3000, 3
SPLITS = ("train", "val", "test")


class Law(Deterministic, HasLogProb):
    """A model that is nothing but a density."""

    def __init__(self, density, shape):
        super().__init__(lambda x: x.flatten(1), lambda z: z.view(-1, *shape), math.prod(shape), shape)
        self.density = density

    def log_prob(self, x):
        return self.density(x)


def normal_rows(scale: torch.Tensor) -> dict[str, torch.Tensor]:
    return {name: Noise(i).normal("x", (N, D)) @ scale.T for i, name in enumerate(SPLITS)}


def measured(density, data, levels=None):
    run = planted_run(Law(density, data.event_shape), data)
    return LogLikelihood(N, levels)(run, Noise(0))


def test_the_law_itself_has_its_entropy_in_both_units_and_gains_nothing():
    scale = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-1.0, 0.3, 0.1]])
    law = MultivariateNormal(torch.zeros(D), scale_tril=scale)
    report = measured(law.log_prob, Rows(normal_rows(scale)))
    entropy = law.entropy().item()
    found = report.metrics
    assert found["log_prob.test"].low < -entropy < found["log_prob.test"].high
    assert found["log_prob.test"].high - found["log_prob.test"].low < 0.2
    assert found["bits.test"].value == pytest.approx(-found["log_prob.test"].value / (D * math.log(2)))
    assert found["bits.test"].low < entropy / (D * math.log(2)) < found["bits.test"].high
    # The baseline has 9 fitted parameters: it loses 9 / 2N nats on average.
    assert found["gain"].value == pytest.approx(9 / (2 * N), abs=0.003)
    assert found["gap"].low < 0 < found["gap"].high and found["zero"].value == 0
    assert "data units" in report.notes[0] and "full covariance" in report.notes[1]


def test_a_law_that_is_too_wide_loses_what_the_divergence_says():
    eye = torch.eye(D)
    wide = MultivariateNormal(torch.zeros(D), scale_tril=2 * eye)
    found = measured(wide.log_prob, Rows(normal_rows(eye))).metrics
    loss = D * (math.log(2) + 0.125 - 0.5)  # KL(N(0, 1) || N(0, 4)) in each dimension
    assert found["gain"].low < -loss < found["gain"].high and found["gain"].high < 0


def test_a_law_that_remembers_its_rows_has_a_gap():
    rows = normal_rows(torch.eye(D))

    def remembered(x):
        apart = torch.cdist(x.double(), rows["train"][:, :].double())
        return (
            (-0.5 * (apart / 0.1).square()).logsumexp(1)
            - math.log(N)
            - D * math.log(0.1 * math.sqrt(2 * math.pi))
        )

    found = measured(remembered, Rows(rows)).metrics
    assert found["gap"].low > 1 and found["gain"].high < 0


def pictures(levels: int) -> Rows:
    k = {name: Noise(i).integers("k", levels, (500, 1, 2, 2)) for i, name in enumerate(SPLITS)}
    return Rows({name: values / (levels - 1) for name, values in k.items()})


def even(x: torch.Tensor, levels: int) -> torch.Tensor:
    """log density of the uniform law of [-step / 2, 1 + step / 2], the cells of all levels together."""
    step = 1 / (levels - 1)
    inside = (x >= -step / 2) & (x <= 1 + step / 2)
    return torch.where(inside, -math.log(1 + step), -torch.inf).flatten(1).sum(1)


def test_even_levels_cost_their_logarithm_and_the_uniform_law_nothing_more():
    report = measured(lambda x: even(x, 256), pictures(256), 256)
    assert report.metrics["bits.test"].value == pytest.approx(8.0)
    assert report.metrics["log_prob.test"].value == pytest.approx(-4 * math.log(256))
    assert "levels (0.003922)" in report.notes[0]
    lower = measured(lambda x: torch.where(x < 0.5, 0.0, -torch.inf).flatten(1).sum(1), pictures(2), 2)
    # Density 1 on the cell of the lower level: of 4 values all are on it in one of 16 rows.
    assert lower.metrics["zero"].value == pytest.approx(15 / 16, abs=0.04)
    assert lower.metrics["bits.test"].value == pytest.approx(0.0, abs=1e-6)


class OnLevels(Law, HasLevels):
    """A density of data on 16 levels, as a flow of pictures has one."""

    step = 1 / 15

    def dequantised(self, x, noise):
        return x + self.step * (noise.uniform("u", tuple(x.shape)) - 0.5)


def test_a_model_that_says_its_levels_is_asked_for_them():
    data = pictures(16)
    run = planted_run(OnLevels(lambda x: even(x, 16), data.event_shape), data)
    report = LogLikelihood(N, None)(run, Noise(0))
    assert report.metrics["bits.test"].value == pytest.approx(4.0) and report.metrics["zero"].value == 0


def test_without_levels_a_uniform_law_has_no_bits():
    u = Rows({name: Noise(i).uniform("u", (N, D)) for i, name in enumerate(SPLITS)})
    found = measured(lambda x: torch.zeros(len(x)), u).metrics
    assert found["bits.test"].value == 0 and found["gain"].low > 0


def test_values_between_levels_are_refused_with_the_way_out():
    with pytest.raises(NothingToMeasure, match="values are not even levels, 0.003922 apart, .*or to null"):
        measured(lambda x: x.flatten(1).sum(1), pictures(100), 256)


def test_classes_are_told_apart_and_pictures_drawn():
    labels = torch.arange(N) % 2
    x = labels[:, None] * torch.ones(N, D) + Noise(0).normal("x", (N, D))
    data = Rows(
        x, labels[:, None].float(), (Factor("class", "categorical", 0, 1, categories=("a", "b")),), labels
    )
    law = MultivariateNormal(torch.zeros(D), torch.eye(D))
    run = planted_run(Law(law.log_prob, (D,)), data)
    diagnostic = LogLikelihood(200, None)
    report = diagnostic(run, Noise(0))
    found = report.metrics
    assert found["class.a"].low > found["class.b"].high
    assert found["class.a"].value - found["class.b"].value == pytest.approx(D / 2, abs=0.6)
    assert list(report.tables["classes"]["class"]) == ["a", "b"] and len(report.tables["examples"]) == 400
    assert "nats" in diagnostic.plot(report)["densities"].caption
    assert np.isfinite(report.tables["examples"]["baseline"]).all()

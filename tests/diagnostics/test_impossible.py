"""Shares of impossible samples, of generators that are known to break rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentrun.data.base import HasSupport
from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.samples.impossible import Impossible
from latentrun.diagnostics.samples.samples import Samples
from latentrun.functional.noise import Noise
from latentrun.judgement import Origin, judged
from latentrun.types import Report
from tests.planted import Gaussian, Rows, planted_run

N = 2000


class Wedge(Rows, HasSupport):
    """Points with 0 <= second <= first <= 1."""

    rules = {"order": "the second is not above the first", "range": "both lie in [0, 1]"}

    def broken(self, x):
        return torch.stack([x[:, 1] > x[:, 0], ((x < 0) | (x > 1)).any(1)], 1)


def wedge() -> Wedge:
    u = {name: Noise(i).uniform("u", (N, 2)) for i, name in enumerate(("train", "val", "test"))}
    return Wedge({name: rows.sort(1, descending=True).values for name, rows in u.items()})


def measured(decode, encode=lambda x: x):
    run = planted_run(Gaussian(encode, lambda x: torch.full_like(x, 0.1), decode, 2, (2,)), wedge())
    return Impossible(N, 5)(run, Noise(0)), run


def square(z):
    """Standard normal codes to the unit square, uniformly."""
    return torch.special.ndtr(z)


def test_a_generator_of_the_data_makes_nothing_impossible():
    report, _ = measured(lambda z: square(z).sort(1, descending=True).values)
    shares = {key: report.metrics[f"impossible.{key}"] for key in ("samples", "test", "shuffled")}
    assert shares["samples"].value == 0 == shares["test"].value
    assert 0 < shares["samples"].high < 0.003 and shares["samples"].method == "Wilson over examples"
    # Independent X = max and Y = min of two uniform numbers: P(Y > X) = E (1 - X)² = 1/6.
    assert shares["shuffled"].low < 1 / 6 < shares["shuffled"].high
    assert report.metrics["against_shuffled"].value == 0 and len(report.tables["examples"]) == 0


def test_rules_are_told_apart_and_impossible_samples_shown():
    report, run = measured(lambda z: 1.25 * square(z), encode=lambda x: 3 * x)
    values = {key: found.value for key, found in report.metrics.items()}
    assert values["broken.order"] == pytest.approx(0.5, abs=0.04)
    assert values["broken.range"] == pytest.approx(1 - 0.8**2, abs=0.04)
    assert values["impossible.samples"] == pytest.approx(1 - 0.8**2 / 2, abs=0.04)
    assert values["impossible.test"] == 0
    assert values["against_shuffled"] == pytest.approx(
        values["impossible.samples"] / values["impossible.shuffled"]
    )
    again = run.data.broken(run.reconstructions("test")).any(1).double().mean().item()
    assert values["impossible.reconstructions"] == pytest.approx(again) and 0 < again < 1
    shown = report.tables["examples"]
    assert len(shown) == 5
    broken = run.data.broken(torch.from_numpy(shown[["x0", "x1"]].to_numpy(np.float32, copy=True)))
    names = [", ".join(np.array(["order", "range"])[row]) for row in broken.numpy()]
    assert list(shown["broken"]) == names


def test_draws_have_the_noise_of_the_likelihood():
    report, _ = measured(lambda z: square(z).sort(1, descending=True).values)
    assert report.metrics["impossible.draws"].low > 0.3  # sd 1 around points of the wedge


def test_data_without_rules_do_not_fit():
    run = planted_run(Gaussian(lambda x: x, lambda x: x, lambda z: z, 2, (2,)), Rows(torch.rand(9, 2)))
    assert misfit(Impossible(N, 5), run.model, run.data).noun == "a known support"


def test_samples_that_break_the_rules_are_counted_among_samples_and_said():
    asked = Samples(n=N, k=1, resamples=100, grid=4, strips=2)
    _, run = measured(square)
    report = asked(run, Noise(0))
    share = report.metrics["impossible.samples"]
    assert share.low < 0.5 < share.high and share.method == "Wilson over samples"
    assert share.value == pytest.approx(1 - report.tables["samples"]["possible"].mean())
    assert said(asked, report)["impossible_samples"] == (
        f"{share.value:.0%} of the samples could not be data: they break its rules."
    )


def test_a_generator_of_the_data_may_draw_what_is_impossible():
    asked = Samples(n=N, k=1, resamples=100, grid=4, strips=2)
    _, run = measured(lambda z: square(z).sort(1, descending=True).values)
    report = asked(run, Noise(0))
    x = np.random.default_rng(0).random((100_000, 2))
    x = -np.sort(-x, axis=1) + np.random.default_rng(1).normal(size=x.shape)  # the planted p(x|z): unit noise
    share = np.mean((x[:, 1] > x[:, 0]) | ((x < 0) | (x > 1)).any(1))
    assert report.metrics["impossible.samples"].value == 0
    assert report.metrics["impossible.draws"].value == pytest.approx(share, abs=0.03)
    assert list(said(asked, report)) == ["impossible_draws"]


def said(asked: Samples, report: Report) -> dict[str, str]:
    findings = judged(asked.rules, report.metrics, Origin("RUN", [], {"model.latent_dim": 2}))
    return {each.name: each.sentence for each in findings if each.name.startswith("impossible")}

"""Variance loss where it is known: identity, shrinkage around the mean, conditional means, sampled codes."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Laplace

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.variables.variance_loss import VarianceLoss
from latentrun.functional.noise import Noise
from latentrun.models.base import HasPosterior, PosteriorTraining
from tests.planted import Deterministic, Gaussian, Rows, planted_run

N, EVENT = 800, (1, 4, 5)
D = math.prod(EVENT)
DRAW = Noise(7).at("variance_loss")
X = 0.5 + 0.2 * DRAW.normal("x", (N, *EVENT)) * torch.linspace(0.5, 1.5, D).view(EVENT)
VARIANCE = float(X.double().numpy().var(0).mean())
FLAT = X.flatten(1)


def autoencoder(decode, encode=lambda x: x.flatten(1), latent_dim=D):
    return Deterministic(encode, decode, latent_dim, EVENT)


def measure(model, x=X, seed=0, **changes):
    diagnostic = VarianceLoss(**{"split": "test", "resamples": 400, **changes})
    return diagnostic, diagnostic(planted_run(model, Rows(x)), Noise(seed).at("test"))


def test_identity_loses_nothing():
    diagnostic, report = measure(autoencoder(lambda z: z.view(-1, *EVENT)))
    assert report.metrics["delta_var.mean"].value == 0 and report.metrics["mse.mean"].value == 0
    assert math.isnan(report.metrics["ratio.mean"].value) and report.metrics["ratio.mean"].low is None
    rounded = measure(autoencoder(lambda z: ((z * 3.3 + 0.7) / 3.3 - 0.7 / 3.3).view(-1, *EVENT)))[
        1
    ].metrics  # the identity, nearly
    assert 0 < rounded["mse.mean"].value < 1e-12 and math.isnan(rounded["ratio.mean"].value)
    assert set(diagnostic.plot(report)) == {"bars", "maps"}


@pytest.mark.parametrize("s", [0.5, 0.9, 1.1])
def test_shrinking_around_the_mean_by_s(s):
    """delta_var = (1 - s²) var, mse = (1 - s)² var, ratio = (1 + s) / (1 - s), exactly."""
    centre = FLAT.mean(0)
    report = measure(autoencoder(lambda z: (centre + s * (z - centre)).view(-1, *EVENT)))[1]
    row = report.tables["summary"].set_index("kind").loc["mean"]
    assert row["variance_x"] == pytest.approx(VARIANCE, rel=1e-5)
    assert row["variance_xhat"] == pytest.approx(s**2 * VARIANCE, rel=1e-5)
    assert report.metrics["delta_var.mean"].value == pytest.approx((1 - s**2) * VARIANCE, rel=1e-4)
    assert report.metrics["mse.mean"].value == pytest.approx((1 - s) ** 2 * VARIANCE, rel=1e-4)
    ratio = report.metrics["ratio.mean"]
    assert ratio.value == pytest.approx((1 + s) / (1 - s), rel=1e-3)
    # Both are proportional to the same resampled variance: the ratio hardly has an interval.
    assert abs(ratio.high - ratio.low) < 1e-3 * abs(ratio.value)


def half(x):
    """The first half of the values of an example."""
    return x.flatten(1)[:, : D // 2]


def conditional_mean(z):
    """E[x | first half]: the second half is independent of it."""
    return torch.cat([z, FLAT[:, D // 2 :].mean(0).expand(len(z), -1)], 1).view(-1, *EVENT)


def test_a_conditional_mean_loses_as_much_variance_as_it_errs():
    """Law of total variance; here even exactly, since the constant half is the sample's own mean."""
    report = measure(autoencoder(conditional_mean, half, D // 2))[1]
    assert report.metrics["ratio.mean"].value == pytest.approx(1, abs=1e-5)
    expected = float(FLAT[:, D // 2 :].double().numpy().var(0).sum()) / D
    assert report.metrics["delta_var.mean"].value == pytest.approx(expected, rel=1e-4)


def test_the_law_holds_up_to_sampling_error_on_new_rows():
    """A decoder with E[x|z] of the population: fresh rows give 1 within the bootstrap interval (seen to cover
    in most of 20 draws)."""
    covered = 0
    mix = DRAW.normal("mix", (3, D)) / 3
    for t in range(20):
        z = DRAW.at(t).normal("z", (N, 3))
        x = torch.cat([z @ mix + 0.3 * DRAW.at(t).normal("e", (N, D)), z], 1)
        model = Deterministic(lambda x: x[:, D:], lambda z: torch.cat([z @ mix, z], 1), 3, (D + 3,))
        ratio = measure(model, x, seed=t, resamples=200)[1].metrics["ratio.mean"]
        covered += ratio.low < 1 < ratio.high
    assert covered >= 15  # 19 expected at 95 %


def test_sampled_codes_add_their_own_variance():
    """dec(z) = z with z ~ N(x, sigma²): delta_var = -sigma², mse = sigma², while codes mu lose nothing."""
    sigma = 0.1
    model = Gaussian(
        lambda x: x.flatten(1),
        lambda x: torch.full((len(x), D), sigma),
        lambda z: z.view(-1, *EVENT),
        D,
        EVENT,
    )
    metrics = measure(model)[1].metrics
    assert metrics["delta_var.mean"].value == 0
    assert metrics["mse.posterior"].value == pytest.approx(sigma**2, rel=0.05)
    delta = metrics["delta_var.posterior"]
    assert delta.low < -(sigma**2) < delta.high


def test_samples_have_a_variance_but_no_error():
    """Prior samples N(0, I) through dec(z) = z/2 have variance 1/4 per dimension."""
    model = Gaussian(
        lambda x: x.flatten(1), lambda x: 0.1 + 0 * x.flatten(1), lambda z: (z / 2).view(-1, *EVENT), D, EVENT
    )
    report = measure(model)[1]
    row = report.tables["summary"].set_index("kind").loc["generated"]
    assert np.isnan(row[["mse", "ratio", "covariance", "bias2"]].astype(float)).all()
    assert row["low"] < VARIANCE - 0.25 < row["high"]
    assert "mse.generated" not in report.metrics
    assert report.arrays["variance_generated"].shape == EVENT


def test_decomposition_into_error_covariance_and_bias_is_exact():
    model = autoencoder(lambda z: (0.8 * z.roll(1, 1) + 0.1 * z.square() + 0.05).view(-1, *EVENT))
    row = measure(model)[1].tables["summary"].set_index("kind").loc["mean"]
    assert row["bias2"] > 1e-4 and abs(row["covariance"]) > 1e-4
    assert row["delta_var"] == pytest.approx(row["mse"] + 2 * row["covariance"] - row["bias2"], rel=1e-4)


def test_interval_equals_a_bootstrap_that_recomputes_everything():
    """The fixed mean image changes the interval's width and place by far less than the width."""
    model = autoencoder(lambda z: (0.8 * z.roll(1, 1) + 0.1 * z.square()).view(-1, *EVENT))
    delta = measure(model, resamples=2000)[1].metrics["delta_var.mean"]
    rows = np.random.default_rng(0).integers(N, size=(2000, N))
    x, xhat = FLAT.double().numpy(), model.decode(FLAT).flatten(1).double().numpy()
    brute = [x[r].var(0).mean() - xhat[r].var(0).mean() for r in rows]
    low, high = np.percentile(brute, [2.5, 97.5])
    assert abs(delta.low - low) < 0.1 * (high - low) and abs(delta.high - high) < 0.1 * (high - low)


class Pointed(Deterministic, HasPosterior):
    """An autoencoder whose posterior is a Laplace distribution of scale 0.1 about the code, drawn by
    inverting its distribution function."""

    posterior_training = PosteriorTraining(sampled=True, kl="full", beta=1.0)

    def posterior_parameters(self, x):
        return {"location": self.encode(x)}

    def draw(self, x, noise):
        z = self.encode(x)
        return Laplace(z, 0.1).icdf(noise.uniform("z", tuple(z.shape)).clamp(1e-6, 1 - 1e-6))

    def kl(self, x):
        raise NotImplementedError("no one asks for it")


def test_other_posteriors_are_sampled_repeatably_without_touching_torchs_generator():
    model = Pointed(lambda x: x.flatten(1), lambda z: z.view(-1, *EVENT), D, EVENT)
    before = torch.random.get_rng_state()
    first = measure(model)[1].metrics["mse.posterior"].value
    assert torch.equal(before, torch.random.get_rng_state())
    assert (
        measure(model)[1].metrics["mse.posterior"].value
        == first
        != measure(model, seed=1)[1].metrics["mse.posterior"].value
    )
    assert first == pytest.approx(2 * 0.1**2, rel=0.1)  # variance of a Laplace distribution of scale b: 2 b²


def test_deterministic_models_and_flat_data():
    """No posterior: two kinds; no pictures: no maps. Samples come from the fitted Gaussian, and the notes say
    so."""
    model = Deterministic(lambda x: x, lambda z: z, D, (D,))
    diagnostic, report = measure(model, FLAT)
    assert report.tables["summary"]["kind"].tolist() == ["mean", "generated"]
    assert set(diagnostic.plot(report)) == {"bars"}
    assert any("fitted to its training codes" in note for note in report.notes)
    delta = report.metrics["delta_var.generated"]
    assert delta.low < 0 < delta.high  # linear decoder, Gaussian codes: samples vary as the data do


def test_needs_an_encoder():
    run = planted_run(autoencoder(lambda z: z), Rows(X))
    assert misfit(VarianceLoss(split="test", resamples=100), run.model, run.data) is None
    assert (
        misfit(VarianceLoss(split="test", resamples=100), torch.nn.Identity(), run.data).noun == "an encoder"
    )

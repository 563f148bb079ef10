"""The map of latent space, on decoders whose steps are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import norm

from latentrun.diagnostics.codes.latent_map import LatentMap
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasPrior
from latentrun.models.vae import VAE
from latentrun.nn.dense import Dense
from latentrun.run import Run
from tests.conformance import parts
from tests.planted import Gaussian, Rows, planted_run, vae_values

SETTINGS = {"over": None, "wide": 6, "side": 4, "slices": 3, "pairs": 4000, "resamples": 200}


def linear_vae(directions: torch.Tensor, scales: torch.Tensor) -> Run:
    """A VAE with x = sum_i a_i z_i, whose codes have the given standard deviations; test rows are standard
    normal."""
    d, D = directions.shape
    x = torch.randn(3000, D, generator=torch.Generator().manual_seed(0))
    model = VAE((D,), (-5.0, 5.0), (), Dense([]), **vae_values(latent_dim=d))
    with torch.no_grad():
        encoder, decoder = model.encoder[-1], next(m for m in model.decoder if isinstance(m, torch.nn.Linear))
        encoder.weight.zero_(), encoder.bias.zero_(), decoder.bias.zero_()
        encoder.weight[:d, :d] = torch.diag(scales)
        decoder.weight.copy_(directions.T)
    return Run(model, Rows(x, value_range=(-5.0, 5.0)))


def test_steps_of_a_linear_decoder_in_closed_form():
    """Neighbours along z_i differ by |a_i| times the gap of the quantiles; two standard normal examples of D
    dimensions are on average sqrt(2) E[chi_D] apart."""
    directions = torch.zeros(2, 4)
    directions[0, 0], directions[1, 1] = 1.0, 3.0
    report = LatentMap(**SETTINGS)(linear_vae(directions, torch.ones(2)), Noise(0))
    gaps = np.diff(norm.ppf((np.arange(6) + 0.5) / 6))
    steps = np.concatenate([np.tile(gaps * 1.0, 6), np.tile(gaps * 3.0, 6)])
    apart = np.sqrt(2) * np.sqrt(2) * 1.329340  # E[chi_4] = sqrt(2) Gamma(5/2) / Gamma(2)
    assert report.metrics["step.mean"].value == pytest.approx(steps.mean() / apart, rel=0.03)
    assert report.metrics["step.worst"].value == pytest.approx(steps.max() / apart, rel=0.03)
    assert report.metrics["step.mean"].low < steps.mean() / apart < report.metrics["step.mean"].high


def test_a_constant_decoder_takes_no_steps():
    report = LatentMap(**SETTINGS)(linear_vae(torch.zeros(3, 4), torch.ones(3)), Noise(0))
    assert report.metrics["step.mean"].value == report.metrics["step.worst"].value == 0


def test_it_is_drawn_over_the_variables_that_vary_most():
    run = linear_vae(torch.ones(5, 6), torch.tensor([0.1, 2.0, 0.0, 1.0, 3.0]))
    assert LatentMap(**SETTINGS)(run, Noise(0)).arrays["over"].tolist() == [1, 3, 4]
    named = LatentMap(**(SETTINGS | {"over": [2, 0]}))(run, Noise(0))
    assert named.arrays["over"].tolist() == [2, 0]
    assert any("3 latent variables stay at the mean training code" in note for note in named.notes)


def test_every_place_stands_where_the_picture_shows_it():
    """x = z through a decoder that writes each variable into a pixel of its own: columns rise with the first
    variable, rows fall with the second, squares rise with the third."""
    event = (1, 1, 3)
    model = Gaussian(
        lambda x: x.flatten(1), lambda x: torch.ones(len(x), 3), lambda z: z.view(-1, *event), 3, event
    )
    diagnostic = LatentMap(**SETTINGS)
    report = diagnostic(planted_run(model, Rows(torch.rand(50, *event))), Noise(0))
    found = report.arrays["map"].reshape(3, 4, 4, 3)
    side, third = norm.ppf((np.arange(4) + 0.5) / 4), norm.ppf((np.arange(3) + 0.5) / 3)
    np.testing.assert_allclose(found[1, 2, :, 0], side, atol=1e-6)
    np.testing.assert_allclose(found[1, :, 2, 1], side[::-1], atol=1e-6)
    np.testing.assert_allclose(found[:, 2, 1, 2], third, atol=1e-6)
    picture = diagnostic.plot(report)["map"]
    assert [ax.get_title() for ax in picture.figure.axes] == ["z2 = -0.97", "z2 = 0.00", "z2 = 0.97"]


def test_without_a_prior_places_are_quantiles_of_the_codes():
    run = parts.run("ae", "digits", latent_dim=2)
    assert isinstance(run.model, HasEncoder) and not isinstance(run.model, HasPrior)
    report = LatentMap(**SETTINGS)(run, Noise(0))
    table, codes = report.tables["places"], run.latents("train").codes.double().numpy()
    for i in range(2):
        expected = np.quantile(codes[:, i], (np.arange(6) + 0.5) / 6)
        np.testing.assert_allclose(table.loc[table["latent"] == i, "value"], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "over, says",
    [
        ([0, 0], "none twice"),
        ([], "one to 3"),
        ([0, 1, 2, 3], "one to 3"),
        ([3], "there is no latent 3; the model has 3"),
    ],
)
def test_wrong_variables_are_named(over, says):
    run = linear_vae(torch.ones(3, 4), torch.ones(3))
    with pytest.raises(InputError, match=says):
        LatentMap(**(SETTINGS | {"over": over})).check(run.model, run.data)

"""Autoencoders whose codes are driven to a prior: their terms by hand, and that the prior is reached."""

from __future__ import annotations

import math

import pytest
import torch

from latentrun.errors import InputError
from latentrun.functional.distances.kernels import mmd2, sliced_wasserstein2
from latentrun.functional.noise import Noise
from latentrun.models.wae import SCALES
from latentrun.types import Batch, Clock
from tests.conformance import parts
from tests.planted import Rows

CLOCK = Clock("wae", 0, 0, 1)
X = (0.6 * Noise(0).normal("x", (400, 2))).exp() @ torch.tensor([[2.0, 0.0, 1.0], [0.0, 2.0, -1.0]])  # skew


def made(name: str, **changes):
    torch.manual_seed(0)
    return parts.model(name, Rows(X, value_range=(-99.0, 99.0)), **{"latent": "e2"} | changes)


def test_the_losses_are_reconstruction_and_weighted_distance():
    noise, x = Noise(3), X[:50]
    for name, distance in (
        ("wae", lambda model, z, prior: mmd2(z, prior, "imq", model.width, SCALES)),
        (
            "swae",
            lambda model, z, prior: sliced_wasserstein2(z, prior, noise.normal("projections", (50, 2))),
        ),
        ("aae", lambda model, z, prior: -model.discriminator(z).sigmoid().log().mean()),
    ):
        model = made(name, weight=7.0)
        z = model.encode(x)
        squared = (x - model.decode(z)).square().sum(1).mean()
        expected = squared + 1.5 * math.log(math.pi) + 7 * distance(model, z, model.sample_prior(50, noise))
        terms = model.loss(Batch(x), noise, CLOCK)
        assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5), name
        assert model.width.item() == pytest.approx(4, rel=0.1)  # E||z - z'||² = 2 d
        assert torch.isfinite(model.loss(Batch(x[:1]), noise, CLOCK)["loss"])  # a last batch of one row
        assert torch.isfinite(model.monitor(Batch(x[:1]), noise)["monitor"])


def test_the_discriminator_learns_apart_from_the_encoder():
    model = made("aae")
    (phase,) = model.phases()
    judge, own = phase.objectives
    assert not {id(p) for p in judge.parameters} & {id(p) for p in own.parameters}
    terms = model.discriminator_loss(Batch(X[:50]), Noise(0), CLOCK)
    z, prior = model.encode(X[:50]), model.sample_prior(50, Noise(0))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        model.discriminator(torch.cat([prior, z])), torch.cat([torch.ones(50, 1), torch.zeros(50, 1)])
    )
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(("name", "latent"), [("wae", "e2"), ("swae", "s1"), ("aae", "e2")])
def test_codes_come_to_follow_the_prior(name, latent):
    model = made(
        name, latent=latent, **({"weight": 3.0, "widths": [32]} if name == "aae" else {"weight": 30.0})
    )
    (phase,) = model.phases()
    optimizers = [torch.optim.Adam(each.parameters, lr=0.01, betas=(0.5, 0.9)) for each in phase.objectives]

    def distance() -> float:
        z, prior = model.encode(X).detach(), model.sample_prior(400, Noise(9))
        return mmd2(z, prior, "rbf", model.width, [1.0]).item()

    before = distance()
    for step in range(250):
        batch = Batch(X[step % 4 :: 4])
        for objective, optimizer in zip(phase.objectives, optimizers, strict=True):
            optimizer.zero_grad()
            objective.loss(batch, Noise(0).at(step), CLOCK)["loss"].backward(inputs=objective.parameters)
            optimizer.step()
    assert before > 0.02 and distance() < 0.2 * before


@pytest.mark.parametrize(
    ("name", "latent"),
    [("wae", "i2"), ("wae", "disc"), ("swae", "annulus"), ("swae", "moebius"), ("swae", "i1xdisc")],
)
def test_codes_keep_off_the_border_of_a_space_and_every_row_moves_its_own(name, latent):
    model = made(name, latent=latent)
    whole = model.spaces["z"]
    bordered = [i for i, c in enumerate(whole.coordinates) if c.kind == "real"]
    optimizer = torch.optim.Adam(model.objectives()[0].parameters, lr=0.01)

    def require_alive() -> None:
        numbers = model.encoder(X).detach().requires_grad_()
        z = whole.from_numbers(numbers)
        assert torch.equal(z, model.encode(X))
        u = whole.unembed(z)[:, bordered]
        on_border = ((u < 1e-4) | (u > 1 - 1e-4)).any(1)
        (slope,) = torch.autograd.grad(model.decode(z).square().sum(), numbers)
        assert on_border.float().mean() < 0.01 and (slope.norm(dim=1) > 1e-6).all()

    require_alive()
    first = model.loss(Batch(X), Noise(0), CLOCK)["reconstruction"].item()
    for step in range(200):
        optimizer.zero_grad()
        model.loss(Batch(X[step % 4 :: 4]), Noise(0).at(step), CLOCK)["loss"].backward()
        optimizer.step()
    require_alive()
    assert model.loss(Batch(X), Noise(0), CLOCK)["reconstruction"].item() < 0.3 * first


def test_the_prior_of_a_product_is_that_of_its_factors():
    model = made("wae", latent="s1xe1")
    z = model.sample_prior(4000, Noise(0))
    assert torch.allclose(z[:, :2].norm(dim=1), torch.ones(4000))
    assert z[:, 2].std().item() == pytest.approx(1, abs=0.05)
    assert torch.corrcoef(z.T)[0, 2].abs() < 0.06
    assert torch.allclose(model.encode(X)[:, :2].norm(dim=1), torch.ones(400))


def test_what_cannot_be_is_said_in_a_line():
    with pytest.raises(InputError, match="e4 has 4 dimensions, more than the data, with 3"):
        made("swae", latent="e4")
    with pytest.raises(InputError, match="model.scales: a kernel needs one scale at least"):
        made("wae", scales=[])
    with pytest.raises(InputError, match="model.latent: c3 is a finite set: no gradient moves"):
        made("wae", latent="c3")
    with pytest.raises(InputError, match="model.latent: 'q2' is no space"):
        made("aae", latent="q2")

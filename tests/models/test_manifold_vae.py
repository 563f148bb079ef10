"""The VAE on any space: its bound by hand, and what it says of spaces that cannot be."""

from __future__ import annotations

import pytest
import torch

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.nn.posterior_flat import CategoricalPosterior
from latentrun.types import Batch, Clock
from tests.conformance import parts
from tests.planted import Rows

X = Noise(0).normal("x", (40, 4))
CLOCK = Clock("vae", 0, 0, 1)


def made(name="manifold_vae", **changes):
    return parts.model(name, Rows(X, value_range=(-9.0, 9.0)), **changes)


CASES = {
    "s1": "manifold_vae",
    "s2": "svae",
    "t2": "lie_vae",
    "s1xe1": "manifold_vae",
    "c5xe1": "manifold_vae",
}


@pytest.mark.parametrize(("latent", "name"), CASES.items())
def test_the_loss_is_the_negative_elbo_in_nats_per_example(latent, name):
    model = made(name, latent=latent, beta=2.5)
    z, kl = model.draw(X, Noise(3)), model.kl(X)
    kl = kl.sum(1) if kl.ndim > 1 else kl
    expected = -model.likelihood(z).log_prob(X) + kl
    monitor = model.monitor(Batch(X), Noise(3))
    assert torch.allclose(monitor["monitor"], expected, rtol=1e-4)
    loss = model.loss(Batch(X), Noise(3), CLOCK)["loss"]
    assert loss.item() == pytest.approx((expected + 1.5 * kl).mean().item(), rel=1e-4)
    draws = model.draws(X, 7, Noise(3))
    assert draws.z.shape == (7, 40, model.latent_dim) and draws.log_weight.shape == (7, 40)


@pytest.mark.parametrize("latent", ["s2", "t2", "i2", "disc", "s1xe1", "c4", "s1xc3"])
def test_weights_are_unbiased_on_every_space(latent):
    """E_q[p(z) / q(z|x)] = 1, so that IWAE bounds hold."""
    draws = made(latent=latent).draws(X[:2], 20_000, Noise(0))
    assert torch.allclose(draws.log_weight.exp().mean(0), torch.ones(2), atol=0.1)


def test_enumeration_is_the_mean_over_draws_without_their_noise():
    model = made(latent="c3", enumeration=True)
    assert torch.equal(
        model.monitor(Batch(X), Noise(0))["monitor"], model.monitor(Batch(X), Noise(1))["monitor"]
    )
    exact = model.monitor(Batch(X), Noise(0))["reconstruction"]
    model.enumeration = False
    drawn = torch.stack([model.monitor(Batch(X), Noise(i))["reconstruction"] for i in range(400)]).mean(0)
    assert torch.allclose(exact, drawn, atol=0.15) and (exact - drawn).mean().abs() < 0.02
    z = torch.eye(3)
    q = model.posterior_parameters(X[:1])["probability"]
    by_hand = sum(q[0, k] * -model.likelihood(z[k : k + 1]).log_prob(X[:1]) for k in range(3))
    assert exact[0].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_enumeration_beside_other_factors_takes_one_draw_of_them():
    model = made(latent="c3xe1xc2", enumeration=True)
    coding = model.code(X)
    z, q = coding.outcomes(Noise(0))
    assert z.shape == (6, len(X), 6) and torch.allclose(q.sum(0), torch.ones(len(X)))
    drawn = coding.draw(Noise(0))[:, 3]
    for k, (i, j) in enumerate((i, j) for i in range(3) for j in range(2)):
        assert torch.equal(z[k, :, 3], drawn)
        assert (
            (z[k, :, i] == 1).all()
            and (z[k, :, 4 + j] == 1).all()
            and (z[k].sum(1) - drawn - 2).abs().max() < 1e-6
        )
        both = coding.parameters()["probability_1"][:, i] * coding.parameters()["probability_3"][:, j]
        assert torch.allclose(q[k], both)
    runs = range(400)
    exact = torch.stack([model.monitor(Batch(X), Noise(i))["monitor"] for i in runs])
    model.enumeration = False
    plain = torch.stack([model.monitor(Batch(X), Noise(i))["monitor"] for i in runs])
    apart = (exact.mean(0) - plain.mean(0)) / (plain.var(0) / len(runs)).sqrt()
    assert apart.abs().max() < 4 and (exact.var(0) < plain.var(0)).all()


def test_gradients_of_an_enumerated_product_reach_every_number_of_the_encoder():
    model = made(latent="c3xe1", enumeration=True)
    model.loss(Batch(X), Noise(0), CLOCK)["loss"].backward()
    last = [weight.grad for weight in model.encoder.parameters()][-1]
    assert last.shape == (5,) and (last != 0).all()


def test_there_is_one_temperature_of_finite_sets():
    chosen = {"posterior": parts.spec("posterior", "categorical"), "temperature": 0.03}
    for latent, changes in (("c4", chosen), ("c4", {"temperature": 0.03}), ("s1xc4", {"temperature": 0.03})):
        finite = [m for m in made(latent=latent, **changes).modules() if isinstance(m, CategoricalPosterior)]
        assert [each.temperature for each in finite] == [0.03]


def test_warm_up_is_the_vaes():
    phase = made(warmup_epochs=4.0, beta=2.0).phases()[-1]
    assert [phase.schedules["beta"].value(epoch) for epoch in (0.0, 1.0, 4.0)] == [0.0, 0.5, 2.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"latent": "t5"}, "model.latent: t5 has 5 dimensions, more than the data, with 4"),
        ({"latent": "s1", "enumeration": True}, "model.enumeration: s1 has no finite set, such as c5"),
        (
            {"latent": "c40xc40", "enumeration": True},
            "model.enumeration: c40xc40 has 1,600 combinations of points, at most 1,000 are added up",
        ),
        ({"latent": "s0"}, "model.latent: "),
    ],
)
def test_what_cannot_be_is_said_in_a_line(changes, says):
    with pytest.raises(InputError) as error:
        made(**changes)
    assert str(error.value).startswith(says)


def test_the_quality_of_each_embedding_is_told_by_its_space():
    found = made(latent="s1xs1").embedding_quality(200, Noise(0))
    assert list(found) == ["s1_1", "s1_2"] and found["s1_1"]["turns"] == pytest.approx(1)
    assert list(made(latent="i1xe2").embedding_quality(200, Noise(0))) == ["i1"]
    assert made("svae").embedding_quality(200, Noise(0)) == {}

"""The game of generator and critic: what both pay, which epoch stays, and by which weights it samples."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from latentrun.callbacks import Callback
from latentrun.errors import InputError
from latentrun.functional.adversarial import critic_loss, generator_loss, gradient_penalty, squared_slopes
from latentrun.functional.distances.energy import energy_distance
from latentrun.functional.noise import Noise
from latentrun.models.base import is_standard_normal
from latentrun.models.gan import GAN
from latentrun.nn.dense import Dense
from latentrun.training.loop import EpochEnded, Loop, Stepped
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock
from tests.planted import TRAINING_VALUES, Rows

CLOCK = Clock("gan", 0, 0, 1)
VALUES = {
    "latent": "e2",
    "loss": "non_saturating",
    "gradient_penalty": 10.0,
    "r1": 0.0,
    "r1_every": 1,
    "critic_steps": 1,
    "decay": 0.9,
}


def gan(**changes) -> GAN:
    torch.manual_seed(0)
    return GAN((2,), Dense([8]), **(VALUES | changes))


def cloud(n: int, seed: int = 1) -> torch.Tensor:
    return torch.tensor([30.0, -10.0]) + 5 * Noise(seed).normal("x", (n, 2))


def loop_of(model: GAN, lr: float = 1e-2, **changes) -> Loop:
    data = Rows({"train": cloud(96), "val": cloud(200, 2), "test": cloud(9)}, value_range=(-99.0, 99.0))
    optimizer = partial(torch.optim.SGD, lr=lr)
    settings = {"epochs": 3, "batch_size": 24, "optimizer": optimizer, "scheduler": None}
    settings = Training(**(TRAINING_VALUES | settings | changes))
    return Loop(model, data, settings, Noise(0), torch.device("cpu"))


# ---------------------------------------------------------------- what both pay
def test_the_best_critic_of_two_normals_pays_what_theory_says():
    """N(0, 1) against N(m, 1): f* = log p - log q = m² / 2 - m x has the least cross-entropy, 2 log 2 - 2
    JSD, and the generator's at f* is E_q log(1 + q / p)."""
    m, x = 1.5, torch.linspace(-12, 14, 200_001, dtype=torch.float64)
    p, q = (Normal(torch.tensor(at, dtype=torch.float64), 1.0).log_prob(x) for at in (0.0, m))
    dx, middle = x[1] - x[0], torch.logaddexp(p, q) - math.log(2)
    jsd = 0.5 * ((p.exp() * (p - middle)).sum() + (q.exp() * (q - middle)).sum()) * dx
    u = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    real = Normal(0.0, 1.0).icdf(u)[:, None]
    made = real + m
    best = lambda x: m**2 / 2 - m * x  # noqa: E731
    pays = lambda f: critic_loss("non_saturating", f(real), f(made)).item()  # noqa: E731
    assert pays(best) == pytest.approx((2 * math.log(2) - 2 * jsd).item(), abs=1e-5)
    for off in (lambda x: best(x) + 0.1, lambda x: 1.2 * best(x), lambda x: best(x) + 0.01 * x**2):
        assert pays(off) > pays(best) + 1e-5
    expected = (q.exp() * torch.log1p((q - p).exp())).sum() * dx
    assert generator_loss("non_saturating", best(made)).item() == pytest.approx(expected.item(), abs=1e-4)
    # A critic of slope 1 measures by how far the means are apart: the Wasserstein distance.
    assert critic_loss("wgan_gp", -real, -made).item() == pytest.approx(-m)
    assert critic_loss("hinge", torch.tensor([[2.0], [0.0]]), torch.tensor([[-3.0], [1.0]])).item() == 1.5


@pytest.mark.parametrize("loss", ["non_saturating", "wgan_gp", "hinge"])
def test_penalties_of_a_linear_critic_and_their_gradients_in_closed_form(loss):
    """||∇f||² = |w|² everywhere: R1 costs r1 / 2 |w|² and moves w by r1 w; slopes cost weight (|w| - 1)²."""
    model, x = gan(loss=loss), cloud(10)
    model.standardise(Batch(x), Noise(0))
    model.critic = nn.Linear(2, 1)
    w = model.critic.weight
    x_unit = (x - x.mean(0)) / (x - x.mean(0)).square().mean().sqrt()

    def gradient(step: int = 0, **changes) -> tuple[dict, torch.Tensor]:
        for name, value in ({"r1": 0.0, "r1_every": 1, "gradient_penalty": 0.0} | changes).items():
            setattr(model, name, value)
        w.grad = None
        terms = model.critic_loss(Batch(x), Noise(4), replace(CLOCK, step=step))
        terms["loss"].backward(inputs=[w])  # as a step of the loop takes it
        return terms, w.grad.clone()

    plain, bare = gradient()
    assert plain["real"].item() == pytest.approx(model.critic(x_unit).mean().item(), abs=1e-5)
    terms, moved = gradient(r1=3.0)
    assert terms["r1"].item() == pytest.approx(w.square().sum().item(), rel=1e-5)
    assert (terms["loss"] - plain["loss"]).item() == pytest.approx(1.5 * w.square().sum().item(), rel=1e-4)
    assert torch.allclose(moved - bare, 3 * w, atol=1e-5)
    assert torch.allclose(gradient(r1=3.0, r1_every=4)[1] - bare, 12 * w, atol=1e-5)  # rarely, and as much
    lazy, moved = gradient(r1=3.0, r1_every=4, step=2)
    assert "r1" not in lazy and torch.equal(moved, bare)
    terms, moved = gradient(gradient_penalty=5.0)
    norm = w.norm()
    if loss == "wgan_gp":
        assert terms["gradient_penalty"].item() == pytest.approx(((norm - 1) ** 2).item(), rel=1e-4)
        assert torch.allclose(moved - bare, 10 * (norm - 1) * w / norm, atol=1e-5)
    else:
        assert "gradient_penalty" not in terms and torch.equal(moved, bare)


def test_slopes_are_those_of_autograd_and_are_taken_between_the_two():
    torch.manual_seed(0)
    critic, x = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), Noise(0).normal("x", (6, 3))
    leaf = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(critic(leaf).sum(), leaf)
    assert torch.allclose(squared_slopes(critic, x), slopes.square().sum(1), atol=1e-6)
    seen = []
    gradient_penalty(lambda x: seen.append(x) or x.sum(1, keepdim=True), x, x + 8, torch.tensor(6 * [0.25]))
    assert torch.allclose(seen[0].detach(), x + 6)
    # A flat critic has no direction to go, and no NaN.
    flat = nn.Linear(3, 1)
    nn.init.zeros_(flat.weight)
    gradient_penalty(flat, x, x + 1, torch.zeros(6)).backward()
    assert torch.isfinite(flat.weight.grad).all()


# ---------------------------------------------------------------- which epoch, which weights
class Planting(Callback):
    """Puts the samples ``at[epoch]`` units off the data after each epoch."""

    def __init__(self, model: GAN, at: list[float]):
        super().__init__()
        self.of, self.at = (model,), at

    @torch.no_grad()
    def epoch_end(self, clock: Clock) -> None:
        (model,) = self.of
        last = [module for module in model.average.modules() if isinstance(module, nn.Linear)][-1]
        last.bias.copy_(torch.tensor([self.at[clock.epoch - 1], 0.0]))


class Planted(GAN):
    def phases(self):
        (phase,) = super().phases()
        return (replace(phase, callbacks=(*phase.callbacks, Planting(self, [2.0, 0.1, 0.5]))),)


def test_the_epoch_whose_samples_lie_nearest_stays():
    torch.manual_seed(0)
    loop = loop_of(Planted((2,), Dense([8]), **VALUES), lr=0.0)
    rows = [event.row["val/monitor"] for event in loop.run() if isinstance(event, EpochEnded)]
    assert rows[0] > rows[2] > rows[1]
    with torch.no_grad():
        apart = (loop.model.decode(loop.model.sample_prior(4000, Noise(9))).mean(0) - cloud(96).mean(0)).abs()
    assert apart.max() < 3  # 0.1 of about 5 units, and the mean of what an untrained generator makes


def test_energy_distance_of_normals_is_that_of_theory_and_0_of_equals():
    """N(0, 1) against N(m, 1) in one dimension: 2 E|D + m| - 2 E|D| with D ~ N(0, 2)."""
    x, m = Noise(0).normal("x", (3000, 1)), 1.3
    sd = math.sqrt(2)
    folded = sd * math.sqrt(2 / math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)
    expected = 2 * folded - 2 * sd * math.sqrt(2 / math.pi)
    y = Noise(1).normal("x", (2000, 1))
    assert energy_distance(x, y + m).item() == pytest.approx(expected, rel=0.1)
    again = [energy_distance(x[i : i + 50], y[i : i + 50]).item() for i in range(0, 2000, 50)]
    assert abs(sum(again) / 40) < 0.02 and min(again) < 0  # unbiased, so at times below 0


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_it_samples_by_the_average_of_the_recurrence(critic_steps):
    """a <- decay a + (1 - decay) s at each step of the generator, however many the critic makes."""
    model = gan(critic_steps=critic_steps, decay=0.8)
    loop, steps = loop_of(model, epochs=3), 0  # 12 steps
    expected = [p.detach().clone() for p in model.generator.parameters()]
    for event in loop.run():
        if isinstance(event, Stepped):
            steps += 1
            if steps % critic_steps == 0:
                expected = [
                    0.8 * a + 0.2 * p for a, p in zip(expected, model.generator.parameters(), strict=True)
                ]
                found = list(model.average.parameters())
                assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(expected, found, strict=True))
    assert steps == 12
    z = model.sample_prior(5, Noise(0))
    assert torch.equal(model.decode(z), model.centre + model.scale * model.average(z))
    assert {"average.0.weight", "centre", "scale"} <= model.state_dict().keys()  # all of it in a checkpoint
    assert "moving average" in model.origin and "0.8" in model.caveats(None)[0]


def test_the_generator_steps_once_for_so_many_of_the_critic():
    model = gan(critic_steps=3)
    loop, still = loop_of(model, epochs=1), []
    before = model.generator[0].weight.detach().clone()
    for event in loop.run():
        if isinstance(event, Stepped):
            now = model.generator[0].weight.detach().clone()
            still.append(torch.equal(now, before))
            before = now
    assert still == [False, True, True, False]


# ---------------------------------------------------------------- where codes come from
def test_codes_come_from_the_uniform_law_of_a_bounded_space_or_from_a_normal():
    assert is_standard_normal(gan().prior()) and gan().prior().event_shape == (2,)
    circle = gan(latent="s1")
    z = circle.sample_prior(4000, Noise(0))
    assert torch.allclose(z.norm(dim=1), torch.ones(4000)) and z.mean(0).abs().max() < 0.05
    assert circle.prior().log_prob(z[:3]).tolist() == pytest.approx(3 * [-math.log(2 * math.pi)])
    with pytest.raises(
        InputError, match="model.latent: s1xe1 has no law to draw from; e<n> and bounded spaces"
    ):
        gan(latent="s1xe1")
    rows = Rows({"train": cloud(9), "val": cloud(1), "test": cloud(9)}, value_range=(-99.0, 99.0))
    with pytest.raises(
        InputError, match="the val split has one row; model gan chooses its best epoch by two"
    ):
        gan().check_rows(rows)

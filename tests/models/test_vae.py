"""The VAE's losses against closed forms, and its optimum against probabilistic PCA."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.ae import AE
from latentrun.models.vae import VAE
from latentrun.nn.dense import Dense
from latentrun.training.loop import EpochEnded, Loop, Training
from latentrun.types import Batch, Clock
from tests.planted import Rows, vae_values

SHAPE = (1, 3, 2)
CLOCK = Clock("vae", 0, 0, 1)


def vae(shape=SHAPE, network=None, value_range=(0.0, 1.0), **changes) -> VAE:
    return VAE(shape, value_range, (), network or Dense([5]), **vae_values(**changes))


@pytest.fixture
def x():
    return torch.rand(20, *SHAPE)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_loss_is_the_negative_elbo_in_nats_per_example(likelihood, x):
    model, noise, beta = vae(likelihood=likelihood, beta=2.5), Noise(1), 2.5
    q = model.posterior(x)
    z = q.mean + q.stddev * noise.normal("z", (20, 2))
    out = model.decoder(z)
    law = Normal(out, 0.5) if likelihood == "gaussian" else Bernoulli(logits=out, validate_args=False)
    law = Independent(law, 3, validate_args=False)
    expected_kl = kl_divergence(q.base_dist, Normal(0.0, 1.0)).sum(1).mean()
    expected = -law.log_prob(x).mean() + beta * expected_kl
    terms = model.loss(Batch(x), noise, CLOCK)
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["kl"].item() == pytest.approx(expected_kl.item(), rel=1e-5)
    assert model.likelihood(z).log_prob(x).mean().item() == pytest.approx(
        law.log_prob(x).mean().item(), rel=1e-5
    )
    # The monitor is the full bound at beta = 1, whatever beta is.
    assert model.monitor(Batch(x), noise)["monitor"].mean().item() == pytest.approx(
        (expected - (beta - 1) * expected_kl).item(), rel=1e-5
    )


def test_scale_one_over_root_two_is_the_squared_error(x):
    model, noise = vae(scale=math.sqrt(0.5)), Noise(0)
    terms = model.loss(Batch(x), noise, CLOCK)
    z = model.posterior(x).mean + model.posterior(x).stddev * noise.normal("z", (20, 2))
    squared = (x - model.decode(z)).square().flatten(1).sum(1).mean()
    assert (terms["reconstruction"] - squared).item() == pytest.approx(6 * 0.5 * math.log(math.pi), rel=1e-5)
    assert terms["mse"].item() == pytest.approx(squared.item() / 6, rel=1e-5)


@pytest.mark.parametrize(
    "kl, expected",
    [("quadratic", lambda q: 0.5 * q.mean.square().sum(1).mean()), ("none", lambda q: torch.tensor(0.0))],
)
def test_parts_of_the_kl(kl, expected, x):
    model = vae(kl=kl)
    assert model.loss(Batch(x), Noise(0), CLOCK)["kl"].item() == pytest.approx(
        expected(model.posterior(x)).item(), abs=1e-6
    )


def test_without_sampling_the_code_is_the_mean_and_noise_has_no_part(x):
    model = vae(sample=False)
    first, second = (model.loss(Batch(x), Noise(seed), CLOCK)["loss"].item() for seed in (0, 1))
    assert first == second
    assert model.loss(Batch(x), Noise(0), CLOCK)["mse"].item() == pytest.approx(
        (x - model.decode(model.encode(x))).square().mean().item(), rel=1e-5
    )


def test_running_mse_follows_the_error_down_and_never_up(x):
    model = vae(balance="running_mse", scale=1.0)
    for mse, expected in ((0.5, 0.995), (0.5, 0.99 * 0.995 + 0.005), (100.0, 0.99 * 0.995 + 0.005)):
        (callback,) = model.phases()[0].callbacks
        callback.after_step({"mse": torch.tensor(mse)}, CLOCK)
        assert math.exp(2 * model.head.log_scale.item()) == pytest.approx(expected, rel=1e-5)
    assert "head.log_scale" in model.state_dict() and "head.log_scale" not in dict(model.named_parameters())


def test_learned_scale_is_a_parameter_whose_optimum_is_the_root_mean_squared_error(x):
    model = vae(balance="learned", sample=False, beta=0.0)
    optimizer = torch.optim.Adam([model.head.log_scale], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        terms = model.loss(Batch(x), Noise(0), CLOCK)
        terms["loss"].backward()
        optimizer.step()
    assert model.head.log_scale.exp().item() == pytest.approx(terms["mse"].sqrt().item(), rel=1e-3)


def test_squash_keeps_decoded_values_in_the_range():
    model = vae(value_range=(-1.0, 3.0), squash=True)
    decoded = model.decode(100 * torch.randn(50, 2))
    assert decoded.min() >= -1 and decoded.max() <= 3 and decoded.max() - decoded.min() > 2


def test_bernoulli_refuses_data_outside_the_unit_interval():
    with pytest.raises(InputError, match=r"bernoulli needs data in \[0, 1\]; these lie in \[-1.0, 1.0\]"):
        vae(value_range=(-1.0, 1.0), likelihood="bernoulli")


def test_warm_up_raises_beta_from_zero():
    phase = vae(warmup_epochs=4.0, beta=2.0).phases()[0]
    assert [phase.schedules["beta"].value(epoch) for epoch in (0.0, 1.0, 4.0, 9.0)] == [0.0, 0.5, 2.0, 2.0]
    assert phase.schedules["beta"].end == 4.0


def test_beta_may_come_down_and_start_again():
    down = vae(warmup_epochs=2.0, beta_start=4.0, beta=1.0).schedules["beta"]
    assert [down.value(epoch) for epoch in (0.0, 1.0, 2.0, 7.0)] == [4.0, 2.5, 1.0, 1.0]
    cyclic = vae(warmup_epochs=2.0, cycle_epochs=5.0, cycles=3).schedules["beta"]
    # Up in two epochs, three at 1, anew; after the last rise for good.
    assert [cyclic.value(epoch) for epoch in (0, 1, 2, 4.9, 5, 6, 7, 10, 11, 12, 15, 16, 40)] == [
        0,
        0.5,
        1,
        1,
        0,
        0.5,
        1,
        0,
        0.5,
        1,
        1,
        1,
        1,
    ]
    assert cyclic.end == 12.0
    for wrong in (
        {"cycles": 2},
        {"cycles": 2, "cycle_epochs": 5.0},
        {"cycles": 2, "cycle_epochs": 1.0, "warmup_epochs": 2.0},
    ):
        with pytest.raises(InputError, match="model.cycles: 2 cycles need cycle_epochs"):
            vae(**wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            {"beta_start": 4.0},
            "model.beta_start: 4 is where the weight begins to move: it needs warmup_epochs above 0",
        ),
        (
            {"cycle_epochs": 5.0, "warmup_epochs": 2.0},
            "model.cycle_epochs: 5 is the length of one of several cycles",
        ),
        (
            {"squash": True, "value_range": (-math.inf, math.inf)},
            "model.likelihood.squash: needs data in a finite range",
        ),
    ],
)
def test_settings_that_would_do_nothing_are_refused(wrong, says):
    with pytest.raises(InputError, match=says):
        vae(**wrong)


def test_free_bits_charge_each_variable_its_mean_kl_or_lambda(x):
    model, noise, free = vae(free_bits=0.3, beta=2.0, latent_dim=5), Noise(1), 0.3
    q = model.posterior(x)
    each = kl_divergence(q.base_dist, Normal(0.0, 1.0)).mean(0)
    assert each.min() < free  # else the test would see nothing
    terms = model.loss(Batch(x), noise, CLOCK)
    expected = terms["reconstruction"] + 2.0 * each.clamp(min=free).sum()
    assert terms["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    assert terms["kl"].item() == pytest.approx(
        each.sum().item(), rel=1e-5
    )  # what is shown, and what selects, is the true one
    terms["loss"].backward()
    with pytest.raises(InputError, match="model.free_bits: needs kl=full"):
        vae(free_bits=0.3, kl="quadratic")


def test_free_bits_keep_every_variable_in_use():
    """Data of one dimension and two latent variables: without free bits one collapses, with them none."""
    x = torch.randn(800, 1, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1.0, 2.0, -1.0]])
    kls = {}
    for free in (0.0, 0.5):
        torch.manual_seed(0)
        model = vae((3,), Dense([8]), free_bits=free, value_range=(-9.0, 9.0), scale=0.3)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        for step in range(600):
            optimizer.zero_grad()
            model.loss(Batch(x[step % 8 :: 8]), Noise(0).at(step), CLOCK)["loss"].backward()
            optimizer.step()
        kls[free] = (
            kl_divergence(model.posterior(x).base_dist, Normal(0.0, 1.0)).mean(0).sort().values.tolist()
        )
    assert kls[0.0][0] < 0.05 and kls[0.0][1] > 1
    assert 0.4 < kls[0.5][0] and kls[0.5][1] > 1


def test_means_over_the_batch_are_those_of_single_examples(x):
    for likelihood, balance in (("gaussian", "fixed"), ("gaussian", "learned"), ("bernoulli", "fixed")):
        model = vae(likelihood=likelihood, **({} if likelihood == "bernoulli" else {"balance": balance}))
        z = torch.randn(20, 2)
        out = model.decoder(z)
        single, mean = model.head.terms(z, out, x), model.head.means(z, out, x)
        assert single.keys() == mean.keys()
        for name, values in single.items():
            assert mean[name].item() == pytest.approx(values.mean().item(), rel=1e-5)


def test_running_mse_selects_by_the_full_likelihood():
    """As gamma falls the squared error over 2 gamma² stays near D/2: by that rescaled loss an early epoch is
    the best, by the full negative ELBO, with ½ D ln 2 pi gamma², a late one."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(600, 2, generator=generator) @ torch.randn(
        2, 12, generator=generator
    ) + 0.05 * torch.randn(600, 12, generator=generator)
    torch.manual_seed(0)
    model = vae((12,), Dense([32]), balance="running_mse", scale=1.0, value_range=(-9.0, 9.0))
    settings = Training(
        epochs=25, batch_size=10, patience=None, min_delta=0.0, clip=None, then=None, optimizers={},
        optimizer=partial(torch.optim.Adam, lr=0.001), scheduler=None,
    )  # fmt: skip
    loop, rescaled = (
        Loop(model, Rows(x, value_range=(-9.0, 9.0)), settings, Noise(0), torch.device("cpu")),
        [],
    )
    best = 0
    for event in loop.run():
        if isinstance(event, EpochEnded):
            gamma2 = math.exp(2 * model.head.log_scale.item())
            rescaled.append(12 * event.row["val/mse"] / (2 * gamma2) + event.row["val/kl"])
            best = event.row["epoch"] if event.improved else best
    assert best > 20
    assert 1 + min(range(25), key=rescaled.__getitem__) < 10


def test_prior_is_standard_normal_and_its_samples_too():
    model = vae()
    assert model.prior().log_prob(torch.zeros(2)).item() == pytest.approx(-math.log(2 * math.pi), rel=1e-6)
    z = model.sample_prior(20_000, Noise(0))
    assert z.mean(0).abs().max() < 0.03 and (z.std(0) - 1).abs().max() < 0.03


def test_ae_loss_is_the_squared_error_summed_over_dimensions(x):
    model = AE(SHAPE, (0.0, 1.0), Dense([5]), latent_dim=2, squash=True)
    error = (x - model.decode(model.encode(x))).square().flatten(1).sum(1)
    assert model.loss(Batch(x), Noise(0), CLOCK)["loss"].item() == pytest.approx(
        error.mean().item(), rel=1e-6
    )
    assert torch.allclose(model.monitor(Batch(x), Noise(0))["monitor"], error)


def test_a_linear_vae_reaches_the_ppca_optimum():
    """For linear encoder and decoder the best ELBO is the log-likelihood of probabilistic PCA, in closed form
    (Tipping & Bishop 1999; Lucas et al. 2019, arXiv 1911.02469): the bound is tight."""
    from sklearn.decomposition import PCA

    generator = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, 1.5], [-1.0, 0.5], [0.3, 0.3]]).T
    x = (
        torch.randn(2000, 2, generator=generator) @ mixing
        + 0.4 * torch.randn(2000, 5, generator=generator)
        + 1.0
    )
    data = Rows(x, value_range=(-10.0, 10.0))
    torch.manual_seed(0)
    model = vae((5,), Dense([]), balance="learned", value_range=(-10.0, 10.0))
    settings = Training(
        epochs=200, batch_size=100, patience=None, min_delta=0.0, clip=None, then=None, optimizers={},
        optimizer=partial(torch.optim.Adam, lr=0.05),
        scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=70, gamma=0.3),
    )  # fmt: skip
    list(Loop(model, data, settings, Noise(0), torch.device("cpu")).run())
    with torch.no_grad():
        bound = sum(model.monitor(Batch(x), Noise(0).at(i))["monitor"].mean().item() for i in range(50)) / 50
    optimum = -PCA(2).fit(x.numpy()).score(x.numpy())
    assert optimum - 0.005 < bound < optimum + 0.01
    noise = PCA(2).fit(x.numpy()).noise_variance_
    assert math.exp(2 * model.head.log_scale.item()) == pytest.approx(noise, rel=0.03)


def test_the_prior_is_filled_evenly_in_up_to_three_dimensions():
    for dims in (1, 2, 3):
        grid = vae(latent_dim=dims).prior_grid(1000)
        assert grid.shape == (1000, dims)
        torch.testing.assert_close(grid.T @ grid / 1000, torch.eye(dims), atol=0.03, rtol=0)
    assert vae(latent_dim=4).prior_grid(1000) is None

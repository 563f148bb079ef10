"""The likelihood of tables: its start, its scales, and what a VAE learns with it."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.func import functional_call, stack_module_state

from latentrun.config.build import build
from latentrun.diagnostics.decoder.reconstruction import Reconstruction
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.vae import VAE
from latentrun.nn.dense import Dense
from latentrun.nn.likelihood import GaussianLikelihood, Likelihood, MixedLikelihood, running
from latentrun.run import Run
from latentrun.training.loop import Loop
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock, Column
from tests.conformance import parts
from tests.data.test_table import make
from tests.planted import table_file, vae_values

REAL = (Column("a", "real", 0), Column("b", "real", 1))
COLUMNS = (
    *REAL,
    Column("c", "ordinal", 2, 1, tuple("01234"), 2.2, 1.1),
    Column("d", "ordinal", 3, 1, ("n", "y"), 0.5, 0.5),
)

Z = torch.zeros(1, 1)  # these likelihoods look at what the decoder makes of a code, not at the code


def vae(columns, likelihood="auto", width=4, network=None, **changes) -> VAE:
    return VAE(
        (width,),
        (-3.0, 3.0),
        columns,
        network or Dense([8]),
        **vae_values(likelihood, **changes),
    )


def test_auto_is_mixed_only_where_a_column_is_not_real():
    assert isinstance(vae(COLUMNS).head.law, MixedLikelihood)
    assert isinstance(vae(REAL, width=2).head.law, GaussianLikelihood) and isinstance(
        vae(()).head.law, GaussianLikelihood
    )
    assert isinstance(vae(COLUMNS, "gaussian").head, GaussianLikelihood)
    with pytest.raises(InputError, match="mixed needs the columns of a table; these data have none"):
        vae((), "mixed")


def test_real_columns_have_the_gaussian_likelihood():
    x, out = torch.randn(7, 2), torch.randn(7, 2)
    gaussian, mixed = (
        GaussianLikelihood((2,), (-9.0, 9.0), 0.3, "fixed", False),
        MixedLikelihood(REAL, 0.3, "fixed"),
    )
    expected, found = gaussian.terms(Z, out, x), mixed.terms(Z, out, x)
    assert torch.allclose(found["reconstruction"], expected["reconstruction"], rtol=1e-5)
    assert torch.allclose(found["mse"], expected["mse"]) and torch.equal(found["mse"], found["mse_real"])
    assert torch.equal(mixed.mean(Z, out), out)


def test_thresholds_begin_at_the_levels_mean_and_always_increase():
    head = MixedLikelihood(COLUMNS, 1.0, "fixed")
    law = head.distribution(Z, torch.zeros(1, 4))
    level = law.ordinal.mean[0]
    assert level[0].item() == pytest.approx(2.2, abs=0.1) and level[1].item() == pytest.approx(0.5, abs=1e-6)
    assert law.ordinal.variance[0, 0].sqrt().item() == pytest.approx(1.1, abs=0.1)
    with torch.no_grad():
        head.first.normal_(0, 10)
        head.log_gaps.normal_(0, 10)
    assert (head.thresholds[0].diff() > 0).all() and head.thresholds[1, 1:].isinf().all()


def test_running_mse_sees_the_real_columns_only():
    head = MixedLikelihood(COLUMNS, 1.0, "running_mse")
    x, out = torch.zeros(3, 4), torch.zeros(3, 4)
    out[:, 0] = 1
    terms = {name: value.mean() for name, value in head.terms(Z, out, x).items()}
    assert terms["mse_real"].item() == pytest.approx(0.5)
    head.observe(terms)
    assert math.exp(2 * head.log_scale.item()) == pytest.approx(0.99 + 0.01 * 0.5, rel=1e-5)


def test_each_real_column_learns_its_own_scale():
    head, x = MixedLikelihood(REAL, 1.0, "learned"), torch.randn(500, 2) * torch.tensor([0.2, 3.0])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        head.terms(Z, torch.zeros_like(x), x)["reconstruction"].mean().backward()
        optimizer.step()
    assert head.log_scale.exp().tolist() == pytest.approx(x.square().mean(0).sqrt().tolist(), rel=0.01)


def test_two_models_stack():
    class Loss(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.loss(Batch(x), Noise(0), Clock("vae", 0, 0, 1))["loss"]

    columns = (*COLUMNS, Column("e", "categorical", 4, 3, tuple("abc")))
    x = torch.tensor([[0.1, 0.2, (2 - 2.2) / 1.1, 1.0, 0, 1, 0], [0.5, -1, (0 - 2.2) / 1.1, -1.0, 1, 0, 0]])
    both = [Loss(vae(columns, width=7)) for _ in range(2)]
    call = torch.func.vmap(lambda p, b: functional_call(both[0], (p, b), (x,)), randomness="same")
    assert torch.allclose(call(*stack_module_state(both)), torch.stack([loss(x) for loss in both]), rtol=1e-5)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A VAE with two latents on the planted table, whose columns but two hang on two hidden numbers."""
    data = make(table_file(tmp_path_factory.mktemp("table") / "planted.csv", 1200))
    torch.manual_seed(0)
    model = vae(data.columns, width=data.event_shape[0], balance="learned", network=Dense([32]))
    settings = Training(
        epochs=60, batch_size=64, patience=None, min_delta=0.0, clip=None, then=None, optimizers={},
        optimizer=partial(torch.optim.Adam, lr=5e-3, fused=True), scheduler=None,
    )  # fmt: skip
    list(Loop(model, data, settings, Noise(0), torch.device("cpu")).run())
    return Run(model, data)


def test_a_vae_finds_what_hangs_together_and_leaves_the_noise(trained):
    found = Reconstruction("test", worst=3, shown=3, resamples=200)(trained, Noise(0))
    table = found.tables["columns"].set_index("column")
    assert (table.loc[["price", "age", "size"], "value"] > 0.95).all()
    assert (table.loc[["quarter", "side", "grade"], "low"] > 0.95).all() and (
        table.loc[["quarter", "side", "grade"], "baseline"] < 0.6
    ).all()
    assert table.loc["noise", "value"] < 0.1
    assert table.loc["dice", "low"] < table.loc["dice", "baseline"] + 0.05
    own = table[table["score"] == "accuracy"]
    assert found.metrics["column_accuracy"].value == pytest.approx(own["value"].mean())
    assert found.metrics["column_baseline"].value == pytest.approx(own["baseline"].mean())
    assert found.metrics["column_r2"].value == pytest.approx(
        table.loc[table["score"] == "R2", "value"].median()
    )


@pytest.mark.parametrize(
    ("name", "key"), [("bernoulli", "balance"), ("bernoulli", "squash"), ("mixed", "squash")]
)
def test_a_setting_that_a_likelihood_has_not_is_refused(name, key):
    spec = parts.spec("model", "vae") | {"likelihood": parts.spec("likelihood", name) | {key: False}}
    with pytest.raises(InputError, match=rf"^model.likelihood.{key}: \w+Likelihood takes no such value"):
        build(spec, VAE, "model", event_shape=(2,), value_range=(0, 1), columns=(), network=Dense([8]))


class Precise(Likelihood):
    """N(x; out, 1 / z_0²): a precision that depends on the code, in one class."""

    def __init__(self, event_shape, floor: float):
        super().__init__()
        self.floor = floor

    def mean(self, z, out):
        return out

    def distribution(self, z, out):
        return Independent(Normal(out, 1 / z[:, :1].abs().clamp_min(self.floor)), 1)

    def terms(self, z, out, x):
        nll = -self.distribution(z, out).log_prob(x)
        return {"reconstruction": nll, "mse": (x - out.detach()).square().mean(1)}


def test_a_likelihood_of_ones_own_sees_the_code():
    spec = parts.spec("model", "vae") | {"likelihood": {"_target_": f"{__name__}.Precise", "floor": 0.1}}
    given = {"event_shape": (2,), "value_range": (-1, 1), "columns": (), "network": Dense([8])}
    model = build(spec, VAE, "model", ["tests"], **given)
    z = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert torch.allclose(model.likelihood(z).stddev[:, 0], torch.tensor([0.5, 10.0]))
    loss = model.loss(Batch(torch.rand(5, 2)), Noise(0), Clock("vae", 0, 0, 1))["loss"]
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())


def test_the_running_gamma_falls_towards_the_error_and_never_grows():
    before = torch.tensor(0.5)
    falling = running(before, torch.tensor(0.1))
    assert falling.exp() ** 2 == pytest.approx(0.99 * before.exp().item() ** 2 + 0.01 * 0.1)
    assert running(before, torch.tensor(100.0)) == pytest.approx(0.5)

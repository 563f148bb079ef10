"""Normal laws whose standard deviation changes with z: formulas, floors, what is learned, and when."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from torch import Tensor

from latentrun.config.build import build
from latentrun.errors import InputError
from latentrun.functional.clouds.clusters import kmeans
from latentrun.functional.noise import Noise
from latentrun.geometry.surface import Immersed
from latentrun.models.vae import VAE
from latentrun.models.wae import AAE, WAE
from latentrun.nn.dense import Dense
from latentrun.nn.likelihood import Coder, Likelihood
from latentrun.nn.likelihood_ensemble import DecoderEnsemble
from latentrun.nn.likelihood_rbf import RBFPrecision
from latentrun.training.loop import Loop, PhaseStarted, Stepped
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock, Column
from tests.conformance import parts
from tests.planted import TRAINING_VALUES, Rows

CLOCK = Clock("vae", 0, 0, 1)
HEADS = ("variance_network", "rbf", "ensemble")


def head(name: str, event_shape=(3,), latent_dim=2, columns=(), value_range=(-math.inf, math.inf), **changes):
    given = {
        "event_shape": event_shape,
        "value_range": value_range,
        "columns": columns,
        "latent_dim": latent_dim,
        "network": Dense([8]),
    }
    spec = parts.spec("likelihood", name) | changes
    return build(spec, Likelihood, "model.likelihood", **given)


def vae(likelihood: str, on: Rows, model="vae", kind=VAE, **changes):
    spec = parts.spec("model", model)
    spec["likelihood"] = parts.spec("likelihood", likelihood) | changes
    if "latent_dim" in spec:
        spec["latent_dim"] = 2
    else:
        spec["latent"] = "e2"
    torch.manual_seed(0)
    given = {"event_shape": on.event_shape, "value_range": on.value_range, "columns": ()}
    return build(spec, kind, "model", network=Dense([8]), **given)


def rows(n=120) -> Rows:
    x = Noise(0).normal("x", (n, 2)) @ Noise(1).normal("w", (2, 5)) + 0.1 * Noise(2).normal("e", (n, 5))
    return Rows(x, value_range=(-5.0, 5.0))


def loop(model, data, epochs=2, series=None) -> Loop:
    settings = Training(
        epochs=epochs, batch_size=40, optimizer=partial(torch.optim.Adam, lr=1e-2), scheduler=None,
        **TRAINING_VALUES,
    )  # fmt: skip
    return Loop(model, data, settings, Noise(0), torch.device("cpu"), series)


# ---------------------------------------------------------------- what all three keep
@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("reach", [1.0, 1e4])
@pytest.mark.parametrize("size", [1.0, 1e-6])
def test_losses_are_finite_far_out_and_at_tiny_scales(name, reach, size):
    law = head(name, scale=size, least=1e-2 * size)
    if isinstance(law, RBFPrecision):
        law.fitted.fill_(True)
    decoder = Dense([8]).decoder(2, (3,))
    z = (reach * torch.randn(6, 2)).requires_grad_()
    terms = law.terms(z, decoder(z), size * torch.randn(6, 3))
    terms["reconstruction"].mean().backward()
    assert terms["reconstruction"].isfinite().all() and z.grad is not None and z.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in law.parameters() if p.grad is not None)
    mean, scale = law.moments(z, decoder(z))
    assert mean.shape == scale.shape == (6, 3) and (scale >= 1e-2 * size * 0.999).all()


@pytest.mark.parametrize("name", HEADS)
def test_columns_that_are_no_numbers_are_refused(name):
    columns = (Column("a", "real", 0), Column("b", "ordinal", 1, 1, tuple("xyz")))
    with pytest.raises(InputError, match="needs real numbers; column 'b' is ordinal: use mixed"):
        head(name, columns=columns)
    assert head(name, columns=columns[:1])


@pytest.mark.parametrize("name", HEADS)
def test_the_reconstruction_is_minus_log_p(name):
    law, decoder = head(name), Dense([8]).decoder(2, (3,))
    z, x = torch.randn(50, 2), torch.randn(50, 3)
    cost, exact = law.terms(z, decoder(z), x)["reconstruction"], -law.distribution(z, decoder(z)).log_prob(x)
    if name == "ensemble":  # the mean over members is no less than that of the mixture, and nearly as much
        assert (cost >= exact - 1e-5).all() and (cost - exact).mean() < 1.0
    else:
        assert torch.allclose(cost, exact, rtol=1e-5)
    mean, scale = law.moments(z, decoder(z))
    assert torch.allclose(mean, law.mean(z, decoder(z)))
    if name != "ensemble":
        assert torch.allclose(scale, law.distribution(z, decoder(z)).stddev)


@pytest.mark.parametrize("name", HEADS)
def test_their_metric_is_that_of_the_jacobians(name):
    law, decoder = head(name).double(), Dense([8]).decoder(2, (3,)).double()
    if isinstance(law, RBFPrecision):
        law.fitted.fill_(True)
    z = torch.randn(4, 2, dtype=torch.float64)
    metric = Immersed(lambda z: law.moments(z, decoder(z)), 2).metric(z)
    for at, found in zip(z, metric, strict=True):
        parts = torch.autograd.functional.jacobian(lambda z: law.moments(z[None], decoder(z[None])), at)
        j = torch.cat([part[0] for part in parts])
        torch.testing.assert_close(found, j.T @ j)


def test_the_floor_is_said():
    data = rows()
    notes = vae("variance_network", data).caveats(data)
    assert any("never below 0.01 data units" in note for note in notes)
    data.binary = True
    assert any("compare with no Bernoulli" in note for note in vae("variance_network", data).caveats(data))


# ---------------------------------------------------------------- a network
def test_the_networks_standard_deviation_begins_at_its_scale():
    scale = head("variance_network", event_shape=(1, 8, 8), scale=0.2).moments(
        torch.zeros(1, 2), torch.zeros(1, 1, 8, 8)
    )[1]
    assert scale.mean().item() == pytest.approx(0.21, abs=0.01)


# ---------------------------------------------------------------- an ensemble
def test_the_ensembles_moments_are_those_of_its_members():
    law = head("ensemble", members=4)
    assert isinstance(law, DecoderEnsemble)
    z, out = torch.randn(5, 2), torch.randn(5, 3)
    members = law.means_of_members(z, out)
    assert members.shape == (5, 4, 3) and torch.equal(members[:, 0], out)
    mean, spread = law.moments(z, out)
    torch.testing.assert_close(mean, members.mean(1))
    torch.testing.assert_close(spread, members.std(1), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(law.distribution(z, out).mean, mean)


def test_every_member_learns_and_they_agree_where_data_are():
    """The spread at the rows falls; far away, where nothing says what is right, it is many times larger."""
    data = rows(200)
    model = vae("ensemble", data, scale=0.1)
    z = model.encode(data.split("train").x)
    before = [p.clone() for p in model.head.parameters()]
    list(loop(model, data, epochs=60).run())
    assert all(not torch.equal(p, q) for p, q in zip(model.head.parameters(), before, strict=True))
    with torch.no_grad():
        z = model.encode(data.split("train").x)
        near, far = (model.moments_at(points)[1].mean().item() for points in (z, 6 * z))
    assert far > 5 * near


# ---------------------------------------------------------------- radial basis functions
def first_column() -> Coder:
    """Of rows (u, e1, e2) the code is u and all that is decoded."""

    def decoder(z: Tensor) -> Tensor:
        return torch.cat([z, torch.zeros(len(z), 2)], dim=1)

    return Coder(lambda x: x[:, :1], lambda x, noise: x[:, :1], decoder)


def fitted(steps: int, **changes) -> tuple[RBFPrecision, Tensor]:
    """A head whose second phase saw noise of known standard deviation, of which one changes with u."""
    law = head("rbf", latent_dim=1, centers=8, ceiling=50.0, **changes)
    assert isinstance(law, RBFPrecision)
    u = torch.linspace(-3, 3, 2000).unsqueeze(1)
    e = Noise(0).normal("e", (2000, 2)) * torch.cat(
        [torch.full_like(u, 0.3), torch.where(u < 0, 0.1, 0.6)], 1
    )
    x = torch.cat([u, e], dim=1)
    (phase,) = law.phases(first_column())
    phase.callbacks[0].begin(Batch(x), Noise(0))
    (objective,) = phase.objectives
    optimizer = torch.optim.Adam(objective.parameters, lr=0.05 / law.speed)
    for step in range(steps):
        optimizer.zero_grad()
        objective.loss(Batch(x), Noise(step), CLOCK)["loss"].backward()
        optimizer.step()
    return law, x


def test_precision_is_the_formula_at_centres_and_far_away():
    law, x = fitted(0)
    w, bandwidth = law.log_weight.exp(), law.bandwidth
    v = (-bandwidth * (law.centers - law.centers[3]).square().sum(1)).exp()
    expected = v @ w + law.floor
    torch.testing.assert_close(law.precision(law.centers[3:4])[0], expected)
    sd = law.moments(law.centers[3:4], torch.zeros(1, 3))[1][0]
    torch.testing.assert_close(sd, (1 / expected + 0.01**2).sqrt())
    far = law.moments(torch.tensor([[1e3]]), torch.zeros(1, 3))[1]
    torch.testing.assert_close(far, law.floor.rsqrt().expand(1, 3), rtol=1e-5, atol=0.0)
    # zeta = (ceiling s)^-2, s the root mean square of the residuals
    rms = x[:, 1:].square().sum().div(3 * len(x)).sqrt()
    torch.testing.assert_close(law.floor.rsqrt(), 50 * rms, rtol=1e-4, atol=0.0)


def test_bandwidths_are_those_of_the_clusters():
    law, x = fitted(0, width=2.0)
    clusters = kmeans(x[:, :1], 8, Noise(0))
    torch.testing.assert_close(law.centers, clusters.centers)
    torch.testing.assert_close(law.bandwidth, 0.5 / (2.0 * clusters.spread) ** 2)


def test_known_noise_is_recovered():
    """Of three standard deviations: the floor where there is no noise, 0.3 everywhere, 0.1 and 0.6."""
    law, _ = fitted(150)
    left, right = (law.moments(torch.tensor([[u]]), torch.zeros(1, 3))[1][0] for u in (-1.8, 1.8))
    assert left[1:].tolist() == pytest.approx([0.3, 0.1], rel=0.12)
    assert right[1:].tolist() == pytest.approx([0.3, 0.6], rel=0.12)
    assert left[0] < 0.03


def test_weights_fitted_to_the_network_give_its_standard_deviation():
    law, x = fitted(150, before="network", weights_by="network", scale=0.4, width=2.0)
    assert law.before is not None
    z = x[100:-100:50, :1]
    ratio = law.scale_after(z) / law.before.scale_at(z)
    assert (ratio - 1).abs().mean() < 0.05
    scale = law.before.scale_at(x[:, :1]).mean()
    torch.testing.assert_close(law.floor.rsqrt(), 50 * scale, rtol=1e-4, atol=0.0)
    with pytest.raises(InputError, match=r"model\.likelihood\.weights_by: network needs before=network"):
        head("rbf", weights_by="network")


def test_codes_that_are_one_point_or_fewer_than_centres():
    law = head("rbf", latent_dim=1, centers=8)
    x = torch.zeros(5, 3)
    law.place(x, first_column(), Noise(0))
    z = torch.tensor([[0.0], [1e4]])
    assert law.terms(z, torch.zeros(2, 3), torch.zeros(2, 3))["reconstruction"].isfinite().all()


def test_kmeans_is_reproducible_and_knows_its_spread():
    points = Noise(0).normal("x", (500, 3))
    first, second = (kmeans(points, 20, Noise(1)) for _ in range(2))
    assert torch.equal(first.centers, second.centers) and first.centers.shape == (20, 3)
    own = (points - first.centers[first.label]).norm(dim=1)
    torch.testing.assert_close(first.spread[4], own[first.label == 4].mean())
    assert not torch.equal(first.centers, kmeans(points, 20, Noise(2)).centers)


# ---------------------------------------------------------------- in training
@pytest.mark.parametrize(("before", "weights_by"), [("constant", "likelihood"), ("network", "network")])
def test_the_second_phase_moves_the_weights_alone(before, weights_by):
    data = rows()
    model = vae("rbf", data, centers=6, before=before, weights_by=weights_by)
    steps, state = loop(model, data), {}
    for event in steps.run():
        if isinstance(event, PhaseStarted) and event.phase == "precision":
            state = copy.deepcopy(model.state_dict())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, state[name])}
    assert changed == {"head.moved"} and model.head.fitted
    table = steps.progress.rows
    assert [row["phase"] for row in table] == ["vae", "vae", "precision", "precision"]


def test_training_goes_on_to_the_same_bits_within_the_second_phase():
    data = rows()
    whole = loop(vae("rbf", data, centers=6), data)
    list(whole.run())
    part = loop(vae("rbf", data, centers=6), data)
    for seen, _ in enumerate(event for event in part.run() if isinstance(event, Stepped)):
        if seen == 8:  # of 6 in the first phase and 6 in the second
            break
    assert part.progress.phase == 1
    again = loop(vae("rbf", data, centers=6), data, series=part.history.series)
    again.load_state_dict(copy.deepcopy(part.state_dict()))
    list(again.run())
    mine, expected = again.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(mine[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("model", "kind"), [("vae", VAE), ("wae", WAE), ("aae", AAE)])
def test_models_leave_its_weights_alone_until_their_phase(model, kind):
    data = rows()
    made = vae("rbf", data, model, kind, centers=6)
    first = made.phases()[0]
    moved = {id(p) for objective in first.objectives for p in objective.parameters}
    assert id(made.head.moved) not in moved
    list(loop(made, data, epochs=1).run())
    assert made.head.fitted

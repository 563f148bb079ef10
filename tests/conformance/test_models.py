"""Every model of conf/model keeps the protocol, on pictures and with every network."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch.func import functional_call, stack_module_state

from latentrun.functional.noise import Noise
from latentrun.models.base import (
    RENORMALISED,
    HasEncoder,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasPosterior,
    HasPrior,
    HasSamplers,
)
from latentrun.types import Batch, Clock, FromCodes, FromStream
from tests.conformance import parts


@pytest.fixture(params=[(name, network) for name in parts.MODELS for network in parts.NETWORKS], ids="-".join)
def model(request):
    return parts.model(request.param[0], parts.small("digits"), request.param[1])


@pytest.fixture
def x():
    return parts.small("digits").split("train").x[:12]


def clock(phase) -> Clock:
    return Clock(
        phase.name, 0, 0, 1, {name: schedule.value(0.0) for name, schedule in phase.schedules.items()}
    )


def shown(phase, x) -> Batch | None:
    """What a step of the phase sees of the examples x; None of a phase that draws its own."""
    if isinstance(phase.source, FromStream):
        return None
    return Batch(phase.source.encode(x, Noise(0)).detach() if isinstance(phase.source, FromCodes) else x)


def test_decoding_gives_pictures_in_the_range(model):
    decoded = model.decode(torch.randn(5, model.latent_dim))
    assert decoded.shape == (5, *model.event_shape) and torch.isfinite(decoded).all()
    assert model.spaces["z"].dim == model.latent_dim


def test_capabilities_do_what_they_promise(model, x):
    n, d = len(x), model.latent_dim
    if isinstance(model, HasEncoder):
        assert model.encode(x).shape == (n, d)
    if isinstance(model, HasPosterior):
        q = model.posterior(x)
        assert q.batch_shape == (n,) and q.event_shape == (d,)
    if isinstance(model, HasGaussianPosterior):
        assert torch.equal(q.mean, model.encode(x)) and q.stddev.shape == (n, d) and (q.stddev > 0).all()
    if isinstance(model, HasGenerator):
        z = model.sample_prior(7, Noise(0))
        assert z.shape == (7, d) and len(model.origin) > 10
        assert torch.equal(z, model.sample_prior(7, Noise(0))) and not torch.equal(
            z, model.sample_prior(7, Noise(1))
        )
    if isinstance(model, HasPrior):
        law = model.prior()
        assert law.batch_shape == () and law.event_shape == (d,) and law.log_prob(z).shape == (7,)
    if isinstance(model, HasSamplers):
        ways = model.samplers()
        found = {name: draw(7, Noise(0)) for name, draw in ways.items()}
        assert all(
            codes.shape == (7, d) and torch.equal(codes, ways[name](7, Noise(0)))
            for name, codes in found.items()
        )
        assert any(torch.equal(codes, z) for codes in found.values())
        assert all(name.removesuffix(RENORMALISED) in ways for name in ways)
    if isinstance(model, HasLikelihood):
        law = model.likelihood(torch.randn(n, d))
        assert law.batch_shape == (n,) and law.event_shape == tuple(model.event_shape)
        assert law.log_prob(x).shape == (n,)


def test_losses_are_pure_and_draw_no_hidden_numbers(model, x):
    before = copy.deepcopy(model.state_dict())
    for phase in model.phases():
        batch = shown(phase, x)
        if batch is None:
            continue
        for objective in phase.objectives:
            state = torch.get_rng_state()
            first, second = (objective.loss(batch, Noise(0).at("step", 1), clock(phase)) for _ in range(2))
            assert torch.equal(state, torch.get_rng_state())
            assert all(torch.equal(first[name], second[name]) for name in first) and first["loss"].shape == ()
            first["loss"].backward()
            assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in objective.parameters)
        if phase.monitor is not None:
            values = phase.monitor(batch, Noise(0))
            assert all(value.shape == (len(x),) for value in values.values()) and "monitor" in values
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_objectives_name_parameters_of_the_model(model):
    own = {id(p) for p in model.parameters()}
    for phase in model.phases():
        for objective in phase.objectives:
            assert objective.parameters and {id(p) for p in objective.parameters} <= own


def test_a_checkpoint_is_plain_and_brings_the_model_back(model, x):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1.0)
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    z = torch.randn(4, model.latent_dim)
    assert torch.equal(other.decode(z), model.decode(z))


class Loss(torch.nn.Module):
    """One objective as a function of the model's state."""

    def __init__(self, model, phase: int, objective: int):
        super().__init__()
        self.model, self.place = model, (phase, objective)

    def forward(self, x, noise):
        phase = self.model.phases()[self.place[0]]
        return phase.objectives[self.place[1]].loss(shown(phase, x), noise, clock(phase))["loss"]


def test_two_copies_stack_with_torch_func(model, x):
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.01 * torch.randn_like(p))
    for number, phase in enumerate(model.phases()):
        for place in range(0 if isinstance(phase.source, FromStream) else len(phase.objectives)):
            both = [Loss(m, number, place) for m in (model, other)]
            state = stack_module_state(both)
            base = copy.deepcopy(both[0]).to("meta")
            call = torch.func.vmap(
                lambda p, b, base=base: functional_call(base, (p, b), (x, Noise(0))), randomness="same"
            )
            expected = torch.stack([loss(x, Noise(0)) for loss in both])
            assert torch.allclose(call(*state), expected, rtol=1e-5)

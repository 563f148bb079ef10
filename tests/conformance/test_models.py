"""Every model of conf/model keeps its promises, each a test of its own; vae and ae with every network."""

from __future__ import annotations

import copy
import io
from functools import cache

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, stack_module_state

from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import (
    RENORMALISED,
    HasEncoder,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasLogProb,
    HasPosterior,
    HasPrior,
    HasSamplers,
    PosteriorTraining,
)
from latentrun.types import Batch, Clock, FromCodes, FromStream, OfSplit
from tests.conformance import parts
from tests.conformance.cases import vectors

VECTORS = ("flow", "mixture", "gaussian")  # models of vectors, which take no network
CASES = [("vae", network) for network in parts.NETWORKS] + [("ae", network) for network in parts.NETWORKS]
CASES += [(name, "dense") for name in parts.MODELS if name not in ("vae", "ae")]


@cache
def made(name: str, network: str):
    """A model and 12 training rows that it takes."""
    data = vectors().data if name in VECTORS else parts.small("digits")
    return parts.model(name, data, network), data.split("train").x[:12]


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    model, x = made(*request.param)
    return copy.deepcopy(model), x


@pytest.fixture
def model(case):
    return case[0]


@pytest.fixture
def x(case):
    return case[1]


def test_every_model_is_a_case():
    assert {name for name, _ in CASES} == set(parts.MODELS)


def clock(phase) -> Clock:
    return Clock(
        phase.name, 0, 0, 1, {name: schedule.value(0.0) for name, schedule in phase.schedules.items()}
    )


def shown(phase, x) -> Batch:
    """What a step of the phase sees of the examples x, or draws itself."""
    if isinstance(phase.source, FromStream):
        return phase.source.draw(len(x), Noise(0))
    return Batch(phase.source.encode(x, Noise(0)).detach() if isinstance(phase.source, FromCodes) else x)


def codes_of(model, n: int) -> torch.Tensor:
    """Points of the latent space."""
    return model.spaces["z"].project(torch.randn(n, model.latent_dim))


# ---------------------------------------------------------------- spaces
def test_decoding_gives_finite_examples(model):
    decoded = model.decode(codes_of(model, 5))
    assert decoded.shape == (5, *model.event_shape) and torch.isfinite(decoded).all()


def test_codes_have_the_coordinates_of_the_space_and_lie_on_it(model, x):
    if not isinstance(model, HasEncoder):
        pytest.skip("no encoder")
    z, space = model.encode(x), model.spaces["z"]
    assert z.shape == (len(x), space.ambient_dim) == (len(x), model.latent_dim)
    assert torch.allclose(space.project(z), z, atol=1e-5)


def test_an_unknown_space_is_an_input_error(model, x):
    with pytest.raises(InputError, match="unknown latent space of .* 'nowhere'"):
        model.decode(codes_of(model, 2), "nowhere")
    if isinstance(model, HasEncoder):
        with pytest.raises(InputError, match="unknown latent space of .* 'nowhere'"):
            model.encode(x, "nowhere")


# ---------------------------------------------------------------- capabilities
def test_a_posterior_says_what_training_made_of_it_and_draws_on_the_space(model, x):
    if not isinstance(model, HasPosterior):
        pytest.skip("no posterior")
    n, d = len(x), model.latent_dim
    assert isinstance(model.posterior_training, PosteriorTraining)
    parameters = model.posterior_parameters(x)
    assert parameters and all(len(values) == n for values in parameters.values())
    drawn = model.draw(x, Noise(0))
    assert drawn.shape == (n, d) and torch.allclose(model.spaces["z"].project(drawn), drawn, atol=1e-5)
    assert torch.equal(drawn, model.draw(x, Noise(0))) and not torch.equal(drawn, model.draw(x, Noise(1)))


def test_the_kl_is_one_of_each_variable_or_of_each_example_and_no_less_than_0(model, x):
    if not isinstance(model, HasPosterior):
        pytest.skip("no posterior")
    kl = model.kl(x)
    assert kl.shape in ((len(x),), (len(x), model.latent_dim)) and (kl >= -1e-6).all()


def test_a_gaussian_posterior_is_its_mean_and_scale(model, x):
    if not isinstance(model, HasGaussianPosterior):
        pytest.skip("no Gaussian posterior")
    q, parameters = model.posterior(x), model.posterior_parameters(x)
    assert q.batch_shape == (len(x),) and q.event_shape == (model.latent_dim,)
    assert torch.equal(q.mean, model.encode(x)) and torch.equal(q.mean, parameters["mean"])
    assert torch.equal(q.stddev, parameters["scale"]) and (q.stddev > 0).all()
    expected = kl_divergence(q.base_dist, Normal(0.0, 1.0))
    assert torch.allclose(model.kl(x), expected, atol=1e-5)


def test_a_generator_draws_by_the_key_alone(model):
    if not isinstance(model, HasGenerator):
        pytest.skip("cannot be sampled")
    z = model.sample_prior(7, Noise(0))
    assert z.shape == (7, model.latent_dim) and len(model.origin) > 10
    assert torch.equal(z, model.sample_prior(7, Noise(0)))
    assert not torch.equal(z, model.sample_prior(7, Noise(1)))


def test_a_prior_has_a_density(model):
    if not isinstance(model, HasPrior):
        pytest.skip("no prior")
    law, z = model.prior(), model.sample_prior(7, Noise(0))
    assert law.batch_shape == () and law.event_shape == (model.latent_dim,)
    assert law.log_prob(z).shape == (7,)


def test_every_sampler_draws_by_the_key_alone_and_one_is_the_models_own(model):
    if not isinstance(model, HasSamplers):
        pytest.skip("no samplers")
    samplers = model.samplers()
    draws = {name: draw(7, Noise(0)) for name, draw in samplers.items()}
    for name, codes in draws.items():
        assert codes.shape == (7, model.latent_dim), name
        assert torch.equal(codes, samplers[name](7, Noise(0))), name
        assert name.removesuffix(RENORMALISED) in samplers, name
    assert any(torch.equal(codes, model.sample_prior(7, Noise(0))) for codes in draws.values())


def test_a_likelihood_is_one_of_examples(model, x):
    if not isinstance(model, HasLikelihood):
        pytest.skip("no likelihood")
    law = model.likelihood(codes_of(model, len(x)))
    assert law.batch_shape == (len(x),) and law.event_shape == tuple(model.event_shape)
    assert law.log_prob(x).shape == (len(x),)


def test_an_exact_density_is_one_number_an_example(model, x):
    if not isinstance(model, HasLogProb):
        pytest.skip("no exact density")
    assert model.log_prob(x).shape == (len(x),) and torch.isfinite(model.log_prob(x)).all()


# ---------------------------------------------------------------- training
def test_losses_are_pure_and_draw_no_hidden_numbers(model, x):
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    for phase in model.phases():
        for objective in phase.objectives:
            batch = shown(phase, x)
            first, second = (objective.loss(batch, Noise(0).at("step", 1), clock(phase)) for _ in range(2))
            assert all(torch.equal(first[name], second[name]) for name in first), phase.name
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_losses_are_scalars_that_move_their_parameters(model, x):
    for phase in model.phases():
        for objective in phase.objectives:
            loss = objective.loss(shown(phase, x), Noise(0).at("step", 1), clock(phase))["loss"]
            assert loss.shape == (), objective.name
            loss.backward()
            moved = [p for p in objective.parameters if p.grad is not None and p.grad.abs().sum() > 0]
            assert moved, objective.name


def test_a_monitor_is_a_value_an_example_or_one_of_the_whole_split(model, x):
    for phase in model.phases():
        if isinstance(phase.monitor, OfSplit):
            values, shape = phase.monitor.measure(shown(phase, x), Noise(0)), ()
        elif phase.monitor is not None:
            values, shape = phase.monitor(shown(phase, x), Noise(0)), (len(x),)
        else:
            continue
        assert "monitor" in values and all(value.shape == shape for value in values.values()), phase.name


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
    z = codes_of(model, 4)
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
        for place in range(len(phase.objectives)):
            both = [Loss(m, number, place) for m in (model, other)]
            state = stack_module_state(both)
            base = copy.deepcopy(both[0]).to("meta")
            call = torch.func.vmap(
                lambda p, b, base=base: functional_call(base, (p, b), (x, Noise(0))), randomness="same"
            )
            expected = torch.stack([loss(x, Noise(0)) for loss in both])
            assert torch.allclose(call(*state), expected, rtol=1e-5)

"""Models of vectors, on rows and on codes whose law is known."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal
from torch.func import functional_call, stack_module_state

from latentrun.config.build import build
from latentrun.errors import InputError, Misfit
from latentrun.functional.noise import Noise
from latentrun.models.base import Model, drawn
from latentrun.models.flow import Flow
from latentrun.models.gaussian import Gaussian
from latentrun.models.mixture import Mixture
from latentrun.run import Run
from latentrun.training.loop import Loop
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock
from tests.conformance import parts
from tests.planted import TRAINING_VALUES, Rows

N = 4000
CLOCK = Clock("second", 0, 0, 1)


def codes(mean: torch.Tensor, scale: float | torch.Tensor = 0.1) -> Batch:
    """What a second stage begins with: posteriors around ``mean (N, d)``."""
    return Batch(mean, scale=torch.zeros_like(mean) + scale)


def set_up(model: Model, batch: Batch) -> Model:
    for phase in model.phases():
        for callback in phase.callbacks:
            callback.begin(batch, Noise(0))
    return model


def trained(model: Model, batch: Batch, steps: int, lr: float = 5e-3) -> Model:
    """Its only phase, in short, on draws from the posteriors."""
    set_up(model, batch)
    (phase,) = model.phases()
    (objective,) = phase.objectives
    optimizer = torch.optim.Adam(objective.parameters, lr=lr)
    for step in range(steps):
        rows = Noise(1).at(step).integers("rows", len(batch.x), (256,))
        noise = Noise(2).at(step)
        optimizer.zero_grad()
        x = drawn(Batch(batch.x[rows], scale=batch.scale[rows]), noise)
        objective.loss(Batch(x), noise, CLOCK)["loss"].backward()
        optimizer.step()
    return model


def sample(model: Model, n: int, noise: Noise) -> torch.Tensor:
    return model.decode(model.sample_prior(n, noise))


def flow(d: int, kind: str = "spline", **changes) -> Flow:
    torch.manual_seed(0)
    return Flow(**({"event_shape": (d,), "kind": kind, "transforms": 3, "widths": [32], "bins": 8} | changes))


def ring(n: int = N) -> torch.Tensor:
    """Points of a circle of radius 2: nothing like a normal."""
    angle = 2 * math.pi * Noise(3).uniform("angle", (n,))
    return 2 * torch.stack([angle.cos(), angle.sin()], 1)


# ---------------------------------------------------------------- Gaussian
def test_gaussian_has_the_moments_of_the_aggregated_posterior_exactly():
    mean = Noise(0).normal("mu", (500, 3)) @ torch.tensor(
        [[1.0, 0.5, 0], [0, 2, 0], [0, 0, 0.1]]
    ) + torch.tensor([1.0, -2, 0])
    scale = 0.1 + Noise(0).uniform("scale", (500, 3))
    stage = set_up(Gaussian((3,)), codes(mean, scale))
    expected = torch.cov(mean.double().T, correction=0) + torch.diag(scale.double().square().mean(0))
    assert torch.allclose((stage.scale_tril @ stage.scale_tril.T).double(), expected, rtol=1e-5, atol=1e-6)
    assert torch.allclose(stage.mean, mean.mean(0), atol=1e-5)
    z = sample(stage, 100_000, Noise(1))
    assert torch.allclose(torch.cov(z.double().T), expected, atol=0.06) and torch.allclose(
        z.mean(0), mean.mean(0), atol=0.03
    )
    # Exact also of variables that carry nothing: mu = 0, sigma = 1.
    assert torch.equal(set_up(Gaussian((2,)), codes(torch.zeros(50, 2), 1.0)).scale_tril, torch.eye(2))


# ---------------------------------------------------------------- mixture
def mixture(d: int, components: int, **changes) -> Mixture:
    return Mixture(
        **(
            {"event_shape": (d,), "components": components, "rows": 20_000, "ridge": 1e-6, "steps": 200}
            | changes
        )
    )


def test_mixture_finds_planted_components():
    centres, weights = torch.tensor([[-5.0, 0], [5, 0], [0, 6]]), (0.5, 0.3, 0.2)
    which = torch.repeat_interleave(torch.arange(3), torch.tensor([round(w * N) for w in weights]))
    mean = centres[which] + Noise(0).normal("mu", (N, 2)) * torch.tensor([1.0, 0.5])
    stage = set_up(mixture(2, 3), codes(mean, 0.5))
    order = torch.cdist(centres, stage.means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert torch.allclose(stage.means[order], centres, atol=0.15)
    assert torch.allclose(stage.weights[order], torch.tensor(weights), atol=0.005)
    covariance = stage.scale_trils @ stage.scale_trils.mT  # that of mu and sigma² together
    assert torch.allclose(covariance, torch.diag(torch.tensor([1.25, 0.5])).expand(3, 2, 2), atol=0.15)
    z = sample(stage, 50_000, Noise(1))
    shares = torch.cdist(z, centres).argmin(1).bincount(minlength=3) / len(z)
    assert torch.allclose(shares, torch.tensor(weights), atol=0.01)
    assert torch.allclose(z[z[:, 0] > 2.5].mean(0), centres[1], atol=0.1)


def test_mixture_of_fewer_codes_than_components_and_the_same_from_equal_noise():
    stage = set_up(mixture(2, 10, ridge=1e-3), codes(ring(6)))
    assert torch.isfinite(sample(stage, 100, Noise(0))).all() and stage.weights[6:].sum() == 0
    one, two = (set_up(mixture(2, 4, rows=300), codes(ring())) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))


# ---------------------------------------------------------------- flow
@pytest.mark.parametrize("kind", ["affine", "spline"])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_density_of_a_flow_is_that_of_the_codes_it_makes(kind, d):
    stage = set_up(flow(d, kind), codes(3 + 2 * Noise(0).normal("mu", (500, d))))
    w = Noise(1).normal("w", (200, d))
    z = stage.decode(w)
    # Change of variables, with a Jacobian that torch takes.
    jacobian = torch.func.vmap(torch.func.jacrev(lambda point: stage.decode(point[None])[0]))(w)
    expected = Normal(0.0, 1.0).log_prob(w).sum(1) - torch.linalg.slogdet(jacobian).logabsdet
    assert torch.allclose(stage.log_prob(z), expected, atol=2e-3)
    assert torch.equal(sample(stage, 200, Noise(5)), stage.decode(Noise(5).normal("prior", (200, d))))


@pytest.mark.parametrize("kind", ["affine", "spline"])
def test_density_of_a_flow_integrates_to_one_and_it_undoes_itself(kind):
    stage = trained(flow(2, kind), codes(ring()), 100)
    axis = torch.linspace(-8, 8, 400)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = stage.log_prob(grid).double().exp().sum() * (axis[1] - axis[0]) ** 2
        x = drawn(codes(ring(500)), Noise(8))
        assert (stage.decode(stage.encode(x)) - x).abs().max() < 1e-5
    assert mass.item() == pytest.approx(1, abs=0.01)


def test_flow_finds_a_correlated_normal():
    covariance = torch.tensor([[4.0, 1.5], [1.5, 1.0]])
    law = MultivariateNormal(torch.tensor([1.0, -3.0]), covariance)
    mean = (
        law.mean + Noise(0).normal("mu", (N, 2)) @ torch.linalg.cholesky(covariance - 0.01 * torch.eye(2)).T
    )
    stage = trained(flow(2, "affine"), codes(mean, 0.1), 300)
    z = drawn(codes(mean, 0.1), Noise(7))
    with torch.no_grad():
        apart = (law.log_prob(z) - stage.log_prob(z)).mean()
    assert -0.01 < apart < 0.02  # nats: KL of what it learned


def test_flow_beats_a_gaussian_on_a_ring():
    """The entropy of a narrow ring is that of its angle, ln 2 pi r, and that of its width, ½ ln 2 pi e s²: no
    law has less -log p(z)."""
    batch = codes(ring())
    stage, plain = trained(flow(2), batch, 350, 1e-2), set_up(Gaussian((2,)), batch)
    z = drawn(batch, Noise(7))
    with torch.no_grad():
        found = stage.monitor(Batch(z), Noise(7))["monitor"].mean().item()
    law = MultivariateNormal(plain.mean, scale_tril=plain.scale_tril)
    entropy = math.log(2 * math.pi * 2) + 0.5 * math.log(2 * math.pi * math.e) + math.log(0.1)
    assert entropy < found < entropy + 0.35 and found < -law.log_prob(z).mean().item() - 1.0
    near = lambda draws: (draws.norm(dim=1) - 2).abs().lt(0.4).float().mean()  # noqa: E731
    assert near(sample(stage, 4000, Noise(1)).detach()) > 0.85 > 0.35 > near(sample(plain, 4000, Noise(1)))


def test_copies_of_a_flow_stack():
    stages = [set_up(flow(3), codes(Noise(i).normal("mu", (100, 3)))) for i in range(2)]
    for i, stage in enumerate(stages):
        for p in stage.parameters():
            p.data += 0.05 * Noise(i).normal("p", tuple(p.shape))
    z, state = Noise(9).normal("z", (10, 3)), stack_module_state(stages)

    class LogProb(torch.nn.Module):
        def __init__(self, stage):
            super().__init__()
            self.stage = stage

        def forward(self, z):
            return self.stage.log_prob(z)

    state = tuple({f"stage.{name}": value for name, value in part.items()} for part in state)
    found = torch.func.vmap(lambda p, b: functional_call(LogProb(stages[0]), (p, b), (z,)))(*state)
    assert torch.allclose(found, torch.stack([stage.log_prob(z) for stage in stages]), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- as models by themselves
@pytest.mark.parametrize("name", ["flow", "mixture", "gaussian"])
def test_each_runs_by_itself_on_rows_that_are_exact(name):
    """Moments, density and samples on vectors, through the loop."""
    x = torch.tensor([3.0, -1.0]) + Noise(0).normal("x", (800, 2)) @ torch.tensor([[2.0, 0.0], [1.0, 0.5]])
    data = Rows({"train": x, "val": x[:100], "test": x}, value_range=(-20, 20))
    small = {"components": 2} if name == "mixture" else {}
    small |= {"widths": [16], "transforms": 2} if name == "flow" else {}
    torch.manual_seed(0)
    model = build(parts.spec("model", name) | small, Model, "model", event_shape=(2,))
    settings = Training(
        epochs=60,
        batch_size=100,
        optimizer=partial(torch.optim.Adam, lr=0.01),
        scheduler=None,
        **TRAINING_VALUES,
    )
    list(Loop(model, data, settings, Noise(0), torch.device("cpu")).run())
    run = Run(model, data)
    z = run.sample_codes(20_000, Noise(1))
    made = run.decode(z).double()
    assert torch.allclose(made.mean(0), x.mean(0).double(), atol=0.15)
    assert torch.allclose(torch.cov(made.T), torch.cov(x.T).double(), rtol=0.15, atol=0.1)
    assert torch.allclose(model.decode(model.encode(x[:50])), x[:50], atol=1e-3)
    truth = MultivariateNormal(x.mean(0), torch.cov(x.T))
    with torch.no_grad():
        assert model.log_prob(x).mean() > truth.log_prob(x).mean() - 0.05  # nats per example
    with pytest.raises(InputError, match="unknown latent space of .*: unknown|unknown latent space"):
        model.decode(x, "w")


def test_they_need_vectors():
    for name in ("flow", "mixture", "gaussian"):
        with pytest.raises(Misfit, match=rf"model {name} needs vectors; the data have shape \(1, 8, 8\)"):
            build(parts.spec("model", name), Model, "model", event_shape=(1, 8, 8))

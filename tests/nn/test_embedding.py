"""Posteriors through an embedding: their laws of u, weights of draws, and the embedding that is learned."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn

from latentrun.config.build import build
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.functional.spacing import middles
from latentrun.manifolds import space
from latentrun.nn.embedding import Embedding
from latentrun.nn.embedding_hidden import HIDDEN
from latentrun.nn.posterior import Posterior
from latentrun.training.loop import Loop, PhaseEnded, Training
from latentrun.types import Clock
from tests.conformance import parts
from tests.conformance.test_models import Loss
from tests.planted import TRAINING_VALUES

TAU = 2 * math.pi


def family(latent="s1", learning=None, **changes) -> Embedding:
    spec = parts.spec("posterior", "embedding") | changes
    spec["learning"] = spec["learning"] | (learning or {})
    torch.manual_seed(0)
    return build(spec, Posterior, "model.posterior", space=space(latent))


class Planted(nn.Module):
    """psi: [0, 1] -> the circle, u -> place(u) turns."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def forward(self, u):
        return torch.cat([torch.cos(TAU * self.place(u)), torch.sin(TAU * self.place(u))], -1)


# ---------------------------------------------------------------- laws of u
@pytest.mark.parametrize("name", ["beta", "normal"])
def test_the_mean_weight_is_minus_the_kl_and_quantiles_undo_shares(name):
    kind = HIDDEN[name]
    law = kind.law(torch.tensor([[0.3, -1.0, 0.2, -2.0], [-2.0, 0.5, -1.0, 0.0]]))
    u = law.draw(Noise(0), torch.Size([20_000]))
    weight = kind.prior(u) - law.log_prob(u)
    assert torch.allclose(weight.mean(0), -kind.kl(law), atol=0.05)
    assert all(values.shape == (2, 2) for values in kind.parameters(law).values())
    v = torch.linspace(0.01, 0.99, 30).unsqueeze(1)
    assert torch.allclose(kind.share(kind.quantile(v)), v, atol=1e-6)
    sample = kind.share(kind.sample(5000, 1, Noise(0)))
    assert sample.mean().item() == pytest.approx(0.5, abs=0.02)
    assert sample.std().item() == pytest.approx(12**-0.5, abs=0.01)


@pytest.mark.parametrize("name", ["beta", "normal"])
def test_numbers_at_the_border_have_finite_losses_and_gradients(name):
    most = 500.0 if name == "beta" else 15.0
    h = torch.tensor([[most, most], [-most, most], [most, -most], [0.0, 0.0]], requires_grad=True)
    law = HIDDEN[name].law(h)
    loss = HIDDEN[name].kl(law).sum() + law.draw(Noise(0)).sum()
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(h.grad).all()


def test_a_flat_beta_costs_nothing():
    law = HIDDEN["beta"].law(torch.tensor([[0.7, -60.0]]))
    assert HIDDEN["beta"].kl(law).item() == pytest.approx(0, abs=1e-6)


# ---------------------------------------------------------------- draws and the prior
@pytest.mark.parametrize("law", ["beta", "normal"])
def test_the_prior_and_its_grid_are_uniform_on_the_space(law):
    posterior = family(law=law)
    grid = posterior.prior_grid(100)
    angle = torch.atan2(grid[:, 1], grid[:, 0]) / TAU % 1
    assert torch.allclose(angle, middles(100).float(), atol=1e-5)
    z = posterior.sample_prior(4000, Noise(0))
    assert z.mean(0).abs().max() < 0.05 and torch.allclose(z.norm(dim=1), torch.ones(4000))
    for text in ("t2", "s2", "so3"):  # an even grid integrates better than as many draws would
        grid = family(text, law=law).prior_grid(2000)
        assert (grid.mean(0) - space(text).sample(200_000, Noise(1)).mean(0)).abs().max() < 0.01


def test_weights_of_an_exact_embedding_integrate_to_one_with_and_without_a_group():
    """E_q[p / q] = 1, and on the circle E_q[f p / q] is the mean of f over it, whatever g turns."""
    h = torch.tensor([[0.4, -0.5, 0.3, -0.8]])
    for group in (False, True):
        posterior = family(group_action=group)
        draws = posterior.code(h[:, : posterior.features]).draws(40_000, Noise(0))
        weight = draws.log_weight.exp()
        assert weight.mean().item() == pytest.approx(1, abs=0.03) and draws.uncorrected is None
        assert (weight * draws.z[..., 0].square()).mean().item() == pytest.approx(0.5, abs=0.03)


def test_the_corrected_weights_of_a_folded_uneven_embedding_are_those_of_its_own_prior():
    """psi covers the circle, a part of it three times. The mean of f over p(z) by weights, after g, is that
    by draws of the prior; by the uncorrected ones it is not."""
    posterior = family(embedding="learned", group_action=True)
    posterior.psi = Planted(lambda u: u + 0.25 * (TAU * u).sin())
    h = torch.tensor([[0.2, -1.0, -1.0, 1.0]])  # g is a right angle
    draws = posterior.code(h).draws(60_000, Noise(0))
    f = lambda z: (2 * z[..., 1]).exp()  # noqa: E731
    expected = f(posterior.sample_prior(60_000, Noise(1))).mean().item()
    assert (draws.log_weight.exp() * f(draws.z)).mean().item() == pytest.approx(expected, rel=0.02)
    assert abs((draws.uncorrected.exp() * f(draws.z)).mean().item() - expected) > 0.1 * expected


def test_where_the_image_has_a_gap_what_is_turned_into_it_has_no_weight():
    posterior = family(embedding="learned", group_action=True)
    posterior.psi = Planted(lambda u: 0.5 * u)  # the upper half
    turned = torch.tensor([[0.0, 0.0, -2.0, 0.0]])  # by half a turn
    draws = posterior.code(turned).draws(50, Noise(0))
    assert (draws.log_weight == -math.inf).all() and torch.isfinite(draws.uncorrected).all()


def test_in_more_dimensions_a_learned_embedding_with_a_group_has_no_bound():
    posterior = family("s2", embedding="learned", group_action=True)
    draws = posterior.code(torch.zeros(3, posterior.features)).draws(4, Noise(0))
    assert draws.log_weight is None and draws.uncorrected.shape == (4, 3)
    posterior.psi.judge()
    learned, group = posterior.caveats(None)
    assert "it is not good" in learned and "nothing here bounds log p(x)" in group


@pytest.mark.parametrize(
    ("latent", "changes", "says"),
    [
        ("e2", {}, "model.posterior: e2 is unbounded: a Beta posterior lives on bounded spaces"),
        ("e2", {"law": "normal"}, "model.posterior: e2 is unbounded: nothing is to be embedded"),
        (
            "i1",
            {"group_action": True},
            "model.posterior.group_action: i1 has no group that takes every point to every other; "
            "allowed: false",
        ),
        ("s5", {}, "model.posterior.embedding: s5 has no exact embedding; allowed: learned"),
        ("c4", {}, "model.posterior: c4 is a finite set, which no cube is embedded in"),
        ("c4", {"group_action": True}, "model.posterior.group_action=true: c4 is a finite set"),
        ("c4", {"embedding": "learned"}, "model.posterior.embedding=learned: c4 is a finite set"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(latent, changes, says):
    with pytest.raises(InputError) as error:
        family(latent, **changes)
    assert str(error.value).startswith(says)


# ---------------------------------------------------------------- learning
def test_faults_are_named_by_their_limits():
    limits = family(embedding="learned").psi.training_plan.limits
    good = {"max_distance": 0.1, "mmd2": 0.0, "gap": 0.9, "least_stretch": 0.8, "twins": 0.0}
    course = {"turns": -1.02, "backward": 0.0, "kuiper": 0.1, "seam": 0.1}
    assert limits.faults(good | {"least_stretch": 0.0}) == [] == limits.faults(good | course)
    cover = {"volume": 1.02, "gap_ratio": 1.2, "folded": 0.0}
    assert limits.faults(good | cover) == []
    for change, said in (
        ({"volume": 0.85}, "volume 0.85, not 1"),
        ({"volume": 2.0}, "volume 2.00, not 1"),
        ({"gap_ratio": 2.5}, "gap_ratio 2.5 > 2"),
        ({"folded": 0.2}, "folded 0.2 > 0.05"),
    ):
        assert limits.faults(good | cover | change) == [said]
    for change, said in (
        ({"max_distance": 0.9}, "max_distance 0.9 > 0.35"),
        ({"least_stretch": 0.01}, "least_stretch 0.01 < 0.1"),
        ({"turns": -0.5}, "turns -0.50, not 1"),
        ({"turns": 2.0}, "turns 2.00, not 1"),
        ({"backward": 0.4}, "backward 0.4 > 0.01"),
    ):
        assert limits.faults(good | course | change) == [said]


def test_attempts_begin_anew_until_one_is_good_and_then_end_at_once():
    """The second of four attempts is judged good: two were trained, each from weights of its own."""
    learning = {"restarts": 3, "steps": 100, "points": 8, "widths": [4]}
    on = parts.small("digits")
    spec = parts.spec("posterior", "embedding") | {"embedding": "learned"}
    model = parts.model("manifold_vae", on, posterior=spec | {"learning": spec["learning"] | learning})
    psi, begun = model.posterior.psi, []

    def judge():
        psi.good.fill_(len(begun) == 2)

    psi.judge = judge
    renew = psi.renew
    psi.renew = lambda seed: (renew(seed), begun.append(seed))
    begun.append(None)
    settings = Training(
        epochs=0, batch_size=16, **TRAINING_VALUES, scheduler=None,
        optimizer=partial(torch.optim.Adam, lr=0.001),
    )  # fmt: skip
    first = psi.decoder[0].weight.clone()
    ended = [
        event
        for event in Loop(model, on, settings, Noise(0), torch.device("cpu")).run()
        if isinstance(event, PhaseEnded)
    ]
    assert [event.phase for event in ended] == [
        "embedding",
        "embedding/2",
        "embedding/3",
        "embedding/4",
        "vae",
    ]
    assert ended[0].reason == "all epochs done"
    assert ended[1].reason == ended[3].reason == "a good embedding after 1 restarts"
    assert (
        int(psi.restarts) == 1
        and len(begun) == 2
        and not torch.allclose(psi.decoder[0].weight, first, atol=0.2)
    )
    # psi is the average of the decoder's weights, and rests while the VAE is trained.
    assert not any(p.requires_grad for p in psi.average.parameters())
    own = {id(p) for p in model.phases()[-1].objectives[0].parameters}
    assert not own & {id(p) for p in psi.parameters()} and id(next(model.encoder.parameters())) in own


def test_the_loss_of_learning_is_error_and_weighted_distance():
    psi = family(embedding="learned", learning={"weight": 5.0}).psi
    (phase, *_) = psi.phases()
    batch = phase.source.draw(3, Noise(0))
    assert batch.x.shape == (256, 2)
    terms = psi.loss(batch, Noise(1), Clock("embedding", 0, 0, 1))
    assert terms["loss"].item() == pytest.approx(
        (terms["squared_error"] + 5 * terms["mmd2"]).item(), rel=1e-5
    )


@pytest.mark.slow
def test_a_circle_is_learned():
    on = parts.small("digits")
    model = parts.model(
        "manifold_vae", on, posterior=parts.spec("posterior", "embedding") | {"embedding": "learned"}
    )
    settings = Training(
        epochs=0, batch_size=16, **TRAINING_VALUES, scheduler=None,
        optimizer=partial(torch.optim.Adam, lr=0.001),
    )  # fmt: skip
    list(Loop(model, on, settings, Noise(0), torch.device("cpu")).run())
    psi = model.posterior.psi
    assert psi.good
    found = model.posterior.quality(1000, Noise(1))
    assert found["max_distance"] < 0.3 and abs(found["turns"]) == pytest.approx(1, abs=0.1)
    assert found["good"] == 1 and found["restarts"] == psi.restarts


def test_quality_says_how_often_an_embedding_was_learned_anew():
    exact, learned = family(), family(embedding="learned")
    learned.psi.restarts.fill_(3)
    assert "restarts" not in exact.quality(200, Noise(0))
    found = learned.quality(200, Noise(0))
    assert found["restarts"] == 3 and found["good"] == 0 and found["max_distance"] > 0
    learned.psi.good.fill_(True)
    assert learned.quality(200, Noise(0))["good"] == 1


def test_a_learned_embedding_with_a_group_stacks_with_torch_func():
    on = parts.small("digits")
    spec = parts.spec("posterior", "embedding") | {"embedding": "learned", "group_action": True}
    model = parts.model("manifold_vae", on, posterior=spec)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for p in other.parameters():
            p.add_(0.01 * torch.randn_like(p))
    x = on.split("train").x[:6]
    for place in (0, -1):  # an attempt to learn psi, and the VAE
        both = [Loss(each, place, 0) for each in (model, other)]
        base = copy.deepcopy(both[0]).to("meta")
        call = torch.func.vmap(
            lambda p, b, base=base: torch.func.functional_call(base, (p, b), (x, Noise(0))),
            randomness="same",
        )
        expected = torch.stack([loss(x, Noise(0)) for loss in both])
        assert torch.allclose(call(*torch.func.stack_module_state(both)), expected, rtol=1e-4)

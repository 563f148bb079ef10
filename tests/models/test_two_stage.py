"""Two stages: codes whose aggregated posterior is known, what training makes of them, and what is drawn from
where."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.distributions import Independent, Normal

from latentrun.cli import main
from latentrun.config.build import build
from latentrun.diagnostics.samples.fid import FID
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.base import (
    RENORMALISED,
    HasGaussianPosterior,
    HasLikelihood,
    HasPrior,
    Model,
    PosteriorTraining,
)
from latentrun.nn.dense import Dense
from latentrun.run import Run
from latentrun.store.series import FileSeries
from latentrun.system.door import Guarded
from latentrun.training.loop import EpochEnded, Loop, PhaseEnded
from latentrun.training.recorder import Series
from latentrun.training.settings import Training
from latentrun.types import Batch, Clock, Objective, Phase
from tests.conformance import parts
from tests.planted import TRAINING_VALUES, Rows

D = 3
GIVEN = {"event_shape": (D,), "value_range": (-9.0, 9.0), "columns": (), "network": Dense([8])}
MOVE = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.0], [0.0, 0.3, 0.4]])
SHIFT = torch.tensor([1.0, -2.0, 0.5])
SIGMA = torch.tensor([0.1, 0.5, 0.9])


class Linear(Model, HasGaussianPosterior, HasPrior, HasLikelihood):
    """x = z: the data are the codes' means, sigma is planted. Its phase moves a parameter that nothing
    depends on."""

    posterior_training = PosteriorTraining(True, "full", 1.0)

    def __init__(self, event_shape: tuple[int, ...], latent_dim: int):
        super().__init__(event_shape, {"z": Euclidean(latent_dim)})
        self.idle = nn.Parameter(torch.ones(()))

    def encode(self, x, space="z"):
        return x

    def posterior(self, x):
        return Independent(Normal(x, SIGMA.expand(len(x), D)), 1)

    def prior(self):
        return Independent(Normal(torch.zeros(D), torch.ones(D)), 1)

    def sample_prior(self, n, noise):
        return noise.normal("prior", (n, D))

    def decode(self, z, space="z"):
        return z

    def likelihood(self, z):
        return Independent(Normal(z, 1.0), 1)

    def phases(self):
        return (
            Phase(
                "idle",
                (Objective("idle", [self.idle], lambda batch, noise, clock: {"loss": self.idle.square()}),),
            ),
        )


def spec(**changes) -> dict:
    """The race as shipped, small."""
    values = copy.deepcopy(parts.spec("model", "two_stage_race")) | {"latent_dim": D}
    values["first"] = {"_target_": "tests.models.test_two_stage.Linear"}
    values["second"]["vae"]["network"]["widths"] = [16]
    values["second"]["flow"] |= {"widths": [16], "transforms": 2}
    values["second"]["mixture"]["components"] = 2
    return values | changes


def two_stage(**changes) -> Model:
    torch.manual_seed(0)
    return build(spec(**changes), Model, "model", ["tests"], **GIVEN)


def data(n: int = 600) -> Rows:
    x = SHIFT + Noise(1).normal("x", (n, D)) @ MOVE
    return Rows({"train": x, "val": x[:50], "test": x}, value_range=(-9.0, 9.0))


def looped(model: Model, epochs: int = 3, series: Series | None = None) -> Loop:
    optimizer = partial(torch.optim.Adam, lr=0.005)
    settings = Training(epochs, 64, optimizer, scheduler=None, **TRAINING_VALUES)
    return Loop(model, data(), settings, Noise(0), torch.device("cpu"), series)


@pytest.fixture(scope="module")
def trained() -> Model:
    model = two_stage()
    list(looped(model).run())
    return model


class Unsampled(Linear):
    posterior_training = PosteriorTraining(False, "quadratic", 3.0)


def test_what_the_first_stage_was_charged_is_known_of_both():
    model = two_stage(first={"_target_": "tests.models.test_two_stage.Unsampled"})
    assert model.posterior_training == PosteriorTraining(False, "quadratic", 3.0)
    assert two_stage().posterior_training == PosteriorTraining(True, "full", 1.0)


class Wide(Linear):
    def prior(self):
        return Independent(Normal(torch.zeros(D), 2 * torch.ones(D)), 1)


def test_the_first_stage_needs_the_prior_that_renormalisation_starts_from():
    with pytest.raises(InputError, match=r"model.first: needs the prior N\(0, I\), which Wide has not"):
        two_stage(first={"_target_": "tests.models.test_two_stage.Wide"})


def truth() -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the aggregated posterior, by the variance law."""
    x = data().split("train").x.double()
    return x.mean(0), (x.var(0, correction=0) + SIGMA.double().square()).sqrt()


def test_phases_come_in_order_and_each_has_its_length():
    model = two_stage(second_epochs=2)
    events = list(looped(model).run())
    names = ["idle", "second/vae", "second/flow", "second/mixture", "second/gaussian", "moments"]
    assert [e.phase for e in events if isinstance(e, PhaseEnded)] == names
    trained = [e.phase for e in events if isinstance(e, EpochEnded)]
    assert [trained.count(name) for name in names] == [3, 2, 2, 0, 0, 0]


def test_the_last_phase_learns_the_aggregated_posteriors_moments(trained):
    mean, scale = truth()
    assert torch.allclose(trained.mean.double(), mean, atol=1e-5) and torch.allclose(
        trained.scale.double(), scale, atol=1e-5
    )
    for at, (name, stage) in enumerate(trained.second.items()):
        z = stage.decode(stage.sample_prior(10_000, Noise(77))).detach()
        assert torch.allclose(trained.made_mean[at], z.mean(0), atol=0.06 * z.std(0).max().item()), name
        assert torch.allclose(trained.made_scale[at], z.std(0), rtol=0.04, atol=1e-3), name


@pytest.mark.parametrize("name", ["one_stage", "vae", "flow", "mixture", "gaussian"])
def test_renormalised_codes_have_the_moments_to_within_sampling_error(trained, name):
    (mean, scale), n, ways = truth(), 20_000, trained.samplers()
    plain, moved = (ways[name + ending](n, Noise(5)).double() for ending in ("", RENORMALISED))
    # Both sets of draws, those behind the map and these, err by sd / sqrt(n) and, of the sd, by about 1 /
    # sqrt(2 n).
    assert (moved.mean(0) - mean).abs().div(scale).max() < 5 * (1 / n + 1 / 10_000) ** 0.5
    assert (moved.std(0) / scale - 1).abs().max() < 0.05
    # A fixed affine map of each variable: ranks stay, and a draw does not depend on how many are drawn with
    # others.
    ratio = (moved - moved[0])[1:] / (plain - plain[0])[1:]
    assert torch.allclose(ratio.median(0).values, ratio.mean(0), rtol=1e-2)
    if name == "one_stage":
        assert torch.allclose(moved, mean + scale * plain, atol=1e-5)


def test_a_second_vae_loses_variance_and_renormalisation_restores_it(trained):
    scale, ways = truth()[1], trained.samplers()
    plain, moved = (ways["vae" + ending](20_000, Noise(5)).double().std(0) for ending in ("", RENORMALISED))
    assert (plain < 0.9 * scale).all() and torch.allclose(moved, scale, rtol=0.04)
    assert torch.allclose(
        ways["gaussian"](20_000, Noise(5)).double().std(0), scale, rtol=0.03
    )  # that of the good control is right


def test_a_variable_that_is_not_varied_stays_at_its_mean(trained):
    model = copy.deepcopy(trained)
    model.made_scale[0, 1] = 0
    z = model.samplers()["vae" + RENORMALISED](50, Noise(0))
    assert torch.isfinite(z).all() and torch.equal(z[:, 1], model.mean[1].expand(50)) and z[:, 0].std() > 0


def test_samples_come_from_the_stage_that_is_named(trained):
    for source in ("one_stage", *trained.second):
        for moved in (True, False):
            model = two_stage(sample_from=source, renormalise=moved)
            model.load_state_dict(trained.state_dict())
            expected = trained.samplers()[source + (RENORMALISED if moved else "")](9, Noise(3))
            assert torch.equal(model.sample_prior(9, Noise(3)), expected)
            assert not torch.equal(model.sample_prior(9, Noise(3)), model.sample_prior(9, Noise(4)))
            run = Run(model, data())
            assert ("renormalised" in run.sampler_note) == moved and (
                source in run.sampler_note or source == "one_stage"
            )
            assert (
                torch.equal(run.sample_codes(9, Noise(3)), expected)
                and run.sampler_note in model.caveats(data())[-1]
            )
            assert not isinstance(model, HasPrior)  # no density is promised


def test_space_w_is_decoded_to_the_samples_of_the_second_stage(trained):
    w = Noise(3).normal("prior", (9, D))
    for source, moved in (("vae", True), ("flow", False), ("gaussian", True)):
        model = two_stage(sample_from=source, renormalise=moved)
        model.load_state_dict(trained.state_dict())
        assert model.spaces["w"].dim == D and torch.allclose(
            model.decode(w, "w"), model.sample_prior(9, Noise(3))
        )
        assert torch.equal(model.decode(w), w)
    assert set(two_stage(sample_from="one_stage").spaces) == {"z"}
    with pytest.raises(InputError, match="unknown latent space of TwoStage 'w'"):
        two_stage(sample_from="one_stage").decode(w, "w")
    with pytest.raises(InputError, match="stand for no examples"):
        two_stage().encode(w, "w")


def test_draws_from_the_likelihood_have_the_variance_that_means_lose(trained):
    model = two_stage(draw="likelihood")
    model.load_state_dict(trained.state_dict())
    mean, full = (each.samplers()["vae"](20_000, Noise(5)).double() for each in (trained, model))
    gamma2 = trained.second["vae"].likelihood(torch.zeros(1, D)).variance[0, 0].item()
    assert gamma2 > 0.01
    assert torch.allclose(full.var(0), mean.var(0) + gamma2, rtol=0.05)
    for name in ("flow", "mixture", "gaussian"):  # these have no p(z|w)
        assert torch.equal(model.samplers()[name](9, Noise(5)), trained.samplers()[name](9, Noise(5)))


def test_a_second_stage_is_shown_a_fresh_draw_at_every_step():
    model = two_stage()
    phase = next(phase for phase in model.phases() if phase.name == "second/vae")
    posteriors = Batch(torch.stack([torch.zeros(8, D), torch.ones(8, D)], 1))
    clock = Clock("second/vae", 0, 0, 1)
    terms = phase.objectives[0].loss(posteriors, Noise(4), clock)
    expected = model.second["vae"].loss(Batch(Noise(4).normal("code", (8, D))), Noise(4), clock)
    assert terms.keys() == expected.keys() and torch.equal(terms["loss"], expected["loss"])
    assert phase.monitor(posteriors, Noise(4))["monitor"].shape == (8,)
    assert not torch.equal(phase.objectives[0].loss(posteriors, Noise(5), clock)["loss"], terms["loss"])


@pytest.mark.parametrize("stop", [0, 12, 40, 50, 55, 75, 82, 84, 85])
def test_taken_up_in_any_phase_it_ends_the_same(stop, tmp_path):
    undisturbed = looped(two_stage(), 2)
    rows = [event.row for event in undisturbed.run() if isinstance(event, EpochEnded)]
    broken, before = looped(two_stage(), 2, FileSeries(Guarded(tmp_path))), []
    for number, event in enumerate(broken.run()):
        before += [event.row] if isinstance(event, EpochEnded) else []
        if number == stop:
            break
    torch.save(broken.state_dict(), tmp_path / "last.pt")
    again = looped(two_stage(), 2, FileSeries(Guarded(tmp_path)))
    again.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    after = [event.row for event in again.run() if isinstance(event, EpochEnded)]
    assert before + after == rows
    expected = undisturbed.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in again.model.state_dict().items())


def test_first_stage_is_the_same_whatever_follows():
    shipped = parts.spec("model", "two_stage_race")
    small = parts.small("digits")
    found = []
    for second in (shipped["second"], {"gaussian": shipped["second"]["gaussian"]}):
        model = parts.model("two_stage_race", small, latent_dim=2, second=second, sample_from="one_stage")
        settings = Training(2, 16, partial(torch.optim.Adam, lr=0.01), scheduler=None, **TRAINING_VALUES)
        list(Loop(model, small, settings, Noise(0), torch.device("cpu")).run())
        found.append(model.first.state_dict() | {"mean": model.mean, "scale": model.scale})
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert found[0]["head.log_scale"] < -0.35  # balanced: gamma moved from 1 / sqrt(2)


GAUSSIAN = {"_target_": "latentrun.models.gaussian.Gaussian"}
FLOW = spec()["second"]["flow"]
NET = {"_target_": "latentrun.nn.dense.Dense", "widths": [3]}


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"sample_from": "vea"},
            "model.sample_from: unknown second stage 'vea' (did you mean 'vae'?); known: flow, "
            "gaussian, mixture, one_st",
        ),
        ({"second": {}}, "model.sample_from: unknown second stage 'vae'; known: one_stage"),
        (
            {"second": {"one_stage": GAUSSIAN}},
            "model.second: 'one_stage' cannot be the name of a second stage",
        ),
        ({"second": {"a.b": GAUSSIAN}}, "model.second: 'a.b' cannot be the name of a second stage"),
        (
            {"second": {"vae": GAUSSIAN | {"_target_": "latentrun.models.flow.Flaw"}}},
            "model.second.vae._target_: there is no class",
        ),
        (
            {"second": {"vae": GAUSSIAN | {"latent_dim": 3}}},
            "model.second.vae.latent_dim: Gaussian takes no such value",
        ),
        (
            {"second": {"vae": {"_target_": "latentrun.nn.dense.Dense", "widths": [3]}}},
            "model.second.vae._target_: 'latentrun.nn.dense.Dense' is not a Model",
        ),
        (
            {"second": {"vae": {"_target_": "latentrun.models.ae.AE", "squash": False, "network": NET}}},
            "model.second.vae: AE cannot be sampled",
        ),
        (
            {"draw": "median"},
            "model.draw: 'median' is not allowed (did you mean 'mean'?); allowed: mean, likelihood",
        ),
        (
            {"draw": "likelihood", "second": {"vae": GAUSSIAN}},
            "model.draw: likelihood needs p(z|w), which no second stage has; allowed: mean",
        ),
        (
            {"second": {"flow": FLOW | {"kind": "splin"}}},
            "model.second.flow.kind: 'splin' is not allowed (did you mean 'spline'?)",
        ),
        (
            {"second": {"flow": FLOW | {"transform": 3}}},
            "model.second.flow.transform: Flow takes no such value (did you mean 'transforms'?)",
        ),
        (
            {"first": {"_target_": "latentrun.models.ae.AE", "squash": False}},
            "model.first: needs a Gaussian posterior; AE has none",
        ),
    ],
)
def test_what_is_wrong_is_told_in_one_line(change, message):
    with pytest.raises(InputError) as caught:
        two_stage(**change)
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_an_error_inside_a_part_is_told_with_its_place():
    second = spec()["second"]
    second["vae"]["likelihood"] = parts.spec("likelihood", "bernoulli")
    with pytest.raises(
        InputError, match=r"^model.second.vae.likelihood: model.likelihood: bernoulli needs data in \[0, 1\]"
    ):
        two_stage(second=second)


# ---------------------------------------------------------------- in features
def test_fid_has_a_set_for_every_sampler_and_the_gain_of_renormalising(trained):
    asked = build(
        parts.spec("diagnostic", "fid")["fid"] | {"features": "pixels", "n": 300, "kept": 300, "groups": 5},
        FID,
        "fid",
    )
    report = asked(Run(trained, data(1200)), Noise(0))
    names = ["one_stage", "vae", "flow", "mixture", "gaussian"]
    every = [
        "samples",
        "reconstructions",
        "floor",
        "floor_train",
        *(name + ending for name in names for ending in ("", RENORMALISED)),
    ]
    assert list(report.tables["summary"]["set"]) == every
    m = report.metrics
    assert (
        m["fid.samples"] == m["fid.vae_renormalised"] and m["recall.samples"] == m["recall.vae_renormalised"]
    )
    for name in names:
        gain = m[f"fid_gain.{name}"]
        assert gain.value == pytest.approx(m[f"fid.{name}"].value - m[f"fid.{name}_renormalised"].value)
    # N(0, I) is far from the codes, which are the data here, and a map gives it their moments; a fitted
    # normal has them.
    assert m["fid_gain.one_stage"].low > 0 and m["fid_gain.vae"].low > 0
    assert m["fid_gain.gaussian"].low <= 0.01 and abs(m["fid_gain.gaussian"].value) < 0.02
    # Paired: an interval for the difference, not the sum of two.
    both = sum(
        m[f"fid.gaussian{ending}"].high - m[f"fid.gaussian{ending}"].low for ending in ("", RENORMALISED)
    )
    assert m["fid_gain.gaussian"].high - m["fid_gain.gaussian"].low < 0.3 * both
    pictures = asked.plot(report)
    assert "Pale: codes as they are drawn" in pictures["distances"].caption


def test_fid_refuses_names_that_its_sets_have():
    second = {"floor": {"_target_": "latentrun.models.gaussian.Gaussian"}}
    asked = build(parts.spec("diagnostic", "fid")["fid"], FID, "fid")
    with pytest.raises(InputError, match="floor cannot be the name of a way to draw codes"):
        asked.check(two_stage(second=second, sample_from="floor"), data())


@pytest.mark.parametrize(("name", "samples"), [("two_stage_vae", 1), ("vae", 3)])
def test_pictures_of_samples_wait_for_the_second_stage(tmp_path, name, samples):
    """Two epochs of a VAE show samples after each and at the end; the first stage of two has nothing to draw
    its codes from."""
    path = tmp_path / "run"
    line = [
        "data=digits",
        "network=dense",
        "network.widths=[8]",
        "rows=64",
        "training.epochs=2",
        "diagnostic=[]",
        "figures=[]",
        f"model={name}",
    ]
    with pytest.raises(SystemExit) as exit_:
        main([*line, f"hydra.run.dir={path}"])
    assert exit_.value.code == 0
    found = EventAccumulator(str(path / "tensorboard")).Reload()
    steps = {tag: [event.step for event in found.Images(tag)] for tag in ("reconstructions", "samples")}
    assert len(steps["samples"]) == samples and len(steps["reconstructions"]) >= 3
    assert steps["samples"][-1] == max(steps["reconstructions"])

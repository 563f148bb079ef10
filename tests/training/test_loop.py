"""The loop trains every kind of model, repeats itself to the bit, and can be taken up anywhere."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.func import functional_call, stack_module_state
from toys import AdversarialPair, Remembering, Stream, Toy, TwoPhase

from latentrun.callbacks import MovingAverage
from latentrun.errors import InputError, Misfit
from latentrun.experiments.latent_noise import LatentNoise
from latentrun.functional.noise import Noise
from latentrun.manifolds import Euclidean
from latentrun.models.ae import AE
from latentrun.models.gan import GAN
from latentrun.models.vae import VAE
from latentrun.nn.dense import Dense
from latentrun.store.series import FileSeries
from latentrun.system.door import Guarded
from latentrun.training.loop import (
    EpochEnded,
    Loop,
    PhaseEnded,
    PhaseStarted,
    Stepped,
    TrainingEnded,
)
from latentrun.training.modes import train_only
from latentrun.training.optimisers import Optimisers
from latentrun.training.progress import Sums
from latentrun.training.settings import Training
from latentrun.training.step import NonFiniteLoss
from latentrun.types import Batch, Clock, Objective, OfSplit, Phase
from tests.planted import Rows, vae_values

SETTINGS = {
    "epochs": 6,
    "batch_size": 32,
    "optimizer": partial(torch.optim.Adam, lr=0.02),
    "scheduler": partial(torch.optim.lr_scheduler.ReduceLROnPlateau, factor=0.5, patience=1),
    "patience": None,
    "min_delta": 0.0,
    "clip": None,
    "then": None,
    "optimizers": {},
}


def settings(**changes) -> Training:
    return Training(**(SETTINGS | changes))


def points(n=150, dim=2) -> Rows:
    x = torch.tensor([1.0, -2.0])[:dim] + 0.5 * Noise(1).normal("x", (n, dim))
    return Rows({"train": x, "val": x[:40], "test": x[40:80]}, value_range=(-5.0, 5.0))


def vae(**changes) -> VAE:
    return VAE((2,), (-5.0, 5.0), (), Dense([8]), **vae_values(**changes))


MODELS = {
    "ae": lambda: AE((2,), (-5.0, 5.0), Dense([8]), latent_dim=1, squash=False),
    "vae": vae,
    "vae_learned": lambda: vae(balance="learned"),
    "vae_running_mse": lambda: vae(balance="running_mse", warmup_epochs=2.0),
    "vae_noise": lambda: vae(scale=0.1),
    "adversarial": AdversarialPair,
    "gan": lambda: GAN((2,), Dense([8]), "s1", "wgan_gp", 1.0, r1=0.5, r1_every=2, critic_steps=2, decay=0.9),
    "two_phase": TwoPhase,
    "stream": Stream,
    "remembering": Remembering,
}


def make(name: str, data=None, series=None, **changes) -> Loop:
    torch.manual_seed(3)
    if name == "vae_noise":
        changes = {"then": LatentNoise(None, 0.5, rise=3, hold=2, revive=2, inactive_kl=0.01)} | changes
    model, data = MODELS[name](), data or points()
    return Loop(model, data, settings(**changes), Noise(0), torch.device("cpu"), series)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", MODELS)
def test_two_runs_are_equal_to_the_bit(name):
    first, second = make(name), make(name)
    rows = [[e.row for e in loop.run() if isinstance(e, EpochEnded)] for loop in (first, second)]
    assert rows[0] == rows[1]
    assert same(weights(first), weights(second))


@pytest.mark.parametrize("stop", [3, 17, 31, 47, 71])
@pytest.mark.parametrize("name", MODELS)
def test_taken_up_at_any_event_it_ends_the_same(name, stop, tmp_path):
    undisturbed = make(name)
    rows = [e.row for e in undisturbed.run() if isinstance(e, EpochEnded)]
    broken, before = make(name, series=FileSeries(Guarded(tmp_path))), []
    for number, event in enumerate(broken.run()):
        before += [event.row] if isinstance(event, EpochEnded) else []
        if number == stop:
            break
    torch.save(broken.state_dict(), tmp_path / "last.pt")
    again = make(name, series=FileSeries(Guarded(tmp_path)))
    again.load_state_dict(torch.load(tmp_path / "last.pt", weights_only=True))
    after = [e.row for e in again.run() if isinstance(e, EpochEnded)]
    assert before + after == rows
    assert same(weights(again), weights(undisturbed))
    expected, found = undisturbed.history.history(), again.history.history()
    if expected is not None:
        assert (found.epoch_mean == expected.epoch_mean).all() and (found.steps == expected.steps).all()


def first_moments(state: dict) -> dict:
    """What the first optimizer remembers of its first parameter."""
    return state["within"]["optimisers"]["optimizers"][0]["state"][0]


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda state: state["model"].popitem(), "is missing; the model needs it with shape"),
        (
            lambda state: state["model"].update({next(iter(state["model"])): torch.zeros(7, 7)}),
            r"has shape \(7, 7\); the model needs \(",
        ),
        (
            lambda state: first_moments(state).update(exp_avg=torch.zeros(7)),
            r"exp_avg of the optimizer has shape \(7,\); its parameter has \(",
        ),
        (lambda state: state["progress"]["at"].update(phase=99), "within a phase, and all phases are over"),
        (lambda state: state["progress"]["at"].update(batch=-1), "batch is -1"),
        (lambda state: state["progress"]["rows"].append(3), "a row of the training"),
        (lambda state: state["history"].update(steps=["a"]), "steps of the history"),
    ],
)
def test_a_state_of_another_training_is_refused_before_a_step(spoil, said):
    broken = make("vae")
    for number, _ in enumerate(broken.run()):
        if number == 17:
            break
    state, series = copy.deepcopy(broken.state_dict()), broken.history.series
    make("vae", series=series).load_state_dict(copy.deepcopy(state))
    spoil(state)
    with pytest.raises(ValueError, match=said):
        make("vae", series=series).load_state_dict(state)


def test_events_come_in_order_and_count_the_rows():
    events = list(make("vae", epochs=2).run())
    assert (
        isinstance(events[0], PhaseStarted)
        and isinstance(events[-2], PhaseEnded)
        and isinstance(events[-1], TrainingEnded)
    )
    assert sum(e.rows for e in events if isinstance(e, Stepped)) == 2 * 150
    assert [e.epoch for e in events if isinstance(e, EpochEnded)] == [0, 1]


def test_adversarial_pair_finds_the_mean_of_the_data():
    loop = make("adversarial", epochs=60, optimizer=partial(torch.optim.Adam, lr=0.05))
    list(loop.run())
    assert torch.allclose(loop.model.shift, points().split("train").x.mean(0), atol=0.25)


def test_an_objective_moves_only_its_own_parameters():
    loop = make("adversarial")
    start, phase = weights(loop), loop.phases[0]
    optimisers = Optimisers(phase, settings(scheduler=None))
    critic, generator = phase.objectives
    batch, noise, clock = Batch(points().split("train").x), Noise(0), Clock("gan", 0, 0, 1)
    optimisers.update(generator, generator.loss(batch, noise, clock)["loss"], None)
    moved = {name for name, tensor in weights(loop).items() if not torch.equal(tensor, start[name])}
    assert moved == {"shift"}
    optimisers.update(critic, critic.loss(batch, noise, clock)["loss"], None)
    moved = {name for name, tensor in weights(loop).items() if not torch.equal(tensor, start[name])}
    assert moved == {"shift", "critic.weight", "critic.bias"}


def test_objectives_that_share_parameters_share_an_optimiser():
    shared, own = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    phase = Phase(
        "p",
        (Objective("a", [shared], None), Objective("b", [own], None), Objective("c", [shared, own], None)),
    )
    assert len(Optimisers(phase, settings(scheduler=None)).state_dict()["optimizers"]) == 1
    apart = Phase("p", (Objective("a", [shared], None), Objective("b", [own], None)))
    assert len(Optimisers(apart, settings(scheduler=None)).state_dict()["optimizers"]) == 2


def test_second_phase_reads_the_codes_of_the_finished_first():
    data = Rows(points().split("train").x)  # validated on its own rows, so that the best mean is theirs
    loop = make("two_phase", data, epochs=150, optimizer=partial(torch.optim.Adam, lr=0.05))
    events = list(loop.run())
    assert [e.phase for e in events if isinstance(e, PhaseEnded)] == ["ae", "codes"]
    codes = loop.model.encode(data.split("train").x)
    assert torch.allclose(loop.model.mean, codes.mean(0), atol=0.03)


def test_noise_on_a_latent_variable_follows_the_models_own_phase():
    loop = make("vae_noise")
    events = list(loop.run())
    assert [e.phase for e in events if isinstance(e, PhaseEnded)] == ["vae", "noise"]
    rows = [e.row for e in events if isinstance(e, EpochEnded) and e.phase == "noise"]
    assert not any(e.improved for e in events if isinstance(e, EpochEnded) and e.phase == "noise")
    stages, scales = ([row[f"val/noise_{name}"] for row in rows] for name in ("stage", "scale"))
    rising = stages.count(0.0)
    assert scales == pytest.approx([0.5 * i for i in range(rising)] + 2 * [0.5 * (rising - 1)] + 2 * [0.0])
    assert stages == [0.0] * rising + [1.0, 1.0, 2.0, 2.0]
    # It ends early only where the gain has fallen below the KL.
    assert rising == 3 or rows[rising - 1]["val/gain"] < rows[rising - 1]["val/variable_kl"]
    assert rows[0]["val/gain"] > rows[0]["val/variable_kl"] > 1
    kept = loop.model.state_dict()
    assert not any("noise" in name or "stage" in name for name in kept)  # the finished model is a plain VAE


def test_noise_needs_a_model_that_can_be_disturbed():
    with pytest.raises(
        Misfit,
        match="training.then: needs latent variables that can be disturbed while it trains; AE has none",
    ):
        make("ae", then=LatentNoise(None, 0.5, 3, 2, 2, 0.01))
    with pytest.raises(
        InputError, match=r"training.then.variable: the model has latent variables 0 to 1, got 2"
    ):
        make("vae", then=LatentNoise(2, 0.5, 3, 2, 2, 0.01))


def test_each_epoch_says_how_the_latent_variables_lie():
    loop = make("vae")
    rows, history = [e.row for e in loop.run() if isinstance(e, EpochEnded)], loop.history.history()
    for epoch, row in enumerate(rows):
        for i in range(2):
            variance, scale2 = (
                history.epoch_mean[epoch, :, i].var(),
                (history.epoch_scale[epoch, :, i] ** 2).mean(),
            )
            assert row[f"latent/var_mean.{i}"] == pytest.approx(variance, rel=1e-4)
            assert row[f"latent/mean_scale2.{i}"] == pytest.approx(scale2, rel=1e-4)
            assert row[f"latent/sum.{i}"] == pytest.approx(variance + scale2, rel=1e-4)
            assert row[f"latent/kl.{i}"] == pytest.approx(history.epoch_kl[epoch, :, i].mean(), rel=1e-4)
    plain = [e.row for e in make("ae").run() if isinstance(e, EpochEnded)]
    assert [name for name in plain[0] if name.startswith("latent/")] == ["latent/var_mean.0"]


def test_stream_is_endless_and_setup_runs_once():
    loop = make("stream", epochs=1, optimizer=partial(torch.optim.SGD, lr=0.0))
    events = list(loop.run())
    assert sum(isinstance(e, Stepped) for e in events) == 7
    assert loop.model.radius.item() == pytest.approx(1.5, rel=1e-5)
    longer = make("stream", epochs=40, optimizer=partial(torch.optim.SGD, lr=0.1))
    list(longer.run())
    assert longer.model.radius.item() == pytest.approx(3.0, abs=1e-3)


def test_schedule_moves_with_the_fractional_epoch_and_nothing_is_selected_before_it_ends():
    loop = make("remembering")
    epochs = [e for e in loop.run() if isinstance(e, EpochEnded)]
    steps = 5  # batches of 32 in 150 rows
    expected = [max(0.0, 1.0 - (i / steps) / 3.0) for i in range(6 * steps)]
    assert loop.model.seen == pytest.approx(expected)
    assert not any(e.improved for e in epochs[:2]) and epochs[2].improved
    assert int(loop.model.epochs_seen) == max(e.row["epoch"] for e in epochs if e.improved)


def test_the_best_weights_are_the_ones_that_stay():
    # A noisy walk: SGD with a rate so large that late epochs are not the best ones.
    loop = make("ae", epochs=3, optimizer=partial(torch.optim.SGD, lr=0.05), scheduler=None)
    values = [e.row["val/monitor"] for e in loop.run() if isinstance(e, EpochEnded)]
    assert min(values) < values[-1]
    with torch.no_grad():
        assert float(loop.model.squared_error(Batch(points().split("val").x)).mean()) == pytest.approx(
            min(values), rel=1e-5
        )


def test_patience_counts_epochs_without_a_better_value():
    loop = make("stream", epochs=50, patience=4, optimizer=partial(torch.optim.SGD, lr=0.0))
    epochs = [e for e in loop.run() if isinstance(e, EpochEnded)]
    assert len(epochs) == 1 + 4


def test_plateau_halves_the_learning_rate():
    loop = make("stream", epochs=6, optimizer=partial(torch.optim.SGD, lr=1e-7))
    rates = [e.row["learning_rate"] for e in loop.run() if isinstance(e, EpochEnded)]
    assert rates[-1] < rates[0]


def test_clip_bounds_the_step():
    loop = make("stream", epochs=1, clip=1e-3, optimizer=partial(torch.optim.SGD, lr=1.0))
    list(loop.run())
    assert abs(loop.model.radius.item() - 1.5) <= 7 * 1e-3 * 1.001


def test_non_finite_loss_names_place_and_terms():
    loop = make("ae")
    with torch.no_grad():
        next(loop.model.parameters())[0, 0] = float("nan")
    with pytest.raises(NonFiniteLoss, match=r"phase ae, epoch 1, step 1: loss = nan"):
        list(loop.run())


def test_training_terms_are_means_over_rows_not_over_batches():
    loop = make("stream", epochs=1, optimizer=partial(torch.optim.SGD, lr=0.0))
    row = next(e.row for e in loop.run() if isinstance(e, EpochEnded))
    assert row["train/loss"] == pytest.approx(1.5**2, rel=1e-5)
    uneven = make("ae", epochs=1, batch_size=149, optimizer=partial(torch.optim.SGD, lr=0.0))
    x = points().split("train").x
    with torch.no_grad():
        expected = float(uneven.model.squared_error(Batch(x)).mean())
    row = next(e.row for e in uneven.run() if isinstance(e, EpochEnded))
    assert row["train/loss"] == pytest.approx(expected, rel=1e-5)


def test_history_is_what_the_encoder_says():
    loop = make("vae", epochs=3)
    states = [copy.deepcopy(loop.model.state_dict()) for e in loop.run() if isinstance(e, EpochEnded)]
    history = loop.history.history()
    assert history.epoch_mean.shape == (3, 150, 2) and history.step_mean.shape[1:] == (10, 2)
    assert history.steps[0] == 1 and history.steps[-1] == 15
    model, x = vae(), points().split("train").x
    for epoch, state in enumerate(states):
        model.load_state_dict(state)
        with torch.no_grad():
            q = model.posterior(x[history.index])
        assert torch.allclose(torch.from_numpy(history.epoch_mean[epoch]), q.mean, atol=1e-5)
        assert torch.allclose(torch.from_numpy(history.epoch_scale[epoch]), q.stddev, atol=1e-5)
        kl = kl_divergence(Normal(q.mean, q.stddev), Normal(0.0, 1.0))
        assert torch.allclose(torch.from_numpy(history.epoch_kl[epoch]), kl, atol=1e-4)


class Loss(torch.nn.Module):
    """A model as a function of its state, for torch.func."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, noise, clock):
        return self.model.phases()[0].objectives[0].loss(Batch(x), noise, clock)["loss"]


def test_two_vaes_stack_with_torch_func():
    """The loss is pure, so two copies can be trained as one: gradients equal those of each alone."""
    models = [vae(), vae()]
    x, noise, clock = points().split("train").x[:32], Noise(0).at("step", 0), Clock("vae", 0, 0, 1)
    params, buffers = stack_module_state([Loss(model) for model in models])
    base = copy.deepcopy(Loss(models[0])).to("meta")

    def loss(params, buffers):
        return functional_call(base, (params, buffers), (x, noise, clock))

    grads, values = torch.func.vmap(torch.func.grad_and_value(loss), randomness="same")(params, buffers)
    for i, model in enumerate(models):
        alone = Loss(model)(x, noise, clock)
        alone.backward()
        assert values[i].item() == pytest.approx(alone.item(), rel=1e-5)
        for name, parameter in Loss(model).named_parameters():
            assert torch.allclose(grads[name][i], parameter.grad, atol=1e-4, rtol=1e-4)


def test_terms_are_averaged_over_the_rows_they_were_computed_on():
    sums = Sums()
    for step, rows in enumerate((10, 10, 5)):
        sums.add({"critic": 1.0} | ({"generator": 4.0 + step} if step % 2 == 0 else {}), rows)
    assert sums.means() == {"critic": 1.0, "generator": (4.0 * 10 + 6.0 * 5) / 15}
    row = next(e.row for e in make("adversarial", epochs=1).run() if isinstance(e, EpochEnded))
    # At the start neither knows anything: 2 ln 2 for the critic, ln 2 in every other step for the generator.
    assert 0.5 < row["train/generator/loss"] < 0.9 and 1.1 < row["train/critic/loss"] < 1.6


def test_only_modules_whose_parameters_move_are_in_training_mode():
    frozen = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    moving = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5))
    model = nn.Sequential(frozen, moving, nn.Dropout(0.5))
    train_only(model, {id(p) for p in moving.parameters()})
    assert model.training and all(module.training for module in moving.modules())
    assert not any(module.training for module in frozen.modules()) and model[2].training
    before = frozen[1].running_mean.clone()
    model(torch.randn(50, 2) + 3)
    assert torch.equal(frozen[1].running_mean, before) and not torch.equal(moving[1].running_mean, before)


class Averaged(AdversarialPair):
    """A generator with a moving average of its weights, judged as a whole."""

    def __init__(self):
        super().__init__()
        self.source, self.average = nn.Linear(1, 2), nn.Linear(1, 2)

    def generated(self, n, noise):
        return self.source(noise.normal("w", (n, 1)))

    def phases(self):
        critic, generator = super().phases()[0].objectives
        generator = replace(generator, parameters=list(self.source.parameters()))
        average = MovingAverage(self.source, self.average, 0.9)
        monitor = OfSplit(lambda batch, noise: {"monitor": batch.x.sum() - self.average.weight.sum()})
        return (Phase("gan", (critic, generator), monitor=monitor, callbacks=(average,)),)


def test_a_moving_average_a_monitor_of_the_whole_split_and_an_optimiser_of_ones_own():
    sgd = partial(torch.optim.SGD, lr=0.5)
    loop = Loop(
        Averaged(), points(), settings(epochs=1, optimizers={"generator": sgd}), Noise(0), torch.device("cpu")
    )
    expected, weights_seen = None, []
    for event in loop.run():
        if isinstance(event, PhaseStarted):
            expected = loop.model.source.weight.detach().clone()
            assert torch.equal(loop.model.average.weight, expected)
        elif isinstance(event, Stepped):
            expected = 0.9 * expected + 0.1 * loop.model.source.weight.detach()
            weights_seen.append(loop.model.source.weight.detach().clone())
        elif isinstance(event, EpochEnded):
            x = points().split("val").x
            assert event.row["val/monitor"] == pytest.approx((x.sum() - expected.sum()).item(), rel=1e-4)
    assert torch.allclose(loop.model.average.weight, expected, atol=1e-6)
    assert not torch.equal(weights_seen[0], weights_seen[-1])


def test_each_objective_has_the_optimiser_that_is_named_for_it():
    loop = make("adversarial", optimizers={"generator": partial(torch.optim.SGD, lr=0.5)})
    optimisers = Optimisers(loop.phases[0], loop.settings)
    assert isinstance(optimisers._of["generator"], torch.optim.SGD)
    assert isinstance(optimisers._of["critic"], torch.optim.Adam)
    with pytest.raises(InputError, match="unknown objective of training.optimizers 'critc'"):
        make("adversarial", optimizers={"critc": partial(torch.optim.SGD, lr=0.5)})


def test_a_model_without_phases_is_trained_at_once():
    class Fixed(Toy):
        def phases(self):
            return ()

    loop = Loop(Fixed(), points(), settings(), Noise(0), torch.device("cpu"))
    assert [type(event) for event in loop.run()] == [TrainingEnded] and loop.finished


def test_records_of_wide_codes_are_bounded(tmp_path):
    class Wide(TwoPhase):
        def __init__(self):
            super().__init__()
            self.spaces["z"] = Euclidean(3000)
            self.down, self.up = nn.Linear(2, 3000), nn.Linear(3000, 2)

        def phases(self):
            return super().phases()[:1]

    loop = Loop(
        Wide(), points(), settings(epochs=1), Noise(0), torch.device("cpu"), FileSeries(Guarded(tmp_path))
    )
    rows = [event.row for event in loop.run() if isinstance(event, EpochEnded)]
    assert loop.history.history().epoch_mean.shape == (1, 512 * 128 // 3000, 3000)
    assert not any(name.startswith("latent/") for name in rows[0])  # nor are there 3000 columns
    (tmp_path / "history_epochs.f32").write_bytes(b"")
    with pytest.raises(InputError, match="holds 0 bytes; the checkpoint counts"):
        loop.history.drop_later()

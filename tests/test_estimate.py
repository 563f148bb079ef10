"""What training would take, against models whose steps take a known time, and against what a run really
writes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from toys import AdversarialPair, Points, Stream, Toy, TwoPhase

from latentrun.diagnostics.codes.latents import Latents
from latentrun.diagnostics.training.latent_trajectory import LatentTrajectory
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder
from latentrun.tasks.assembly import Assembly
from latentrun.tasks.budget import DIAGNOSTIC, MOVING, needed, needs
from latentrun.tasks.estimate import duration, estimate, pace, size, stored
from latentrun.tasks.questions import Questions
from latentrun.training.loop import Loop, Training
from latentrun.types import Objective, Phase
from tests.lines import run
from tests.planted import TRAINING_VALUES

STEP, BATCH = 0.01, 0.02  # seconds that a training step and a validation batch take


class Sleeper(Toy, HasEncoder):
    """Its steps and nothing else move the clock."""

    now = 0.0

    def __init__(self, epochs=None, step=STEP):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(10))
        self.epochs, self.step = epochs, step

    def encode(self, x, space="z"):
        return x[:, :1]

    def loss(self, batch, noise, clock):
        Sleeper.now += self.step
        return {"loss": self.weight.square().sum()}

    def monitor(self, batch, noise):
        Sleeper.now += BATCH
        return {"monitor": batch.x.sum(1)}

    def phases(self):
        return (
            Phase(
                "sleep",
                (Objective("sleep", [self.weight], self.loss),),
                monitor=self.monitor,
                epochs=self.epochs,
            ),
        )


def planned(model, n=1000, epochs=7, batch_size=10, optimizer=torch.optim.Adam, patience=None) -> Assembly:
    values = TRAINING_VALUES | {"patience": patience}
    training = Training(epochs, batch_size, partial(optimizer, lr=0.1), scheduler=None, **values)
    questions = Questions({}, {}, {"sparsity": "needs a Gaussian posterior"})
    return Assembly({"seed": 0}, Points(n), model, training, questions, torch.device("cpu"))


@pytest.fixture
def clock(monkeypatch):
    """The time is what the model says."""
    monkeypatch.setattr("latentrun.tasks.estimate.time", SimpleNamespace(perf_counter=lambda: Sleeper.now))


def test_steps_and_epochs_of_a_known_length(clock):
    found = pace(planned(Sleeper()), 0)  # 640 rows of training in steps of 10, 160 of validation in 16
    assert (found.phase, found.rows, found.steps, found.epochs, found.early) == ("sleep", 640, 64, 7, False)
    assert found.step == pytest.approx([STEP] * 30)
    assert found.end == pytest.approx(16 * BATCH) and found.epoch == pytest.approx(64 * STEP + 16 * BATCH)


def test_slow_steps_are_timed_for_some_seconds_only(clock):
    assert pace(planned(Sleeper(step=0.8)), 0).step == pytest.approx([0.8] * 4)
    assert pace(planned(Sleeper(step=60.0)), 0).step == pytest.approx([60.0])


@pytest.mark.parametrize(
    "epochs, n, steps", [(1, 1000, 64), (2, 20, 2), (1, 15, 1), (5, 15, 1), (0, 1000, 64)]
)
def test_short_phases(clock, epochs, n, steps):
    found = pace(planned(Sleeper(epochs), n=n, patience=1), 0)
    assert (found.steps, found.epochs) == (steps, epochs)
    if epochs == 0:
        assert found.step == () and found.epoch == 0.0
    else:
        validation = -(-round(0.2 * 0.8 * n) // 10) * BATCH
        assert set(np.round(found.step, 9)) == {STEP} and found.epoch == pytest.approx(
            steps * STEP + validation
        )


def test_every_phase_is_measured():
    first, second = (pace(planned(TwoPhase()), number) for number in (0, 1))
    assert (first.phase, first.early) == ("ae", False) and (second.phase, second.early) == ("codes", True)
    assert all(each.epoch > 0 and each.steps == 64 for each in (first, second))
    endless = pace(planned(Stream()), 0)
    assert endless.steps == 7 and endless.rows == 70 and endless.epoch > 0
    unmonitored = pace(planned(AdversarialPair()), 0)
    assert unmonitored.steps == 64 and unmonitored.epoch > 0


@pytest.mark.parametrize("optimizer, moments", [(torch.optim.Adam, 2), (torch.optim.SGD, 0)])
def test_the_state_of_the_optimizer(optimizer, moments):
    found = pace(planned(Sleeper(), optimizer=optimizer), 0)
    assert found.state == moments * 10 * 4 + (
        4 if moments else 0
    )  # Adam counts its steps in a number of its own


def test_the_model_is_left_as_it_is(capsys, tmp_path):
    model = TwoPhase()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert estimate(planned(model), tmp_path / "new" / "run") == 0
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters()) and list(tmp_path.iterdir()) == []
    shown = capsys.readouterr().out
    for text in (
        "640 train, 160 val, 200 test rows",
        "8 on cpu",
        "phase ae",
        "phase codes",
        "not trained yet",
        "free now",
        "skipped",
    ):
        assert text in shown, text


def test_what_is_missing_on_the_disk_is_said(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("latentrun.tasks.estimate.free_room", lambda path: 1000)
    assert (
        estimate(planned(TwoPhase()), tmp_path) == 0
        and "0.977 KiB free: not enough" in capsys.readouterr().out
    )


def test_room_for_checkpoints_is_what_a_run_writes(tmp_path):
    assembly = planned(TwoPhase())
    model = assembly.model
    model.large = nn.Parameter(torch.zeros(100_000))
    objective = Objective("large", [model.large], lambda b, n, c: {"loss": model.large.sum()})
    model.phases = lambda: [Phase("large", (objective,))]
    expected = needs(assembly)
    loop = Loop(model, assembly.data, assembly.training, Noise(0), assembly.device)
    next(event for event in loop.run() if loop.progress.total_epochs == 2)
    torch.save(loop.state_dict(), tmp_path / "last.pt")
    torch.save({"model": model.state_dict()}, tmp_path / "best.pt")
    last, best = ((tmp_path / f"{name}.pt").stat().st_size for name in ("last", "best"))
    assert 2 * (last + best) < expected["checkpoints"] < 4 * (last + best)
    assert stored(loop.state_dict()) == pytest.approx(last, rel=0.02)
    assert needed(assembly) == sum(expected.values())


def test_room_for_pages_grows_with_the_diagnostics_and_with_what_moves():
    assembly, key = planned(TwoPhase()), "tables, pictures and report"
    rooms = []
    for names in ([], ["still"], ["still", "still too"], ["moving"]):
        diagnostics = {name: SimpleNamespace(animated=name == "moving") for name in names}
        rooms.append(needs(replace(assembly, questions=Questions(diagnostics, {}, {})))[key])
    assert rooms[0] < rooms[1] and rooms[2] - rooms[1] == rooms[1] - rooms[0] == DIAGNOSTIC
    assert rooms[3] - rooms[1] == MOVING
    assert rooms[0] + 9 * DIAGNOSTIC < 20 * 2**20  # the default list, which writes 10 MiB of it
    assert LatentTrajectory.animated and not Latents.animated


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0 ms"),
        (0.00123, "1.2 ms"),
        (0.187, "187 ms"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.6, "1 min 0 s"),
        (264, "4 min 24 s"),
        (3599, "1 h 0 min"),
        (11100, "3 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "count, text",
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.977 KiB"),
        (1536, "1.5 KiB"),
        (3 * 2**20, "3 MiB"),
        (2**41, "2 TiB"),
    ],
)
def test_sizes(count, text):
    assert size(count) == text


# ---------------------------------------------------------------- the command
TINY = ["data=digits", "network=dense", "network.widths=[16]"]


def test_the_command_prints_a_table_and_writes_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*TINY, "model=ae", "estimate=true") == 0
    lines = capsys.readouterr().out.splitlines()
    starts = {line[:13].strip() for line in lines}
    assert starts == {
        "",
        "data",
        "parameters",
        "phase ae",
        "training",
        "memory",
        "disk",
        "diagnostics",
        "skipped",
    }
    assert all(line[11:13] == "  " for line in lines)  # one column of names, one of values
    assert "1,294 train, 144 val, 359 test rows" in lines[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line, message",
    [
        ("-m estimate=true seed=0,1", "estimate=true: what one run would take"),
        ("-m estimate=true", "estimate=true: what one run would take"),
        ("estimate=perhaps", "estimate: must be true or false, got 'perhaps'"),
        ("task=diagnose run=. estimate=true", "'estimate=true': estimate belongs to task=train"),
        ("resume=. estimate=true", "estimate: resume=DIR goes on with the run's own settings"),
        ("estimate=true model.latent_dim=0", "model.latent_dim: must be at least 1, got 0"),
        ("estimate=true data=mnist data.root=nowhere", "data.root: 'nowhere' is not a folder"),
    ],
)
def test_wrong_input(line, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*line.split()) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.count("\n") == 1 and shown.out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_run_does_not_keep_the_setting(tmp_path):
    assert run(*TINY, "debug=quick", "diagnostic=[]", f"hydra.run.dir={tmp_path / 'run'}") == 0
    assert "estimate" not in yaml.safe_load((tmp_path / "run" / ".hydra" / "config.yaml").read_text())

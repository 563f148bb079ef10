"""A run that was stopped, by a signal or by force, goes on to the result it would have had, to the last
bit."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from latentrun import cli
from latentrun.cli import main
from latentrun.errors import InputError
from latentrun.store import RunDirectory, activity
from latentrun.system import door
from latentrun.system.interrupts import Interrupted, deferred, interruptible
from latentrun.training.recorder import Recorder
from tests.lines import run
from tests.processes import started

LONG = ["rows=96", "training.batch_size=8", "figures=[]"]
VAE = [
    *LONG,
    "data=digits",
    "network=dense",
    "network.widths=[32]",
    "diagnostic=[stationarity,variance_loss]",
]
TOY = [*LONG, "data=points", "training.epochs=40", "training.patience=null", "diagnostic=[]", "trust=[toys]"]
RUNS = {
    "vae": [*VAE, "training.epochs=60", "threads=1"],
    "adversarial": [*TOY, "model=adversarial", "threads=1"],
    "two_phase": [*TOY, "model=two_phase", "threads=1"],
}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder of options with the toy models of the tests."""
    folder = tmp_path_factory.mktemp("options")
    classes = {"model/adversarial": "AdversarialPair", "model/two_phase": "TwoPhase", "data/points": "Points"}
    for name, cls in classes.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"_target_": f"toys.{cls}"} | ({"n": 200} if cls == "Points" else {})))
    return folder


# A game is stopped within the loop by the tests of training; here it takes as long as a single loss.
KINDS = [pytest.param(kind, marks=pytest.mark.slow if kind == "adversarial" else ()) for kind in RUNS]


@pytest.fixture(scope="module", params=KINDS)
def undisturbed(request, toys, tmp_path_factory):
    """(arguments, directory of the run that nobody stopped)."""
    arguments = ["--config-dir", str(toys), *RUNS[request.param]]
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(*arguments, f"hydra.run.dir={path}") == 0
    return arguments, path


def training(arguments: list[str], path: Path, epochs: int) -> BaseProcess:
    """A process of its own, once it has trained for so many epochs."""
    shown = path.with_suffix(".txt")
    process = started([*arguments, f"hydra.run.dir={path}"], shown)
    table = path / "tables" / "train.csv"
    deadline = time.monotonic() + 60
    while not table.exists() or table.read_text().count("\n") <= epochs:
        assert process.is_alive() and time.monotonic() < deadline, shown.read_text()
        time.sleep(0.005)
    return process


@pytest.fixture(scope="module")
def killed(undisturbed, tmp_path_factory):
    """The same run, ended by force after seven epochs."""
    arguments, whole = undisturbed
    path = tmp_path_factory.mktemp("killed") / "run"
    process = training(arguments, path, epochs=7)
    process.kill()
    process.join()
    return path


@pytest.fixture
def stopped(killed, tmp_path):
    """A copy of the killed run."""
    return Path(shutil.copytree(killed, tmp_path / "run"))


def interrupting(monkeypatch, *stops: int, number: int = signal.SIGTERM) -> set[int]:
    """Let a signal come right after each of these steps; those that are still to come."""
    count, coming = Recorder.step, set(stops)

    def stopping(self, step):
        if step in coming:
            coming.remove(step)
            os.kill(os.getpid(), number)
        return count(self, step)

    monkeypatch.setattr(Recorder, "step", stopping)
    return coming


def same(path: Path, other: Path) -> None:
    """Weights and all tables but timing.csv are equal, byte for byte."""
    tables = sorted(p.name for p in (path / "tables").iterdir())
    assert tables == sorted(p.name for p in (other / "tables").iterdir())
    for name in set(tables) - {"timing.csv"}:
        assert (path / "tables" / name).read_bytes() == (other / "tables" / name).read_bytes(), name
    for name in ("best", "last"):
        first, second = (
            torch.load(p / "checkpoints" / f"{name}.pt", weights_only=True)["model"] for p in (path, other)
        )
        assert first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)
    arrays = sorted(p.name for p in (path / "arrays").glob("*.npz"))
    assert arrays == sorted(p.name for p in (other / "arrays").glob("*.npz"))


def test_killed_and_resumed_is_as_if_nothing_had_happened(undisturbed, stopped):
    assert RunDirectory(stopped).status["state"] == "training" and not (stopped / "report.html").exists()
    assert run(f"resume={stopped}", "trust=[toys]") == 0
    same(stopped, undisturbed[1])
    meta = RunDirectory(stopped).meta
    assert len(meta["resumed"]) == 1 and meta["resumed"][0]["notes"] == []
    assert RunDirectory(stopped).status["state"] == "done" and not list(stopped.rglob("*.part"))


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)]
)
def test_a_signal_is_answered_with_a_checkpoint(number, code, toys, tmp_path, monkeypatch, capsys):
    path = tmp_path / "run"
    interrupting(monkeypatch, 102, number=number)
    assert run("--config-dir", toys, *RUNS["adversarial"], f"hydra.run.dir={path}") == code
    assert f"stopped by {number.name}; to go on: latentrun resume={path}" in capsys.readouterr().out
    status = RunDirectory(path).status
    assert status["state"] == "interrupted" and status["reason"] == f"stopped by {number.name}"
    saved = torch.load(path / "checkpoints" / "last.pt", weights_only=True)
    # Saved at the very step, not at the last epoch.
    assert saved["progress"]["at"]["total_steps"] == status["step"] == 102


def test_a_live_run_is_refused_and_one_that_was_stopped_is_not_measured(tmp_path, capsys):
    path = tmp_path / "run"
    process = training([*VAE, "training.epochs=4000", "training.patience=null"], path, epochs=2)
    try:
        assert run(f"resume={path}") == 2
        who = f"process {process.pid} on {os.uname().nodename}"
        assert f"is in use by another process ({who})" in capsys.readouterr().err
    finally:
        process.terminate()
        process.join()
    said = path.with_suffix(".txt").read_text()
    assert (
        process.exitcode == 143 and f"to go on: latentrun resume={path}" in said and "Traceback" not in said
    )
    assert run("task=diagnose", f"run={path}") == 2
    not_over = "its training is not finished (state 'interrupted'); latentrun resume="
    assert not_over in capsys.readouterr().err


def test_interrupted_in_the_middle_of_an_epoch_and_again(undisturbed, tmp_path, monkeypatch):
    """A signal at odd steps of the run, thrice: the result is still the same."""
    arguments, whole = undisturbed
    path, coming = tmp_path / "run", interrupting(monkeypatch, 6, 102, 203)
    assert run(*arguments, f"hydra.run.dir={path}") == 143
    positions = []
    while coming:
        positions.append(torch.load(path / "checkpoints" / "last.pt", weights_only=True)["progress"]["at"])
        assert run(f"resume={path}", "trust=[toys]") == 143
    assert run(f"resume={path}", "trust=[toys]") == 0
    assert positions[0]["batch"] == 6 and [p["total_steps"] for p in positions] == [6, 102]
    same(path, whole)


def test_killed_at_any_write(undisturbed, tmp_path, monkeypatch):
    """The process ends right before or after one of its files is put in place, anywhere in the run."""
    arguments, whole = undisturbed
    replace, writes, last = os.replace, 0, {}

    class Killed(BaseException):
        pass

    def counting(source, target, **folders):
        nonlocal writes
        writes += 1
        if writes in last:
            if last[writes]:
                replace(source, target, **folders)
            raise Killed
        replace(source, target, **folders)

    monkeypatch.setattr(door.os, "replace", counting)
    monkeypatch.setattr(activity.Activity, "_beat", lambda self: None)
    path = tmp_path / "run"
    command = [*arguments, f"hydra.run.dir={path}"]
    for after, done in ((9, False), (40, True), (41, False), (60, True), (30, False), (12, True)):
        last, writes = {after: done}, 0
        with pytest.raises((Killed, SystemExit)):
            main(command)
        command = [f"resume={path}", "trust=[toys]"]
    last = {}
    assert run(*command) == 0
    same(path, whole)


@pytest.mark.parametrize("undisturbed", ["vae"], indirect=True)
def test_a_torn_checkpoint_is_replaced_by_the_one_before(undisturbed, stopped):
    last = stopped / "checkpoints" / "last.pt"
    content = last.read_bytes()
    last.write_bytes(content[: len(content) // 2])
    assert run(f"resume={stopped}", "trust=[toys]") == 0
    note = RunDirectory(stopped).meta["resumed"][0]["notes"][0]
    assert "last.pt' cannot be read" in note and note.endswith("the checkpoint before it is used")
    same(stopped, undisturbed[1])


@pytest.mark.parametrize("undisturbed", ["vae"], indirect=True)
def test_what_has_changed_since_is_said(undisturbed, stopped):
    meta = json.loads((stopped / "meta.json").read_text())
    changed = {"fit_hash": "0" * 16, "versions": meta["versions"] | {"torch": "1.0"}}
    (stopped / "meta.json").write_text(json.dumps(meta | changed))
    assert run(f"resume={stopped}") == 0
    notes = RunDirectory(stopped).meta["resumed"][0]["notes"]
    assert [note.split(" ")[0:2] for note in notes] == [["the", "code"], ["torch", "is"]]
    said = "the code of data, model, network or training has changed"
    assert said in (stopped / "run.log").read_text()


def test_threads_are_those_of_the_run(tmp_path, monkeypatch):
    path, before = tmp_path / "run", torch.get_num_threads()
    interrupting(monkeypatch, 10)
    try:
        line = [*VAE, "training.epochs=2", "threads=2", "diagnostic=[]"]
        assert run(*line, f"hydra.run.dir={path}") == 143
        torch.set_num_threads(1)
        assert run(f"resume={path}") == 0
        assert torch.get_num_threads() == 2 and RunDirectory(path).meta["resumed"][0]["notes"] == []
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    assert run(*VAE, "training.epochs=2", f"hydra.run.dir={path}") == 0
    return path


class TestRefusals:
    def test_a_finished_run_says_so(self, finished, capsys):
        before = {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()}
        assert run(f"resume={finished}") == 0
        assert "is finished: nothing to resume" in capsys.readouterr().out
        assert {p: p.read_bytes() for p in finished.rglob("*") if p.is_file()} == before

    @pytest.mark.parametrize("age, refused", [(5, True), (500, False)])
    def test_a_run_on_another_machine_counts_by_its_heartbeat(self, finished, age, refused):
        directory = RunDirectory(finished)
        before = (finished / "status.json").read_text()
        beat = pd.Timestamp.now("UTC") - pd.Timedelta(seconds=age)
        (finished / "status.json").write_text(
            json.dumps({"state": "training", "host": "elsewhere", "heartbeat": beat.isoformat()})
        )
        try:
            if refused:
                with pytest.raises(
                    InputError, match=r"in use on elsewhere: its last sign of life is \d s old"
                ):
                    with directory.locked():
                        pass
            else:
                with directory.locked():
                    pass
        finally:
            (finished / "status.json").write_text(before)

    def test_other_settings_cannot_stand_beside_it(self, finished, capsys):
        assert run(f"resume={finished}", "model.latent_dim=7") == 2
        assert "model.latent_dim: resume=DIR goes on with the run's own settings" in capsys.readouterr().err


def test_a_checkpoint_that_declares_terabytes_is_refused(tmp_path):
    path = tmp_path / "checkpoints" / "last.pt"
    path.parent.mkdir()
    (tmp_path / "meta.json").write_text('{"schema": 3, "diagnostics": {}}')
    torch.save({"model": {"weight": torch.zeros(1).expand(2**40)}}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(InputError, match="without its values"):
        RunDirectory(tmp_path).load_checkpoint("last")


def test_a_deferred_signal_waits_for_the_end_of_the_block_and_others_do_not():
    seen = []
    with pytest.raises(Interrupted) as stopped, interruptible():
        with deferred() as request:
            os.kill(os.getpid(), signal.SIGTERM)
            seen.append(request.signal)
        seen.append("behind the block")
    assert seen == [signal.SIGTERM] and stopped.value.code == 143
    with pytest.raises(Interrupted) as stopped, interruptible():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert stopped.value.code == 130
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and cli.interruptible is interruptible

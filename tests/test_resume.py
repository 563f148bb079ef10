"""A run that was stopped, by a signal or by force, goes on to the result it would have had, to the last
bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from latentrun import cli
from latentrun.cli import main
from latentrun.errors import InputError
from latentrun.store import RunDirectory, activity, files
from latentrun.system.interrupts import Interrupted, deferred, interruptible
from latentrun.training.recorder import Recorder
from tests.lines import latest

ROOT = Path(__file__).parents[1]
LONG = ["rows=96", "training.batch_size=8", "threads=1"]
VAE = [
    *LONG,
    "data=digits",
    "network=dense",
    "network.widths=[32]",
    "training.epochs=60",
    "diagnostic=[stationarity,variance_loss]",
]
TOY = [*LONG, "data=points", "training.epochs=40", "training.patience=null", "diagnostic=[]", "trust=[tests]"]
RUNS = {"vae": VAE, "adversarial": [*TOY, "model=adversarial"], "two_phase": [*TOY, "model=two_phase"]}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder of options with the toy models of the tests."""
    folder = tmp_path_factory.mktemp("options")
    classes = {"model/adversarial": "AdversarialPair", "model/two_phase": "TwoPhase", "data/points": "Points"}
    for name, cls in classes.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            yaml.safe_dump(
                {"_target_": f"tests.training.toys.{cls}"} | ({"n": 200} if cls == "Points" else {})
            )
        )
    return folder


@pytest.fixture(scope="module", params=RUNS)
def undisturbed(request, toys, tmp_path_factory):
    """(arguments, directory of the run that nobody stopped)."""
    arguments = ["--config-dir", str(toys), *RUNS[request.param]]
    path = tmp_path_factory.mktemp("undisturbed") / "run"
    assert run(*arguments, f"hydra.run.dir={path}") == 0
    return arguments, path


def run(*arguments) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(latest(arguments))
    return exit_.value.code


def started(arguments: list[str], path: Path, epochs: int) -> subprocess.Popen:
    """A process of its own, once it has trained for so many epochs."""
    command = [sys.executable, "-m", "latentrun", *arguments, f"hydra.run.dir={path}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with open(path.with_suffix(".txt"), "w") as shown:
        process = subprocess.Popen(command, env=environment, stdout=shown, stderr=shown)
    table = path / "tables" / "train.csv"
    deadline = time.monotonic() + 60
    while not table.exists() or table.read_text().count("\n") <= epochs:
        assert process.poll() is None and time.monotonic() < deadline, path.with_suffix(".txt").read_text()
        time.sleep(0.005)
    return process


def killed(arguments: list[str], path: Path, epochs: int) -> Path:
    """A run that was ended by force once it had trained for so many epochs."""
    process = started(arguments, path, epochs)
    process.kill()
    process.wait()
    return path


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


def test_killed_and_resumed_is_as_if_nothing_had_happened(undisturbed, tmp_path):
    arguments, whole = undisturbed
    path = killed(arguments, tmp_path / "killed", epochs=7)
    assert RunDirectory(path).status["state"] == "training" and not (path / "report.html").exists()
    assert run(f"resume={path}", "trust=[tests]") == 0
    same(path, whole)
    meta = RunDirectory(path).meta
    assert len(meta["resumed"]) == 1 and meta["resumed"][0]["notes"] == []
    assert RunDirectory(path).status["state"] == "done" and not list(path.rglob("*.part"))


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 143)])
def test_a_signal_is_answered_with_a_checkpoint(number, code, toys, tmp_path):
    path = tmp_path / "run"
    process = started(
        ["--config-dir", str(toys), *RUNS["adversarial"], "training.epochs=4000"], path, epochs=5
    )
    process.send_signal(number)
    assert process.wait(timeout=30) == code
    said = path.with_suffix(".txt").read_text()
    assert f"stopped by {number.name}; to go on: latentrun resume={path}" in said and "Traceback" not in said
    status = RunDirectory(path).status
    assert status["state"] == "interrupted" and status["reason"] == f"stopped by {number.name}"
    saved = torch.load(path / "checkpoints" / "last.pt", weights_only=True)
    assert (
        saved["progress"]["at"]["total_steps"] == status["step"]
    )  # saved at the very step, not at the last epoch


def test_interrupted_in_the_middle_of_an_epoch_and_again(undisturbed, tmp_path, monkeypatch):
    """A signal at odd steps of the run, thrice: the result is still the same."""
    arguments, whole = undisturbed
    path, count, stops = tmp_path / "run", Recorder.step, {6, 102, 203}

    def stopping(self, step):
        if step in stops:
            stops.remove(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return count(self, step)

    monkeypatch.setattr(Recorder, "step", stopping)
    assert run(*arguments, f"hydra.run.dir={path}") == 143
    positions = []
    while stops:
        positions.append(torch.load(path / "checkpoints" / "last.pt", weights_only=True)["progress"]["at"])
        assert run(f"resume={path}", "trust=[tests]") == 143
    assert run(f"resume={path}", "trust=[tests]") == 0
    assert positions[0]["batch"] == 6 and [p["total_steps"] for p in positions] == [6, 102]
    same(path, whole)


def test_killed_at_any_write(undisturbed, tmp_path, monkeypatch):
    """The process ends right before or after one of its files is put in place, anywhere in the run."""
    arguments, whole = undisturbed
    replace, writes, last = os.replace, 0, {}

    class Killed(BaseException):
        pass

    def counting(source, target):
        nonlocal writes
        writes += 1
        if writes in last:
            if last[writes]:
                replace(source, target)
            raise Killed
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", counting)
    monkeypatch.setattr(activity.Activity, "_beat", lambda self: None)
    path = tmp_path / "run"
    command = [*arguments, f"hydra.run.dir={path}"]
    for after, done in ((9, False), (40, True), (41, False), (60, True), (30, False), (12, True)):
        last, writes = {after: done}, 0
        with pytest.raises((Killed, SystemExit)):
            main(command)
        command = [f"resume={path}", "trust=[tests]"]
    last = {}
    assert run(*command) == 0
    same(path, whole)


def test_a_torn_checkpoint_is_replaced_by_the_one_before(undisturbed, tmp_path):
    arguments, whole = undisturbed
    path = killed(arguments, tmp_path / "run", epochs=9)
    last = path / "checkpoints" / "last.pt"
    whole_bytes = last.read_bytes()
    last.unlink()
    last.write_bytes(whole_bytes[: len(whole_bytes) // 2])
    assert run(f"resume={path}", "trust=[tests]") == 0
    note = RunDirectory(path).meta["resumed"][0]["notes"][0]
    assert "last.pt' cannot be read" in note and note.endswith("the checkpoint before it is used")
    same(path, whole)


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

    def test_a_live_run_is_refused(self, tmp_path, capsys):
        process = started(
            [*VAE, "training.epochs=4000", "training.patience=null"], tmp_path / "run", epochs=1
        )
        try:
            assert run(f"resume={tmp_path / 'run'}") == 2
            assert (
                f"is in use by another process (process {process.pid} on {os.uname().nodename})"
                in capsys.readouterr().err
            )
        finally:
            process.terminate()
            process.wait()

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

    def test_a_run_without_its_training_is_not_measured(self, finished, tmp_path, capsys):
        process = started(
            [*VAE, "training.epochs=4000", "training.patience=null"], tmp_path / "run", epochs=2
        )
        process.terminate()
        process.wait()
        assert run("task=diagnose", f"run={tmp_path / 'run'}") == 2
        assert (
            "its training is not finished (state 'interrupted'); latentrun resume=" in capsys.readouterr().err
        )


def test_what_has_changed_since_is_said(tmp_path, monkeypatch):
    path = killed(VAE, tmp_path / "run", epochs=3)
    meta = json.loads((path / "meta.json").read_text())
    meta |= {
        "fit_hash": "0" * 16,
        "data_hash": "0" * 16,
        "threads": 1,
        "versions": meta["versions"] | {"torch": "1.0"},
    }
    (path / "meta.json").write_text(json.dumps(meta))
    assert run(f"resume={path}") == 0
    notes = RunDirectory(path).meta["resumed"][0]["notes"]
    assert [note.split(" ")[0:2] for note in notes] == [["the", "code"], ["the", "data"], ["torch", "is"]]
    assert "the data are not those the run began with" in (path / "run.log").read_text()


def test_threads_are_those_of_the_run(tmp_path):
    path = killed([*VAE, "threads=2"], tmp_path / "run", epochs=3)
    before = torch.get_num_threads()
    try:
        assert run(f"resume={path}") == 0
        assert torch.get_num_threads() == 2 and RunDirectory(path).meta["resumed"][0]["notes"] == []
    finally:
        torch.set_num_threads(before)


def test_a_checkpoint_that_declares_terabytes_is_refused(tmp_path):
    path = tmp_path / "checkpoints" / "last.pt"
    path.parent.mkdir()
    (tmp_path / "meta.json").write_text('{"schema": 2}')
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

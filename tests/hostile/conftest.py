"""The good directories that are spoiled, made once, and what carries a task out on one that was."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from latentrun import cli
from latentrun.command.command import command_of
from latentrun.command.compose import compose
from latentrun.command.values import settings_of
from latentrun.store import RunDirectory
from latentrun.sweep.plan import Job, Sweep
from tests.hostile.builder import JOB
from tests.hostile.spoil import OUTSIDE, gone
from tests.lines import code_of

TINY = ["debug=quick", "data=digits", "network=dense", "network.widths=[8]", "rows=64", "model.latent_dim=2"]
BOUND = 10  # seconds that a task may take
TASKS = {  # the command line of every task on the directory {bad}; {good} is a run that nobody spoiled
    "resume": ["resume={bad}"],
    "diagnose": ["task=diagnose", "run={bad}", "diagnostic=[reconstruction]"],
    "prune": ["task=prune", "run={bad}", "keep=[0]"],
    "encode": ["task=encode", "run={bad}"],
    "sample": ["task=sample", "run={bad}", "n=4"],
    "compare": ["task=compare", "runs=[{bad},{good}]", "comparison=[metrics]"],
    "report": ["task=report", "runs={bad}"],
}


@dataclass(frozen=True)
class Answer:
    """What came of a task: its exit code, what it said, the lines to standard error, what it changed of the
    spoiled directory and whether it left anything where it was to write."""

    code: int
    out: str
    errors: list[str]
    changed: list[str]
    left: list[str]


class Hangs(BaseException):
    """A task takes longer than it may."""


@contextmanager
def bounded() -> Iterator[None]:
    """Not longer than 10 s."""

    def stop(*_: Any) -> None:
        raise Hangs

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(BOUND)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, Any]:
    """Kind, size and bytes of everything in a folder; of links where they lead."""
    entries: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        plain = path.is_file() and not path.is_symlink() and status.st_size < 2**24
        content = path.read_bytes() if plain else path.readlink() if path.is_symlink() else status.st_size
        entries[str(path.relative_to(folder))] = (status.st_mode, content)
    return entries


@dataclass(frozen=True)
class Kit:
    """A run, an unfinished one, a sweep and a comparison that are good, and a folder for spoiled copies;
    ``job`` and ``data_hash``: what task=claims would look for the run by."""

    run: Path
    stopped: Path
    sweep: Path
    comparison: Path
    job: Job
    data_hash: str
    commands: dict[str, Any]
    place: Path

    def spoiled(self, what: str, spoil: Any) -> Path:
        """A fresh copy of a good directory, spoiled, beside what nothing may touch."""
        for name in ("bad", "out", OUTSIDE):
            gone(self.place / name)
        (self.place / OUTSIDE / "folder").mkdir(parents=True)
        (self.place / OUTSIDE / "file.txt").write_text("mine\n")
        (self.place / OUTSIDE / "folder" / "a.csv").write_text("mine\n")
        shutil.copytree(getattr(self, what), self.place / "bad")
        spoil(self.place / "bad")
        return self.place / "bad"

    def answer(self, name: str, bad: Path, capsys: Any, monkeypatch: Any) -> Answer:
        """What comes of a task on a spoiled directory; nothing outside may have changed."""
        task, command = self.commands[name]
        before, outside = snapshot(bad), snapshot(self.place / OUTSIDE)
        command = replace(command, path=self.place / "out")
        monkeypatch.setattr(cli, "command", lambda argv: task.run(command))
        capsys.readouterr()
        with bounded():
            code = code_of([])
        said = capsys.readouterr()
        assert snapshot(self.place / OUTSIDE) == outside, "written outside"
        after = snapshot(bad)
        changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        left = [path.name for path in self.place.glob("out/*")] + [
            path.name for path in self.place.glob(".*")
        ]
        return Answer(code, said.out, said.err.splitlines(), sorted(changed), left)


@pytest.fixture(scope="session")
def kit(tmp_path_factory) -> Kit:
    """Everything that is spoiled, and the tasks, composed once."""
    root = tmp_path_factory.mktemp("hostile")
    place = root / "place"
    place.mkdir()
    arguments = [*TINY, "model=ae", "diagnostic=[reconstruction]", f"hydra.run.dir={root / 'run'}"]
    assert code_of(arguments) == 0
    shutil.rmtree(root / "run" / "tensorboard")  # as much again, and never read
    (root / "run" / "tensorboard").mkdir()
    shutil.copytree(root / "run", root / "stopped")
    (root / "stopped" / "status.json").write_text(json.dumps({"state": "interrupted", "pid": 1, "host": "a"}))
    directory = RunDirectory(root / "run")
    about = {key: directory.meta[key] for key in ("choices", "overrides", "default_list")}
    sweep = Sweep.create(
        root / "sweep", {"launcher": "process", "sweeper": "basic", "swept": ["seed"], "argv": []}
    )
    configs = [directory.config, directory.config | {"seed": 1}]
    sweep.add([Job(i, f"{i}_seed={i}", (f"seed={i}",), config, about) for i, config in enumerate(configs)])
    shutil.copytree(root / "run", root / "sweep" / JOB)
    (root / "sweep" / "logs").mkdir()
    (root / "sweep" / "logs" / "0.txt").write_text("it trained\n")
    (root / "sweep" / "plots").mkdir()
    commands = {}
    for name, texts in TASKS.items():
        overrides = [text.format(bad=place / "bad", good=root / "run") for text in texts]
        cfg = compose(overrides, [])
        commands[name] = command_of(settings_of(cfg), cfg.hydra, place / "out")
    kit = Kit(
        run=root / "run",
        stopped=root / "stopped",
        sweep=root / "sweep",
        comparison=root / "comparison",
        job=sweep.job(0),
        data_hash=directory.meta["data_hash"],
        commands=commands,
        place=place,
    )
    shutil.copytree(root / "run", place / "bad")
    task, command = commands["compare"]
    assert task.run(replace(command, path=kit.comparison)) == 0
    return kit

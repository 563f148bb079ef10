"""A small trained run and an interrupted one, of which every case harms a copy."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from latentrun.training.recorder import Recorder
from tests.lines import run

SMALL = [
    "data=table",
    "data.file=homes.csv",
    "network.widths=[8]",
    "model.latent_dim=2",
    "training.epochs=4",
    "training.batch_size=32",
    "diagnostic=[stationarity]",
    "figures=[]",
    "threads=1",
]


def one_line(capsys) -> str:
    """What a refused command said: one line on stderr."""
    error = capsys.readouterr().err
    assert error.startswith("latentrun: ") and error.count("\n") == 1, error
    return error


def write_homes(folder: Path) -> None:
    """``homes.csv``: 120 rows of three numbers and a category."""
    numbers = np.random.default_rng(0).normal(size=(120, 3)).round(4)
    heating = ["gas", "oil", "wood"] * 40
    lines = [
        "a,b,c,heating",
        *(f"{x},{y},{z},{name}" for (x, y, z), name in zip(numbers, heating, strict=True)),
    ]
    (folder / "homes.csv").write_text("\n".join(lines) + "\n")


def trained(folder: Path) -> None:
    """In ``folder`` the data, ``done``, and ``stopped`` after the third epoch."""
    write_homes(folder)
    step = Recorder.step

    def stopping(self, number):
        if number == 8:  # of three steps an epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, number)

    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        assert run(*SMALL, "hydra.run.dir=done") == 0
        patch.setattr(Recorder, "step", stopping)
        assert run(*SMALL, "hydra.run.dir=stopped") == 143


@dataclass(frozen=True)
class Bench:
    """A folder with copies of the data and of both runs, in which one works."""

    folder: Path

    @property
    def done(self) -> Path:
        return self.folder / "done"

    @property
    def stopped(self) -> Path:
        return self.folder / "stopped"

    def files(self) -> dict[str, bytes]:
        """All that is in the folder, but for locks."""
        every = (path for path in self.folder.rglob("*") if path.is_file() and path.suffix != ".lock")
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in every}


def copied(source: Path, target: Path) -> Bench:
    shutil.copytree(source, target, dirs_exist_ok=True)
    return Bench(target)

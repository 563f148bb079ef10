"""The launchers of other packages do what Hydra's own does, job by job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.launchers.parts import TINY, command, environment, require, run

pytestmark = pytest.mark.slow
SWEEP = [
    "-m",
    *TINY,
    "diagnostic=[stationarity]",
    "model.latent_dim=2,3",
    "training.optimizer.lr=0.001,1e30",
]  # 1e30 explodes
ENGINES = {
    "joblib": "hydra_joblib_launcher",
    "submitit_local": "hydra_submitit_launcher",
    "ray": "hydra_ray_launcher",
}
OWN = {"ray": ["+hydra.launcher.ray.init.num_cpus=2"]}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The sweep by Hydra's basic launcher."""
    path = tmp_path_factory.mktemp("sweep") / "basic"
    done = run(*SWEEP, "hydra/launcher=basic", f"hydra.sweep.dir={path}")
    assert done.returncode == 1, done.stderr
    return path


def files(path: Path, name: str) -> dict[str, bytes]:
    return {str(found.relative_to(path)): found.read_bytes() for found in path.glob(f"*/tables/{name}")}


def test_hydras_basic_launcher_goes_on_after_a_job_that_fails(reference):
    table = pd.read_csv(reference / "sweep.csv")
    assert list(table["state"]) == ["done", "failed", "done", "failed"]
    failed = pd.read_csv(reference / "failures.csv")
    assert list(failed["job"]) == [1, 3] and failed["reason"].str.contains("nan after epoch 1").all()
    assert len(files(reference, "metrics.csv")) == 2 and (reference / "report.html").is_file()


@pytest.mark.parametrize("launcher", ENGINES)
def test_a_launcher_gives_the_tables_of_the_basic_one(launcher, reference, tmp_path):
    require(ENGINES[launcher])
    path = tmp_path / launcher
    done = run(*SWEEP, f"hydra/launcher={launcher}", *OWN.get(launcher, []), f"hydra.sweep.dir={path}")
    assert done.returncode == 1 and "2 done, 2 failed" in done.stdout, done.stdout + done.stderr
    assert files(path, "metrics.csv") == files(reference, "metrics.csv")
    for name in ("plan.csv", "sweep.csv", "sweep_by_seed.csv", "failures.csv"):
        assert (path / name).read_text() == (reference / name).read_text(), name


def test_a_preempted_job_is_put_into_the_queue_again_and_goes_on(tmp_path):
    require("hydra_submitit_launcher")
    path, arguments = tmp_path / "sweep", [*TINY[:-1], "diagnostic=[stationarity]", "training.epochs=200"]
    undisturbed = run(*arguments, "model.latent_dim=2", f"hydra.run.dir={tmp_path / 'undisturbed'}")
    assert undisturbed.returncode == 0, undisturbed.stderr
    options = [
        "-m",
        *arguments,
        "model.latent_dim=2,3",
        "hydra/launcher=submitit_local",
        f"hydra.sweep.dir={path}",
    ]
    sweep = subprocess.Popen(command(*options), env=environment(), stdout=subprocess.PIPE, text=True)
    job, deadline = path / "0_model.latent_dim=2", time.monotonic() + 120
    while not (table := job / "tables" / "train.csv").is_file() or table.read_text().count("\n") < 5:
        assert time.monotonic() < deadline and sweep.poll() is None
        time.sleep(0.01)
    os.kill(
        json.loads((job / "status.json").read_text())["pid"], signal.SIGUSR2
    )  # as SLURM before it takes the machine away
    said, _ = sweep.communicate(timeout=240)
    assert sweep.returncode == 0 and "2 done" in said
    (resumed,) = json.loads((job / "meta.json").read_text())["resumed"]
    assert resumed["from"].startswith("after epoch ") and resumed["notes"] == []
    for name in ("train.csv", "metrics.csv"):
        assert (job / "tables" / name).read_bytes() == (
            tmp_path / "undisturbed" / "tables" / name
        ).read_bytes()

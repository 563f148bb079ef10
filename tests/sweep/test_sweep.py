"""A sweep's jobs are processes of their own: what becomes of one touches no other, and what is missing can be
made up for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from latentrun.errors import InputError
from latentrun.store import RunDirectory
from latentrun.sweep.engine import Launch, slots
from latentrun.sweep.plan import Job, Sweep
from tests.lines import run
from tests.processes import started
from tests.test_resume import same

TINY = [
    "data=points",
    "model=stumbling",
    "rows=64",
    "training.batch_size=16",
    "diagnostic=[reconstruction]",
    "threads=1",
    "figures=[]",
]


BOTH = """# @package _global_
# Both models
defaults:
  - override /data: manifold
  - override /network: dense
  - override /diagnostic: [reconstruction, samples]
  - override /comparison: [metrics]
rows: 64
network: {widths: [8]}
training: {epochs: 1}
diagnostic: {samples: {k: 3, n: 100}}
hydra: {sweeper: {params: {model: "vae,ae"}}}
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """A folder of options with toys of the tests."""
    folder = tmp_path_factory.mktemp("options")
    for name, values in {
        "model/stumbling": {"_target_": "toys.Stumbling", "stone": "none"},
        "data/points": {"_target_": "toys.Points", "n": 200},
    }.items():
        path = folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(values))
    return folder


def sweep(toys: Path, path: Path, *arguments: str) -> list[str]:
    return ["-m", "--config-dir", str(toys), *TINY, *arguments, f"hydra.sweep.dir={path}"]


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def trained(directory: Path, epochs: int) -> bool:
    table = directory / "tables" / "train.csv"
    return table.exists() and table.read_text().count("\n") > epochs


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


@pytest.fixture(scope="module")
def stone(tmp_path_factory):
    return tmp_path_factory.mktemp("stones") / "stone"


@pytest.fixture(scope="module")
def undisturbed(toys, stone, tmp_path_factory):
    """Four jobs that nothing happens to."""
    path = tmp_path_factory.mktemp("sweeps") / "whole"
    assert run(*sweep(toys, path, "training.epochs=40", f"model.stone={stone},nothing", "seed=0,1")) == 0
    return path


def test_the_plan_names_every_job(undisturbed, stone):
    planned = Sweep(undisturbed)
    table = planned.table()
    assert list(table["job"]) == [0, 1, 2, 3] and not table["skipped"].any()
    assert list(table["overrides"]) == [
        f"model.stone={s} seed={i}" for s in (stone, "nothing") for i in (0, 1)
    ]
    assert all(
        table["directory"].str.contains("seed=") & ~table["directory"].str.contains("epochs")
    )  # only what is swept
    assert planned.meta["swept"] == ["model.stone", "seed"]
    for job in planned.jobs():
        directory = RunDirectory(planned.directory(job))
        assert directory.finished and directory.meta["fit_hash"] == planned.hashes()[job.number]
        assert directory.config["seed"] == job.config["seed"]


def test_a_killed_and_a_failing_job_take_no_other_along_and_can_be_made_up_for(
    toys, stone, undisturbed, tmp_path, capsys
):
    path, shown = tmp_path / "sweep", tmp_path / "shown.txt"
    arguments = sweep(
        toys,
        path,
        "training.epochs=40",
        f"model.stone={stone},nothing",
        "seed=0,1",
        "hydra.launcher.n_jobs=4",
    )
    stone.touch()
    try:
        process = started(arguments, shown)
        victim = path / [p.name for p in sorted(undisturbed.glob("2_*"))][0]
        until(lambda: trained(victim, 2) or not process.is_alive())
        os.kill(RunDirectory(victim).status["pid"], signal.SIGKILL)
        process.join(timeout=120)
        assert process.exitcode == 1
    finally:
        stone.unlink()
    said = shown.read_text()
    assert (
        "1 done, 3 failed" in said
        and "killed by SIGKILL" in said
        and said.count("OSError: stumbled over stone") == 4
    )
    failures = pd.read_csv(path / "failures.csv")
    assert sorted(failures["job"]) == [0, 1, 2]
    assert run(f"resume={path}", "trust=[toys]") == 0
    assert "3 done, 0 failed" in capsys.readouterr().out
    for job in Sweep(path).jobs():
        same(path / job.name, undisturbed / job.name)
    assert not len(pd.read_csv(path / "failures.csv"))
    for name in ("sweep.csv", "sweep_by_seed.csv"):
        assert (path / name).read_bytes() == (undisturbed / name).read_bytes()
    assert run(f"resume={path}", "trust=[toys]") == 0
    assert "is finished: nothing to resume" in capsys.readouterr().out


def test_nothing_outlives_a_killed_parent(toys, undisturbed, tmp_path):
    path = tmp_path / "sweep"
    arguments = sweep(
        toys, path, "training.epochs=4000", "training.patience=null", "seed=0,1", "hydra.launcher.n_jobs=2"
    )
    process = started(arguments, tmp_path / "shown.txt")
    until(lambda: not process.is_alive() or len([d for d in path.glob("[01]_*") if trained(d, 3)]) == 2)
    jobs = [RunDirectory(d).status["pid"] for d in path.glob("[01]_*")]
    assert all(alive(pid) for pid in jobs)
    process.kill()
    process.join()
    until(lambda: not any(alive(pid) for pid in jobs), 20)
    for directory in path.glob("[01]_*"):  # they ended in order
        assert RunDirectory(directory).status["state"] == "interrupted"


def test_a_stopped_sweep_stops_its_jobs_with_checkpoints(toys, tmp_path):
    path = tmp_path / "sweep"
    arguments = sweep(
        toys, path, "training.epochs=4000", "training.patience=null", "seed=0,1,2", "hydra.launcher.n_jobs=2"
    )
    process = started(arguments, tmp_path / "shown.txt")
    until(lambda: not process.is_alive() or len([d for d in path.glob("[01]_*") if trained(d, 3)]) == 2)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 130
    assert f"to go on: latentrun resume={path}" in (tmp_path / "shown.txt").read_text()
    for directory in path.glob("[01]_*"):
        assert (
            RunDirectory(directory).status["state"] == "interrupted"
            and (directory / "checkpoints" / "last.pt").exists()
        )
    assert not list(path.glob("2_*"))
    assert list(pd.read_csv(path / "sweep.csv")["state"]) == ["interrupted", "interrupted", "missing"]


@pytest.mark.parametrize(
    "launcher, stones, states",
    [
        ("hydra.launcher.max_failures=1", "STONE,a,b", ["failed", "missing", "missing"]),
        ("hydra.launcher.fail_fast=true", "STONE,a,b", ["failed", "missing", "missing"]),
        ("hydra.launcher.timeout=6", "a,STONE", ["interrupted", "failed"]),
    ],
)
def test_limits(launcher, stones, states, toys, stone, tmp_path, capsys):
    path = tmp_path / "sweep"
    stone.touch()
    try:
        epochs = "4000" if "timeout" in launcher else "3"
        settings = [
            f"training.epochs={epochs}",
            "training.patience=null",
            "hydra.launcher.n_jobs=1",
            launcher,
        ]
        assert run(*sweep(toys, path, *settings, f"model.stone={stones.replace('STONE', str(stone))}")) == 1
    finally:
        stone.unlink()
    assert list(pd.read_csv(path / "sweep.csv")["state"]) == states
    assert ("took longer than 6.0 s: stopped by SIGTERM" in capsys.readouterr().out) == (
        "timeout" in launcher
    )


WRONG = [
    ("model.latent_dim=1,2,0", "job 2 (model.latent_dim=0): model.latent_dim: must be at least 1, got 0"),
    ("seed=0,1,x", "job 2 (seed=x): seed: must be a whole number, got 'x'"),
    ("data=digits,table data.file=x.csv", "key of data 'file'"),
    (
        "diagnostic=[sparsity] model=vae,ae",
        "1 of 2 jobs do not fit together (skip_inapplicable=true leaves them out): job 1 (model=ae): "
        "diagnostic",
    ),
    ("seed=0,1 hydra.launcher.n_jobs=0", "hydra.launcher.n_jobs: must be at least 1, got 0"),
    ("seed=0,1 hydra.launcher.jobs=2", "'jobs'"),
    ("seed=0,1 hydra.launcher.timeout=-1", "hydra.launcher.timeout: must be more than 0"),
]


@pytest.mark.parametrize("line, said", WRONG, ids=[line for line, _ in WRONG])
def test_what_is_wrong_with_one_job_is_said_before_any_starts(line, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("-m", *line.split()) == 2
    shown = capsys.readouterr()
    assert said in shown.err and shown.err.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_left_out_where_that_is_allowed(toys, tmp_path):
    path = tmp_path / "sweep"
    tiny = [
        "rows=64",
        "training.epochs=1",
        "skip_inapplicable=true",
        "diagnostic=[]",
        "figures=[]",
        f"hydra.sweep.dir={path}",
    ]
    assert (
        run(
            "-m",
            "--config-dir",
            toys,
            *tiny,
            "data=digits,points",
            "network=conv",
            "network.channels=[4]",
            "network.strides=[1]",
        )
        == 0
    )
    table = Sweep(path).table()
    assert table["skipped"][0] == "" and "network conv needs pictures" in table["skipped"][1]
    assert list(pd.read_csv(path / "sweep.csv")["state"]) == ["done", "skipped"]


def test_a_sweep_goes_on_with_its_plan_whatever_became_of_the_options(toys, stone, tmp_path, capsys):
    import shutil

    mine = tmp_path / "options"
    shutil.copytree(toys, mine)
    path = tmp_path / "sweep"
    stone.touch()
    assert run(*sweep(mine, path, "training.epochs=2", f"model.stone={stone},a")) == 1
    stone.unlink()
    (mine / "data" / "points.yaml").write_text("_target_: toys.Points\nn: 77\n")
    assert run(f"resume={path}", "trust=[toys]") == 0
    assert f"the options in {mine} have changed since the sweep began" in capsys.readouterr().out
    assert [RunDirectory(d).config["data"]["n"] for d in sorted(path.glob("[01]_*"))] == [200, 200]


def test_places_for_jobs(monkeypatch):
    import torch

    jobs = [Job(i, str(i), (), {"device": "auto", "threads": None}, {}) for i in range(8)]
    launch = {"n_jobs": "auto", "gpus": "auto", "timeout": None, "fail_fast": False, "max_failures": None}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [s.threads for s in slots(Launch(**launch), jobs)] == [1] * 6
    assert [s.threads for s in slots(Launch(**launch | {"n_jobs": 2}), jobs)] == [3, 3]
    assert len(slots(Launch(**launch), jobs[:2])) == 2
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [s.device for s in slots(Launch(**launch), jobs)] == ["cuda:0", "cuda:1"]
    assert [s.device for s in slots(Launch(**launch | {"gpus": [0, 0, 1]}), jobs)] == [
        "cuda:0",
        "cuda:0",
        "cuda:1",
    ]
    assert {s.device for s in slots(Launch(**launch | {"gpus": []}), jobs)} == {None}


def test_a_sweep_is_never_overwritten_nor_carried_out_twice(undisturbed, toys, capsys):
    assert run(*sweep(toys, undisturbed, "seed=0,1")) == 2
    assert "is not empty; nothing is overwritten" in capsys.readouterr().err
    planned = Sweep(undisturbed)
    with (
        planned.locked(),
        pytest.raises(InputError, match="another process is carrying out this sweep"),
        Sweep(undisturbed).locked(),
    ):
        pass


def test_an_experiment_says_what_is_swept_and_compared(tmp_path, capsys):
    options = tmp_path / "options" / "experiment"
    options.mkdir(parents=True)
    (options / "both.yaml").write_text(BOTH)
    path, tiny = (
        tmp_path / "sweep",
        ["--config-dir", options.parent, "experiment=both", "hydra.launcher.n_jobs=1", "figures=[]"],
    )
    assert run("-m", *tiny, "seed=0,1", "diagnostic=[reconstruction]", f"hydra.sweep.dir={path}") == 0
    planned = Sweep(path)
    assert planned.meta["swept"] == ["model", "seed"]
    assert list(planned.table()["directory"]) == [
        f"{2 * i + s}_model={m}_seed={s}" for i, m in enumerate(("vae", "ae")) for s in (0, 1)
    ]
    assert [job.config["model"]["_target_"].rpartition(".")[2] for job in planned.jobs()] == [
        "VAE",
        "VAE",
        "AE",
        "AE",
    ]
    assert all(
        list(job.config["diagnostic"]) == ["reconstruction"] for job in planned.jobs()
    )  # no values of samples are left
    assert "model=ae" in (path / "comparisons" / "tables" / "metrics.csv").read_text()
    capsys.readouterr()
    assert run(*tiny, f"hydra.run.dir={tmp_path / 'one'}") == 2
    assert "an option chosen sweeps this: add -m, or choose one value: model=vae" in capsys.readouterr().err
    # one run, and nothing to compare it with
    assert run(*tiny, "model=vae", f"hydra.run.dir={tmp_path / 'one'}") == 0
    config = RunDirectory(tmp_path / "one").config
    assert (
        config["model"]["_target_"].endswith("VAE")
        and config["comparison"] == {}
        and config["diagnostic"]["samples"]["k"] == 3
    )


def test_jobs_share_the_data_that_a_check_has_to_read(monkeypatch):
    from latentrun.cli import compose
    from latentrun.command.jobs import jobs_of
    from latentrun.data.digits import Digits
    from latentrun.tasks.assembly import assembled

    read, load = [], Digits._load
    monkeypatch.setattr(Digits, "_load", lambda self: read.append(self) or load(self))
    overrides = ["data=digits", "network=dense", "diagnostic=[traversal]", "seed=0,1,2", "rows=null,500"]
    compose(overrides, [], sweep=True)
    shared, jobs = {}, jobs_of(overrides, [])
    for job in jobs:
        assembled(dict(job.config), job.about["choices"], False, shared)
    assert len(jobs) == 6 and len(shared) == 2 and not read  # a check that names no row reads none
    named = {**jobs[0].config["diagnostic"]["traversal"], "rows": [[2, 99999]]}
    for number in range(3):
        config = {**jobs[2 * number].config, "diagnostic": {"traversal": named}}
        with pytest.raises(InputError, match="row 99999 is not in the test split"):
            assembled(config, jobs[0].about["choices"], False, shared)
    assert len(read) == 1


def test_a_sweep_compares_its_runs_at_the_end(tmp_path):
    path = tmp_path / "sweep"
    tiny = [
        "data=manifold",
        "network=dense",
        "network.widths=[8]",
        "rows=64",
        "training.epochs=1",
        "diagnostic=[reconstruction]",
        "figures=[]",
    ]
    assert (
        run("-m", *tiny, "model.latent_dim=1,2", "comparison=[config_diff]", f"hydra.sweep.dir={path}") == 0
    )
    keys = pd.read_csv(path / "comparisons" / "tables" / "config_diff.settings.csv")
    assert "model.latent_dim" in keys.iloc[:, 0].tolist()
    assert (path / "comparisons" / "report.html").is_file()

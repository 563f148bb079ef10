"""A package of one's own, from outside: found, trusted where its owner wrote it down, refused where a
stranger did."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import latentrun
from latentrun.config.fingerprint import fingerprint
from latentrun.config.options import extra, packages
from latentrun.errors import InputError
from tests.lines import arrays, run

HERE = Path(__file__).parent
CONF = HERE / "ellipsoids" / "conf"
MINE = ["data=ellipsoid", "model=pca", "diagnostic=[axes]", "training.epochs=1", "training.optimizer.lr=1e-6"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run made of nothing but one's own."""
    path = tmp_path_factory.mktemp("own") / "run"
    assert run("--config-dir", CONF, *MINE, f"hydra.run.dir={path}") == 0
    return path


def test_the_example_finds_what_is_there(finished):
    """PCA finds the wide axes, and leaves two of half width 0.1: 2 x 0.1²/3 over 5 dimensions."""
    metrics = pd.read_csv(finished / "tables" / "metrics.csv").set_index("metric")
    assert metrics.loc["weakest", "value"] > 0.99 and metrics.loc["weakest", "diagnostic"] == "axes"
    train = pd.read_csv(finished / "tables" / "train.csv")
    assert train["val/monitor"].iloc[0] == pytest.approx(2 * 0.1**2 / 3, rel=0.15)
    assert (finished / "plots" / "axes.bars.png").is_file() and '<section id="axes">' in (
        finished / "report.html"
    ).read_text()
    assert yaml.safe_load((finished / ".hydra" / "config.yaml").read_text())["trust"] == ["ellipsoids"]


@pytest.mark.parametrize("way", ["file", "package", "environment"])
def test_every_way_to_the_folder(way, capsys, monkeypatch):
    if way == "environment":
        monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(CONF))
    flags = {
        "file": [f"hydra.searchpath=[file://{CONF}]"],
        "package": ["hydra.searchpath=[pkg://ellipsoids.conf]"],
    }.get(way, [])
    assert run(*flags, "--cfg", "job", "model=pca") == 0
    assert "_target_: ellipsoids.model.PCA" in capsys.readouterr().out
    run(*flags, "--help")
    assert (
        "  pca               Linear autoencoder that starts at the principal components\n"
        in capsys.readouterr().out
    )
    assert run(*flags, "model=pac") == 2
    error = capsys.readouterr().err
    assert "unknown model 'pac' (did you mean 'pca'?); known: " in error and ", pca, " in error


def test_folders_from_all_ways_come_together(tmp_path, monkeypatch, capsys):
    for name in ("one", "two", "three"):
        (tmp_path / name / "debug").mkdir(parents=True)
        (tmp_path / name / "debug" / f"{name}.yaml").write_text(f"# @package _global_\n# {name}\nrows: 7\n")
    monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(tmp_path / "three"))
    assert run("--config-dir", tmp_path / "one", f"hydra.searchpath=[{tmp_path / 'two'}]", "debug=four") == 2
    assert "known: null, one, overfit, quick, three, two" in capsys.readouterr().err
    for name in ("one", "two", "three"):
        assert (
            run(
                "--config-dir",
                tmp_path / "one",
                f"hydra.searchpath=[{tmp_path / 'two'}]",
                f"debug={name}",
                "--cfg=job",
            )
            == 0
        )
        assert "rows: 7" in capsys.readouterr().out


def test_reading_back_needs_trust(finished, tmp_path, capsys):
    path = shutil.copytree(finished, tmp_path / "run")
    line = ["--config-dir", CONF, "task=diagnose", f"run={path}", "diagnostic=[axes,latents]"]
    assert run(*line) == 2  # the folder is the user's own, what the run names may not be
    error = capsys.readouterr().err
    assert "'ellipsoids.data.Ellipsoid' is in package 'ellipsoids', which is not trusted" in error
    assert "add 'trust=[ellipsoids]' if you know it" in error
    assert run(*line, "trust=[ellipsoids]") == 0
    assert set(pd.read_csv(path / "tables" / "metrics.csv")["diagnostic"]) == {"axes", "latents"}
    with pytest.raises(InputError, match="not trusted"):
        latentrun.load(path)
    loaded = latentrun.load(path, trust=["ellipsoids"])
    codes = loaded.latents("test")
    assert np.allclose(codes.codes.numpy(), arrays(path / "arrays" / "latents_test.npz")["codes"], atol=1e-6)


def test_a_diagnostic_of_ones_own_measures_a_run_of_ours_without_more(tmp_path):
    tiny = [
        "data=digits",
        "model=ae",
        "network=dense",
        "network.widths=[8]",
        "debug=quick",
        "rows=32",
        "diagnostic=[]",
        "figures=[]",
    ]
    assert run(*tiny, f"hydra.run.dir={tmp_path / 'run'}") == 0
    line = ["task=diagnose", f"run={tmp_path / 'run'}", "diagnostic=[axes]", "figures=[]"]
    assert run("--config-dir", CONF, *line) == 0
    assert "axes" in set(pd.read_csv(tmp_path / "run" / "tables" / "metrics.csv")["diagnostic"])


# ---------------------------------------------------------------- a task of one's own
NORMS = ["--config-dir", CONF, "task=norms"]


def test_a_task_of_ones_own_takes_its_keys_and_writes_what_it_says(finished, tmp_path, capsys):
    out = tmp_path / "out"
    line = [*NORMS, f"run={finished}", "trust=[ellipsoids]", f"hydra.run.dir={out}"]
    assert run(*line) == 0
    assert f"100 norms in {out}" in capsys.readouterr().out
    table, stored = pd.read_csv(out / "norms.csv"), arrays(finished / "arrays" / "latents_test.npz")
    assert list(table["index"]) == list(stored["index"])
    assert np.allclose(table["norm"], np.linalg.norm(stored["codes"], axis=1), atol=1e-6)
    assert run(*line) == 2 and "is not empty; nothing is overwritten" in capsys.readouterr().err
    assert run(*line[:-1], "split=val", f"hydra.run.dir={tmp_path / 'val'}") == 0
    assert len(pd.read_csv(tmp_path / "val" / "norms.csv")) == 40


def test_a_task_of_ones_own_is_listed_named_by_day_and_swept(finished, tmp_path, monkeypatch, capsys):
    run("--config-dir", CONF, "--help")
    assert "  norms             The norm of each code of a trained run: run=DIR\n" in capsys.readouterr().out
    line = [*NORMS, f"run={finished}", "trust=[ellipsoids]"]
    assert run(*line, f"output={tmp_path}") == 0
    assert len(list(tmp_path.glob("????-??-??/??-??-??-??????_norms/norms.csv"))) == 1
    monkeypatch.setattr(sys, "argv", ["latentrun"])
    assert run("-m", *line, "split=train,val,test", f"hydra.sweep.dir={tmp_path / 'sweep'}") == 0
    lengths = [len(pd.read_csv(path)) for path in sorted((tmp_path / "sweep").glob("*/norms.csv"))]
    assert lengths == [360, 40, 100]


@pytest.mark.parametrize(
    "line, message",
    [
        ("task=norms", "run: a value is needed: run=..."),
        ("task=norms run=", "run: must be a text that is not empty and can be printed, got ''"),
        ("task=norms run={run} split=tset", "split: 'tset' is not allowed (did you mean 'test'?); allowed: "),
        (
            "task=norms run={run} seed=1",
            "seed: the run is used with its own settings; beside run=DIR: output, device, threads, trust, "
            "split",
        ),
        ("task=norms run={run} n=3", "'n=3': n belongs to task=sample"),
        ("task=norms run={run} claim=B1", "claim: belongs to task=claims"),
        ("task=norms run={run}", "is in package 'ellipsoids', which is not trusted"),
        ("task=norm", "unknown task 'norm' (did you mean 'norms'?)"),
        ("task=encode run={run} split=val", "'split=val': split belongs to task=norms"),
        ("task._target_=ellipsoids.model.PCA", "task._target_: 'ellipsoids.model.PCA' is not a Task"),
    ],
)
def test_wrong_keys_of_ones_own_task_get_one_line(line, message, finished, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--config-dir", CONF, *line.replace("{run}", str(finished)).split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_a_sweep_trusts_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["latentrun"])
    assert (
        run(
            "-m",
            "--config-dir",
            CONF,
            *MINE,
            "figures=[]",
            "model.latent_dim=1,2",
            f"hydra.sweep.dir={tmp_path}",
        )
        == 0
    )
    assert len(list(tmp_path.glob("*/report.html"))) == 2


def test_the_command_line_is_not_trusted_by_itself(capsys):
    assert run("model._target_=ellipsoids.model.PCA") == 2
    assert "add 'trust=[ellipsoids]'" in capsys.readouterr().err
    assert run("--config-dir", CONF, "model._target_=os.system") == 2
    assert "is in the standard library, which is not trusted, whatever trust= says" in capsys.readouterr().err


def test_a_file_does_not_make_the_standard_library_or_torch_trusted(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "bad.yaml").write_text(
        "a: {_target_: os.system}\nb: [{_target_: torch.load}, {_target_: good.Model}]\n"
    )
    (tmp_path / "model" / "torn.yaml").write_text("a: [\n")
    assert packages([tmp_path]) == ["good"]


def test_the_hash_of_a_fit_covers_the_whole_package(tmp_path, monkeypatch):
    package = shutil.copytree(HERE / "ellipsoids", tmp_path / "twin")
    monkeypatch.syspath_prepend(tmp_path)
    spec = {"_target_": "twin.model.PCA", "latent_dim": 3}
    before = fingerprint(spec)
    assert fingerprint(spec) == before and fingerprint(spec | {"latent_dim": 2}) != before
    (package / "helper.py").write_text("x = 1\n")
    after = fingerprint(spec)
    assert after != before and "twin" not in sys.modules  # hashed, not imported
    assert fingerprint({"_target_": "nowhere.at.All"}) != fingerprint({"_target_": "nowhere.at.Alas"})


@pytest.mark.parametrize(
    "files, target, message",
    [
        (
            {},
            "gone.Mine",
            "model._target_: there is no package 'gone': it is neither installed nor on PYTHONPATH",
        ),
        ({"p1.py": ""}, "p1.Mine", "model._target_: there is no class 'p1.Mine'"),
        (
            {"p2.py": "class Mien: ..."},
            "p2.Mine",
            "model._target_: there is no class 'p2.Mine' (did you mean 'Mien'?)",
        ),
        ({"p3/__init__.py": ""}, "p3.model.Mine", "model._target_: there is no module 'p3.model'"),
        ({"p4.py": "def Mine(): ..."}, "p4.Mine", "model._target_: 'p4.Mine' is not a Model"),
        ({"p5.py": "from os import system as Mine"}, "p5.Mine", "model._target_: 'p5.Mine' is not a Model"),
        (
            {"p6.py": "\nimport nothing_of_that_name"},
            "p6.Mine",
            "model._target_: 'p6' cannot be imported: ModuleNotFoundError: No module named "
            "'nothing_of_that_name' ({at}/p6.py, line 2)",
        ),
        (
            {"p7.py": "import os\nos.nothing\n"},
            "p7.Mine",
            "model._target_: 'p7' cannot be imported: AttributeError: module 'os' has no attribute "
            "'nothing' ({at}/p7.py, line 2)",
        ),
        (
            {"p8.py": "x = = 3\n"},
            "p8.Mine",
            "model._target_: 'p8' cannot be imported: SyntaxError: invalid syntax ({at}/p8.py, line 1)",
        ),
        (
            {"p9.py": "raise SystemExit(3)\n"},
            "p9.Mine",
            "model._target_: 'p9' cannot be imported: SystemExit: 3 ({at}/p9.py, line 1)",
        ),
        (
            {
                "p10.py": (
                    "from latentrun.models.base import Model\nclass Mine(Model):\n    def "
                    "__init__(self): {}[1]\n"
                )
            },
            "p10.Mine",
            "model: Mine lacks 'decode', 'phases' ({at}/p10.py, line 2)",
        ),
        (
            {
                "p11.py": (
                    "import torch\nfrom latentrun.models.base import Model\nclass Mine(Model):\n"
                    "    def decode(self): ...\n    def phases(self): ...\n    def __init__(self):\n"
                    "        torch.zeros(2) @ torch.zeros(3)\n"
                )
            },
            "p11.Mine",
            "model: Mine cannot be made: RuntimeError: inconsistent tensor size, expected tensor [2] "
            "and src [3] to have the same number "
            "of elements, but got 2 and 3 elements respectively ({at}/p11.py, line 7)",
        ),
    ],
)
def test_what_is_wrong_with_a_package_of_ones_own_is_said_in_one_line(
    files, target, message, tmp_path, monkeypatch, capsys
):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "mine.yaml").write_text(f"# Mine\n_target_: {target}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert run("--config-dir", tmp_path / "conf", "model=mine", "data=digits", "diagnostic=[]") == 2
    error, expected = capsys.readouterr().err, f"latentrun: {message.replace('{at}', str(tmp_path))}\n"
    assert (
        error.startswith(expected.removesuffix("...\n")) if expected.endswith("...\n") else error == expected
    )
    assert error.count("\n") == 1


def test_a_class_that_was_only_imported_belongs_to_where_it_was_written(tmp_path, monkeypatch):
    from latentrun.config.build import resolve
    from latentrun.models.base import Model

    (tmp_path / "borrowed.py").write_text("from ellipsoids.model import PCA\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="is defined in 'ellipsoids.model', which is not trusted"):
        resolve("borrowed.PCA", Model, "model", ["borrowed"])


def test_a_package_is_found_on_the_python_path(tmp_path):
    line = [sys.executable, "-m", "latentrun", "hydra.searchpath=[pkg://ellipsoids.conf]", "model=pac"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean 'pca'" in done.stderr


def test_folders_are_taken_once(monkeypatch):
    monkeypatch.setenv("LATENTRUN_CONFIG_PATH", str(CONF))
    assert extra([str(CONF)], [f"file://{CONF}", "pkg://ellipsoids.conf"]) == [CONF.resolve()]

"""A search by Optuna: what is optimised, its stored study, its trials as a table."""

from __future__ import annotations

import json
import math
from importlib.util import find_spec

import pandas as pd
import pytest

from latentrun.command import compose
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.sweep.study import Search, directions, metrics_named, values
from latentrun.types import Metric
from tests.launchers.parts import TINY, require, run


class Known(Diagnostic):
    """How far?"""

    metrics = {
        "error": Metric("m", better="lower"),
        "score": Metric("1", better="higher"),
        "sum": Metric("1", better="one"),
    }

    def __call__(self, run, noise):
        raise AssertionError

    def plot(self, report):
        raise AssertionError


KNOWN = {"a": Known(), "b": Known()}


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (["a/error"], None, ["minimize"]),
        (["b/score.x"], None, ["maximize"]),
        (["a/error", "b/score"], None, ["minimize", "maximize"]),
        (["a/sum"], "maximize", ["maximize"]),
        (["a/error", "a/score"], ["maximize", "maximize"], ["maximize", "maximize"]),
    ],
)
def test_a_metric_says_itself_what_is_better(names, given, expected):
    assert directions(names, KNOWN, given) == expected


@pytest.mark.parametrize(
    ("names", "given", "said"),
    [
        ([], None, "needs optimized_metric"),
        (["a/eror"], None, "did you mean 'a/error'"),
        (["error"], None, "known: a/error, a/score"),
        (["a/sum"], None, "neither lower nor higher"),
        (["a/error"], ["minimize", "minimize"], "2 for 1"),
    ],
)
def test_a_search_without_an_aim_is_refused(names, given, said):
    with pytest.raises(InputError, match=said):
        directions(names, KNOWN, given)


def test_values_are_those_of_the_summary_and_finite(tmp_path):
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "summary.json").write_text(
        json.dumps({"a/error": 2, "a/score.x": 0.5, "b/error": None})
    )
    assert values(tmp_path, metrics_named(["a/score.x", "a/error"])) == [0.5, 2.0]
    for name, said in (("b/error", "not a finite number"), ("a/score.y", "did you mean 'a/score.x'")):
        with pytest.raises(InputError, match=said):
            values(tmp_path, metrics_named(name))


def test_settings_of_the_search_are_checked():
    good = {
        "n_trials": 3,
        "n_jobs": 1,
        "direction": None,
        "storage": "s",
        "study_name": "n",
        "max_failure_rate": 1.0,
    }
    assert Search.of({**good, "sampler": None}) == Search(**good)
    for key, value in (
        ("n_trials", 0),
        ("n_jobs", 1.5),
        ("direction", "up"),
        ("max_failure_rate", math.nan),
        ("storage", None),
    ):
        with pytest.raises(InputError, match=f"hydra.sweeper.{key}"):
            Search.of(good | {key: value})


@pytest.mark.parametrize(("chosen", "extra"), [(text, extra) for text, (_, extra) in compose.ENGINES.items()])
def test_a_package_that_is_not_installed_is_named(chosen, extra, monkeypatch):
    monkeypatch.setattr(
        compose, "find_spec", lambda name: None if name.startswith("hydra_plugins.") else find_spec(name)
    )
    with pytest.raises(
        InputError, match=rf"{chosen}: hydra-.* is not installed: pip install 'latentrun\[{extra}\]'"
    ):
        compose.compose([chosen], [], sweep=True)


# ---------------------------------------------------------------- through the command
SEARCH = [
    "-m",
    *TINY,
    "diagnostic=[reconstruction]",
    "hydra/sweeper=optuna",
    "optimized_metric=reconstruction/mse",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Three trials, of which the one with the learning rate 1e30 explodes."""
    require("hydra_optuna_sweeper")
    path = tmp_path_factory.mktemp("study") / "first"
    options = [
        "training.optimizer.lr=choice(0.001,1e30,0.003)",
        "hydra/sweeper/sampler=grid",
        "hydra.sweeper.n_trials=3",
    ]
    return run(*SEARCH, *options, f"hydra.sweep.dir={path}"), path


def value_of(run_directory) -> float:
    return json.loads((run_directory / "tables" / "summary.json").read_text())["reconstruction/mse"]


@pytest.mark.slow
def test_failed_trials_are_written_down_and_the_study_goes_on(study):
    done, path = study
    assert done.returncode == 1 and "2 done, 1 failed" in done.stdout, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    trials = pd.read_csv(path / "trials.csv")
    assert list(trials.columns) == [
        "trial",
        "state",
        "reconstruction/mse",
        "training.optimizer.lr",
        "directory",
    ]
    assert list(trials["trial"]) == [0, 1, 2]
    failed = trials["training.optimizer.lr"] == 1e30
    assert list(trials["state"] == "failed") == list(failed) and failed.sum() == 1
    for row in trials[~failed].itertuples():
        assert row.state == "complete" and row[3] == value_of(path / row.directory)
        assert row.directory.startswith(f"{row.trial}_") and f"lr={row[4]}" in row.directory
    assert "trials.reconstruction.mse" in (path / "report.html").read_text()
    assert {each.name for each in (path / "plots").iterdir()} >= {
        "trials.reconstruction.mse.png",
        "trials.reconstruction.mse.searched.png",
    }


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["process", "basic"])
def test_a_stored_study_is_gone_on_with(launcher, study, tmp_path):
    first = study[1]
    stored = tmp_path / "study.db"
    stored.write_bytes((first / "study.db").read_bytes())
    options = [
        "training.optimizer.lr=choice(0.001,1e30,0.003)",
        "hydra/sweeper/sampler=random",
        "hydra.sweeper.n_trials=2",
    ]
    path = tmp_path / "second"
    place = [
        f"hydra.sweeper.storage=sqlite:///{stored}",
        f"hydra.sweep.dir={path}",
        f"hydra/launcher={launcher}",
    ]
    done = run(*SEARCH, *options, *place)
    trials = pd.read_csv(path / "trials.csv")
    assert list(trials["trial"]) == [0, 1, 2, 3, 4], done.stdout + done.stderr
    assert [
        (path / name).resolve().parent for name in trials["directory"][trials["state"] == "complete"]
    ] == [first if number < 3 else path for number in trials["trial"][trials["state"] == "complete"]]
    for row in trials[trials["state"] == "complete"].itertuples():
        assert row[3] == value_of(path / row.directory)
    other = run(
        *SEARCH,
        *options,
        *place[:1],
        f"hydra.sweep.dir={tmp_path / 'third'}",
        "optimized_metric=reconstruction/error_mean",
    )
    assert (
        other.returncode == 2
        and "optimises reconstruction/mse" in other.stderr
        and not (tmp_path / "third").exists()
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("optimized_metric=reconstruction/eror_mean", "did you mean 'reconstruction/error_mean'"),
        ("optimized_metric=null", "needs optimized_metric"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials: must be at least 1"),
        (
            "hydra.sweeper.storage=sqlite:////nowhere/at/all/study.db",
            "hydra.sweeper.storage=sqlite:////nowhere",
        ),
        ("hydra.sweeper.direction=up", "hydra.sweeper.direction"),
    ],
)
def test_a_search_that_cannot_begin_leaves_nothing_behind(wrong, said, tmp_path):
    require("hydra_optuna_sweeper")
    done = run(*SEARCH, "model.latent_dim=range(1,3)", wrong, f"hydra.sweep.dir={tmp_path / 'none'}")
    assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()

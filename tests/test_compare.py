"""task=compare: from finished runs to a directory of their differences."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest

from latentrun.config.trust import Trust
from latentrun.errors import InputError
from latentrun.store import METRIC_COLUMNS, ComparisonDirectory, RunDirectory
from latentrun.tasks.compare import compare, loaded, opened
from tests.lines import run

TINY = ["debug=quick", "data=digits", "network=dense", "network.widths=[8]", "rows=64", "model.latent_dim=2"]
ALL = "comparison=[metrics,config_diff,variance_loss_survey]"


def line(*arguments: str, capsys) -> str:
    """What the command says to wrong input."""
    capsys.readouterr()
    assert run(*arguments) == 2
    (said,) = capsys.readouterr().err.splitlines()
    return said


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An autoencoder and a VAE, both with reconstruction only."""
    root = tmp_path_factory.mktemp("runs")
    for model in ("ae", "vae"):
        assert (
            run(
                *TINY,
                "figures=[]",
                f"model={model}",
                "diagnostic=[reconstruction]",
                f"hydra.run.dir={root / model}",
            )
            == 0
        )
    return root


@pytest.fixture
def runs(trained, tmp_path):
    """A copy of the two runs."""
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def test_a_comparison_measures_what_is_missing_and_tells_all(runs, tmp_path, capsys):
    weights = [(runs / model / "checkpoints" / "best.pt").read_bytes() for model in ("ae", "vae")]
    out = tmp_path / "out"
    assert run("task=compare", f"runs={runs}/*", ALL, "figures=[]", f"hydra.run.dir={out}") == 0
    assert "vae: measuring variance_loss, which the comparison needs" in capsys.readouterr().out
    assert weights == [(runs / model / "checkpoints" / "best.pt").read_bytes() for model in ("ae", "vae")]
    assert {"reconstruction", "variance_loss"} <= RunDirectory(runs / "ae").reports.keys()

    directory = ComparisonDirectory(out)
    assert [(each["name"], each["path"]) for each in directory.meta["runs"]] == [
        ("ae", "../runs/ae"),
        ("vae", "../runs/vae"),
    ]
    assert [each["fit_hash"] for each in directory.meta["runs"]] == [
        RunDirectory(runs / name).meta["fit_hash"] for name in ("ae", "vae")
    ]
    assert list(directory.reports) == ["metrics", "config_diff", "variance_loss_survey"]
    table = directory.read_table("metrics")
    assert tuple(table.columns) == ("comparison", *METRIC_COLUMNS) and (table["status"] == "ok").all()
    assert not (out / "plots").exists() and (out / "arrays").is_dir()
    page = (out / "report.html").read_text()
    assert (
        "Comparison of 2 runs" in page and 'href="../runs/vae/report.html"' in page and "model.beta" in page
    )

    # The differences are those of the runs' own tables, matched by index.
    errors = [
        pd.read_csv(runs / name / "tables" / "reconstruction.errors.csv").set_index("index")["error"]
        for name in ("ae", "vae")
    ]
    examples = pd.read_csv(out / "tables" / "metrics.examples.csv").iloc[0]
    assert examples["difference"] == pytest.approx((errors[1] - errors[0]).mean()) and examples["n"] == 64

    # What is measured already is not measured again.
    again = ["task=compare", f"runs=[{runs}/vae,{runs}/ae]", ALL]
    assert run(*again, f"hydra.run.dir={tmp_path / 'again'}") == 0
    assert "measuring" not in capsys.readouterr().out
    assert (tmp_path / "again" / "plots" / "metrics.differences.png").is_file()
    assert pd.read_csv(tmp_path / "again" / "tables" / "metrics.examples.csv").iloc[0][
        "difference"
    ] == pytest.approx(-examples["difference"])


def test_a_comparison_that_fails_does_not_take_the_others_along(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("planted")

    monkeypatch.setattr("latentrun.comparisons.metrics.shared_metrics", fail)
    out = tmp_path / "out"
    assert run("task=compare", f"runs={trained}/*", "figures=[]", f"hydra.run.dir={out}") == 1
    entries = ComparisonDirectory(out).entries
    assert entries["metrics"]["status"] == "failed" and "planted" in entries["metrics"]["notes"][0]
    assert entries["config_diff"]["status"] == "ok" and "failed" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["comparison=[metrics,emptiness]", "comparison.metrics.pair_on=[model.bets]"],
            "comparison 'metrics': pair_on: no run has the setting 'model.bets' (did you mean 'model.beta'?)",
        ),
        (
            ["comparison=[metrics]", "comparison.metrics.pair_on=[model]"],
            "comparison 'metrics': the runs form one group",
        ),
        (["comparison=[reconstruction]"], "unknown comparison 'reconstruction'"),
    ],
)
def test_runs_that_cannot_be_compared_are_not_touched(trained, tmp_path, capsys, given, said):
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    assert said in line(
        "task=compare", f"runs={trained}/*", *given, f"hydra.run.dir={tmp_path}/x", capsys=capsys
    )
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before
    assert not (tmp_path / "x").exists()


def test_what_cannot_be_compared_is_left_out_where_that_is_wanted(trained, tmp_path):
    given = ["comparison.metrics.pair_on=[model.nonsense]", "skip_inapplicable=true", "figures=[]"]
    assert run("task=compare", f"runs={trained}/*", *given, f"hydra.run.dir={tmp_path}/x") == 0
    entries = ComparisonDirectory(tmp_path / "x").entries
    assert entries["metrics"]["status"] == "skipped" and entries["config_diff"]["status"] == "ok"


def test_runs_are_told_apart_and_share_equal_data(trained, tmp_path):
    shutil.copytree(trained / "ae", tmp_path / "b" / "ae")
    shutil.copytree(trained / "ae", tmp_path / "c" / "ae")
    found = loaded(opened([tmp_path / "b" / "ae", tmp_path / "c" / "ae", trained / "vae"]), Trust(), "cpu")
    assert [each.name.rpartition("/")[0].split("/")[-1] for each in found[:2]] == ["b", "c"]
    assert found[0].data is found[1].data is found[2].data
    assert found[0].reports["reconstruction"].tables["errors"].shape == (64, 3) and len(found[0].metrics)


def test_a_comparison_takes_the_place_of_an_earlier_one_only_where_it_is_asked_to(trained, tmp_path):
    spec = {"config_diff": {"_target_": "latentrun.comparisons.config_diff.ConfigDiff"}}
    config = {
        "comparison": spec,
        "diagnostic": {},
        "device": "cpu",
        "seed": 0,
        "figures": ["png"],
        "skip_inapplicable": None,
    }
    paths, out = [trained / "ae", trained / "vae"], tmp_path / "comparisons"
    assert compare(paths, config, out, Trust()) == 0
    (out / "plots" / "old.png").parent.mkdir()
    (out / "plots" / "old.png").touch()
    with pytest.raises(InputError, match="is not empty; nothing is overwritten"):
        compare(paths, config, out, Trust())
    assert compare(paths, config, out, Trust(), anew=True) == 0 and not (out / "plots" / "old.png").exists()
    with pytest.raises(InputError, match="is not a comparison of latentrun: it is a run"):
        compare(paths, config, trained / "ae", Trust(), anew=True)
    assert RunDirectory(trained / "ae").finished


def test_wrong_input_gets_one_line_and_leaves_nothing_behind(runs, tmp_path, capsys):
    out = tmp_path / "out"
    ask = ["task=compare", f"hydra.run.dir={out}"]
    pair = f"runs={runs}/*"
    assert "runs: a value is needed" in line(*ask, capsys=capsys)
    assert "a comparison needs at least two runs, got" in line(*ask, f"runs={runs}/ae", capsys=capsys)
    assert "a comparison needs at least two runs" in line(
        *ask, f"runs=[{runs}/ae,{runs}/../runs/ae]", capsys=capsys
    )
    assert "nothing is called" in line(*ask, f"runs={runs}/nothing*", capsys=capsys)
    assert "comparison: name at least one" in line(*ask, pair, "comparison=[]", capsys=capsys)
    assert "unknown comparison 'metric' (did you mean 'metrics'?)" in line(
        *ask, pair, "comparison=[metric]", capsys=capsys
    )
    assert "model: runs are used with their own settings" in line(*ask, pair, "model=ae", capsys=capsys)
    assert "comparison.metrics.shown: must be at least 1, got 0" in line(
        *ask, pair, "comparison.metrics.shown=0", capsys=capsys
    )
    assert "variance_loss_survey' is not one of those chosen" in line(
        *ask, pair, "comparison.variance_loss_survey.tolerance=1", capsys=capsys
    )
    assert "one run has nothing to compare it with" in line(
        "debug=quick", "comparison=[metrics]", f"hydra.run.dir={out}", capsys=capsys
    )
    assert "is not a run of latentrun: it is a comparison" in _of_a_comparison(runs, tmp_path, capsys)

    meta, status = runs / "ae" / "meta.json", runs / "ae" / "status.json"
    meta.write_text(
        json.dumps({key: value for key, value in json.loads(meta.read_text()).items() if key != "trained"})
    )
    status.write_text(json.dumps(json.loads(status.read_text()) | {"state": "interrupted"}))
    assert "its training is not finished (state 'interrupted')" in line(*ask, pair, capsys=capsys)
    assert not out.exists()


def _of_a_comparison(runs, tmp_path, capsys) -> str:
    assert (
        run(
            "task=compare",
            f"runs={runs}/*",
            "comparison=[config_diff]",
            "figures=[]",
            f"hydra.run.dir={tmp_path / 'compared'}",
        )
        == 0
    )
    return line("task=diagnose", f"run={tmp_path / 'compared'}", capsys=capsys)

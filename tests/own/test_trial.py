"""The dry run: mistakes of a package of one's own are named with file and line before anything trains, and
what is right trains to the same bits as without it."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from latentrun.store import RunDirectory
from latentrun.tasks.contract import picture_slips, range_slips, report_slips
from latentrun.types import Estimate, Picture, Report
from tests.own.test_own import CONF, HERE, run

CLUMSY = HERE / "clumsy"
BOTH = ["--config-dir", CONF, "--config-dir", CLUMSY / "conf", "data=ellipsoid", "data.n=60"]
WRONG = "undeclared,bare,mapped,raising,framed,undrawn"


def marked(word: str = "mistake") -> list[tuple[str, int]]:
    """File and line of everything marked in the package."""
    return [
        (str(path), number)
        for path in sorted(CLUMSY.glob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith(f"# {word}")
    ]


def test_eight_mistakes_are_named_at_once_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*BOTH, "model=clumsy", f"diagnostic=[{WRONG}]") == 2
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[-1] == "latentrun: 8 mistakes found on a few rows, before training; check=false trains anyway"
    )
    places = [re.search(r"\((\S+), line (\d+)\)$", line) for line in lines[:-1]]
    found = [(place[1], int(place[2])) for place in places if place]
    assert len(marked()) == 8 and sorted(found) == sorted(marked())
    said = [
        "model (clumsy.model.Clumsy): the loss of 'all' gives no 'loss'; its terms: 'total'",
        "model (clumsy.model.Clumsy): the monitor of phase 'clumsy': 'monitor' gives the shape (); (5,) was",
        "diagnostic 'undeclared' (clumsy.diagnostics.Undeclared): metric 'sise' is not declared in its "
        "metrics (did you mean 'size'?)",
        "diagnostic 'bare' (clumsy.diagnostics.Bare): metric 'size' is a float; an Estimate was expected",
        "diagnostic 'mapped' (clumsy.diagnostics.Mapped): table 'sizes' is a dict; a pandas DataFrame was",
        "diagnostic 'raising' (clumsy.diagnostics.Raising): KeyError: 'size'",
        "diagnostic 'framed' (clumsy.diagnostics.Framed): picture 'axes' is a Figure; a Picture was expected",
        "diagnostic 'undrawn' (clumsy.diagnostics.Undrawn): KeyError: 'sizes'",
    ]
    for line, words in zip(lines[:-1], said, strict=True):
        assert line.startswith(f"latentrun: {words}")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_and_what_lies_beyond_are_named_with_the_others(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*BOTH, "model=pca", "diagnostic=[hollow,meddling,beyond]") == 2
    lines = capsys.readouterr().err.splitlines()
    places = [re.search(r"\((\S+), line (\d+)\)$", line) for line in lines[:-1]]
    found = [(place[1], int(place[2])) for place in places if place]
    assert found == [*marked("lacking"), *marked("meddled"), *marked("beyond")] and len(found) == 4
    beyond = "diagnostic 'beyond' (clumsy.diagnostics.Beyond)"
    for line, words in zip(
        lines,
        [
            "diagnostic.hollow: Hollow lacks 'plot' (",
            "diagnostic 'meddling' (clumsy.diagnostics.Meddling): it changes the model",
            f"{beyond}: metric 'share': 1.5 is not in the range of metrics, 0 to 1",
            f"{beyond}: metric 'size': 5 is not in its interval, 1 to 2",
            "4 mistakes found",
        ],
        strict=True,
    ):
        assert line.startswith(f"latentrun: {words}")
    assert run(*BOTH, "model=pca", "diagnostic=[hollow,meddling]", "check=false") == 2
    assert "Hollow lacks 'plot' (" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("estimate", "count"),
    [(Estimate(0.5, 0.4, 0.6), 0), (Estimate(1 + 1e-9, None, 1.0), 0), (Estimate(float("nan"), 0, 1), 0),
     (Estimate(-0.1), 1), (Estimate(0.5, 0.6), 1), (Estimate(1.5, 0.0, 1.0), 2)],
)  # fmt: skip
def test_values_lie_in_intervals_and_ranges(estimate, count):
    from clumsy.diagnostics import Beyond

    assert len(range_slips(Beyond(), Report({"share": estimate}))) == count


def test_the_first_job_of_a_sweep_tries_for_all(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("-m", *BOTH, "model=pca", "diagnostic=[bare]", "model.latent_dim=1,2") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("latentrun: job 0 (model.latent_dim=1): diagnostic 'bare'")
    assert list(tmp_path.iterdir()) == []


def test_the_weights_are_the_same_bits_with_and_without(tmp_path):
    line = [*BOTH, "model=duel", "network=dense", "network.widths=[8]", "training.epochs=2", "figures=[]"]
    paths = [tmp_path / check for check in ("auto", "false")]
    for path in paths:
        chosen = ["diagnostic=[samples]", f"check={path.name}", f"hydra.run.dir={path}"]
        assert run(*line, *chosen, "training.batch_size=10") == 0
    one, two = (RunDirectory(path).load_checkpoint("last") for path in paths)
    assert one["model"].keys() == two["model"].keys()
    assert all(torch.equal(one["model"][name], two["model"][name]) for name in one["model"])
    tables = [pd.read_csv(path / "tables" / "metrics.csv") for path in paths]
    pd.testing.assert_frame_equal(*tables)


def test_what_fails_later_is_a_row_with_file_and_line_and_the_rest_is_measured(tmp_path):
    path = tmp_path / "run"
    line = ["model=pca", "training.epochs=1", "diagnostic=[late,bare,framed,axes]", "check=false"]
    assert run(*BOTH, *line, f"hydra.run.dir={path}") == 1
    metrics = pd.read_csv(path / "tables" / "metrics.csv").set_index("diagnostic")
    assert metrics["status"].to_dict() == {
        "late": "failed",
        "bare": "failed",
        "framed": "failed",
        "axes": "ok",
    }
    notes = {name: entry["notes"] for name, entry in RunDirectory(path).entries.items()}
    ((file, number),) = marked("late")
    assert notes["late"] == [f"ValueError: the run is not tried any more ({file}, line {number})"]
    assert "metric 'size' is a float; an Estimate was expected" in notes["bare"][0]
    assert "diagnostics.py, line " in notes["bare"][0] and "diagnostics.py, line " in notes["framed"][0]
    assert RunDirectory(path).status["state"] == "done" and "late" in (path / "report.html").read_text()


def test_a_model_that_fails_in_training_names_file_and_line(tmp_path, capsys):
    toys, stone = HERE / "toys.py", tmp_path / "stone"
    stone.touch()
    for name, spec in {
        "model/stumbling": {"_target_": "toys.Stumbling", "stone": str(stone)},
        "data/points": {"_target_": "toys.Points", "n": 60},
    }.items():
        (tmp_path / "conf" / name).parent.mkdir(parents=True)
        (tmp_path / "conf" / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    line = ["--config-dir", tmp_path / "conf", "data=points", "model=stumbling", "training.epochs=3"]
    assert run(*line, "diagnostic=[]", "figures=[]", f"hydra.run.dir={tmp_path / 'run'}") == 1
    lines = toys.read_text().splitlines()
    number = next(i for i, text in enumerate(lines, 1) if "raise OSError" in text)
    said = f"OSError: stumbled over stone ({toys}, line {number})"
    assert f"latentrun: failed: {said} (" in capsys.readouterr().err
    assert RunDirectory(tmp_path / "run").status["reason"] == said


def test_check_true_tries_our_own_and_finds_nothing(tmp_path, monkeypatch):
    """All of the default list, on 16 rows of an untrained model: few rows are no mistake."""
    from latentrun.tasks import trial

    tried, asked = [], trial.asked
    monkeypatch.setattr(trial, "asked", lambda d, *rest: tried.append(type(d).__name__) or asked(d, *rest))
    monkeypatch.setattr("latentrun.tasks.fit.needed", lambda assembly: 1 / 0)  # training is not begun
    line = ["data=digits", "network=dense", "network.widths=[8]", "model.latent_dim=2", "check=true"]
    assert run(*line, f"hydra.run.dir={tmp_path / 'run'}") == 1
    assert set(tried) >= {"Reconstruction", "Latents", "Traversal", "Samples", "Sparsity", "Stationarity"}
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the contract
@pytest.mark.parametrize(
    ("report", "said"),
    [
        (None, "gives nothing (None); a Report was expected"),
        (Report([1]), "metrics of its Report is a list; a mapping was expected"),
        (Report({"size": Estimate(torch.tensor(1.0))}), "the value of its Estimate is a Tensor; a number"),
        (Report({"size": Estimate(1.0, 2.0, 0.0)}), "its interval ends below its beginning: 2 to 0"),
        (Report(arrays={"z": [[1], [1, 2]]}), "array 'z' is a list; an array of numbers or texts"),
        (Report(tables={"a/b": pd.DataFrame()}), "table names a file 'a/b': a plain name was expected"),
        (Report(status="fine"), "status of its Report is 'fine'; a Status was expected"),
        (Report(notes="a text"), "notes of its Report are no tuple of texts"),
    ],
)
def test_slips_of_a_report(report, said):
    from clumsy.diagnostics import Small

    (slip,) = report_slips(Small(), report)
    assert said in slip and re.search(r"diagnostics\.py, line \d+\)$", slip)


def test_what_keeps_its_promises_has_no_slips():
    from clumsy.diagnostics import Small
    from matplotlib.figure import Figure

    report = Report(
        {"size": Estimate(np.float32(1), None, 2), "size.part": Estimate(float("nan"))},
        {"t": pd.DataFrame()},
        {"a": np.array(["a"]), "b": [1, 2]},
        notes=("",),
    )
    assert report_slips(Small(), report) == []
    assert picture_slips(Small(), {"": Picture(Figure(), "caption")}) == []
    assert "a text was expected" in picture_slips(Small(), {"a": Picture(Figure(), None)})[0]
    assert "a Figure of matplotlib or plotly" in picture_slips(Small(), {"a": Picture(3, "b")})[0]
    assert "a mapping of names to Pictures" in picture_slips(Small(), [Figure()])[0]

"""From the command to a finished directory, and back from the directory to the run."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import latentrun
from latentrun.config.options import shipped
from latentrun.errors import InputError
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.judgement import Condition, Rule, Weight
from latentrun.store import METRIC_COLUMNS, RunDirectory
from tests.lines import arrays, run

TINY = ["debug=quick", "network.channels=[4,8]", "network.strides=[1,1]", "network.widths=[16]", "rows=64"]
BARE = [*TINY, "figures=[]"]  # half the time, where no picture is looked at
FEW = "diagnostic.samples.n=100"  # whose ellipses take their time to fit


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A small run of the whole default list."""
    path = tmp_path_factory.mktemp("run") / "vae"
    least = [FEW, "diagnostic.traversal.paths=[axes,lines]", "diagnostic.latents.resamples=100"]
    assert run(*TINY, *least, f"hydra.run.dir={path}") == 0
    return path


def test_the_directory_holds_what_the_design_names(finished):
    for name in (
        ".hydra/config.yaml", "meta.json", "status.json", "run.log", "run.lock", "report.html",
        "tables/train.csv", "tables/timing.csv", "tables/metrics.csv", "tables/summary.json",
        "arrays/latents_train.npz", "arrays/latents_test.npz", "arrays/history.npz",
        "checkpoints/best.pt", "checkpoints/last.pt", "plots/training.png",
    ):  # fmt: skip
        assert (finished / name).is_file(), name
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))
    assert not list(finished.rglob("*.part")) and not (finished / "error.txt").exists()
    status = json.loads((finished / "status.json").read_text())
    assert status["state"] == "done" and status["step"] == 2


def test_tables_are_tidy_and_name_their_units(finished):
    metrics = pd.read_csv(finished / "tables" / "metrics.csv")
    assert tuple(metrics.columns) == ("diagnostic", *METRIC_COLUMNS)
    assert set(metrics["diagnostic"]) == set(
        yaml.safe_load((finished / ".hydra/config.yaml").read_text())["diagnostic"]
    )
    measured = metrics[metrics["status"] == "ok"]
    assert measured["unit"].notna().all()
    assert metrics.drop(measured.index)["diagnostic"].tolist() == ["convergence"]  # of two epochs
    inside = metrics.dropna(subset=["low", "high", "value"])
    assert (inside["low"] <= inside["high"]).all() and len(inside) > 20
    train = pd.read_csv(finished / "tables" / "train.csv")
    assert list(train["epoch"]) == [1, 2] and not any("second" in column for column in train)
    summary = json.loads((finished / "tables" / "summary.json").read_text())
    assert summary["model"] == "vae" and summary["model.latent_dim"] == 3 and "reconstruction/mse" in summary


def test_what_a_colleague_would_say_is_in_a_table_on_the_page_and_on_the_terminal(finished):
    table = pd.read_csv(finished / "tables" / "findings.csv")
    log, page = (finished / "run.log").read_text(), (finished / "report.html").read_text()
    assert table["finding"].str.endswith("than_mean").any()  # two steps of training
    for row in table.itertuples():
        assert row.sentence in log and html.escape(row.sentence) in page
        assert f"to try: {row.command}" in log and f'href="#{row.diagnostic}"' in page
    assert "training.epochs=" in table["command"].iloc[0] and "hydra.run.dir" not in log.split("to try:")[1]


def test_meta_tells_how_the_run_was_made(finished):
    meta = RunDirectory(finished).meta
    assert meta["versions"]["torch"] == torch.__version__
    assert meta["choices"]["data"] == "heatmaps" and meta["seed"] == 0 and len(meta["fit_hash"]) == 16
    assert meta["overrides"][0] == "debug=quick"


def test_few_steps_an_epoch_are_said_with_what_helps(finished, tmp_path, capsys):
    said = "An epoch has only 1 step: 64 training rows in batches of 128. training.batch_size=4 makes it 16."
    assert said in RunDirectory(finished).meta["caveats"] and said in (finished / "report.html").read_text()
    tiny = [*BARE, "data=digits", "network=dense", "diagnostic=[]", "training.epochs=1"]
    tiny = [
        text for text in tiny if not text.startswith(("network.channels", "network.strides", "rows", "debug"))
    ]
    for rows, batch, notes in (
        (160, 16, ()),  # ten steps
        (
            144,
            16,
            (
                "An epoch has only 9 steps: 144 training rows in batches of 16. training.batch_size=8 "
                "makes it 18.",
            ),
        ),
        (9, 1, ()),  # nothing smaller is there
    ):
        path = tmp_path / f"{rows}"
        assert run(*tiny, f"rows={rows}", f"training.batch_size={batch}", f"hydra.run.dir={path}") == 0
        assert tuple(RunDirectory(path).meta["caveats"]) == notes
        assert all(f"note: {note}" in capsys.readouterr().out for note in notes)


def test_a_schedule_longer_than_training_is_said(tmp_path):
    path, line = (
        tmp_path / "run",
        [
            "data=digits",
            "network=dense",
            "network.widths=[8]",
            "rows=160",
            "training.batch_size=16",
            "figures=[]",
        ],
    )
    cyclic = ["model.warmup_epochs=1", "model.cycles=3", "model.cycle_epochs=2", "training.epochs=4"]
    assert run(*line, *cyclic, "diagnostic=[]", f"hydra.run.dir={path}") == 0
    said = (
        "Phase vae has 4 epochs, its schedule of beta ends only after 5: no best epoch is chosen, "
        "its weights are those of the end."
    )
    assert RunDirectory(path).meta["caveats"] == [said]
    fits = tmp_path / "fits"
    assert run(*line, *cyclic, "training.epochs=5", "diagnostic=[]", f"hydra.run.dir={fits}") == 0
    assert RunDirectory(fits).meta["caveats"] == []


def test_what_a_check_finds_lacking_is_a_misfit_like_any_other(tmp_path, monkeypatch, capsys):
    from latentrun.diagnostics.samples.samples import Samples
    from latentrun.errors import Misfit

    def check(self, model, data):
        raise Misfit("needs a moon; the model has none")

    monkeypatch.setattr(Samples, "check", check)
    line = [
        "data=digits",
        "network=dense",
        "network.widths=[8]",
        "debug=quick",
        "figures=[]",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    assert run(*line, "diagnostic=[samples]") == 2
    assert capsys.readouterr().err == (
        "latentrun: diagnostic 'samples' needs a moon; the model has none (skip_inapplicable=true "
        "leaves it out)\n"
    )
    assert run(*line, "diagnostic=[reconstruction,samples]", "skip_inapplicable=true") == 0
    metrics = pd.read_csv(tmp_path / "run" / "tables" / "metrics.csv")
    assert dict(zip(metrics["diagnostic"], metrics["status"], strict=True)) == {
        "reconstruction": "ok",
        "samples": "skipped",
    }


def test_load_gives_the_trained_model_back(finished):
    loaded = latentrun.load(finished)
    stored = arrays(finished / "arrays" / "latents_test.npz")
    latents = loaded.latents("test")
    assert np.allclose(latents.codes.numpy(), stored["codes"], atol=1e-5)
    assert np.allclose(latents.posterior["scale"].numpy(), stored["posterior_scale"], atol=1e-5)
    assert (stored["index"] == loaded.data.split("test").index.numpy()).all()
    assert loaded.history.epoch_mean.shape == (2, 64, 3)


def test_two_runs_of_one_configuration_are_equal(finished, tmp_path):
    few = ["reconstruction", "samples", "stationarity"]
    again = tmp_path / "again"
    assert run(*BARE, FEW, f"diagnostic=[{','.join(few)}]", f"hydra.run.dir={again}") == 0
    tables = {path.name for path in (again / "tables").iterdir()} - {"timing.csv", "summary.json"}
    assert len(tables) > 5
    for name in tables - {"metrics.csv", "findings.csv"}:  # of all that was asked
        assert (finished / "tables" / name).read_bytes() == (again / "tables" / name).read_bytes(), name
    both = [
        pd.read_csv(path / "tables" / "metrics.csv").set_index("diagnostic") for path in (finished, again)
    ]
    pd.testing.assert_frame_equal(*(metrics.loc[few] for metrics in both), check_exact=True)
    first, second = (
        torch.load(path / "checkpoints" / "best.pt", weights_only=True)["model"] for path in (finished, again)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_report_is_one_page_that_needs_nothing_else(finished):
    html = (finished / "report.html").read_text()
    page = re.sub(
        r"<script>.*?</script>", "", html, flags=re.DOTALL
    )  # plotly's own code names addresses it never asks
    outside = re.findall(r'(?:src|href)="(?!data:|#)([^"]+)"', page)
    assert outside == []
    asked = yaml.safe_load((finished / ".hydra/config.yaml").read_text())["diagnostic"]
    for name in asked.keys() - {"convergence"}:  # two epochs have none
        assert f'<section id="{name}">' in html
    assert html.count('<img src="data:image/png;base64,') >= 10


def sizes_of(path) -> dict:
    return {file: file.stat().st_size for file in path.rglob("*") if file.is_file()}


def beside_weights(path) -> int:
    """Bytes of all that a run wrote but its checkpoints."""
    return sum(size for file, size in sizes_of(path).items() if file.parent.name != "checkpoints")


def growth(path) -> float:
    """Bytes that each epoch more adds, were its 512 rows recorded: history, curves, TensorBoard."""
    from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
    from tensorboard.compat.proto.event_pb2 import Event

    with np.load(path / "arrays" / "history.npz") as history:
        epochs, rows = len(history["epochs"]), len(history["index"])
        growing = sum(history[key].nbytes for key in history if key.startswith("epoch_")) * 512 / rows
    (events,) = (path / "tensorboard").glob("events.out.tfevents.*")
    scalars = 0
    for record in RawEventFileLoader(str(events)).Load():  # pictures are drawn at few epochs, not at each
        if any(value.tag == "loss/train" for value in Event.FromString(record).summary.value):
            scalars += len(record) + 16  # its length and two checksums
    return (growing + (path / "tables" / "train.csv").stat().st_size + scalars) / epochs


def test_an_epoch_takes_little_room(finished):
    """Of the default run: 60 of them beside what is there at its end."""
    default = yaml.safe_load((shipped() / "training" / "default.yaml").read_text())["epochs"]
    assert 10_000 < growth(finished) and growth(finished) * default < 1e6
    assert {path.name for path in sizes_of(finished) if path.parent.name == "checkpoints"} == {
        "best.pt",
        "last.pt",
    }


@pytest.mark.slow
def test_a_run_takes_little_room_beside_its_weights(tmp_path):
    """The default run at its default length, which is counted, not waited for."""
    path = tmp_path / "run"
    assert run("training.epochs=2", f"hydra.run.dir={path}") == 0
    default = yaml.safe_load((shipped() / "training" / "default.yaml").read_text())["epochs"]
    assert beside_weights(path) + (default - 2) * growth(path) < 15e6


def test_pictures_along_paths_are_kept_as_exactly_as_they_are_seen(finished):
    with np.load(finished / "arrays" / "traversal.npz") as arrays:
        assert arrays["pictures"].dtype == arrays["best_pictures"].dtype == np.float16


def test_the_history_holds_nothing_twice(finished):
    history = RunDirectory(finished).read_history()
    with np.load(finished / "arrays" / "history.npz") as arrays:
        assert "epoch_kl" not in arrays
    kl = gaussian_kl(torch.from_numpy(history.epoch_mean), torch.from_numpy(history.epoch_scale).log())
    assert np.allclose(history.epoch_kl, kl.numpy(), atol=1e-5) and history.epoch_kl.max() > 0


def test_tensorboard_reads_scalars_pictures_and_hyperparameters(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert {"loss/train", "loss/validation", "metrics/reconstruction/mse"} <= set(tags["scalars"])
    assert set(tags["images"]) == {"reconstructions", "samples"}
    assert len(events.Scalars("loss/train")) == 2
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"model.latent_dim" in content


def test_a_diagnostic_is_added_without_training(tmp_path, capsys):
    path = tmp_path / "run"
    assert run(*BARE, "diagnostic=[reconstruction]", f"hydra.run.dir={path}") == 0
    before = {
        name: (path / name).read_bytes()
        for name in ("checkpoints/best.pt", "tables/train.csv", "tables/reconstruction.errors.csv")
    }
    capsys.readouterr()
    line = ["task=diagnose", f"run={path}", "diagnostic=[reconstruction,variance_loss]", "figures=[]"]
    assert run(*line) == 0
    assert "reconstruction: already measured" in capsys.readouterr().out
    assert (path / "tables" / "variance_loss.summary.csv").is_file()
    assert {name: (path / name).read_bytes() for name in before} == before
    metrics = pd.read_csv(path / "tables" / "metrics.csv")
    assert set(metrics["diagnostic"]) == {"reconstruction", "variance_loss"}
    assert '<section id="variance_loss">' in (path / "report.html").read_text()
    # Added later it is the same as measured at once.
    assert run(*BARE, "diagnostic=[variance_loss]", f"hydra.run.dir={tmp_path / 'once'}") == 0
    name = "tables/variance_loss.summary.csv"
    assert (path / name).read_bytes() == (tmp_path / "once" / name).read_bytes()


def test_no_diagnostics_at_all(tmp_path):
    assert run(*BARE, "diagnostic=[]", f"hydra.run.dir={tmp_path / 'bare'}") == 0
    assert (tmp_path / "bare" / "report.html").is_file() and latentrun.load(
        tmp_path / "bare"
    ).model.latent_dim == 3


def test_what_does_not_fit_is_skipped_in_the_default_list(tmp_path):
    digits = ["debug=quick", "rows=64", "data=digits", "network=dense", "network.widths=[16]", "figures=[]"]
    assert run(*digits, "model=ae", f"hydra.run.dir={tmp_path / 'ae'}") == 0
    metrics = pd.read_csv(tmp_path / "ae" / "tables" / "metrics.csv")
    skipped = metrics[metrics["status"] == "skipped"]
    assert set(skipped["diagnostic"]) == {"convergence", "sparsity", "stationarity"}
    assert "needs a Gaussian posterior" in (tmp_path / "ae" / "report.html").read_text()


def test_a_run_is_never_overwritten(finished, capsys):
    before = (finished / "meta.json").read_bytes()
    assert run(*BARE, f"hydra.run.dir={finished}") == 2
    assert "is not empty; nothing is overwritten" in capsys.readouterr().err
    assert (finished / "meta.json").read_bytes() == before


def test_a_finished_training_is_offered_and_taken_over(tmp_path, capsys):
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    settings = [*BARE, f"output={tmp_path}"]
    assert run(*settings, "diagnostic=[reconstruction]", f"hydra.run.dir={first}") == 0
    assert "same fit" not in capsys.readouterr().out
    assert (
        run(*settings, "diagnostic=[reconstruction,variance_loss]", "reuse=true", f"hydra.run.dir={second}")
        == 0
    )
    assert f"its training is that of {first}" in capsys.readouterr().out
    for name in ("train.csv", "reconstruction.errors.csv"):
        assert (second / "tables" / name).read_bytes() == (first / "tables" / name).read_bytes()
    assert not any(
        row["stage"] == "epoch" for row in pd.read_csv(second / "tables" / "timing.csv").to_dict("records")
    )
    weights = [
        torch.load(path / "checkpoints" / "best.pt", weights_only=True)["model"] for path in (first, second)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    # Another seed is another fit, and nothing is taken over that was not asked for.
    assert run(*settings, "diagnostic=[]", "reuse=true", "seed=1", f"hydra.run.dir={third}") == 0
    assert "reused" not in RunDirectory(third).meta
    capsys.readouterr()
    assert run(*settings, "diagnostic=[]", f"hydra.run.dir={tmp_path / 'fourth'}") == 0
    assert "is finished" in capsys.readouterr().out and "reused" not in RunDirectory(tmp_path / "fourth").meta


def test_two_processes_do_not_share_a_run(finished):
    directory = RunDirectory(finished)
    with directory.locked(), pytest.raises(InputError, match="in use by another process"):
        with RunDirectory(finished).locked():
            pass


def test_a_loss_that_explodes_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, capsys):
    path = tmp_path / "run"
    exploding = [
        "training.optimizer._target_=torch.optim.SGD",
        "training.optimizer.lr=1e-2",
        "+training.optimizer.momentum=1.5",
    ]
    settings = [
        "rows=256",
        "training.epochs=30",
        "training.batch_size=32",
        "~training.optimizer.fused",
        *exploding,
    ]
    code = run(*BARE, *settings, f"hydra.run.dir={path}")
    assert code == 1
    status = RunDirectory(path).status
    assert status["state"] == "failed" and "non-finite loss in phase vae" in status["reason"]
    assert (path / "error.txt").read_text().startswith("non-finite loss")
    if (path / "checkpoints" / "last.pt").exists():
        state = torch.load(path / "checkpoints" / "last.pt", weights_only=True)
        assert all(bool(torch.isfinite(value).all()) for value in state["model"].values())


def test_a_diagnostic_that_fails_does_not_take_the_others_along(tmp_path, monkeypatch):
    from latentrun.diagnostics.variables.stationarity import Stationarity
    from latentrun.diagnostics.variables.variance_loss import VarianceLoss

    monkeypatch.setattr(VarianceLoss, "__call__", lambda self, run, noise: 1 / 0)
    always = (Condition("spread", over=-1, exact=True),)
    rule = Rule("broken", Weight.HINT, always, lambda metrics: f"{metrics['nothing']}")
    monkeypatch.setattr(Stationarity, "rules", (rule,))
    path = tmp_path / "run"
    assert run(*BARE, "diagnostic=[stationarity,variance_loss]", f"hydra.run.dir={path}") == 1
    metrics = pd.read_csv(path / "tables" / "metrics.csv")
    assert set(metrics.loc[metrics["status"] == "failed", "diagnostic"]) == {"variance_loss"}
    assert (metrics.loc[metrics["diagnostic"] == "stationarity", "status"] == "ok").all()
    assert (
        "ZeroDivisionError" in (path / "error.txt").read_text()
        and "ZeroDivisionError" in (path / "report.html").read_text()
    )
    assert "stationarity: its rules failed: KeyError: 'nothing'" in (path / "run.log").read_text()
    assert "stationarity, variance_loss" in json.loads((path / "status.json").read_text())["reason"]


def test_a_sweep_makes_a_run_for_each_value(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["latentrun"])
    arguments = [*BARE, "diagnostic=[stationarity]", "model.latent_dim=1,2", f"hydra.sweep.dir={tmp_path}"]
    assert run("-m", *arguments) == 0
    found = sorted(path.parent.name for path in tmp_path.glob("*/meta.json"))
    assert len(found) == 2 and "model.latent_dim=1" in found[0] and "model.latent_dim=2" in found[1]
    assert [latentrun.load(tmp_path / name).model.latent_dim for name in found] == [1, 2]


def test_a_stranger_directory_cannot_run_code(finished, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    config = yaml.safe_load((copy / ".hydra" / "config.yaml").read_text())
    config["model"] = {"_target_": "os.system", "command": "touch canary"}
    config["trust"] = ["os"]
    (copy / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(InputError, match="not trusted"):
        latentrun.load(copy)
    (copy / ".hydra" / "config.yaml").write_text("!!python/object/apply:os.system ['touch canary']")
    with pytest.raises(InputError, match="cannot be read"):
        latentrun.load(copy)
    shutil.copy(finished / ".hydra" / "config.yaml", copy / ".hydra" / "config.yaml")

    class Malicious:
        def __reduce__(self):
            import os

            return os.system, ("touch canary",)

    torch.save({"model": Malicious()}, copy / "checkpoints" / "best.pt")
    with pytest.raises(InputError, match="cannot be read"):
        latentrun.load(copy)
    assert not (tmp_path / "canary").exists()

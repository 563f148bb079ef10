"""A made-up course of gain and KL with a known crossing, collapse and revival; courses without one; a real
run with and without noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import latentrun
from latentrun.cli import main
from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.training.latent_noise import NOISE, VariableUnderNoise
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.store import RunDirectory
from tests.conformance import parts
from tests.lines import latest
from tests.planted import Gaussian, Rows, noise_curves, planted_run

NAN = math.nan
# Row:    0     1     2     3     4    5     6    7     8     9     10    11
GAIN = [40.0, 40.0, 30.0, 24.0, 8.0, 1.6, -0.1, 0.1, 0.3, 0.8, 4.0, 10.0]
KL = [2.0, 2.2, 2.4, 2.0, 2.0, 1.8, 0.5, 0.0, 0.2, 0.9, 1.0, 1.2]
SCALE = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
STAGE = [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2]
VARIANCE = [0.9, 1.2, 3.5, 2.0, 1.0, 0.5, 0.1, 0.01, 0.2, 4.0, 0.7, 0.8]
COURSE = {"gain": GAIN, "kl": KL, "scale": SCALE, "stage": STAGE, "var_mean": VARIANCE}


def run_of(**changes):
    model = Gaussian(lambda x: x, torch.ones_like, lambda z: z, 3, (3,))
    return planted_run(model, Rows(torch.zeros(4, 3)), curves=noise_curves(**(COURSE | changes)))


def measure(collapsed=0.05, revived=0.05, inactive_kl=0.01, **changes):
    diagnostic = VariableUnderNoise(collapsed, inactive_kl, revived)
    return diagnostic, diagnostic(run_of(**changes), Noise(0))


def numbers(report) -> dict[str, float]:
    assert all(
        found.low is None and found.high is None for found in report.metrics.values()
    )  # one training: no interval
    return {name: found.value for name, found in report.metrics.items()}


def test_a_planted_course_is_read_as_it_was_planted():
    diagnostic, report = measure()
    assert numbers(report) == pytest.approx(
        {
            # row 5 is the first with noise in which 1.6 < 1.8; row 7 the first under 5 % of 40 whose KL is 0
            # too; row 10 the first above 2 and its KL
            "crossed": 1,
            "collapsed": 1,
            "revived": 1,
            "noise.crossing": 0.5,
            "noise.collapse": 0.5,
            "noise.steepest": 0.4,
            "noise.greatest": 0.5,
            "noise.flight": 0.2,
            "gain.before": 40,
            "gain.crossing": 1.6,
            "gain.held": 0.1,
            "gain.revived": 10,
            "kl.before": 2,
            "kl.crossing": 1.8,
            "kl.held": 0,
            "kl.revived": 1.2,
            "gain_share.crossing": 0.04,
            "gain_share.held": 0.0025,
            "gain_share.revived": 0.25,
            "margin": -0.6,  # after the crossing, with the noise at its end
            "steepest": 16 / 40,
            "var_mean.before": 0.9,
            "var_mean.crossing": 0.5,
            "var_mean.held": 0.01,
            "var_mean.revived": 0.8,
            "var_mean.greatest": 3.5,
            "epochs.crossing": 5,
            "epochs.collapse": 2,
            "epochs.revival": 3,
        }
    )
    curve = report.tables["curve"]
    assert curve["stage"].tolist() == ["rising"] * 6 + ["held"] * 2 + ["removed"] * 4
    assert (
        curve["epoch"].tolist() == list(range(1, 13)) and curve["step"].iloc[0] == 30
    )  # after two epochs of training
    np.testing.assert_allclose(curve["gain_share"], np.array(GAIN) / 40)
    np.testing.assert_allclose(curve["mean_scale2"], 1 - np.clip(VARIANCE, 0, 1))
    assert "Latent variable 1. Epochs of each stage: rising 6, held 2, removed 4" in report.notes[0]
    assert "no interval" in report.notes[1]
    (picture,) = diagnostic.plot(report).values()
    above, middle, below = picture.figure.axes
    assert [line.get_ydata().tolist() for line in above.lines if line.get_label() in ("gain", "KL")] == [
        GAIN,
        KL,
    ]
    assert any(line.get_xdata() == [6, 6] for line in above.lines)  # the crossing
    assert {line.get_label() for line in middle.lines} >= {"var(μ)", "mean σ²"}
    assert below.lines[-1].get_ydata().tolist() == SCALE
    assert "Under noise of 0.5" in picture.caption and "10 of 40 nats" in picture.caption


def test_the_best_epoch_of_all_is_no_flight_where_the_noise_is_gone():
    """var(mu) is 4.0 in row 9, without noise: that is not from the noise."""
    assert numbers(measure()[1])["var_mean.greatest"] == 3.5


def test_a_collapse_before_the_crossing_counts_backwards():
    gain = [40.0, 40.0, 1.9, 1.9, 1.9, 1.9, *GAIN[6:]]
    kl = [0.5] * 5 + KL[5:]
    kl[2], kl[5] = 0.005, 2.5
    found = numbers(measure(gain=gain, kl=kl)[1])
    assert (found["epochs.crossing"], found["epochs.collapse"], found["noise.collapse"]) == (5, -3, 0.2)
    assert found["steepest"] == pytest.approx(38.1 / 40)


@pytest.mark.parametrize(
    ("collapsed", "revived", "collapse", "revival"),
    [(0.5, 0.2, 0.4, 4), (0.7, 0.0, 0.3, 1), (0.01, 0.05, 0.5, 3)],
)
def test_the_limits_are_those_of_the_settings(collapsed, revived, collapse, revival):
    found = numbers(measure(collapsed, revived, inactive_kl=100.0)[1])
    assert found["noise.collapse"] == collapse and found["epochs.revival"] == revival


def test_a_small_gain_is_no_collapse_while_the_variable_still_costs_something():
    """Under 5 % of the gain before, yet worth more than it costs, or at least not given up: the KL
    decides."""
    found = numbers(measure(gain=[40.0, 40.0, *[1.9] * 6, *GAIN[8:]], kl=[1.0] * 8 + KL[8:])[1])
    assert (found["crossed"], found["collapsed"]) == (0, 0) and math.isnan(found["epochs.collapse"])


def test_a_variable_that_holds_out_has_no_crossing_and_nothing_to_revive():
    _, report = measure(gain=[40.0 - i for i in range(12)])
    found = numbers(report)
    assert (found["crossed"], found["collapsed"]) == (0, 0) and found["gain_share.held"] == pytest.approx(
        33 / 40
    )
    empty = (
        "revived",
        "noise.crossing",
        "noise.collapse",
        "gain.crossing",
        "kl.crossing",
        "gain_share.crossing",
        "var_mean.crossing",
    )
    assert all(
        math.isnan(found[name]) for name in (*empty, "epochs.crossing", "epochs.collapse", "epochs.revival")
    )
    assert found["steepest"] == pytest.approx(1 / 40)


def test_a_variable_that_stays_collapsed_has_not_revived():
    found = numbers(measure(gain=[*GAIN[:8], 0.1, 0.1, 0.1, 0.1])[1])
    assert (found["collapsed"], found["revived"]) == (1, 0) and math.isnan(found["epochs.revival"])


def test_the_control_without_noise():
    """A gain that happens to fall under the KL without noise is no crossing; it says that there was none."""
    diagnostic, report = measure(scale=[0.0] * 12)
    found = numbers(report)
    assert (found["crossed"], found["collapsed"], found["noise.greatest"]) == (0, 0, 0) and math.isnan(
        found["revived"]
    )
    assert any("increment 0" in note for note in report.notes)
    assert "There was no noise" in diagnostic.plot(report)["curve"].caption


def test_a_variable_that_never_gained_anything_has_no_shares():
    diagnostic, report = measure(gain=[-0.1, *GAIN[1:]])
    found = numbers(report)
    assert found["crossed"] == 1 and math.isnan(found["gain_share.held"]) and math.isnan(found["steepest"])
    assert any("gained nothing" in note for note in report.notes) and diagnostic.plot(report)


def test_without_a_record_of_the_codes_there_are_no_variances():
    diagnostic, report = measure(var_mean=None)
    assert (
        not any(name.startswith("var_mean") for name in report.metrics)
        and "noise.flight" not in report.metrics
    )
    assert len(diagnostic.plot(report)["curve"].figure.axes) == 2


def test_a_run_without_such_epochs_is_skipped_and_says_why():
    for curves in (
        pd.DataFrame(),
        noise_curves(**COURSE).iloc[:2],
        noise_curves(**COURSE)[["phase", "epoch", "step", "learning_rate"]],
    ):
        run = replace(run_of(), curves=curves)
        diagnostic = VariableUnderNoise(0.05, 0.01, 0.05)
        with pytest.raises(NothingToMeasure, match="no epochs with noise on a latent variable"):
            diagnostic(run, Noise(0))


def test_needs_a_training_with_noise():
    run = run_of()
    asked = VariableUnderNoise(0.05, 0.01, 0.05)
    assert misfit(asked, run.model, run.data) is NOISE
    assert misfit(asked, run.model, run.data, {"then": None}) is NOISE
    assert misfit(asked, run.model, run.data, parts.spec("training", "latent_noise")) is None


# ---------------------------------------------------------------- of a real run
LINE = [
    "data=digits",
    "network=dense",
    "network.widths=[16]",
    "model.latent_dim=3",
    "debug=quick",
    "rows=200",
    "threads=1",
    "training.epochs=2",
]
SHORT = ["rise=2", "hold=1", "revive=2", "inactive_kl=0.0001"]


def run(*arguments) -> int:
    """The exit code of the command."""
    try:
        return main(latest(arguments))
    except SystemExit as stop:
        return stop.code or 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("noise") / "run"
    noise = [f"training.then.{setting}" for setting in SHORT]
    line = [*LINE, "training=latent_noise", *noise, "diagnostic=[latent_noise]", f"hydra.run.dir={path}"]
    assert run(*line) == 0
    return path


def test_a_trained_run_has_the_curve_the_caveat_and_the_picture_of_training(trained):
    directory = RunDirectory(trained)
    curves = directory.read_table("train")
    pd.testing.assert_frame_equal(latentrun.load(trained).curves, curves)
    assert curves["phase"].tolist() == ["vae"] * 2 + ["noise"] * 5
    report = directory.read_report("latent_noise")
    assert report.metrics["gain.before"].value == pytest.approx(curves["val/gain"][2])
    variable = int(curves["val/noise_variable"][2])
    assert report.metrics["var_mean.revived"].value == pytest.approx(
        curves[f"latent/var_mean.{variable}"].iloc[-1]
    )
    assert report.tables["curve"]["stage"].tolist() == ["rising", "rising", "held", "removed", "removed"]
    assert (
        sum("growing noise was put on one latent variable" in note for note in directory.meta["caveats"]) == 1
    )
    assert {path.name for path, _ in directory.pictures("training")} == {
        "training.png",
        "training.latents.png",
    }
    assert not any("latent/" in key for key in directory.read_report("latent_noise").metrics)


def test_a_training_without_noise_is_refused_in_one_line_before_it_begins_and_afterwards(
    tmp_path, capsys, trained
):
    said = (
        "diagnostic 'latent_noise' needs noise on a latent variable (training=latent_noise); training "
        "'default' has none"
    )
    plain = [*LINE, "figures=[]", f"hydra.run.dir={tmp_path / 'plain'}"]
    assert run(*plain, "diagnostic=[latent_noise]") == 2 and not (tmp_path / "plain").exists()
    assert run(*plain, "diagnostic=[]") == 0
    capsys.readouterr()
    later = ["task=diagnose", f"run={tmp_path / 'plain'}", "diagnostic=[latent_noise]", "figures=[]"]
    assert run(*later) == 2
    assert capsys.readouterr().err == f"latentrun: {said} (skip_inapplicable=true leaves it out)\n"
    assert run(*later, "skip_inapplicable=true") == 0
    assert RunDirectory(tmp_path / "plain").entries["latent_noise"]["status"] == "skipped"
    # What the run was trained with counts, not what the command would train with.
    line = ["task=diagnose", f"run={trained}", "diagnostic=[latent_noise]", "force=true", "figures=[]"]
    assert run(*line) == 0

"""Every diagnostic of conf/diagnostic keeps the protocol, on every model it fits and at awkward latent
dimensions."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.diagnostics.needs import IMAGES, LABELS, ORACLE
from latentrun.diagnostics.training.latent_noise import NOISE
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.types import Factor
from tests.conformance import parts
from tests.planted import Rows, noise_curves

LACKING = (LABELS, IMAGES, ORACLE)  # what some data sets do not have
SMALLER = {
    "resamples": 100,
    "n": 40,
    "samples": 40,
    "variants": 2,
    "finalists": 2,
    "moves": [0.1],
}  # so that the whole table takes seconds


def diagnostic(name: str) -> Diagnostic:
    spec = parts.spec("diagnostic", name)[name]
    return build(spec | {key: value for key, value in SMALLER.items() if key in spec}, Diagnostic, name)


def vectors() -> Rows:
    """Data that are no pictures, with one factor."""
    x = {name: Noise(i).normal("x", (48, 6)) for i, name in enumerate(("train", "val", "test"))}
    return Rows(
        x, {k: v[:, :1] for k, v in x.items()}, (Factor("first", "real", -5.0, 5.0),), value_range=(-6.0, 6.0)
    )


def under_noise(run: Run) -> Run:
    """The run as if noise had been put on its second latent variable."""
    curves = noise_curves(
        [9.0, 4.0, 0.1, 2.0], [1.0, 1.2, 0.5, 0.6], [0.0, 0.1, 0.1, 0.0], [0, 0, 1, 2], [0.9, 1.5, 0.1, 0.6]
    )
    config = {**run.config, "training": parts.spec("training", "latent_noise")}
    return replace(run, config=config, curves=curves)


CASES = {
    "vae-heatmaps": lambda: parts.run("vae", "heatmaps"),
    "ae-heatmaps": lambda: parts.run("ae", "heatmaps"),
    "vae-heatmaps_t": lambda: parts.run("vae", "heatmaps_t"),
    "vae-digits-1d": lambda: parts.run("vae", "digits", latent_dim=1),
    "vae-digits-2d": lambda: under_noise(parts.run("vae", "digits", latent_dim=2)),
    "vae-digits-12d": lambda: parts.run("vae", "digits", "conv", latent_dim=12),
    "ae-digits-1d": lambda: parts.run("ae", "digits", latent_dim=1),
    "two_stage-digits-3d": lambda: parts.run("two_stage_race", "digits", latent_dim=3),
    "vae-table": lambda: parts.run("vae", "table"),
    "vae-vectors": lambda: (
        lambda data: Run(parts.model("vae", data), data, config={"model": parts.spec("model", "vae")})
    )(vectors()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", parts.DIAGNOSTICS)
def test_protocol(name, case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, asked = CASES[case](), diagnostic(name)
    lack = misfit(asked, run.model, run.data, run.config.get("training"))
    if lack is not None:
        assert (
            "ae" in case.split("-")
            or case == "vae-vectors"
            or lack in LACKING
            or (lack is NOISE and case != "vae-digits-2d")
        )
        return
    before = copy.deepcopy(run.model.state_dict())
    rng = torch.get_rng_state()
    try:
        report = asked(run, Noise(0).at(name))
    except NothingToMeasure as reason:
        assert str(reason)
        return

    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(value, before[key]) for key, value in run.model.state_dict().items())
    assert torch.equal(rng, torch.get_rng_state())
    parts.check_numbers(asked, report)

    again = asked(CASES[case](), Noise(0).at(name))
    assert {k: v.value for k, v in again.metrics.items()} == pytest.approx(
        {k: v.value for k, v in report.metrics.items()}, nan_ok=True
    )

    parts.check_pictures(asked, report, RunDirectory.create(tmp_path / "run", {}, {}), name)

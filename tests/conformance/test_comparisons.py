"""Every comparison of conf/comparison keeps the protocol, on runs of one model, of several, and on equal
ones."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from latentrun.comparisons.base import Comparison
from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.store import ComparisonDirectory, RunDirectory
from tests.conformance import parts

ALWAYS = ("reconstruction",)  # what the runs have beside what a comparison needs
CASES = {
    "two-models": [("ae", 0), ("vae", 0)],
    "two-models-two-seeds": [("vae", 0), ("vae", 1), ("ae", 0), ("ae", 1)],
    "two-seeds": [("vae", 0), ("vae", 1)],
    "the-same-twice": [("vae", 0), ("vae", 0)],
}


def comparison(name: str) -> Comparison:
    return build(parts.spec("comparison", name)[name], Comparison, name)


def measured(model: str, seed: int, path: Path, names) -> Run:
    """A run with a directory in which there is what the diagnostics ``names`` found."""
    run = parts.run(model, "digits")
    run = replace(run, config={**run.config, "seed": seed}, name=path.name)
    directory = RunDirectory.create(path, run.config, {"choices": {"model": model}})
    for name in names:
        spec = parts.spec("diagnostic", name)[name] | {"resamples": 100}
        asked = build(spec, Diagnostic, name)
        directory.write_report(name, asked(run, Noise(seed).at(name)), asked.metrics, {"config": spec})
    metrics = directory.read_table("metrics")
    return replace(run, meta=directory.meta, metrics=metrics, reports=directory.reports)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", parts.COMPARISONS)
def test_protocol(name, case, tmp_path, monkeypatch):
    asked = comparison(name)
    names = dict.fromkeys((*ALWAYS, *asked.needs))
    runs = [
        measured(model, seed, tmp_path / f"{number}_{model}_{seed}", names)
        for number, (model, seed) in enumerate(CASES[case])
    ]
    assert all(misfit(asked, run.model, run.data) is None for run in runs)
    weights, rng = [copy.deepcopy(run.model.state_dict()) for run in runs], torch.get_rng_state()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(tmp_path.rglob("*"))

    report = asked(runs, Noise(0).at(name))

    assert sorted(tmp_path.rglob("*")) == before
    assert all(
        torch.equal(old[key], run.model.state_dict()[key])
        for old, run in zip(weights, runs, strict=True)
        for key in old
    )
    assert torch.equal(rng, torch.get_rng_state())
    parts.check_numbers(asked, report)
    again = asked(runs, Noise(0).at(name))
    assert {k: v.value for k, v in again.metrics.items()} == pytest.approx(
        {k: v.value for k, v in report.metrics.items()}, nan_ok=True
    )
    parts.check_pictures(asked, report, ComparisonDirectory.create(tmp_path / "comparison", {}), name)


@pytest.mark.parametrize("name", parts.COMPARISONS)
def test_needs_are_diagnostics_that_there_are(name):
    assert set(comparison(name).needs) <= set(parts.DIAGNOSTICS)

"""Every comparison of conf/comparison keeps each promise of the protocol, on runs of one model, of several,
and on equal ones. It is asked once of each, and once more with the same noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from latentrun.comparisons.base import Comparison
from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.functional.noise import Noise
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.types import Report, Status
from tests.conformance import parts

ALWAYS = ("reconstruction",)  # what the runs have beside what a comparison needs
CASES = {
    "two-models": [("ae", 0), ("vae", 0)],
    "two-models-two-seeds": [("vae", 0), ("vae", 1), ("ae", 0), ("ae", 1)],
    "two-seeds": [("vae", 0), ("vae", 1)],
    "the-same-twice": [("vae", 0), ("vae", 0)],
}
DRAWN = ("two-models-two-seeds", "the-same-twice")  # the others by slow tests
SMALLER = {"resamples": 100, "draws": [1, 20], "points": 512}  # so that measuring takes no time
Weights = dict[str, torch.Tensor]


@cache
def comparison(name: str) -> Comparison:
    return build(parts.spec("comparison", name)[name], Comparison, name)


@cache
def fits(name: str, model: str) -> bool:
    """Whether a comparison can be asked of runs of a model."""
    run = parts.run(model, "digits")
    return misfit(comparison(name), run.model, run.data) is None


PAIRS = [
    (name, case)
    for name in parts.COMPARISONS
    for case, runs in CASES.items()
    if all(fits(name, model) for model, _ in runs)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def measured(folder):
    """Makes a run with a directory in which there is what all comparisons need; each is measured once."""
    needs = dict.fromkeys((*ALWAYS, *(need for name in parts.COMPARISONS for need in comparison(name).needs)))

    @cache
    def make(model: str, seed: int, copy: int) -> Run:
        name = f"{model}_{seed}_{copy}"
        run = parts.run(model, "digits")
        config = {**run.config, "seed": seed}
        directory = RunDirectory.create(folder / name, config, {"choices": {"model": model}})
        for need in needs:
            spec = parts.spec("diagnostic", need)[need]
            spec |= {key: value for key, value in SMALLER.items() if key in spec}
            diagnostic = build(spec, Diagnostic, need)
            if misfit(diagnostic, run.model, run.data):
                continue
            report = diagnostic(run, Noise(seed).at(need))
            directory.write_report(need, report, diagnostic.metrics, {"config": spec})
        return replace(
            run,
            name=name,
            config=config,
            meta=directory.meta,
            metrics=directory.read_table("metrics"),
            reports=directory.reports,
        )

    return make


@dataclass(frozen=True)
class Outcome:
    """What a comparison made of some runs, and the state of the world before and after."""

    name: str
    case: str
    asked: Comparison
    runs: list[Run]
    report: Report
    weights: tuple[list[Weights], list[Weights]]
    generator: tuple[torch.Tensor, torch.Tensor]
    files: tuple[list[Path], list[Path]]


@pytest.fixture(scope="module", params=PAIRS, ids="-".join)
def outcome(request, measured, folder) -> Iterator[Outcome]:
    name, case = request.param
    asked = comparison(name)
    runs = [
        measured(model, seed, CASES[case][:i].count((model, seed)))
        for i, (model, seed) in enumerate(CASES[case])
    ]
    weights = [copy.deepcopy(run.model.state_dict()) for run in runs]
    generator, files = torch.get_rng_state(), sorted(folder.rglob("*"))
    with TemporaryDirectory() as here, chdir(here):
        report = asked(runs, Noise(0).at(name))
        after = [*sorted(folder.rglob("*")), *Path(here).rglob("*")]
    return Outcome(
        name,
        case,
        asked,
        runs,
        report,
        (weights, [run.model.state_dict() for run in runs]),
        (generator, torch.get_rng_state()),
        (files, after),
    )


# ---------------------------------------------------------------- what it is asked of
@pytest.mark.parametrize("name", parts.COMPARISONS)
def test_some_runs_fit_it(name):
    assert sum(name == asked for asked, _ in PAIRS) > 1


@pytest.mark.parametrize("name", parts.COMPARISONS)
def test_needs_are_diagnostics_that_there_are(name):
    assert set(comparison(name).needs) <= set(parts.DIAGNOSTICS)


# ---------------------------------------------------------------- what it leaves alone
def test_it_leaves_weights_torchs_generator_and_folders_alone(outcome):
    for before, after in zip(*outcome.weights, strict=True):
        assert all(torch.equal(value, before[key]) for key, value in after.items())
    before, after = outcome.files
    assert torch.equal(*outcome.generator) and after == before


# ---------------------------------------------------------------- what it reports
def test_it_reports_something(outcome):
    assert outcome.report.status is Status.OK and outcome.report.tables


def test_metrics_and_intervals_are_what_they_are_said_to_be(outcome):
    assert parts.broken(outcome.asked, outcome.report) == []


def test_equal_noise_gives_equal_numbers(outcome):
    again = outcome.asked(outcome.runs, Noise(0).at(outcome.name))
    parts.assert_equal(again, outcome.report)


# ---------------------------------------------------------------- what it draws
def test_pictures_are_drawn_from_what_lies_on_disk(outcome, tmp_path):
    if outcome.case in DRAWN:
        draw(outcome, tmp_path)


@pytest.mark.slow
def test_pictures_of_every_case_are_drawn(outcome, tmp_path):
    draw(outcome, tmp_path)


def draw(outcome: Outcome, tmp_path: Path) -> None:
    directory = parts.stored(outcome.name, outcome.asked, outcome.report, tmp_path)
    drawn = parts.drawn_from_disk(outcome.name, outcome.asked, directory)
    assert drawn.keys() == outcome.asked.plot(outcome.report).keys()
    assert [name for name, picture in drawn.items() if not parts.is_figure(picture)] == []
    assert [name for name, picture in drawn.items() if len(picture.caption) <= 20] == []
    directory.write_pictures(outcome.name, drawn)
    files = list((directory.path / "plots").glob(f"{outcome.name}.*"))
    assert len(files) == parts.files_of(drawn)

"""Every diagnostic of conf/diagnostic keeps each promise of the protocol, on every run that has what it
requires. It is asked once of each, and once more of a fresh run with the same noise."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch

from latentrun.config.build import build
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.errors import NothingToMeasure
from latentrun.functional.noise import Noise
from latentrun.plotting.style import paper
from latentrun.run import Run
from latentrun.store import RunDirectory
from latentrun.types import Need, Picture, Report, Status
from tests.conformance import parts
from tests.conformance.cases import CASES, run_of

ASCII_GREEK = re.compile(r"sigma(\^2|²)|var\(mu\)")  # in what people read it is σ² and var(μ), as on the axes
SMALLER = {  # so that the whole table takes seconds
    "resamples": 100,
    "n": 40,
    "samples": 40,
    "iterations": 10,
    "judged": 3,
    "draws": [1, 3, 20],
    "points": 1024,
    "variants": 2,
    "finalists": 2,
    "moves": [0.1],
    "length": 20,
    "rounds": 1,
    "places": 0,
    "pieces": 3,
    "times": 13,
    "steps": 5,
    "ends": 60,
    "knots": 9,
    "nodes": 9,
    "probes": 5,
}


@cache
def diagnostic(name: str) -> Diagnostic:
    spec = parts.spec("diagnostic", name)[name]
    return build(spec | {key: value for key, value in SMALLER.items() if key in spec}, Diagnostic, name)


def lack(name: str, run: Run) -> Need | None:
    return misfit(diagnostic(name), run.model, run.data, run.config.get("training"))


PAIRS = [
    (name, case)
    for name in parts.DIAGNOSTICS
    for case in CASES
    if CASES[case].fits(diagnostic(name).requires)
]
CHEAPEST = sorted(PAIRS, key=lambda pair: pair[1] == "vae-heatmaps")  # fits of real pictures take seconds
# Where there turns out to be nothing to measure: no factor of the digits has an order along a path; there is
# no record of the training.
NOTHING = {("factor_paths", case) for case in CASES if "digits" in case and case != "sphere-digits"}
NOTHING |= {("manifold_fit", case) for case in CASES if "digits" in case}
NOTHING |= {(name, "gaussian-bounded") for name in ("factor_paths", "manifold_fit")}
NOTHING |= {("convergence", case) for case in ("vae-digits-2d", "sphere-digits", "gan-points")}
ONCE = {name: case for name, case in reversed(CHEAPEST)}  # a run for each diagnostic
# What is put on paper, which takes half the time of all promises together: many latent variables are where
# panels, axes and colours go wrong; of diagnostics that have none of that, one run.
MANY = "vae-digits-12d"
DRAWN = sorted({(name, MANY if (name, MANY) in PAIRS else case) for name, case in ONCE.items()})


@dataclass(frozen=True)
class Outcome:
    """What a diagnostic made of a run: its report, or the reason why there is nothing to measure; and the
    state of the world before and after."""

    name: str
    case: str
    asked: Diagnostic
    report: Report | None
    reason: str
    weights: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]
    generator: tuple[torch.Tensor, torch.Tensor]
    written: list[Path]


@cache
def measure(name: str, case: str) -> Outcome:
    """Asked once of a run, in an empty folder."""
    run, asked = run_of(case), diagnostic(name)
    weights, generator = copy.deepcopy(run.model.state_dict()), torch.get_rng_state()
    report, reason = None, ""
    with TemporaryDirectory() as folder, chdir(folder):
        try:
            report = asked(run, Noise(0).at(name))
        except NothingToMeasure as nothing:
            reason = str(nothing)
        written = list(Path(folder).iterdir())
    after = (run.model.state_dict(), torch.get_rng_state())
    return Outcome(name, case, asked, report, reason, (weights, after[0]), (generator, after[1]), written)


@pytest.fixture(
    scope="module", params=PAIRS, ids="-".join
)  # of this scope: the tests of a pair stand together
def outcome(request):
    return measure(*request.param)


@pytest.fixture
def report(outcome):
    if outcome.report is None:
        pytest.skip(f"nothing to measure: {outcome.reason}")
    return outcome.report


# ---------------------------------------------------------------- what it is asked of
@pytest.mark.parametrize("name", parts.DIAGNOSTICS)
def test_it_requires_what_runs_lack_or_fits(name):
    for case in CASES:
        need = lack(name, run_of(case))
        assert need in CASES[case].lacks if need is not None else (name, case) in PAIRS, case
    assert name in ONCE  # some run has what it requires


@pytest.mark.parametrize("name", parts.DIAGNOSTICS)
def test_variances_are_written_in_one_way(name):
    asked = diagnostic(name)
    shown = [asked.answers(), *(meaning.unit for meaning in asked.metrics.values())]
    assert [text for text in shown if ASCII_GREEK.search(text)] == []


# ---------------------------------------------------------------- what it leaves alone
def test_it_leaves_weights_torchs_generator_and_folders_alone(outcome):
    before, after = outcome.weights
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    assert torch.equal(*outcome.generator) and outcome.written == []


# ---------------------------------------------------------------- what it reports
def test_it_reports_something_or_says_why_there_is_nothing(outcome):
    if (outcome.name, outcome.case) in NOTHING:
        assert outcome.report is None and outcome.reason and "\n" not in outcome.reason
    else:
        assert outcome.report.metrics and outcome.report.status is Status.OK, outcome.reason


def test_metrics_and_intervals_are_what_they_are_said_to_be(outcome, report):
    assert parts.broken(outcome.asked, report) == []


# ---------------------------------------------------------------- what it draws
def test_pictures_are_made_from_what_lies_on_disk(outcome, report, tmp_path):
    directory = parts.stored(outcome.name, outcome.asked, report, tmp_path)
    if (outcome.name, outcome.case) not in DRAWN:
        return  # drawn by the slow tests
    made = parts.drawn_from_disk(outcome.name, outcome.asked, directory)
    assert [name for name, picture in made.items() if not parts.is_figure(picture)] == []
    assert [name for name, picture in made.items() if len(picture.caption) <= 20] == []
    with paper():
        assert made.keys() == outcome.asked.plot(report).keys()
    assert written(outcome.name, made, directory) == parts.files_of(made)


def written(name: str, pictures: Mapping[str, Picture], directory: RunDirectory) -> int:
    """How many files the pictures become."""
    with paper():
        directory.write_pictures(name, pictures)
    assert [text for text in map(parts.too_small, pictures.values()) if text] == []
    assert [picture.caption for picture in pictures.values() if ASCII_GREEK.search(picture.caption)] == []
    return len(list((directory.path / "plots").glob(f"{name}.*")))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), [pair for pair in PAIRS if pair not in DRAWN])
def test_pictures_of_every_run_become_files(name, case, tmp_path):
    report = measure(name, case).report
    if report is None:
        pytest.skip("nothing to measure")
    directory = parts.stored(name, diagnostic(name), report, tmp_path)
    made = parts.drawn_from_disk(name, diagnostic(name), directory)
    assert [name for name, picture in made.items() if not parts.is_figure(picture)] == []
    assert [name for name, picture in made.items() if len(picture.caption) <= 20] == []
    assert written(name, made, directory) == parts.files_of(made)


# ---------------------------------------------------------------- once of each
@pytest.mark.parametrize(("name", "case"), ONCE.items())
def test_equal_noise_gives_equal_numbers(name, case):
    first, again = measure(name, case).report, diagnostic(name)(CASES[case].make(), Noise(0).at(name))
    parts.assert_equal(again, first)

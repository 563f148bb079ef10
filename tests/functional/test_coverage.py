"""Every kind of interval covers what is said of it: a short run of ``scripts/bench/coverage``."""

import math
import sys
from functools import cache
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import numpy as np
import pytest

from latentrun.functional.statistics import methods
from latentrun.functional.statistics.methods import SHORT, shortfalls
from latentrun.types import Estimate

SCRIPT = Path(__file__).parents[2] / "scripts" / "bench" / "coverage"
DRAWS = 80


@cache
def script():
    loader = SourceFileLoader("coverage_of_intervals", str(SCRIPT))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    sys.modules[loader.name] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def quick():
    """One case of each kind and use, those of few examples."""
    return [case for case in script().cases() if case.n <= 200 and case.share == 1]


def allowed(least: float, draws: int) -> float:
    """Below what a method that covers ``least`` falls in one of ten thousand simulations."""
    return least - 3.7 * math.sqrt(least * (1 - least) / draws)


def test_every_kind_covers_what_is_said_of_it():
    short = []
    for case in quick():
        row = script().measured(case, DRAWS)
        least = script().least(case)
        if row.given and row.coverage < allowed(least, DRAWS * row.given):
            short.append(f"{case.kind}, {case.of}, {case.law}, {case.n}: {row.coverage:.2f} < {least}")
    assert not short, "\n".join(short)


def test_every_kind_is_simulated():
    words = (value for name, value in vars(methods).items() if name.isupper() and isinstance(value, str))
    kinds = set(words) - {methods.EXAMPLES, methods.SEEDS, methods.EQUAL}
    assert kinds == {case.kind for case in script().cases()}


def test_a_method_that_covers_too_little_is_noticed():
    """Half of the interval, as the bootstrap of the 99.9 percentile once was."""
    law = script().NORMAL

    def half(rng):
        values = law.draw(rng, (50,))
        reach = values.std() / math.sqrt(50)
        return Estimate(values.mean(), values.mean() - reach, values.mean() + reach)

    row = script().measured(script().Case("half", "mean", "normal", 50, law.mean, half), DRAWS)
    assert row.is_short and row.coverage < allowed(0.93, DRAWS)


def test_an_open_end_holds_everything_and_no_interval_does_not_count():
    def ends(rng):
        return Estimate(1.0, 0.0) if rng.random() < 0.5 else Estimate(1.0, method="none: too few")

    row = script().measured(script().Case("k", "o", "l", 1, 1e9, ends), 400)
    assert row.coverage == 1 and row.given == pytest.approx(0.5, abs=0.15)


def test_reports_say_what_is_short():
    said = shortfalls(["bootstrap over examples", "bootstrap over drawn points", "Wilson over seeds", ""])
    assert len(said) == 1 and said[0].startswith("bootstrap: ") and "73 %" in said[0]
    assert np.all([0.5 < least < 0.93 for said in SHORT.values() for least in said.least.values()])


def test_what_is_said_of_heavy_tails_excuses_nothing_else():
    """A bootstrap that covers 75 % of the lognormal variances is known; one of normal means is not."""
    made = script()
    cases = {(case.kind, case.law): case for case in made.cases()}
    rows = {law: made.Row(cases["bootstrap", law], 0.75, 1.0, 1000) for law in ("normal", "lognormal")}
    assert rows["normal"].is_short and not rows["lognormal"].is_short


def test_what_is_said_is_said_of_a_case_that_is_simulated():
    simulated = {(case.kind, case.law) for case in script().cases()}
    assert {(kind, law) for kind, said in SHORT.items() for law in said.least} <= simulated

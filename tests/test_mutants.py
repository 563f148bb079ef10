"""The list of planted mistakes speaks of the code as it is."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def mutants():
    loader = SourceFileLoader("mutants", str(ROOT / "scripts" / "bench" / "mutants"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("mutants", loader))
    sys.modules["mutants"] = module
    loader.exec_module(module)
    return module.mutants((ROOT / "tests" / "mutants.txt").read_text())


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: f"{mutant.file}: {mutant.after}")
def test_it_can_be_planted(mutant):
    source = (ROOT / mutant.file).read_text()
    assert source.count(mutant.before) == 1
    compile(source.replace(mutant.before, mutant.after), mutant.file, "exec")
    assert all((ROOT / tests).exists() for tests in mutant.tests)

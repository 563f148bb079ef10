"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("functional", "manifolds", "distributions", "geometry", "nn")  # what others call: pure, without files


def modules() -> list[str]:
    paths = [path for room in ROOMS for path in (ROOT / "latentrun" / room).rglob("*.py")]
    return sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if ">>>" in path.read_text() and path.stem != "__init__"
    )


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    module = importlib.import_module(name)
    examples = [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]
    assert examples, "the docstrings that hold examples are not found"
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    lines: list[str] = []
    for test in examples:
        runner.run(test, out=lines.append)
    assert not runner.failures, "".join(lines)


def test_every_module_of_the_maths_has_one():
    """Of what a module of functional/ or distributions/ offers, at least one function is shown at work."""
    paths = [path for room in ("functional", "distributions") for path in (ROOT / "latentrun" / room).rglob("*.py")]
    public = {path: path.read_text() for path in paths if path.stem != "__init__"}
    assert not [str(path.relative_to(ROOT)) for path, text in public.items() if ">>>" not in text]

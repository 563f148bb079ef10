"""The examples in docstrings give what they say."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


FILES = {
    module_name(path): path for path in sorted((ROOT / "latentrun").rglob("*.py")) if path.stem != "__init__"
}
SHOWN = [name for name, path in FILES.items() if ">>> " in path.read_text()]


@pytest.mark.parametrize("name", SHOWN)
def test_examples(name):
    module = importlib.import_module(name)
    tests = doctest.DocTestFinder(exclude_empty=True).find(module)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    lines: list[str] = []
    for test in tests:
        runner.run(test, out=lines.append)
    assert not runner.failures, "".join(lines)
    # doctest does not look behind decorators: an example there would never run.
    assert sum(len(test.examples) for test in tests) == FILES[name].read_text().count(">>> ")


def test_every_module_of_the_maths_has_one():
    """Of what a module of functional/ or distributions/ offers, at least one thing is shown at work."""
    maths = {name for name in FILES if name.split(".")[1] in ("functional", "distributions")}
    assert maths <= set(SHOWN), sorted(maths - set(SHOWN))

"""How code reads: short lines, short functions, short files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINE = 110  # characters
FUNCTION, FILE = 50, 400  # lines; those of a function with its docstring
# Functions and files that are being split: the list only shrinks.
LONG_FUNCTIONS = {
    "latentrun/diagnostics/decoder/reconstruction.py: plot",
    "latentrun/diagnostics/samples/two_sample.py: __call__",
    "latentrun/plotting/cloud.py: cloud",
    "latentrun/plotting/images.py: strips",
}
LONG_FILES = {"latentrun/diagnostics/codes/aggregate_posterior.py"}
TEXT = (".py", ".yaml", ".txt", ".toml", "")  # scripts have no ending; tables in Markdown are not code


def files(*folders: str) -> list[Path]:
    every = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return sorted(path for path in every if path.is_file() and path.suffix in TEXT)


def is_python(path: Path) -> bool:
    return path.suffix == ".py" or path.read_text().startswith("#!/usr/bin/env python")


PYTHON = [path for path in files("latentrun", "scripts") if is_python(path)]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("folder", ["latentrun", "conf", "scripts"])
def test_lines_are_short(folder):
    long = [
        f"{named(path)}:{number}: {len(line)}"
        for path in files(folder)
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > LINE
    ]
    assert not long, "\n".join(long)


def test_functions_are_short():
    long = {
        f"{named(path)}: {node.name}"
        for path in PYTHON
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= FUNCTION
    }
    assert long == LONG_FUNCTIONS


def test_files_are_short():
    lengths = {named(path): len(path.read_text().splitlines()) for path in PYTHON}
    assert {name for name, lines in lengths.items() if lines > FILE} == LONG_FILES

"""Imports go down only, siblings do not know each other, and start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "latentrun"
# From the ground up: a room imports from the floors below it and from itself, never from its neighbours.
FLOORS = [
    {"__init__", "types", "errors"},
    {"system", "config"},
    {"functional"},
    {"callbacks", "judgement", "manifolds"},
    {"distributions", "geometry", "plotting"},
    {"nn"},
    {"data"},
    {"models"},
    {"experiments"},
    {"training"},
    {"run"},
    {"diagnostics"},
    {"comparisons"},
    {"store"},
    {"tables"},
    {"report"},
    {"sweep"},
    {"claims"},
    {"tasks"},
    {"command"},
    {"launchers"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# One file for each of a kind: they share `base`; parts and drawings of one stand beside it (`hull_plot`).
FAMILIES = {"models", "experiments", "diagnostics", "comparisons", "data"}
FILES = sorted(ROOT.rglob("*.py"))


@cache
def imports(path: Path, top_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            node.body = []  # names for type checkers bind nobody
    nodes = tree.body if top_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if node.module == "latentrun"
                else {node.module}
            )
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


ROOMS = sorted({room(path) for path in FILES})


def files_of(here: str) -> list[Path]:
    """The files of a room."""
    return [path for path in FILES if room(path) == here]


def member(path: Path) -> str:
    """What a file is a part of: ``hull_plot`` of the ``hull`` beside it, others of themselves."""
    wholes = [other.stem for other in path.parent.glob("*.py") if path.stem.startswith(f"{other.stem}_")]
    return min(wholes, key=len, default=path.stem)


def modules(path: Path) -> set[tuple[str, ...]]:
    """What a file imports of latentrun, as parts of the path: ``("functional", "noise")``."""
    return {tuple(name.split(".")[1:]) for name in imports(path) if name.startswith("latentrun.")}


@pytest.mark.parametrize("here", ROOMS)
def test_imports_go_down_only(here):
    for path in files_of(here):
        if path == ROOT / "__init__.py":
            continue  # latentrun.load reaches up to the tasks, when it is called
        for parts in modules(path):
            if parts[0].startswith("__version"):
                continue
            below = FLOOR[parts[0]] < FLOOR[here] or parts[0] == here
            assert below, f"{path} imports {'.'.join(parts)}, which does not lie below it"


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_members_of_a_family_do_not_know_each_other(family):
    for path in files_of(family):
        if path.stem == "__init__" or "formats" in path.parts:
            continue
        for parts in (parts for parts in modules(path) if parts[0] == family):
            stem = parts[-1]
            part = (
                stem in ("base", "needs", "surface", "usage")
                or stem.startswith(f"{member(path)}_")
                or "formats" in parts
            )
            assert part, f"{path} imports its sibling {parts}"


def test_no_circle_of_modules():
    """Not within a room either: the imports of all files can be put into one order."""
    names = {path.relative_to(ROOT).with_suffix("").parts: path for path in FILES}
    after = {parts: {m for m in modules(path) if m in names and m != parts} for parts, path in names.items()}
    after.pop(("__init__",))
    tuple(TopologicalSorter(after).static_order())  # raises CycleError


@pytest.mark.parametrize("here", ROOMS)
def test_only_the_command_line_knows_hydra_and_heavy_libraries_wait(here):
    for path in files_of(here):
        everywhere = {name.split(".")[0] for name in imports(path)}
        if here not in ("cli", "command", "launchers"):
            assert not everywhere & {"hydra", "omegaconf"}, path
        at_the_top = {name.split(".")[0] for name in imports(path, top_only=True)}
        assert not at_the_top & {"sklearn", "plotly", "rich"}, path


def test_no_room_is_unknown():
    assert {room(path) for path in FILES} <= FLOOR.keys()


@pytest.mark.parametrize(
    "arguments",
    [[], ["--help"], ["model=vae", "--help"], ["--cfg", "job", "--resolve"], ["--version"], ["model=vea"]],
)
def test_start_up_without_heavy_libraries(arguments):
    code = (
        "import sys\nfrom latentrun.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn', 'numpy', 'scipy') if m in "
        "sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"

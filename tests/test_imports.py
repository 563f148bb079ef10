"""Imports go down only, siblings do not know each other, and start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "latentrun"
FLOORS = [
    {"types", "errors", "bounds", "machine", "interrupts", "__init__"},
    {"build", "options"},
    {"functional", "fingerprint", "pictures", "settings"},
    {"nn", "manifolds", "plotting", "geometry", "distributions"},
    {"models", "data", "second_stages"},
    {"training"},
    {"run"},
    {"diagnostics", "comparisons"},
    {"store", "console", "plan", "disk", "provenance"},
    {"report", "collect"},
    {"steps", "estimate"},
    {"pipeline"},
    {"use", "compare"},
    {"overview", "prune"},
    {"sweep"},
    {"claims"},
    {"overrides"},
    {"compose", "completion"},
    {"multirun"},
    {"cli", "launchers", "__main__"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
FAMILIES = {"models", "data", "second_stages", "diagnostics", "comparisons"}  # one file each: only `base` is shared
FILES = sorted(ROOT.rglob("*.py"))


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
            found |= {f"{node.module}.{alias.name}" for alias in node.names} if node.module == "latentrun" else {node.module}
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down_only(path):
    if path == ROOT / "__init__.py":
        return  # latentrun.load reaches up to the pipeline, when it is called
    here = room(path)
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "latentrun" or len(parts) < 2 or parts[1].startswith("__version"):
            continue
        assert FLOOR[parts[1]] <= FLOOR[here], f"{path} imports {name}, which lies above it"
        if parts[1] == here and here in FAMILIES and path.stem != "__init__":
            assert parts[2] == "base", f"{path} imports its sibling {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_only_the_command_line_knows_hydra_and_heavy_libraries_wait(path):
    everywhere = {name.split(".")[0] for name in imports(path)}
    if room(path) not in ("cli", "overrides", "compose", "completion", "multirun", "launchers"):
        assert not everywhere & {"hydra", "omegaconf"}
    at_the_top = {name.split(".")[0] for name in imports(path, top_only=True)}
    assert not at_the_top & {"sklearn", "plotly", "rich"}


def test_no_room_is_unknown():
    assert {room(path) for path in FILES} <= FLOOR.keys()


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job", "--resolve"], ["--version"], ["model=vea"]])
def test_start_up_without_heavy_libraries(arguments):
    code = (
        "import sys\nfrom latentrun.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'sklearn', 'numpy', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"

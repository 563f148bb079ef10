"""The environment that scripts make: by one process, whoever waits for it, and after one that was killed."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/usr/bin/env bash
if [ "$2" = venv ]; then
  echo made >> "$(dirname "$0")/log"
  sleep 1
  mkdir -p "$3/bin" && cp "$0" "$3/bin/python"
fi
"""


@pytest.fixture
def place(tmp_path):
    """A copy of what the script reads, with a Python that writes down how often it makes an environment."""
    (tmp_path / "scripts").mkdir()
    for name in ("pyproject.toml", "scripts/environment", "scripts/constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def started(place: Path) -> subprocess.Popen:
    command = f"source '{place}/scripts/environment'; test -f '{place}/.venv/.latentrun'"
    surroundings = {"PATH": "/usr/bin:/bin", "PYTHON": str(place / "python")}
    return subprocess.Popen(["bash", "-c", command], env=surroundings, stderr=subprocess.DEVNULL)


def test_several_at_once_make_one_environment(place):
    assert [process.wait(60) for process in [started(place) for _ in range(3)]] == [0, 0, 0]
    assert (place / "log").read_text() == "made\n"
    assert not (place / ".venv" / ".making").exists()


def test_what_a_killed_one_left_is_no_obstacle(place):
    (place / ".venv").mkdir()
    (place / ".venv" / ".making").write_text("99999999\n")  # more than a process can be called
    assert started(place).wait(60) == 0 and (place / "log").read_text() == "made\n"

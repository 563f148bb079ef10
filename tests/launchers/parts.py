"""Sweeps as a user starts them, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["data=digits", "network=dense", "network.widths=[32]", "rows=64", "debug=quick"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "latentrun", *arguments]


def environment() -> dict[str, str]:
    places = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, places))}


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), env=environment(), capture_output=True, text=True, timeout=300)


def require(name: str) -> None:
    """Skip, by name, where a plugin for Hydra is not installed."""
    try:
        found = find_spec(f"hydra_plugins.{name}")
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{name.replace('_', '-')} is not installed")

"""The oldest releases that are asked for are those that are tested."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAFE_TORCH = (2, 10)  # below it torch.load runs code of a file in spite of weights_only (CVE-2026-24747)


def release(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[\d.]+", text)[0].strip(".").split("."))


def installed() -> dict[str, str]:
    """The release of each package that the tests run with."""
    lines = [
        line.strip().split("==")
        for name in ("constraints", "constraints-engines")
        for line in (ROOT / "scripts" / f"{name}.txt").read_text().splitlines()
    ]
    return {name.lower().replace("_", "-"): version for name, version in lines}


def asked() -> dict[str, str]:
    """The floor of each package that pyproject.toml asks for, those of the extras too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    return dict(line.split(">=") for line in lines if ">=" in line)


def test_every_dependency_has_a_floor():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert all(re.fullmatch(r"[\w-]+>=[\d.]+", line) for line in project["dependencies"])


@pytest.mark.parametrize("name", sorted(asked().keys() - {"torch"}))
def test_a_floor_is_what_is_tested(name):
    assert asked()[name] == installed()[name]


def test_torch_has_a_safe_loader():
    assert SAFE_TORCH <= release(asked()["torch"]) <= release(installed()["torch"])

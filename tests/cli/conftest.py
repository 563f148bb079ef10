"""Fixtures of command lines."""

from __future__ import annotations

import sys

import pytest

from tests.cli.places import made


@pytest.fixture(scope="session")
def places(tmp_path_factory):
    """The folder that the command lines call {p}."""
    return made(tmp_path_factory.mktemp("places"))


@pytest.fixture
def elsewhere(places, tmp_path, monkeypatch):
    """An empty working directory, and the packages that the folders name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(places / "packages")
    monkeypatch.setattr(sys, "argv", ["latentrun"])
    for name in ("LATENTRUN_DATA", "LATENTRUN_CONFIG_PATH", "LATENTRUN_DEBUG", "nothing"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def unmade(monkeypatch):
    """No run and no sweep is made: what would be is a failure at once, not a training."""

    def refuse(*_, **__):
        raise AssertionError("a directory would be made")

    monkeypatch.setattr("latentrun.store.RunDirectory.create", refuse)
    monkeypatch.setattr("latentrun.sweep.plan.Sweep.create", refuse)

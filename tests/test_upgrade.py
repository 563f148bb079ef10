"""Runs of older versions stay readable."""

from __future__ import annotations

import pytest
import torch
import yaml

import latentrun
from latentrun.cli import main
from latentrun.store.upgrade import SINCE, upgraded
from tests.conformance import parts

LINE = ["data=digits", "network=dense", "network.widths=[8]", "rows=64", "training.epochs=1", "diagnostic=[]"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code


def without(settings, added):
    """A configuration as it was before its classes had the settings ``added``."""
    if isinstance(settings, list):
        return [without(value, added) for value in settings]
    if not isinstance(settings, dict):
        return settings
    gone = added.get(settings.get("_target_"), {})
    return {key: without(value, added) for key, value in settings.items() if key not in gone}


@pytest.mark.parametrize("model", ["vae", "two_stage_vae"])
def test_a_run_from_before_a_setting_is_read_as_it_was(tmp_path, model):
    path = tmp_path / "run"
    assert run(*LINE, f"model={model}", f"hydra.run.dir={path}") == 0
    before = latentrun.load(path)
    file = path / ".hydra" / "config.yaml"
    old = without(yaml.safe_load(file.read_text()), SINCE)
    assert old != yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(old))
    after = latentrun.load(path)
    z = torch.randn(5, before.model.latent_dim)
    assert torch.equal(before.decode(z), after.decode(z)) and after.config == before.config
    assert run("task=diagnose", f"run={path}", "diagnostic=[sparsity]") == 0


def test_what_a_run_says_itself_stays():
    own = {"_target_": "latentrun.models.vae.VAE", "free_bits": 0.5}
    assert upgraded({"model": own, "list": [own]})["list"][0]["free_bits"] == 0.5
    assert upgraded(own)["cycles"] == 1 and own == {"_target_": "latentrun.models.vae.VAE", "free_bits": 0.5}


def test_the_values_are_those_of_the_shipped_options():
    """An older run is what a new one is with the settings as shipped."""
    assert SINCE["latentrun.models.vae.VAE"].items() <= parts.spec("model", "vae").items()
    assert SINCE["latentrun.training.loop.Training"].items() <= parts.spec("training", "default").items()

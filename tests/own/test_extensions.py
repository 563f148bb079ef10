"""What the example package adds, each by one Python file and one YAML: a latent manifold with a model on it,
an adversarial pair, a model that needs no training, a diagnostic with a need of its own, an experiment after
training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import latentrun
from latentrun.store import RunDirectory
from tests.own.test_own import CONF, run

BOX = ["--config-dir", CONF, "data=ellipsoid", "network=dense", "network.widths=[16]", "figures=[]"]


def metrics_of(path) -> pd.DataFrame:
    return pd.read_csv(path / "tables" / "metrics.csv").set_index("diagnostic")


def test_codes_on_a_sphere_and_samples_projected_to_it(tmp_path):
    path = tmp_path / "run"
    line = ["model=sphere_ae", "training.epochs=3", "diagnostic=[reconstruction,samples,latents,density]"]
    assert run(*BOX, *line, "skip_inapplicable=true", f"hydra.run.dir={path}") == 0
    sphere = latentrun.load(path, trust=["ellipsoids"])
    assert (sphere.model.spaces["z"].name, sphere.model.latent_dim) == ("s2", 3)
    z = sphere.latents("test").codes
    assert torch.allclose(z.norm(dim=1), torch.ones(len(z)), atol=1e-5)
    drawn = sphere.sample_codes(50, latentrun.functional.noise.Noise(0))
    assert torch.allclose(drawn.norm(dim=1), torch.ones(50), atol=1e-5)
    metrics = metrics_of(path)
    assert set(metrics.loc[["reconstruction"], "status"]) == {"ok"}
    assert list(metrics.loc[["density"], "status"]) == ["skipped"]  # whitening bends a sphere
    notes = RunDirectory(path).entries["density"]["notes"]
    assert notes == ["needs a flat latent space; model 'sphere_ae' has none"]


def test_a_gan_pair_with_optimisers_of_its_own_and_a_moving_average(tmp_path):
    path = tmp_path / "run"
    line = ["model=duel", "training.epochs=6", "training.patience=null", "diagnostic=[samples]"]
    own = "training.optimizers={critic:{_target_:torch.optim.RMSprop,lr:0.002}}"
    assert run(*BOX, *line, own, "training.batch_size=20", f"hydra.run.dir={path}") == 0
    train = pd.read_csv(path / "tables" / "train.csv")
    assert train["val/monitor"].iloc[-1] < train["val/monitor"].iloc[0]
    last = RunDirectory(path).load_checkpoint("last")
    assert last["progress"]["rows"][0].keys() >= {"train/critic/loss", "train/generator/loss"}
    model = last["model"]
    averages = [name for name in model if name.startswith("average.")]
    assert any(not torch.equal(model[name], model["generator." + name[8:]]) for name in averages)
    assert not (path / "arrays" / "history.npz").exists()


def test_a_model_without_phases_is_saved_loaded_and_measured(tmp_path, capsys):
    path = tmp_path / "run"
    assert run(*BOX, "model=turned", "diagnostic=[roundness,reconstruction]", f"hydra.run.dir={path}") == 0
    assert metrics_of(path).loc["roundness", "value"] == pytest.approx(1, abs=1e-4)
    turned = latentrun.load(path, trust=["ellipsoids"])
    x = turned.x("test")
    assert torch.allclose(turned.decode(turned.encode(x)), x, atol=1e-5)
    assert run("--config-dir", CONF, f"resume={path}", "trust=[ellipsoids]") == 0
    assert "nothing to resume" in capsys.readouterr().out


def test_a_need_of_ones_own_is_told_before_training(tmp_path, capsys):
    line = ["--config-dir", CONF, "data=digits", "model=ae", "diagnostic=[roundness]"]
    assert run(*line, f"hydra.run.dir={tmp_path / 'run'}") == 2
    assert "diagnostic 'roundness' needs vectors; data 'digits' has none" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_an_experiment_after_training_brings_its_phases_and_caveats(tmp_path):
    path = tmp_path / "run"
    line = ["model=pca", "training=settle", "training.epochs=1", "diagnostic=[]"]
    assert run(*BOX, *line, f"hydra.run.dir={path}") == 0
    assert pd.read_csv(path / "tables" / "train.csv")["phase"].tolist() == ["pca", "settle", "settle"]
    assert "After training it settled for 2 epochs." in RunDirectory(path).meta["caveats"]
    assert np.isfinite(pd.read_csv(path / "tables" / "train.csv")["val/monitor"]).all()

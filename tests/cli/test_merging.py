"""What is composed once and set on copies is what Hydra composes."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from latentrun.command.compose import compose_job
from latentrun.command.merging import _options, merged
from latentrun.command.overrides import read
from latentrun.command.registration import register, search_path, version_base
from latentrun.config.options import shipped


def by_hydra(lines, folders=()):
    """The configuration composed anew, and by Hydra alone."""
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(shipped()), job_name="latentrun", **version_base()):
        return hydra.compose("config", [*lines, *search_path(folders)], return_hydra_config=True)


def parsed(lines):
    return [read(line, "") for line in lines]


def ours(lines, folders=()):
    register()
    return merged(parsed(lines), folders)


LINES = (
    "",
    "seed=3 output=x",
    "model=ae data=heatmaps model.latent_dim=5 training.epochs=2",
    "data.size=12 experiment=heatmaps_vae_vs_ae training.batch_size=4 model=vae",
    "experiment=er_circle seed=1 hydra.job.num=7 'hydra.sweep.dir=/nowhere'",
    "model=vae model.likelihood=bernoulli model.latent_dim=2",
    "+model.likelihood.more=1 ++seed=2 ~training.epochs",
    "diagnostic=[sparsity,reconstruction] ~diagnostic.sparsity diagnostic.reconstruction.resamples=7",
    "~experiment model={latent_dim:3} seed=1 +own={a:{b:[1,2]}} own.a.b=[3]",
    "hydra.job.config.override_dirname.exclude_keys=[seed] seed=5 model.latent_dim=4",
    "hydra.job.name=mine hydra.job.env_copy=[HOME] hydra/launcher=basic hydra.verbose=true",
    "task=diagnose run=somewhere diagnostic=[likelihood]",
)


@pytest.mark.parametrize("line", LINES)
def test_it_is_what_hydra_composes(line, tmp_path, monkeypatch):
    lines = [override.input_line for override in parsed(line.replace("'", "").split())]
    expected = by_hydra(lines)
    for place in (".", tmp_path):  # the second time from what was composed the first
        monkeypatch.chdir(place)
        expected.hydra.runtime.cwd = str(Path.cwd())
        got = ours(lines)
        assert OmegaConf.to_yaml(got) == OmegaConf.to_yaml(expected)
        for where in ("", "hydra", "model", "hydra.job"):
            flags = [OmegaConf.select(cfg, where) if where else cfg for cfg in (got, expected)]
            assert len({(OmegaConf.is_struct(cfg), OmegaConf.is_readonly(cfg)) for cfg in flags}) == 1


@pytest.mark.parametrize(
    "line", ["model.no_such=1", "+seed=1", "seed.a=1", "~nothing.there", "model@other=vae", "training=[1]"]
)
def test_its_errors_are_hydras(line):
    with pytest.raises(Exception) as expected:
        by_hydra([line])
    with pytest.raises(type(expected.value)) as got:
        ours([line])
    assert str(got.value) == str(expected.value)
    assert str(got.value.__cause__) == str(expected.value.__cause__)


def test_values_do_not_compose_anew_and_are_of_one_copy():
    first = ours(["model=ae", "model.latent_dim=5"])
    misses = _options.cache_info().misses
    second = ours(["model=ae", "seed=9"])
    assert _options.cache_info().misses == misses
    assert (first.model.latent_dim, first.seed) == (5, ours([]).seed)
    assert (second.model.latent_dim, second.seed) == (ours(["model=ae"]).model.latent_dim, 9)


def test_every_configuration_has_a_time_of_its_own():
    first, second = (str(compose_job(["model=ae"], []).hydra.run.dir) for _ in range(2))
    assert first != second


def test_files_that_change_are_read_again(tmp_path):
    file = tmp_path / "variant" / "mine.yaml"
    file.parent.mkdir()
    for seed in (11, 12345):
        file.write_text(f"# @package _global_\n# A seed.\nseed: {seed}\n")
        assert ours(["variant=mine"], [tmp_path]).seed == seed
    file.unlink()
    with pytest.raises(ConfigCompositionException):
        ours(["variant=mine"], [tmp_path])


def test_an_option_of_a_group_of_ones_own_is_chosen(tmp_path):
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "few.yaml").write_text("epochs: 3\n")
    assert OmegaConf.to_yaml(ours(["+extra=few", "seed=2"], [tmp_path])) == OmegaConf.to_yaml(
        by_hydra(["+extra=few", "seed=2"], [tmp_path])
    )

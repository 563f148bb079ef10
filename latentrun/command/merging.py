"""What Hydra makes of overrides. It reads and merges thirty files each time, a fifth of a second: here that
is done once for each choice of options, and values are set on a copy; a sweep's jobs, and a claim's, differ
in values alone."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun.command.registration import search_path, stable, version_base
from latentrun.config.options import EVERY, shipped, stamps

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

KEPT = 64  # choices of options: a configuration takes about 1 MB


def merged(overrides: Sequence[Override], folders: Sequence[Path]) -> DictConfig:
    """The configuration, with the node ``hydra``, as ``hydra.compose`` gives it for the same overrides, and
    its errors."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.errors import ConfigCompositionException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices, values = [], []
    for override in overrides:
        (choices if _chooses(override, folders) else values).append(override)
    chosen = [override.input_line for override in choices]
    cfg = copy.deepcopy(_options((*chosen, *search_path(folders)), stamps(folders)))
    OmegaConf.clear_cache(cfg)  # a copy shares it, and what ${now:...} gave another configuration is in it
    try:
        ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
        _record(cfg, overrides, folders)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException() from error
    return cfg


def _chooses(override: Override, folders: Sequence[Path]) -> bool:
    """Whether files are chosen by an override, or more than one value given, which Hydra refuses: all that
    does not merely set a value of what the chosen files say."""
    if override.is_sweep_override():
        return True
    key = override.key_or_group
    group = (
        key in (*EVERY, "hydra", "hydra.searchpath")
        or "/" in key
        or any((folder / key).is_dir() for folder in folders)
    )
    return (group or override.package is not None) and not isinstance(override.value(), dict)


@lru_cache(KEPT)
def _options(lines: tuple[str, ...], files: tuple[tuple[str, int, int], ...]) -> DictConfig:
    """What Hydra composes; ``files``: those it reads, and others."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(shipped()), job_name="latentrun", **version_base()):
        return hydra.compose("config", list(lines), return_hydra_config=True)


def _record(cfg: DictConfig, overrides: Sequence[Override], folders: Sequence[Path]) -> None:
    """What Hydra writes down of the overrides, of all in their order."""
    from omegaconf import open_dict

    own = [override for override in overrides if not override.is_hydra_override()]
    cfg.hydra.overrides.task = [override.input_line for override in own]
    others = [override.input_line for override in overrides if override.is_hydra_override()]
    cfg.hydra.overrides.hydra = [*others, *search_path(folders)]
    cfg.hydra.runtime.cwd = os.getcwd()
    with open_dict(cfg.hydra):
        for name in cfg.hydra.job.env_copy:
            cfg.hydra.job.env_set[name] = os.environ[name]
    if stable():  # later releases work it out when it is asked for
        from hydra._internal.config_loader_impl import get_overrides_dirname

        names = cfg.hydra.job.config.override_dirname
        cfg.hydra.job.override_dirname = get_overrides_dirname(
            overrides=own, exclude_keys=names.exclude_keys, item_sep=names.item_sep, kv_sep=names.kv_sep
        )

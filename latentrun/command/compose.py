"""The command line to a configuration, or one line that says what is wrong with it. Here Hydra's own words
end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from latentrun.command.keys import misplaced
from latentrun.command.merging import merged
from latentrun.command.overrides import (
    all_overrides,
    check_options,
    first_jobs,
    params_of,
    read,
    require_few,
    require_once,
)
from latentrun.command.registration import register
from latentrun.command.values import drop, unchosen
from latentrun.config.options import EVERY, GROUPS, defaults, shipped
from latentrun.errors import InputError, one_line, unknown

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

# launchers and sweepers of other packages, by the module that must be there; the name is that of our extra
ENGINES = {
    "hydra/launcher=joblib": ("hydra_joblib_launcher", "joblib"),
    "hydra/launcher=submitit_local": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=submitit_slurm": ("hydra_submitit_launcher", "submitit"),
    "hydra/launcher=ray": ("hydra_ray_launcher", "ray"),
    "hydra/sweeper=optuna": ("hydra_optuna_sweeper", "optuna"),
}


# ---------------------------------------------------------------- composing
def compose(overrides: Sequence[str], folders: Sequence[Path], sweep: bool = False) -> DictConfig:
    """The configuration, with the node ``hydra`` resolved as in a run; InputError in one line where it cannot
    be made.

    ``sweep``: overrides may hold several values, and options may sweep more (see
    :func:`latentrun.command.overrides.all_overrides`). What is returned is then the first job; every option
    that some job names has been composed too, one after the other. Without it comparisons that an option
    brings along are left out: they are of a sweep's runs.
    """
    register()
    parsed = _parsed(overrides)
    require_once(parsed)
    if not sweep:
        cfg = compose_job(overrides, folders)
        named = any(override.key_or_group.partition(".")[0] == "comparison" for override in parsed)
        if not named and "runs" not in cfg.keys():  # a task of several runs takes them
            drop(cfg, [("comparison", name) for name in cfg.get("comparison") or ()])
        return cfg
    cfg = _first(parsed, overrides, folders)
    if params := params_of(cfg.hydra):
        try:
            texts = all_overrides(overrides, cfg.hydra)
            cfg = _first(_parsed(texts), texts, folders)
        except InputError as error:
            raise InputError(f"hydra.sweeper.params ({_shown(params)}): {error}") from None
    if cfg.hydra.runtime.choices["hydra/sweeper"] == "basic":  # a search draws from its ranges
        require_few(_parsed(all_overrides(overrides, cfg.hydra)))
    return _settled(cfg)


def compose_job(overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """The configuration of a single run or of one job of a sweep, as :func:`compose` makes it."""
    parsed = _parsed(overrides)
    for override in parsed:
        _check(override, overrides, folders)
    return _settled(_composed(parsed, folders))


def _parsed(overrides: Sequence[str]) -> list[Override]:
    return [read(text, after) for text, after in zip(overrides, [*overrides[1:], ""], strict=False)]


def _settled(cfg: DictConfig) -> DictConfig:
    """The configuration as that of the command in hand."""
    from hydra.core.hydra_config import HydraConfig

    HydraConfig.instance().set_config(cfg)
    return cfg


def _first(parsed: Sequence[Override], overrides: Sequence[str], folders: Sequence[Path]) -> DictConfig:
    """The first job of a sweep; InputError where one of its options cannot be composed, or sweeps by itself
    while it is swept."""
    jobs = first_jobs(parsed, folders)
    for job in jobs:
        for override in job:
            _check(override, overrides, folders)
    cfgs = [_composed(job, folders) for job in jobs]
    swept = [params_of(cfg.hydra) for cfg in cfgs]
    if any(swept):
        _require_seen(parsed, jobs, swept, folders)
    return cfgs[0]


def _require_seen(
    parsed: Sequence[Override],
    jobs: Sequence[Sequence[Override]],
    swept: Sequence[Mapping[str, str]],
    folders: Sequence[Path],
) -> None:
    """InputError where an option that is swept itself sweeps something: Hydra's own sweeper would not see it.
    ``swept``: what each of the jobs sweeps."""
    shared = [
        override
        for override in parsed
        if not override.is_sweep_override()
        and (override.key_or_group in EVERY or override.key_or_group.startswith("hydra"))
    ]
    seen = params_of(merged(shared, folders).hydra)
    for job, params in zip(jobs, swept, strict=True):
        if params != seen:
            options = [each.input_line for each in job if each.key_or_group in EVERY and each not in shared]
            raise InputError(
                f"{' '.join(options)} sweeps {_shown(params) or 'nothing'} by itself "
                "(hydra.sweeper.params): choose it alone"
            )


def _shown(params: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in params.items())


def _composed(job: Sequence[Override], folders: Sequence[Path]) -> DictConfig:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = merged(job, folders)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{str(mark.name)!r}, line {mark.line + 1}: " if mark is not None else ""
        raise InputError(f"{place}{error.problem}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"a file of {', '.join(map(str, folders))} is not UTF-8: {error}") from None
    except (HydraException, OmegaConfBaseException, ValueError, AssertionError) as error:
        raise _explained(error, job, folders) from None
    for override in job:
        if override.is_delete() and "." not in override.key_or_group and override.key_or_group not in GROUPS:
            raise InputError(f"{override.input_line!r}: {override.key_or_group} cannot be left out")
    idle = unchosen(cfg)
    drop(cfg, idle)
    for override in job:
        if tuple(override.key_or_group.split(".")[:2]) in idle:
            wrong = misplaced(override, cfg, folders)
            if wrong is not None:
                raise wrong
    return cfg


# ---------------------------------------------------------------- what can be said before composing
def _check(override: Override, overrides: Sequence[str], folders: Sequence[Path]) -> None:
    """Names of options, packages that are not installed, and what may not be done to a group; InputError."""
    text, key = override.input_line, override.key_or_group
    module, wanted = ENGINES.get(text, ("", ""))
    if module and not find_spec(f"hydra_plugins.{module}"):
        package = module.replace("_", "-")
        raise InputError(f"{text}: {package} is not installed: pip install 'latentrun[{wanted}]'")
    if override.is_sweep_override():
        a_list = f"; a list is written '{key}=[...]'" if isinstance(defaults().get(key), list) else ""
        raise InputError(f"{text!r}: several values need a sweep: latentrun -m {' '.join(overrides)}{a_list}")
    if key in EVERY and not override.is_delete():
        check_options(override, [shipped(), *folders])
    elif key in GROUPS and defaults()[key] is not None:
        none = f"; write '{key}=[]' for none" if isinstance(defaults()[key], list) else ""
        raise InputError(f"{text!r}: {key} cannot be left out{none}")


# ---------------------------------------------------------------- what Hydra refused
def _chooses(key: str, groups: Sequence[str]) -> bool:
    """Whether an override chooses an option of one of the groups, or of Hydra's own."""
    return key in groups or key.startswith("hydra/")


def _explained(error: Exception, job: Sequence[Override], folders: Sequence[Path]) -> InputError:
    """What is wrong with the overrides of a job that does not compose, in one line with the nearest valid
    name."""
    cfg = None
    for groups in (EVERY, GROUPS):  # the second where what is chosen within an option has no place there
        try:
            cfg = merged([each for each in job if _chooses(each.key_or_group, groups)], folders)
            drop(cfg, unchosen(cfg))
            break
        except Exception:  # the options themselves do not compose
            cfg = None
    for override in job if cfg is not None else ():
        if override.key_or_group not in GROUPS and not override.key_or_group.startswith("hydra/"):
            wrong = misplaced(override, cfg, folders)
            if wrong is not None:
                return wrong
    missing = getattr(error, "missing_cfg_file", None)
    if missing and getattr(error, "options", None):
        group, _, name = str(missing).rpartition("/")
        engines = [engine.partition("=")[2] for engine in ENGINES if engine.startswith(f"{group}=")]
        return unknown(group, name, {*error.options, *engines})
    what, _, rest = str(error).strip().partition("\n")
    why = ""
    if error.__cause__ is not None or what.endswith(":"):
        why = one_line(error.__cause__ or rest.split("\n")[0])
    return InputError(": ".join(filter(None, (one_line(what).rstrip(".:"), why))))

"""The entry point: argv in, exit code out. The only module, with launchers, that knows Hydra; no torch before a task runs."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentrun import __version__
from latentrun.errors import InputError, nearest, unknown
from latentrun.machine import prepare
from latentrun.options import GROUPS, extra, help_text, options, shipped

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        sys.exit(command(argv))
    except InputError as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        print(f"latentrun: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("latentrun: interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        print(f"latentrun: failed: {type(error).__name__}: {error} (LATENTRUN_DEBUG=1 shows the traceback)", file=sys.stderr)
        sys.exit(1)


def command(argv: list[str]) -> int:
    """Do what ``argv`` asks for; the exit code."""
    if {"-h", "--help"} & set(argv):
        print(help_text([shipped(), *extra(_flag(argv, "--config-dir", "-cd"))]))
        return 0
    if "--version" in argv:
        print(f"latentrun {__version__}")
        return 0
    arguments = parse(argv)
    folders = extra(arguments.config_dir)
    if arguments.multirun or arguments.info or arguments.shell_completion or arguments.hydra_help or arguments.package:
        return hand_over(arguments, folders)
    cfg = compose(arguments.overrides, folders)
    if arguments.cfg:
        show(cfg, arguments.cfg, arguments.resolve)
        return 0
    return perform(settings_of(cfg), cfg.hydra, Path(cfg.hydra.run.dir))


def parse(argv: list[str]) -> Namespace:
    """Hydra's own flags and the overrides, in any order."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.prog = "latentrun"
    known = [option for action in parser._actions for option in action.option_strings]
    for text in argv:
        if text.startswith("--") and text.partition("=")[0] not in known:
            raise InputError(f"unknown flag {text!r}{nearest(text, known)}; see latentrun --help")
    return parser.parse_intermixed_args(argv)


# ---------------------------------------------------------------- composing
def compose(overrides: list[str], folders: list[Path]) -> DictConfig:
    """The configuration, with the node ``hydra`` resolved as in a run; InputError in one line where it cannot be made."""
    from hydra.core.hydra_config import HydraConfig

    cfg = _explained(overrides, folders)
    HydraConfig.instance().set_config(cfg)
    return cfg


def _explained(overrides: list[str], folders: list[Path]) -> DictConfig:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        return _raw(overrides, folders)
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise explain(error, overrides, folders) from None


def _raw(overrides: list[str], folders: list[Path]) -> DictConfig:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(shipped()), job_name="latentrun", **version_base()):
        return hydra.compose("config", [*overrides, *search_path(folders)], return_hydra_config=True)


def search_path(folders: list[Path]) -> list[str]:
    """The override that lets Hydra find the user's own options."""
    return [f"hydra.searchpath=[{','.join(f'file://{folder}' for folder in folders)}]"] if folders else []


def version_base() -> dict[str, str]:
    """Hydra 1.3 wants to be told which defaults hold; 1.4 warns when it is."""
    import hydra

    return {"version_base": "1.3"} if hydra.__version__.startswith("1.3") else {}


def register() -> None:
    """``${slug:text}``: text as a folder name, at most 80 characters."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("slug", lambda text: re.sub(r"[^\w.=,+-]+", "-", str(text))[:80] or "job", replace=True)


def explain(error: Exception, overrides: list[str], folders: list[Path]) -> InputError:
    """What is wrong with the overrides, in one line with the nearest valid name."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    everywhere = [shipped(), *folders]
    parser, sound = OverridesParser.create(), []
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException:
            return InputError(f"{text!r} cannot be read; write key=value, lists as 'key=[a,b]', texts with special characters in quotes")
        key = override.key_or_group.removeprefix("/")
        if override.is_sweep_override():
            return InputError(f"{text!r}: several values need a sweep: latentrun -m {' '.join(overrides)}")
        if key in GROUPS:
            known = options(key, everywhere)
            value = override.value()
            for name in value if isinstance(value, list) else [value]:
                if str(name) not in known and not (name is None and key in ("experiment", "debug")):
                    return unknown(key, str(name), known)
            sound.append(text)
    wrong = _unknown_key(parser.parse_overrides(overrides), sound, folders)
    return wrong or InputError(" ".join(str(error).split("\n")[0].split()))


def _unknown_key(overrides: list, sound: list[str], folders: list[Path]) -> InputError | None:
    """The first override of a value that does not exist."""
    from omegaconf import DictConfig

    try:
        cfg = _raw(sound, folders)
    except Exception:  # the groups alone do not compose: the caller shows Hydra's own words
        return None
    for override in overrides:
        key = override.key_or_group
        if key in GROUPS or override.is_add() or override.is_force_add() or key.startswith("hydra"):
            continue
        node: Any = cfg
        parts = key.split(".")
        for depth, part in enumerate(parts):
            if isinstance(node, DictConfig) and part in node:
                node = node._get_node(part)
                continue
            siblings = [str(name) for name in node] if isinstance(node, DictConfig) else []
            siblings = [name for name in siblings if name not in ("hydra", "_target_")]
            prefix = ".".join(parts[:depth])
            if not prefix:
                siblings = [*siblings, *(group for group in GROUPS if group not in siblings)]
            return unknown("key" if not prefix else f"key of {prefix}", key if not prefix else part, siblings)
    return None


def first_values(overrides: list[str]) -> list[str]:
    """The overrides with the first value of every sweep: what its first job is composed from."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except HydraException:  # `explain` says which one
        return overrides
    swept = [f"{o.get_key_element()}={next(iter(o.sweep_string_iterator()))}" if o.is_sweep_override() else None for o in parsed]
    return [first or text for first, text in zip(swept, overrides, strict=True)]


def show(cfg: DictConfig, which: str, resolve: bool) -> None:
    """Print the configuration, as ``--cfg job|hydra|all`` asks."""
    from omegaconf import OmegaConf

    if which == "job":
        cfg = settings_of(cfg)
    print(OmegaConf.to_yaml(cfg.hydra if which == "hydra" else cfg, resolve=resolve), end="")


def settings_of(cfg: DictConfig) -> DictConfig:
    """The configuration without Hydra's own node."""
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"])


# ---------------------------------------------------------------- doing
def perform(settings: DictConfig, hydra: DictConfig, path: Path) -> int:
    """Carry out the task of a composed configuration in the run directory ``path``; the exit code."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = {key: value for key, value in hydra.runtime.choices.items() if not str(key).startswith("hydra/")}
    about = {"choices": choices, "overrides": list(hydra.overrides.task)}
    try:
        missing = sorted(OmegaConf.missing_keys(settings))
        if missing:
            raise InputError(f"{missing[0]}: a value is needed: {missing[0]}=...")
        plain = OmegaConf.to_container(settings, resolve=True)
    except OmegaConfBaseException as error:
        raise InputError(" ".join(str(error).split("\n")[0].split())) from None
    plain["diagnostic"] = plain.get("diagnostic") or {}  # an empty list leaves no node behind
    default_list = list(plain["diagnostic"]) == default_diagnostics()

    prepare()
    from latentrun import pipeline

    pipeline.begin(plain)
    if plain["task"] == "diagnose":
        return pipeline.diagnose(plain, default_list)
    from latentrun.plan import plan

    return pipeline.train(plan(plain, choices, default_list), path, about)


def default_diagnostics() -> list[str]:
    """The list in ``conf/config.yaml``."""
    import yaml

    defaults = yaml.safe_load((shipped() / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    return next(entry["diagnostic"] for entry in defaults if isinstance(entry, dict) and "diagnostic" in entry)


def job(cfg: DictConfig) -> int:
    """One job of a sweep, in the directory that Hydra made for it."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    try:
        code = perform(cfg, hydra, Path(hydra.runtime.output_dir))
    except InputError as error:
        print(f"latentrun: job {hydra.job.num}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if code:
        raise RuntimeError(f"job {hydra.job.num} failed; see {hydra.runtime.output_dir}")
    return code


def hand_over(arguments: Namespace, folders: list[Path]) -> int:
    """Let Hydra do what is its own: sweeps, ``--info``, completion."""
    import hydra

    register()
    overrides = list(arguments.overrides)
    if arguments.multirun:
        _explained(first_values(overrides), folders)
    flags = ["--multirun"] if arguments.multirun else []
    flags += ["--resolve"] if arguments.resolve else []
    flags += [f"--{name}={value}" for name in ("cfg", "info", "package") if (value := getattr(arguments, name))]
    flags += ["--shell-completion"] if arguments.shell_completion else []
    flags += ["--hydra-help"] if arguments.hydra_help else []
    sys.argv = [sys.argv[0], *flags, *overrides, *search_path(folders)]
    hydra.main(config_path=str(shipped()), config_name="config", **version_base())(job)()
    return 0


def _flag(argv: list[str], *names: str) -> str | None:
    """The value of a flag, before argparse is at hand."""
    for i, text in enumerate(argv):
        if text in names and i + 1 < len(argv):
            return argv[i + 1]
        if text.partition("=")[0] in names and "=" in text:
            return text.partition("=")[2]
    return None

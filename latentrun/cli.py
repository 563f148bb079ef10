"""The entry point: argv in, exit code out; no torch before a task runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from latentrun import __version__
from latentrun.command.completion import complete
from latentrun.command.compose import compose
from latentrun.command.flags import folders_of, parse
from latentrun.command.help import START, help_text
from latentrun.command.listing import listing
from latentrun.command.registration import register, search_path, version_base
from latentrun.command.typed import typed
from latentrun.command.values import place_of, readable_errors, settings_of
from latentrun.config.options import shipped
from latentrun.config.settings import key_of
from latentrun.errors import InputError, described
from latentrun.system.disk import require_room
from latentrun.system.interrupts import Interrupted, interruptible
from latentrun.system.machine import prepare, settle
from latentrun.system.pipe import CLOSED, mute
from latentrun.system.terminal import Voice, clear, printable, show, wait_for

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with interruptible():
            code = command(argv)
            clear()
            sys.stdout.flush()
        sys.exit(code)
    except InputError as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        show(*(f"latentrun: {printable(line)}" for line in error.lines), error=True)
        sys.exit(2)
    except Interrupted as stopped:
        show(f"latentrun: {stopped}", error=True)
        sys.exit(stopped.code)
    except PermissionError as error:  # of a file or folder that the command line names
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        show(f"latentrun: {error.filename!r}: {error.strerror}", error=True)
        sys.exit(2)
    except BrokenPipeError:
        mute()
        sys.exit(CLOSED)
    except Exception as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        show(f"latentrun: failed: {described(error)} (LATENTRUN_DEBUG=1 shows the traceback)", error=True)
        sys.exit(1)


def command(argv: list[str]) -> int:
    """Do what ``argv`` asks for; the exit code."""
    if not argv:
        show(START)
        return 0
    arguments = parse(argv)
    if arguments.version:
        show(f"latentrun {__version__}")
        return 0
    if arguments.shell_completion:
        return complete(arguments)
    folders = folders_of(arguments)
    arguments.overrides = [typed(text, arguments.multirun) for text in arguments.overrides]
    if arguments.help and not arguments.overrides:
        show(help_text([shipped(), *folders]))
        return 0
    Voice.quiet = arguments.quiet
    wait_for("latentrun: reading the settings ...")
    cfg = compose(arguments.overrides, folders, sweep=arguments.multirun)
    if arguments.help:
        show(listing(cfg, arguments.overrides))
        return 0
    if arguments.multirun:
        return sweep(arguments.overrides, cfg, folders)
    if arguments.info or arguments.hydra_help:
        flag = "--hydra-help" if arguments.hydra_help else f"--info={arguments.info}"
        return hand_over([flag], arguments.overrides, folders)
    if arguments.cfg:
        show_settings(cfg, arguments.cfg, arguments.package, arguments.resolve)
        return 0
    return perform(settings_of(cfg), cfg.hydra, place_of(cfg.hydra, "run"))


def show_settings(cfg: DictConfig, which: str, package: str | None, resolve: bool) -> None:
    """Print the configuration, or the part ``package`` of it, as ``--cfg job|hydra|all`` asks."""
    from omegaconf import OmegaConf

    with readable_errors():
        shown = {"job": settings_of(cfg), "hydra": cfg.hydra, "all": cfg}[which]
        if package is not None:
            shown = OmegaConf.select(shown, package)
            if shown is None:
                raise InputError(f"--package: the configuration has no {package!r}")
        text = OmegaConf.to_yaml(shown, resolve=resolve) if OmegaConf.is_config(shown) else str(shown)
        show(text.rstrip())


def perform(settings: DictConfig, hydra: DictConfig, path: Path) -> int:
    """Carry out the task of a composed configuration in the directory ``path``; the exit code."""
    prepare()
    wait_for("latentrun: loading torch ...")
    from latentrun.command.command import command_of

    task, given = command_of(settings, hydra, path)
    settle(given.values["threads"])
    task.require_beside(given)
    return task.run(given)


# ---------------------------------------------------------------- several values
def sweep(overrides: list[str], cfg: DictConfig, folders: list[Path]) -> int:
    """What ``-m`` asks for, ``cfg`` being the first job; the exit code."""
    path = place_of(cfg.hydra, "sweep")
    require_room(path)
    prepare()
    wait_for("latentrun: loading torch ...")
    from latentrun.sweep.engine import warm

    if cfg.hydra.runtime.choices["hydra/launcher"] == "process":
        warm("latentrun.tasks.child")  # while the jobs are composed and checked
    from latentrun.command.values import trust_of, values_of
    from latentrun.tasks.base import task_of

    values = values_of(settings_of(cfg))
    trust = trust_of(values, cfg.hydra)
    task = task_of(values, trust)
    task.require_single()
    for text in overrides:
        if key_of(text) == "hydra.run.dir":
            raise InputError(f"{text!r}: the directory of a sweep is hydra.sweep.dir=...")
    if not task.planned:
        return hand_over(["--multirun"], [*overrides, "hydra/launcher=basic"], folders)
    from latentrun.launchers.planned import sweep as planned_sweep

    return planned_sweep(overrides, cfg, path, folders, trust.for_its_runs())


def job(cfg: DictConfig) -> int:
    """One job of a sweep, in the directory that Hydra made for it."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    try:
        code = perform(cfg, hydra, Path(hydra.runtime.output_dir))
    except InputError as error:
        show(f"latentrun: job {hydra.job.num}: {printable(str(error))}", error=True)
        raise SystemExit(2) from None
    if code:
        raise RuntimeError(f"job {hydra.job.num} failed; see {hydra.runtime.output_dir}")
    return code


def hand_over(flags: list[str], overrides: list[str], folders: list[Path]) -> int:
    """Let Hydra do what is its own: sweeps of tasks that train nothing, ``--info``, ``--hydra-help``."""
    import hydra

    clear()
    register()
    sys.argv = [sys.argv[0], *flags, *overrides, *search_path(folders)]
    hydra.main(config_path=str(shipped()), config_name="config", **version_base())(job)()
    return 0

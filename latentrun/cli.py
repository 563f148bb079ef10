"""The entry point: argv in, exit code out; no torch before a task runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentrun import __version__
from latentrun.command.completion import complete
from latentrun.command.compose import (
    about_of,
    compose,
    folders_of,
    own_packages,
    parse,
    register,
    search_path,
    settings_of,
    told,
    values_of,
    version_base,
)
from latentrun.config.options import digests, help_text, shipped
from latentrun.errors import InputError, one_line, unknown
from latentrun.system.disk import require_room
from latentrun.system.interrupts import Interrupted, interruptible
from latentrun.system.machine import prepare

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code: 0 done, 1 failed, 2 wrong input, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        with interruptible():
            code = command(argv)
        sys.exit(code)
    except InputError as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        print(f"latentrun: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(f"latentrun: {stopped}", file=sys.stderr)
        sys.exit(stopped.code)
    except Exception as error:
        if os.environ.get("LATENTRUN_DEBUG"):
            raise
        print(
            f"latentrun: failed: {type(error).__name__}: {one_line(error)} (LATENTRUN_DEBUG=1 shows "
            "the traceback)",
            file=sys.stderr,
        )
        sys.exit(1)


def command(argv: list[str]) -> int:
    """Do what ``argv`` asks for; the exit code."""
    arguments = parse(argv)
    if arguments.version:
        print(f"latentrun {__version__}")
        return 0
    if arguments.shell_completion:
        return complete(arguments)
    folders = folders_of(arguments)
    if arguments.help:
        print(help_text([shipped(), *folders]))
        return 0
    cfg = compose(arguments.overrides, folders, sweep=arguments.multirun)
    if arguments.multirun:
        return sweep(arguments.overrides, cfg, folders)
    if cfg.get("comparison") and cfg.task != "compare":
        raise InputError(
            "comparison: one run has nothing to compare it with: task=compare runs=[DIR,...], or a sweep (-m)"
        )
    if arguments.info or arguments.hydra_help:
        return hand_over(
            ["--hydra-help"] if arguments.hydra_help else [f"--info={arguments.info}"],
            arguments.overrides,
            folders,
        )
    if arguments.cfg:
        show(cfg, arguments.cfg, arguments.package, arguments.resolve)
        return 0
    if cfg.task == "claims":
        return claims(arguments.overrides, cfg, folders)
    if cfg.get("claim"):
        raise InputError("claim: belongs to task=claims")
    with told():
        path = Path(cfg.hydra.run.dir)
    return perform(settings_of(cfg), cfg.hydra, path)


def show(cfg: DictConfig, which: str, package: str | None, resolve: bool) -> None:
    """Print the configuration, or the part ``package`` of it, as ``--cfg job|hydra|all`` asks."""
    from omegaconf import OmegaConf

    with told():
        shown = {"job": settings_of(cfg), "hydra": cfg.hydra, "all": cfg}[which]
        if package is not None:
            shown = OmegaConf.select(shown, package)
            if shown is None:
                raise InputError(f"--package: the configuration has no {package!r}")
        print(OmegaConf.to_yaml(shown, resolve=resolve).rstrip() if OmegaConf.is_config(shown) else shown)


# ---------------------------------------------------------------- doing
def perform(settings: DictConfig, hydra: DictConfig, path: Path) -> int:
    """Carry out the task of a composed configuration in the run directory ``path``; the exit code."""
    plain = values_of(settings)
    about, own = about_of(hydra, plain), own_packages(hydra)

    prepare()
    from latentrun.tasks import pipeline, use

    pipeline.begin(plain)
    if directory := plain.pop("resume"):
        return resume(directory, plain, hydra, about["overrides"])
    tasks = {
        "train": lambda: train(plain, path, about, own),
        "diagnose": lambda: pipeline.diagnose(plain, about["default_list"], own),
        "encode": lambda: use.encode(plain, path, about["overrides"], own),
        "sample": lambda: use.sample(plain, path, about["overrides"]),
        "prune": lambda: import_module("latentrun.tasks.prune").task(plain, path, about, own),
        "compare": lambda: import_module("latentrun.tasks.compare").task(
            plain, path, about["overrides"], own
        ),
        "report": lambda: import_module("latentrun.tasks.report").report(plain, path, about["overrides"]),
    }
    if plain["task"] not in tasks:
        raise unknown("task", plain["task"], tasks)
    return tasks[plain["task"]]()


def train(settings: dict[str, Any], path: Path, about: dict[str, Any], own: list[str]) -> int:
    """Build what the settings ask for and train it, or say what that would take; the exit code."""
    from latentrun.tasks import pipeline
    from latentrun.tasks.assembly import plan
    from latentrun.tasks.estimate import estimate

    dry = settings.pop("estimate")
    settings["trust"] = list(dict.fromkeys([*settings["trust"], *own]))
    planned = plan(settings, about["choices"], about["default_list"])
    return estimate(planned, path) if dry else pipeline.train(planned, path, about)


def resume(directory: str, settings: dict[str, Any], hydra: DictConfig, overrides: list[str]) -> int:
    """Go on with a run, or with a sweep; the exit code."""
    from latentrun.store.sweep import is_sweep
    from latentrun.tasks import pipeline

    if is_sweep(Path(directory)):
        from latentrun.command.jobs import launch_of
        from latentrun.sweep.plan import Sweep
        from latentrun.tasks import sweep as carry

        pipeline.require_only(overrides)
        return carry.resume(Sweep(directory), launch_of(hydra), settings["trust"])
    return pipeline.resume(directory, settings, overrides)


# ---------------------------------------------------------------- many runs
def claims(overrides: list[str], cfg: DictConfig, folders: list[Path]) -> int:
    """Judge what ``task=claims`` names; the exit code."""
    plain = values_of(settings_of(cfg))
    prepare()
    from latentrun.claims.claim import claims_of, size_of
    from latentrun.claims.evidence import requests
    from latentrun.command.jobs import asked_for, launch_of
    from latentrun.config.settings import key_of
    from latentrun.sweep.engine import warm
    from latentrun.tasks import claims as task
    from latentrun.tasks import pipeline

    task.require_own(overrides)
    pipeline.begin(plain)
    found, size = claims_of(plain.get("claim")), size_of(plain["sizes"], plain["size"])
    warm("latentrun.tasks.child")
    with told():
        path, runs = Path(cfg.hydra.run.dir), Path(cfg.hydra.sweep.dir)
    shared = [text for text in overrides if key_of(text).partition(".")[0] in task.SHARED]
    asked = asked_for(requests(found, size), shared, folders)
    return task.task(
        found,
        size,
        asked,
        plain,
        path,
        runs,
        launch_of(cfg.hydra),
        [*plain["trust"], *own_packages(cfg.hydra)],
    )


def sweep(overrides: list[str], cfg: DictConfig, folders: list[Path]) -> int:
    """Plan a sweep, ``cfg`` being its first job, and carry it out; the exit code. Launchers and sweepers that
    are not ours are Hydra's to run."""
    if cfg.get("estimate"):
        raise InputError(
            "estimate=true: what one run would take; leave -m out, and choose one value of each key"
        )
    with told():
        path = Path(cfg.hydra.sweep.dir)
    require_room(path)
    if cfg.task == "claims":
        raise InputError("task=claims has seeds of its own ('sizes.full.seeds=[0,1,2]'): leave -m out")
    if cfg.task != "train":
        return hand_over(["--multirun"], [*overrides, "hydra/launcher=basic"], folders)
    prepare()
    from latentrun.sweep.engine import warm

    if cfg.hydra.runtime.choices["hydra/launcher"] == "process":
        warm("latentrun.tasks.child")  # while the jobs are composed and checked
    from latentrun.command.jobs import jobs_of, launch_of, only_swept, swept
    from latentrun.command.overrides import asked
    from latentrun.launchers import foreign
    from latentrun.sweep.plan import Sweep
    from latentrun.tasks.sweep import carry_out, checked, conclude

    chosen = {kind: cfg.hydra.runtime.choices[f"hydra/{kind}"] for kind in ("launcher", "sweeper")}
    launch = launch_of(cfg.hydra) if chosen["launcher"] == "process" else None
    trust = [*cfg.trust, *own_packages(cfg.hydra)]
    every = asked(overrides, cfg.hydra)  # Hydra's own launchers add what options sweep by themselves
    about = {**chosen, "swept": swept(every), "argv": sys.argv[1:], "options": digests(folders)}
    given = [f"hydra.sweep.dir='{path}'", only_swept(every)]
    if chosen["sweeper"] == "optuna":
        study, more = foreign.study_of(cfg, overrides, trust)
        planned = Sweep.create(path, about | {"study": study, "swept": [*about["swept"], *study["searched"]]})
        return foreign.carry_through(
            planned, [*overrides, *given, *more], folders, trust, foreign.at_once(cfg, study["at_once"])
        )
    jobs = checked(jobs_of(every, folders), trust)
    planned = Sweep.create(path, about)
    planned.add(jobs)
    if launch:
        return conclude(
            planned, carry_out(planned, [job for job in jobs if job.skipped is None], launch, trust), trust
        )
    return foreign.carry_through(
        planned, [*overrides, *given], folders, trust, foreign.at_once(cfg, len(jobs))
    )


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


def hand_over(flags: list[str], overrides: list[str], folders: list[Path]) -> int:
    """Let Hydra do what is its own: other launchers and sweepers, ``--info``, ``--hydra-help``."""
    import hydra

    register()
    sys.argv = [sys.argv[0], *flags, *overrides, *search_path(folders)]
    hydra.main(config_path=str(shipped()), config_name="config", **version_base())(job)()
    return 0

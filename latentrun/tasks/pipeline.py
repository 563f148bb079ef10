"""What one command does, from a checked plan to a finished directory."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentrun.config.fingerprint import fit_hash
from latentrun.config.settings import key_of
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder
from latentrun.report.board import Board
from latentrun.report.projector import write_projector
from latentrun.run import Run
from latentrun.store import RunDirectory, now, twin
from latentrun.system.disk import require_room
from latentrun.system.machine import settle
from latentrun.system.provenance import environment
from latentrun.tasks.assembly import Plan, applicable, caveats, check_settings, device_named, plan
from latentrun.tasks.budget import needed
from latentrun.tasks.console import LOGGER
from latentrun.tasks.loading import load
from latentrun.tasks.steps import Timing, conclude, fit_model, measure, pending, recording, redraw
from latentrun.training.loop import Loop, NonFiniteLoss

RESUME_KEYS = ("resume", "trust", "device", "threads")  # what may stand beside resume=


# ---------------------------------------------------------------- the tasks
def train(plan: Plan, path: Path, about: Mapping[str, Any]) -> int:
    """Train, checkpoint, measure, report; the exit code."""
    start = time.perf_counter()
    # Before anything is written, for it reads the data: files may turn out to be wrong.
    identity = {"fit_hash": fit_hash(plan.config), "data_hash": plan.data.digest}
    reading = time.perf_counter() - start
    require_room(path, needed(plan))
    found = twin(plan.config["output"], identity)
    known = {
        "seed": plan.config["seed"],
        "data": plan.data.describe().plain(),
        "caveats": caveats(plan),
    }
    directory = RunDirectory.create(
        path, plan.config, {**about, **environment(plan.device), **identity, **known}
    )
    with directory.locked():
        loop = new_loop(plan)
        if found and plan.config["reuse"]:
            directory.adopt(RunDirectory(found))
            restore(loop, directory)
            directory.amend_meta(reused=str(found))
        elif found:
            print(f"a run with the same fit is finished: {found} (reuse=true takes its training over)")
        return work(plan, directory, loop, reading)


def resume(path: str, settings: Mapping[str, Any], overrides: list[str]) -> int:
    """Continue an interrupted run to the result it would have had; the exit code."""
    require_only(overrides)
    directory = RunDirectory(path)
    if "pruned_from" in directory.meta and not directory.finished:
        return complete(directory, settings)
    with directory.locked():
        if directory.finished:
            print(f"{directory.path} is finished: nothing to resume")
            return 0
        start = time.perf_counter()
        meta = directory.meta
        settle(
            settings["threads"] or meta["threads"]
        )  # results differ in the last bits between numbers of threads
        device = (
            settings["device"]
            if any(text.startswith("device=") for text in overrides)
            else directory.config["device"]
        )
        config = directory.config | {"trust": settings["trust"], "device": device}
        planned = plan(config, meta["choices"], meta.get("default_list", True))
        loop = new_loop(planned)
        where, notes = restore(loop, directory)
        notes += differences(meta, planned)
        directory.amend_meta(resumed=[*meta.get("resumed", []), {"at": now(), "from": where, "notes": notes}])
        directory.clear_partial()
        return work(planned, directory, loop, time.perf_counter() - start)


def require_only(overrides: Sequence[str]) -> None:
    """InputError where settings stand beside ``resume=`` that cannot change any more."""
    changed = [key for text in overrides if (key := key_of(text)) not in RESUME_KEYS]
    if changed:
        raise InputError(
            f"{changed[0]}: resume=DIR goes on with the run's own settings; beside it: "
            f"{', '.join(RESUME_KEYS[1:])}"
        )


def diagnose(config: Mapping[str, Any], default_list: bool, own: Sequence[str] = ()) -> int:
    """Add diagnostics to a finished run, without training; the exit code.

    ``own``: packages trusted for the diagnostics, which come from the user's own files, but not for what the
    run names.
    """
    directory = RunDirectory(config["run"])
    run = load(directory.path, config["trust"], device_named(config["device"]))
    directory.require_trained()
    trust = [*config["trust"], *own]
    asked = config | {"trust": trust, "training": run.config["training"]}
    chosen, skipped = applicable(asked, run.model, run.data, directory.meta["choices"], default_list)
    run.config = {**run.config, "diagnostic": config["diagnostic"], "figures": config["figures"]}
    return extend(run, directory, chosen, skipped, config["force"])


def complete(directory: RunDirectory, settings: Mapping[str, Any]) -> int:
    """Measure what a pruned model still lacks of its diagnostics: there is no training to go on with; the
    exit code."""
    meta = directory.meta
    settle(settings["threads"] or meta["threads"])
    run = load(directory.path, settings["trust"], device_named(settings["device"]))
    write_codes(run, directory)
    chosen, skipped = applicable(
        run.config, run.model, run.data, meta["choices"], meta.get("default_list", True)
    )
    return extend(run, directory, chosen, skipped)


def extend(
    run: Run,
    directory: RunDirectory,
    chosen: Mapping[str, Diagnostic],
    skipped: Mapping[str, str] | None = None,
    force: bool = False,
) -> int:
    """Measure what a finished run lacks of the diagnostics ``chosen`` and bring its directory up to date; the
    exit code."""
    with (
        directory.locked(),
        recording(directory, "diagnosing") as activity,
        Board(directory.path / "tensorboard") as board,
    ):
        if directory.meta.get("data_hash", run.data.digest) != run.data.digest:
            LOGGER.warning("the data are not those the run was trained on")
        timing = Timing(directory)
        fresh = pending(directory, chosen, run.config, force)
        failed = measure(run, directory, board, fresh, skipped or {}, timing)
        failed += redraw(
            run, directory, {name: diagnostic for name, diagnostic in chosen.items() if name not in fresh}
        )
        return conclude(run, directory, board, timing, activity, failed)


# ---------------------------------------------------------------- what tasks share
def begin(config: Mapping[str, Any]) -> None:
    """Check the settings at the top level and make the process ready; the first thing of every task."""
    check_settings(config)
    settle(config["threads"])


def work(plan: Plan, directory: RunDirectory, loop: Loop, reading: float) -> int:
    """Train from where ``loop`` stands, measure what is not measured yet, report; the exit code.

    ``reading``: seconds it took to read the data."""
    place = directory.path / "tensorboard"
    with (
        recording(directory, "training") as activity,
        Board(place, loop.position["total_steps"] + 1) as board,
    ):
        LOGGER.info("run directory %s", directory.path)
        for entry in directory.meta.get("resumed", [])[-1:]:
            LOGGER.info("resumed %s", entry["from"])
            for note in entry["notes"]:
                LOGGER.warning("%s", note)
        if "reused" in directory.meta:
            LOGGER.info("its training is that of %s", directory.meta["reused"])
        for note in directory.meta["caveats"]:
            LOGGER.info("note: %s", note)
        timing = Timing(directory)
        timing.add("data", "", reading)
        try:
            with timing.of("training"):
                run = fit_model(plan, directory, loop, board, timing, activity)
        except NonFiniteLoss as error:
            activity.update(state="failed", reason=str(error))
            (directory.path / "error.txt").write_text(f"{error}\n", encoding="utf-8")
            LOGGER.error("%s; the last good checkpoint is in %s", error, directory.path / "checkpoints")
            board.finish(False)
            return 1
        with timing.of("latents"):
            write_codes(run, directory)
        activity.update(state="diagnosing")
        failed = measure(
            run, directory, board, pending(directory, plan.diagnostics, plan.config), plan.skipped, timing
        )
        return conclude(run, directory, board, timing, activity, failed)


def write_codes(run: Run, directory: RunDirectory) -> None:
    """Store the codes of training and test rows, where the model has an encoder, and show them in
    TensorBoard."""
    if isinstance(run.model, HasEncoder):
        directory.write_latents("train", run.latents("train"))
        directory.write_latents("test", run.latents("test"))
        write_projector(directory.path / "tensorboard", run)


def new_loop(plan: Plan) -> Loop:
    """The training loop of a plan, at its start."""
    return Loop(plan.model, plan.data, plan.training, Noise(plan.config["seed"]), plan.device)


def restore(loop: Loop, directory: RunDirectory) -> tuple[str, list[str]]:
    """Bring the loop to its last checkpoint; where that was, and what is to be said about it."""
    state, notes = directory.newest_checkpoint("last")
    if state is None:
        return "from the beginning: there is no checkpoint to go on from", notes
    try:
        loop.load_state_dict({"memory": None, **state})  # an older version kept none
        place = loop.position
        return f"after epoch {place['total_epochs']}, step {place['total_steps']}", notes
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{str(directory.path)!r}: the checkpoint does not fit the run: {str(error).splitlines()[0]}"
        ) from None


def differences(meta: Mapping[str, Any], plan: Plan) -> list[str]:
    """What is not as it was when the run began, so that its result may differ."""
    here, notes = environment(plan.device), []
    if meta["fit_hash"] != fit_hash(plan.config):
        notes.append("the code of data, model, network or training has changed since the run began")
    if meta.get("data_hash", plan.data.digest) != plan.data.digest:
        notes.append("the data are not those the run began with")
    notes += [
        f"{package} is {here['versions'].get(package)}, the run began with {version}"
        for package, version in meta["versions"].items()
        if package in ("python", "torch", "numpy") and here["versions"].get(package) != version
    ]
    notes += [
        f"{what} is {now}, the run began with {before}"
        for what, now, before in (
            ("device", here["device"], meta["device"]),
            ("threads", here["threads"], meta["threads"]),
        )
        if now != before
    ]
    return notes

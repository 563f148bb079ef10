"""Training, from what is assembled and checked to a finished directory."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from latentrun.config.build import place_of
from latentrun.config.fingerprint import fit_hash
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGenerator, Model
from latentrun.nn.base import parameter_count
from latentrun.plotting.images import canvas
from latentrun.report.board import Board
from latentrun.run import Run
from latentrun.store import RunDirectory, now, twin
from latentrun.system.disk import require_room
from latentrun.system.interrupts import deferred
from latentrun.system.provenance import environment
from latentrun.system.terminal import show, wait_for
from latentrun.tasks.assembly import Assembly, caveats, measuring
from latentrun.tasks.budget import needed
from latentrun.tasks.changed import identity
from latentrun.tasks.console import LOGGER, TrainingView
from latentrun.tasks.loading import filling
from latentrun.tasks.measure import measure, pending
from latentrun.tasks.records import Records, conclude, recording, write_codes
from latentrun.tasks.trial import require_working
from latentrun.training.loop import EpochEnded, Event, Loop, PhaseEnded, Stepped, TrainingEnded
from latentrun.training.step import NonFiniteLoss
from latentrun.types import History

CHECKPOINT_EVERY = 300.0  # seconds at most between two checkpoints, where epochs are longer


# ---------------------------------------------------------------- a run
def train(assembly: Assembly, path: Path, about: Mapping[str, Any]) -> int:
    """Train, checkpoint, measure, report; the exit code. ``about``: what meta.json says of the command; with
    a ``fit_hash`` where the run was planned by another process, InputError where it is another now."""
    start = time.perf_counter()
    wait_for("latentrun: reading the data ...")
    # Before anything is written, for it reads the data: files may turn out to be wrong.
    rows = {"fit_hash": fit_hash(assembly.config), **identity(assembly.data)}
    if about.get("fit_hash", rows["fit_hash"]) != rows["fit_hash"]:
        # This process may run what it read before: its run would pass for one of the new code.
        raise InputError(
            "the code was changed since this run was planned: give the command that planned it once more"
        )
    reading = time.perf_counter() - start
    assembly.model.check_rows(assembly.data)
    assembly.questions.require_rows(assembly.data)
    require_working(assembly)
    require_room(path, needed(assembly))
    same_fit = twin(assembly.config["output"], rows)
    source = adoptable(same_fit) if same_fit and assembly.config["reuse"] else None
    meta = {
        **about,
        **environment(assembly.device),
        **rows,
        "seed": assembly.config["seed"],
        "data": assembly.data.describe().plain(),
        "caveats": caveats(assembly),
    }
    directory = RunDirectory.create(path, assembly.config, meta)
    with directory.locked():
        loop = new_loop(assembly, directory)
        if source is not None:
            directory.adopt(source)
            restore(loop, directory)
            directory.amend_meta(reused=str(same_fit))
        elif same_fit:
            show(f"a run with the same fit is finished: {same_fit} (reuse=true takes its training over)")
        return work(assembly, directory, loop, reading)


def adoptable(path: Path) -> RunDirectory:
    """The run in ``path``, whose training is taken over; InputError where it is damaged, before anything is
    written."""
    source = RunDirectory(path)
    try:
        for name in ("best", "last"):
            source.load_checkpoint(name)
        source.read_history()
    except InputError as error:
        raise InputError(f"reuse: {error}; reuse=false trains anew") from None
    return source


def work(assembly: Assembly, directory: RunDirectory, loop: Loop, reading: float) -> int:
    """Train from where ``loop`` stands, measure what is not measured yet, report; the exit code.

    ``reading``: seconds it took to read the data."""
    with recording(directory, "training", loop.progress.total_steps + 1) as records:
        announce(directory)
        records.timing.add("data", "", reading)
        try:
            with records.timing.of("training"):
                run = fit_model(assembly, loop, records)
        except NonFiniteLoss as error:
            records.activity.update(state="failed", reason=str(error))
            directory.write_error(f"{error}\n")
            LOGGER.error("%s; the last good checkpoint is in %s", error, directory.path / "checkpoints")
            records.board.finish(False)
            return 1
        with records.timing.of("latents"):
            write_codes(run, directory)
        records.activity.update(state="diagnosing")
        questions = assembly.questions
        failed = measure(run, questions, pending(directory, questions), records)
        return conclude(run, records, questions.figures, failed)


def announce(directory: RunDirectory) -> None:
    """Where the run is, what it goes on from, and what a reader of it must know."""
    meta = directory.meta
    LOGGER.info("run directory %s", directory.path)
    for entry in meta.get("resumed", [])[-1:]:
        LOGGER.info("resumed %s", entry["from"])
        for note in entry["notes"]:
            LOGGER.warning("%s", note)
    if "reused" in meta:
        LOGGER.info("its training is that of %s", meta["reused"])
    for note in meta["caveats"]:
        LOGGER.info("note: %s", note)


# ---------------------------------------------------------------- the loop
def new_loop(assembly: Assembly, directory: RunDirectory) -> Loop:
    """The training loop, at its start."""
    noise, series = Noise(assembly.config["seed"]), directory.series()
    return Loop(assembly.model, assembly.data, assembly.training, noise, assembly.device, series)


def restore(loop: Loop, directory: RunDirectory) -> tuple[str, list[str]]:
    """Bring the loop to its last checkpoint; where that was, and what is to be said about it."""
    state, notes = directory.newest_checkpoint("last")
    if state is None:
        return "from the beginning: there is no checkpoint to go on from", notes
    with filling(loop.model, directory, state["model"]):
        loop.load_state_dict(state)
    return f"after {loop.progress.place}", notes


def fit_model(assembly: Assembly, loop: Loop, records: Records) -> Run:
    """Run the loop from where it stands, save and log what happens. A signal is answered after the step:
    saved, then raised."""
    view, saved = TrainingView(), time.monotonic()
    was_trained = loop.finished  # taken over from another run, or only the measuring was interrupted
    LOGGER.info("%s parameters on %s", f"{parameter_count(assembly.model):,}", assembly.device)
    with deferred() as request, closing(view), located(assembly.model):
        for event in loop.run():
            view.show(event)
            record(event, assembly, loop, records)
            late = time.monotonic() - saved > CHECKPOINT_EVERY
            if late or request.signal is not None or isinstance(event, EpochEnded | TrainingEnded):
                records.directory.save_checkpoint("last", loop.state_dict())
                saved = time.monotonic()
            if request.signal is not None:
                break
    history = records.directory.read_history() if was_trained else loop.history.history()
    return trained(assembly, loop, records, history)


@contextmanager
def located(model: Model) -> Iterator[None]:
    """For a block that trains: an error in somebody else's model is given a note of file and line."""
    try:
        yield
    except Exception as error:
        module = type(model).__module__
        if module.partition(".")[0] != "latentrun":
            error.add_note(place_of(error, module))
        raise


def record(event: Event, assembly: Assembly, loop: Loop, records: Records) -> None:
    """Write down one event of the loop; the weights where they are the best so far."""
    directory = records.directory
    match event:
        case Stepped():
            records.activity.update(step=loop.progress.total_steps)
        case EpochEnded(row=row, seconds=seconds, improved=improved):
            records.timing.add("epoch", f"{row['phase']} {row['epoch']}", seconds)
            directory.write_table("train", pd.DataFrame(loop.progress.rows))
            if improved:
                directory.save_checkpoint(
                    "best", {"model": loop.progress.best.weights, "epoch": row["epoch"]}
                )
            records.board.epoch(loop.progress.rows, len(loop.phases))
            if int(row["epoch"]).bit_count() == 1:  # after epochs 1, 2, 4, 8, ...
                show_pictures(assembly, loop, records.board)
        case PhaseEnded() | TrainingEnded():
            directory.save_checkpoint("best", {"model": assembly.model.state_dict()})


def trained(assembly: Assembly, loop: Loop, records: Records, history: History | None) -> Run:
    """The run whose training has come to its end, and that it has, in its directory."""
    directory = records.directory
    directory.save_checkpoint("last", loop.state_dict())
    curves = pd.DataFrame(loop.progress.rows)
    if len(curves):
        directory.write_table("train", curves)  # of a training taken over, nothing is there yet
    show_pictures(assembly, loop, records.board)
    directory.write_history(history)
    directory.amend_meta(trained=now())
    directory.drop_previous()
    directory.series().remove()
    return Run(
        model=assembly.model,
        data=assembly.data,
        device=measuring(assembly.device),
        seed=assembly.config["seed"],
        name=directory.path.name,
        config=assembly.config,
        history=history,
        directory=directory.path,
        curves=curves,
    )


@torch.no_grad()
def show_pictures(assembly: Assembly, loop: Loop, board: Board) -> None:
    """Reconstructions of 16 validation rows, and samples where the model has a prior, to TensorBoard. Samples
    wait for the last of the model's own phases: a second stage is not there before."""
    model, data = assembly.model, assembly.data
    if not data.is_image:
        return
    model.eval()
    step = loop.progress.total_steps
    if isinstance(model, HasEncoder):
        x = data.split("val").x[:16].to(assembly.device)
        both = torch.cat([x, model.decode(model.encode(x))]).cpu().numpy()
        board.image(step, "reconstructions", canvas(both, len(x), value_range=data.value_range))
    if isinstance(model, HasGenerator) and loop.progress.phase + 1 >= len(model.phases()):
        x = model.decode(model.sample_prior(32, loop.noise.at("board"))).cpu().numpy()
        board.image(step, "samples", canvas(x, 16, value_range=data.value_range))

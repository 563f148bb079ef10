"""What one command does, from a checked plan to a finished directory."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from latentrun.board import Board
from latentrun.build import TARGET
from latentrun.console import LOGGER, TrainingView, log_to
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.fingerprint import fingerprint, fit_hash
from latentrun.functional.noise import Noise
from latentrun.machine import settle
from latentrun.models.base import HasEncoder, HasPrior
from latentrun.plan import Plan, applicable, assemble, check_settings, device_named
from latentrun.plotting.images import canvas
from latentrun.plotting.style import paper
from latentrun.plotting.training import training_curves
from latentrun.provenance import environment
from latentrun.report import page
from latentrun.run import Run
from latentrun.store import Activity, RunDirectory
from latentrun.training.loop import EpochEnded, Loop, NonFiniteLoss, PhaseEnded, Stepped
from latentrun.types import Report, Status


# ---------------------------------------------------------------- the tasks
def train(plan: Plan, path: Path, about: Mapping[str, Any]) -> int:
    """Train, checkpoint, measure, report; the exit code."""
    start = time.perf_counter()
    plan.data.split("train")  # before anything is written: files may turn out to be wrong
    reading = time.perf_counter() - start
    identity = {"fit_hash": fit_hash(plan.config), "seed": plan.config["seed"], "caveats": plan.model.caveats(plan.data)}
    meta = {**about, **environment(plan.device), **identity}
    directory = RunDirectory.create(path, plan.config, meta)
    with directory.working("training") as activity, recording(directory, activity):
        LOGGER.info("run directory %s", directory.path)
        timing = Timing(directory)
        board = Board(directory.path / "tensorboard")
        timing.add("data", "", reading)
        for note in identity["caveats"]:
            LOGGER.info("note: %s", note)
        try:
            with timing.of("training"):
                run = fit_model(plan, directory, board, timing, activity)
        except NonFiniteLoss as error:
            activity.update(state="failed", reason=str(error))
            (directory.path / "error.txt").write_text(f"{error}\n", encoding="utf-8")
            LOGGER.error("%s; the last good checkpoint is in %s", error, directory.path / "checkpoints")
            board.finish(False)
            board.close()
            return 1
        with timing.of("latents"):
            if isinstance(run.model, HasEncoder):
                directory.write_latents("train", run.latents("train"))
                directory.write_latents("test", run.latents("test"))
        activity.update(state="diagnosing")
        failed = measure(run, directory, plan.diagnostics, plan.skipped, timing)
        return conclude(run, directory, board, timing, activity, failed)


def diagnose(config: Mapping[str, Any], default_list: bool) -> int:
    """Add diagnostics to a finished run, without training; the exit code."""
    directory = RunDirectory(config["run"])
    run = load(directory.path, config["trust"], device_named(config["device"]))
    chosen, skipped = applicable(config, run.model, run.data, directory.meta["choices"], default_list)
    known = {name: entry.get("hash") for name, entry in directory.meta["diagnostics"].items() if entry["status"] == Status.OK}
    fresh = {n: d for n, d in chosen.items() if config["force"] or known.get(n) != fingerprint(config["diagnostic"][n])}
    run.config = {**run.config, "diagnostic": config["diagnostic"]}
    with directory.working("diagnosing") as activity, recording(directory, activity):
        for name in chosen.keys() - fresh.keys():
            LOGGER.info("%s: already measured with these settings (force=true measures again)", name)
        timing = Timing(directory)
        failed = measure(run, directory, fresh, skipped, timing)
        return conclude(run, directory, None, timing, activity, failed)


def load(path: str | Path, trust: tuple[str, ...] | list[str] = (), device: torch.device | str = "cpu") -> Run:
    """The finished run in a directory: data set, model with its best weights, history.

    ``trust``: packages beside latentrun and torch that the run's configuration may name. What the directory itself says
    about trust does not count.
    """
    directory = RunDirectory(path)
    config = directory.config | {"trust": list(trust)}
    data, model = assemble(config)
    state = directory.load_checkpoint("best", device)
    try:
        model.load_state_dict(state["model"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise InputError(f"{str(path)!r}: the checkpoint does not fit the model: {str(error).splitlines()[0]}") from None
    return Run(model, data, torch.device(device), config["seed"], directory.path.name, config, directory.read_history(), directory.path)


# ---------------------------------------------------------------- the steps of a task
def fit_model(plan: Plan, directory: RunDirectory, board: Board, timing: Timing, activity: Activity) -> Run:
    """Run the loop, save and log what it tells."""
    loop = Loop(plan.model, plan.data, plan.training, Noise(plan.config["seed"]), plan.device)
    view, rows = TrainingView(), []
    count = sum(p.numel() for p in plan.model.parameters())
    LOGGER.info("%s parameters on %s", f"{count:,}", plan.device)
    try:
        for event in loop.run():
            view.show(event)
            match event:
                case Stepped():
                    activity.update(step=loop.position["total_steps"])
                case EpochEnded(row=row, seconds=seconds, improved=improved):
                    rows.append(row)
                    timing.add("epoch", f"{row['phase']} {row['epoch']}", seconds)
                    directory.write_table("train", pd.DataFrame(rows))
                    directory.save_checkpoint("last", loop.state_dict())
                    if improved:
                        directory.save_checkpoint("best", {"model": loop.best["weights"], "epoch": row["epoch"]})
                    # One name for all models of one phase, so that runs lie side by side in one chart.
                    prefix = f"{row['phase']}/" if len(loop.phases) > 1 else ""
                    board.scalars(row["step"], {prefix + key: value for key, value in row.items() if isinstance(value, float)})
                    if row["epoch"].bit_count() == 1:  # after epochs 1, 2, 4, 8, ...
                        show_pictures(plan, loop, board)
                case PhaseEnded(phase=phase):
                    directory.save_checkpoint("best", {"model": plan.model.state_dict(), "phase": phase})
    finally:
        view.close()
    show_pictures(plan, loop, board)
    history = loop.history.history()
    directory.write_history(history)
    return Run(plan.model, plan.data, plan.device, plan.config["seed"], directory.path.name, plan.config, history, directory.path)


@torch.no_grad()
def show_pictures(plan: Plan, loop: Loop, board: Board) -> None:
    """Reconstructions of 16 validation rows, and samples where the model has a prior, to TensorBoard."""
    if not plan.data.is_image:
        return
    plan.model.eval()
    step = loop.position["total_steps"]
    if isinstance(plan.model, HasEncoder):
        x = plan.data.split("val").x[:16].to(plan.device)
        both = torch.cat([x, plan.model.decode(plan.model.encode(x))]).cpu().numpy()
        board.image(step, "reconstructions", canvas(both, len(x), value_range=plan.data.value_range))
    if isinstance(plan.model, HasPrior):
        z = plan.model.sample_prior(32, loop.noise.at("board"))
        board.image(step, "samples", canvas(plan.model.decode(z).cpu().numpy(), 16, value_range=plan.data.value_range))


def measure(
    run: Run, directory: RunDirectory, diagnostics: Mapping[str, Diagnostic], skipped: Mapping[str, str], timing: Timing
) -> list[str]:
    """Run the diagnostics one after the other and store each as soon as it is there; the names of those that failed."""
    failed = []
    for name, reason in skipped.items():
        LOGGER.info("%s: skipped, %s", name, reason)
        directory.write_report(name, Report(status=Status.SKIPPED, notes=(reason,)), {}, {})
    for name, diagnostic in diagnostics.items():
        spec = run.config["diagnostic"][name]
        entry = {"config": spec, "hash": fingerprint(spec), "answers": diagnostic.answers()}
        with timing.of("diagnostic", name), paper():
            try:
                report = diagnostic(run, Noise(run.seed).at("diagnostic", name))
                pictures = diagnostic.plot(report)
            except Exception as error:
                failed.append(name)
                LOGGER.error("%s failed: %s: %s", name, type(error).__name__, error)
                (directory.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
                report, pictures = Report(status=Status.FAILED, notes=(f"{type(error).__name__}: {error}",)), {}
            directory.write_report(name, report, diagnostic.metrics, entry)
            directory.write_pictures(name, pictures)
        shown = ", ".join(f"{key} {value.value:.4g}" for key, value in list(report.metrics.items())[:4])
        if report.status is Status.OK:
            LOGGER.info("%s: %s", name, shown)
    return failed


def conclude(run: Run, directory: RunDirectory, board: Board | None, timing: Timing, activity: Activity, failed: list[str]) -> int:
    """The summary row, the hyper-parameters for TensorBoard, the report page, the last state; the exit code."""
    with timing.of("report"):
        metrics, curves = directory.read_table("metrics"), directory.read_table("train")
        measured = {f"{m.diagnostic}/{m.metric}": float(m.value) for m in metrics.itertuples() if isinstance(m.metric, str)}
        settings = flatten({key: run.config[key] for key in ("seed", "rows", "model", "network", "training", "data")})
        choices = {key: value for key, value in directory.meta["choices"].items() if isinstance(value, str)}
        size = {"parameters": sum(p.numel() for p in run.model.parameters()), "epochs": len(curves)}
        directory.write_summary({"run": run.name, **choices, **settings, **size, **measured})
        if board:
            finite = {tag: value for tag, value in measured.items() if value == value}
            board.scalars(int(curves["step"].max()) if len(curves) else 0, finite)
            board.hparams({**choices, **settings}, list(finite))
            board.finish(True)
            board.close()
        if len(curves):
            with paper():
                directory.write_pictures("training", {"": training_curves(curves)})
        directory.write_page(page(directory))
    activity.update(state="done", reason=f"failed diagnostics: {', '.join(failed)}" if failed else None)
    LOGGER.info("report %s", directory.path / "report.html")
    return 1 if failed else 0


def begin(config: Mapping[str, Any]) -> None:
    """Check the settings at the top level and make the process ready; the first thing of every task."""
    check_settings(config)
    settle(config["threads"])


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings to one level: ``{"model.latent_dim": 3}``; lists become text, class names are left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif key != TARGET:
            flat[prefix + key] = value if isinstance(value, bool | int | float | str | type(None)) else str(value)
    return flat


# ---------------------------------------------------------------- records
class Timing:
    """``tables/timing.csv``: everything that differs from run to run by the clock."""

    def __init__(self, directory: RunDirectory):
        self.directory = directory
        self.rows = directory.read_table("timing").to_dict("records")

    @contextmanager
    def of(self, stage: str, name: str = "") -> Iterator[None]:
        """Time a stage."""
        start = time.perf_counter()
        yield
        self.add(stage, name, time.perf_counter() - start)

    def add(self, stage: str, name: str, seconds: float) -> None:
        """Write one duration down."""
        self.rows.append({"stage": stage, "name": name, "seconds": round(seconds, 4)})
        self.directory.write_table("timing", pd.DataFrame(self.rows))


@contextmanager
def recording(directory: RunDirectory, activity: Activity) -> Iterator[None]:
    """Log into the directory; an error that nobody expected leaves its traceback and the state there."""
    handler = log_to(directory.path / "run.log")
    try:
        yield
    except BaseException as error:
        if isinstance(error, Exception):
            (directory.path / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
        activity.update(
            state="failed" if isinstance(error, Exception) else "interrupted",
            reason=": ".join(filter(None, (type(error).__name__, str(error)))),
        )
        raise
    finally:
        LOGGER.removeHandler(handler)
        handler.close()

"""What a training command would take: time, memory and room on the disk, from a few real steps. Nothing is
written."""

from __future__ import annotations

import copy
import resource
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentrun.data.base import SPLITS
from latentrun.functional.noise import Noise
from latentrun.system.disk import free_room
from latentrun.system.machine import free_memory
from latentrun.tasks.assembly import Plan
from latentrun.tasks.budget import needs
from latentrun.training.loop import EpochEnded, Loop, PhaseStarted, Stepped
from latentrun.types import FromCodes

WARM = 3  # steps that are not counted: the first ones make the optimizer's state and fill caches
STEPS = 30  # steps that are timed, fewer where they take longer than
SECONDS = 3.0
UNRECORDED = 2**62  # a number of steps at which the history of the codes has nothing more to record


@dataclass(frozen=True)
class Pace:
    """How fast a phase is: ``steps`` an epoch and ``rows`` of data, ``epochs`` at most, seconds of single
    steps and of the end of an epoch (validation). ``state``: bytes of the optimizers' state; ``early``:
    measured on codes of a network that was not trained before."""

    phase: str
    rows: int
    steps: int
    epochs: int
    step: tuple[float, ...]
    end: float
    state: int
    early: bool

    @property
    def epoch(self) -> float:
        """Seconds of an epoch with its validation."""
        return self.steps * statistics.median(self.step) + self.end if self.step else 0.0


def estimate(plan: Plan, path: Path) -> int:
    """Print what training the plan into ``path`` would take; the exit code. The plan's model is left as it
    is."""
    start = time.perf_counter()
    rows = {name: plan.data.split(name) for name in SPLITS}
    reading = time.perf_counter() - start
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(plan.device)
    paces = [pace(plan, number) for number in range(len(plan.training.phases(plan.model)))]

    weights, count = (
        sum(p.nbytes for p in plan.model.parameters()),
        sum(p.numel() for p in plan.model.parameters()),
    )
    data = sum(
        tensor.nbytes for split in rows.values() for tensor in vars(split).values() if tensor is not None
    )
    state = max((each.state for each in paces), default=0)
    peak, available = memory(plan.device)
    need, free = needs(plan), free_room(path)
    short = "" if sum(need.values()) < free else ": not enough"
    shown = ", ".join(f"{len(split.x):,} {name}" for name, split in rows.items())
    lines = [
        ("data", f"{shown} rows, read in {duration(reading)}"),
        ("parameters", f"{count:,} on {plan.device}"),
    ]
    for each in paces:
        lines += described(each)
    lines += [
        (
            "training",
            f"at most {duration(sum(each.epochs * each.epoch for each in paces))}; diagnostics come after it",
        ),
        (
            "memory",
            f"data {size(data)}; parameters {size(weights)}, gradients {size(weights)}, optimizer "
            f"{size(state)}",
        ),
        ("", f"at most {size(peak)} at once, measured; {size(available)} free now"),
        ("disk", f"{', '.join(f'{name} {size(value)}' for name, value in need.items())}"),
        ("", f"at most {size(sum(need.values()))} at once; {size(free)} free{short}"),
        ("diagnostics", ", ".join(plan.diagnostics) or "none"),
        *(("skipped", f"{name}: {reason}") for name, reason in plan.skipped.items()),
    ]
    width = max(len(label) for label, _ in lines)
    print("\n".join(f"{label:<{width}}  {text}" for label, text in lines))
    return 0


def pace(plan: Plan, number: int) -> Pace:
    """Train a copy of the model a little in one phase: over the end of its first epoch into the second."""
    model = copy.deepcopy(plan.model)
    loop = Loop(model, plan.data, plan.training, Noise(plan.config["seed"]), plan.device)
    loop.progress.phase, loop.progress.total_steps = number, UNRECORDED
    source = loop.phases[number].source
    first: list[float] = []
    later: list[float] = []
    ends: list[float] = []
    state, before = 0, time.perf_counter()
    for event in loop.run():
        if plan.device.type == "cuda":
            torch.cuda.synchronize(plan.device)
        here = time.perf_counter()
        match event:
            case PhaseStarted(phase=name, epochs=epochs, rows=rows):
                steps = -(-rows // plan.training.batch_size)
                loop.progress.batch = max(0, steps - WARM - 1)  # so that the end of the epoch comes soon
            case Stepped():
                (later if ends else first).append(here - before)
                state = stored(loop.optimisers.state_dict())
            case EpochEnded():
                ends.append(here - before)
            case _:
                break
        if later and (len(later) == STEPS or sum(later) + sum(ends[1:]) > SECONDS):
            break
        before = time.perf_counter()
    step = later or first[WARM:] or first
    end = statistics.median(ends) if ends else 0.0
    return Pace(
        name, rows, steps, epochs, tuple(step), end, state, isinstance(source, FromCodes) and number > 0
    )


def described(pace: Pace) -> list[tuple[str, str]]:
    """Lines on one phase."""
    lines = [
        (
            f"phase {pace.phase}",
            f"{pace.rows:,} rows in {pace.steps:,} steps an epoch, at most {pace.epochs:,} epochs",
        )
    ]
    if pace.step:
        middle, low, high = (duration(f(pace.step)) for f in (statistics.median, min, max))
        lines.append(("", f"step {middle} ({low} to {high} in {len(pace.step)} steps)"))
        lines.append(("", f"epoch {duration(pace.epoch)}, of which validation {duration(pace.end)}"))
    if pace.early:
        lines.append(("", "measured on codes of a network that is not trained yet"))
    return lines


# ---------------------------------------------------------------- sizes
def stored(state: Any) -> int:
    """Bytes of all tensors in a nest of mappings and lists."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, Mapping):
        state = list(state.values())
    return sum(stored(value) for value in state) if isinstance(state, list) else 0


def memory(device: torch.device) -> tuple[int, int]:
    """Bytes that were taken at most on the device (on a CPU by the whole process), and bytes that are free
    there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), torch.cuda.mem_get_info(device)[0]
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, free_memory()


def size(count: float) -> str:
    """``61.3 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def duration(seconds: float) -> str:
    """``6.3 ms``, ``12 s``, ``4 min 24 s``, ``3 h 5 min``."""
    if seconds < 0.995:
        return f"{1e3 * seconds:.2g} ms" if seconds < 0.0995 else f"{1e3 * seconds:.0f} ms"
    if seconds < 59.5:
        return f"{seconds:.2g} s"
    if seconds < 3570:
        return f"{round(seconds) // 60} min {round(seconds) % 60} s"
    return f"{round(seconds / 60) // 60:,} h {round(seconds / 60) % 60} min"

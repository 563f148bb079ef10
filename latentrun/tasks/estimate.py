"""What a training command would take: time, memory and room on the disk, from a few real steps. Nothing is
written."""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentrun.data.base import SPLITS
from latentrun.functional.noise import Noise
from latentrun.nn.base import parameter_count
from latentrun.system.disk import free_room
from latentrun.system.machine import free_memory
from latentrun.system.terminal import show
from latentrun.tasks.assembly import Assembly
from latentrun.tasks.budget import needs
from latentrun.training.loop import EpochEnded, Loop, PhaseStarted, Stepped
from latentrun.types import FromCodes, Split

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


def estimate(assembly: Assembly, path: Path) -> int:
    """Print what training into ``path`` would take; the exit code. The model is left as it is."""
    start = time.perf_counter()
    rows = {name: assembly.data.split(name) for name in SPLITS}
    reading = time.perf_counter() - start
    if assembly.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(assembly.device)
    paces = [pace(assembly, number) for number in range(len(assembly.training.phases(assembly.model)))]
    shown = ", ".join(f"{len(split.x):,} {name}" for name, split in rows.items())
    longest = sum(phase.epochs * phase.epoch for phase in paces)
    lines = [
        ("data", f"{shown} rows, read in {duration(reading)}"),
        ("parameters", f"{parameter_count(assembly.model):,} on {assembly.device}"),
        *(line for phase in paces for line in described(phase)),
        ("training", f"at most {duration(longest)}; diagnostics come after it"),
        *memory_lines(assembly, rows, paces),
        *disk_lines(assembly, path),
        ("diagnostics", ", ".join(assembly.questions.diagnostics) or "none"),
        *(("skipped", f"{name}: {reason}") for name, reason in assembly.questions.skipped.items()),
    ]
    width = max(len(label) for label, _ in lines)
    show("\n".join(f"{label:<{width}}  {text}" for label, text in lines))
    return 0


def memory_lines(
    assembly: Assembly, rows: Mapping[str, Split], paces: Sequence[Pace]
) -> list[tuple[str, str]]:
    """What training takes of the memory, and what is free."""
    tensors = [tensor for split in rows.values() for tensor in vars(split).values() if tensor is not None]
    data = size(sum(tensor.nbytes for tensor in tensors))
    weights = size(sum(p.nbytes for p in assembly.model.parameters()))
    state = size(max((phase.state for phase in paces), default=0))
    peak, available = memory(assembly.device)
    return [
        ("memory", f"data {data}; parameters {weights}, gradients {weights}, optimizer {state}"),
        ("", f"at most {size(peak)} at once, measured; {size(available)} free now"),
    ]


def disk_lines(assembly: Assembly, path: Path) -> list[tuple[str, str]]:
    """What the run writes to the disk, and what is free."""
    parts, free = needs(assembly), free_room(path)
    total = sum(parts.values())
    short = "" if total < free else ": not enough"
    return [
        ("disk", ", ".join(f"{name} {size(value)}" for name, value in parts.items())),
        ("", f"at most {size(total)} at once; {size(free)} free{short}"),
    ]


def described(pace: Pace) -> list[tuple[str, str]]:
    """Lines on one phase."""
    rows = f"{pace.rows:,} rows in {pace.steps:,} steps an epoch, at most {pace.epochs:,} epochs"
    lines = [(f"phase {pace.phase}", rows)]
    if pace.step:
        middle, low, high = (duration(f(pace.step)) for f in (statistics.median, min, max))
        lines.append(("", f"step {middle} ({low} to {high} in {len(pace.step)} steps)"))
        lines.append(("", f"epoch {duration(pace.epoch)}, of which validation {duration(pace.end)}"))
    if pace.early:
        lines.append(("", "measured on codes of a network that is not trained yet"))
    return lines


# ---------------------------------------------------------------- a few steps
def pace(assembly: Assembly, number: int) -> Pace:
    """Train a copy of the model a little in one phase: over the end of its first epoch into the second."""
    model, batch = copy.deepcopy(assembly.model), assembly.training.batch_size
    noise = Noise(assembly.config["seed"])
    loop = Loop(model, assembly.data, assembly.training, noise, assembly.device)
    loop.progress.phase, loop.progress.total_steps = number, UNRECORDED
    early = isinstance(loop.phases[number].source, FromCodes) and number > 0
    events = loop.run()
    phase = next(event for event in events if isinstance(event, PhaseStarted))
    steps = -(-phase.rows // batch)
    loop.progress.batch = max(0, steps - WARM - 1)  # so that the end of the epoch comes soon
    first, later, ends = [], [], []  # seconds of steps before and after the end of an epoch, and of these
    state, before = 0, time.perf_counter()
    for event in events:
        if assembly.device.type == "cuda":
            torch.cuda.synchronize(assembly.device)
        here = time.perf_counter()
        if isinstance(event, Stepped):
            (later if ends else first).append(here - before)
            state = stored(loop.optimisers.state_dict()) if loop.optimisers is not None else 0
        elif isinstance(event, EpochEnded):
            ends.append(here - before)
        else:
            break
        if later and (len(later) == STEPS or sum(later) + sum(ends[1:]) > SECONDS):
            break
        before = time.perf_counter()
    return Pace(
        phase=phase.phase,
        rows=phase.rows,
        steps=steps,
        epochs=phase.epochs,
        step=tuple(later or first[WARM:] or first),
        end=statistics.median(ends) if ends else 0.0,
        state=state,
        early=early,
    )


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
    try:
        import resource
    except ImportError:  # Windows
        return 0, free_memory()
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

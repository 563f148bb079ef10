"""Carries out jobs as processes of their own, so many at a time; what becomes of one touches no other."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Annotated, Any, Literal

from latentrun.config.bounds import Count, Ge, Gt
from latentrun.config.build import fit, signature
from latentrun.config.trust import Trust
from latentrun.errors import unknown
from latentrun.store.files import last_line
from latentrun.sweep.plan import Job, Places
from latentrun.system.interrupts import deferred
from latentrun.system.machine import give_back

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext, SpawnContext

PATIENCE = 60.0  # seconds that a process has to save its state before it is killed
TICK = 0.5  # seconds between two looks at the clock and at the screen
LATE = ("torch._dynamo",)  # imported by the first optimizer of a process: half of what a short job takes


@dataclass(frozen=True)
class Launch:
    """How the jobs are carried out: the values of ``conf/hydra/launcher/process.yaml``.

    ``n_jobs``: processes at a time; ``auto``: one for each accelerator, else as many as there are cores for
    their threads. ``gpus``: accelerators that take one job each, a number named twice takes two; ``auto``:
    all there are. ``timeout``: seconds that a job may take, then it is stopped with a checkpoint.
    ``fail_fast``: the first failure stops all others; ``max_failures``: after so many no further job is
    started.
    """

    n_jobs: Annotated[int, Count(1, 1024)] | Literal["auto"]
    gpus: list[Annotated[int, Ge(0)]] | Literal["auto"]
    timeout: Annotated[float, Gt(0)] | None
    fail_fast: bool
    max_failures: Annotated[int, Count(1)] | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Launch:
        """From plain values; InputError names the key that is wrong."""
        hints = signature(cls)[1]
        for key in values:
            if key not in hints:
                raise unknown("key of hydra.launcher", key, hints)
        return cls(**{key: fit(value, hints[key], f"hydra.launcher.{key}") for key, value in values.items()})


@dataclass(frozen=True)
class Slot:
    """A place for one process: its device, None for what the job itself says, and its number of threads."""

    device: str | None
    threads: int


@dataclass
class Running:
    """A job at work."""

    job: Job
    process: BaseProcess
    slot: Slot
    since: float = field(default_factory=time.monotonic)
    stopped: float | None = None  # when it was asked to stop
    why: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How the process of a job ended: exit ``code`` (negative: the signal that ended it), the ``reason`` in
    words where it is not 0, ``seconds`` it took."""

    job: Job
    code: int
    reason: str | None
    seconds: float


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def slots(launch: Launch, jobs: Sequence[Job]) -> list[Slot]:
    """Places for processes on this machine. Threads are cores / workers: two processes of two threads each on
    two cores are slower than two of one."""
    import torch

    wanted = {job.config["device"] for job in jobs}
    gpus = list(range(torch.cuda.device_count())) if launch.gpus == "auto" else launch.gpus
    if gpus and wanted <= {"auto", "cuda"}:
        count = len(gpus) if launch.n_jobs == "auto" else launch.n_jobs
        devices = [f"cuda:{gpus[i % len(gpus)]}" for i in range(count)]
    else:
        given = max((job.config["threads"] or 1 for job in jobs), default=1)
        devices = [None] * (max(1, cores() // given) if launch.n_jobs == "auto" else launch.n_jobs)
    devices = devices[: max(1, len(jobs))]
    return [Slot(device, max(1, cores() // len(devices))) for device in devices]


def warm(module: str) -> ForkServerContext | SpawnContext:
    """Start the server that is forked for each job, if it does not run yet.

    It has imported ``module`` and all that this needs, so that a job has no start-up and finds nothing that
    another left behind. The imports take seconds, in which whoever calls this early can do something else. On
    Windows, which cannot fork, each job starts anew."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module, *LATE])
    forkserver.ensure_running()
    return context


class Engine:
    """Runs jobs, each in its directory of ``places`` and in a process of its own, by
    ``work(job, path, log, device, threads, trust, parent)``. ``ended(outcome)`` is called when one has ended,
    ``shown(running, waiting)`` twice a second."""

    def __init__(
        self,
        places: Places,
        launch: Launch,
        work: Callable[..., None],
        trust: Trust,
        ended: Callable[[Outcome], None],
        shown: Callable[[list[Running], int], None],
    ):
        self.places, self.launch, self.work, self.trust = places, launch, work, trust
        self.ended, self.shown = ended, shown
        self.context = warm(work.__module__)
        self._here, self._end = self.context.Pipe(duplex=False)  # its other end closes with this process

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Carry out the jobs; Interrupted when the sweep itself was asked to stop, after every job has saved
        its state."""
        waiting, free, running, outcomes = list(jobs), slots(self.launch, jobs), [], []
        give_back()  # what checking the jobs took
        with deferred() as request:
            while waiting or running:
                while waiting and free:
                    running.append(self._start(waiting.pop(0), free.pop(0)))
                wait([job.process.sentinel for job in running], timeout=TICK)
                for job in [job for job in running if not job.process.is_alive()]:
                    running.remove(job)
                    free.append(job.slot)
                    outcomes.append(self._outcome(job))
                    self.ended(outcomes[-1])
                if self._is_over(outcomes, request.signal is not None):
                    waiting = []
                if self._stops_all(outcomes, request.signal is not None):
                    self._stop(running, "stopped with the sweep")
                self._stop(self._late(running), f"took longer than {self.launch.timeout} s")
                self.shown(running, len(waiting))
        return outcomes

    def _is_over(self, outcomes: Sequence[Outcome], signalled: bool) -> bool:
        """Whether no further job is started."""
        failures, most = sum(outcome.code != 0 for outcome in outcomes), self.launch.max_failures
        return self._stops_all(outcomes, signalled) or (most is not None and failures >= most)

    def _stops_all(self, outcomes: Sequence[Outcome], signalled: bool) -> bool:
        """Whether those at work are stopped too."""
        return signalled or (self.launch.fail_fast and any(outcome.code for outcome in outcomes))

    def _late(self, running: Sequence[Running]) -> list[Running]:
        """The jobs that take longer than they may."""
        limit = self.launch.timeout or math.inf
        return [job for job in running if time.monotonic() - job.since > limit]

    def _start(self, job: Job, slot: Slot) -> Running:
        where = str(self.places.directory(job)), self.places.log(job)
        arguments = (job, *where, slot.device, slot.threads, self.trust, self._here)
        process = self.context.Process(target=self.work, args=arguments, name=job.name)
        process.start()
        return Running(job, process, slot)

    def _stop(self, running: Sequence[Running], why: str) -> None:
        """Ask for an orderly end once; force it when that takes too long."""
        for job in running:
            if job.stopped is None:
                job.stopped, job.why = time.monotonic(), why
                job.process.terminate()
            elif time.monotonic() - job.stopped > PATIENCE:
                job.process.kill()

    def _outcome(self, running: Running) -> Outcome:
        code = running.process.exitcode or 0
        running.process.close()
        if not code:
            return Outcome(running.job, code, None, time.monotonic() - running.since)
        if code < 0:
            end = f"killed by {signal.Signals(-code).name}"
        else:
            end = last_line(self.places.log(running.job)) or f"exit code {code}"
        reason = ": ".join(filter(None, (running.why, end)))
        return Outcome(running.job, code, reason, time.monotonic() - running.since)

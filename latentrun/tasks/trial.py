"""The dry run: before training, data, model and diagnostics are tried on a few rows, and all that they do not
keep of what they promise is said at once."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from latentrun.config.build import TARGET, happened, targets
from latentrun.config.written import written_at
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError, NothingToMeasure, Several
from latentrun.functional.noise import Noise, seeded
from latentrun.models.base import Model
from latentrun.plotting.style import paper
from latentrun.run import Run
from latentrun.system.terminal import wait_for
from latentrun.tasks.assembly import Assembly, measuring
from latentrun.tasks.contract import picture_slips, range_slips, report_slips
from latentrun.tasks.promises import broken_by_codes, broken_by_data, broken_by_phase
from latentrun.training.loop import Loop
from latentrun.types import FromStream, Phase, Report, Status

ROWS = (16, 256)  # of each split; what fails on few rows may lack nothing but rows, and is tried on more
OURS = ("latentrun", "torch")
TRIED = ("data", "model", "network", "training", "diagnostic")  # groups whose classes are tried


def require_working(assembly: Assembly) -> None:
    """Several lines, each with class, file and line, where something that the setting ``check`` asks for does
    not work; the assembly is left as it is, and nothing is written."""
    seed, check = assembly.config["seed"], assembly.config["check"]
    if check:
        wait_for("latentrun: trying model and diagnostics on a few rows ...")
    with undisturbed(seed, assembly.device):
        mistakes = list(dict.fromkeys(Trial(assembly).mistakes(check is True) if check else ()))
    if mistakes:
        count = f"{len(mistakes)} mistake{'s' * (len(mistakes) > 1)}"
        raise Several([*mistakes, f"{count} found on a few rows, before training; check=false trains anyway"])


@contextmanager
def undisturbed(seed: int, device: torch.device) -> Iterator[None]:
    """A block after which all generators of random numbers are as before; warnings of few rows are none."""
    states = random.getstate(), np.random.get_state()
    with seeded(seed, device), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


def is_foreign(spec: Any) -> bool:
    """Whether a part of a configuration names a class of a package that is neither ours nor torch."""
    return any(target.partition(".")[0] not in OURS for target in targets(spec))


class Trial:
    """What an assembly is tried on: copies of its model, few of its rows."""

    def __init__(self, assembly: Assembly):
        self.assembly, self.config, self.device = assembly, assembly.config, assembly.device
        self.noise = Noise(assembly.config["seed"]).at("trial").to(assembly.device)
        self._runs: dict[int, Run] = {}

    def mistakes(self, everything: bool) -> list[str]:
        """A line for each, of the classes of other packages or of all. What builds on a part that does not
        work is not tried: nobody could tell whose mistake it was."""

        def asked_for(*groups: str) -> bool:
            return everything or any(is_foreign(self.config[group]) for group in groups)

        broken = self._of("data", self.data_slips()) if asked_for("data") else []
        if broken:
            return broken
        if asked_for("model", "network", "training"):
            codes, losses = self.model_slips()
            broken = self._of("model", [*codes, *losses])
            if codes:
                return broken
        questions = self.assembly.questions
        broken += questions.unmade
        for name, diagnostic in questions.diagnostics.items():
            if everything or is_foreign(questions.specs[name]):
                title = f"diagnostic {name!r} ({questions.specs[name][TARGET]})"
                broken += [f"{title}: {slip}" for slip in self.diagnostic_slips(name, diagnostic)]
        return broken

    def _of(self, group: str, slips: Sequence[str]) -> list[str]:
        return [f"{group} ({self.config[group][TARGET]}): {slip}" for slip in slips]

    # ---------------------------------------------------------------- data and model
    def data_slips(self) -> list[str]:
        """What is wrong with the rows."""
        data = self.assembly.data
        return guarded(type(data), lambda: broken_by_data(data))

    def model_slips(self) -> tuple[list[str], list[str]]:
        """What is wrong with codes, decoded codes and densities of the model, and with its training."""
        model, data, size = self.fresh_model().to(self.device), self.few(ROWS[0]), self.batch_size
        cls = type(model)
        model.eval()
        x = data.split("train").x.to(self.device)
        codes = guarded(cls, lambda: broken_by_codes(model, x, self.noise))
        losses: list[str] = []
        for phase in self.phases(model):
            losses += broken_by_phase(phase, model, data, self.noise, self.device, size)
        if not codes and not losses:  # the steps themselves, with optimisers and callbacks
            losses = guarded(cls, lambda: self.trained(ROWS[0]) and ())
        return codes, losses

    @property
    def batch_size(self) -> int:
        return self.assembly.training.batch_size

    def fresh_model(self) -> Model:
        """A copy of the model as it is before training."""
        return copy.deepcopy(self.assembly.model)

    def few(self, rows: int) -> Dataset:
        """The data with so many rows of each split."""
        return self.assembly.data.thinned(rows)

    def phases(self, model: Model) -> tuple[Phase, ...]:
        """All phases of the training, of an epoch each; streams of one batch an epoch."""
        return tuple(
            replace(
                phase,
                epochs=min(1, phase.length(self.assembly.training.epochs)),
                source=replace(phase.source, steps_per_epoch=1)
                if isinstance(phase.source, FromStream)
                else phase.source,
            )
            for phase in self.assembly.training.phases(model)
        )

    def trained(self, rows: int) -> Run:
        """A run that was trained for an epoch of so many rows."""
        model, data = self.fresh_model(), self.few(rows)
        loop = Loop(model, data, self.assembly.training, self.noise, self.device)
        loop.phases = self.phases(model)
        for phase in loop.phases:
            for callback in phase.callbacks:
                callback.to(self.device)
        for _ in loop.run():
            pass
        return Run(
            model=model,
            data=data,
            device=measuring(self.device),
            seed=self.config["seed"],
            name="trial",
            config=self.config,
            history=loop.history.history(),
            curves=pd.DataFrame(loop.progress.rows),
        )

    # ---------------------------------------------------------------- diagnostics
    def run_of(self, rows: int) -> Run:
        """The run that diagnostics are tried on; where it cannot be trained one that was not."""
        if rows not in self._runs:
            try:
                self._runs[rows] = self.trained(rows)
            except Exception:  # said of the model, where that is tried
                seed, config = self.config["seed"], self.config
                self._runs[rows] = Run(
                    self.fresh_model(), self.few(rows), measuring(self.device), seed, config=config
                )
        return self._runs[rows]

    def diagnostic_slips(self, name: str, diagnostic: Diagnostic) -> list[str]:
        """What is wrong with a diagnostic, on few rows and on more."""
        slips: list[str] = []
        for rows in ROWS:
            slips = asked(diagnostic, self.run_of(rows), self.noise.at(name))
            if not slips:
                break
        return slips


def asked(diagnostic: Diagnostic, run: Run, noise: Noise) -> list[str]:
    """What is wrong with what a diagnostic reports of a run and draws of it. That rows are too few, or that
    there is nothing to measure, is no mistake."""
    kept = changes(run.model)
    try:
        report = diagnostic(run, noise)
    except (NothingToMeasure, InputError):
        return []
    except Exception as error:
        return [happened(error, type(diagnostic).__module__)]
    slips = report_slips(diagnostic, report) or range_slips(diagnostic, report)
    if changes(run.model) != kept:
        place = written_at(type(diagnostic).__call__)
        slips.append(f"it changes the model, which other diagnostics see too ({place})")
    if not isinstance(report, Report) or report.status is not Status.OK:
        return slips
    try:
        with paper():
            slips += picture_slips(diagnostic, diagnostic.plot(report))
    except Exception as error:
        if not slips:  # else it may have met what was said of the report
            slips.append(happened(error, type(diagnostic).__module__))
    return slips


def changes(model: Model) -> Mapping[str, int]:
    """How often each tensor of a model was written to."""
    return {name: tensor._version for name, tensor in model.state_dict(keep_vars=True).items()}


def guarded(cls: type, act: Callable[[], Any]) -> list[str]:
    """What ``act`` finds wrong with something of class ``cls``; an error is found too."""
    try:
        return list(act())
    except InputError:
        raise
    except Exception as error:
        return [happened(error, cls.__module__)]

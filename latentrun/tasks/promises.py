"""What data sets, models and their losses promise (shapes, names, finite numbers), held against what they
give for a few rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from latentrun.config.build import happened
from latentrun.config.written import written_at
from latentrun.data.base import SPLITS, Dataset
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import (
    HasEncoder,
    HasGaussianPosterior,
    HasGenerator,
    HasLikelihood,
    HasLogProb,
    HasPosterior,
    Model,
)
from latentrun.tasks.contract import kind
from latentrun.training.sources import source_of
from latentrun.types import Batch, Clock, Objective, OfSplit, Phase

FAILED = object()  # in place of what was to be given, which may be None


class Promises:
    """Collects what is not kept: ``broken``, a line each with file and line."""

    def __init__(self, module: str):
        self.module = module
        self.broken: list[str] = []

    def gives(self, what: str, function: Callable, act: Callable[[], Any], *shapes: Sequence[int]) -> Any:
        """What ``act()`` gives, if it is finite numbers of one of the ``shapes`` (of any where there is
        none); else None. ``what`` names it, ``function`` is where it is written."""
        value = self.outcome(what, act)
        if value is FAILED:
            return None
        wrong = wrong_tensor(value, shapes)
        if wrong is not None:
            self.says(f"{what} {wrong}", function)
            return None
        return value

    def outcome(self, what: str, act: Callable[[], Any]) -> Any:
        """What ``act()`` gives; FAILED where it ends in an error, which is added."""
        try:
            return act()
        except InputError:
            raise
        except Exception as error:
            self.broken.append(f"{what}: {happened(error, self.module)}")
            return FAILED

    def says(self, text: str, function: Callable, name: str | None = None) -> None:
        """Add one, at the place where ``function`` writes ``name``, or returns."""
        self.broken.append(f"{text} ({written_at(function, name)})")


def wrong_tensor(value: Any, shapes: Sequence[Sequence[int]]) -> str | None:
    """Why a value is no tensor of finite numbers of one of the shapes; None where it is."""
    if not isinstance(value, Tensor):
        return f"gives {kind(value)}; a tensor was expected"
    if shapes and tuple(value.shape) not in map(tuple, shapes):
        expected = " or ".join(str(tuple(shape)) for shape in shapes)
        return f"gives the shape {tuple(value.shape)}; {expected} was expected"
    if not value.isfinite().all():
        return "gives numbers that are NaN or infinite"
    return None


# ---------------------------------------------------------------- data
def broken_by_data(data: Dataset) -> list[str]:
    """What is wrong with the rows of a data set."""
    promises, load = Promises(type(data).__module__), type(data)._load
    for name in SPLITS:
        rows = data.split(name)
        n = len(rows.x)
        expected = {
            "x": (torch.float32, (n, *data.event_shape)),
            "y": (torch.float32, (n, len(data.factors))),
        }
        expected |= {"index": (torch.int64, (n,))}
        if rows.labels is not None or data.label is not None:
            expected["labels"] = (torch.int64, (n,))
        for key, (dtype, shape) in expected.items():
            value = getattr(rows, key)
            wrong = wrong_tensor(value, [shape])
            if wrong is None and value.dtype != dtype:
                wrong = f"gives {value.dtype}; {dtype} was expected"
            if wrong is not None:
                promises.says(f"{key} of the {name} rows {wrong}", load)
    return promises.broken


# ---------------------------------------------------------------- codes and densities
@torch.no_grad()
def broken_by_codes(model: Model, x: Tensor, noise: Noise) -> list[str]:
    """What is wrong with the codes of examples ``x (N, *event_shape)``, and with what they are decoded to."""
    promises, n, d = Promises(type(model).__module__), len(x), model.latent_dim
    z = torch.zeros(n, d, device=x.device)
    if isinstance(model, HasGenerator):
        drawn = promises.gives(
            "sample_prior", model.sample_prior, lambda: model.sample_prior(n, noise), (n, d)
        )
        z = z if drawn is None else drawn
    if isinstance(model, HasEncoder):
        codes = promises.gives("encode", model.encode, lambda: model.encode(x), (n, d))
        z = z if codes is None else codes
    if isinstance(model, HasPosterior):
        promises.gives("draw", model.draw, lambda: model.draw(x, noise), (n, d))
        promises.gives("kl", model.kl, lambda: model.kl(x), (n, d), (n,))
    if isinstance(model, HasGaussianPosterior):
        of = model.posterior
        mean = promises.gives("the mean of posterior", of, lambda: of(x).mean, (n, d))
        if mean is not None:
            promises.gives("the stddev of posterior", of, lambda: of(x).stddev, (n, d))
    decoded = promises.gives("decode", model.decode, lambda: model.decode(z), (n, *model.event_shape))
    if isinstance(model, HasLikelihood) and decoded is not None:
        law = model.likelihood
        promises.gives("log_prob of its likelihood", law, lambda: law(z).log_prob(x), (n,))
    if isinstance(model, HasLogProb):
        promises.gives("log_prob", model.log_prob, lambda: model.log_prob(x), (n,))
    return promises.broken


# ---------------------------------------------------------------- losses
def broken_by_phase(
    phase: Phase, model: Model, data: Dataset, noise: Noise, device: torch.device, batch_size: int
) -> list[str]:
    """What is wrong with the losses and the monitor of a phase, on the first batch of ``data``."""
    promises, noise = Promises(type(model).__module__), noise.at(phase.name)
    try:
        source = source_of(phase.source, data, noise, device, batch_size)
        for callback in phase.callbacks:
            callback.to(device)
            callback.begin(source.whole(), noise)
        if not phase.length(1) or not phase.objectives:
            return []
        batch = next(batch for _, batch in source.batches(0))
        values = {name: schedule.value(0.0) for name, schedule in phase.schedules.items()}
        clock = Clock(phase.name, 0, 0, source.steps, values)
        validation = source.whole_validation()
    except InputError:
        raise
    except Exception as error:
        return [f"phase {phase.name!r}: {happened(error, promises.module)}"]
    for objective in phase.objectives:
        hold_loss(promises, objective, batch, noise.at(objective.name), clock)
    if phase.monitor is not None:
        hold_monitor(promises, phase, validation, noise)
    return promises.broken


def hold_loss(promises: Promises, objective: Objective, batch: Batch, noise: Noise, clock: Clock) -> None:
    """A loss gives named scalars, one of them ``loss``, which has a gradient for what the objective moves,
    and changes nothing."""
    what, moved = f"the loss of {objective.name!r}", [p for p in objective.parameters if p.requires_grad]
    before = [p._version for p in objective.parameters]
    terms = named(promises, what, objective.loss, lambda: objective.loss(batch, noise, clock), "loss", [()])
    if [p._version for p in objective.parameters] != before:
        promises.says(f"{what} changes the parameters; a loss only reads them", objective.loss)
    if "loss" not in terms:
        return
    try:
        loss = terms["loss"]
        gradients = torch.autograd.grad(loss, moved, allow_unused=True) if loss.requires_grad else ()
    except Exception as error:
        promises.broken.append(f"{what}: no gradient: {happened(error, promises.module)}")
        return
    if all(gradient is None for gradient in gradients):
        promises.says(f"{what} does not depend on the parameters that it moves", objective.loss, "loss")


def hold_monitor(promises: Promises, phase: Phase, rows: Batch, noise: Noise) -> None:
    """A monitor gives named values for each row, or one of a split, one of them ``monitor``."""
    whole = isinstance(phase.monitor, OfSplit)
    monitor: Any = phase.monitor.measure if isinstance(phase.monitor, OfSplit) else phase.monitor
    what, shape = f"the monitor of phase {phase.name!r}", () if whole else (len(rows.x),)
    with torch.no_grad():
        named(promises, what, monitor, lambda: monitor(rows, noise), "monitor", [shape])


def named(
    promises: Promises,
    what: str,
    function: Callable,
    act: Callable[[], Any],
    needed: str,
    shapes: Sequence[Sequence[int]],
) -> dict[str, Tensor]:
    """The named tensors that ``act()`` gives, as far as they are of one of the shapes; ``needed``: the name
    that must be among them."""
    terms = promises.outcome(what, act)
    if terms is FAILED:
        return {}
    if not isinstance(terms, Mapping):
        promises.says(f"{what} gives {kind(terms)}; a mapping of names to tensors was expected", function)
        return {}
    if needed not in terms:
        names = ", ".join(map(repr, terms)) or "none"
        promises.says(f"{what} gives no {needed!r}; its terms: {names}", function)
    kept = {}
    for name, value in terms.items():
        wrong = wrong_tensor(value, shapes)
        if wrong is None:
            kept[name] = value
        else:
            promises.says(f"{what}: {name!r} {wrong}", function, name)
    return kept

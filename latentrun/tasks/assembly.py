"""From a configuration to objects that fit together, with everything checked and nothing written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from latentrun.config.build import build, later
from latentrun.config.fingerprint import data_key
from latentrun.data.base import Dataset
from latentrun.errors import InputError
from latentrun.functional.noise import seeded
from latentrun.models.base import Model
from latentrun.nn.base import Network, parameter_count
from latentrun.sweep.study import declared_metrics, metrics_named
from latentrun.system.machine import free_memory
from latentrun.tasks.questions import Questions, questions_of
from latentrun.training.settings import Training
from latentrun.types import FromStream

WIDE = 2**28  # weights between as many units as a model has altogether; with fewer it surely fits the memory
STEPS = 10  # steps an epoch, below which a run says so


@dataclass(frozen=True)
class Assembly:
    """All that a training needs, made from the configuration and found to fit together. Nothing is written
    yet."""

    config: Mapping[str, Any]
    data: Dataset
    model: Model
    training: Training
    questions: Questions
    device: torch.device


def assembled(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    default_list: bool,
    shared: dict[str, Dataset] | None = None,
) -> Assembly:
    """Build and check everything that ``config`` asks for; InputError in one line where something is wrong.

    ``default_list``: the diagnostics are those of config.yaml, not ones the user named, so misfits are
    skipped. ``shared``: the data sets of assemblies made before, to which those of this one are added: as a
    check may have to read them, the jobs of a sweep share those with the same settings.
    """
    device = device_named(config["device"])
    data, model = assemble(config, shared)
    training = build_training(config)
    training.phases(model)  # a Misfit is found here
    questions = questions_of(config, model, data, choices, default_list, bool(config.get("check")))
    declared_metrics(metrics_named(config.get("optimized_metric")), questions.diagnostics)
    return Assembly(config, data, model, training, questions, device)


def assemble(config: Mapping[str, Any], shared: dict[str, Dataset] | None = None) -> tuple[Dataset, Model]:
    """Data set and model, freshly initialised from ``seed``; ``shared``: as in :func:`assembled`."""
    data = build_data(config)
    if shared is not None:
        data = shared.setdefault(data_key(config), data)
    return data, build_model(config, data)


def build_data(config: Mapping[str, Any]) -> Dataset:
    """The data set, of which nothing need be read yet."""
    data: Dataset = build(config["data"], Dataset, "data", config["trust"])
    data.rows = config["rows"]
    return data


def build_model(config: Mapping[str, Any], data: Dataset) -> Model:
    """The model for such data, freshly initialised from ``seed``."""
    trust = config["trust"]
    given = {
        "network": build(config["network"], Network, "network", trust),
        "event_shape": data.event_shape,
        "value_range": data.value_range,
        "columns": data.columns,
    }

    def model() -> Model:
        with seeded(config["seed"]):
            return build(config["model"], Model, "model", trust, **given)

    widths = sum(whole_numbers([config["model"], config["network"]])) + math.prod(data.event_shape)
    if widths**2 > WIDE:
        require_memory(model)
    return model()


def whole_numbers(spec: Any) -> Iterator[int]:
    """Every whole number in a nest of mappings and lists."""
    if isinstance(spec, Mapping | list | tuple):
        for value in spec.values() if isinstance(spec, Mapping) else spec:
            yield from whole_numbers(value)
    elif isinstance(spec, int):
        yield spec


def require_memory(model: Callable[[], Model]) -> None:
    """InputError where the weights of a model do not fit into the memory that is free: the system might end
    the process, and others, without a word. They are counted without being made."""
    try:
        with torch.device("meta"):
            count = parameter_count(model())
    except InputError:
        return  # it cannot be made without its weights, or not at all, which is said then
    free = free_memory()
    if 4 * count > free:
        raise InputError(
            f"model: {count:,} parameters do not fit into the memory "
            f"({4 * count / 2**30:,.0f} GiB are needed, {free / 2**30:,.0f} GiB are free)"
        )


def build_training(config: Mapping[str, Any]) -> Training:
    """Training settings; the optimizer and scheduler are tried on a dummy parameter, for torch checks only
    then."""
    spec, trust = dict(config["training"]), config["trust"]
    optimizer = build_optimizer(spec.pop("optimizer", None), "training.optimizer", trust)
    scheduler = later(spec.pop("scheduler", None), LRScheduler, "training.scheduler", trust, ("optimizer",))
    made = tried("training.optimizer", optimizer, [torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        tried("training.scheduler", scheduler, made)
    special = {
        name: build_optimizer(settings, f"training.optimizers.{name}", trust)
        for name, settings in (spec.pop("optimizers", None) or {}).items()
    }
    for name, make in special.items():
        tried(f"training.optimizers.{name}", make, [torch.zeros(1, requires_grad=True)])
    made = {"optimizer": optimizer, "scheduler": scheduler, "optimizers": special}
    return build(spec, Training, "training", trust, **made)


def build_optimizer(
    spec: Mapping[str, Any] | None, where: str, trust: Sequence[str]
) -> Callable[..., Optimizer]:
    """An optimizer that waits for its parameters; InputError where ``spec`` says nothing."""
    optimizer = later(spec, Optimizer, where, trust, ("params",))
    if optimizer is None:
        raise InputError(f"{where}: a value is needed: a class of torch.optim with its settings")
    return optimizer


def tried(where: str, make: Callable, argument: Any) -> Any:
    """``make(argument)``; InputError with torch's own words where it refuses its settings."""
    try:
        return make(argument)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{where}: {str(error).splitlines()[0]}") from None


def caveats(assembly: Assembly) -> tuple[str, ...]:
    """What a reader of the run must know: of the data, of the model, of training. Reads the data."""
    then = assembly.training.then
    return (
        *assembly.data.notes,
        *assembly.model.caveats(assembly.data),
        *(() if then is None else then.caveats()),
        *long_schedules(assembly),
        *few_steps(assembly),
    )


def long_schedules(assembly: Assembly) -> tuple[str, ...]:
    """That a phase is over before its schedules are: nothing is selected before they end."""
    notes = []
    for phase in assembly.training.phases(assembly.model):
        epochs = phase.length(assembly.training.epochs)
        ends = {name: schedule.end for name, schedule in phase.schedules.items()}
        latest = max(ends, key=lambda name: ends[name], default=None)
        if latest is not None and epochs < ends[latest]:
            notes.append(
                f"Phase {phase.name} has {epochs} epochs, its schedule of {latest} ends only after "
                f"{ends[latest]:g}: no best epoch is chosen, its weights are those of the end."
            )
    return tuple(notes)


def few_steps(assembly: Assembly) -> tuple[str, ...]:
    """That an epoch has fewer than ``STEPS`` steps, where it has: patience and learning rate count epochs."""
    if all(isinstance(phase.source, FromStream) for phase in assembly.training.phases(assembly.model)):
        return ()
    rows, batch = len(assembly.data.split("train").x), assembly.training.batch_size
    steps = -(-rows // batch)
    smaller = 2 ** int(math.log2(max(1.0, rows / STEPS)))
    if steps >= STEPS or smaller >= batch:
        return ()
    return (
        f"An epoch has only {steps} step{'s' * (steps > 1)}: {rows:,} training rows in batches of {batch}. "
        f"training.batch_size={smaller} makes it {-(-rows // smaller)}.",
    )


def device_named(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps`` (a Mac's GPU) to a device that is there; ``auto``
    takes no Mac's, for nothing was tried there."""
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    gpus = [*(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    known = ["auto", "cpu", *gpus, *(["mps"] if torch.backends.mps.is_available() else [])]
    if name not in known:
        raise InputError(f"device: {name!r} is not on this machine; allowed: {', '.join(known)}")
    return torch.device(name)


def measuring(device: torch.device) -> torch.device:
    """Where a run is measured that is trained on ``device``: a Mac's GPU has no float64, in which diagnostics
    compute."""
    return torch.device("cpu") if device.type == "mps" else device

"""From a configuration to objects that fit together, with everything checked and nothing written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from latentrun.config.bounds import Between, Ge, Printable
from latentrun.config.build import build, fit, later
from latentrun.config.fingerprint import data_key
from latentrun.config.options import GROUPS
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.errors import InputError, Misfit, unknown
from latentrun.experiments.latent_noise import RISING, LatentNoise
from latentrun.models.base import Model
from latentrun.nn.base import Network
from latentrun.training.loop import Training
from latentrun.types import FromStream

STEPS = 10  # steps an epoch, below which a run says so
SETTINGS = {
    "seed": Annotated[int, Ge(0)],
    "device": str,
    "threads": Annotated[int, Between(1, 1024)] | None,
    "rows": Annotated[int, Ge(2)] | None,
    "output": Annotated[str, Printable()],
    "reuse": bool,
    "optimized_metric": Annotated[str, Printable()] | list[str] | None,
    "skip_inapplicable": bool | None,
    "figures": list[Literal["png", "pdf", "svg"]],
    "trust": list[str],
    "resume": Annotated[str, Printable()] | None,
    "run": Annotated[str, Printable()],
    "force": bool,
    "estimate": bool,
    "format": list[Literal["npz", "csv"]],
    "n": Annotated[int, Ge(1)],
    "sample_seed": Annotated[int, Ge(0)],
    "draw": Literal["mean", "likelihood"],
    "files": bool,
    "keep": list[Annotated[int, Ge(0)]] | None,
    "runs": Annotated[str, Printable()] | list[Annotated[str, Printable()]],
    "where": Annotated[str, Printable()] | None,
    "metrics": list[str] | None,
    "by": list[str] | None,
    "size": str,
    "sizes": dict[str, dict[str, Any]],
}


@dataclass
class Plan:
    """All that a command needs, made from the configuration and found to fit together. Nothing is written
    yet."""

    config: dict[str, Any]
    data: Dataset
    model: Model
    training: Training
    diagnostics: dict[str, Diagnostic]
    skipped: dict[str, str]
    device: torch.device


def plan(
    config: dict[str, Any],
    choices: Mapping[str, str],
    default_list: bool,
    shared: dict[str, Dataset] | None = None,
) -> Plan:
    """Build and check everything that ``config`` asks for; InputError in one line where something is wrong.

    ``default_list``: the diagnostics are those of config.yaml, not ones the user named, so misfits are
    skipped. ``shared``: the data sets of plans made before, to which those of this one are added: as a check
    may have to read them, the plans of a sweep share those with the same settings.
    """
    device = device_named(config["device"])
    data, model = assemble(config, shared)
    training = build_training(config)
    training.phases(model)  # a Misfit is found here
    diagnostics, skipped = applicable(config, model, data, choices, default_list)
    return Plan(config, data, model, training, diagnostics, skipped, device)


def check_settings(config: Mapping[str, Any]) -> None:
    """The top-level keys are known and their values in bounds."""
    for key, value in config.items():
        if key in SETTINGS:
            fit(value, SETTINGS[key], key)
        elif key not in GROUPS:
            raise unknown("key", key, [*SETTINGS, *GROUPS])


def assemble(config: Mapping[str, Any], shared: dict[str, Dataset] | None = None) -> tuple[Dataset, Model]:
    """Data set and model, freshly initialised from ``seed``; ``shared``: as in :func:`plan`."""
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        return build(config["model"], Model, "model", trust, **given)


def build_training(config: Mapping[str, Any]) -> Training:
    """Training settings; the optimizer and scheduler are tried on a dummy parameter, for torch checks only
    then."""
    spec, trust = dict(config["training"]), config["trust"]
    optimizer = later(spec.pop("optimizer", None), Optimizer, "training.optimizer", trust, ("params",))
    if optimizer is None:
        raise InputError("training.optimizer: a value is needed: a class of torch.optim with its settings")
    scheduler = later(spec.pop("scheduler", None), LRScheduler, "training.scheduler", trust, ("optimizer",))
    made = tried("training.optimizer", optimizer, [torch.zeros(1, requires_grad=True)])
    if scheduler is not None:
        tried("training.scheduler", scheduler, made)
    noise = spec.pop("noise_on_latent", None)
    noise = None if noise is None else build(noise, LatentNoise, "training.noise_on_latent", trust)
    return build(
        spec, Training, "training", trust, optimizer=optimizer, scheduler=scheduler, noise_on_latent=noise
    )


def tried(where: str, make: Callable, argument: Any) -> Any:
    """``make(argument)``; InputError with torch's own words where it refuses its settings."""
    try:
        return make(argument)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{where}: {str(error).splitlines()[0]}") from None


def applicable(
    config: Mapping[str, Any], model: Model, data: Dataset, choices: Mapping[str, str], default_list: bool
) -> tuple[dict[str, Diagnostic], dict[str, str]]:
    """The diagnostics of ``config`` that fit model and data, and why the others do not; InputError for those
    unless ``skip_inapplicable`` says to leave them out, or says nothing and they are those of the default
    list."""
    skip = default_list if config["skip_inapplicable"] is None else config["skip_inapplicable"]
    fitting, skipped = {}, {}
    for name, spec in config["diagnostic"].items():
        diagnostic = build(spec, Diagnostic, f"diagnostic.{name}", config["trust"])
        if reason := unfit(diagnostic, model, data, config["training"], choices):
            if not skip:
                raise Misfit(f"diagnostic {name!r} {reason} (skip_inapplicable=true leaves it out)")
            skipped[name] = reason
        else:
            fitting[name] = diagnostic
    return fitting, skipped


def unfit(
    diagnostic: Diagnostic,
    model: Model,
    data: Dataset,
    training: Mapping[str, Any],
    choices: Mapping[str, str],
) -> str | None:
    """Why a diagnostic cannot be asked of this model, so trained on these data, ``needs labels; data 'set'
    has none``; None where it can. InputError where one of its settings names what they have not."""
    if lack := misfit(diagnostic, model, data, training):
        return f"needs {lack.noun}; {lack.side} {choices.get(lack.side, 'set')!r} has none"
    try:
        diagnostic.check(model, data)
    except Misfit as error:
        return str(error)
    return None


def caveats(plan: Plan) -> tuple[str, ...]:
    """What a reader of the run must know: of the data, of the model, of training. Reads the data."""
    return (
        *plan.data.notes,
        *plan.model.caveats(plan.data),
        *noise_afterwards(plan),
        *long_schedules(plan),
        *few_steps(plan),
    )


def noise_afterwards(plan: Plan) -> tuple[str, ...]:
    """That the weights are not those of the model's own training, where an experiment followed it."""
    noise = plan.training.noise_on_latent
    if noise is None:
        return ()
    if not noise.increment:
        return (
            "After training it was trained on without noise (the control of training=latent_noise); "
            "the weights are those of the end.",
        )
    return (
        "After training, growing noise was put on one latent variable until it was worth less than "
        "its KL, or for "
        f"{noise.lengths[RISING]} epochs, and taken away again; the weights are those of the end, not "
        "the best.",
    )


def long_schedules(plan: Plan) -> tuple[str, ...]:
    """That a phase is over before its schedules are: nothing is selected before they end."""
    said = []
    for phase in plan.training.phases(plan.model):
        epochs = plan.training.epochs if phase.epochs is None else phase.epochs
        name, end = max(
            ((name, schedule.end) for name, schedule in phase.schedules.items()),
            key=lambda each: each[1],
            default=("", 0),
        )
        if epochs < end:
            said.append(
                f"Phase {phase.name} has {epochs} epochs, its schedule of {name} ends only after "
                f"{end:g}: no best epoch is chosen, its "
                "weights are those of the end."
            )
    return tuple(said)


def few_steps(plan: Plan) -> tuple[str, ...]:
    """That an epoch has fewer than ``STEPS`` steps, where it has: patience and learning rate count epochs."""
    if all(isinstance(phase.source, FromStream) for phase in plan.training.phases(plan.model)):
        return ()
    rows, batch = len(plan.data.split("train").x), plan.training.batch_size
    steps = -(-rows // batch)
    smaller = 2 ** int(math.log2(max(1.0, rows / STEPS)))
    if steps >= STEPS or smaller >= batch:
        return ()
    return (
        f"An epoch has only {steps} step{'s' * (steps > 1)}: {rows:,} training rows in batches of {batch}. "
        f"training.batch_size={smaller} makes it {-(-rows // smaller)}.",
    )


def device_named(name: str) -> torch.device:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` to a device that is there."""
    count = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    known = ["auto", "cpu", *(["cuda"] if count else []), *(f"cuda:{i}" for i in range(count))]
    if name not in known:
        raise InputError(f"device: {name!r} is not on this machine; allowed: {', '.join(known)}")
    return torch.device(name)

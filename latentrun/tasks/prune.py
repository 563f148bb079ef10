"""``task=prune``: the model of a trained run, rebuilt without some of its latent variables: the same function
in a smaller network (see :mod:`latentrun.tasks.slicing`). Nothing is trained, and the run it is made of is
read, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from torch.distributions import Independent, Normal

from latentrun.config.bounds import Ge, Printable
from latentrun.config.build import build
from latentrun.config.options import option
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGaussianPosterior, HasGenerator, HasPrior, Model
from latentrun.nn.base import parameter_count
from latentrun.run import Run
from latentrun.store import RunDirectory, now
from latentrun.store.files import require_empty
from latentrun.system.disk import require_room
from latentrun.system.provenance import environment
from latentrun.system.terminal import show
from latentrun.tasks.assembly import build_model
from latentrun.tasks.base import MACHINE, Command, Task
from latentrun.tasks.loading import load
from latentrun.tasks.measure import extend
from latentrun.tasks.outputs import trained
from latentrun.tasks.questions import questions_of
from latentrun.tasks.records import write_codes
from latentrun.tasks.slicing import ROWS, history_of, require_same, sliced
from latentrun.types import Report

MEASURING = ("diagnostic", "figures", "skip_inapplicable")  # the source's own where they are not given


@dataclass(frozen=True)
class Selection:
    """The latent variables that are kept, in their order, and ``by`` what: ``keep``, or the diagnostic
    ``sparsity`` with its ``settings``."""

    keep: list[int]
    by: str
    settings: Mapping[str, Any] | None = None

    @property
    def about(self) -> dict[str, Any]:
        """What meta.json says of it."""
        settings = {} if self.settings is None else {"settings": self.settings}
        return {"kept": self.keep, "by": self.by, **settings}


class Prune(Task):
    """Write the pruned model of a run as a run of its own, measured as that one was.

    ``keep``: the latent variables to keep; null: those that diagnostic ``sparsity`` does not call inactive.
    """

    beside = (*MACHINE, *MEASURING)

    def __init__(self, run: Annotated[str, Printable()], keep: list[Annotated[int, Ge(0)]] | None):
        self.source, self.keep = run, keep

    def run(self, command: Command) -> int:
        trust = command.trust
        source, run = trained(self.source, trust.directory, command.values["device"])
        source.require("choices")
        require_prunable(run)
        selection = selected(self.keep, run)
        if len(selection.keep) == run.model.latent_dim:
            why = "kept" if self.keep else "in use"
            show(f"nothing to prune: all {run.model.latent_dim} latent variables of {source.path} are {why}")
            return 0
        require_empty(command.path)
        require_room(command.path)
        settings = settings_of(source, command, len(selection.keep))
        model = smaller(run, settings, trust.directory, selection.keep)
        fresh = "diagnostic" in command.given  # those of the source may only be what a directory may name
        default_list = command.default_list if fresh else source.meta.get("default_list", True)
        requested = {**settings, "trust": trust.fresh if fresh else trust.directory}
        questions = questions_of(requested, model, run.data, source.meta["choices"], default_list)
        errors = require_same(Run(run.model, run.data), Run(model, run.data), selection.keep)
        note = described(source, run, selection, errors)
        meta = meta_of(source, run, command, selection, note) | {"default_list": default_list}
        directory = write(command.path, settings, meta, run, model, selection.keep)
        before, after = parameter_count(run.model), parameter_count(model)
        show(*run.notes, note, f"parameters: {before:,} before, {after:,} after")
        pruned = replace(load(directory.path, trust.directory, run.device), data=run.data)  # read already
        write_codes(pruned, directory)
        return extend(pruned, directory, questions)


# ---------------------------------------------------------------- which variables
def require_prunable(run: Run) -> None:
    """InputError for a model without an encoder, without a dimension that can be set, or whose samples are
    drawn from anything but a product of normals: some of those can be left out, and the others stay what they
    are."""
    model, where = run.model, repr(str(run.directory))
    if not isinstance(model, HasEncoder):
        raise InputError(f"task=prune needs an encoder; the model of {where} has none")
    if run.config["model"].get("latent_dim") != model.latent_dim:
        raise InputError(f"task=prune needs a model with the setting latent_dim; that of {where} has none")
    law = model.prior() if isinstance(model, HasPrior) else None
    if isinstance(model, HasGenerator) and not (
        isinstance(law, Independent) and isinstance(law.base_dist, Normal)
    ):
        raise InputError(
            "task=prune needs a prior that is a product of normals, one for each latent variable; "
            f"{where} has another"
        )


def selected(named: Sequence[int] | None, run: Run) -> Selection:
    """The variables to keep: the ones ``named``, else those that ``sparsity`` does not call inactive, by the
    run's own report or, where it has none, measured now with the settings of its option."""
    d, where = run.model.latent_dim, repr(str(run.directory))
    if named is not None:
        return Selection(numbers(named, d, "keep"), "keep")
    if not isinstance(run.model, HasGaussianPosterior):
        raise InputError(
            "task=prune: which variables are inactive shows in a Gaussian posterior; the model of "
            f"{where} has none: name those to keep, keep=[0,1]"
        )
    report = run.reports.get("sparsity")
    if report is None:
        settings = option("diagnostic", "sparsity")
        report = measured_now(run, settings)
    else:
        settings = run.meta["diagnostics"]["sparsity"].get("config")
    keep = [int(i) for i in report.arrays.get("kept", ())]
    if not keep:
        raise InputError(
            f"task=prune: all {d} latent variables of {where} are inactive; keep=[0] keeps one all the same"
        )
    return Selection(numbers(keep, d, f"{where}: sparsity"), "sparsity", settings)


def measured_now(run: Run, spec: Mapping[str, Any]) -> Report:
    """What ``sparsity`` finds, as ``task=diagnose`` would store it; nothing is written."""
    return build(spec, Diagnostic, "diagnostic.sparsity")(run, Noise(run.seed).at("diagnostic", "sparsity"))


def numbers(named: Sequence[int], d: int, where: str) -> list[int]:
    """Numbers of latent variables in their order; InputError where there is none, one that the model has not,
    or one twice."""
    if not named:
        raise InputError(f"{where}: names no latent variable; the model has 0 to {d - 1}")
    for i in named:
        if not 0 <= i < d:
            raise InputError(f"{where}: there is no latent variable {i}; the model has 0 to {d - 1}")
        if named.count(i) > 1:
            raise InputError(f"{where}: {i} is named twice")
    return sorted(named)


# ---------------------------------------------------------------- the run that is written
def settings_of(source: RunDirectory, command: Command, d: int) -> dict[str, Any]:
    """The configuration of the pruned run: the source's, with d latent variables, and of what is measured
    what the command says."""
    stored = source.config
    given = {key: command.values[key] for key in MEASURING if key in command.given}
    model = {**stored["model"], "latent_dim": d}
    return {**stored, **given, "task": command.values["task"], "model": model}


def smaller(run: Run, settings: Mapping[str, Any], trust: Sequence[str], keep: Sequence[int]) -> Model:
    """The model of ``settings`` with what is kept of the weights of the run's."""
    model = build_model({**settings, "trust": list(trust)}, run.data)
    weights = sliced(run.model.state_dict(), model.state_dict(), run.model.latent_dim, keep)
    model.load_state_dict(weights)
    return model


def meta_of(
    source: RunDirectory, run: Run, command: Command, selection: Selection, note: str
) -> dict[str, Any]:
    """What meta.json says of the pruned run. No fit_hash: nobody who looks for a model trained with these
    settings may take this one."""
    meta = source.meta
    return {
        **command.about,
        "choices": {**meta["choices"], "task": command.values["task"]},
        **environment(run.device),
        **{key: meta[key] for key in ("seed", "data", "data_hash", "data_rows") if key in meta},
        "trained": meta.get("trained", now()),
        "caveats": [note, *meta.get("caveats", [])],
        "pruned_from": {
            "run": str(source.path.resolve()),
            "fit_hash": meta.get("fit_hash"),
            "latent_dim": run.model.latent_dim,
            **selection.about,
        },
    }


def write(
    path: Path,
    settings: Mapping[str, Any],
    meta: Mapping[str, Any],
    run: Run,
    model: Model,
    keep: Sequence[int],
) -> RunDirectory:
    """A new run directory with the smaller model and its part of the history."""
    directory = RunDirectory.create(path, settings, meta)
    directory.write_history(history_of(run.history, keep))
    directory.save_checkpoint("best", {"model": model.state_dict()})
    return directory


def described(source: RunDirectory, run: Run, selection: Selection, errors: tuple[float, float]) -> str:
    """What a reader of the pruned run must know, in one line. ``errors``: mean squared error before and
    after."""
    keep, rows = selection.keep, min(ROWS, len(run.data.split("test").x))
    sparsity = selection.by == "sparsity"
    how = "without those that sparsity calls inactive" if sparsity else "those named by keep="
    return (
        f"Pruned from {source.path.resolve().name}, not trained since: {len(keep)} of "
        f"{run.model.latent_dim} latent variables, {how}; numbered anew, 0 to {len(keep) - 1} are "
        f"{', '.join(map(str, keep))} there. Mean squared error per data dimension of {rows} test rows: "
        f"{errors[0]:.6g} before, {errors[1]:.6g} after."
    )

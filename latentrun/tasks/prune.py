"""The model of a trained run, rebuilt without some of its latent variables: the same function in a smaller
network.

With K the variables that are kept, the pruned model has encode'(x) = encode(x)_K, decode'(z_K) = decode(z
with the others at 0) and the prior of z_K (Asperti 2018, arXiv 1812.07238: inactive variables and their
connections may be removed). Nothing is trained, and the run it is made of is read, never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from latentrun.config.build import build
from latentrun.config.options import option
from latentrun.diagnostics.base import Diagnostic
from latentrun.errors import InputError
from latentrun.functional.noise import Noise
from latentrun.models.base import HasEncoder, HasGaussianPosterior, HasGenerator, HasPrior, Model
from latentrun.run import Run
from latentrun.store import RunDirectory, now
from latentrun.store.files import require_empty
from latentrun.system.disk import require_room
from latentrun.system.provenance import environment
from latentrun.tasks.assembly import applicable, build_model
from latentrun.tasks.loading import load
from latentrun.tasks.pipeline import extend, write_codes
from latentrun.tasks.use import EVERYWHERE, require_only, trained
from latentrun.types import History, Report

MEASURING = (
    "diagnostic",
    "figures",
    "skip_inapplicable",
)  # settings that are the source's own where they are not given
ALLOWED = (*EVERYWHERE, "keep", *MEASURING)
ROWS = 512  # test rows on which the two models are held against each other
TOLERANCE = (
    1e-4  # of the largest value: sums of float32 numbers in another order; a wrong slice is far beyond
)


def task(config: Mapping[str, Any], path: Path, about: Mapping[str, Any], own: Sequence[str] = ()) -> int:
    """``task=prune``: write the pruned model of the run that ``config`` names as a run of its own, measured
    as that one was; the exit code.

    ``own``: packages trusted for diagnostics that are given, which come from the user's own files, but not
    for what the run names.
    """
    given = {key.partition(".")[0] for key in require_only(about["overrides"], ALLOWED)}
    source, run = trained(config)
    require_prunable(run)
    d = run.model.latent_dim
    keep, why = chosen(config["keep"], run)
    if len(keep) == d:
        print(
            f"nothing to prune: all {d} latent variables of {source.path} are "
            f"{'kept' if config['keep'] else 'in use'}"
        )
        return 0
    require_empty(path)
    require_room(path)
    settings = {**source.config, **{key: config[key] for key in MEASURING if key in given}, "task": "prune"}
    settings["model"] = {**settings["model"], "latent_dim": len(keep)}
    model = build_model(settings | {"trust": config["trust"]}, run.data)
    model.load_state_dict(sliced(run.model.state_dict(), model.state_dict(), d, keep))
    default_list = about["default_list"] if "diagnostic" in given else source.meta.get("default_list", True)
    trust = [*config["trust"], *(own if "diagnostic" in given else ())]
    measured, skipped = applicable(
        settings | {"trust": trust}, model, run.data, source.meta["choices"], default_list
    )

    error = require_same(Run(run.model, run.data), Run(model, run.data), keep)
    note = described(source, run, keep, why, error)
    meta = {
        "choices": {**source.meta["choices"], "task": "prune"},
        "overrides": about["overrides"],
        "default_list": default_list,
        **environment(run.device),
        **{key: source.meta[key] for key in ("seed", "data", "data_hash") if key in source.meta},
        # No fit_hash: nobody who looks for a model trained with these settings may take this one.
        "trained": source.meta.get("trained", now()),
        "caveats": [note, *source.meta.get("caveats", [])],
        "pruned_from": {
            "run": str(source.path.resolve()),
            "fit_hash": source.meta.get("fit_hash"),
            "latent_dim": d,
            "kept": keep,
            **why,
        },
    }
    directory = RunDirectory.create(path, settings, meta)
    directory.write_history(history_of(run.history, keep))
    directory.save_checkpoint("best", {**source.load_checkpoint("best"), "model": model.state_dict()})
    print(f"{note}\nparameters: {size(run.model):,} before, {size(model):,} after")
    pruned = load(path, config["trust"], run.device)
    pruned.data = run.data  # that is read already
    write_codes(pruned, directory)
    return extend(pruned, directory, measured, skipped)


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


def chosen(named: Sequence[int] | None, run: Run) -> tuple[list[int], dict[str, Any]]:
    """The variables to keep, in their order, and what says so: the ones ``named``, else those that
    ``sparsity`` does not call inactive, by the run's own report or, where it has none, measured now with the
    settings of its option."""
    d = run.model.latent_dim
    if named is not None:
        return numbers(named, d, "keep"), {"by": "keep"}
    if not isinstance(run.model, HasGaussianPosterior):
        raise InputError(
            "task=prune: which variables are inactive shows in a Gaussian posterior; the model of "
            f"{str(run.directory)!r} has none: "
            "name those to keep, keep=[0,1]"
        )
    known = run.reports.get("sparsity")
    entry = run.meta["diagnostics"]["sparsity"].get("config") if known else option("diagnostic", "sparsity")
    report = known or measured_now(run, entry)
    kept = [int(i) for i in report.arrays.get("kept", ())]
    if not kept:
        raise InputError(
            f"task=prune: all {d} latent variables of {str(run.directory)!r} are inactive; keep=[0] "
            "keeps one all the same"
        )
    return numbers(kept, d, f"{str(run.directory)!r}: sparsity"), {"by": "sparsity", "settings": entry}


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


# ---------------------------------------------------------------- the smaller model
def sliced(
    whole: Mapping[str, Tensor], part: Mapping[str, Tensor], d: int, keep: Sequence[int]
) -> dict[str, Tensor]:
    """The weights ``whole`` of a model with d latent variables for one with ``len(keep)``, whose fresh
    weights are ``part``.

    Which tensors follow the latent dimension shows in their shapes; an axis that does is d long, or 2 d
    (means, then log scales), or d and a rest (a recurrent network's input, then its state). InputError where
    shapes differ otherwise.
    """
    if whole.keys() != part.keys():
        raise InputError(
            f"task=prune: the model has other weights with {len(keep)} latent variables than with {d}"
        )
    found = {}
    for name, tensor in whole.items():
        shapes = tuple(tensor.shape), tuple(part[name].shape)
        axes = (
            [axis for axis, (n, m) in enumerate(zip(*shapes, strict=True)) if n != m]
            if len(shapes[0]) == len(shapes[1])
            else []
        )
        order = [positions(shapes[0][axis], shapes[1][axis], d, keep) for axis in axes]
        if (not axes and shapes[0] != shapes[1]) or len(axes) > 1 or None in order:
            raise InputError(
                f"task=prune: {name!r} is of shape {shapes[0]} with {d} latent variables and "
                f"{shapes[1]} with {len(keep)}: "
                "it is not clear which of it belongs to which variable"
            )
        found[name] = (
            tensor.index_select(axes[0], torch.tensor(order[0], device=tensor.device))
            if axes
            else tensor.clone()
        )
    return found


def positions(n: int, m: int, d: int, keep: Sequence[int]) -> list[int] | None:
    """The places kept of an axis that is n long with d latent variables and m without those that are not
    kept; None where that is not one of the layouts of :func:`sliced`."""
    times, rest = divmod(n - m, d - len(keep))
    behind = n - times * d
    if rest or times not in (1, 2) or behind < 0 or (times == 2 and behind):
        return None
    return [block * d + i for block in range(times) for i in keep] + list(range(times * d, n))


@torch.no_grad()
def require_same(whole: Run, part: Run, keep: Sequence[int]) -> tuple[float, float]:
    """InputError unless, to rounding, the smaller model encodes rows of the data as the kept variables,
    decodes these codes, and draws from N(0, 1), as the model does with the others at 0, and has their prior.
    Gives the mean squared error per data dimension of the reconstructions of these rows, before and after."""
    x = whole.data.split("test").x[:ROWS]
    codes, small = encoded(whole, x), encoded(part, x)
    z = torch.zeros(2 * len(x), whole.model.latent_dim)
    z[:, keep] = torch.cat([small[0], Noise(0).at("prune").normal("z", tuple(small[0].shape))])
    decoded = part.decode(z[:, keep])
    found = {
        "codes": (codes[0][:, keep], small[0]),
        "scales of codes": (codes[1][:, keep], small[1]),
        "moments of the prior": (prior(whole.model)[:, keep], prior(part.model)),
        "decoded codes": (whole.decode(z), decoded),
    }
    for what, (old, new) in found.items():
        if (
            not (new - old).abs().max() <= TOLERANCE * old.abs().max()
        ):  # what is no number does not pass either
            raise InputError(
                f"task=prune: {what} of the smaller model are not those of the model; nothing is written"
            )
    before, after = ((y - x).square().mean().item() for y in (whole.decode(codes[0]), decoded[: len(x)]))
    return before, after


def encoded(run: Run, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of q(z|x), 0 for a code that has none."""
    if isinstance(run.model, HasGaussianPosterior):
        return run.posterior(x)
    mean = run.encode(x)
    return mean, torch.zeros_like(mean)


def prior(model: Model) -> Tensor:
    """Mean and standard deviation of p(z), ``(2, d)``, 0 where there is none."""
    return (
        torch.stack([model.prior().mean, model.prior().stddev])
        if isinstance(model, HasPrior)
        else torch.zeros(2, model.latent_dim)
    )


def history_of(history: History | None, keep: Sequence[int]) -> History | None:
    """What the history says of some latent variables."""
    if history is None:
        return None
    found = {field.name: getattr(history, field.name) for field in fields(history)}
    return replace(
        history,
        **{name: array[..., keep] for name, array in found.items() if array.ndim == 3 and array.shape[2]},
    )


# ---------------------------------------------------------------- what is said of it
def described(
    source: RunDirectory, run: Run, keep: Sequence[int], why: Mapping[str, Any], error: tuple[float, float]
) -> str:
    """What a reader of the pruned run must know, in one line."""
    rows = min(ROWS, len(run.data.split("test").x))
    how = "without those that sparsity calls inactive" if why["by"] == "sparsity" else "those named by keep="
    return (
        f"Pruned from {source.path.resolve().name}, not trained since: {len(keep)} of "
        f"{run.model.latent_dim} latent variables, {how}; "
        f"numbered anew, 0 to {len(keep) - 1} are {', '.join(map(str, keep))} there. Mean squared "
        f"error per data dimension of {rows} "
        f"test rows: {error[0]:.6g} before, {error[1]:.6g} after."
    )


def size(model: Model) -> int:
    """The number of parameters."""
    return sum(p.numel() for p in model.parameters())

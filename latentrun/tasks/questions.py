"""What a command asks of a run: which diagnostics, with which settings, and how their figures are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from latentrun.config.build import build
from latentrun.data.base import Dataset
from latentrun.diagnostics.base import Diagnostic, misfit
from latentrun.errors import Misfit, Several, Unmade
from latentrun.models.base import Model


@dataclass(frozen=True)
class Questions:
    """``diagnostics`` by name; ``specs``: the settings of each; ``skipped``: why others, that were named too,
    cannot be asked; ``figures``: the files of every figure beside the png, none drawn where it is empty.
    ``unmade``: why others cannot even be made."""

    diagnostics: Mapping[str, Diagnostic]
    specs: Mapping[str, Mapping[str, Any]]
    skipped: Mapping[str, str] = field(default_factory=dict)
    figures: Sequence[str] = ("png",)
    unmade: Sequence[str] = ()

    def require_rows(self, data: Dataset) -> None:
        """InputError where a diagnostic asks for more rows than there are; reads them."""
        for diagnostic in self.diagnostics.values():
            diagnostic.check_rows(data)


def questions_of(
    config: Mapping[str, Any],
    model: Model,
    data: Dataset,
    choices: Mapping[str, str],
    default_list: bool,
    tried: bool = False,
) -> Questions:
    """The diagnostics of ``config`` that fit model and data, and why the others do not; InputError for those
    unless ``skip_inapplicable`` says to leave them out, or says nothing and they are those of the default
    list; for those that cannot be made unless they are ``tried`` later, which says it with all else."""
    skip = default_list if config["skip_inapplicable"] is None else config["skip_inapplicable"]
    fitting, skipped, unmade = {}, {}, []
    for name, spec in config["diagnostic"].items():
        try:
            diagnostic = build(spec, Diagnostic, f"diagnostic.{name}", config["trust"])
        except Unmade as error:
            unmade.append(str(error))
            continue
        reason = unfit(diagnostic, model, data, config["training"], choices)
        if reason is None:
            fitting[name] = diagnostic
        elif skip:
            skipped[name] = reason
        else:
            raise Misfit(f"diagnostic {name!r} {reason} (skip_inapplicable=true leaves it out)")
    specs = {name: config["diagnostic"][name] for name in fitting}
    if unmade and not tried:
        raise Several(unmade)
    return Questions(fitting, specs, skipped, config["figures"], tuple(unmade))


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

"""The comparisons that claims speak of: found where they are there already, else made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from latentrun.claims.claim import Claim, Subject
from latentrun.claims.evidence import Evidence, Numbers, measured_by, trained, values_of
from latentrun.comparisons.base import Comparison
from latentrun.config.build import build
from latentrun.config.fingerprint import fingerprint
from latentrun.config.options import option
from latentrun.config.settings import groups, settings
from latentrun.errors import InputError
from latentrun.store import ComparisonDirectory, RunDirectory, comparisons
from latentrun.types import Status

Specs = Mapping[str, Mapping[str, Any]]  # settings of comparisons by name
# Compares the runs in these directories, of this seed, by all comparisons of these settings; where to.
Make = Callable[[Sequence[Path], int, Specs], Path]


@dataclass(frozen=True)
class Encounter:
    """Runs of one seed that a claim compares with each other: their ``paths``, in the order of ``between``,
    and the ``names`` of the comparisons. ``missing``: the runs that are not there to be compared."""

    claim: str
    between: tuple[str, ...]
    seed: int
    names: tuple[str, ...]
    paths: tuple[Path, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    """Where the comparison ``name`` of an encounter is, None where it could not be made, and why not; whether
    it was there before (``state``: found, made, failed)."""

    encounter: Encounter
    name: str
    state: str
    path: Path | None
    reason: str = ""


def specs_of(claims: Sequence[Claim], given: Specs) -> dict[str, Mapping[str, Any]]:
    """The settings of all comparisons that the claims name: those ``given``, else those of the shipped
    options; InputError where there are none."""
    parts = [part for claim in claims for part in claim.expect if part.between]
    names = dict.fromkeys(name for part in parts for name in part.questions)
    return {name: given.get(name) or option("comparison", name) for name in names}


def built(specs: Specs, trust: Sequence[str]) -> dict[str, Comparison]:
    """The comparisons of these settings."""
    return {name: build(spec, Comparison, f"comparison.{name}", trust) for name, spec in specs.items()}


def encounters(claims: Sequence[Claim], evidence: Evidence, numbers: Numbers) -> list[Encounter]:
    """What the claims compare, one for each seed."""
    return [
        _encounter(claim, between, names, members, evidence)
        for claim in claims
        for between, names in _between(claim).items()
        for members in zip(*(numbers[claim.name, run] for run in between), strict=True)
    ]


def _between(claim: Claim) -> dict[tuple[str, ...], tuple[str, ...]]:
    """The comparisons that a claim names, by the runs that they compare."""
    names: dict[tuple[str, ...], dict[str, None]] = {}
    for part in claim.expect:
        if part.between:
            names.setdefault(part.between, {}).update(dict.fromkeys(part.questions))
    return {between: tuple(questions) for between, questions in names.items()}


def _encounter(
    claim: Claim,
    between: tuple[str, ...],
    names: tuple[str, ...],
    members: Sequence[int],
    evidence: Evidence,
) -> Encounter:
    """``members``: the number of the job of each run."""
    jobs = {job.number: job for job in evidence.jobs}
    return Encounter(
        claim=claim.name,
        between=between,
        seed=jobs[members[0]].config["seed"],
        names=names,
        paths=tuple(evidence.places[number] for number in members),
        missing=tuple(
            run for run, number in zip(between, members, strict=True) if not _is_ready(evidence, jobs[number])
        ),
    )


def _is_ready(evidence: Evidence, job: Any) -> bool:
    meta = evidence.meta(job)
    return meta is not None and trained(meta)


def answers(wanted: Sequence[Encounter], specs: Specs, root: str | Path, make: Make) -> list[Answer]:
    """Where the comparisons of all encounters are; those that are nowhere under ``root`` are made."""
    directories = comparisons(root)
    given = []
    for encounter in wanted:
        if encounter.missing:
            reason = f"there is no finished run {', '.join(encounter.missing)}"
            given += [Answer(encounter, name, "missing", None, reason) for name in encounter.names]
            continue
        paths = {name: standing(directories, encounter.paths, name, specs[name]) for name in encounter.names}
        given += [Answer(encounter, name, "found", path) for name, path in paths.items() if path is not None]
        absent = {name: specs[name] for name, path in paths.items() if path is None}
        if absent:
            made = _made(encounter, absent, make)
            given += made
            new = dict.fromkeys(answer.path for answer in made if answer.path is not None)
            directories = [*((path, ComparisonDirectory(path).meta) for path in new), *directories]
    return given


def _made(encounter: Encounter, specs: Specs, make: Make) -> list[Answer]:
    """The answers of comparisons that are made now."""
    try:
        path = make(encounter.paths, encounter.seed, specs)
    except InputError as error:
        return [Answer(encounter, name, "failed", None, str(error)) for name in specs]
    directory = [(path, ComparisonDirectory(path).meta)]
    return [
        Answer(encounter, name, "made", path)
        if standing(directory, encounter.paths, name, spec)
        else Answer(encounter, name, "failed", None)
        for name, spec in specs.items()
    ]


def standing(
    directories: Sequence[tuple[Path, Mapping[str, Any]]],
    paths: Sequence[Path],
    name: str,
    spec: Mapping[str, Any],
) -> Path | None:
    """The first of ``directories`` that holds the comparison ``name`` with these settings and this code, of
    just these runs as they are now; None where there is none."""
    runs = [(path.resolve(), RunDirectory(path).meta) for path in paths]
    for path, meta in directories:
        entry = meta.get("comparisons", {}).get(name, {})
        if (entry.get("status"), entry.get("hash")) != (Status.OK, fingerprint(spec)):
            continue
        compared = meta.get("runs", [])
        if len(compared) == len(runs) and all(
            _is_of(path, about, place, run) for about, (place, run) in zip(compared, runs, strict=True)
        ):
            return path
    return None


def _is_of(path: Path, about: Mapping[str, Any], place: Path, run: Mapping[str, Any]) -> bool:
    """Whether what a comparison in ``path`` says of a run is the run in ``place``, measured as it is now."""
    same_place = Path(path, str(about.get("path"))).resolve() == place
    same_fit = all(about.get(key) == run.get(key) for key in ("created", "fit_hash", "data_hash"))
    measured = about.get("measured")
    return (
        same_place
        and same_fit
        and isinstance(measured, Mapping)
        and measured.items() <= measured_by(run).items()
    )


# ---------------------------------------------------------------- their metrics
def metrics_by_seed(
    given: Sequence[Answer], questions: Mapping[str, Comparison]
) -> dict[str, dict[Subject, dict[int, dict[str, float]]]]:
    """By claim, runs and seed what the comparisons measured, ``comparison/metric`` to value."""
    measured: dict[str, dict[Subject, dict[int, dict[str, float]]]] = {}
    for answer in given:
        encounter = answer.encounter
        by_seed = measured.setdefault(encounter.claim, {}).setdefault(encounter.between, {})
        metrics = by_seed.setdefault(encounter.seed, {})
        if answer.path is not None:
            metrics |= named(answer, questions[answer.name].pair_on)
    return measured


def named(answer: Answer, pair_on: Sequence[str]) -> dict[str, float]:
    """The metrics of one comparison; a part that names a group of one run also by the run's name in the
    claim: ``metrics/error_difference.model=ae`` as ``metrics/error_difference.ae``."""
    table = ComparisonDirectory(answer.path).read_table("metrics")
    of = "comparison"
    values = values_of(table[table[of] == answer.name] if of in table else table, of=of)
    directories = [RunDirectory(path) for path in answer.encounter.paths]
    rows = [settings(run.config, run.meta.get("choices", {})) for run in directories]
    names = {
        group.name: answer.encounter.between[next(iter(group.members.values()))]
        for group in groups(rows, [run.path.name for run in directories], pair_on)
        if len(group.members) == 1
    }
    renamed = {}
    for key, value in values.items():
        metric, _, part = key.partition(".")
        if part in names:
            renamed[f"{metric}.{names[part]}"] = value
    return values | renamed


def answers_table(given: Sequence[Answer]) -> pd.DataFrame:
    """A row for each comparison of each encounter: claim, runs, seed, whether it was there, where it is."""
    columns = ["claim", "runs", "seed", "comparison", "state", "reason", "directory"]
    rows = [
        {
            "claim": answer.encounter.claim,
            "runs": ", ".join(answer.encounter.between),
            "seed": answer.encounter.seed,
            "comparison": answer.name,
            "state": answer.state,
            "reason": answer.reason,
            "directory": "" if answer.path is None else str(answer.path),
        }
        for answer in given
    ]
    return pd.DataFrame(rows, columns=columns)

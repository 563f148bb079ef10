"""Claims as they stand in ``conf/claim/``: a sentence, the runs it needs, and what is expected of which
numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from latentrun.claims.fixed import Amendment, Fixed, Text, check_history, digest_of
from latentrun.config.bounds import Ge
from latentrun.config.boxes import box
from latentrun.config.settings import key_of
from latentrun.errors import InputError, unknown

NAME = r"[A-Za-z0-9_-]+"  # of claims and of their runs: they become names of files
# what a run may say of itself
SAID = ("data", "model", "network", "training", "rows", "experiment", "variant", "debug")
SIGNS = {"difference": "−", "ratio": "/"}
KINDS = {  # whose a sentence is
    "claim": "the source's claim",
    "idea": "an idea of the source, which claims nothing of it",
    "ours": "our expectation, not the source's",
}
Subject = str | tuple[str, ...]  # the name of a run, or those of runs that are compared


@dataclass(frozen=True)
class Expectation:
    """One thing that a sentence says, of one quantity.

    The quantity of a run is ``metric``, divided by ``over`` or less ``minus`` where these are given, all of
    them ``diagnostic/metric`` of the same run. It is taken of the run ``of``, and, where ``against`` names
    another, compared with that of the run with the same seed by ``by``. With ``between`` in place of ``of``
    the metrics are those of a comparison, ``comparison/metric``, of these runs of one seed with each other;
    the part of such a metric that stands for a group of runs is the name of the run.

    Expected ``above`` and/or ``below`` these values; without either it is only reported. ``share``: the
    values say yes (1) or no (0), and what is expected is the share of seeds that say yes. ``source_value``:
    what the source gives, as text or number, if anything.
    """

    says: Text
    metric: Text
    of: Text | None = None
    between: tuple[Text, ...] = ()
    over: Text | None = None
    minus: Text | None = None
    against: Text | None = None
    by: Literal["difference", "ratio"] | None = None
    share: bool = False
    above: float | None = None
    below: float | None = None
    source_value: float | Text | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every ``diagnostic/metric``, or ``comparison/metric``, it needs."""
        return tuple(name for name in (self.metric, self.over, self.minus) if name is not None)

    @property
    def questions(self) -> tuple[str, ...]:
        """The diagnostics, or comparisons, that measure these."""
        return tuple(dict.fromkeys(name.partition("/")[0] for name in self.metrics))

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """What the metrics are of: a run, two runs one after the other, or several with each other."""
        if self.between:
            return (self.between,)
        return tuple(run for run in (self.of, self.against) if run is not None)

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs it needs."""
        return self.between or tuple(run for run in (self.of, self.against) if run is not None)

    @property
    def kind(self) -> Literal["value", "ratio", "share"]:
        """What one seed gives, and so which interval the seeds have."""
        return "share" if self.share else "ratio" if self.by == "ratio" else "value"

    @property
    def quantity(self) -> str:
        """In words: ``reconstruction/error_mean; ae / vae``."""
        inner = self.metric
        if self.over:
            inner += f" / {self.over}"
        if self.minus:
            inner += f" − {self.minus}"
        sign = SIGNS[self.by] if self.by else ""
        whose = " with ".join(self.between) or f" {sign} ".join(self.runs)
        return f"{'share of seeds with ' if self.share else ''}{inner}; {whose}"

    @property
    def expected(self) -> str:
        """In words: ``between -0.02 and 0.02``."""
        if self.above is not None and self.below is not None:
            return f"between {self.above:g} and {self.below:g}"
        if self.above is None and self.below is None:
            return ""
        return f"above {self.above:g}" if self.above is not None else f"below {self.below:g}"


@dataclass(frozen=True)
class Claim:
    """A sentence and how it is judged. ``kind``: whose it is, see ``KINDS``; ``source``: where it stands;
    ``fixed``: when the expectations were written down, and their digest; ``runs``: overrides of a training by
    name, seeds left out; ``expect``: what the sentence says, part by part, all of which it asserts;
    ``conditions``: under which it is judged, as far as the sentence does not say; ``amended``: every change
    of runs, conditions and expectations since, the oldest first."""

    name: str
    kind: Literal["claim", "idea", "ours"]
    sentence: Text
    source: Text
    fixed: Fixed
    runs: dict[str, list[Text]]
    expect: tuple[Expectation, ...]
    conditions: Text | None = None
    amended: tuple[Amendment, ...] = ()

    @property
    def digest(self) -> str:
        """Of what it is judged by, as it is now."""
        return digest_of(self.runs, self.expect, self.conditions)


@dataclass(frozen=True)
class Size:
    """How much is run: with each of ``seeds``, and ``overrides`` beside those of the runs."""

    seeds: list[Annotated[int, Ge(0)]]
    overrides: list[Text]


# ---------------------------------------------------------------- from configuration
def claims_of(nodes: Mapping[str, Any] | None) -> list[Claim]:
    """The claims of a configuration; InputError names file and key where one is wrong."""
    if not nodes:
        raise InputError("claim: name at least one: claim=heatmaps, 'claim=[A1,A2]'")
    return [_claim(name, node) for name, node in nodes.items()]


def size_of(sizes: Mapping[str, Any], name: str) -> Size:
    """The size of that name; InputError where there is none, or it has no seed or one twice."""
    if name not in sizes:
        raise unknown("size", name, list(sizes))
    size = box(Size, sizes[name], f"sizes.{name}")
    if not size.seeds or len(set(size.seeds)) < len(size.seeds):
        raise InputError(f"sizes.{name}.seeds: must name at least one seed, and none twice, got {size.seeds}")
    return size


def _claim(name: str, node: Mapping[str, Any]) -> Claim:
    where = f"claim.{name}"
    if not isinstance(node, Mapping):
        raise InputError(f"{where}: must be a mapping with kind, sentence, source, fixed, runs and expect")
    runs = node.get("runs")
    for key in (name, *(runs if isinstance(runs, Mapping) else ())):
        if not isinstance(key, str) or not re.fullmatch(NAME, key):
            raise InputError(f"{where}: {key!r} is no name: letters, digits, - and _")
    if "name" in node:
        raise unknown(f"key of {where}", "name", [field.name for field in fields(Claim)][1:])
    claim = box(Claim, {"name": name, **node}, where)
    for run, overrides in claim.runs.items():
        _check_overrides(overrides, f"{where}.runs.{run}")
    for i, part in enumerate(claim.expect):
        _check_runs(part, claim.runs, f"{where}.expect[{i}]")
        _check_range(part, f"{where}.expect[{i}]")
    if not claim.expect:
        raise InputError(f"{where}.expect: names nothing to judge the sentence by")
    check_history(claim.fixed, claim.amended, claim.digest, where)
    return claim


def _check_overrides(overrides: Sequence[str], where: str) -> None:
    """InputError where a run says what sizes, expectations or the command say of it, or one thing twice."""
    keys = [key_of(text) for text in overrides]
    for text, key in zip(overrides, keys, strict=True):
        if key.partition(".")[0] not in SAID and not key.startswith("diagnostic."):
            raise InputError(
                f"{where}: {text!r}: is not a run's to say; what is: {', '.join(SAID)}, and settings of "
                "diagnostics"
            )
        if keys.count(key) > 1:
            raise InputError(f"{where}: {text!r}: {key} is set twice")


def _check_runs(part: Expectation, runs: Mapping[str, Any], where: str) -> None:
    """InputError where the runs and metrics of a part do not fit together."""
    if part.of is None and not part.between:
        raise InputError(f"{where}: of is missing: the run, or in its place between: the runs it compares")
    if part.of is not None and part.between:
        raise InputError(f"{where}: of and between exclude each other")
    for run in part.runs:
        if run not in runs:
            raise unknown(f"run of {where}", run, list(runs))
    if part.between and len({tuple(runs[run]) for run in part.between}) < max(2, len(part.between)):
        raise InputError(f"{where}.between: must name two or more runs that differ, got {list(part.between)}")
    if part.between and part.against is not None:
        raise InputError(f"{where}: between and against exclude each other")
    for metric in part.metrics:
        if not all(metric.partition("/")[::2]):
            raise InputError(f"{where}: {metric!r} is no metric; write diagnostic/metric")
    if part.between and len(part.questions) > 1:
        raise InputError(f"{where}: {' and '.join(part.questions)} are two comparisons; name metrics of one")
    if (part.against is None) != (part.by is None):
        raise InputError(f"{where}: against and by (difference or ratio) go together")
    if part.over and part.minus:
        raise InputError(f"{where}: over and minus exclude each other")
    if part.share and (part.over or part.minus or part.by):
        raise InputError(f"{where}: a share is of values that are 0 or 1: over, minus and by exclude it")


def _check_range(part: Expectation, where: str) -> None:
    """InputError where nothing can lie in the range expected."""
    ends = [end for end in (part.above, part.below) if end is not None]
    if part.above is not None and part.below is not None and part.above >= part.below:
        raise InputError(f"{where}: nothing is above {part.above:g} and below {part.below:g}")
    if part.by == "ratio" and min(ends, default=1.0) <= 0:
        raise InputError(f"{where}: a ratio is above 0: its ends must be too")
    if part.share and not all(0 <= end <= 1 for end in ends):
        raise InputError(f"{where}: a share lies between 0 and 1: its ends must too")

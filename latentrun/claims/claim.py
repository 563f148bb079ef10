"""Claims as they stand in ``conf/claim/``: a sentence, the runs it needs, and what is expected of which
numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_type_hints

from latentrun.config.bounds import Ge, Printable
from latentrun.config.build import fit
from latentrun.config.settings import key_of
from latentrun.errors import InputError, unknown

Text = Annotated[str, Printable()]
NAME = r"[A-Za-z0-9_-]+"  # of claims and of their runs: they become names of files
SETTLED = ("seed", "diagnostic", "task", "skip_inapplicable")  # what sizes and expectations say of a run
SIGNS = {"difference": "−", "ratio": "/"}


@dataclass(frozen=True)
class Expectation:
    """One thing that a sentence says, of one quantity.

    The quantity of a run is ``metric``, divided by ``over`` or less ``minus`` where these are given, all of
    them ``diagnostic/metric`` of the same run. It is taken of the run ``of``, and, where ``against`` names
    another, compared with that of the run with the same seed by ``by``. Expected ``above`` and/or ``below``
    these values; without either it is only reported. ``source_value``: what the source gives, as text or
    number, if anything.
    """

    says: Text
    of: Text
    metric: Text
    over: Text | None = None
    minus: Text | None = None
    against: Text | None = None
    by: Literal["difference", "ratio"] | None = None
    above: float | None = None
    below: float | None = None
    source_value: float | Text | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every ``diagnostic/metric`` it needs."""
        return tuple(name for name in (self.metric, self.over, self.minus) if name is not None)

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of the runs it needs."""
        return (self.of,) if self.against is None else (self.of, self.against)

    @property
    def quantity(self) -> str:
        """In words: ``reconstruction/error_mean, ae / vae``."""
        inner = (
            self.metric
            + (f" / {self.over}" if self.over else "")
            + (f" − {self.minus}" if self.minus else "")
        )
        return f"{inner}; {f' {SIGNS[self.by]} '.join(self.runs) if self.by else self.of}"

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
    """A sentence and how it is judged. ``source``: where it stands; ``fixed``: the day on which the
    expectations were written down, before the runs; ``runs``: overrides of a training by name, seeds left
    out; ``expect``: what the sentence says, part by part, all of which it asserts."""

    name: str
    sentence: Text
    source: Text
    fixed: Text
    runs: dict[str, list[Text]]
    expect: tuple[Expectation, ...]


@dataclass(frozen=True)
class Size:
    """How much is run: with each of ``seeds``, and ``overrides`` beside those of the runs."""

    seeds: list[Annotated[int, Ge(0)]]
    overrides: list[Text]


def claims_of(nodes: Mapping[str, Any] | None) -> list[Claim]:
    """The claims of a configuration; InputError names file and key where one is wrong."""
    if not nodes:
        raise InputError("claim: name at least one: claim=heatmaps, 'claim=[A1,A2]'")
    return [_claim(name, node) for name, node in nodes.items()]


def size_of(sizes: Mapping[str, Any], name: str) -> Size:
    """The size of that name; InputError where there is none, or it has no seed or one twice."""
    if name not in sizes:
        raise unknown("size", name, list(sizes))
    size = Size(**_filled(Size, sizes[name], f"sizes.{name}"))
    if not size.seeds or len(set(size.seeds)) < len(size.seeds):
        raise InputError(f"sizes.{name}.seeds: must name at least one seed, and none twice, got {size.seeds}")
    return size


def _claim(name: str, node: Mapping[str, Any]) -> Claim:
    where = f"claim.{name}"
    if not isinstance(node, Mapping):
        raise InputError(f"{where}: must be a mapping with sentence, source, fixed, runs and expect")
    hints = get_type_hints(Claim, include_extras=True)
    runs = node.get("runs")
    for key in (name, *(runs if isinstance(runs, Mapping) else ())):
        if not isinstance(key, str) or not re.fullmatch(NAME, key):
            raise InputError(f"{where}: {key!r} is no name: letters, digits, - and _")
    values = _known(
        {key: hints[key] for key in ("sentence", "source", "fixed", "runs")} | {"expect": list}, node, where
    )
    for run, overrides in values["runs"].items():
        for text in overrides:
            if key_of(text) in SETTLED:
                raise InputError(f"{where}.runs.{run}: {text!r}: {', '.join(SETTLED)} are not a run's to say")
    expect = []
    for i, part in enumerate(values.pop("expect")):
        place = f"{where}.expect[{i}]"
        expectation = Expectation(**_filled(Expectation, part, place))
        _check(expectation, values["runs"], place)
        expect.append(expectation)
    if not expect:
        raise InputError(f"{where}.expect: names nothing to judge the sentence by")
    return Claim(name, expect=tuple(expect), **values)


def _check(part: Expectation, runs: Mapping[str, Any], where: str) -> None:
    """What types do not say; InputError."""
    for run in part.runs:
        if run not in runs:
            raise unknown(f"run of {where}", run, list(runs))
    for metric in part.metrics:
        if not all(metric.partition("/")[::2]):
            raise InputError(f"{where}: {metric!r} is no metric; write diagnostic/metric")
    if (part.against is None) != (part.by is None):
        raise InputError(f"{where}: against and by (difference or ratio) go together")
    if part.over and part.minus:
        raise InputError(f"{where}: over and minus exclude each other")
    if part.above is not None and part.below is not None and part.above >= part.below:
        raise InputError(f"{where}: nothing is above {part.above:g} and below {part.below:g}")
    if part.by == "ratio" and min(end for end in (part.above, part.below, 1.0) if end is not None) <= 0:
        raise InputError(f"{where}: a ratio is above 0: its ends must be too")


def _filled(kind: type, node: Any, where: str) -> dict[str, Any]:
    """The fields of a dataclass from a node; those with a default may be left out."""
    if not isinstance(node, Mapping):
        raise InputError(f"{where}: must be a mapping, got {node!r}")
    hints = get_type_hints(kind, include_extras=True)
    needed = [field.name for field in fields(kind) if field.default is not None]
    return _known(hints, node, where, needed)


def _known(
    hints: Mapping[str, Any], node: Mapping[str, Any], where: str, needed: Sequence[str] | None = None
) -> dict[str, Any]:
    """The values of a node as their types ask; InputError for a key that is unknown or missing."""
    for key in node:
        if key not in hints:
            raise unknown(f"key of {where}", str(key), list(hints))
    for key in hints if needed is None else needed:
        if key not in node:
            raise InputError(f"{where}: {key} is missing")
    return {key: fit(value, hints[key], f"{where}.{key}") for key, value in node.items()}

"""From numbers to sentences: what a colleague would say of a run, each with a command to try.

A diagnostic brings rules beside its metrics. A rule speaks where every one of its conditions holds, and a
condition holds only where the whole 95 % interval of its metric lies beyond the limit.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from latentrun.config.settings import key_of
from latentrun.functional.statistics.methods import EQUAL
from latentrun.types import Estimate


class Weight(StrEnum):
    """How much a sentence matters, the weightiest first."""

    PROBLEM = "problem"
    HINT = "hint"
    GOOD = "good"


@dataclass(frozen=True)
class Condition:
    """The interval of ``metric`` lies above ``over`` and below ``under``; the value does where it is known
    exactly (``exact``), or was the same in all examples so that there is no interval.

    >>> [Condition("ratio", over=1).holds(found) for found in (Estimate(1.2, 1.1, 1.3), Estimate(1.2))]
    [True, False]
    """

    metric: str
    over: float = -math.inf
    under: float = math.inf
    exact: bool = False

    def holds(self, estimate: Estimate) -> bool:
        """Whether the estimate supports it; one without an interval, or without a value, does not."""
        known = self.exact or estimate.method.startswith(EQUAL)
        ends = (estimate.value, estimate.value) if known else (estimate.low, estimate.high)
        low, high = (math.nan if end is None else end for end in ends)
        return (low > self.over or self.over == -math.inf) and (high < self.under or self.under == math.inf)


# ---------------------------------------------------------------- what to try
@dataclass(frozen=True)
class Origin:
    """The run that a command is about: its ``path``, the ``overrides`` it was begun with, its ``settings`` as
    one level (``{"training.epochs": 60}``)."""

    path: str
    overrides: Sequence[str]
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Again:
    """The run once more with a setting ``times`` as large; whole numbers stay whole.

    >>> origin = Origin("RUN", ["model=vae", "seed=1", "comparison=[metrics]"], {"training.epochs": 60})
    >>> Again("training.epochs", 2).written(origin)
    'latentrun model=vae seed=1 training.epochs=120'
    """

    key: str
    times: float

    def written(self, origin: Origin) -> str:
        """The command line; empty where the run has no such number."""
        value = origin.settings.get(self.key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return ""
        changed = value * self.times
        text = str(max(1, round(changed))) if isinstance(value, int) else f"{changed:.4g}"
        keys = {word: key_of(word) for word in origin.overrides}
        kept = [word for word, key in keys.items() if key != self.key and not key.startswith(APART)]
        return shlex.join(["latentrun", *kept, f"{self.key}={text}"])


# Of the place where a run was put, and of the sweep that it was a job of: the next one has none of them.
APART = ("hydra.run.", "hydra.sweep.", "hydra.sweeper", "hydra.launcher", "hydra/", "comparison", "resume")


@dataclass(frozen=True)
class Further:
    """Another task on the run, by its ``words``.

    >>> Further("task=prune").written(Origin("RUN", [], {}))
    'latentrun task=prune run=RUN'
    """

    words: str

    def written(self, origin: Origin) -> str:
        """The command line."""
        task, *rest = shlex.split(self.words)
        return shlex.join(["latentrun", task, f"run={origin.path}", *rest])


# ---------------------------------------------------------------- rules
@dataclass(frozen=True)
class Rule:
    """``words(values)`` are said of a run of which all ``conditions`` hold; ``values``: its metrics by name.
    ``commands``: what to try then, the first that the run has the settings for."""

    name: str
    weight: Weight
    conditions: tuple[Condition, ...]
    words: Callable[[Mapping[str, float]], str]
    commands: tuple[Again | Further, ...] = ()

    def applies(self, metrics: Mapping[str, Estimate]) -> bool:
        """Whether the metrics support it."""
        return all(
            condition.metric in metrics and condition.holds(metrics[condition.metric])
            for condition in self.conditions
        )

    def command(self, origin: Origin) -> str:
        """The command to try, empty where there is none."""
        return next(filter(None, (command.written(origin) for command in self.commands)), "")


@dataclass(frozen=True)
class Finding:
    """A sentence about a run: the ``name`` and ``weight`` of its rule, and the ``command`` to try, empty
    where there is none."""

    name: str
    weight: Weight
    sentence: str
    command: str


def judged(rules: Iterable[Rule], metrics: Mapping[str, Estimate], origin: Origin) -> list[Finding]:
    """What the rules say of the metrics, in their order."""
    values = {name: estimate.value for name, estimate in metrics.items()}
    return [
        Finding(rule.name, rule.weight, rule.words(values), rule.command(origin))
        for rule in rules
        if rule.applies(metrics)
    ]


def times(value: float) -> str:
    """A ratio in words.

    >>> times(3.04), times(1.271), times(250.0)
    ('3 times', '1.3 times', '250 times')
    """
    return f"{value:.0f} times" if value >= 10 else f"{round(value, 1):g} times"


def count(value: float, noun: str) -> str:
    """A number of things.

    >>> count(1.0, "variable"), count(3.0, "variable")
    ('1 variable', '3 variables')
    """
    return f"{value:.0f} {noun}{'' if value == 1 else 's'}"

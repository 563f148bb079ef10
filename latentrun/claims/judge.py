"""From measured runs to verdicts."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from latentrun.claims.claim import Claim, Expectation, Subject
from latentrun.claims.fixed import lines
from latentrun.functional.statistics.verdicts import (
    REPORTED,
    UNDECIDED,
    Finding,
    contrast,
    judged,
    overall,
    yes_or_no,
)

Measured = Mapping[str, float]  # diagnostic/metric, or comparison/metric, to value
BySeed = Mapping[int, Measured]


@dataclass(frozen=True)
class Part:
    """What the runs say of one expectation: of each seed the quantity ``values (S,)``, NaN where a run or
    metric is missing, made of ``values_of`` and, where it contrasts two runs, ``values_against``; and the
    ``finding`` over the seeds."""

    expectation: Expectation
    seeds: tuple[int, ...]
    values: np.ndarray
    values_of: np.ndarray
    values_against: np.ndarray | None
    finding: Finding


@dataclass(frozen=True)
class Verdict:
    """A claim, what each of its parts came to, and what follows for the sentence."""

    claim: Claim
    parts: tuple[Part, ...]
    verdict: str


def judge(claim: Claim, measured: Mapping[Subject, BySeed], shares: Collection[str] = ()) -> Verdict:
    """``measured``: of each run name of the claim, and of the runs that it compares, what they were measured
    to be with each seed; ``shares``: the metrics that lie in [0, 1] by their meaning."""
    parts = tuple(
        judge_part(part, [measured[subject] for subject in part.subjects], shares) for part in claim.expect
    )
    return Verdict(claim, parts, overall(part.finding.verdict for part in parts))


def judge_part(part: Expectation, measured: Sequence[BySeed], shares: Collection[str] = ()) -> Part:
    """``measured``: as in :func:`judge`, of each subject of the part; ``shares``: as there."""
    seeds = tuple(measured[0])
    values_of, *rest = (
        np.array([quantity(part, by_seed.get(seed, {})) for seed in seeds]) for by_seed in measured
    )
    values_against = rest[0] if rest else None
    values = contrast(values_of, values_against, part.by)
    if part.share:
        values = yes_or_no(values)
    # Neither a ratio nor a difference of shares is one.
    is_share = part.metric in shares and not (part.over or part.minus or part.by)
    finding = judged(values, part.kind, part.above, part.below, largest(part, measured), is_share)
    # A seed that was measured and has no such value (a ratio to 0, a metric that is undefined) must not leave
    # the others to decide.
    complete = np.array([all(by_seed.get(seed) for by_seed in measured) for seed in seeds], dtype=bool)
    if finding.verdict != REPORTED and (complete & ~np.isfinite(values)).any():
        finding = replace(finding, verdict=UNDECIDED)
    return Part(part, seeds, values, values_of, values_against, finding)


def quantity(part: Expectation, metrics: Measured) -> float:
    """The quantity of one seed; NaN where a metric is missing, or it would divide by 0."""
    value = metrics.get(part.metric, math.nan)
    if part.minus:
        return value - metrics.get(part.minus, math.nan)
    if part.over:
        divisor = metrics.get(part.over, math.nan)
        return value / divisor if divisor else math.nan
    return value


def largest(part: Expectation, measured: Sequence[BySeed]) -> float:
    """The greatest size of a value that the quantity is made of, in any seed; 0 where there is none."""
    sizes = [
        abs(metrics[name])
        for by_seed in measured
        for metrics in by_seed.values()
        for name in part.metrics
        if name in metrics
    ]
    return max((size for size in sizes if math.isfinite(size)), default=0.0)


# ---------------------------------------------------------------- tables
def claims_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row for each part of each claim."""
    return pd.DataFrame(
        [
            part_row(verdict, number, part)
            for verdict in verdicts
            for number, part in enumerate(verdict.parts, 1)
        ]
    )


def part_row(verdict: Verdict, number: int, part: Part) -> dict[str, Any]:
    """One row of claims.csv."""
    claim = verdict.claim
    return {
        "claim": claim.name,
        "kind": claim.kind,
        "verdict": verdict.verdict,
        "sentence": claim.sentence,
        "conditions": claim.conditions,
        "source": claim.source,
        "fixed": claim.fixed.date,
        "digest": claim.digest,
        "amended": "; ".join(lines(claim.amended)),
        "part": number,
        "says": part.expectation.says,
        "quantity": part.expectation.quantity,
        "source_value": part.expectation.source_value,
        "expected": part.expectation.expected,
        "mean": part.finding.mean,
        "low": part.finding.low,
        "high": part.finding.high,
        "method": part.finding.method,
        "n": part.finding.n,
        "of_mean": _mean(part.values_of),
        "against_mean": _mean(part.values_against),
        "part_verdict": part.finding.verdict,
    }


def values_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row for each seed of each part: the quantity, and what it was made of."""
    return pd.DataFrame(
        [
            {
                "claim": verdict.claim.name,
                "part": number,
                "quantity": part.expectation.quantity,
                "seed": seed,
                "value": part.values[i],
                "of": part.values_of[i],
                "against": math.nan if part.values_against is None else part.values_against[i],
            }
            for verdict in verdicts
            for number, part in enumerate(verdict.parts, 1)
            for i, seed in enumerate(part.seeds)
        ]
    )


def _mean(values: np.ndarray | None) -> float:
    finite = np.array([]) if values is None else values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else math.nan

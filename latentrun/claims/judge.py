"""From measured runs to verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from latentrun.claims.claim import Claim, Expectation
from latentrun.functional.statistics.verdicts import REPORTED, UNDECIDED, Finding, contrast, judged, overall

Measured = Mapping[str, float]  # diagnostic/metric to value


@dataclass(frozen=True)
class Part:
    """What the runs say of one expectation: of each seed the quantity ``values (S,)``, NaN where a run or
    metric is missing, and the values ``mine`` and ``other`` of the runs it was made of, and the ``finding``
    over the seeds."""

    expectation: Expectation
    seeds: tuple[int, ...]
    values: np.ndarray
    mine: np.ndarray
    other: np.ndarray | None
    finding: Finding


@dataclass(frozen=True)
class Verdict:
    """A claim, what each of its parts came to, and what follows for the sentence."""

    claim: Claim
    parts: tuple[Part, ...]
    verdict: str


def judge(claim: Claim, measured: Mapping[str, Mapping[int, Measured]]) -> Verdict:
    """``measured``: of each run name of the claim what the run of each seed was measured to be."""
    parts = tuple(_part(each, measured) for each in claim.expect)
    return Verdict(claim, parts, overall(part.finding.verdict for part in parts))


def _part(each: Expectation, measured: Mapping[str, Mapping[int, Measured]]) -> Part:
    seeds = tuple(measured[each.of])
    mine, *other = (
        np.array([quantity(each, measured[run].get(seed, {})) for seed in seeds]) for run in each.runs
    )
    beside = other[0] if other else None
    values = contrast(mine, beside, each.by)
    known = [
        abs(measured[run][seed][name])
        for run in each.runs
        for seed in seeds
        for name in each.metrics
        if name in measured[run][seed]
    ]
    scale = max((value for value in known if math.isfinite(value)), default=0.0)
    finding = judged(values, each.by == "ratio", each.above, each.below, scale)
    # A seed that was measured and has no such value (a ratio to 0, a metric that is undefined) must not leave
    # the others to decide.
    there = np.array([all(measured[run].get(seed) for run in each.runs) for seed in seeds], dtype=bool)
    if finding.verdict != REPORTED and (there & ~np.isfinite(values)).any():
        finding = replace(finding, verdict=UNDECIDED)
    return Part(each, seeds, values, mine, beside, finding)


def quantity(each: Expectation, run: Measured) -> float:
    """The quantity of one run; NaN where it lacks a metric, or divides by 0."""
    value = run.get(each.metric, math.nan)
    if each.minus:
        return value - run.get(each.minus, math.nan)
    if each.over:
        below = run.get(each.over, math.nan)
        return value / below if below else math.nan
    return value


# ---------------------------------------------------------------- tables
def claims_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row for each part of each claim."""
    rows = [
        {
            **{
                "claim": verdict.claim.name,
                "verdict": verdict.verdict,
                "sentence": verdict.claim.sentence,
                "source": verdict.claim.source,
            },
            **{
                "fixed": verdict.claim.fixed,
                "part": number,
                "says": part.expectation.says,
                "quantity": part.expectation.quantity,
            },
            **{"source_value": part.expectation.source_value, "expected": part.expectation.expected},
            **{
                "mean": part.finding.mean,
                "low": part.finding.low,
                "high": part.finding.high,
                "n": part.finding.n,
            },
            **{
                "of_mean": _mean(part.mine),
                "against_mean": _mean(part.other),
                "part_verdict": part.finding.verdict,
            },
        }
        for verdict in verdicts
        for number, part in enumerate(verdict.parts, 1)
    ]
    return pd.DataFrame(rows)


def values_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """A row for each seed of each part: the quantity, and what it was made of."""
    rows = [
        {
            **{
                "claim": verdict.claim.name,
                "part": number,
                "quantity": part.expectation.quantity,
                "seed": seed,
                "value": part.values[i],
            },
            **{"of": part.mine[i], "against": math.nan if part.other is None else part.other[i]},
        }
        for verdict in verdicts
        for number, part in enumerate(verdict.parts, 1)
        for i, seed in enumerate(part.seeds)
    ]
    return pd.DataFrame(rows)


def _mean(values: np.ndarray | None) -> float:
    known = np.array([]) if values is None else values[np.isfinite(values)]
    return float(known.mean()) if len(known) else math.nan

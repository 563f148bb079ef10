"""Restated claims can fail: planted numbers of a good and of a bad case for every part that is judged."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import yaml

from latentrun.claims.claim import Claim, Expectation, claims_of, size_of
from latentrun.claims.evidence import requests
from latentrun.claims.judge import judge
from latentrun.config.options import options, shipped

SEEDS = range(5)


def text_of(name: str) -> dict[str, Any]:
    return yaml.safe_load((shipped() / "claim" / f"{name}.yaml").read_text())


CLAIMS = [name for name in options("claim", [shipped()]) if name in text_of(name)]  # others list a study's


@cache
def claim(name: str) -> Claim:
    return claims_of(text_of(name))[0]


def wanted(part: Expectation) -> float:
    """A quantity inside the range expected."""
    low, high = part.above, part.below
    if low is not None and high is not None:
        return (low + high) / 2
    if part.share:
        return 1.0 if low is not None else 0.0
    if part.by == "ratio":
        return 2 * low if low is not None else high / 2
    return low + 1 if low is not None else high - 1


def unwanted(part: Expectation) -> float:
    """A quantity outside it, on the far side of the end that is nearer to ``wanted``."""
    low, high = part.above, part.below
    if part.share:
        return 0.0 if low is not None else 1.0
    if part.by == "ratio":
        return low / 2 if low is not None else 2 * high
    return low - 1 if low is not None else high + 1


def planted(claim: Claim, values: dict[int, float]) -> dict[Any, dict[int, dict[str, float]]]:
    """Metrics of five seeds, nearly the same, of which each judged part gives its quantity in ``values``:
    alone, so that no part's numbers stand in for another's."""
    (number,) = values
    part, value = claim.expect[number], values[number]
    by_run: dict[Any, dict[int, dict[str, float]]] = {run: {seed: {} for seed in SEEDS} for run in claim.runs}
    for seed in SEEDS:
        jitter = 0.0 if part.share else 1e-4 * seed
        of, base = by_run[part.of][seed], 1.0
        if part.against is not None:
            by_run[part.against][seed][part.metric] = base
            of[part.metric] = value * (1 + jitter) if part.by == "ratio" else base + value + jitter
        elif part.over is not None:
            of |= {part.over: base, part.metric: value + jitter}
        elif part.minus is not None:
            of |= {part.minus: base, part.metric: base + value + jitter}
        else:
            of[part.metric] = value + jitter
    return by_run


def judged(part: Expectation) -> bool:
    return part.above is not None or part.below is not None


@pytest.mark.parametrize("name", CLAIMS)
def test_every_part_that_is_judged_can_hold_and_can_fail(name):
    parts = [(i, part) for i, part in enumerate(claim(name).expect) if judged(part)]
    assert parts
    for i, part in parts:
        for value, verdict in ((wanted(part), "reproduced"), (unwanted(part), "contradicted")):
            found = judge(claim(name), planted(claim(name), {i: value})).parts[i].finding
            assert found.verdict == verdict, (part.says, value, found)


# ---------------------------------------------------------------- what a sceptic found, as planted numbers
FACTORS = ("correlation", "variance_x", "variance_y")
PATHS = {f"factor_paths/{mark}.{factor}": 1.0 for mark in ("monotonicity", "coverage") for factor in FACTORS}
ORDER = {f"latents/linear_spearman.{factor}": 0.9 for factor in FACTORS} | {
    "latents/linear_spearman.correlation": 0.97
}
EMPTY = {
    "density/empty_core.0.2": 0.1,
    "density/residual_empty.mean": 0.1,
    "density/absolute_empty.mean": 1.0,
    "empty_space/residual.mean": 0.1,
    "empty_space/absolute.mean": 1.0,
}
HOLLOW = {name: 4 * value for name, value in EMPTY.items()}
LAW = {"stationarity/mean.active": 1.02, "stationarity/mean.inactive": 0.99}
LOST = {"variance_loss/ratio.posterior": 0.97, "sparsity/active": 6.0}
GOOD: dict[str, dict[str, dict[str, float]]] = {
    "A1": {"vae": PATHS | ORDER},
    "A3": {"vae": EMPTY, "ae": HOLLOW, "vae_squashed": EMPTY, "ae_squashed": HOLLOW},
    "A4": {
        "ae": {f"hull/ratio.{step}": 1.1 for step in (0.05, 0.1, 0.2)}
        | {"hull/spacing.hull": 0.1, "hull/spacing.inner": 0.2}
        | {f"hull/{name}": 1.3 for name in ("inner_ratio.0", "inner_ratio.0.1", "inner_ratio_absolute.0.1")}
    },
    "A8": {
        "vae": {
            "two_sample/accuracy.prior": 0.51,
            "two_sample/accuracy.prior_floor": 0.5,
            "two_sample/mmd2.prior": 0.0,
        },
        "ae": {
            "two_sample/accuracy.prior": 0.53,
            "two_sample/accuracy.prior_floor": 0.5,
            "two_sample/mmd2.prior": 0.02,
        },
    },
    "B3": {"dense": LAW, "conv": LAW, "two": LAW},
    "B5": {run: LOST for run in ("keras", "dense", "conv", "resnet", "draw")},
    "B8": {
        "noise": {
            "latent_noise/margin": -0.5,
            "latent_noise/steepest": 0.7,
            "latent_noise/gain_share.crossing": 0.8,
            "latent_noise/gain_share.held": 0.01,
            "latent_noise/gain.revived": 4.0,
            "latent_noise/kl.revived": 2.0,
            "latent_noise/gain_share.revived": 0.3,
            "latent_noise/var_mean.greatest": 4.0,
        }
    },
    "B9": {
        run: {"fid/fid.vae_renormalised": 4.0, "fid/fid.vae": 10.0}
        for run in ("two_stage", "two_stage_fashion")
    },
    "B10": {"running": {"fid/fid.samples": 5.0}}
    | {run: {"fid/fid.samples": 10.0} for run in ("fixed_005", "fixed_01", "fixed_02", "fixed_07")},
}
FOUND = {  # what each was told of, and the part that must say so
    "an AE or a VAE after 5 epochs, monotone on half of the range": (
        "A1",
        "vae",
        {"factor_paths/coverage.correlation": 0.5},
        "0.9 of its range",
    ),
    "a path that covers half of a variance": ("A1", "vae", {"factor_paths/coverage.variance_y": 0.5}, "0.8"),
    "a squashed output, nearer in data units": (
        "A3",
        "ae_squashed",
        {"density/residual_empty.mean": 0.14, "density/absolute_empty.mean": 0.68},
        "farther, squashed output, in data units",
    ),
    "shares that only divide by small norms": (
        "A3",
        "ae",
        {"density/absolute_empty.mean": 0.9},
        "farther, linear output, in data units",
    ),
    "an AE as dense as the VAE": ("A3", "ae", {"density/empty_core.0.2": 0.05}, "emptier, linear output"),
    "a residual that doubles within a fifth of the radius": ("A4", "ae", {"hull/ratio.0.2": 2.5}, "by 0.2"),
    "hull points four times as far off as inner codes": (
        "A4",
        "ae",
        {"hull/inner_ratio.0": 4.0},
        "themselves",
    ),
    "hull points that lie alone": ("A4", "ae", {"hull/spacing.hull": 0.9}, "denser"),
    "random codes that are told from codes of data": (
        "A8",
        "vae",
        {"two_sample/accuracy.prior_floor": 0.45},
        "VAE, a",
    ),
    "a Gaussian as good as the prior": ("A8", "ae", {"two_sample/accuracy.prior": 0.505}, "more easily"),
    "two variables, far from the law": ("B3", "two", {"stationarity/mean.active": 1.54}, "two variables"),
    "inactive variables of conv beside it": (
        "B3",
        "conv",
        {"stationarity/mean.inactive": 0.8},
        "inactive variables, c",
    ),
    "one variable in use": ("B5", "resnet", {"sparsity/active": 1.2}, "in use, residual"),
    "the mean picture's ratio": ("B5", "draw", {"variance_loss/ratio.posterior": 1.25}, "iterative"),
    "a slow decline": ("B8", "noise", {"latent_noise/steepest": 0.135}, "first reading"),
    "nothing left at the crossing": (
        "B8",
        "noise",
        {"latent_noise/gain_share.crossing": 0.004},
        "second reading",
    ),
    "samples that renormalising spoils": ("B9", "two_stage", {"fid/fid.vae_renormalised": 12.0}, "MNIST"),
    "a fixed weight that is better": ("B10", "fixed_07", {"fid/fid.samples": 1.7}, "0.71"),
}


def said(name: str, change: dict[str, dict[str, float]] | None = None):
    """The verdict where every seed has about the numbers of ``GOOD``, some of them changed."""
    numbers = {run: GOOD[name].get(run, {}) | (change or {}).get(run, {}) for run in claim(name).runs}
    by_run = {
        run: {
            seed: {
                metric: value + 1e-5 * math.sin(seed + len(metric) + i) for metric, value in metrics.items()
            }
            | {"other/number": 1.0}
            for seed in SEEDS
        }
        for i, (run, metrics) in enumerate(numbers.items())
    }
    return judge(claim(name), by_run)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_case_is_reproduced(name):
    assert said(name).verdict == "reproduced", [
        part.finding for part in said(name).parts if judged(part.expectation)
    ]


@pytest.mark.parametrize(("name", "run", "numbers", "part"), FOUND.values(), ids=FOUND)
def test_a_bad_case_is_contradicted_by_its_part(name, run, numbers, part):
    verdict = said(name, {run: numbers})
    failed = [one.expectation.says for one in verdict.parts if one.finding.verdict == "contradicted"]
    assert verdict.verdict == "contradicted" and len(failed) == 1 and part in failed[0], failed


# ---------------------------------------------------------------- whose they are, what stands beside them
def test_ideas_and_our_own_expectations_are_no_claims_of_the_source():
    kinds = {name: claim(name).kind for name in CLAIMS}
    assert {name for name, kind in kinds.items() if kind == "idea"} == {"A7", "A8", "E2", "E4"}
    assert {name for name, kind in kinds.items() if kind == "ours"} == {"B10", "E3", "E6"}


@pytest.mark.parametrize(
    ("name", "run", "metric"),
    [
        ("A1", "ae", "factor_paths/coverage.correlation"),
        ("A1", "vae_early", "factor_paths/coverage.correlation"),
        ("A3", "ae_early", "hull/volume"),
        ("A4", "vae_early", "hull/ratio.1"),
        ("A8", "vae", "two_sample/accuracy.prior_floor"),
        ("B3", "none", "stationarity/mean"),
        ("B5", "none", "variance_loss/ratio.posterior"),
        ("B8", "control", "latent_noise/margin"),
    ],
)
def test_controls_are_reported(name, run, metric):
    """What a model does of which the sentence does not hold, or is not said."""
    (part,) = [
        part for part in claim(name).expect if (part.of, part.metric, part.against) == (run, metric, None)
    ]
    assert not judged(part)


def test_a_short_training_is_not_made_longer_by_a_quick_size():
    sizes = yaml.safe_load((shipped() / "task" / "claims.yaml").read_text())["sizes"]
    texts = {
        (request.name, request.seed): request.overrides
        for request in requests([claim("A1"), claim("B5")], size_of(sizes, "quick"))
    }
    assert texts["vae_early", 0][-3:] == ("training.epochs=5", "rows=12000", "seed=0")
    assert texts["keras", 0][-4:] == ("training.epochs=50", "training.epochs=10", "rows=12000", "seed=0")

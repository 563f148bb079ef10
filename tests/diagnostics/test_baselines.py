"""The model beside trivial ones: closed forms, and six models about which the sentences are known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentrun.diagnostics.base import Diagnostic
from latentrun.functional.noise import Noise
from latentrun.functional.statistics.components import EXACT, principal_components
from latentrun.judgement import Condition, Origin, judged
from latentrun.run import Run
from latentrun.types import Estimate
from tests.conformance.test_diagnostics import diagnostic
from tests.planted import Deterministic, Gaussian, Rows, planted_run

SIDE, N = 10, {"train": 400, "val": 50, "test": 200}
DRAW = Noise(5).at("baselines")
RULED = ("baselines", "samples", "sparsity")


# ---------------------------------------------------------------- components
def low_rank(n: int, size: int, rank: int, noise: float) -> Tensor:
    basis = torch.linalg.qr(DRAW.normal("basis", (size, rank))).Q
    return 3 * DRAW.normal(f"z{n}", (n, rank)) @ basis.T + noise * DRAW.normal(f"x{n}", (n, size)) + 1


@pytest.mark.parametrize("size", [40, EXACT + 10])
def test_components_of_low_rank_data_leave_the_noise_alone(size):
    """Of D - k directions without signal, each with variance s²: an error of s² (D - k) / D per dimension."""
    train, test = low_rank(3000 if size < EXACT else 300, size, 3, 0.1), low_rank(500, size, 3, 0.1)
    plane = principal_components(train, 3)
    error = (plane.reconstruct(test) - test).square().mean().item()
    assert plane.axes.shape == (3, size) and torch.allclose(plane.axes @ plane.axes.T, torch.eye(3).double())
    assert error == pytest.approx(0.01 * (size - 3) / size, rel=0.05)


def test_components_are_those_of_numpy():
    x = DRAW.normal("plain", (60, 7)) @ DRAW.normal("mix", (7, 7))
    plane = principal_components(x, 2)
    centred = x.numpy().astype(float) - x.numpy().astype(float).mean(0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    expected = x.numpy().astype(float).mean(0) + (left[:, :2] * values[:2]) @ right[:2]
    assert plane.reconstruct(x).numpy() == pytest.approx(expected, abs=1e-5)


# ---------------------------------------------------------------- pictures with two factors
def discs(y: Tensor) -> Tensor:
    """Pictures ``(n, 1, SIDE, SIDE)`` of a bright blob at ``y (n, 2)`` in [0, 1]²: no plane holds them."""
    place = (2 + (SIDE - 5) * y)[:, :, None, None]
    rows, columns = (grid[None] for grid in torch.meshgrid(*[torch.arange(SIDE)] * 2, indexing="ij"))
    return torch.exp(-((rows - place[:, 0]) ** 2 + (columns - place[:, 1]) ** 2) / 1.6)[:, None]


FACTORS = {split: DRAW.uniform(split, (n, 2)) for split, n in N.items()}
GRAIN = {split: 0.02 * DRAW.normal(f"grain {split}", (n, 1, SIDE, SIDE)) for split, n in N.items()}
X = {split: discs(y) + GRAIN[split] for split, y in FACTORS.items()}
DATA = Rows(
    X, value_range=(-0.1, 1.1), labels={split: (y[:, 0] > 0.8).long() for split, y in FACTORS.items()}
)
PLANE = principal_components(X["train"].flatten(1), 2)
NORMAL = torch.distributions.Normal(0.0, 1.0)
FLAT_DATA = Rows(  # what a linear model holds
    {split: low_rank(n, SIDE**2, 2, 0.05).view(-1, 1, SIDE, SIDE) for split, n in N.items()},
    value_range=(-4.0, 6.0),
)
FLAT = principal_components(FLAT_DATA.split("train").x.flatten(1), 2)


def places(x: Tensor) -> Tensor:
    """The factors of pictures, by their centre of mass."""
    mass = x[:, 0].clamp_min(0.1) - 0.1
    axis = torch.arange(SIDE, dtype=x.dtype)
    total = mass.sum((1, 2)) + 1e-6
    centre = torch.stack([(mass.sum(2) * axis).sum(1), (mass.sum(1) * axis).sum(1)], 1) / total[:, None]
    return ((centre - 2) / (SIDE - 5)).clamp(1e-3, 1 - 1e-3)


def planted(encode, decode, data=DATA, scale=0.1, **fields) -> Run:
    model = Gaussian(encode, lambda x: torch.full((len(x), 2), scale), decode, 2, (1, SIDE, SIDE))
    return planted_run(model, data, **fields)


def codes(x: Tensor) -> Tensor:
    """Codes that follow N(0, 1)."""
    return NORMAL.icdf(places(x))


def good() -> Run:
    return planted(codes, lambda z: discs(NORMAL.cdf(z)))


def blurry() -> Run:
    return planted(codes, lambda z: avg_pool2d(discs(NORMAL.cdf(z)), 3, 1, 1))


def collapsed() -> Run:
    mean = X["train"].mean(0)
    return planted(lambda x: 1e-3 * codes(x), lambda z: mean.expand(len(z), 1, SIDE, SIDE), scale=1.0 - 1e-3)


def untrained() -> Run:
    weights = DRAW.normal("weights", (2, SIDE**2))
    return planted(
        lambda x: 0.05 * codes(x), lambda z: torch.sigmoid(z @ weights).view(-1, 1, SIDE, SIDE), scale=0.9
    )


def copying() -> Run:
    """Answers the training example whose code is the nearest."""
    known, pictures = codes(X["train"]), X["train"]
    return planted(codes, lambda z: pictures[torch.cdist(z, known).argmin(1)])


def linear() -> Run:
    axes = FLAT.axes.float()
    mean = FLAT.mean.float()
    return planted(
        lambda x: (x.flatten(1) - mean) @ axes.T / 3,
        lambda z: (mean + 3 * z @ axes).view(-1, 1, SIDE, SIDE),
        FLAT_DATA,
    )


def half_linear() -> Run:
    """With the first of two axes alone."""
    axis, mean = FLAT.axes[:1].float(), FLAT.mean.float()
    return planted(
        lambda x: ((x.flatten(1) - mean) @ axis.T / 3).expand(-1, 2),
        lambda z: (mean + 3 * z[:, :1] @ axis).view(-1, 1, SIDE, SIDE),
        FLAT_DATA,
    )


def half_used() -> Run:
    """The second of two axes is left to the prior."""
    axis, mean = FLAT.axes[:1].float(), FLAT.mean.float()
    model = Gaussian(
        lambda x: torch.nn.functional.pad((x.flatten(1) - mean) @ axis.T / 3, (0, 1)),
        lambda x: torch.tensor([0.1, 1.0]).expand(len(x), 2),
        lambda z: (mean + 3 * z[:, :1] @ axis).view(-1, 1, SIDE, SIDE),
        2,
        (1, SIDE, SIDE),
    )
    return planted_run(model, FLAT_DATA)


SAID = {
    good: {"better_than_pca"},
    blurry: {"better_than_pca", "blurred", "samples_off_data"},
    collapsed: {"no_better_than_mean", "collapsed", "knows_no_class", "samples_off_data"},
    untrained: {"worse_than_mean", "knows_no_class", "samples_off_data"},
    copying: {"better_than_pca", "memorised", "samples_are_copies"},
    linear: {"as_good_as_pca"},
    half_linear: {"worse_than_pca"},
    half_used: {"worse_than_pca", "unused"},
}
WORDS = {
    good: "Better than PCA: ",
    blurry: "Reconstructions are blurred, or the data are noisy: ",
    collapsed: "Collapsed: none of 2 latent variables is in use",
    untrained: "Worse than the mean example: ",
    copying: "Samples are copies: 100% of them",
    linear: "As good as PCA with 2 components: a linear model would do as well",
    half_linear: "Worse than PCA: the squared error is ",
    half_used: "1 of 2 latent variables unused: the decoder does not need them.",
}


def findings(run: Run) -> dict[str, str]:
    """The sentences of a run by the names of their rules."""
    return {rule: sentence for name in RULED for rule, sentence in findings_of(name, run).items()}


def findings_of(name: str, run: Run) -> dict[str, str]:
    """Those of one diagnostic."""
    origin = Origin("RUN", [], {"model.beta": 1.0, "training.epochs": 10, "training.optimizer.lr": 1e-3})
    asked: Diagnostic = diagnostic(name)
    report = asked(run, Noise(0).at(name))
    return {finding.name: finding.sentence for finding in judged(asked.rules, report.metrics, origin)}


@pytest.mark.parametrize("make", SAID, ids=lambda make: make.__name__)
def test_the_words_are_those_of_the_planted_model(make):
    told = findings(make())
    assert set(told) == SAID[make]
    assert any(sentence.startswith(WORDS[make]) for sentence in told.values()), told


@pytest.mark.parametrize(
    ("tells", "share", "said"),
    [
        (True, 0.04, False),  # a gain of 4 % is all there is to gain
        (True, 0.4, False),
        (False, 0.04, True),  # none of 80 is named rightly
        (False, 0.4, True),
        (False, 0.005, False),  # ten examples say nothing of their class
    ],
)
def test_the_classes_that_are_rare_count_for_the_codes(tells, share, said):
    n = {"train": 2000, "val": 10, "test": 2000}
    labels = {split: (torch.arange(rows) < share * rows).long() for split, rows in n.items()}
    x = {split: DRAW.normal(f"{split} {share}", (rows, 2)) for split, rows in n.items()}
    for split in x:
        x[split][:, 0] += 20.0 * labels[split] * tells
    asked = diagnostic("baselines")
    model = Deterministic(lambda x: x, lambda z: z, 2, (2,))
    report = asked(planted_run(model, Rows(x, labels=labels)), Noise(0))
    found = report.metrics["skill"]
    gain, commonest = (report.metrics[name].value for name in ("accuracy_gain", "accuracy.commonest"))
    assert found.value == pytest.approx(gain / (1 - commonest))
    assert found.value == 1 if tells else found.value < 0.05
    told = {finding.name for finding in judged(asked.rules, report.metrics, Origin("RUN", [], {}))}
    assert ("knows_no_class" in told) is said


def test_rows_of_one_class_leave_no_skill_to_have():
    x = {split: DRAW.normal(f"one {split}", (50, 2)) for split in N}
    labels = {split: torch.zeros(50, dtype=torch.long) for split in N}
    model = Deterministic(lambda x: x, lambda z: z, 2, (2,))
    found = diagnostic("baselines")(planted_run(model, Rows(x, labels=labels)), Noise(0)).metrics["skill"]
    assert math.isnan(found.value) and found.method == "none: 0 examples of other classes"


def test_of_noisy_data_a_perfect_decoder_is_not_called_blurred_alone():
    """Noise of sd 0.15 has half of the differences between pixels: no decoded mean has it."""
    noisy = {split: discs(y) + 7.5 * GRAIN[split] for split, y in FACTORS.items()}
    truth = [(noisy[split], FACTORS[split]) for split in N]
    model = Deterministic(
        lambda x: next(y for rows, y in truth if rows.shape == x.shape), discs, 2, (1, SIDE, SIDE)
    )
    told = findings_of("baselines", planted_run(model, Rows(noisy, value_range=(-1.0, 2.0))))
    assert told["blurred"].startswith("Reconstructions are blurred, or the data are noisy: ")


# ---------------------------------------------------------------- numbers
def test_errors_ratios_and_accuracies_of_models_that_are_known():
    flat = {split: low_rank(n, 16, 2, 0.2) for split, n in N.items()}
    labels = {split: (torch.arange(n) % 4 == 0).long() for split, n in N.items()}
    mean = flat["train"].mean(0)
    model = Deterministic(
        lambda x: x[:, :2] * 0, lambda z: mean.expand(len(z), 16), 2, (16,)
    )  # always the mean
    report = diagnostic("baselines")(planted_run(model, Rows(flat, labels=labels)), Noise(0))
    value = {name: estimate.value for name, estimate in report.metrics.items()}
    assert value["mse.model"] == pytest.approx(value["mse.mean"])
    assert value["mse.mean"] == pytest.approx((flat["test"] - mean).square().mean().item())
    assert value["ratio.mean"] == pytest.approx(1) and value["mse.pca"] == pytest.approx(
        0.04 * 14 / 16, rel=0.1
    )
    assert value["accuracy.commonest"] == 0.75 and "detail.model" not in value
    assert report.tables["errors"]["what"].tolist() == ["model", "pca", "mean"]


def test_training_rows_that_are_known_by_heart_have_no_error():
    report = diagnostic("baselines")(copying(), Noise(0))
    assert report.metrics["ratio.train"].value == 0 and report.metrics["ratio.train"].method.startswith(
        "none: equal"
    )


# ---------------------------------------------------------------- when training ended
def curves(values) -> pd.DataFrame:
    n = len(values)
    return pd.DataFrame(
        {"phase": "vae", "epoch": range(1, n + 1), "step": range(1, n + 1), "val/monitor": values}
    )


def converged(values) -> tuple[float, set[str]]:
    asked = diagnostic("convergence")
    report = asked(Run(linear().model, FLAT_DATA, curves=curves(values)), Noise(0))
    origin = Origin("RUN", ["model=vae", "training.epochs=20"], {"training.epochs": 20})
    told = judged(asked.rules, report.metrics, origin)
    assert all(finding.command == "latentrun model=vae training.epochs=40" for finding in told)
    return report.metrics["falling"].value, {finding.name for finding in told}


def test_a_straight_fall_goes_on_and_a_rest_does_not():
    epochs = np.arange(20)
    share, told = converged(100.0 - epochs)  # 5 of 19 in the last 5 epochs
    assert share == pytest.approx(5 / 19) and told == {"still_falling"}
    assert converged(100 * 0.4**epochs)[1] == set()  # at rest
    wavering = 100 * 0.4**epochs + np.where(epochs % 2, 3.0, -3.0)
    assert converged(wavering)[1] == set()  # what the epochs waver by may be a fall, or none
    # Smooth values that rest and still drift, as those of a random walk do, are no fall that goes on.
    drifting = 100 * 0.4**epochs + 5 * np.cos(0.25 * (epochs - 15))
    assert stats.linregress(np.arange(5), drifting[-5:]).pvalue < 0.05 and converged(drifting)[1] == set()


def test_a_short_training_is_not_judged():
    from latentrun.errors import NothingToMeasure

    with pytest.raises(NothingToMeasure, match="5 epochs or more"):
        converged([3.0, 2.0, 1.0])


@pytest.mark.parametrize(
    ("estimate", "holds"),
    [
        (Estimate(1.2, 1.1, 1.3), True),
        (Estimate(1.2, 0.9, 1.5), False),  # it may as well be 1
        (Estimate(1.2, 1.1), True),  # "at least 1.1"
        (Estimate(1.2, None, 1.3), False),
        (Estimate(1.2), False),
        (Estimate(1.2, method="none: equal in all 40 examples"), True),
        (Estimate(math.nan), False),
    ],
)
def test_a_condition_holds_where_the_whole_interval_does(estimate, holds):
    assert Condition("ratio", over=1).holds(estimate) is holds
    assert Condition("ratio", over=1, exact=True).holds(estimate) is (estimate.value > 1)

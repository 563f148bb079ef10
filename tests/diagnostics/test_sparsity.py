"""Sparsity on decoders whose use of each variable is known."""

import math

import numpy as np
import pytest
import torch

from latentrun.diagnostics.base import misfit
from latentrun.diagnostics.variables.sparsity import Sparsity, ratio_interval
from latentrun.functional.distances.divergences import gaussian_kl
from latentrun.functional.noise import Noise
from tests.planted import Deterministic, Gaussian, Rows, planted_run

N, D, d, USED = 600, 36, 6, (0, 2, 5)
DRAW = Noise(3).at("sparsity")
SETTINGS = {
    "split": "test",
    "rows": N,
    "sampled": False,
    "inactive_scale2": 0.8,
    "inactive_variance": 0.05,
    "inactive_gain": 1e-3,
    "samples": 200,
    "shown": 4,
}
# Orthogonal columns of known length; the variables outside USED do nothing.
DIRECTIONS = torch.linalg.qr(DRAW.normal("directions", (D, d)).double()).Q * torch.tensor(
    [1.0, 2.0, 3.0, 4.0, 5.0, 0.5]
)
USES = torch.zeros(d).index_fill(0, torch.tensor(USED), 1.0)
CODES = DRAW.normal("codes", (N, d))


def linear_run(uses=USES, scale_on=0.1, scale_off=0.97, mean_off=0.01, noise=0.0, event=(1, 6, 6), **how):
    """x = A z + noise for the used variables; the unused have mu near 0 and sigma near 1."""
    directions = DIRECTIONS.float()
    x = (CODES * USES) @ directions.T + noise * DRAW.normal("x", (N, D))
    pseudo = torch.linalg.pinv(directions)

    def encode(x):
        return (x.flatten(1) @ pseudo.T) * (USES + (1 - USES) * mean_off)

    def scale(x):
        return (scale_on * USES + scale_off * (1 - USES)).expand(len(x), d)

    def decode(z):
        return ((z * uses) @ directions.T).view(-1, *event)

    return planted_run(
        Gaussian(encode, scale, decode, d, event, **how), Rows(x.view(-1, *event), value_range=(-8.0, 8.0))
    )


def measure(run, **changes):
    diagnostic = Sparsity(**{**SETTINGS, **changes})
    return diagnostic, diagnostic(run, Noise(0).at("test"))


def test_needs_a_gaussian_posterior():
    run = linear_run()
    assert misfit(Sparsity(**SETTINGS), run.model, run.data) is None
    plain = Deterministic(lambda x: x, lambda z: z, d, (1, 6, 6))
    assert misfit(Sparsity(**SETTINGS), plain, run.data).noun == "a Gaussian posterior"


def test_finds_exactly_the_variables_the_decoder_ignores():
    diagnostic, report = measure(linear_run())
    assert report.arrays["kept"].tolist() == list(USED)
    assert [report.metrics[name].value for name in ("active", "inactive", "doubtful", "ignored")] == [
        3,
        3,
        0,
        3,
    ]
    assert report.metrics["zeroing_mse"].value == 0 and report.metrics["zeroing_relative"].value == 0
    assert np.array_equal(report.arrays["samples"], report.arrays["samples_zeroed"])
    assert (
        sum(note.count("[0, 2, 5]: latentrun task=prune run=DIR writes that model") for note in report.notes)
        == 1
    )
    pictures = diagnostic.plot(report)
    assert set(pictures) == {"variances", "contributions", "zeroing"}


def test_gains_of_a_linear_decoder_in_closed_form():
    """With x = sum_i a_i mu_i decoded exactly and a_i orthogonal, gain_i = |a_i|² mean mu_i²."""
    table = measure(linear_run())[1].tables["variables"]
    expected = (DIRECTIONS.square().sum(0) * CODES.double().square().mean(0) * USES).numpy()
    np.testing.assert_allclose(table["gain"], expected, rtol=1e-4, atol=1e-6)
    inside = (table["gain_low"] <= table["gain"]) & (table["gain"] <= table["gain_high"])
    moved = table["gain"].abs() > 1e-6
    assert inside[moved].all() and table["gain_low"][~moved].isna().all()  # no spread, no interval


def test_gain_has_a_cross_term_where_the_decoder_is_wrong():
    """A decoder that overdoes variable 0 by f errs by (f - 1)² |a|² mu² with it and |a|² mu² without: gain =
    (2f - f²) |a|² mean mu²."""
    uses = USES.clone()
    uses[0] = 2.5
    table = measure(linear_run(uses=uses))[1].tables["variables"]
    unit = float(DIRECTIONS[:, 0].square().sum() * CODES[:, 0].double().square().mean())
    assert table["gain"][0] == pytest.approx((2 * 2.5 - 2.5**2) * unit, rel=1e-4)
    assert table["gain"][0] < 0 and table["state"][0] == "active"  # far from 0, though setting it to 0 helps


def test_sampled_gain_adds_the_posterior_variance():
    """For z ~ q(z|x): errors with and without variable i differ by |a_i|² (mean mu² - mean sigma²)."""
    table = measure(linear_run(scale_on=0.6), sampled=True)[1].tables["variables"]
    lengths = DIRECTIONS.square().sum(0)
    for i in USED:
        expected = float(lengths[i] * (CODES[:, i].double().square().mean() - 0.6**2))
        assert table["gain"][i] == pytest.approx(
            expected, rel=0.15
        )  # four standard errors; without sigma it would be 50 % more


def test_moments_and_kl_of_each_variable():
    run = linear_run()
    table = measure(run)[1].tables["variables"]
    latents = run.latents("test")
    np.testing.assert_allclose(table["var_mean"], latents.codes.double().numpy().var(0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(table["mean_scale2"], np.where(USES > 0, 0.01, 0.97**2), rtol=1e-5)
    np.testing.assert_allclose(
        table["kl"], gaussian_kl(latents.codes, latents.posterior["scale"].log()).mean(0), rtol=1e-5
    )


def test_criteria_that_disagree_make_a_variable_doubtful():
    """sigma is small although decoder and mu do not use the variable; and the reverse: the decoder uses what
    the posterior says is off."""
    _, report = measure(linear_run(scale_off=0.3))
    assert report.metrics["doubtful"].value == 3 and report.metrics["inactive"].value == 0
    assert report.metrics["ignored"].value == 3  # by the gain alone
    assert any("Doubtful variables: 1, 3, 4" in note for note in report.notes)
    _, used = measure(linear_run(uses=torch.ones(d), mean_off=0.2, noise=0.5))
    assert used.metrics["doubtful"].value == 3 and used.metrics["ignored"].value == 0
    assert used.arrays["kept"].tolist() == list(range(d))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"sampled": False}, "sigma is untrained"),
        ({"kl": "quadratic"}, "kl=quadratic"),
        ({"kl": "none"}, "kl=none"),
    ],
)
def test_only_the_gain_counts_where_training_left_the_moments_free(how, says):
    _, report = measure(linear_run(scale_off=0.3, **how))
    assert [report.metrics[name].value for name in ("active", "inactive", "doubtful")] == [3, 3, 0]
    assert any(says in note for note in report.notes)


def test_zeroing_and_pruning_when_the_decoder_does_read_a_variable_a_little():
    """A decoder that reads unused variables with weight w: samples move by w² |a|² z², the pruned code loses
    w² |a|² mu²."""
    w = 0.01
    _, report = measure(linear_run(uses=USES + w * (1 - USES), noise=0.5), samples=20_000)
    assert report.arrays["kept"].tolist() == list(USED)
    off = [i for i in range(d) if i not in USED]
    expected = w**2 * float(DIRECTIONS.square().sum(0)[off].sum()) / D
    found = report.metrics["zeroing_mse"]
    assert found.low < expected < found.high
    assert 0 < report.metrics["zeroing_relative"].value < 1e-3
    assert report.metrics["pruned_error_ratio"].value == pytest.approx(1, abs=1e-3)
    assert report.metrics["pruned_drawn_ratio"].value == pytest.approx(1, abs=1e-2)


def test_nothing_inactive_is_said_and_leaves_the_four_numbers_empty():
    _, report = measure(linear_run(uses=torch.ones(d), scale_off=0.1, mean_off=1.0, noise=0.5))
    assert report.metrics["inactive"].value == 0
    assert all(
        math.isnan(report.metrics[name].value)
        for name in ("zeroing_mse", "zeroing_relative", "pruned_error_ratio", "pruned_drawn_ratio")
    )
    assert "samples" not in report.arrays
    assert any("No variable is inactive" in note for note in report.notes)
    assert not any("task=prune" in note for note in report.notes)


def test_pruning_takes_the_noise_of_inactive_variables_out_of_drawn_codes():
    """A decoder that reads inactive variables with weight f errs by f² |a|² sigma² more for drawn codes;
    without them it does not."""
    uses = torch.where(USES > 0, 1.0, 0.02)
    run = linear_run(uses=uses, scale_on=1e-3, mean_off=0.0, noise=0.1)
    report = measure(run)[1]
    off = USES == 0
    left = float((run.x("test") - run.decode(run.latents("test").codes)).square().flatten(1).sum(1).mean())
    more = float((0.02**2 * 0.97**2 * DIRECTIONS.square().sum(0))[off].sum())
    assert (
        report.metrics["pruned_drawn_ratio"].value == pytest.approx(left / (left + more), rel=0.02)
        and more > 0.05 * left
    )
    assert report.metrics["pruned_error_ratio"].value == pytest.approx(1, abs=1e-4)


def test_ratio_interval_is_exact_for_a_constant_ratio_and_covers_otherwise():
    below = DRAW.uniform("below", (400,)) + 0.5
    exact = ratio_interval(1.7 * below, below)
    assert exact.value == pytest.approx(1.7) and exact.high - exact.low < 1e-6
    trials = [
        ratio_interval(1 + DRAW.at(t).normal("a", (200,)), 2 + 0.3 * DRAW.at(t).normal("b", (200,)))
        for t in range(400)
    ]  # true ratio 1/2; 380 of 400 expected, four standard errors below is 362
    assert sum(e.low < 0.5 < e.high for e in trials) >= 362


def test_data_that_are_no_pictures():
    diagnostic, report = measure(linear_run(event=(D,)))
    assert report.metrics["zeroing_mse"].value == 0
    assert set(diagnostic.plot(report)) == {"variances", "contributions"}


def test_same_noise_same_report():
    run = linear_run(noise=0.3)
    first, second = measure(run, rows=50, sampled=True)[1], measure(run, rows=50, sampled=True)[1]
    assert first.tables["variables"].equals(second.tables["variables"])
